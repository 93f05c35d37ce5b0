import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decidePlacement, type PlacementEvidence } from "../../src/runtime/placement/placement-decision.js";

const small: PlacementEvidence = {
  modelBytes: 300,
  hasStringInputs: false,
  warmupRunMicros: 18.4,
  warmupSkipped: "",
  createMs: 1,
  operators: ["Mul", "Add", "ai.onnx.ml:LinearClassifier"],
};
const decide = (evidence: Partial<PlacementEvidence>, inlineThresholdMicros = 50) =>
  decidePlacement({ ...small, ...evidence }, { inlineThresholdMicros, inlineMaxCreateMs: 20 });

describe("decidePlacement", () => {
  it("puts a model on the serving thread when its run is short against a thread hop", () => {
    assert.deepEqual(decide({}), {
      kind: "inline",
      reason: "median warm-up run 18 µs, under the 50 µs limit of the serving thread",
      timeDecides: true,
    });
  });

  for (const [what, evidence, reason] of [
    [
      "whose run is as long as a hop",
      { warmupRunMicros: 50 },
      "median warm-up run 50 µs, not under the 50 µs limit of the serving thread",
    ],
    [
      "whose run is long",
      { warmupRunMicros: 2345 },
      "median warm-up run 2.3 ms, not under the 50 µs limit of the serving thread",
    ],
    [
      "that could not be warmed up",
      { warmupRunMicros: undefined, warmupSkipped: "the runtime refuses zeros: why" },
      "not warmed up: the runtime refuses zeros: why",
    ],
    ["whose file is large", { modelBytes: 2 ** 24 }, "median warm-up run 18 µs, but the model takes 16777216 bytes"],
    ["that takes strings", { hasStringInputs: true }, "median warm-up run 18 µs, but it takes strings"],
    [
      "whose session takes long to make",
      { createMs: 21.3 },
      "median warm-up run 18 µs, but its session took 21 ms to make",
    ],
    [
      "whose run a fed value can make long",
      { operators: ["Add", "Loop", "MatMul"] },
      "median warm-up run 18 µs, but what Loop costs follows from values it is fed",
    ],
    [
      "with operators nobody here knows",
      { operators: ["com.microsoft:BeamSearch"] },
      "median warm-up run 18 µs, but what com.microsoft:BeamSearch costs follows from values it is fed",
    ],
    [
      "whose graph cannot be seen",
      { operators: undefined },
      "median warm-up run 18 µs, but what its graph does is not known",
    ],
  ] as const) {
    it(`keeps a model in a thread pool ${what}`, () => {
      const { kind, reason: given } = decide(evidence);
      assert.deepEqual({ kind, reason: given }, { kind: "thread-pool", reason });
    });
  }

  it("keeps all models in thread pools when told to", () => {
    assert.deepEqual(decide({ warmupRunMicros: 0 }, 0), {
      kind: "thread-pool",
      reason: "no model is to run on the serving thread",
      timeDecides: false,
    });
  });

  it("has a model measured again when only a time that may be wrong keeps it in a pool", () => {
    assert.equal(decide({ warmupRunMicros: 999 }).timeDecides, true);
    assert.equal(decide({ warmupRunMicros: 1000 }).timeDecides, false);
    assert.equal(decide({ warmupRunMicros: 999, hasStringInputs: true }).timeDecides, false);
    assert.equal(decide({ warmupRunMicros: 18, createMs: 21 }).timeDecides, false);
  });
});
