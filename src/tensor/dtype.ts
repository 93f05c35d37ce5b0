// The one table of element types: what ONNX, TensorFlow and the Open Inference Protocol call them, and how many bytes
// an element takes. A type that onnxruntime-node cannot carry is in the table too, so that it can be refused by name.

/** Element types by their onnxruntime names. */
export type ElementType =
  | "float32"
  | "float64"
  | "float16"
  | "bfloat16"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool"
  | "string"
  | "complex64"
  | "complex128"
  | "float8e4m3fn"
  | "float8e4m3fnuz"
  | "float8e5m2"
  | "float8e5m2fnuz"
  | "uint4"
  | "int4";

/** Numeric data as it lies in memory. float16 and bfloat16 are bit patterns in a Uint16Array; bool is one byte, 0 or 1. */
export type NumericData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

type NumericDataConstructor = {
  new (length: number): NumericData;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): NumericData;
  readonly BYTES_PER_ELEMENT: number;
};

export interface ElementTypeInfo {
  readonly name: ElementType;
  /** onnx.TensorProto.DataType. */
  readonly onnx: number;
  /** tensorflow.DataType. */
  readonly tensorflow: number;
  /** TensorFlow's name in error messages: "float", "half". */
  readonly tensorflowName: string;
  /** Open Inference Protocol v2: "FP32", "BYTES"; undefined where the protocol has none. */
  readonly openInference: string | undefined;
  /** 0 for strings, whose elements have no fixed size. */
  readonly bytesPerElement: number;
  /** The array that holds such elements; undefined for strings and for types no runtime here carries. */
  readonly array: NumericDataConstructor | undefined;
  /** Whether onnxruntime-node takes and returns tensors of this type. */
  readonly carried: boolean;
}

const row = (
  name: ElementType,
  onnx: number,
  tensorflow: number,
  tensorflowName: string,
  openInference: string | undefined,
  bytesPerElement: number,
  array: NumericDataConstructor | undefined,
  carried = array !== undefined,
): ElementTypeInfo => ({
  name,
  onnx,
  tensorflow,
  tensorflowName,
  openInference,
  bytesPerElement,
  array,
  carried,
});

export const elementTypes: readonly ElementTypeInfo[] = [
  row("float32", 1, 1, "float", "FP32", 4, Float32Array),
  row("uint8", 2, 4, "uint8", "UINT8", 1, Uint8Array),
  row("int8", 3, 6, "int8", "INT8", 1, Int8Array),
  row("uint16", 4, 17, "uint16", "UINT16", 2, Uint16Array),
  row("int16", 5, 5, "int16", "INT16", 2, Int16Array),
  row("int32", 6, 3, "int32", "INT32", 4, Int32Array),
  row("int64", 7, 9, "int64", "INT64", 8, BigInt64Array),
  row("string", 8, 7, "string", "BYTES", 0, undefined, true),
  row("bool", 9, 10, "bool", "BOOL", 1, Uint8Array),
  row("float16", 10, 19, "half", "FP16", 2, Uint16Array),
  row("float64", 11, 2, "double", "FP64", 8, Float64Array),
  row("uint32", 12, 22, "uint32", "UINT32", 4, Uint32Array),
  row("uint64", 13, 23, "uint64", "UINT64", 8, BigUint64Array),
  row("complex64", 14, 8, "complex64", undefined, 8, undefined),
  row("complex128", 15, 18, "complex128", undefined, 16, undefined),
  row("bfloat16", 16, 14, "bfloat16", "BF16", 2, Uint16Array, false),
  row("float8e4m3fn", 17, 25, "float8_e4m3fn", undefined, 1, undefined),
  row("float8e4m3fnuz", 18, 26, "float8_e4m3fnuz", undefined, 1, undefined),
  row("float8e5m2", 19, 24, "float8_e5m2", undefined, 1, undefined),
  row("float8e5m2fnuz", 20, 28, "float8_e5m2fnuz", undefined, 1, undefined),
  row("uint4", 21, 30, "uint4", undefined, 1, undefined),
  row("int4", 22, 29, "int4", undefined, 1, undefined),
];

const byName = new Map(elementTypes.map((info) => [info.name, info]));
const byOnnx = new Map(elementTypes.map((info) => [info.onnx, info]));
const byTensorflow: (ElementTypeInfo | undefined)[] = [];
for (const info of elementTypes) byTensorflow[info.tensorflow] = info;
let latest = elementTypes[0]!;
const byOpenInference = new Map(elementTypes.map((info) => [info.openInference, info]));

export function elementTypeInfo(name: ElementType): ElementTypeInfo {
  // Mostly it is the type that was asked for before, and a look into a map costs as much as moving a small tensor.
  if (latest.name === name) return latest;
  const info = byName.get(name)!;
  // From JavaScript comes what is no name of a type.
  if (info !== undefined) latest = info;
  return info;
}
/** By onnx.TensorProto.DataType; undefined for a number not in the table. */
export function elementTypeOfOnnx(number: number): ElementTypeInfo | undefined {
  return byOnnx.get(number);
}
/** By tensorflow.DataType; undefined for a number not in the table. */
export function elementTypeOfTensorflow(number: number): ElementTypeInfo | undefined {
  return byTensorflow[number];
}
/** By the Open Inference Protocol's name; undefined for a name not in the table. */
export function elementTypeOfOpenInference(name: string): ElementTypeInfo | undefined {
  return name === undefined ? undefined : byOpenInference.get(name);
}
