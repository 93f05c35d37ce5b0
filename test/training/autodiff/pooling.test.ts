import type { GraphAttribute } from "../../../src/onnx/index.js";
import { type CaseShape, checkGradients, distinct, type GradientCase } from "../../support/finite-differences.js";

type Attributes = Record<string, GraphAttribute>;

const maxPool = (attributes: Attributes, shape: CaseShape = ["N", 3, 7, 7]): GradientCase => ({
  name: `MaxPool ${JSON.stringify(attributes)}`,
  inputs: [{ shape, sample: distinct }],
  build: (e, x) => e.op("MaxPool", x, attributes),
  linear: true,
  narrow: true,
});
const averagePool = (attributes: Attributes, shape: CaseShape = ["N", 3, 7, 8]): GradientCase => ({
  name: `AveragePool ${JSON.stringify(attributes)}`,
  inputs: [{ shape }],
  build: (e, x) => e.op("AveragePool", x, attributes),
  float32Only: true,
  linear: true,
});

checkGradients("pooling", [
  maxPool({ kernel_shape: [2, 2], strides: [2, 2] }),
  maxPool({ kernel_shape: [2, 3], strides: [2, 3] }, ["N", 2, 6, 6]),
  maxPool({ kernel_shape: [2], strides: [2] }, ["N", 3, 9]),
  maxPool({ kernel_shape: [2, 2, 1], strides: [2, 2, 1] }, ["N", 2, 4, 4, 3]),
  maxPool({ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
  maxPool({ kernel_shape: [3, 3], strides: [1, 1] }),
  maxPool({ kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }),
  maxPool({ kernel_shape: [2, 2], strides: [1, 2], dilations: [2, 1] }),
  maxPool({ kernel_shape: [3, 3], strides: [2, 2], auto_pad: "SAME_LOWER" }),
  // Rows too long to be stretched by a product.
  maxPool({ kernel_shape: [2, 2], strides: [2, 2] }, ["N", 1, 2, 66]),
  {
    name: "MaxPool of a Relu",
    inputs: [{ shape: ["N", 2, 4, 6], sample: distinct }],
    build: (e, x) => e.op("MaxPool", [e.op("Relu", x)], { kernel_shape: [2, 2], strides: [2, 2] }),
    linear: true,
    narrow: true,
  },
  {
    name: "MaxPool of a Relu that is read elsewhere too",
    inputs: [{ shape: ["N", 2, 4, 6], sample: distinct }],
    build: (e, x) => {
      const positive = e.op("Relu", x);
      const largest = e.op("MaxPool", [positive], { kernel_shape: [2, 3], strides: [2, 3] });
      return e.add(largest, e.op("ReduceSum", [positive, e.ints([2, 3])]));
    },
    linear: true,
    narrow: true,
  },
  averagePool({ kernel_shape: [2, 2], strides: [2, 2] }),
  averagePool({ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
  averagePool({ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  averagePool({ kernel_shape: [2, 3], strides: [3, 1] }),
  averagePool({ kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }),
  averagePool({ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: 1, count_include_pad: 1 }),
  averagePool({ kernel_shape: [3, 3], strides: [2, 2], auto_pad: "SAME_UPPER" }),
  averagePool({ kernel_shape: [2, 2], strides: [1, 1], dilations: [2, 2] }),
  averagePool({ kernel_shape: [3], strides: [2] }, ["N", 2, 8]),
  {
    name: "GlobalAveragePool",
    inputs: [{ shape: ["N", 3, 4, 5] }],
    build: (e, x) => e.op("GlobalAveragePool", x),
    float32Only: true,
    linear: true,
  },
  {
    name: "GlobalMaxPool",
    inputs: [{ shape: ["N", 3, 4, 5], sample: distinct }],
    build: (e, x) => e.op("GlobalMaxPool", x),
    float32Only: true,
    linear: true,
    narrow: true,
  },
]);
