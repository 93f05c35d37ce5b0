// Models on the serving thread, and how they leave it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import type { RuntimeOptions, Session } from "../../src/runtime/index.js";
import { countNativeSessions } from "../../src/runtime/placement/native-session.js";
import { PlacedSession } from "../../src/runtime/placement/placed-session.js";
import type { ThreadPool } from "../../src/runtime/placement/thread-pool.js";
import { cancelled } from "../../src/status.js";
import { silentLogger } from "../../src/telemetry/index.js";
import { LogRecorder } from "../support/log-recorder.js";
import { PuppetThreads } from "../support/puppet-threads.js";
import { rejectsWith } from "../support/rejects-with.js";
import { affineModel, floatTensor } from "../support/test-models.js";
import { alwaysInline, TestRuntime } from "../support/test-runtime.js";
import { TickingClock } from "../support/ticking-clock.js";
import { until } from "../support/until.js";

/** y = 2 x + 1 on the serving thread. */
async function openInline(options: Partial<RuntimeOptions> = {}) {
  const clock = new TickingClock();
  const logger = new LogRecorder();
  const threads = new PuppetThreads();
  let threadsLeft = Infinity;
  const runtime = new TestRuntime(
    { ...alwaysInline, ...options },
    {
      clock,
      logger,
      startThread: () => {
        if (threadsLeft-- <= 0) throw new Error("no more threads");
        return threads.start();
      },
    },
  );
  const { session } = await runtime.load(affineModel(2, 1), { poolSize: 2 });
  await until(() => runtime.runtime.stats().threads.length === 0);
  return {
    clock,
    logger,
    threads,
    session,
    stats: () => runtime.runtime.stats(),
    allowThreads: (count: number) => {
      threadsLeft = count;
    },
    async [Symbol.asyncDispose]() {
      threads.finish();
      await runtime[Symbol.asyncDispose]();
    },
  };
}

async function run(session: Session, rows: number, cancellation = neverCancelled): Promise<number> {
  const x = floatTensor([rows, 1], ...Array.from({ length: rows }, (_, i) => i));
  const { outputs } = await session.run(new Map([["x", x]]), ["y"], { cancellation });
  const y = outputs.get("y")!;
  for (let i = 0; i < rows; i++) assert.equal(y.data[i], 2 * i + 1);
  return y.data.length;
}

const onThreads = (stats: { readonly threads: readonly { readonly runs: number }[] }) =>
  stats.threads.reduce((sum, { runs }) => sum + runs, 0);

describe("a model on the serving thread", () => {
  it("is answered there, without a thread of its own", async () => {
    await using inline = await openInline();
    assert.match(inline.session.placement.reason, /^median warm-up run .* under the .* limit of the serving thread$/);
    const { kind, sessions, intraOpThreads } = inline.session.placement;
    assert.deepEqual({ kind, sessions, intraOpThreads }, { kind: "inline", sessions: 1, intraOpThreads: 1 });
    for (const rows of [0, 1, 5]) assert.equal(await run(inline.session, rows), rows);
    assert.deepEqual(inline.session.load(), { queued: 0, running: 0 });
    assert.deepEqual(inline.stats().threads, []);
    assert.equal(inline.stats().models[0]!.runs, 3);
  });

  it("does not run for a caller that has gone, or is out of time", async () => {
    await using inline = await openInline();
    const source = new CancellationSource();
    source.cancel(cancelled("gone"));
    await rejectsWith("CANCELLED", /gone/, () => run(inline.session, 1, source));
    const late = new CancellationSource(inline.clock.now());
    await rejectsWith("DEADLINE_EXCEEDED", /model "m": the deadline passed/, () => run(inline.session, 1, late));
    assert.equal(inline.stats().models[0]!.runs, 0);
    assert.equal(inline.stats().models[0]!.droppedBeforeRun, 2);
  });

  it("says INVALID_ARGUMENT with the runtime's words when it refuses the values", async () => {
    await using inline = await openInline();
    const feeds = new Map([["x", floatTensor([2, 3], 1, 2, 3, 4, 5, 6)]]);
    await rejectsWith("INVALID_ARGUMENT", /^model "m": Got invalid dimensions for input: x/, () =>
      inline.session.run(feeds, ["y"], { cancellation: neverCancelled }),
    );
  });

  it("gives its memory back when it is released; twice is once; no run comes after", async () => {
    await using inline = await openInline();
    assert.equal(countNativeSessions(), 1);
    await Promise.all([inline.session.release(), inline.session.release()]);
    assert.equal(countNativeSessions(), 0);
    assert.deepEqual(inline.stats(), { threads: [], models: [] });
    await rejectsWith("INTERNAL", /was run after its release/, () => run(inline.session, 1));
  });
});

describe("a model leaves the serving thread", () => {
  it("when its runs turn out slow on average, and no call is lost", async () => {
    await using inline = await openInline({ inlineSlowRunMicros: 1000 });
    inline.clock.tickMs = 0.5;
    for (let i = 0; i < 100; i++) await run(inline.session, 1);
    assert.equal(inline.session.placement.kind, "inline");
    inline.clock.tickMs = 3;
    let answered = 0;
    while (inline.session.placement.kind === "inline") {
      answered += await run(inline.session, 1);
      await setImmediate();
    }
    assert.ok(answered > 1);
    assert.match(
      inline.session.placement.reason,
      /^moved off the serving thread: its runs on the serving thread took 1\.\d ms on average$/,
    );
    assert.equal(inline.session.placement.sessions, 2);
    assert.equal(countNativeSessions(), 0);
    await run(inline.session, 1);
    assert.equal(onThreads(inline.stats()), 1);
    assert.equal(inline.stats().models[0]!.runs, 100 + answered + 1);
  });

  it("at once after a single run that held everyone up", async () => {
    await using inline = await openInline({ inlineSlowRunMicros: 1000 });
    inline.clock.tickMs = 100;
    await run(inline.session, 1);
    inline.clock.tickMs = 0;
    await until(() => inline.session.placement.kind === "thread-pool");
  });

  it("before a call that carries much is run, while small ones go on being answered here", async () => {
    await using inline = await openInline({ inlineMaxFeedBytes: 40 });
    await run(inline.session, 10);
    const large = run(inline.session, 11);
    await run(inline.session, 10);
    assert.equal(onThreads(inline.stats()), 0);
    assert.equal(await large, 11);
    assert.equal(onThreads(inline.stats()), 1);
    assert.match(inline.session.placement.reason, /its calls carry more than the 40 bytes for the serving thread$/);
  });

  it("before a call that will take long by what others took, whatever it carries", async () => {
    await using inline = await openInline({ inlineMaxFeedBytes: 40, inlineSlowRunMicros: 1000 });
    const call = (rows: number, expectedMs: number, expectedIsGuess = false) =>
      inline.session.run(new Map([["x", floatTensor([rows, 1], ...new Array(rows).fill(0))]]), ["y"], {
        cancellation: neverCancelled,
        expectedMs,
        expectedIsGuess,
      });
    await call(100, 1);
    await call(100, 1, true);
    await call(10, 1.1, true); // by what it carries, then
    assert.equal(inline.session.placement.kind, "inline");
    await call(2, 1.1);
    assert.match(inline.session.placement.reason, /its calls take longer than the 1.0 ms for the serving thread$/);
  });

  it("not for a single run during which this thread was kept from running", async () => {
    await using inline = await openInline({ inlineSlowRunMicros: 1000 });
    for (let hiccup = 0; hiccup < 5; hiccup++) {
      inline.clock.tickMs = 40;
      await run(inline.session, 1);
      inline.clock.tickMs = 0;
      for (let i = 0; i < 10; i++) await run(inline.session, 1);
    }
    assert.equal(inline.session.placement.kind, "inline");
  });

  it("but stays, and answers, when no thread can be had; it tries again half a minute later", async () => {
    await using inline = await openInline({ inlineMaxFeedBytes: 40 });
    inline.allowThreads(1);
    assert.equal(await run(inline.session, 11), 11);
    assert.equal(inline.session.placement.kind, "inline");
    assert.match(String(inline.logger.of("error")[0]?.fields["error"]), /no more threads/);
    await until(() => inline.stats().threads.length === 0);

    inline.allowThreads(Infinity);
    const started = inline.threads.started;
    inline.clock.advance(29_999);
    assert.equal(await run(inline.session, 11), 11);
    assert.equal(inline.threads.started, started);
    inline.clock.advance(1);
    assert.equal(await run(inline.session, 11), 11);
    assert.equal(inline.session.placement.kind, "thread-pool");
  });

  it("and can be released on the way, answering what was called", async () => {
    await using inline = await openInline({ inlineMaxFeedBytes: 40 });
    const large = run(inline.session, 11);
    const released = inline.session.release();
    assert.equal(await large, 11);
    await released;
    assert.equal(countNativeSessions(), 0);
    assert.deepEqual(inline.stats(), { threads: [], models: [] });
  });
});

describe("a model comes back to the serving thread", () => {
  /** In a pool because of one long run, which does not happen again. */
  async function openMismeasured(options: Partial<RuntimeOptions> = {}) {
    const inline = await openInline({ inlineSlowRunMicros: 1000, inlineThresholdMicros: 1000, ...options });
    inline.clock.tickMs = 100;
    await run(inline.session, 1);
    inline.clock.tickMs = 0;
    await until(() => inline.session.placement.kind === "thread-pool");
    return inline;
  }

  it("when it is measured again, ten seconds later, and found quick; no call is lost", async () => {
    await using inline = await openMismeasured();
    inline.clock.advance(9_999);
    await run(inline.session, 1);
    assert.equal(inline.stats().models[0]!.runs, 2);
    inline.clock.advance(1);
    while (inline.session.placement.kind === "thread-pool") {
      const calls = Array.from({ length: 8 }, () => run(inline.session, 3));
      for (const rows of await Promise.all(calls)) assert.equal(rows, 3);
    }
    assert.match(inline.session.placement.reason, /^measured again: median run .* limit of the serving thread$/);
    await until(() => inline.stats().threads.length === 0);
    const before = inline.stats().models[0]!.runs;
    assert.equal(await run(inline.session, 3), 3);
    assert.equal(inline.stats().models[0]!.runs, before + 1);
  });

  it("and waits twice as long for the next time", async () => {
    await using inline = await openMismeasured();
    inline.clock.advance(10_000);
    while (inline.session.placement.kind === "thread-pool") await run(inline.session, 1);
    inline.clock.tickMs = 100;
    await run(inline.session, 1);
    inline.clock.tickMs = 0;
    await until(() => inline.session.placement.kind === "thread-pool");
    const { runs } = inline.stats().models[0]!;
    inline.clock.advance(19_999);
    await run(inline.session, 1);
    assert.equal(inline.stats().models[0]!.runs, runs + 1);
    inline.clock.advance(1);
    await run(inline.session, 1);
    await until(() => inline.session.placement.kind === "inline");
  });

  it("not when it is as slow as before", async () => {
    const clock = new TickingClock();
    let runs = 0;
    const pool = {
      placement: { kind: "thread-pool", sessions: 1, intraOpThreads: 1, warmupRunMicros: 60, reason: "a test" },
      counters: {},
      start: () => {},
      run: async () => ({ outputs: new Map(), queueMs: 0, computeMs: ++runs % 3 === 0 ? 0.01 : 0.06, batchSize: 0 }),
      release: async () => {},
    } as unknown as ThreadPool;
    const session = new PlacedSession(
      { kind: "thread-pool", session: pool },
      {
        name: "m",
        limits: { cpus: 2, inlineThresholdMicros: 50, inlineSlowRunMicros: 1000, inlineMaxFeedBytes: 40 },
        timeDecides: true,
        measuringFeeds: () => new Map(),
        fetches: [],
        openPool: () => assert.fail("it has a pool"),
        openInline: () => assert.fail("it is not to come back"),
        onReleased: () => {},
      },
      { logger: silentLogger, clock },
    );
    clock.advance(10_000);
    void session.run(new Map(), [], { cancellation: neverCancelled });
    await session.release();
    assert.equal(runs, 9);
    assert.equal(session.placement.kind, "thread-pool");
  });

  it("not when its calls are large", async () => {
    await using inline = await openInline({ inlineMaxFeedBytes: 40 });
    await run(inline.session, 11);
    inline.clock.advance(1e9);
    await run(inline.session, 1);
    await run(inline.session, 1);
    assert.equal(inline.stats().models[0]!.runs, 3);
  });

  it("when its large calls, run in the pool, turn out to be short; they are then run here", async () => {
    await using inline = await openInline({
      inlineMaxFeedBytes: 40,
      inlineThresholdMicros: 1e9,
      inlineSlowRunMicros: 1e9,
    });
    assert.equal(await run(inline.session, 11), 11);
    assert.equal(inline.session.placement.kind, "thread-pool");
    for (let call = 0; call < 32; call++) assert.equal(await run(inline.session, 11), 11);
    assert.match(inline.session.placement.reason, /its large calls run for less than their way to a thread costs$/);
    await until(() => inline.stats().threads.length === 0);
    assert.equal(await run(inline.session, 11), 11);
    assert.equal(inline.session.placement.kind, "inline");
    assert.equal(await run(inline.session, 12), 12);
    assert.equal(inline.session.placement.kind, "thread-pool");
  });

  it("and can be released while it is measured", async () => {
    await using inline = await openMismeasured();
    inline.clock.advance(10_000);
    const call = run(inline.session, 1);
    const released = inline.session.release();
    assert.equal(await call, 1);
    await released;
    assert.equal(countNativeSessions(), 0);
    assert.deepEqual(inline.stats(), { threads: [], models: [] });
  });
});
