import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { computeMetrics, type Judged, type Metrics, type Task } from "../../src/training/metrics.js";

const judged = (predictions: readonly number[], targets: readonly number[], weights?: readonly number[]): Judged => ({
  predictions,
  targets,
  weights: weights ?? targets.map(() => 1),
});
const close = (metrics: Metrics, expected: Readonly<Record<string, number>>) => {
  for (const [name, value] of Object.entries(expected)) {
    const actual = metrics.values.get(name);
    assert.ok(actual !== undefined && Math.abs(actual - value) < 1e-9, `${name}: ${actual} for ${value}`);
  }
};
const regression: Task = { kind: "regression" };
const binary: Task = { kind: "binary", threshold: 0.5 };

// The expected numbers are scikit-learn's.
describe("metrics of a regression", () => {
  it("are the mean errors and the share of variance explained", () => {
    const metrics = computeMetrics(regression, judged([2.5, 0, 2, 8], [3, -0.5, 2, 7]));
    close(metrics, { mae: 0.5, mse: 0.375, rmse: Math.sqrt(0.375), r2: 0.9486081370449679 });
    assert.equal(metrics.confusion, undefined);
  });

  it("count each row as much as it weighs", () => {
    const metrics = computeMetrics(regression, judged([1, 5], [1, 2], [3, 1]));
    close(metrics, { mae: 0.75, mse: 2.25 });
    // A row of weight 2 is two rows.
    const twice = computeMetrics(regression, judged([1, 1, 5, 4], [0, 0, 2, 7]));
    const heavy = computeMetrics(regression, judged([1, 5, 4], [0, 2, 7], [2, 1, 1]));
    assert.deepEqual([...heavy.values], [...twice.values]);
  });

  it("leave R² out where all targets are the same", () => {
    assert.ok(!computeMetrics(regression, judged([1, 2], [3, 3])).values.has("r2"));
  });

  it("weigh every number of a row with several", () => {
    close(computeMetrics(regression, judged([1, 1, 3, 3], [0, 0, 0, 0], [1, 0])), { mae: 1 });
  });
});

describe("metrics of yes or no", () => {
  const predictions = [0.1, 0.4, 0.35, 0.8, 0.7, 0.2];
  const targets = [0, 0, 1, 1, 0, 1];

  it("count hits and misses at the threshold, and rank at none", () => {
    const metrics = computeMetrics(binary, judged(predictions, targets));
    close(metrics, { accuracy: 0.5, precision: 0.5, recall: 1 / 3, f1: 0.4, auc: 5 / 9 });
    assert.deepEqual(metrics.confusion, [
      [2, 1],
      [2, 1],
    ]);
    close(computeMetrics({ ...binary, threshold: 0.3 }, judged(predictions, targets)), { recall: 2 / 3 });
  });

  it("let ties in the ranking count half", () => {
    close(computeMetrics(binary, judged([0.5, 0.5, 0.5, 0.9], [0, 1, 0, 1])), { auc: 0.75 });
    close(computeMetrics(binary, judged([0.5, 0.5], [0, 1])), { auc: 0.5 });
  });

  it("weigh rows in the ranking too", () => {
    const twice = computeMetrics(binary, judged([0.2, 0.2, 0.6, 0.4, 0.9], [0, 0, 0, 1, 1]));
    const heavy = computeMetrics(binary, judged([0.2, 0.6, 0.4, 0.9], [0, 0, 1, 1], [2, 1, 1, 1]));
    close(heavy, Object.fromEntries(twice.values));
  });

  it("give the logarithmic loss, finite for the wrongly sure", () => {
    close(computeMetrics(binary, judged([0.9, 0.2], [1, 0])), { log_loss: -(Math.log(0.9) + Math.log(0.8)) / 2 });
    close(computeMetrics(binary, judged([0], [1])), { log_loss: -Math.log(1e-15) });
  });

  it("leave the ranking out where there is one class only, and never divide by zero", () => {
    const metrics = computeMetrics(binary, judged([0.1, 0.2], [0, 0]));
    assert.ok(!metrics.values.has("auc"));
    close(metrics, { accuracy: 1, precision: 0, recall: 0, f1: 0 });
  });

  it("survive predictions that are not numbers", () => {
    const metrics = computeMetrics(binary, judged([Number.NaN, 0.2], [1, 0]));
    assert.ok(!metrics.values.has("auc"));
  });
});

describe("metrics of several classes", () => {
  const task: Task = { kind: "multiclass", classes: 3, topK: 2 };
  const rows = [
    [0.7, 0.2, 0.1],
    [0.3, 0.5, 0.2],
    [0.2, 0.3, 0.5],
    [0.5, 0.4, 0.1],
    [0.1, 0.2, 0.7],
    [0.6, 0.3, 0.1],
  ];
  const targets = [0, 1, 2, 1, 2, 2];

  it("average over classes, evenly or by their rows", () => {
    const metrics = computeMetrics(task, judged(rows.flat(), targets));
    close(metrics, {
      accuracy: 4 / 6,
      precision_macro: (1 / 3 + 1 + 1) / 3,
      recall_macro: (1 + 0.5 + 2 / 3) / 3,
      f1_macro: (0.5 + 2 / 3 + 0.8) / 3,
      f1_weighted: (0.5 + (2 / 3) * 2 + 0.8 * 3) / 6,
      f1_micro: 4 / 6,
      top_2_accuracy: 5 / 6,
    });
    assert.deepEqual(metrics.confusion, [
      [1, 0, 0],
      [1, 1, 0],
      [1, 0, 2],
    ]);
  });

  it("rank one class against the rest", () => {
    const metrics = computeMetrics(task, judged(rows.flat(), targets));
    // Classes 0 and 1 are told apart from the rest without a mistake. Class 2 has .5, .7 and .1 against .1, .2 and .1.
    close(metrics, { auc: (1 + 1 + (3 + 3 + 0.5 + 0.5) / 9) / 3 });
  });

  it("leave out a class that neither occurs nor is predicted", () => {
    const metrics = computeMetrics(
      { ...task, classes: 4 },
      judged(
        rows.flatMap((row) => [...row, 0]),
        targets,
      ),
    );
    close(metrics, { recall_macro: (1 + 0.5 + 2 / 3) / 3, f1_macro: (0.5 + 2 / 3 + 0.8) / 3 });
  });

  it("leave the top k out where it is every class", () => {
    assert.ok(!computeMetrics({ ...task, topK: 3 }, judged(rows.flat(), targets)).values.has("top_3_accuracy"));
  });
});
