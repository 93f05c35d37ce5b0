import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import type { BatchingOptions } from "../../src/runtime/batching/batching-options.js";
import { BatchingSession } from "../../src/runtime/batching/batching-session.js";
import { type Session, startRun } from "../../src/runtime/index.js";
import { cancelled, invalidArgument, StatusError, unavailable } from "../../src/status.js";
import { silentLogger } from "../../src/telemetry/index.js";
import { RawTensor, type Tensor } from "../../src/tensor/index.js";
import { assertSame, borrow, filled, raw } from "../support/borrowed-outputs.js";
import { RowwiseSession } from "../support/rowwise-session.js";
import { affineModel, identityModel } from "../support/test-models.js";
import { alwaysInline, TestRuntime } from "../support/test-runtime.js";

const clock = { now: () => 0, wallTime: () => 0, setTimer: () => ({ cancel: () => {} }) };

function batching(inner: RowwiseSession, options: Partial<BatchingOptions> = {}, now = clock) {
  return new BatchingSession("m", inner, options, { clock: now, logger: silentLogger });
}
function vector(...values: number[]): Tensor {
  return { dtype: "float32", shape: [values.length], data: new Float32Array(values) };
}
const feed = (tensor: Tensor) => new Map([["x", tensor]]);
const run = (session: BatchingSession, tensor: Tensor, cancellation = neverCancelled) =>
  session.run(feed(tensor), ["y"], { cancellation });
const values = (result: { outputs: ReadonlyMap<string, Tensor> }) => [
  ...(result.outputs.get("y")!.data as Float32Array),
];

/** The session, and who sees each run on its way to it; runs that are refused there do not arrive. */
function onTheWay(inner: Session, see: (run: { readonly rows: number }) => unknown): Session {
  return {
    start(feeds, fetches, options, waiter) {
      const refusal = see({ rows: feeds.get("x")!.shape[0]! });
      if (refusal instanceof StatusError) waiter.reject(refusal);
      else startRun(inner, feeds, fetches, options, waiter);
    },
    run: (feeds, fetches, options) => inner.run(feeds, fetches, options),
    release: () => inner.release(),
    load: () => inner.load(),
    get placement() {
      return inner.placement;
    },
  };
}

describe("BatchingSession", () => {
  it("runs a call at once when the model is idle, alone", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const answer = run(session, vector(1, 2));
    await inner.turn();
    assert.deepEqual(values(await answer), [2, 4]);
    assert.deepEqual(inner.batches, [2]);
  });

  it("runs together what came while the model was busy, and gives each caller its own rows", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const first = run(session, vector(0));
    await inner.started();
    const waiting = [run(session, vector(1)), run(session, vector(2, 3)), run(session, vector(4))];
    await inner.turn();
    await inner.turn();
    await first;
    const results = await Promise.all(waiting);
    assert.deepEqual(results.map(values), [[2], [4, 6], [8]]);
    assert.deepEqual(inner.batches, [1, 4]);
    assert.deepEqual(
      results.map(({ batchSize }) => batchSize),
      [4, 4, 4],
    );
  });

  it("refuses none of a burst for a model on this thread, which needs no queue but until the end of the turn", async () => {
    await using runtime = new TestRuntime(alwaysInline);
    const { session: inner } = await runtime.load(affineModel(2, 1));
    assert.equal(inner.placement.kind, "inline");
    const session = new BatchingSession("m", inner, { maxQueue: 10, maxBatchRows: 4 }, { clock, logger: silentLogger });
    const calls = Array.from({ length: 100 }, (_, value) =>
      session.run(feed({ dtype: "float32", shape: [1, 1], data: Float32Array.of(value) }), ["y"], {
        cancellation: neverCancelled,
      }),
    );
    const results = await Promise.all(calls);
    assert.deepEqual(
      results.map((result) => values(result)[0]),
      calls.map((_, value) => 2 * value + 1),
    );
    assert.ok(results.some(({ batchSize }) => batchSize === 4));
  });

  it("finds out what a run costs with single calls, where a large batch would send the model to another thread", async () => {
    await using runtime = new TestRuntime(alwaysInline);
    const { session: inner } = await runtime.load(identityModel("float32", ["n", 800]));
    const batches: number[] = [];
    const watched = onTheWay(inner, ({ rows }) => void batches.push(rows));
    const session = new BatchingSession("m", watched, {}, { clock: systemClock, logger: silentLogger });
    const row = { ...filled("float32", 3200, 1), shape: [1, 800] };
    await Promise.all(Array.from({ length: 300 }, () => borrow(session, raw(row))));
    assert.deepEqual(batches.slice(0, 3), [1, 1, 1]);
    assert.ok(Math.max(...batches) > 1, "batches grow in the end");
    assert.equal(inner.placement.kind, "inline");
  });

  for (const failing of [false, true]) {
    const how = failing ? "that run one by one after their batch has failed" : "of a batch";
    it(`lets callers ${how} borrow outputs, beside others that keep theirs`, async () => {
      await using runtime = new TestRuntime({ ...alwaysInline, inlineMaxFeedBytes: 2 ** 30 });
      const { session: inner } = await runtime.load(identityModel("float32", ["n", 5000]));
      const batches: number[] = [];
      const watched = onTheWay(inner, ({ rows }) => {
        batches.push(rows);
        return failing && rows > 1 ? invalidArgument("not together") : undefined;
      });
      const session = new BatchingSession("m", watched, {}, { clock, logger: silentLogger });
      const rowOf = (seed: number) => ({ ...filled("float32", 20_000, seed), shape: [1, 5000] });
      for (const kept of [0, 1]) {
        const answers = await Promise.all(
          Array.from({ length: 12 }, async (_, index) => {
            const row = raw(rowOf(index));
            if (index >= kept) return (await borrow(session, row)).seen;
            return (await session.run(feed(row), ["y"], { cancellation: neverCancelled })).outputs.get("y")!;
          }),
        );
        for (const [index, answer] of answers.entries()) assertSame(answer, rowOf(index));
      }
      assert.ok(batches.some((rows) => rows > 1));
    });
  }

  it("counts a call's wait from the turn in which it came, though one was to begin already", async () => {
    const inner = new RowwiseSession({ kind: "inline" });
    let nowMs = 0;
    const session = batching(inner, {}, { ...clock, now: () => nowMs });
    const first = run(session, vector(0));
    const second = run(session, vector(1));
    nowMs = 1000;
    const turning = inner.turn();
    await first; // its end has the second wait for the end of this turn
    const third = run(session, vector(2));
    await turning;
    await inner.turn();
    await inner.turn();
    assert.deepEqual([(await second).queueMs, (await third).queueMs], [1000, 0]);
  });

  it("never mixes other shapes, types or fetches", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const matrix = (...data: number[]): Tensor => ({
      dtype: "float32",
      shape: [data.length / 2, 2],
      data: new Float32Array(data),
    });
    const doubles: Tensor = { dtype: "float64", shape: [1], data: new Float64Array([5]) };
    const first = run(session, vector(0));
    await inner.started();
    const waiting = [
      run(session, vector(1)),
      run(session, matrix(1, 2)),
      run(session, doubles),
      session.run(feed(vector(9)), ["y", "z"], { cancellation: neverCancelled }),
      run(session, matrix(3, 4)),
      run(session, vector(6)),
    ];
    for (let i = 0; i < 5; i++) await inner.turn();
    await Promise.all([first, ...waiting]);
    assert.deepEqual(inner.batches, [1, 2, 2, 1, 1]);
  });

  it("lets groups take turns, so that a busy shape does not starve a rare one", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner, { maxBatchRows: 1 });
    const order: string[] = [];
    const first = run(session, vector(0));
    await inner.started();
    const note = (name: string) => () => order.push(name);
    const all = [
      first,
      run(session, vector(1)).then(note("a")),
      run(session, vector(2)).then(note("a")),
      run(session, vector(3)).then(note("a")),
      run(session, { dtype: "float64", shape: [1], data: new Float64Array([4]) }).then(note("rare")),
    ];
    for (let i = 0; i < 5; i++) await inner.turn();
    await Promise.all(all);
    assert.deepEqual(order, ["a", "rare", "a", "a"]);
  });

  it("takes no more rows than the limit, but always one call", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner, { maxBatchRows: 3 });
    const first = run(session, vector(0));
    await inner.started();
    const all = [first, run(session, vector(1, 2)), run(session, vector(3, 4)), run(session, vector(1, 2, 3, 4, 5))];
    for (let i = 0; i < 4; i++) await inner.turn();
    await Promise.all(all);
    assert.deepEqual(inner.batches, [1, 2, 2, 5]);
  });

  it("keeps batches of an expensive model small, by what its rows have cost", async () => {
    const inner = new RowwiseSession({ rowMs: 3 });
    const session = batching(inner, { targetRunMs: 7 });
    const first = run(session, vector(0));
    await inner.turn();
    await first;
    const blocker = run(session, vector(0));
    await inner.started();
    const waiting = [1, 2, 3, 4, 5].map((value) => run(session, vector(value)));
    for (let i = 0; i < 4; i++) await inner.turn();
    await Promise.all([blocker, ...waiting]);
    assert.deepEqual(inner.batches, [1, 1, 2, 2, 1]);
  });

  it("lets a bad call fail alone", async () => {
    const inner = new RowwiseSession({ refuse: (row) => (row === 13 ? invalidArgument("unlucky") : undefined) });
    const session = batching(inner);
    const first = run(session, vector(0));
    await inner.started();
    const waiting = Promise.allSettled([run(session, vector(1)), run(session, vector(13)), run(session, vector(2))]);
    for (let i = 0; i < 5; i++) await inner.turn();
    await first;
    const settled = await waiting;
    assert.deepEqual(
      settled.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.equal((settled[1] as PromiseRejectedResult).reason.message, "unlucky");
  });

  it("fails all calls of a run whose worker died, and runs none of them twice", async () => {
    const inner = new RowwiseSession({ refuse: () => unavailable("the worker died") });
    const session = batching(inner);
    const first = run(session, vector(0));
    await inner.started();
    const waiting = [run(session, vector(1)), run(session, vector(2))];
    const settled = Promise.allSettled([first, ...waiting]);
    await inner.turn();
    await inner.turn();
    for (const result of await settled) assert.equal(result.status, "rejected");
    assert.deepEqual(inner.batches, [1, 2]);
  });

  it("drops a cancelled call before it runs, and answers it at once", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const first = run(session, vector(0));
    await inner.started();
    const source = new CancellationSource();
    const gone = run(session, vector(1), source);
    const stays = run(session, vector(2));
    source.cancel(cancelled("gone"));
    await assert.rejects(gone, /gone/);
    assert.equal(session.load().queued, 1);
    await inner.turn();
    await inner.turn();
    await Promise.all([first, stays]);
    assert.deepEqual(inner.batches, [1, 1]);
  });

  it("drops a call whose deadline passed while it waited", async () => {
    let now = 0;
    const inner = new RowwiseSession();
    const session = batching(inner, {}, { ...clock, now: () => now });
    const first = run(session, vector(0));
    await inner.started();
    const late = run(session, vector(1), new CancellationSource(10));
    const refused = assert.rejects(late, (error) => error instanceof StatusError && error.code === 4);
    now = 11;
    await inner.turn();
    await first;
    await refused;
    assert.deepEqual(inner.batches, [1]);
  });

  it("refuses more calls than may wait", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner, { maxQueue: 2 });
    const first = run(session, vector(0));
    await inner.started();
    const waiting = [run(session, vector(1)), run(session, vector(2))];
    await assert.rejects(run(session, vector(3)), (error) => error instanceof StatusError && error.code === 8);
    await inner.turn();
    await inner.turn();
    await Promise.all([first, ...waiting]);
  });

  it("says that it guesses what a call of many rows takes until three have shown it", async () => {
    await using runtime = new TestRuntime(alwaysInline);
    const { session: inner } = await runtime.load(affineModel(2, 1));
    const expected: (boolean | undefined)[] = [];
    const recorder: Session = {
      placement: inner.placement,
      load: () => inner.load(),
      release: () => inner.release(),
      async run(feeds, fetches, options) {
        expected.push(options.expectedIsGuess);
        return { ...(await inner.run(feeds, fetches, { cancellation: neverCancelled })), computeMs: 0.015 };
      },
    };
    const session = new BatchingSession("m", recorder, {}, { clock, logger: silentLogger });
    for (const rows of [1, 100, 100, 100, 100]) {
      await run(session, { dtype: "float32", shape: [rows, 1], data: new Float32Array(rows) });
    }
    assert.deepEqual(expected, [undefined, true, true, true, false]);
  });

  it("answers each, and goes on, when there is no memory for a batch or a call", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const huge = () => new RawTensor("float32", [1, 2 ** 50], new Uint8Array(8), 0, 2 ** 50);
    await assert.rejects(run(session, huge()), RangeError);
    const first = run(session, vector(0));
    await inner.started();
    const refused = [huge(), huge()].map((tensor) => assert.rejects(run(session, tensor), RangeError));
    const after = run(session, vector(7));
    for (let i = 0; i < 3; i++) await inner.turn();
    await Promise.all([first, ...refused]);
    assert.deepEqual(values(await after), [14]);
    assert.deepEqual(session.load(), { queued: 0, running: 0 });
  });

  it("does not batch scalars, empty batches, or inputs whose first sizes differ", async () => {
    const inner = new RowwiseSession();
    const session = batching(inner);
    const scalar: Tensor = { dtype: "float32", shape: [], data: new Float32Array([3]) };
    const calls = [run(session, scalar), run(session, vector())];
    await inner.turn();
    await inner.turn();
    await Promise.all(calls);
    assert.equal(inner.batches.length, 2);
  });

  it("gives up batching, and answers everyone rightly, when an output lacks the batch's rows", async () => {
    const inner = new RowwiseSession({ collapse: true });
    const session = batching(inner);
    const first = run(session, vector(0));
    await inner.started();
    const waiting = [run(session, vector(1)), run(session, vector(2))];
    for (let i = 0; i < 4; i++) await inner.turn();
    await first;
    assert.deepEqual((await Promise.all(waiting)).map(values), [[2], [4]]);
  });
});
