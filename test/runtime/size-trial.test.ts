import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import type { RunOptions } from "../../src/runtime/index.js";
import { SizeTrial } from "../../src/runtime/placement/size-trial.js";
import type { Tensor } from "../../src/tensor/index.js";
import { FakeClock } from "../support/fake-clock.js";

const limits = { cpus: 2, inlineMaxFeedBytes: 40, inlineThresholdMicros: 50, inlineSlowRunMicros: 1000 };

function open(cpus = 2) {
  const clock = new FakeClock();
  let proven = 0;
  const trial = new SizeTrial({ ...limits, cpus }, clock, () => {
    proven += 1;
  });
  const run = (shape: readonly number[], computeMs: number, times = 1, options: Partial<RunOptions> = {}) => {
    for (let time = 0; time < times; time++) {
      let answers = 0;
      const waiter = { resolve: () => answers++, reject: assert.fail };
      trial
        .watch(feedsOf(shape), { cancellation: neverCancelled, ...options }, waiter)
        .resolve({ outputs: new Map(), queueMs: 0, computeMs, batchSize: 0 });
      assert.equal(answers, 1);
    }
  };
  return { clock, trial, run, proven: () => proven };
}

function feedsOf(shape: readonly number[]): ReadonlyMap<string, Tensor> {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  return new Map([["x", { dtype: "float32", shape, data }]]);
}

describe("calls that carry much", () => {
  it("are proven short by 32 runs, for their exact shapes", () => {
    const { trial, run, proven } = open();
    trial.begin();
    run([1, 100], 0.01, 31);
    assert.equal(proven(), 0);
    run([1, 100], 0.01);
    assert.equal(proven(), 1);
    assert.equal(trial.hasProven(feedsOf([1, 100])), true);
    assert.equal(trial.hasProven(feedsOf([100, 1])), false);
  });

  it("are proven together where their rows foretell what they cost", () => {
    const { trial, run, proven } = open();
    trial.begin();
    for (let rows = 100; rows < 132; rows++) run([rows, 1], 0.01, 1, { expectedMs: 0.01 });
    assert.equal(proven(), 1);
    assert.equal(trial.hasProven(feedsOf([100, 1])), false);
  });

  it("may take what carrying them to a thread takes, more for more bytes, but never what is slow here", () => {
    for (const [elements, computeMs, expected] of [
      [1024, 0.05, 1],
      [1024, 0.0515, 0],
      [102_400, 0.149, 1],
      [102_400, 0.151, 0],
      [1_024_000, 0.999, 1],
      [1_024_000, 1.001, 0],
    ] as const) {
      const { trial, run, proven } = open();
      trial.begin();
      run([elements], computeMs, 32);
      assert.equal(proven(), expected, `${elements} elements in ${computeMs} ms`);
    }
  });

  it("may take what is not slow here where a thread would have no CPU of its own", () => {
    for (const [computeMs, expected] of [
      [0.999, 1],
      [1.001, 0],
    ] as const) {
      const { trial, run, proven } = open(1);
      trial.begin();
      run([1024], computeMs, 32);
      assert.equal(proven(), expected);
    }
  });

  it("are proven though some are long, on a busy machine, but not when a third of them is", () => {
    for (const [shortRuns, rounds, expected] of [
      [3, 29, 0],
      [3, 30, 1],
      [2, 1000, 0],
    ] as const) {
      const { trial, run, proven } = open();
      trial.begin();
      for (let round = 0; round < rounds; round++) {
        run([100], 0.01, shortRuns);
        run([100], 0.9);
      }
      assert.equal(proven(), expected, `${rounds} times ${shortRuns} short ones and a long one`);
    }
  });

  it("begin anew after one that was too slow for the serving thread whatever the reason, of any shape", () => {
    const { trial, run, proven } = open();
    trial.begin();
    run([100], 0.01, 31);
    run([200], 5);
    run([100], 0.01, 31);
    assert.equal(proven(), 0);
    run([100], 0.01);
    assert.equal(proven(), 1);
  });

  it("are not watched before the model has left because of such, nor when they carry little", () => {
    const { trial, run, proven } = open();
    run([100], 0.01, 100);
    trial.begin();
    run([10], 0.01, 100);
    assert.equal(proven(), 0);
  });

  it("are proven again after ten seconds at the earliest, then twenty, when the model had to leave once more", () => {
    const { clock, trial, run, proven } = open();
    trial.begin();
    run([100], 0.01, 32);
    for (const [times, pauseMs] of [
      [2, 10_000],
      [3, 20_000],
    ] as const) {
      trial.begin();
      run([50 * times], 0.01, 100);
      clock.advance(pauseMs - 1);
      run([50 * times], 0.01, 100);
      assert.equal(proven(), times - 1);
      clock.advance(1);
      run([50 * times], 0.01, 32);
      assert.equal(proven(), times);
    }
  });

  it("are unknown again when runs on the serving thread were slow", () => {
    const { trial, run } = open();
    trial.begin();
    run([100], 0.01, 32);
    trial.forget();
    assert.equal(trial.hasProven(feedsOf([100])), false);
  });
});
