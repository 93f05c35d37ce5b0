// What a call costs beyond the run itself, on the serving thread and through a thread pool. Both sides take turns, five
// rounds, in one process; the medians' ratios are what to read, since machines are shared.
//
//     npx tsc -p tsconfig.json && node dist/test/bench/placement.js
import { neverCancelled } from "../../src/cancellation.js";
import type { Session } from "../../src/runtime/index.js";
import { createNativeSession } from "../../src/runtime/placement/native-session.js";
import type { Tensor } from "../../src/tensor/index.js";
import { affineModel, mlpModel } from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";

const rounds = 5;
const floats = (width: number): Tensor => ({
  dtype: "float32",
  shape: [1, width],
  data: new Float32Array(width).fill(0.5),
});

interface Side {
  readonly name: string;
  /** Microseconds a call. */
  readonly measure: () => Promise<number>;
}

for (const { name, model, feed, fetch, calls } of [
  { name: "y = 2 x + 1 on one float", model: affineModel(2, 1), feed: "x", fetch: "y", calls: 5_000, width: 1 },
  {
    name: "MLP 784-256-10",
    model: mlpModel([784, 256, 10]),
    feed: "features",
    fetch: "probabilities",
    calls: 3_000,
    width: 784,
  },
].map((row) => ({ ...row, feed: new Map([[row.feed, floats(row.width)]]), fetch: [row.fetch] }))) {
  await using inline = new TestRuntime({ ...alwaysInline, inlineMaxFeedBytes: 1e9 });
  await using pooled = new TestRuntime(alwaysPool);
  const onThisThread = (await inline.load(model)).session;
  const inOneThread = (await pooled.load(model, { poolSize: 1 })).session;
  const inTwoThreads = (await pooled.load(model, { poolSize: 2 })).session;
  if (onThisThread.placement.kind !== "inline") throw new Error(onThisThread.placement.reason);
  const source = { path: inline.write(model), bytes: undefined, externalDataFolder: undefined };
  const native = createNativeSession(source, 1);
  const through = (session: Session, atATime: number) => () =>
    microsPerCall(calls, atATime, () => session.run(feed, fetch, { cancellation: neverCancelled }));

  await compare(name, [
    { name: "the run alone", measure: () => microsPerCall(calls, 1, async () => native.run(feed, fetch)) },
    { name: "inline, one at a time", measure: through(onThisThread, 1) },
    { name: "pool of 1, one at a time", measure: through(inOneThread, 1) },
    { name: "pool of 1, 16 at a time", measure: through(inOneThread, 16) },
    { name: "pool of 2, 16 at a time", measure: through(inTwoThreads, 16) },
  ]);
  native.release();
}

async function microsPerCall(calls: number, atATime: number, call: () => Promise<unknown>): Promise<number> {
  let left = calls;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      while (left-- > 0) await call();
    }),
  );
  return ((performance.now() - start) * 1000) / calls;
}

async function compare(what: string, sides: readonly Side[]): Promise<void> {
  const measured = sides.map((): number[] => []);
  for (const { measure } of sides) await measure(); // compiled, and memory in place
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, { measure }] of sides.entries()) measured[i]!.push(await measure());
  }
  const medians = measured.map((values) => values.sort((a, b) => a - b)[rounds >> 1]!);
  console.log(what);
  for (const [i, { name }] of sides.entries()) {
    const ratio = medians[i]! / medians[0]!;
    console.log(`  ${name.padEnd(26)}${medians[i]!.toFixed(1).padStart(8)} µs a call  × ${ratio.toFixed(2)}`);
  }
}
