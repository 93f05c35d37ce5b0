// onnxruntime has kernels that end the process when they meet a tensor of no elements: LSTM, GRU, TopK, Unique, Einsum,
// InstanceNormalization, ConvTranspose and DFT among them, by a signal that no handler outlives. A client only has to send a batch of
// no rows. So such tensors go only into graphs whose every operator has been seen to take them.
import type { GraphProto } from "../gen/onnx/onnx.js";
import { nodeLabel } from "./graph-walk.js";

/** The operators that a test runs on empty tensors; those of ai.onnx.ml have no namesake among ONNX's own. */
export const takesEmptyTensors: ReadonlySet<string> = new Set([
  // Element by element
  ...["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh"],
  ...["Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"],
  ...["LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign"],
  ...["Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"],
  ...["Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"],
  ...["Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor", "QuantizeLinear", "DequantizeLinear"],
  // Moved about
  ...["Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Pad"],
  ...["Reshape", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu"],
  ...["Unsqueeze", "SplitToSequence", "SequenceLength"],
  // Reduced, normalized, multiplied
  ...["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"],
  ...["ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin", "CumSum", "OneHot", "Hardmax", "LogSoftmax", "Softmax"],
  ...["BatchNormalization", "LRN", "LayerNormalization", "LpNormalization", "MeanVarianceNormalization"],
  ...["Gemm", "MatMul", "Conv", "AveragePool", "MaxPool", "LpPool"],
  ...["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"],
  // ai.onnx.ml
  ...["ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder", "LinearClassifier"],
  ...["LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler"],
  ...["TreeEnsembleClassifier", "TreeEnsembleRegressor"],
]);

const domains: ReadonlySet<string> = new Set(["", "ai.onnx", "ai.onnx.ml"]);

/** Why a call whose tensors have no elements must not reach this graph; undefined when it may. */
export function reasonAgainstEmptyTensors(graph: GraphProto): string | undefined {
  const node = graph.node.find(({ domain, opType }) => !domains.has(domain) || !takesEmptyTensors.has(opType));
  return node === undefined ? undefined : `${nodeLabel(node)} is not known to take tensors without elements`;
}
