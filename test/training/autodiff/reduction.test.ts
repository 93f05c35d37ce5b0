import type { GraphAttribute } from "../../../src/onnx/index.js";
import {
  awayFromZero,
  type CaseShape,
  checkGradients,
  distinct,
  type GradientCase,
  normal,
  positive,
  type Sampler,
} from "../../support/finite-differences.js";

const reduce = (opType: string, sample: Sampler, keepdims: number): GradientCase => ({
  name: `${opType} over axis 1, keepdims ${keepdims}`,
  inputs: [{ shape: ["N", 3, 4], sample }],
  build: (e, [x]) => e.op(opType, [x!, e.ints([1])], { keepdims }),
});
const along = (opType: string, shape: CaseShape, attributes: Record<string, GraphAttribute>): GradientCase => ({
  name: `${opType} [${shape}] ${JSON.stringify(attributes)}`,
  inputs: [{ shape }],
  build: (e, x) => e.op(opType, x, attributes),
});
const samplers: Readonly<Record<string, Sampler>> = {
  ReduceSum: normal,
  ReduceMean: normal,
  ReduceSumSquare: normal,
  ReduceL1: awayFromZero(),
  ReduceL2: awayFromZero(),
  ReduceLogSum: positive,
  ReduceLogSumExp: normal,
  ReduceMax: distinct,
  ReduceMin: distinct,
};

checkGradients("reductions", [
  ...Object.entries(samplers).flatMap(([opType, sample]) => [reduce(opType, sample, 1), reduce(opType, sample, 0)]),
  reduce("ReduceProd", awayFromZero(), 1),
  {
    name: "ReduceProd with a zero, and with two",
    inputs: [{ shape: [3, 4], sample: (random, index) => ([1, 4, 6].includes(index) ? 0 : 0.5 + random.uniform()) }],
    build: (e, [x]) => e.op("ReduceProd", [x!, e.ints([1])]),
    linear: true,
  },
  {
    name: "ReduceMean over everything",
    inputs: [{ shape: ["N", 3] }],
    build: (e, x) => e.op("ReduceMean", x, { keepdims: 0 }),
  },
  {
    name: "ReduceSum over nothing",
    inputs: [{ shape: ["N", 3] }],
    build: (e, x) => e.exp(e.op("ReduceSum", x, { noop_with_empty_axes: 1 })),
  },
  {
    name: "ReduceMax over the batch",
    inputs: [{ shape: ["N", 3], sample: distinct }],
    build: (e, [x]) => e.op("ReduceMax", [x!, e.ints([0])]),
  },
  along("Softmax", ["N", 4, 5], {}),
  along("Softmax", ["N", 4, 5], { axis: 1 }),
  along("LogSoftmax", ["N", 5], {}),
  along("LogSoftmax", ["N", 5], { axis: 0 }),
  ...[0, 1].flatMap((exclusive) =>
    [0, 1].map(
      (reverse): GradientCase => ({
        name: `CumSum exclusive ${exclusive} reverse ${reverse}`,
        inputs: [{ shape: ["N", 5] }],
        build: (e, [x]) => e.op("CumSum", [x!, e.scalar(1, "int64")], { exclusive, reverse }),
      }),
    ),
  ),
]);
