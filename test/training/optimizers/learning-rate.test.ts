import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  learningRateFactor,
  observePlateau,
  type ScheduleOptions,
  startOfPlateau,
  validateScheduleOptions,
} from "../../../src/training/optimizers/learning-rate.js";

/** Factors at some steps of a hundred, ten to an epoch. */
function factors(given: Partial<ScheduleOptions>, ...steps: number[]): number[] {
  const options = validateScheduleOptions(given);
  return steps.map((step) => {
    const progress = { step, epoch: Math.floor(step / 10), totalSteps: 100, plateau: startOfPlateau };
    return Math.round(learningRateFactor(options, progress) * 1e6) / 1e6;
  });
}

describe("a learning rate schedule", () => {
  it("constant stays", () => assert.deepEqual(factors({}, 0, 50, 99), [1, 1, 1]));
  it("step falls every so many epochs", () =>
    assert.deepEqual(factors({ kind: "step", everyEpochs: 2, gamma: 0.5 }, 0, 19, 20, 39, 40), [1, 1, 0.5, 0.5, 0.25]));
  it("exponential falls every epoch", () =>
    assert.deepEqual(factors({ kind: "exponential", gamma: 0.9 }, 0, 9, 10, 25), [1, 1, 0.9, 0.81]));
  it("cosine falls to its final share by the end, and stays there", () =>
    assert.deepEqual(factors({ kind: "cosine", finalShare: 0.2 }, 0, 50, 100, 150), [1, 0.6, 0.2, 0.2]));
  it("linear falls evenly", () => assert.deepEqual(factors({ kind: "linear" }, 0, 25, 100), [1, 0.75, 0]));
  it("warms up first, and counts the rest from there", () =>
    assert.deepEqual(factors({ kind: "linear", warmupSteps: 20 }, 0, 9, 19, 20, 60), [0.05, 0.5, 1, 1, 0.5]));

  it("plateau falls when the watched value has not improved for longer than its patience", () => {
    const options = validateScheduleOptions({ kind: "plateau", patience: 1, factor: 0.5, finalShare: 0.2 });
    let state = startOfPlateau;
    const seen = [3, 2, 2, 2.5, 1, 1, 1, 1, 1].map((value) => {
      state = observePlateau(options, state, value);
      return learningRateFactor(options, { step: 0, epoch: 0, totalSteps: 1, plateau: state });
    });
    assert.deepEqual(seen, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]);
  });

  it("refuses what makes no sense", () => {
    assert.throws(() => validateScheduleOptions({ kind: "cyclic" as "step" }), /schedule must be one of constant, /);
    assert.throws(() => validateScheduleOptions({ gamma: 0 }), /gamma must be a number above 0/);
  });
});
