import { floats, type GraphAttribute } from "../../../src/onnx/index.js";
import { tensorOf } from "../../../src/training/graph-emitter.js";
import { type CaseShape, checkGradients, type GradientCase, positive } from "../../support/finite-differences.js";

type Attributes = Record<string, GraphAttribute>;

const norm = (
  opType: string,
  shapes: readonly CaseShape[],
  attributes: Attributes = {},
  more: Partial<GradientCase> = {},
): GradientCase => ({
  name: `${opType} [${shapes[0]}] ${JSON.stringify(attributes)}`,
  inputs: shapes.map((shape) => ({ shape })),
  build: (e, x) => e.op(opType, x, attributes),
  ...more,
});

/** Statistics are constants: what they hold changes nothing in training mode. */
const batchNormalization = (shape: CaseShape, training: boolean): GradientCase => ({
  name: `BatchNormalization [${shape}] ${training ? "in training" : "with stored statistics"}`,
  inputs: [{ shape }, { shape: [4] }, { shape: [4] }],
  build: (e, x, real) => {
    const mean = e.graph.initializer(e.graph.fresh("mean"), tensorOf(real, [4], [0.1, -0.2, 0.3, 0]));
    const variance = e.graph.initializer(e.graph.fresh("variance"), tensorOf(real, [4], [1.1, 0.5, 2, 0.7]));
    const inputs = [...x, mean, variance];
    return training
      ? e.ops("BatchNormalization", inputs, 3, { training_mode: 1 })[0]!
      : e.op("BatchNormalization", inputs, { epsilon: floats(1e-3) });
  },
});

checkGradients("normalisation", [
  norm("LayerNormalization", [["N", 3, 5], [5], [5]], { axis: -1, epsilon: floats(1e-3) }),
  norm(
    "LayerNormalization",
    [
      ["N", 3, 5],
      [3, 5],
      [3, 5],
    ],
    { axis: 1 },
  ),
  norm("LayerNormalization", [["N", 5], [5]]),
  norm("InstanceNormalization", [["N", 3, 4, 2], [3], [3]], {}, { float32Only: true }),
  norm("InstanceNormalization", [["N", 3, 6], [3], [3]], { epsilon: floats(1e-2) }, { float32Only: true }),
  norm("GroupNormalization", [["N", 4, 3, 2], [4], [4]], { num_groups: 2, stash_type: 11 }),
  norm("GroupNormalization", [["N", 4, 5], [4], [4]], { num_groups: 4, epsilon: floats(1e-2), stash_type: 11 }),
  norm("RMSNormalization", [["N", 3, 5], [5]], { epsilon: floats(1e-3) }, { opset: 23 }),
  norm(
    "RMSNormalization",
    [
      ["N", 3, 5],
      [3, 5],
    ],
    { axis: 1 },
    { opset: 23 },
  ),
  norm("SimplifiedLayerNormalization", [["N", 3, 5], [5]], { axis: -1, epsilon: floats(1e-3) }),
  batchNormalization(["N", 4, 2, 2], false),
  batchNormalization(["N", 4], false),
  batchNormalization(["N", 4, 2, 2], true),
  batchNormalization(["N", 4], true),
  norm(
    "LRN",
    [["N", 5, 2, 3]],
    { size: 3, alpha: floats(0.3), beta: floats(0.8), bias: floats(1.2) },
    { float32Only: true },
  ),
  norm("LRN", [["N", 6, 2, 2]], { size: 5, alpha: floats(0.5) }, { float32Only: true }),
  norm("LpNormalization", [["N", 4]]),
  norm("LpNormalization", [["N", 4, 3]], { axis: 1, p: 2 }),
  {
    name: "LpNormalization with p 1",
    inputs: [{ shape: ["N", 4], sample: positive }],
    build: (e, x) => e.op("LpNormalization", x, { p: 1 }),
  },
]);
