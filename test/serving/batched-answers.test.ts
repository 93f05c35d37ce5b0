// What batching promises, of random mixes of requests: an answer is the one that the request gets alone, each request is
// answered once, no row is run twice, and one that fails does so for a reason of its own. By what waits together, and by
// TensorFlow Serving's parameters. Every seed is the same mix each time: the clock and the runs are turned by hand.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import type { Signature, TensorSpec } from "../../src/onnx/index.js";
import {
  BatchingSession,
  type PlacementInfo,
  type RunOptions,
  type RunResult,
  ScheduledBatchingSession,
  type Session,
  SharedBatchScheduler,
  validateBatchingParameters,
} from "../../src/runtime/index.js";
import { type PredictResult, predict, type ServableLender, type TensorSource } from "../../src/serving/index.js";
import { cancelled, deadlineExceeded, internal, StatusError } from "../../src/status.js";
import { silentLogger } from "../../src/telemetry/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { FakeClock } from "../support/fake-clock.js";
import { SeededRandom } from "../support/seeded-random.js";
import { describeGraph, signatureOf } from "../support/servables.js";

type Feeds = ReadonlyMap<string, Tensor>;

const x: TensorSpec = { name: "x", dtype: "float32", shape: ["batch", "width"] };
const flat: TensorSpec = { ...x, shape: ["batch"] };
const bias: TensorSpec = { name: "bias", dtype: "float32", shape: ["batch"] };
const out = (name: string, shape: TensorSpec["shape"]): TensorSpec => ({ name, dtype: "float32", shape });
const [doubled, sums, biased] = [out("doubled", x.shape), out("row_sum", ["batch"]), out("biased", x.shape)];
const signatures: readonly Signature[] = [
  signatureOf([x], [doubled, sums]),
  signatureOf([flat], [doubled], { key: "flat" }),
  signatureOf([], [], {
    key: "biased",
    inputs: new Map([
      ["data", x],
      ["offset", bias],
    ]),
    outputs: new Map([
      ["biased", biased],
      ["sums", sums],
    ]),
  }),
];

/** The value that a run fails on. */
const bad = -1;

/** What a row is does not depend on its neighbours. */
function compute(feeds: Feeds, fetches: readonly string[]): ReadonlyMap<string, Tensor> {
  const { data: values, shape } = feeds.get("x") as Tensor & { data: Float32Array };
  if (values.includes(bad)) throw internal("a value that cannot be computed with");
  const rows = shape[0]!;
  const width = shape[1] ?? 1;
  const each = (f: (value: number, row: number) => number, of = values): Float32Array =>
    of.map((value, i) => f(value, Math.floor(i / width)));
  const offsets = feeds.get("bias")?.data as Float32Array | undefined;
  const all: Record<string, () => Tensor> = {
    doubled: () => ({ dtype: "float32", shape, data: each((value) => 2 * value) }),
    biased: () => ({ dtype: "float32", shape, data: each((value, row) => value + offsets![row]!) }),
    row_sum: () => {
      const data = new Float32Array(rows);
      for (let i = 0; i < values.length; i++) data[Math.floor(i / width)]! += values[i]!;
      return { dtype: "float32", shape: [rows], data };
    },
  };
  return new Map(fetches.map((name) => [name, all[name]!()]));
}

/** Runs that end when the test says so. */
class CrankedSession implements Session {
  readonly placement: PlacementInfo;
  /** First values of the rows of each run that succeeded. */
  readonly succeeded: Set<number>[] = [];
  readonly #runs: (() => void)[] = [];

  constructor(sessions: number) {
    this.placement = { kind: "thread-pool", sessions, intraOpThreads: 1, warmupRunMicros: undefined, reason: "a test" };
  }

  run(feeds: Feeds, fetches: readonly string[]): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      this.#runs.push(() => {
        try {
          const outputs = compute(feeds, fetches);
          const { data, shape } = feeds.get("x") as Tensor & { data: Float32Array };
          const width = shape[1] ?? 1;
          this.succeeded.push(new Set(data.filter((_, i) => i % width === 0)));
          resolve({ outputs, queueMs: 0, computeMs: 1, batchSize: shape[0]! });
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Ends the oldest run, if there is one. */
  async turn(): Promise<void> {
    await eventLoop();
    this.#runs.shift()?.();
    await eventLoop();
  }

  load() {
    return { queued: 0, running: this.#runs.length };
  }

  async release(): Promise<void> {}
}

const eventLoop = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

class Lender implements ServableLender {
  open = 0;
  readonly #session: Session;
  constructor(session: Session) {
    this.#session = session;
  }
  getServableHandle() {
    this.open++;
    const servable = {
      id: { name: "m", version: 1n },
      signatures: new Map(signatures.map((signature) => [signature.key, signature])),
      session: this.#session,
      description: describeGraph([x, bias], [doubled, sums, biased]),
    };
    return { servable, [Symbol.dispose]: () => void this.open-- };
  }
}

interface Request {
  readonly signatureName: string;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputFilter: readonly string[];
  readonly rows: number;
}

function randomRequest(random: SeededRandom, nextValue: () => number): Request {
  const signature = random.pick(signatures);
  const rows = random.chance(0.1) ? random.below(11) : 1 + random.below(3);
  const isFlat = signature.key === "flat";
  const width = isFlat ? 1 : 1 + random.below(3);
  const values = Float32Array.from({ length: rows * width }, nextValue);
  if (random.chance(0.04) && values.length > 0) values[random.below(values.length)] = bad;
  const tensor: Tensor = { dtype: "float32", shape: isFlat ? [rows] : [rows, width], data: values };
  const inputs = new Map<string, Tensor>([[signature.key === "biased" ? "data" : "x", tensor]]);
  if (signature.key === "biased") {
    // Now and then of other rows than the data: refused before it could meet anybody else.
    const offsets = random.chance(0.05) ? rows + 1 : rows;
    inputs.set("offset", {
      dtype: "float32",
      shape: [offsets],
      data: Float32Array.from({ length: offsets }, nextValue),
    });
  }
  const aliases = [...signature.outputs.keys()].filter(() => random.chance(0.2));
  const outputFilter = random.chance(0.02) ? ["none"] : random.chance(0.5) ? aliases : aliases.reverse();
  return { signatureName: signature.key, inputs, outputFilter, rows };
}

type Outcome = { readonly result: PredictResult } | { readonly error: StatusError };

function ask(
  lender: Lender,
  { signatureName, inputs, outputFilter }: Request,
  cancellation: RunOptions["cancellation"],
) {
  const sources = new Map<string, TensorSource>(
    Array.from(inputs, ([alias, tensor]) => {
      const decode = () => ({ ...tensor, data: (tensor.data as Float32Array).slice() });
      return [alias, { invalid: undefined, dtype: tensor.dtype, shape: tensor.shape, decode }];
    }),
  );
  const request = { modelSpec: { name: "m", signatureName }, inputs: () => sources, outputFilter };
  return predict(lender, request, cancellation).then(
    (result): Outcome => ({ result }),
    (error): Outcome => {
      assert.ok(error instanceof StatusError, String(error));
      return { error };
    },
  );
}

/** Alone, as if nothing were ever batched. */
function unbatched(request: Request): Promise<Outcome> {
  const session: Session = {
    ...new CrankedSession(1),
    run: async (feeds, fetches) => ({ outputs: compute(feeds, fetches), queueMs: 0, computeMs: 0, batchSize: 0 }),
    load: () => ({ queued: 0, running: 0 }),
    release: async () => {},
  };
  return ask(new Lender(session), request, neverCancelled);
}

interface Batching {
  readonly session: Session;
  /** Whether rows of one batch are padded to one width. */
  readonly pads: boolean;
  /** Why the queue, and no fault of its own, may refuse a request of so many rows. */
  refusal(rows: number): RegExp | undefined;
}

function automatic(random: SeededRandom, inner: Session, clock: FakeClock): Batching {
  const options = { maxBatchRows: 1 + random.below(16), maxQueue: random.chance(0.3) ? 4 : 1024 };
  return {
    session: new BatchingSession("m", inner, options, { clock, logger: silentLogger }),
    pads: false,
    refusal: () => /^Model m: \d+ calls are waiting, and no more than that may wait$/,
  };
}

function byParameters(random: SeededRandom, inner: Session, clock: FakeClock): Batching {
  const enableLargeBatchSplitting = random.chance(0.5);
  const pads = random.chance(0.3);
  const parameters = validateBatchingParameters({
    maxBatchSize: 8,
    batchTimeoutMicros: random.below(2) * 3000,
    maxEnqueuedBatches: 1 + random.below(4),
    padVariableLengthInputs: pads,
    allowedBatchSizes: random.chance(0.5) ? [3, 5, 8] : [],
    enableLargeBatchSplitting,
    ...(enableLargeBatchSplitting && { maxExecutionBatchSize: 1 + random.below(8) }),
  });
  const scheduler = new SharedBatchScheduler({ numBatchThreads: 1 + random.below(3), clock });
  return {
    session: new ScheduledBatchingSession(inner, parameters, { scheduler, clock }),
    pads,
    refusal: (rows) =>
      rows > 8
        ? /^Task size \d+ is larger than maximum input batch size 8$/
        : /^(The batch scheduling queue to which this task was submitted is full;|The pieces of a large request)/,
  };
}

for (const [how, makeBatching] of [
  ["by what waits together", automatic],
  ["by enable_batching's parameters", byParameters],
] as const) {
  describe(`any mix of requests, batched ${how}`, () => {
    it("is answered as each request is alone, and once", async () => {
      const seen = { answers: 0, refusals: 0, batches: 0 };
      for (let seed = 1; seed <= 60; seed++) await mixOf(seed, makeBatching, seen);
      // The mixes have what they are for.
      assert.ok(seen.answers > 1000 && seen.refusals > 500 && seen.batches > 300, JSON.stringify(seen));
    });
  });
}

async function mixOf(
  seed: number,
  makeBatching: typeof automatic,
  seen: { answers: number; refusals: number; batches: number },
): Promise<void> {
  const random = new SeededRandom(seed);
  const clock = new FakeClock();
  const inner = new CrankedSession(1 + random.below(3));
  const { session, pads, refusal } = makeBatching(random, inner, clock);
  const lender = new Lender(session);
  let value = 0;
  const nextValue = () => ++value;
  const calls: Promise<void>[] = [];
  let answered = 0;
  const check = async (request: Request, excuse: RegExp | undefined, outcome: Outcome) => {
    answered++;
    const alone = await unbatched(request);
    if ("result" in outcome) {
      seen.answers++;
      if (outcome.result.batchSize > request.rows) seen.batches++;
      assert.ok("result" in alone, `seed ${seed}: ${"error" in alone && alone.error.message}`);
      assert.deepEqual([...outcome.result.outputs.keys()], [...alone.result.outputs.keys()], `seed ${seed}`);
      for (const [alias, tensor] of alone.result.outputs) {
        const got: Tensor = outcome.result.outputs.get(alias)!;
        if (pads) assertPadded(got, tensor, alias, request, seed);
        else
          assert.deepEqual(
            [got.shape, [...(got.data as Float32Array)]],
            [tensor.shape, [...(tensor.data as Float32Array)]],
            `seed ${seed}`,
          );
      }
      return;
    }
    seen.refusals++;
    const { message } = outcome.error;
    if ("error" in alone && alone.error.message === message) return;
    const queue = refusal(request.rows);
    assert.ok(excuse?.test(message) === true || queue?.test(message) === true, `seed ${seed}: ${message}`);
  };
  for (let step = 0; step < 50; step++) {
    const action = random.below(9);
    if (action < 6) {
      const request = randomRequest(random, nextValue);
      const fate = random.below(12);
      const deadlineMs = fate <= 1 ? clock.now() + random.below(6) : undefined;
      const source = new CancellationSource(deadlineMs);
      let excuse: RegExp | undefined;
      if (deadlineMs !== undefined) {
        // As the doors do it, whose timers may also come after the queue has looked.
        if (fate === 0) clock.setTimer(deadlineMs - clock.now(), () => source.cancel(deadlineExceeded("too late")));
        excuse = /^(too late|Run\(\) timeout exceeded while waiting in batching queue|Model m: the deadline passed)/;
      } else if (fate <= 3) {
        excuse = /^withdrawn$/;
        const withdraw = () => source.cancel(cancelled("withdrawn"));
        if (fate === 2) setImmediate(withdraw);
        else clock.setTimer(random.below(4), withdraw);
      }
      calls.push(ask(lender, request, source).then((outcome) => check(request, excuse, outcome)));
    } else if (action === 6) clock.advance(random.below(4));
    else await inner.turn();
  }
  for (let i = 0; i < 1000 && answered < calls.length; i++) {
    clock.advance(10);
    await inner.turn();
  }
  assert.equal(answered, calls.length, `seed ${seed}: some were never answered`);
  await Promise.all(calls);
  assert.equal(lender.open, 0, `seed ${seed}`);
  assert.equal(session.load().queued, 0, `seed ${seed}`);
  const runs = new Set<number>();
  for (const rows of inner.succeeded) {
    for (const row of rows) {
      assert.ok(!runs.has(row), `seed ${seed}: a row was run twice`);
      runs.add(row);
    }
  }
  await session.release();
  clock.advance(1000);
  assert.equal(clock.pending, 0);
}

/** Rows made wider with an element of their own tensor (a piece of a large request is padded with its own), else as it is. */
function assertPadded(got: Tensor, alone: Tensor, alias: string, { inputs }: Request, seed: number): void {
  if (alias === "row_sum" || alias === "sums") {
    // A sum is one of what was added, too: TensorFlow Serving's padding changes it.
    assert.deepEqual(got.shape, alone.shape);
    return;
  }
  const [rows, width = 1] = alone.shape as [number, number?];
  const [gotRows, gotWidth = 1] = got.shape as [number, number?];
  assert.equal(gotRows, rows, `seed ${seed}`);
  const offsets = inputs.get("offset")?.data as Float32Array | undefined;
  const own = (inputs.get("x") ?? inputs.get("data"))!.data as Float32Array;
  for (let row = 0; row < rows; row++) {
    const values = Array.from(got.data as Float32Array).slice(row * gotWidth, (row + 1) * gotWidth);
    const wanted = Array.from(alone.data as Float32Array).slice(row * width, (row + 1) * width);
    assert.deepEqual(values.slice(0, width), wanted, `seed ${seed}`);
    const padding = Array.from(own, (value) => (offsets === undefined ? 2 * value : value + offsets[row]!));
    for (const value of values.slice(width)) assert.ok(padding.includes(value), `seed ${seed}`);
  }
}
