// tensorflow.TensorProto in text form: the default values of a signature's inputs.
import { invalidArgument } from "../status.js";
import {
  elementCount,
  elementTypeInfo,
  elementTypeOfTensorflow,
  elementTypes,
  formatShape,
  type NumericData,
  type Tensor,
  viewAs,
} from "../tensor/index.js";
import {
  bool,
  bytes,
  double,
  enumeration,
  float,
  int32,
  int64,
  message,
  optional,
  repeated,
  singular,
  string,
  type TypeOf,
  uint32,
  uint64,
} from "./text-proto/text-schema.js";

/** DT_FLOAT and so on, as far as ONNX has a counterpart. */
export const dataTypeType = enumeration("tensorflow.DataType", {
  DT_INVALID: 0,
  ...Object.fromEntries(elementTypes.map((info) => [`DT_${info.tensorflowName.toUpperCase()}`, info.tensorflow])),
});

export const tensorShapeType = message("tensorflow.TensorShapeProto", {
  dim: repeated(message("tensorflow.TensorShapeProto.Dim", { size: singular(int64), name: singular(string) })),
  unknown_rank: singular(bool),
});

export const tensorProtoType = message("tensorflow.TensorProto", {
  dtype: singular(dataTypeType),
  tensor_shape: optional(tensorShapeType),
  version_number: singular(int32),
  tensor_content: singular(bytes),
  half_val: repeated(int32),
  float_val: repeated(float),
  double_val: repeated(double),
  int_val: repeated(int32),
  string_val: repeated(string),
  int64_val: repeated(int64),
  bool_val: repeated(bool),
  uint32_val: repeated(uint32),
  uint64_val: repeated(uint64),
});

/** A default is copied for every call that leaves it out, so it has to be small. */
const maxElements = 2 ** 20;

/**
 * The tensor that a TensorProto stands for, by the rules of the wire: tensor_content before typed values, the last of too
 * few values repeated, surplus ones dropped, zeros when there are none.
 * @throws INVALID_ARGUMENT
 */
export function tensorOf(proto: TypeOf<typeof tensorProtoType>): Tensor {
  const info = elementTypeOfTensorflow(proto.dtype);
  if (info === undefined || !info.carried) {
    throw invalidArgument(`a value of type ${info?.tensorflowName ?? proto.dtype} is not supported`);
  }
  const dtype = info.name;
  const shape = (proto.tensor_shape?.dim ?? []).map(({ size }) => Number(size));
  const count = elementCount(shape);
  if (count === undefined || count > maxElements) {
    throw invalidArgument(
      `a value of shape ${formatShape(shape)} is not supported; at most ${maxElements} elements are`,
    );
  }
  if (dtype === "string") {
    if (proto.tensor_content.length > 0) throw invalidArgument("strings are given in string_val");
    return { dtype, shape, data: fill(proto.string_val, count, "") };
  }
  if (proto.tensor_content.length > 0 && count > 0) {
    const wanted = count * info.bytesPerElement;
    if (proto.tensor_content.length !== wanted) {
      throw invalidArgument(
        `tensor_content holds ${proto.tensor_content.length} bytes; shape ${formatShape(shape)} takes ${wanted}`,
      );
    }
    if (dtype === "bool" && proto.tensor_content.some((byte) => byte > 1)) {
      throw invalidArgument("tensor_content of bool holds bytes other than 0 and 1");
    }
    return { dtype, shape, data: viewAs(dtype, proto.tensor_content.slice()) };
  }
  const data: NumericData = new (elementTypeInfo(dtype).array!)(count);
  switch (dtype) {
    case "int64":
      (data as BigInt64Array).set(fill(proto.int64_val, count, 0n));
      break;
    case "uint64":
      (data as BigUint64Array).set(fill(proto.uint64_val, count, 0n));
      break;
    default:
      (data as Exclude<NumericData, BigInt64Array | BigUint64Array>).set(fill(numbersOf(proto, dtype), count, 0));
  }
  return { dtype, shape, data };
}

function numbersOf(proto: TypeOf<typeof tensorProtoType>, dtype: Tensor["dtype"]): readonly number[] {
  switch (dtype) {
    case "float32":
      return proto.float_val;
    case "float64":
      return proto.double_val;
    case "float16":
      return proto.half_val;
    case "bool":
      return proto.bool_val.map(Number);
    case "uint32":
      return proto.uint32_val;
    default:
      return proto.int_val;
  }
}

function fill<T>(given: readonly T[], count: number, zero: T): T[] {
  return Array.from({ length: count }, (_, i) => given[i] ?? given.at(-1) ?? zero);
}
