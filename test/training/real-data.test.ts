// Held-out results on data sets that everyone knows, against what a practised person gets with scikit-learn or Keras.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { TabularTraining, type TabularTrainingOptions } from "../../src/training/tabular-training.js";
import { type DataSetName, dataSet } from "../support/data-set.js";

interface Goal {
  readonly name: DataSetName;
  readonly metric: string;
  /** Of the mean over splits, and of each. */
  readonly mean: number;
  readonly each: number;
  readonly seeds: readonly number[];
  readonly options: TabularTrainingOptions;
}

const softmax = (units: number): TabularTrainingOptions => ({
  table: { target: "target", validationSplit: 0.2 },
  layers: [{ type: "dense", units, activation: "softmax" }],
  training: {
    loss: { kind: "sparse_categorical_crossentropy" },
    epochs: 60,
    batchSize: 16,
    optimizer: { learningRate: 0.02, l2: 0.003 },
    schedule: { kind: "cosine" },
  },
});

const goals: readonly Goal[] = [
  { name: "iris", metric: "accuracy", mean: 0.93, each: 0.9, seeds: [0, 1, 2, 3, 4], options: softmax(3) },
  { name: "wine", metric: "accuracy", mean: 0.96, each: 0.94, seeds: [0, 1, 2, 3, 4], options: softmax(3) },
  {
    name: "breast_cancer",
    metric: "accuracy",
    mean: 0.96,
    each: 0.94,
    seeds: [0, 1, 2, 3, 4],
    options: {
      table: { target: "target", validationSplit: 0.2 },
      layers: [{ type: "dense", units: 1, activation: "sigmoid" }],
      training: {
        loss: { kind: "binary_crossentropy" },
        epochs: 40,
        optimizer: { learningRate: 0.01, l2: 0.001 },
        schedule: { kind: "cosine" },
      },
    },
  },
  {
    name: "diabetes",
    metric: "r2",
    mean: 0.45,
    each: 0.35,
    seeds: [0, 1, 2, 3, 4],
    options: {
      table: { target: "target", validationSplit: 0.25 },
      layers: [{ type: "dense", units: 1 }],
      training: {
        loss: { kind: "mse" },
        epochs: 60,
        optimizer: { learningRate: 0.02 },
        schedule: { kind: "cosine" },
      },
    },
  },
  {
    name: "digits",
    metric: "accuracy",
    mean: 0.98,
    each: 0.975,
    seeds: [0, 1, 2],
    options: {
      table: { target: "target", validationSplit: 0.2, numbers: { scale: "min_max" } },
      layers: [
        { type: "reshape", shape: [1, 8, 8] },
        { type: "conv2d", filters: 16, kernel: 3, padding: "same", activation: "relu" },
        { type: "conv2d", filters: 32, kernel: 3, padding: "same", activation: "relu" },
        { type: "max_pool", size: 2 },
        { type: "flatten" },
        { type: "dropout", rate: 0.3 },
        { type: "dense", units: 64, activation: "relu" },
        { type: "dense", units: 10, activation: "softmax" },
      ],
      training: {
        loss: { kind: "sparse_categorical_crossentropy" },
        epochs: 8,
        optimizer: { learningRate: 0.003 },
        schedule: { kind: "cosine" },
      },
    },
  },
];

describe("held-out results", () => {
  for (const { name, metric, mean, each, seeds, options } of goals) {
    it(`on ${name}: ${metric} of at least ${mean}, the mean over ${seeds.length} splits`, async () => {
      const results: number[] = [];
      for (const seed of seeds) {
        const training = TabularTraining.start(dataSet(name), { ...options, training: { ...options.training, seed } });
        await training.trainer.run({ cancellation: neverCancelled, clock: systemClock });
        const evaluation = training.trainer.evaluate(training.validation!);
        // What counts is the file: it is held against the trainer here.
        training.export(evaluation.values, {});
        results.push(evaluation.values.get(metric)!);
        training.release();
      }
      const all = results.map((value) => value.toFixed(3)).join(" ");
      assert.ok(
        results.every((value) => value >= each),
        all,
      );
      assert.ok(results.reduce((a, b) => a + b) / results.length >= mean, all);
    });
  }
});
