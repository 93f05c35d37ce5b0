import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { Writable } from "node:stream";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Code, invalidArgument } from "../../src/status.js";
import { type CallRecord, createLogger } from "../../src/telemetry/index.js";
import { SlowStream } from "../support/slow-stream.js";

const clock = { now: () => 0, wallTime: () => Date.UTC(2026, 9, 3), setTimer: () => ({ cancel() {} }) };

async function logged(format: "json" | "text", use: (logger: ReturnType<typeof createLogger>) => void) {
  const stream = new SlowStream();
  stream.wake();
  const logger = createLogger({ level: "info", format, stream, clock });
  use(logger);
  await logger.flush();
  return stream.lines;
}

const record: CallRecord = { requestId: "r1", door: "rest", method: "POST /v1/models/m:predict", peer: "127.0.0.1:9" };

describe("createLogger", () => {
  it("writes one JSON object a line, level, time and message first", async () => {
    const [line] = await logged("json", (logger) => logger.info("model loaded", { model: "m", version: 3n }));
    assert.equal(
      line,
      '{"timestamp":"2026-10-03T00:00:00.000Z","level":"info","message":"model loaded","model":"m","version":"3"}',
    );
  });

  it("keeps its own names when a field has the same one", async () => {
    const [line] = await logged("json", (logger) => logger.warn("w", { message: "x", level: "y", splat: 1 }));
    assert.deepEqual(JSON.parse(line!), {
      timestamp: "2026-10-03T00:00:00.000Z",
      level: "warn",
      message: "w",
      splat: 1,
    });
  });

  it("writes errors with their stack, expected ones with their code, and survives cycles", async () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    const lines = await logged("json", (logger) => {
      logger.error("defect", { error: new TypeError("boom") });
      logger.error("refused", { error: invalidArgument("no") });
      logger.error("odd", { cycle });
    });
    assert.match(JSON.parse(lines[0]!).error.stack, /TypeError: boom\n/);
    assert.deepEqual(JSON.parse(lines[1]!).error, { code: "INVALID_ARGUMENT", message: "no" });
    assert.equal(JSON.parse(lines[2]!).message, "odd");
  });

  it("leaves out what is below its level", async () => {
    assert.deepEqual(await logged("json", (logger) => logger.debug("d")), []);
  });

  it("carries a child's fields on each of its lines", async () => {
    const lines = await logged("text", (logger) =>
      logger.child({ model: "m" }).child({ version: 1n }).info("up", { a: 2 }),
    );
    assert.deepEqual(lines, ["2026-10-03T00:00:00.000Z info  up model=m version=1 a=2"]);
  });

  it("keeps a client's words from breaking a line or reaching the terminal", async () => {
    const lines = await logged("text", (logger) => {
      logger.info("a\nb\u001b[31m", { peer: 'x y"\n' });
      logger.accessLog.write({ ...record, method: "GET /\u001b\n" }, Code.OK, 1);
    });
    assert.equal(lines.length, 2);
    assert.equal(lines[0], String.raw`2026-10-03T00:00:00.000Z info  a\u000ab\u001b[31m peer="x y\"\n"`);
    assert.ok(!lines[1]!.includes("\u001b"));
  });
});

describe("the access log", () => {
  it("writes what is known of a call", async () => {
    const full = { ...record, model: "m", version: 2n, signature: "s", queueMs: 0.12345, computeMs: 2, batchSize: 8 };
    const lines = await logged("json", (logger) => {
      logger.accessLog.write(full, Code.OK, 3.00049);
      logger.accessLog.write({ ...record, method: 'GET /v1/"\u0007' }, Code.NOT_FOUND, 0, `no "${"x".repeat(10_000)}`);
    });
    assert.deepEqual(JSON.parse(lines[0]!), {
      timestamp: "2026-10-03T00:00:00.000Z",
      level: "info",
      message: "call",
      door: "rest",
      method: "POST /v1/models/m:predict",
      code: "OK",
      duration_ms: 3,
      model: "m",
      version: "2",
      signature: "s",
      queue_ms: 0.123,
      compute_ms: 2,
      batch_size: 8,
      request_id: "r1",
      peer: "127.0.0.1:9",
    });
    const failed = JSON.parse(lines[1]!);
    assert.equal(failed.method, 'GET /v1/"\u0007');
    assert.equal(failed.error, `no "${"x".repeat(508)}…`);
  });

  it("writes the same in text", async () => {
    const lines = await logged("text", (logger) => logger.accessLog.write({ ...record, model: "m" }, Code.OK, 3));
    assert.deepEqual(lines, [
      "2026-10-03T00:00:00.000Z info  rest POST /v1/models/m:predict OK duration_ms=3 model=m request_id=r1 peer=127.0.0.1:9",
    ]);
  });

  it("is silent when only warnings are wanted", async () => {
    const stream = new SlowStream();
    const logger = createLogger({ level: "warn", format: "json", stream });
    logger.accessLog.write(record, Code.OK, 1);
    await logger.flush();
    assert.equal(stream.text, "");
  });
});

describe("a log whose reader is slow", () => {
  it("leaves out access lines, keeps errors, and says how many were left out", async () => {
    const stream = new SlowStream();
    const logger = createLogger({ level: "info", format: "json", stream });
    for (let i = 0; i < 20_000; i += 1) logger.accessLog.write(record, Code.OK, 1);
    for (let i = 0; i < 1000; i += 1) logger.error("bad", { i });
    const dropped = logger.droppedLines();
    assert.ok(dropped > 0 && dropped < 20_000, `${dropped}`);
    stream.wake();
    await logger.flush();
    const entries = stream.lines.map((line) => JSON.parse(line));
    assert.equal(entries.filter((entry) => entry.message === "call").length, 20_000 - dropped);
    assert.equal(entries.filter((entry) => entry.message === "bad").length, 1000);
    const notices = entries.filter((entry) => entry.dropped_lines !== undefined);
    assert.equal(notices.length, 1);
    assert.equal(notices[0].dropped_lines, dropped);
    assert.equal(notices[0].level, "warn");
  });

  it("has an end even for errors", async () => {
    const stream = new SlowStream();
    const logger = createLogger({ level: "info", format: "json", stream });
    const text = "x".repeat(1 << 20);
    for (let i = 0; i < 40; i += 1) logger.error(text);
    assert.ok(logger.droppedLines() >= 8);
    stream.wake();
    await logger.flush();
  });

  it("survives a reader that goes away, and does not try again", async () => {
    let writes = 0;
    const stream = new Writable({
      write(_chunk, _encoding, done) {
        writes += 1;
        done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
      },
    });
    const logger = createLogger({ level: "info", format: "json", stream });
    logger.error("one");
    await logger.flush();
    logger.error("two");
    await logger.flush();
    assert.deepEqual([logger.droppedLines(), writes], [2, 1]);
  });

  it("goes on once a full disk has room again, and says how many lines it cost", async () => {
    let full = true;
    let text = "";
    let writes = 0;
    // A standard stream takes writes after an error, which other streams of Node's do not.
    const stream = Object.assign(new EventEmitter(), {
      write(chunk: string, done: (error?: Error) => void) {
        writes += 1;
        text += full ? chunk.slice(0, 10) : chunk;
        const error = full ? Object.assign(new Error("write ENOSPC"), { code: "ENOSPC" }) : undefined;
        process.nextTick(() => {
          done(error);
          if (error !== undefined) stream.emit("error", error);
        });
      },
    }) as EventEmitter & Writable;
    const logger = createLogger({ level: "info", format: "json", stream });
    for (let i = 0; i < 3; i += 1) {
      logger.error("lost", { i });
      logger.error("lost too", { i });
      await logger.flush();
    }
    // No line about lost lines is tried while lines are lost.
    assert.deepEqual([logger.droppedLines(), writes], [6, 3]);
    full = false;
    logger.info("found");
    await logger.flush();
    await logger.flush();
    const whole = text.split("\n").filter((line) => line.endsWith("}"));
    const entries = whole.map((line) => JSON.parse(line));
    assert.deepEqual(
      entries.map(({ message, dropped_lines }) => dropped_lines ?? message),
      ["found", 6],
    );
    assert.equal(logger.droppedLines(), 6);
  });

  it("loses nothing at exit: 10 000 lines into a pipe that nobody reads until all are logged", async () => {
    const program = fileURLToPath(new URL("../support/log-and-exit.js", import.meta.url));
    const child = spawn(process.execPath, [program, "10000"], { stdio: ["ignore", "pipe", "pipe"] });
    await once(child.stderr, "data"); // "logged": the child has flush() to wait for, the pipe is full
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    const [exit] = await once(child, "close");
    assert.equal(exit, 0);
    const numbers = text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line).line);
    assert.deepEqual(
      numbers,
      Array.from({ length: 10_000 }, (_, i) => i),
    );
  });
});
