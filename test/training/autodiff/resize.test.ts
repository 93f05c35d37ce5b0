import type { GraphAttribute } from "../../../src/onnx/index.js";
import { type CaseShape, checkGradients, type GradientCase } from "../../support/finite-differences.js";

type Attributes = Record<string, GraphAttribute>;
const shape: CaseShape = ["N", 2, 4, 5];

const byScale = (scales: readonly number[], attributes: Attributes): GradientCase => ({
  name: `Resize by ${scales} ${JSON.stringify(attributes)}`,
  inputs: [{ shape }],
  build: (e, [x]) => e.op("Resize", [x!, "", e.constant("float32", [scales.length], scales)], attributes),
  float32Only: true,
  linear: true,
});

checkGradients("Resize", [
  byScale([1, 1, 2, 2], { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" }),
  byScale([1, 1, 2, 3], { mode: "nearest" }),
  byScale([1, 1, 0.5, 0.6], { mode: "nearest", nearest_mode: "ceil" }),
  byScale([1, 1, 2, 1.5], { mode: "linear" }),
  byScale([1, 1, 2, 2], { mode: "linear", coordinate_transformation_mode: "align_corners" }),
  byScale([1, 1, 0.5, 0.5], { mode: "linear", coordinate_transformation_mode: "pytorch_half_pixel" }),
  byScale([1, 1, 0.5, 0.6], { mode: "linear", antialias: 1 }),
  byScale([1, 1, 2, 2], { mode: "cubic" }),
  {
    name: "Resize to sizes",
    inputs: [{ shape: [2, 2, 4, 5] }],
    build: (e, [x]) => e.op("Resize", [x!, "", "", e.ints([2, 2, 7, 3])], { mode: "linear" }),
    float32Only: true,
    linear: true,
  },
  {
    name: "Resize of two named axes",
    inputs: [{ shape }],
    build: (e, [x]) => e.op("Resize", [x!, "", "", e.ints([8, 10])], { mode: "nearest", axes: [2, 3] }),
    float32Only: true,
    linear: true,
  },
]);
