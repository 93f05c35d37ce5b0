// What the REST door does with clients that send too much, go away, wait too long, or come while the server closes.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { predictCall } from "../../../src/api/rest/predict-call.js";
import { RestRequestLog } from "../../../src/api/rest/rest-request-log.js";
import { CancellationSource } from "../../../src/cancellation.js";
import { Code, cancelled, codeName } from "../../../src/status.js";
import { type CallRecord, silentLogger } from "../../../src/telemetry/index.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FakeRepository, type Run, signatureOf } from "../../support/fake-repository.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { RestDoor } from "../../support/rest-door.js";
import { until } from "../../support/until.js";

const signature = signatureOf({ x: ["float32", undefined] }, { y: ["float32", undefined] });
const identity: Run = (feeds) => new Map([["y:0", feeds.get("x:0")!]]);
const body = '{"inputs": [1.0]}';
const answerText = '{\n    "outputs": [1.0]\n}';

/** A door with a model `m` that answers at once, and a model `held` whose runs end when the test or their caller says so. */
async function openDoor(options: Parameters<typeof RestDoor.open>[0] = {}, clock?: FakeClock) {
  const door = await RestDoor.open(options, clock);
  const held: { finish(): void; readonly reason: () => Code | undefined }[] = [];
  door.repository.add("m", 1n, [signature], identity);
  door.repository.add(
    "held",
    1n,
    [signature],
    (feeds, { cancellation }) =>
      new Promise<ReadonlyMap<string, Tensor>>((resolve, reject) => {
        held.push({
          finish: () => resolve(new Map([["y:0", feeds.get("x:0")!]])),
          reason: () => cancellation.reason?.code,
        });
        cancellation.onCancel(reject);
      }),
  );
  return { door, held };
}

/** A connection one writes to by hand. */
async function rawConnection(door: RestDoor): Promise<{ socket: Socket; received: () => string }> {
  const socket = connect(door.port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => {});
  await once(socket, "connect");
  return { socket, received: () => text };
}

describe("a body that is too large", () => {
  const options = { bodyLimitBytes: 1000 };
  const expected = (bytes: string) =>
    JSON.stringify({ error: `Request of ${bytes} is larger than --max_receive_message_bytes=1000` });
  const compact = (text: string) => JSON.stringify(JSON.parse(text));

  it("is refused by its declared length, naming the limit, and the connection is closed", async () => {
    const { door } = await openDoor(options);
    await using _ = door;
    const answer = await door.post("m", "x".repeat(1_000_000));
    assert.equal(answer.status, 413);
    assert.equal(answer.headers.connection, "close");
    assert.equal(compact(answer.body), expected("1000000 bytes"));
    assert.equal(codeName(door.observed[0]!.code), "RESOURCE_EXHAUSTED");
    assert.equal((await door.post("m", body)).status, 200);
  });

  it("is refused when it turns out to be", async () => {
    const { door } = await openDoor(options);
    await using _ = door;
    const answer = await door.post("m", "x".repeat(1_000_000), { "transfer-encoding": "chunked" });
    assert.equal(answer.status, 413);
    assert.equal(compact(answer.body), expected("more than 1000 bytes"));
  });

  it("is refused when it becomes so by inflating", async () => {
    const { door } = await openDoor(options);
    await using _ = door;
    const bomb = gzipSync(Buffer.alloc(200_000, 0x20));
    assert.ok(bomb.length < 1000);
    const { socket, received } = await rawConnection(door);
    socket.write(
      `POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`,
    );
    socket.write(bomb);
    await once(socket, "close"); // and not only when the client closes it
    const answer = { status: Number(received().slice(9, 12)), body: received().split("\r\n\r\n")[1]! };
    assert.equal(answer.status, 413);
    assert.equal(compact(answer.body), expected("more than 1000 bytes, inflated,"));
  });

  it("is taken when it is as long as it may be", async () => {
    const { door } = await openDoor(options);
    await using _ = door;
    assert.equal((await door.post("m", body.padEnd(1000))).status, 200);
    assert.equal((await door.post("m", body.padEnd(1001))).status, 413);
    assert.equal((await door.post("m", gzipSync(body.padEnd(1000)), { "content-encoding": "x, gzip" })).status, 200);
  });
});

describe("a gzip body that cannot be inflated", () => {
  for (const [name, bytes] of [
    ["plain text", Buffer.from(body)],
    ["cut short", gzipSync(body).subarray(0, 20)],
    ["empty", Buffer.alloc(0)],
  ] as const) {
    it(`is answered as an empty one, with the reason: ${name}`, async () => {
      const { door } = await openDoor();
      await using _ = door;
      const answer = await door.post("m", bytes, { "content-encoding": "gzip" });
      assert.equal(answer.status, 400);
      assert.match(JSON.parse(answer.body).error, /^JSON Parse error: The document is empty/);
    });
  }
});

describe("a client that goes away", () => {
  it("while it sends its body: the call ends as cancelled, and the server serves on", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const { socket } = await rawConnection(door);
    socket.write('POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"inputs": ');
    const others = await door.post("m", body); // by now the first request has been seen
    assert.equal(others.status, 200);
    socket.destroy();
    await until(() => door.observed.length === 2);
    assert.equal(codeName(door.observed[1]!.code), "CANCELLED");
    assert.equal(door.repository.openHandles, 0);
    assert.deepEqual(door.log.of("error"), []);
  });

  it("while its model runs: the run is told, and the handle comes back", async () => {
    const { door, held } = await openDoor();
    await using _ = door;
    const call = request({ host: "127.0.0.1", port: door.port, method: "POST", path: "/v1/models/held:predict" });
    call.on("error", () => {});
    call.end(body);
    await until(() => held.length === 1);
    call.destroy();
    await until(() => door.observed.length === 1);
    assert.equal(held[0]!.reason(), Code.CANCELLED);
    assert.equal(codeName(door.observed[0]!.code), "CANCELLED");
    await until(() => door.repository.openHandles === 0);
  });

  it("before it has read a large answer: nothing waits for it for ever", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const large: Tensor = { dtype: "float32", shape: [2_000_000], data: new Float32Array(2_000_000) };
    door.repository.add("large", 1n, [signature], () => new Map([["y:0", large]]));
    const { socket, received } = await rawConnection(door);
    socket.pause();
    socket.write(`POST /v1/models/large:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    assert.equal((await door.post("m", body)).status, 200);
    socket.destroy();
    await until(() => door.observed.length === 2);
    assert.equal(codeName(door.observed[1]!.code), "CANCELLED");
    assert.equal(received(), "");
    assert.equal(door.repository.openHandles, 0);
  });

  it("while an answer waits for the one before it on the connection: both calls end", async () => {
    const { door, held } = await openDoor();
    await using _ = door;
    const large: Tensor = { dtype: "float32", shape: [2_000_000], data: new Float32Array(2_000_000) };
    let largeRuns = 0;
    door.repository.add("large", 1n, [signature], () => {
      largeRuns++;
      return new Map([["y:0", large]]);
    });
    const { socket } = await rawConnection(door);
    for (const model of ["held", "large"]) {
      socket.write(
        `POST /v1/models/${model}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    }
    await until(() => held.length === 1 && largeRuns === 1);
    assert.equal((await door.post("m", body)).status, 200); // by now the second has begun to answer
    socket.destroy();
    await until(() => door.observed.length === 3);
    const codes = door.observed.slice(1).map(({ code }) => codeName(code));
    assert.deepEqual(codes, ["CANCELLED", "CANCELLED"]);
    assert.equal(door.repository.openHandles, 0);
  });
});

describe("a large answer", () => {
  it("comes whole, in pieces, while others are answered", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const values = Float32Array.from({ length: 300_000 }, (_unused, index) => index);
    door.repository.add(
      "large",
      1n,
      [signature],
      () => new Map([["y:0", { dtype: "float32", shape: [300_000], data: values }]]),
    );
    const [large, small] = await Promise.all([door.post("large", '{"instances": [1]}'), door.post("m", body)]);
    assert.equal(small.body, answerText);
    assert.equal(large.headers["transfer-encoding"], "chunked");
    assert.deepEqual(JSON.parse(large.body).predictions, Array.from(values));
  });
});

describe("an answer that the client would have compressed", () => {
  const values = Float32Array.from({ length: 300_000 }, (_unused, index) => index % 1000);
  const doorWith = async (elements: number) => {
    const { door } = await openDoor();
    const tensor: Tensor = { dtype: "float32", shape: [elements], data: values.subarray(0, elements) };
    door.repository.add("large", 1n, [signature], () => new Map([["y:0", tensor]]));
    const ask = (acceptEncoding: string) => door.post("large", body, { "accept-encoding": acceptEncoding });
    return { door, ask };
  };

  for (const [what, elements, accepted, encoding] of [
    ["one piece", 1000, "gzip, deflate", "gzip"],
    ["many pieces", 300_000, "br, gzip;q=0.5", "gzip"],
    ["zlib's wrapping", 300_000, "gzip;q=0.5, deflate", "deflate"],
    ["none, when it is small", 10, "gzip", undefined],
    ["none, when the client wants none", 300_000, "identity, gzip;q=0", undefined],
  ] as const) {
    it(`is, in ${what}`, async () => {
      const { door, ask } = await doorWith(elements);
      await using _ = door;
      const { status, headers, bytes } = await ask(accepted);
      assert.deepEqual([status, headers["content-encoding"]], [200, encoding]);
      assert.equal(headers.vary, encoding && "accept-encoding");
      const plain = encoding === "gzip" ? gunzipSync(bytes) : encoding === "deflate" ? inflateSync(bytes) : bytes;
      assert.deepEqual(JSON.parse(plain.toString()).outputs, Array.from(values.subarray(0, elements)));
      if (encoding !== undefined) assert.ok(bytes.length < plain.length / 2);
      assert.equal(codeName(door.observed[0]!.code), "OK");
    });
  }

  it("holds nothing back when the client goes away", async () => {
    const { door } = await doorWith(300_000);
    await using _ = door;
    const headers = { "accept-encoding": "gzip" };
    const options = { host: "127.0.0.1", port: door.port, method: "POST", path: "/v1/models/large:predict", headers };
    const call = request(options, (response) => response.once("data", () => call.destroy()));
    call.on("error", () => {});
    call.end(body);
    await until(() => door.observed.length === 1);
    assert.equal(door.repository.openHandles, 0);
    assert.equal((await door.post("m", body)).status, 200);
  });
});

describe("a client that does not read its answer", () => {
  const large: Tensor = { dtype: "float32", shape: [2_000_000], data: new Float32Array(2_000_000) };
  const text = `POST /v1/models/large:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

  it("may take its time, beyond the timeout of the work", async () => {
    const clock = new FakeClock();
    const { door } = await openDoor({ timeoutMs: 5000 }, clock);
    await using _ = door;
    door.repository.add("large", 1n, [signature], () => new Map([["y:0", large]]));
    const { socket, received } = await rawConnection(door);
    socket.pause();
    socket.write(text);
    await until(() => clock.pending === 1); // waits for the client
    clock.advance(59_000);
    socket.resume();
    await until(() => received().endsWith("0\r\n\r\n"));
    assert.equal(codeName(door.observed[0]!.code), "OK");
    socket.destroy();
    await until(() => clock.pending === 0);
  });

  it("is cut after a minute without a step", async () => {
    const clock = new FakeClock();
    const { door } = await openDoor({}, clock);
    await using _ = door;
    door.repository.add("large", 1n, [signature], () => new Map([["y:0", large]]));
    const { socket } = await rawConnection(door);
    socket.pause();
    socket.write(text);
    await until(() => clock.pending === 1);
    clock.advance(60_000);
    await until(() => door.observed.length === 1);
    assert.equal(codeName(door.observed[0]!.code), "CANCELLED");
    socket.destroy();
  });
});

describe("a large body", () => {
  it("is read in steps, between which the call can be cancelled", async () => {
    const repository = new FakeRepository();
    repository.add("m", 1n, [signature], identity);
    const bytes = Buffer.from(`{"inputs": [${"1.5,".repeat(1_000_000)}1]}`);
    const source = new CancellationSource();
    setImmediate(() => source.cancel(cancelled("gone")));
    const record: CallRecord = { requestId: "", door: "rest", method: "", peer: "" };
    const requestLog = new RestRequestLog({
      sampler: { sample: () => undefined },
      clock: new FakeClock(),
      logger: silentLogger,
    });
    const deps = { repository, enableSignatureMethodNameCheck: false, requestLog };
    await rejectsWith("CANCELLED", /^gone$/, () =>
      predictCall(record, { verb: "predict", model: "m" }, bytes, source, deps),
    );
    assert.equal(repository.openHandles, 0);
  });

  it("of several megabytes arrives exactly", async () => {
    const { door } = await openDoor();
    await using _ = door;
    let sum = 0;
    door.repository.add("sum", 1n, [signature], (feeds) => {
      for (const value of feeds.get("x:0")!.data as Float32Array) sum += value;
      return new Map([["y:0", { dtype: "float32", shape: [1], data: Float32Array.of(1) }]]);
    });
    const answer = await door.post("sum", `{"inputs": [${"1.5, ".repeat(1_000_000)}1]}`);
    assert.equal(answer.status, 200);
    assert.equal(sum, 1_500_001);
  });
});

describe("a call that takes too long", () => {
  it("is answered 504, its run is told, and its handle comes back", async () => {
    const clock = new FakeClock();
    const { door, held } = await openDoor({ timeoutMs: 5000 }, clock);
    await using _ = door;
    const answer = door.post("held", body);
    await until(() => held.length === 1);
    clock.advance(4999);
    assert.equal(held[0]!.reason(), undefined);
    clock.advance(1);
    assert.equal((await answer).status, 504);
    assert.equal(JSON.parse((await answer).body).error, "The call took longer than --rest_api_timeout_in_ms=5000");
    assert.equal(held[0]!.reason(), Code.DEADLINE_EXCEEDED);
    assert.equal(codeName(door.observed[0]!.code), "DEADLINE_EXCEEDED");
    assert.equal(door.observed[0]!.durationMs, 5000);
    await until(() => door.repository.openHandles === 0);
    assert.equal(clock.pending, 0);
  });

  it("has no end when the timeout is 0, and leaves no timer when it ends in time", async () => {
    const clock = new FakeClock();
    const { door } = await openDoor({ timeoutMs: 0 }, clock);
    await using _ = door;
    const run: Run = (feeds) => {
      assert.equal(clock.pending, 0);
      return identity(feeds, { cancellation: new CancellationSource() });
    };
    door.repository.add("timeless", 1n, [signature], run);
    assert.equal((await door.post("timeless", body)).status, 200);
    const limited = await openDoor({}, clock);
    await using __ = limited.door;
    assert.equal((await limited.door.post("m", body)).status, 200);
    await until(() => clock.pending === 0);
  });
});

describe("bytes that are not HTTP", () => {
  it("are answered 400 in JSON, and the connection is closed", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const { socket, received } = await rawConnection(door);
    socket.write("HELO there\r\n\r\n");
    await once(socket, "close");
    assert.match(received(), /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(JSON.parse(received().split("\r\n\r\n")[1]!).error, /^Malformed HTTP request/);
  });

  it("as headers that are too large are answered 431", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const answer = await door.get("/v1/models/m", { "x-large": "x".repeat(100_000) }).catch(() => undefined);
    assert.ok(answer === undefined || answer.status === 431);
    assert.equal((await door.post("m", body)).status, 200);
  });
});

describe("connections", () => {
  it("are kept alive from call to call, errors included", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const { socket, received } = await rawConnection(door);
    const call = (model: string) =>
      `POST /v1/models/${model}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(call("m") + call("nobody") + call("m"));
    await until(() => door.observed.length === 3);
    await until(() => received().split("HTTP/1.1 ").length === 4);
    assert.deepEqual(
      received()
        .split("HTTP/1.1 ")
        .slice(1)
        .map((answer) => answer.slice(0, 3)),
      ["200", "404", "200"],
    );
    assert.ok(!socket.destroyed);
  });

  it("are to be left, though still served, while the server drains", async () => {
    const { door } = await openDoor();
    await using _ = door;
    assert.equal((await door.post("m", body)).headers.connection, "keep-alive");
    door.servingSwitch.drain();
    const answer = await door.post("m", body);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.connection, "close");
  });
});

describe("closing", () => {
  it("waits for calls in flight, closes idle connections, and lets nobody in", async () => {
    const { door, held } = await openDoor();
    const idle = await rawConnection(door);
    const first = door.post("held", body);
    await until(() => held.length === 1);
    let closed = false;
    const closing = door.server.close(60_000).then(() => {
      closed = true;
    });
    await once(idle.socket, "close");
    await assert.rejects(door.call({ path: "/healthz", agent: false }), /ECONNREFUSED/);
    assert.ok(!closed);
    held[0]!.finish();
    const answer = await first;
    assert.equal(answer.body, answerText);
    assert.equal(answer.headers.connection, "close");
    await closing;
    door.agent.destroy();
  });

  it("cuts what has not ended when its time is up", async () => {
    const clock = new FakeClock();
    const { door, held } = await openDoor({ timeoutMs: 0 }, clock);
    const hung = assert.rejects(door.post("held", body));
    await until(() => held.length === 1);
    const closing = door.server.close(1000);
    clock.advance(1000);
    await hung;
    await closing;
    await until(() => door.observed.length === 1);
    assert.equal(held[0]!.reason(), Code.CANCELLED);
    door.agent.destroy();
  });

  it("finishes an answer that is being sent", async () => {
    const { door } = await openDoor();
    const large: Tensor = { dtype: "float32", shape: [500_000], data: new Float32Array(500_000).fill(1.5) };
    door.repository.add("large", 1n, [signature], () => new Map([["y:0", large]]));
    const call = request({ host: "127.0.0.1", port: door.port, method: "POST", path: "/v1/models/large:predict" });
    call.end(body);
    const [response] = await once(call, "response");
    const closing = door.server.close(60_000);
    let length = 0;
    for await (const chunk of response) length += chunk.length;
    assert.ok(length > 500_000 * 4);
    await closing;
    door.agent.destroy();
  });
});

describe("many calls at once", () => {
  it("are each answered with their own result", async () => {
    const { door } = await openDoor();
    await using _ = door;
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_unused, index) => door.post("m", `{"instances": [${index}]}`)),
    );
    for (const [index, answer] of answers.entries()) {
      assert.deepEqual(JSON.parse(answer.body), { predictions: [index] });
    }
    assert.equal(door.repository.openHandles, 0);
    assert.equal(door.observed.length, 300);
  });
});
