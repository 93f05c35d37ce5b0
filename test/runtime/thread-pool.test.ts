import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { threadId } from "node:worker_threads";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import type { RunResult, SessionOptions } from "../../src/runtime/index.js";
import { cancelled } from "../../src/status.js";
import type { Tensor } from "../../src/tensor/index.js";
import { FakeClock } from "../support/fake-clock.js";
import { PuppetThreads } from "../support/puppet-threads.js";
import { rejectsWith } from "../support/rejects-with.js";
import { affineModel, failingModel, floatTensor, identityModel } from "../support/test-models.js";
import { alwaysPool, TestRuntime } from "../support/test-runtime.js";
import { until } from "../support/until.js";

/** A pooled y = 2 x + 1 whose runs end when the test lets them. */
async function openPuppetPool(options: SessionOptions) {
  const threads = new PuppetThreads();
  const clock = new FakeClock();
  const runtime = new TestRuntime(alwaysPool, { clock, startThread: threads.start });
  const { session } = await runtime.load(affineModel(2, 1), options);
  const run = (x: number, cancellation = neverCancelled as CancellationSource): Promise<RunResult> =>
    session.run(new Map([["x", floatTensor([1, 1], x)]]), ["y"], { cancellation });
  return {
    threads,
    clock,
    session,
    run,
    stats: () => runtime.runtime.stats(),
    counters: () => runtime.runtime.stats().models[0]!,
    async [Symbol.asyncDispose]() {
      threads.finish();
      await runtime[Symbol.asyncDispose]();
    },
  };
}

const answer = ({ outputs }: RunResult): number => Number(outputs.get("y")!.data[0]);

describe("ThreadPool", () => {
  it("answers each of many calls with its own values, on threads other than this one", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const { session } = await runtime.load(affineModel(2, 1, 3), { poolSize: 3 });
    const results = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        session.run(new Map([["x", floatTensor([1, 3], i, -i, i / 2)]]), ["y"], { cancellation: neverCancelled }),
      ),
    );
    for (const [i, { outputs, batchSize }] of results.entries()) {
      assert.deepEqual(outputs.get("y"), floatTensor([1, 3], 2 * i + 1, 1 - 2 * i, i + 1));
      assert.equal(batchSize, 0);
    }
    const { threads } = runtime.runtime.stats();
    assert.equal(threads.length, 3);
    assert.ok(threads.every((thread) => thread.threadId !== threadId && thread.runs > 0));
    assert.equal(
      threads.reduce((sum, { runs }) => sum + runs, 0),
      300,
    );
  });

  it("runs as many calls at a time as it has threads", async () => {
    await using pool = await openPuppetPool({ poolSize: 2 });
    pool.threads.hold();
    const runs = [0, 1, 2, 3, 4, 5].map((x) => pool.run(x));
    await until(() => pool.threads.runsReceived >= 2);
    assert.deepEqual(pool.session.load(), { queued: 4, running: 2 });
    pool.threads.finish();
    await Promise.all(runs);
    assert.deepEqual(pool.session.load(), { queued: 0, running: 0 });
  });

  it("runs calls in the order they came", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    pool.threads.hold();
    const order: number[] = [];
    const runs = [0, 1, 2, 3, 4].map((x) => pool.run(x).then(() => order.push(x)));
    for (let ended = 1; ended <= 5; ended++) {
      pool.threads.finish(1);
      await until(() => order.length === ended);
    }
    await Promise.all(runs);
    assert.deepEqual(order, [0, 1, 2, 3, 4]);
  });

  it("refuses calls when its queue is full, naming model and limit, and takes new ones when there is room", async () => {
    await using pool = await openPuppetPool({ poolSize: 1, maxQueue: 3 });
    pool.threads.hold();
    const runs = [0, 1, 2, 3].map((x) => pool.run(x));
    await rejectsWith("RESOURCE_EXHAUSTED", /^model "m": 3 calls wait already, the most allowed$/, () => pool.run(4));
    assert.equal(pool.counters().refused, 1);
    pool.threads.finish(1);
    await runs[0];
    runs.push(pool.run(5));
    pool.threads.finish();
    assert.deepEqual((await Promise.all(runs)).map(answer), [1, 3, 5, 7, 11]);
  });

  it("drops a call that is cancelled while it waits, at once and without running it", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    pool.threads.hold();
    const first = pool.run(0);
    const sources = [1, 2, 3, 4].map(() => new CancellationSource());
    const waiting = sources.map((source, i) => pool.run(i + 1, source));
    // The second of these has been sent ahead, the others are in the queue: both kinds can be withdrawn.
    for (const i of [0, 2]) sources[i]!.cancel(cancelled(`caller ${i} went away`));
    await rejectsWith("CANCELLED", /^caller 0 went away$/, () => waiting[0]);
    await rejectsWith("CANCELLED", /^caller 2 went away$/, () => waiting[2]);
    assert.equal(pool.session.load().queued, 2);
    pool.threads.finish();
    assert.deepEqual((await Promise.all([first, waiting[1]!, waiting[3]!])).map(answer), [1, 5, 9]);
    assert.equal(pool.stats().threads[0]!.runs, 3);
    assert.equal(pool.counters().droppedBeforeRun, 2);
    assert.equal(pool.counters().runs, 3);
  });

  it("lets a run that has started end, whoever has gone away", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    pool.threads.hold();
    const source = new CancellationSource();
    const run = pool.run(3, source);
    await until(() => pool.threads.runsReceived === 1);
    source.cancel(cancelled("too late"));
    pool.threads.finish();
    assert.equal(answer(await run), 7);
    assert.equal(pool.counters().droppedBeforeRun, 0);
  });

  it("runs 10 of 100 calls when 90 are cancelled", async () => {
    await using pool = await openPuppetPool({ poolSize: 2 });
    pool.threads.hold();
    const sources = Array.from({ length: 100 }, () => new CancellationSource());
    const settled = Promise.allSettled(sources.map((source, x) => pool.run(x, source)));
    await until(() => pool.threads.runsReceived >= 2);
    for (const source of sources.slice(10)) source.cancel(cancelled("gone"));
    pool.threads.finish();
    const outcomes = (await settled).map(({ status }) => status);
    assert.deepEqual(
      outcomes,
      sources.map((_, x) => (x < 10 ? "fulfilled" : "rejected")),
    );
    assert.equal(pool.counters().runs, 10);
    assert.equal(pool.counters().droppedBeforeRun, 90);
  });

  it("refuses a call that was cancelled, or out of time, before it came", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    const source = new CancellationSource();
    source.cancel(cancelled("gone before"));
    await rejectsWith("CANCELLED", /gone before/, () => pool.run(1, source));
    const late = new CancellationSource(pool.clock.now());
    await rejectsWith("DEADLINE_EXCEEDED", /model "m": the deadline passed/, () => pool.run(1, late));
    assert.equal(pool.threads.runsReceived, 0);
    assert.equal(pool.counters().droppedBeforeRun, 2);
  });

  it("drops a call whose deadline passed while it waited, when its turn comes", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    pool.threads.hold();
    const first = pool.run(0);
    const second = pool.run(1); // may be sent ahead
    const late = pool.run(2, new CancellationSource(pool.clock.now() + 50));
    const patient = pool.run(3, new CancellationSource(pool.clock.now() + 5_000));
    pool.clock.advance(80);
    pool.threads.finish();
    await rejectsWith("DEADLINE_EXCEEDED", /model "m": the deadline passed after 80 ms in the queue/, () => late);
    assert.deepEqual((await Promise.all([first, second, patient])).map(answer), [1, 3, 7]);
    assert.equal(pool.counters().runs, 3);
  });

  it("tells how long a call waited and how long it ran", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    pool.threads.hold();
    const first = pool.run(0);
    const second = pool.run(1);
    await until(() => pool.threads.runsReceived >= 1);
    pool.clock.advance(250);
    pool.threads.finish();
    assert.equal((await first).queueMs, 0);
    assert.equal((await second).queueMs, 250);
    assert.ok((await first).computeMs > 0);
  });

  it("says INVALID_ARGUMENT with the runtime's words when it refuses the values, and runs the next call", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const { session } = await runtime.load(failingModel(), { poolSize: 1 });
    const run = (x: Tensor) => session.run(new Map([["x", x]]), ["y"], { cancellation: neverCancelled });
    await rejectsWith("INVALID_ARGUMENT", /^model "m": .*Reshape.*requested shape/s, () => run(floatTensor([2], 1, 2)));
    assert.deepEqual((await run(floatTensor([6], 1, 2, 3, 4, 5, 6))).outputs.get("y")!.shape, [2, 3]);
  });

  it("copies what it is fed, unless it may take it", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const { session } = await runtime.load(identityModel("float32", ["n"]), { poolSize: 1 });
    const size = 10_000;
    for (const feedsMayBeTaken of [false, true]) {
      const data = new Float32Array(size).fill(1.5);
      const { outputs } = await session.run(new Map([["x", { dtype: "float32", shape: [size], data }]]), ["y"], {
        cancellation: neverCancelled,
        feedsMayBeTaken,
      });
      assert.equal(outputs.get("y")!.data.length, size);
      assert.equal(data.length, feedsMayBeTaken ? 0 : size);
    }
  });

  it("rejects a call whose values cannot be posted, and goes on", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    const broken = { dtype: "string", shape: [1], data: [(() => {}) as unknown as string] } as const;
    await rejectsWith("INTERNAL", /model "m": the feeds cannot be sent to a thread/, () =>
      pool.session.run(new Map([["x", broken]]), ["y"], { cancellation: neverCancelled }),
    );
    assert.equal(answer(await pool.run(1)), 3);
  });

  it("answers every call before it is released, then ends its threads; twice is once", async () => {
    await using pool = await openPuppetPool({ poolSize: 2 });
    pool.threads.hold();
    const runs = [0, 1, 2, 3, 4, 5, 6].map((x) => pool.run(x));
    let released = false;
    const releases = [pool.session.release(), pool.session.release()];
    void Promise.all(releases).then(() => {
      released = true;
    });
    await until(() => pool.threads.runsReceived >= 2);
    assert.equal(released, false);
    pool.threads.finish();
    assert.deepEqual((await Promise.all(runs)).map(answer), [1, 3, 5, 7, 9, 11, 13]);
    await Promise.all(releases);
    assert.deepEqual(pool.stats(), { threads: [], models: [] });
    await rejectsWith("INTERNAL", /was run after its release/, () => pool.run(1));
  });

  it("is released at once when nothing runs", async () => {
    await using pool = await openPuppetPool({ poolSize: 1 });
    await pool.session.release();
    assert.deepEqual(pool.stats(), { threads: [], models: [] });
  });
});
