import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromTrainingSpecMessage, toTrainingSpecMessage } from "../../../src/api/codecs/training-spec.js";
import { TrainingSpec } from "../../../src/gen/onnxd/v1/training.js";
import type { JobSpec } from "../../../src/training/index.js";
import { rejectsWith } from "../../support/rejects-with.js";

type Given = Parameters<typeof TrainingSpec.fromPartial>[0];

const read = (given: Given): JobSpec => fromTrainingSpecMessage(TrainingSpec.fromPartial({ model: "m", ...given }));
const dense = { layer: { $case: "dense" as const, value: { units: 1 } } };
const withLayers = (...layers: NonNullable<Given["layers"]>): Given => ({ layers });

/** What comes out of a layer's message. */
const layer = (given: NonNullable<Given["layers"]>[number]) => {
  const { start } = read(withLayers(given));
  return start.kind === "layers" ? start.layers[0] : undefined;
};

describe("a training spec", () => {
  it("leaves out what is not given, so that the engine's defaults hold", () => {
    assert.deepEqual(read(withLayers(dense)), {
      model: "m",
      start: { kind: "layers", layers: [{ type: "dense", units: 1 }] },
      classLabels: [],
      training: { optimizer: {}, schedule: {}, seed: 0, classWeights: {} },
      gate: { conditions: [], allowWorse: false },
      hold: false,
      limits: {},
      tags: {},
    });
  });

  it("keeps zeros apart from what is not given, where both mean something", () => {
    const { training, gate } = read({
      ...withLayers(dense),
      epochs: 0,
      shuffle: false,
      threshold: 0,
      validationSplit: 0,
      optimizer: { momentum: 0, l1: 0 },
      earlyStopping: { patience: 0, restoreBest: false },
      gate: { conditions: [{ metric: "r2", min: 0 }] },
    });
    assert.deepEqual(training, {
      optimizer: { momentum: 0 },
      schedule: {},
      seed: 0,
      classWeights: {},
      epochs: 0,
      shuffle: false,
      threshold: 0,
      validationSplit: 0,
      earlyStopping: { patience: 0, restoreBest: false },
    });
    assert.deepEqual(gate.conditions, [{ metric: "r2", min: 0 }]);
  });

  it("takes one size for all axes, and so many as there are otherwise", () => {
    const convolution = (given: object) => layer({ layer: { $case: "conv2d", value: { filters: 8, ...given } } });
    assert.deepEqual(convolution({ kernel: [3] }), { type: "conv2d", filters: 8, kernel: 3 });
    assert.deepEqual(convolution({ kernel: [3, 5], stride: [2], dilation: [1, 2], groups: 2, pads: [1] }), {
      type: "conv2d",
      filters: 8,
      kernel: [3, 5],
      stride: 2,
      dilation: [1, 2],
      groups: 2,
      padding: 1,
    });
    assert.deepEqual(convolution({ kernel: [3], padding: "same", bias: false }), {
      type: "conv2d",
      filters: 8,
      kernel: 3,
      padding: "same",
      bias: false,
    });
    assert.deepEqual(layer({ layer: { $case: "maxPool", value: { size: [2], pads: [0, 1] } } }), {
      type: "max_pool",
      size: 2,
      padding: [0, 1],
    });
  });

  it("passes names on as they came: the engine knows which there are", () => {
    assert.deepEqual(layer({ layer: { $case: "dense", value: { units: 3, activation: "rellu", initializer: "x" } } }), {
      type: "dense",
      units: 3,
      activation: "rellu",
      initializer: "x",
    });
    const { table, training } = read({
      ...withLayers(dense),
      loss: { kind: "l7" },
      table: { target: "y", task: "guessing", columns: [{ name: "a", kind: "colour" }] },
    });
    assert.equal(training.loss?.kind, "l7");
    assert.equal(table?.task, "guessing");
    assert.equal(table?.columns[0]?.kind, "colour");
  });

  it("refuses what it cannot express, naming the field as the client wrote it", async () => {
    const cases: readonly (readonly [Given, RegExp])[] = [
      [{ model: "" }, /^spec\.model is missing/],
      [{}, /^spec takes exactly one of layers, classic, fine_tune and update; got none$/],
      [{ ...withLayers(dense), update: {}, fineTune: {} }, /; got layers and fine_tune and update$/],
      [withLayers(dense, {}), /^spec\.layers\[1\] names no layer/],
      [
        withLayers(dense, { layer: { $case: "residual", value: { layers: [dense], shortcut: [dense, {}] } } }),
        /^spec\.layers\[1\]\.residual\.shortcut\[1\] names no layer/,
      ],
      [
        withLayers({ layer: { $case: "avgPool", value: { size: [2], padding: "same", pads: [1, 2] } } }),
        /^spec\.layers\[0\]\.avg_pool takes padding or pads; got padding "same" and pads \[1,2\]$/,
      ],
      [{ ...withLayers(dense), seed: 2n ** 53n }, /^spec\.seed must be from -2\^53 to 2\^53; got 9007199254740992$/],
      [{ ...withLayers(dense), maxSteps: -(2n ** 60n) }, /^spec\.max_steps must be/],
      [{ ...withLayers(dense), limits: { maxMemoryBytes: 2n ** 62n } }, /^spec\.limits\.max_memory_bytes must be/],
    ];
    for (const [given, message] of cases) await rejectsWith("INVALID_ARGUMENT", message, () => read(given));
    await rejectsWith("INVALID_ARGUMENT", /^the request has no spec$/, () => fromTrainingSpecMessage(undefined));
  });

  it("is the same whatever order its maps came in", () => {
    const given = (tags: [string, string][]) => JSON.stringify(read({ ...withLayers(dense), tags: new Map(tags) }));
    assert.equal(
      given([
        ["b", "1"],
        ["a", "2"],
      ]),
      given([
        ["a", "2"],
        ["b", "1"],
      ]),
    );
  });

  it("comes back as it went in", () => {
    const every: Given[] = [
      {
        version: 2n ** 60n,
        layers: [
          { layer: { $case: "conv1d", value: { filters: 4, kernel: [5], stride: [2], pads: [1], bias: false } } },
          { layer: { $case: "conv2d", value: { filters: 4, kernel: [3, 1], dilation: [2], padding: "same" } } },
          { layer: { $case: "maxPool", value: { size: [2], stride: [1], padding: "valid" } } },
          { layer: { $case: "avgPool", value: { size: [2, 2], pads: [1, 1] } } },
          { layer: { $case: "globalAvgPool", value: {} } },
          { layer: { $case: "globalMaxPool", value: {} } },
          { layer: { $case: "flatten", value: {} } },
          { layer: { $case: "reshape", value: { shape: [-1, 4] } } },
          { layer: { $case: "batchNorm", value: { momentum: 0, epsilon: 0.5 } } },
          { layer: { $case: "layerNorm", value: { epsilon: 0.25 } } },
          { layer: { $case: "dropout", value: { rate: 0.5 } } },
          { layer: { $case: "embedding", value: { vocabulary: 100, dimensions: 8 } } },
          { layer: { $case: "rnn", value: { units: 3 } } },
          { layer: { $case: "gru", value: { units: 3, returnSequences: true } } },
          { layer: { $case: "lstm", value: { units: 3, bidirectional: true } } },
          { layer: { $case: "attention", value: { heads: 2, headSize: 5, causal: true } } },
          {
            layer: {
              $case: "residual",
              value: {
                layers: [dense],
                shortcut: [dense, { layer: { $case: "flatten", value: {} } }],
                activation: "relu",
              },
            },
          },
          { layer: { $case: "activation", value: { function: "softmax" } } },
          { layer: { $case: "dense", value: { units: 3, activation: "tanh", bias: true, initializer: "zeros" } } },
        ],
        classLabels: ["no", "yes"],
        loss: { kind: "huber", delta: 0.5, labelSmoothing: 0.125, fromLogits: "no" },
        optimizer: {
          ...{ kind: "adamw", learningRate: 0.5, momentum: 0.25, rho: 0.5, beta1: 0.5, beta2: 0.75, epsilon: 0.5 },
          ...{ weightDecay: 0, l1: 1, l2: 2, clipNorm: 3, clipValue: 4 },
        },
        schedule: {
          ...{ kind: "step", warmupSteps: 3, everyEpochs: 2, gamma: 0.5, finalShare: 0.25, factor: 0.5, patience: 0 },
        },
        ...{ epochs: 3, batchSize: 16, maxSteps: 100n, shuffle: false, seed: 42n, topK: 3, threshold: 0.25 },
        classWeights: new Map([["__proto__", 2]]),
        earlyStopping: { monitor: "accuracy", mode: "max", patience: 2, minDelta: 0.5, restoreBest: false },
        validationSplit: 0.5,
        gate: { conditions: [{ metric: "accuracy", min: 0.5, max: 1 }, { metric: "loss" }], allowWorse: true },
        hold: true,
        limits: { maxSeconds: 1.5, maxMemoryBytes: 1_000_000n, checkpointSeconds: 2 },
        tags: new Map([["who", "me"]]),
      },
      {
        classic: { form: "elastic_net", alpha: 0, l1Ratio: 0.5 },
        table: {
          ...{ target: "y", task: "regression", onlyNamed: true, weight: "w" },
          columns: [
            { name: "a", kind: "number", impute: "constant", fill: -1, scale: "none" },
            { name: "b", kind: "text", encoding: "tokens", ngrams: 2, vocabulary: 50, length: 9 },
            { name: "c", kind: "category", encoding: "hashing", buckets: 64 },
          ],
          numbers: { impute: "median", fill: 2, scale: "min_max" },
        },
      },
      {
        fineTune: {
          base: { name: "other", choice: { $case: "version", value: 0n } },
          ...{ output: "y", train: ["*"], freeze: ["a*"], headClasses: 4, trainDropout: true, trainBatchNorm: true },
          learningRateScales: [{ names: "b*", scale: 0.5 }],
        },
      },
      { update: { base: { name: "", choice: { $case: "label", value: "stable" } } } },
      { update: { base: {} } },
    ];
    for (const given of every) {
      const message = TrainingSpec.fromPartial({ model: "m", ...given });
      const plain = fromTrainingSpecMessage(message);
      const stored = JSON.parse(JSON.stringify(plain)) as JobSpec; // as it is on disk
      assert.deepEqual(stored, plain);
      assert.deepEqual(
        TrainingSpec.encode(toTrainingSpecMessage(stored)).finish(),
        TrainingSpec.encode(message).finish(),
      );
    }
  });
});
