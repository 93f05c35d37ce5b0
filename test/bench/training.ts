// How fast nets are trained: samples a second of the trainer and of PyTorch, batch 32, Adam, one thread each, in turn,
// several rounds in one run; look at the ratios. Both draw their batches from the same number of rows of noise.
//
//   npm run build && node dist/test/bench/training.js [--rounds=7] [--seconds=1]
//
// PYTORCH_PYTHON names a Python that has PyTorch; else python3 is asked. Without one only the trainer is measured.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { CancellationSource } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { internal } from "../../src/status.js";
import { MemoryExamples, targetField } from "../../src/training/examples.js";
import { layeredModel } from "../../src/training/layered-model.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import { Trainer } from "../../src/training/trainer.js";
import { validateTrainingOptions } from "../../src/training/training-options.js";
import { seededRandom } from "../support/finite-differences.js";
import { pytorchPython, pytorchVersion } from "../support/pytorch.js";
import { repositoryRoot } from "../support/repository-root.js";

const { values: given } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "1" } },
});
const [rounds, seconds] = [Number(given.rounds), Number(given.seconds)];
const batchSize = 32;
const rows = 100 * batchSize;
const classes = 10;

interface Net {
  /** What the Python script calls it. */
  readonly name: string;
  readonly title: string;
  readonly shape: readonly number[];
  readonly layers: readonly LayerSpec[];
}

const answer: LayerSpec = { type: "dense", units: classes, activation: "softmax" };
const convolution = (filters: number): LayerSpec => ({
  ...{ type: "conv2d", filters, kernel: 3, padding: "same", activation: "relu" },
});
const nets: readonly Net[] = [
  {
    name: "mlp",
    title: "MLP 784-512-10",
    shape: [784],
    layers: [{ type: "dense", units: 512, activation: "relu" }, answer],
  },
  {
    name: "lstm",
    title: "LSTM of 128 over 20 steps of 64, dense 10",
    shape: [20, 64],
    layers: [{ type: "lstm", units: 128 }, answer],
  },
  {
    name: "cnn",
    title: "CNN 28x28: conv 16, pool, conv 32, pool, dense 10",
    shape: [1, 28, 28],
    layers: [
      convolution(16),
      { type: "max_pool", size: 2 },
      convolution(32),
      { type: "max_pool", size: 2 },
      { type: "flatten" },
      answer,
    ],
  },
];

/** Trains for a while and tells the samples a second. */
interface Lane {
  readonly title: string;
  train(seconds: number): Promise<number>;
}

class OnnxdLane implements Lane {
  readonly title = "onnxd";
  readonly #trainer: Trainer;

  constructor({ shape, layers }: Net) {
    const random = seededRandom(1);
    const size = shape.reduce((all, axis) => all * axis, 1);
    const x = Float32Array.from({ length: rows * size }, () => random.normal());
    const targets = BigInt64Array.from({ length: rows }, () => BigInt(Math.floor(random.uniform() * classes)));
    this.#trainer = new Trainer(
      layeredModel({ name: "x", dtype: "float32", shape }, layers, 1),
      validateTrainingOptions({
        loss: { kind: "sparse_categorical_crossentropy" },
        optimizer: { kind: "adam" },
        batchSize,
        epochs: 1_000_000,
      }),
      new MemoryExamples(
        new Map([
          ["x", { dtype: "float32", shape: [rows, ...shape], data: x }],
          [targetField, { dtype: "int64", shape: [rows], data: targets }],
        ]),
      ),
    );
  }

  get parameters(): number {
    return this.#trainer.plan.parameterCount;
  }

  async train(seconds: number): Promise<number> {
    const over = internal("the round is over");
    const round = new CancellationSource();
    const began = systemClock.now();
    let samples = 0;
    const onStep = () => {
      samples += batchSize;
      if (systemClock.now() - began >= seconds * 1000) round.cancel(over);
    };
    try {
      await this.#trainer.run({ cancellation: round, clock: systemClock, onStep });
    } catch (error) {
      if (error !== over) throw error;
    }
    return (1000 * samples) / (systemClock.now() - began);
  }

  release(): void {
    this.#trainer.release();
  }
}

/** One Python for all nets; it holds them by lane. */
class Pytorch {
  readonly #process: ChildProcess;
  readonly #answers: NodeJS.AsyncIterator<string>;

  constructor() {
    const script = join(repositoryRoot, "test", "bench", "training-pytorch.py");
    this.#process = spawn(pytorchPython, ["-W", "ignore", script], { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async ask(command: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, number>>> {
    this.#process.stdin!.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("PyTorch has gone");
    return JSON.parse(value) as Record<string, number>;
  }

  async close(): Promise<void> {
    this.#process.stdin!.end();
    if (this.#process.exitCode === null) await once(this.#process, "exit");
  }
}

class PytorchLane implements Lane {
  readonly title: string;
  readonly #python: Pytorch;
  readonly #name: string;

  private constructor(python: Pytorch, name: string, title: string) {
    this.#python = python;
    this.#name = name;
    this.title = title;
  }

  static async start(python: Pytorch, { name: net, shape }: Net, fused: boolean, parameters: number): Promise<Lane> {
    const name = `${net} ${fused}`;
    const started = await python.ask({ do: "start", name, net, shape, rows, fused });
    if (started["parameters"] !== parameters) {
      throw new Error(`PyTorch's ${net} has ${started["parameters"]} weights, ours ${parameters}`);
    }
    return new PytorchLane(python, name, fused ? "PyTorch, Adam fused" : "PyTorch");
  }

  async train(seconds: number): Promise<number> {
    const { samples, seconds: taken } = await this.#python.ask({
      ...{ do: "train", name: this.#name, seconds, batch: batchSize },
    });
    return samples! / taken!;
  }
}

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
/** `1234 (1200 to 1300)`: the median, the lowest and the highest. */
function spread(values: readonly number[], digits: number): string {
  const all = sorted(values);
  const [middle, low, high] = [all[Math.floor(all.length / 2)]!, all[0]!, all.at(-1)!];
  return `${middle.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}

async function measure(net: Net, python: Pytorch | undefined): Promise<void> {
  const ours = new OnnxdLane(net);
  const theirs =
    python === undefined
      ? []
      : [
          await PytorchLane.start(python, net, false, ours.parameters),
          await PytorchLane.start(python, net, true, ours.parameters),
        ];
  const lanes: readonly Lane[] = [ours, ...theirs];
  // Kernels are chosen and memory is taken in the first steps.
  for (const lane of lanes) await lane.train(seconds);
  const results = lanes.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, lane] of lanes.entries()) results[index]!.push(await lane.train(seconds));
  }
  ours.release();
  console.log(`\n${net.title}`);
  lanes.forEach((lane, index) => {
    const own = results[index]!;
    const ratios = results[0]!.map((value, round) => value / own[round]!);
    const ratio = index === 0 ? "" : `  onnxd is ${spread(ratios, 2)} × as fast`;
    console.log(`  ${lane.title.padEnd(20)} ${spread(own, 0)}${ratio}`);
  });
}

const version = pytorchVersion();
const python = version === undefined ? undefined : new Pytorch();
if (python === undefined) console.log("skipped: PyTorch (a Python that has it, in PYTORCH_PYTHON)");
else console.log(`PyTorch ${version}, eager, one thread`);
console.log(`samples a second, batch ${batchSize}: median of ${rounds} rounds of ${seconds} s (lowest to highest)`);
try {
  for (const net of nets) await measure(net, python);
} finally {
  await python?.close();
}
