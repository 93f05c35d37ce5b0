// The element types of a graph's values, as far as the file tells them: declared, stored with a constant, or given by the
// operators whose outputs have a type of their own or that of an input. It need not know all; what it knows is so.
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "../../gen/onnx/onnx.js";
import { elementTypeInfo } from "../../tensor/index.js";

/** A number of onnx.TensorProto.DataType; undefined or 0 where it is not known. */
export type OnnxElementType = number | undefined;

const onnx = (name: Parameters<typeof elementTypeInfo>[0]) => elementTypeInfo(name).onnx;
export const onnxInt32 = onnx("int32");
export const onnxInt64 = onnx("int64");
export const onnxFloat64 = onnx("float64");
export const onnxBool = onnx("bool");
const onnxFloat32 = onnx("float32");

/** Those whose first output has the type of the first input. */
const typePreserving: ReadonlySet<string> = new Set([
  ...["Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "BatchNormalization", "BitShift"],
  ...[
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "Celu",
    "CenterCropPad",
    "Clip",
    "Compress",
    "Concat",
  ],
  ...[
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "Det",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Erf",
  ],
  ...["Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm"],
  ...["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization", "HardSigmoid"],
  ...["HardSwish", "Hardmax", "Identity", "InstanceNormalization", "LRN", "LSTM", "LayerNormalization", "LeakyRelu"],
  ...[
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "LpPool",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
  ],
  ...["Min", "Mish", "Mod", "Mul", "Neg", "PRelu", "Pad", "Pow", "RNN", "Range", "Reciprocal", "ReduceL1", "ReduceL2"],
  ...["ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"],
  ...["ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RMSNormalization", "Round", "Scatter"],
  ...[
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "SimplifiedLayerNormalization",
    "Sin",
    "Sinh",
  ],
  ...["Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish"],
  ...["Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Upsample"],
  // com.microsoft and ai.onnx.ml, which give no name of ONNX's own another meaning
  ...["ArrayFeatureExtractor", "Attention", "BiasGelu", "BiasSplitGelu", "FastGelu", "FusedConv", "FusedGemm"],
  ...["FusedMatMul", "GroupQueryAttention", "Imputer", "MatMulNBits", "MultiHeadAttention", "QuickGelu"],
  ...["RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"],
]);
/** Those all of whose outputs have it. */
const typePreservingThroughout: ReadonlySet<string> = new Set(["GRU", "LSTM", "RNN", "Split"]);

const fixedTypes = new Map<string, number>([
  ...["And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"].map(
    (name): [string, number] => [name, onnxBool],
  ),
  ...["ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "SequenceLength", "Shape", "Size"].map(
    (name): [string, number] => [name, onnxInt64],
  ),
  ...["ConvInteger", "MatMulInteger"].map((name): [string, number] => [name, onnxInt32]),
  ...["FeatureVectorizer", "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMRegressor", "Scaler"].map(
    (name): [string, number] => [name, onnxFloat32],
  ),
]);

/** Those whose first output has the type of another input than the first. */
const typeOfInput = new Map([
  ["CastLike", 1],
  ["DequantizeLinear", 1],
  ["OneHot", 2],
  ["Where", 1],
]);

/** The types of a node's outputs, by their index. What the graphs it holds give is not looked at. */
export function outputTypes(
  node: NodeProto,
  typeOf: (value: string) => OnnxElementType,
): (index: number) => OnnxElementType {
  const { opType, input } = node;
  const first = () => typeOf(input[typeOfInput.get(opType) ?? 0] ?? "");
  if (opType === "Cast") return firstOnly(intAttribute(node, "to"));
  if (opType === "Constant") return firstOnly(constantOf(node)?.dataType ?? constantType(node));
  if (opType === "ConstantOfShape") return firstOnly(valueAttribute(node)?.t?.dataType ?? onnxFloat32);
  if (fixedTypes.has(opType)) return firstOnly(fixedTypes.get(opType));
  if (typeOfInput.has(opType)) return firstOnly(first());
  if (!typePreserving.has(opType)) return () => undefined;
  const type = first();
  return typePreservingThroughout.has(opType) ? () => type : firstOnly(type);
}

const firstOnly = (type: OnnxElementType) => (index: number) => (index === 0 ? type : undefined);

const valueAttribute = (node: NodeProto) => node.attribute.find(({ name }) => name === "value");

/** The tensor that a Constant node holds, where it holds one. */
export function constantOf(node: NodeProto): TensorProto | undefined {
  return node.opType === "Constant" ? valueAttribute(node)?.t : undefined;
}

function constantType(node: NodeProto): OnnxElementType {
  const names = new Set(node.attribute.map(({ name }) => name));
  if (names.has("value_int") || names.has("value_ints")) return onnxInt64;
  return names.has("value_float") || names.has("value_floats") ? onnxFloat32 : undefined;
}

/** undefined for one that is missing, and for one that a function takes from its caller. */
export function intAttribute(node: NodeProto, name: string): number | undefined {
  const found = node.attribute.find((attribute) => attribute.name === name);
  return found === undefined || found.refAttrName !== "" ? undefined : Number(found.i);
}

/** What a graph declares of its values, and of what type its stored ones are. */
export function* declaredTypes(graph: GraphProto): Generator<[name: string, type: number]> {
  yield* typesDeclaredBy([...graph.input, ...graph.output, ...graph.valueInfo]);
  for (const { name, dataType } of graph.initializer) yield [name, dataType];
  for (const { values } of graph.sparseInitializer) if (values !== undefined) yield [values.name, values.dataType];
}

export function* typesDeclaredBy(values: readonly ValueInfoProto[]): Generator<[name: string, type: number]> {
  for (const { name, type } of values) {
    if (type?.value?.$case === "tensorType") yield [name, type.value.value.elemType];
  }
}
