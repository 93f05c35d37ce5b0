import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import {
  type BatchingParameters,
  type BatchReport,
  type RunResult,
  ScheduledBatchingSession,
  SharedBatchScheduler,
  validateBatchingParameters,
} from "../../src/runtime/index.js";
import { deadlineExceeded, invalidArgument } from "../../src/status.js";
import type { Tensor } from "../../src/tensor/index.js";
import { FakeClock } from "../support/fake-clock.js";
import { rejectsWith } from "../support/rejects-with.js";
import { type RowwiseOptions, RowwiseSession } from "../support/rowwise-session.js";
import { floatTensor } from "../support/test-models.js";

function setUp(parameters: BatchingParameters = {}, rowwise: RowwiseOptions = {}, numBatchThreads = 1) {
  const clock = new FakeClock();
  const inner = new RowwiseSession({ sessions: 8, ...rowwise });
  const scheduler = new SharedBatchScheduler({ numBatchThreads, clock });
  const reports: BatchReport[] = [];
  const session = new ScheduledBatchingSession(inner, validateBatchingParameters(parameters), {
    scheduler,
    clock,
    onBatch: (report) => reports.push(report),
  });
  const run = (x: Tensor, cancellation = neverCancelled, fetches = ["y"]) =>
    session.run(new Map([["x", x]]), fetches, { cancellation });
  return { clock, inner, scheduler, session, reports, run };
}

const row = (...values: number[]) => floatTensor([values.length], ...values);
const valuesOf = (result: RunResult) => [...(result.outputs.get("y")!.data as Float32Array)];
const turns = async (count = 3) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe("batching parameters", () => {
  it("are refused in TensorFlow Serving's words", async () => {
    for (const [given, words] of [
      [{ batchTimeoutMicros: -1 }, /^batch_timeout_micros must be non-negative; was -1$/],
      [
        { maxBatchSize: 8, allowedBatchSizes: [2, 4] },
        /^Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8$/,
      ],
      [
        { allowedBatchSizes: [2, 4] },
        /^Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 1000$/,
      ],
      [
        { maxBatchSize: 4, enableLargeBatchSplitting: true, maxExecutionBatchSize: 8 },
        /^When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to max_execution_batch_size\.$/,
      ],
      [{ maxBatchSize: 0 }, /max_batch_size/],
    ] as const) {
      await rejectsWith("INVALID_ARGUMENT", words, () => validateBatchingParameters(given));
    }
    await rejectsWith(
      "INVALID_ARGUMENT",
      /^num_batch_threads must be positive; was 0$/,
      () => new SharedBatchScheduler({ numBatchThreads: 0, clock: new FakeClock() }),
    );
  });

  it("have TensorFlow Serving's defaults", () => {
    assert.deepEqual(validateBatchingParameters({}), {
      maxBatchSize: 1000,
      batchTimeoutMicros: 0,
      maxEnqueuedBatches: 10,
      allowedBatchSizes: [],
      padVariableLengthInputs: false,
      enableLargeBatchSplitting: false,
      maxExecutionBatchSize: 1000,
    });
    assert.equal(validateBatchingParameters({ maxEnqueuedBatches: 0 }).maxEnqueuedBatches, 1);
  });
});

describe("a batching session by parameters", () => {
  it("runs together what came together, and gives each its own rows", async () => {
    const { inner, run, reports } = setUp();
    const calls = [run(row(1)), run(row(2, 3)), run(row(4))];
    await inner.turn();
    const results = await Promise.all(calls);
    assert.deepEqual(results.map(valuesOf), [[2], [4, 6], [8]]);
    assert.deepEqual(inner.batches, [4]);
    assert.deepEqual(
      results.map(({ batchSize }) => batchSize),
      [4, 4, 4],
    );
    assert.deepEqual(reports[0]!.sizes, [1, 2, 1]);
  });

  it("waits for company as long as batch_timeout_micros, and no longer once a batch is full", async () => {
    const { inner, run, clock } = setUp({ maxBatchSize: 3, batchTimeoutMicros: 5000 });
    const first = run(row(1));
    await turns();
    clock.advance(4.9);
    await turns();
    assert.equal(inner.load().running, 0);
    clock.advance(0.2);
    await turns();
    assert.equal(inner.load().running, 1);
    await inner.turn();
    assert.deepEqual(valuesOf(await first), [2]);
    const full = [run(row(1)), run(row(2, 3))];
    await turns();
    assert.equal(inner.load().running, 1);
    await inner.turn();
    await Promise.all(full);
  });

  it("closes a batch that the next call does not fit into", async () => {
    const { inner, run, clock } = setUp({ maxBatchSize: 3, batchTimeoutMicros: 5000 }, {}, 2);
    const calls = [run(row(1, 2)), run(row(3, 4))];
    await turns();
    assert.equal(inner.load().running, 1);
    clock.advance(5);
    await turns();
    assert.equal(inner.load().running, 2);
    await inner.turn();
    await inner.turn();
    assert.deepEqual((await Promise.all(calls)).map(valuesOf), [
      [2, 4],
      [6, 8],
    ]);
  });

  it("refuses what is too large, has no rows in common, or finds the queue full, in TensorFlow Serving's words", async () => {
    const { session, inner, run } = setUp({ maxBatchSize: 2, maxEnqueuedBatches: 2 });
    await rejectsWith("INVALID_ARGUMENT", /^Task size 3 is larger than maximum input batch size 2$/, () =>
      run(row(1, 2, 3)),
    );
    const runAll = (feeds: [string, Tensor][]) => session.run(new Map(feeds), ["y"], { cancellation: neverCancelled });
    await rejectsWith("INVALID_ARGUMENT", /^Batching Run\(\) must have at least one input tensor$/, () => runAll([]));
    await rejectsWith("INVALID_ARGUMENT", /^Batching Run\(\) input tensors must have at least one dimension$/, () =>
      runAll([["x", floatTensor([], 1)]]),
    );
    await rejectsWith("INVALID_ARGUMENT", /^Batching Run\(\) input tensors must have equal 0th-dimension size$/, () =>
      runAll([
        ["x", row(1)],
        ["z", row(1, 2)],
      ]),
    );
    const running = run(row(0, 0));
    await inner.started();
    const waiting = [run(row(1, 2)), run(row(3, 4))];
    await rejectsWith(
      "UNAVAILABLE",
      /^The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and max_enqueued_batches is 2$/,
      () => run(row(5)),
    );
    for (let i = 0; i < 3; i++) await inner.turn();
    assert.deepEqual((await Promise.all([running, ...waiting])).map(valuesOf), [
      [0, 0],
      [2, 4],
      [6, 8],
    ]);
  });

  it("runs a request without rows unbatched", async () => {
    const { inner, run } = setUp();
    const empty = run(floatTensor([0]));
    await inner.turn();
    assert.deepEqual((await empty).outputs.get("y")!.shape, [0]);
  });

  it("pads a batch up to an allowed size with the first row of its last request, and takes the padding off", async () => {
    const { inner, run, reports } = setUp({ maxBatchSize: 8, allowedBatchSizes: [4, 8] });
    const calls = [run(row(1)), run(row(5, 6))];
    await inner.turn();
    assert.deepEqual((await Promise.all(calls)).map(valuesOf), [[2], [10, 12]]);
    assert.deepEqual(inner.batches, [4]);
    assert.deepEqual(inner.feeds[0], [1, 5, 6, 5]);
    assert.equal(reports[0]!.processed, 4);
  });

  it("pads variable lengths with each tensor's first element, and leaves the outputs so", async () => {
    const { inner, run } = setUp({ padVariableLengthInputs: true });
    const calls = [
      run(floatTensor([1, 1, 2], 1, 2)),
      run(floatTensor([1, 2, 1], 3, 4)),
      run(floatTensor([1, 2, 2], 5, 6, 7, 8)),
    ];
    await inner.turn();
    const results = await Promise.all(calls);
    assert.deepEqual(
      results.map((result) => result.outputs.get("y")!.shape),
      [
        [1, 2, 2],
        [1, 2, 2],
        [1, 2, 2],
      ],
    );
    assert.deepEqual(results.map(valuesOf), [
      [2, 4, 2, 2],
      [6, 6, 8, 6],
      [10, 12, 14, 16],
    ]);
  });

  it("refuses an empty row beside others when it has to be padded, and it alone", async () => {
    const { inner, run } = setUp({ padVariableLengthInputs: true });
    const [empty, other] = [run(floatTensor([1, 0])), run(floatTensor([1, 2], 1, 2))];
    const refused = rejectsWith("INVALID_ARGUMENT", /^Got empty tensor in batch of non-empty tensors\.$/, () => empty);
    await inner.turn();
    await refused;
    assert.deepEqual(valuesOf(await other), [2, 4]);
  });

  it("runs rows of different sizes apart where padding is off: nobody is failed for a neighbour's shape", async () => {
    const { inner, run } = setUp();
    const calls = [run(floatTensor([1, 2], 1, 2)), run(floatTensor([1, 3], 3, 4, 5)), run(floatTensor([1, 2], 6, 7))];
    for (let i = 0; i < 4; i++) await inner.turn();
    assert.deepEqual((await Promise.all(calls)).map(valuesOf), [
      [2, 4],
      [6, 8, 10],
      [12, 14],
    ]);
    assert.deepEqual(inner.batches, [2, 1]);
  });

  it("splits a large request, fills the open batch first, and joins the pieces", async () => {
    const { inner, run } = setUp({ maxBatchSize: 10, enableLargeBatchSplitting: true, maxExecutionBatchSize: 4 });
    const calls = [run(row(1)), run(row(...Array.from({ length: 10 }, (_, i) => i)))];
    for (let i = 0; i < 6; i++) await inner.turn();
    const results = await Promise.all(calls);
    assert.deepEqual(results.map(valuesOf), [[2], Array.from({ length: 10 }, (_, i) => 2 * i)]);
    assert.deepEqual(inner.batches, [4, 4, 3]);
  });

  it("says what a queue could have taken when a large request finds it full", async () => {
    const { inner, run } = setUp({
      maxBatchSize: 10,
      enableLargeBatchSplitting: true,
      maxExecutionBatchSize: 2,
      maxEnqueuedBatches: 2,
    });
    const running = run(row(1, 1));
    await inner.started();
    const waiting = run(row(1));
    await rejectsWith(
      "UNAVAILABLE",
      /^The batch scheduling queue to which this task was submitted is full; task size is 9 but scheduling capacity is only 3 \(num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=1, max_execution_batch_size=2\)$/,
      () => run(row(1, 2, 3, 4, 5, 6, 7, 8, 9)),
    );
    await inner.turn();
    await inner.turn();
    await Promise.all([running, waiting]);
  });

  it("fails a bad request alone", async () => {
    const { inner, run } = setUp({}, { refuse: (x) => (x === 13 ? invalidArgument("13 is refused") : undefined) });
    const bad = run(row(13));
    const calls = [run(row(1)), run(row(2))];
    const refused = rejectsWith("INVALID_ARGUMENT", /13 is refused/, () => bad);
    for (let i = 0; i < 6; i++) await inner.turn();
    await refused;
    assert.deepEqual((await Promise.all(calls)).map(valuesOf), [[2], [4]]);
  });

  it("says when a model's outputs do not have the rows of its inputs", async () => {
    const { inner, run } = setUp({}, { collapse: true });
    const call = run(row(1, 2));
    const refused = rejectsWith(
      "FAILED_PRECONDITION",
      /^Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors$/,
      () => call,
    );
    await inner.turn();
    await refused;
  });

  it("answers RESOURCE_EXHAUSTED when all of a batch have run out of time, and runs it when one has not", async () => {
    const words = /^Run\(\) timeout exceeded while waiting in batching queue$/;
    const { inner, run, clock } = setUp();
    const running = run(row(0));
    await inner.started();
    const late = run(row(1), new CancellationSource(clock.now() + 10));
    const refused = rejectsWith("RESOURCE_EXHAUSTED", words, () => late);
    clock.advance(20);
    await inner.turn();
    await refused;
    await running;

    const again = run(row(0));
    await inner.started();
    const mixed = [run(row(1), new CancellationSource(clock.now() + 10)), run(row(2))];
    clock.advance(20);
    await inner.turn();
    await inner.turn();
    assert.deepEqual((await Promise.all(mixed)).map(valuesOf), [[2], [4]]);
    await again;

    const source = new CancellationSource();
    const told = rejectsWith("RESOURCE_EXHAUSTED", words, () => run(row(1), source));
    source.cancel(deadlineExceeded("late"));
    await told;
  });

  it("shares batch threads among models, which take turns", async () => {
    const clock = new FakeClock();
    const scheduler = new SharedBatchScheduler({ numBatchThreads: 1, clock });
    const order: string[] = [];
    const model = (name: string) => {
      const inner = new RowwiseSession({ onRun: () => order.push(name) });
      const session = new ScheduledBatchingSession(inner, validateBatchingParameters({ maxBatchSize: 1 }), {
        scheduler,
        clock,
      });
      return { inner, run: () => session.run(new Map([["x", row(1)]]), ["y"], { cancellation: neverCancelled }) };
    };
    const [a, b] = [model("a"), model("b")];
    const calls = [a.run(), a.run(), a.run(), b.run(), b.run()];
    for (let i = 0; i < 12; i++) {
      await a.inner.turn();
      await b.inner.turn();
    }
    await Promise.all(calls);
    assert.deepEqual(order, ["a", "b", "a", "b", "a"]);
  });

  it("forgets queues that nobody uses, and all of them when it is released", async () => {
    const { inner, run, scheduler, session } = setUp();
    for (let i = 0; i < 200; i++) {
      const call = run(row(1), neverCancelled, [`y${i}`]);
      await inner.turn();
      await call;
    }
    assert.ok(scheduler.queues <= 64);
    await session.release();
    assert.equal(scheduler.queues, 0);
  });
});
