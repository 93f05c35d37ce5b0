// The loss of every step against PyTorch's, from the same initial weights over the same batches.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import type { NumericTensor } from "../../src/tensor/index.js";
import { MemoryExamples, targetField } from "../../src/training/examples.js";
import { numbers, tensorOf } from "../../src/training/graph-emitter.js";
import { layeredModel } from "../../src/training/layered-model.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import type { LossKind } from "../../src/training/losses.js";
import type { OptimizerKind } from "../../src/training/optimizers/optimizer.js";
import { type StepReport, Trainer } from "../../src/training/trainer.js";
import { validateTrainingOptions } from "../../src/training/training-options.js";
import { seededRandom } from "../support/finite-differences.js";
import { type PytorchJob, pytorchVersion, trainWithPytorch } from "../support/pytorch.js";

interface Net {
  readonly name: string;
  readonly layers: readonly LayerSpec[];
  readonly input: readonly number[];
  readonly loss: LossKind;
  /** 0: a number is predicted. */
  readonly classes: number;
  readonly optimizer: OptimizerKind;
  readonly learningRate: number;
}

const nets: readonly Net[] = [
  {
    name: "linear regression",
    layers: [{ type: "dense", units: 1 }],
    input: [3],
    loss: "mse",
    classes: 0,
    optimizer: "sgd",
    learningRate: 0.05,
  },
  {
    name: "the tutorial's net for yes or no",
    layers: [
      { type: "dense", units: 64, activation: "relu" },
      { type: "dense", units: 32, activation: "relu" },
      { type: "dense", units: 1, activation: "sigmoid" },
    ],
    input: [20],
    loss: "binary_crossentropy",
    classes: 2,
    optimizer: "adam",
    learningRate: 0.001,
  },
  {
    name: "the tutorial's net for digits",
    layers: [
      { type: "dense", units: 512, activation: "relu" },
      { type: "dense", units: 10, activation: "softmax" },
    ],
    input: [784],
    loss: "categorical_crossentropy",
    classes: 10,
    optimizer: "rmsprop",
    learningRate: 0.0005,
  },
  {
    name: "a convolutional net",
    layers: [
      { type: "conv2d", filters: 8, kernel: 3, padding: "same", activation: "relu" },
      { type: "max_pool", size: 2 },
      { type: "conv2d", filters: 16, kernel: 3, activation: "relu" },
      { type: "flatten" },
      { type: "dense", units: 5, activation: "softmax" },
    ],
    input: [1, 10, 10],
    loss: "sparse_categorical_crossentropy",
    classes: 5,
    optimizer: "adamw",
    learningRate: 0.001,
  },
  {
    name: "an lstm",
    layers: [
      { type: "lstm", units: 16 },
      { type: "dense", units: 1, activation: "sigmoid" },
    ],
    input: [12, 4],
    loss: "binary_crossentropy",
    classes: 2,
    optimizer: "momentum",
    learningRate: 0.05,
  },
];

const [rows, batchSize, steps] = [640, 32, 100];

/** Rows whose answers follow from them, so that there is something to learn. Targets are [rows, 1], or ones of classes. */
function rowsOf({ input, classes, loss }: Net) {
  const random = seededRandom(6);
  const size = input.reduce((all, axis) => all * axis, 1);
  const x = Array.from({ length: rows * size }, () => random.normal());
  const rule = Array.from({ length: size }, () => random.normal() / Math.sqrt(size));
  const targets = Array.from({ length: rows }, (_, row) => {
    const score = rule.reduce((sum, factor, i) => sum + factor * x[row * size + i]!, 0);
    if (classes === 0) return score;
    if (classes === 2) return Number(score > 0);
    return Math.min(classes - 1, Math.max(0, Math.floor((score + 2) * (classes / 4))));
  });
  const ones = loss === "categorical_crossentropy";
  return {
    x: tensorOf("float32", [rows, ...input], x) as NumericTensor,
    targets: ones
      ? targets.flatMap((own) => Array.from({ length: classes }, (_, one) => Number(one === own)))
      : targets,
    width: ones ? classes : 1,
  };
}

/** The losses of every step, and what PyTorch needs to do the same. */
async function train(net: Net): Promise<{ readonly losses: readonly number[]; readonly job: PytorchJob }> {
  const { x, targets, width } = rowsOf(net);
  const sparse = net.loss === "sparse_categorical_crossentropy";
  const target: NumericTensor = {
    dtype: sparse ? "int64" : "float32",
    shape: sparse ? [rows] : [rows, width],
    data: numbers(sparse ? "int64" : "float32", targets),
  };
  const model = layeredModel({ name: "x", dtype: "float32", shape: net.input }, net.layers, 1);
  const options = validateTrainingOptions({
    loss: { kind: net.loss },
    optimizer: { kind: net.optimizer, learningRate: net.learningRate },
    shuffle: false,
    batchSize,
    maxSteps: steps,
  });
  const examples = new MemoryExamples(
    new Map([
      ["x", x],
      [targetField, target],
    ]),
  );
  const trainer = new Trainer(model, options, examples);
  const losses: number[] = [];
  const onStep = ({ loss }: StepReport) => losses.push(loss);
  await trainer.run({ cancellation: neverCancelled, clock: systemClock, onStep });
  trainer.release();
  const { layers, loss, optimizer, learningRate } = net;
  const weights = new Map(model.parameters.map(({ name }) => [name, model.graph.initializers.get(name)!]));
  return {
    losses,
    job: {
      ...{ layers, loss, optimizer, learningRate, weights, x, batchSize, steps },
      targets: tensorOf("float32", [rows, width], targets),
    },
  };
}

const version = pytorchVersion();

describe("loss curves", { skip: version === undefined && "needs a Python with PyTorch (PYTORCH_PYTHON)" }, () => {
  const ours: { readonly losses: readonly number[]; readonly job: PytorchJob }[] = [];
  let theirs: readonly (readonly number[])[];
  before(async () => {
    for (const net of nets) ours.push(await train(net));
    theirs = trainWithPytorch(ours.map(({ job }) => job));
  });

  for (const [index, { name }] of nets.entries()) {
    it(`of ${name} are PyTorch's over ${steps} steps, to 1e-4`, () => {
      const [own, reference] = [ours[index]!.losses, theirs[index]!];
      assert.equal(own.length, steps);
      assert.equal(reference.length, steps);
      const worst = Math.max(...own.map((loss, step) => Math.abs(loss - reference[step]!)));
      assert.ok(worst < 1e-4, `they differ by ${worst}`);
      assert.ok(own.at(-1)! < own[0]!, "and something was learned");
    });
  }
});
