import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { reasonAgainstEmptyTensors, takesEmptyTensors } from "../../src/onnx/empty-tensors.js";
import { type AttributeValue, encodeModel, floats, GraphBuilder } from "../../src/onnx/index.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";
import { runModelOften } from "../support/run-model.js";
import { floatTensor, int64Tensor } from "../support/test-models.js";

/** How an operator takes x: the rank of x where it matters, and the node. */
interface Use {
  readonly rank?: number;
  readonly dtype?: ElementType;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Inputs behind x. */
  readonly more?: readonly (Tensor | "x" | "")[];
  readonly outputs?: number;
  readonly ml?: boolean;
  /** The node makes a sequence, not a tensor. */
  readonly sequence?: boolean;
}

const ones = (...shape: number[]) =>
  floatTensor(shape, ...new Array<number>(shape.reduce((all, size) => all * size, 1)).fill(1));
const scalar = (value: number) => int64Tensor([], value);
const axes = (...values: number[]) => int64Tensor([values.length], ...values);

const elementwise = [
  ...[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Dropout",
    "Elu",
  ],
  ...["Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log"],
  ...["Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"],
  ...["Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "Size"],
];
const pairs = [
  ...["Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "PRelu"],
  ...["Pow", "Sub", "Sum"],
];
const reductions = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"];
const each = (names: readonly string[], use: Use) => Object.fromEntries(names.map((name) => [name, [use]]));

const tree = {
  nodes_treeids: [0, 0, 0],
  nodes_nodeids: [0, 1, 2],
  nodes_featureids: [0, 0, 0],
  nodes_values: floats([0, 0, 0]),
  nodes_modes: ["BRANCH_LEQ", "LEAF", "LEAF"],
  nodes_truenodeids: [1, 0, 0],
  nodes_falsenodeids: [2, 0, 0],
};
const vectors = { coefficients: floats([1, 2]), support_vectors: floats([1, 2, 3, 4]), rho: floats([0]) };
const kernel = { kernel_type: "RBF", kernel_params: floats([0.5, 0, 3]) };

const uses: Readonly<Record<string, readonly Use[]>> = {
  ...each(elementwise, {}),
  ...each(["Not"], { dtype: "bool" }),
  ...each(["And", "Or", "Xor"], { dtype: "bool", more: ["x"] }),
  ...each(["Cast"], { attributes: { to: 7 } }),
  ...each(["Mod"], { dtype: "int64", more: ["x"] }),
  ...Object.fromEntries(pairs.map((name) => [name, [{ more: ["x"] }, { more: [ones(1)] }, { more: [ones()] }]])),
  Where: [{ dtype: "bool", more: ["x", "x"] }],
  QuantizeLinear: [{ more: [ones()] }, { rank: 2, more: [ones(2)], attributes: { axis: 1 } }],
  DequantizeLinear: [
    { dtype: "uint8", more: [ones()] },
    { dtype: "uint8", rank: 2, more: [ones(2)], attributes: { axis: 1 } },
  ],
  Concat: [
    { more: ["x"], attributes: { axis: 0 } },
    { more: ["x"], attributes: { axis: -1 } },
  ],
  Constant: [{ attributes: { value: int64Tensor([0]) } }],
  ConstantOfShape: [{ dtype: "int64", rank: 1 }],
  DepthToSpace: [{ rank: 4, attributes: { blocksize: 1 } }],
  SpaceToDepth: [{ rank: 4, attributes: { blocksize: 2 } }],
  Expand: [{ more: [axes(1)] }, { more: [axes(2, 1, 1, 1, 1)] }],
  Flatten: [{ attributes: { axis: 1 } }, { attributes: { axis: 0 } }],
  Gather: [{ more: [axes(0)] }, { more: [scalar(0)], attributes: { axis: -1 } }],
  GatherElements: [
    { rank: 2, more: [int64Tensor([1, 1], 0)] },
    { rank: 2, more: [int64Tensor([0, 1])] },
  ],
  Pad: [
    { rank: 2, more: [axes(1, 0, 0, 2)] },
    { rank: 2, more: [axes(0, 1, 0, 1)], attributes: { mode: "edge" } },
    { rank: 2, more: [axes(1, 0, 1, 0)], attributes: { mode: "reflect" } },
  ],
  Reshape: [{ more: [axes(-1)] }, { more: [axes(0, -1)] }, { more: [axes(0)] }],
  Shape: [{}],
  Slice: [{ more: [axes(0), axes(1), axes(0)] }, { more: [axes(-1), axes(-9), axes(-1), axes(-1)] }],
  Split: [{ attributes: { num_outputs: 2 }, outputs: 2 }],
  SplitToSequence: [{ sequence: true }, { sequence: true, attributes: { axis: -1, keepdims: 0 } }],
  SequenceLength: [{}],
  Squeeze: [{}, { more: [axes(0)] }],
  Unsqueeze: [{ more: [axes(0, -1)] }],
  Tile: [
    { rank: 2, more: [axes(2, 2)] },
    { rank: 2, more: [axes(0, 1)] },
  ],
  Transpose: [{}, { rank: 3, attributes: { perm: [1, 2, 0] } }],
  Trilu: [{ rank: 2 }, { rank: 3, attributes: { upper: 0 } }],
  ...Object.fromEntries(
    reductions.map((name) => [
      `Reduce${name}`,
      [{}, { more: [axes(0)] }, { more: [axes(-1)], attributes: { keepdims: 0 } }],
    ]),
  ),
  ...Object.fromEntries(["ArgMax", "ArgMin"].map((name) => [name, [{}, { attributes: { axis: -1, keepdims: 0 } }]])),
  ...Object.fromEntries(["Softmax", "LogSoftmax", "Hardmax"].map((name) => [name, [{}, { attributes: { axis: 0 } }]])),
  CumSum: [{ more: [scalar(0)] }, { more: [scalar(-1)], attributes: { reverse: 1 } }],
  OneHot: [
    { dtype: "int64", more: [scalar(3), ones(2)] },
    { dtype: "int64", more: [scalar(3), ones(2)], attributes: { axis: 0 } },
  ],
  BatchNormalization: [{ rank: 3, more: [ones(2), ones(2), ones(2), ones(2)] }],
  LRN: [{ rank: 4, attributes: { size: 3 } }],
  LayerNormalization: [{ more: [ones(2)] }, { more: [ones(1)], attributes: { axis: 0 } }],
  LpNormalization: [{}, { attributes: { axis: 0, p: 1 } }],
  MeanVarianceNormalization: [{ rank: 4 }, { rank: 2, attributes: { axes: [1] } }],
  Gemm: [
    { rank: 2, more: ["x"], attributes: { transB: 1 } },
    { rank: 2, more: [ones(2, 3), ones(3)] },
  ],
  MatMul: [
    { rank: 2, more: [ones(2, 3)] },
    { rank: 3, more: [ones(2, 3)] },
    { rank: 1, more: ["x"] },
  ],
  Conv: [
    { rank: 3, more: [ones(4, 2, 1)] },
    { rank: 4, more: [ones(4, 2, 3, 3), ones(4)], attributes: { pads: [1, 1, 1, 1] } },
    { rank: 4, more: [ones(2, 1, 1, 1)], attributes: { group: 2 } },
  ],
  ...Object.fromEntries(
    ["AveragePool", "MaxPool", "LpPool"].map((name) => [
      name,
      [
        { rank: 3, attributes: { kernel_shape: [1] } },
        { rank: 4, attributes: { kernel_shape: [2, 2], pads: [1, 1, 1, 1] } },
      ],
    ]),
  ),
  ...Object.fromEntries(["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"].map((name) => [name, [{ rank: 4 }]])),
  ArrayFeatureExtractor: [{ ml: true, more: [axes(0)] }],
  Binarizer: [{ ml: true }],
  FeatureVectorizer: [{ ml: true, rank: 2, attributes: { inputdimensions: [2] } }],
  Imputer: [{ ml: true, rank: 2, attributes: { imputed_value_floats: floats([0, 0]) } }],
  LabelEncoder: [{ ml: true, dtype: "int64", attributes: { keys_int64s: [1], values_int64s: [2] } }],
  LinearClassifier: [
    {
      ml: true,
      rank: 2,
      outputs: 2,
      attributes: { classlabels_ints: [0, 1], coefficients: floats([1, 2, 3, 4]), intercepts: floats([0, 0]) },
    },
  ],
  LinearRegressor: [{ ml: true, rank: 2, attributes: { coefficients: floats([1, 2]) } }],
  Normalizer: ["MAX", "L1", "L2"].map((norm) => ({ ml: true, rank: 2, attributes: { norm } })),
  OneHotEncoder: [{ ml: true, dtype: "int64", attributes: { cats_int64s: [1, 2] } }],
  SVMClassifier: [
    {
      ml: true,
      rank: 2,
      outputs: 2,
      attributes: { ...vectors, ...kernel, classlabels_ints: [0, 1], vectors_per_class: [1, 1] },
    },
  ],
  SVMRegressor: [{ ml: true, rank: 2, attributes: { ...vectors, ...kernel, n_supports: 2 } }],
  Scaler: [{ ml: true, rank: 2, attributes: { offset: floats([1, 2]), scale: floats([1, 2]) } }],
  TreeEnsembleClassifier: [
    {
      ml: true,
      rank: 2,
      outputs: 2,
      attributes: {
        ...tree,
        classlabels_int64s: [0, 1],
        class_treeids: [0, 0],
        class_nodeids: [1, 2],
        class_ids: [0, 1],
        class_weights: floats([1, 1]),
      },
    },
  ],
  TreeEnsembleRegressor: [
    {
      ml: true,
      rank: 2,
      attributes: {
        ...tree,
        n_targets: 1,
        target_treeids: [0, 0],
        target_nodeids: [1, 2],
        target_ids: [0, 0],
        target_weights: floats([-1, 1]),
      },
    },
  ],
};

/** The node's first output goes on into nothing: what matters is that the node itself has run. */
function modelOf(
  opType: string,
  rank: number,
  { dtype = "float32", attributes = {}, more = [], outputs = 1, ml = false, sequence = false }: Use,
) {
  const graph = new GraphBuilder(opType);
  const x = graph.input(
    "x",
    dtype,
    Array.from({ length: rank }, (_, i) => `size_${i}`),
  );
  const inputs = more.map((input, i) => (typeof input === "string" ? input : graph.initializer(`w${i}`, input)));
  const names = Array.from({ length: outputs }, (_, i) => `made_${i}`);
  // Floats for the branches of Where.
  if (opType === "Where") graph.node("Cast", [x], { to: 1 }, { outputs: ["branch"] });
  if (opType === "SequenceLength") graph.node("SplitToSequence", [x], {}, { outputs: ["parts"] });
  const taken = opType === "Where" ? ["branch", "branch"] : inputs;
  const first = opType === "SequenceLength" ? "parts" : x;
  const all = opType === "Constant" ? [] : [first, ...taken];
  const node = graph.node(opType, all, attributes, { domain: ml ? "ai.onnx.ml" : "", outputs: names });
  graph.node(sequence ? "SequenceLength" : "Shape", [node], {}, { outputs: ["y"] });
  graph.output("y", "int64", undefined);
  return encodeModel(graph, { operatorSets: { "": 21, "ai.onnx.ml": 3 } });
}

/** Shapes of that rank with no rows, no columns, and so on, and with nothing at all. */
function emptyShapes(rank: number): number[][] {
  const single = Array.from({ length: rank }, (_, axis) => new Array<number>(rank).fill(2).with(axis, 0));
  return [...single, new Array<number>(rank).fill(0)];
}

const emptyTensor = (dtype: ElementType, shape: readonly number[]): Tensor => {
  const arrays = { int64: BigInt64Array, bool: Uint8Array, uint8: Uint8Array } as Partial<Record<ElementType, unknown>>;
  const array = (arrays[dtype] ?? Float32Array) as typeof Float32Array;
  return { dtype, shape, data: new array(0) };
};

describe("operators on empty tensors", () => {
  it("are those that the list names", () => {
    assert.deepEqual(Object.keys(uses).sort(), [...takesEmptyTensors].sort());
  });

  // An operator that ends the process fails this file. Some kernels do only with several threads, so it gives two.
  for (const [opType, ways] of Object.entries(uses)) {
    it(`${opType} lives through them`, async () => {
      let answered = 0;
      for (const use of ways) {
        for (const rank of use.rank === undefined ? [1, 2, 3] : [use.rank]) {
          const runs = emptyShapes(rank).map((shape) => ({ x: emptyTensor(use.dtype ?? "float32", shape) }));
          // Some ranks are wrong for some uses, which the runtime says when it reads the model.
          const results = await runModelOften(modelOf(opType, rank, use), runs, { intraOpNumThreads: 2 }).catch(
            () => [],
          );
          answered += results.filter((result) => !(result instanceof Error)).length;
        }
      }
      assert.ok(answered > 0, "never ran");
    });
  }
});

describe("reasonAgainstEmptyTensors", () => {
  const graphOf = (opType: string, domain = "") => {
    const graph = new GraphBuilder("g");
    graph.node(opType, [graph.node("Relu", [graph.input("x", "float32", ["n"])])], {}, { domain, outputs: ["y"] });
    return graph.toProto();
  };

  it("finds none where all operators take them", () => {
    assert.equal(reasonAgainstEmptyTensors(graphOf("Tanh")), undefined);
    assert.equal(reasonAgainstEmptyTensors(graphOf("Scaler", "ai.onnx.ml")), undefined);
  });

  it("names the node that may not", () => {
    for (const opType of ["LSTM", "GRU", "RNN", "TopK", "Unique", "Einsum", "InstanceNormalization", "DFT", "Loop"]) {
      assert.match(reasonAgainstEmptyTensors(graphOf(opType)) ?? "", new RegExp(`^y \\(${opType}\\) is not known`));
    }
    assert.match(reasonAgainstEmptyTensors(graphOf("Relu", "com.example")) ?? "", /^y \(Relu\) is not known/);
  });
});
