import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { choosePlan, proposeTrial, type TrialEvidence } from "../../src/runtime/plan-trial.js";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const unasked = { poolSize: undefined, intraOpThreads: undefined };
const limits = { cpus: 2, trialShortestRunMicros: 500, trialLongestRunMicros: 100_000 };
const usual: TrialEvidence = {
  asked: unasked,
  modelBytes: 5 * MiB,
  warmupRunMicros: 10_000,
  createMs: 50,
  freeBytes: 8 * GiB,
};
const plan = (poolSize: number, intraOpThreads: number) => ({ poolSize, intraOpThreads });

describe("proposeTrial", () => {
  for (const [what, evidence, cpus, trial] of [
    [
      "tries one session with all threads against a session a CPU",
      {},
      2,
      { plan: plan(2, 1), other: plan(1, 2), runs: 6 },
    ],
    ["divides many CPUs among four sessions", {}, 16, { plan: plan(4, 4), other: plan(1, 16), runs: 12 }],
    [
      "tries several sessions of a model that has one for its size",
      { modelBytes: 600 * MiB },
      2,
      { plan: plan(1, 2), other: plan(2, 1), runs: 6 },
    ],
    [
      "runs short models more often, but not for ever",
      { warmupRunMicros: 500 },
      2,
      { plan: plan(2, 1), other: plan(1, 2), runs: 100 },
    ],
    [
      "runs long models twice a session",
      { warmupRunMicros: 100_000 },
      2,
      { plan: plan(2, 1), other: plan(1, 2), runs: 4 },
    ],
    ["leaves a single CPU alone", {}, 1, undefined],
    ["leaves a number of sessions that was asked for", { asked: { ...unasked, poolSize: 2 } }, 2, undefined],
    ["leaves a number of threads that was asked for", { asked: { ...unasked, intraOpThreads: 1 } }, 2, undefined],
    ["does not try without data to run", { warmupRunMicros: undefined }, 2, undefined],
    ["does not try runs that threads cannot shorten", { warmupRunMicros: 499 }, 2, undefined],
    ["does not try runs that would hold up loading", { warmupRunMicros: 100_001 }, 2, undefined],
    ["does not make sessions for a trial that take long to make", { createMs: 501 }, 2, undefined],
    ["does not make copies that memory has no room for", { freeBytes: 19 * MiB }, 2, undefined],
    ["does not make copies of a large model either", { modelBytes: 600 * MiB, freeBytes: 4 * GiB }, 2, undefined],
  ] as const) {
    it(what, () => assert.deepEqual(proposeTrial({ ...usual, ...evidence }, { ...limits, cpus }), trial));
  }

  it("makes no more than fifty runs a session in a round", () => {
    const quick = { ...usual, warmupRunMicros: 0 };
    assert.equal(proposeTrial(quick, { ...limits, trialShortestRunMicros: 0 })?.runs, 100);
  });
});

describe("choosePlan", () => {
  const several = (runsPerSecond: number, aloneMs: number) => ({ plan: plan(2, 1), runsPerSecond, aloneMs });
  const one = (runsPerSecond: number, aloneMs: number) => ({ plan: plan(1, 2), runsPerSecond, aloneMs });
  for (const [what, modelBytes, planned, other, chosen, reason] of [
    [
      "takes several sessions when they serve more",
      5 * MiB,
      several(200, 10),
      one(150, 6.7),
      plan(2, 1),
      "2 sessions of 1 thread ran 200 times a second, 1 session of 2 threads 150",
    ],
    [
      "takes threads when they serve more",
      5 * MiB,
      several(100, 12),
      one(150, 6.7),
      plan(1, 2),
      "1 session of 2 threads ran 150 times a second, 2 sessions of 1 thread 100",
    ],
    [
      "takes the one that answers a call alone sooner when both serve as much",
      5 * MiB,
      several(105, 18.9),
      one(100, 10.04),
      plan(1, 2),
      "1 session of 2 threads ran 100 times a second, 2 sessions of 1 thread 105; a call alone took 10.0 against 18.9 ms",
    ],
    [
      "stays with its plan when neither is better",
      5 * MiB,
      several(9.52, 103),
      one(9.9, 101),
      plan(2, 1),
      "2 sessions of 1 thread ran 9.5 times a second, 1 session of 2 threads 9.9; a call alone took 103.0 against 101.0 ms",
    ],
    [
      "makes copies of a large model only for much",
      600 * MiB,
      one(100, 10),
      several(124, 16),
      plan(1, 2),
      "1 session of 2 threads ran 100 times a second, 2 sessions of 1 thread 124, which is not worth that many copies of the model",
    ],
    [
      "makes copies of a large model when it clearly serves more with them",
      600 * MiB,
      one(100, 10),
      several(125, 16),
      plan(2, 1),
      "2 sessions of 1 thread ran 125 times a second, 1 session of 2 threads 100",
    ],
    [
      "makes no copies of a large model for a call alone",
      600 * MiB,
      one(100, 10),
      several(90, 5),
      plan(1, 2),
      "1 session of 2 threads ran 100 times a second, 2 sessions of 1 thread 90",
    ],
  ] as const) {
    it(what, () => assert.deepEqual(choosePlan(planned, other, modelBytes), { plan: chosen, reason }));
  }
});
