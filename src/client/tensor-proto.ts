// tensorflow.TensorProto, as a client sends it and as servers answer.
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import type { DataType } from "../gen/tensorflow/core/framework/types.js";
import { internal } from "../status.js";
import {
  bytesOf,
  elementCount,
  elementTypeInfo,
  elementTypeOfTensorflow,
  formatShape,
  isNumeric,
  type Tensor,
  viewAs,
} from "../tensor/index.js";

/** Numbers as tensor_content, the form that is fast to read. */
export function encodeTensorProto(tensor: Tensor): TensorProto {
  const proto = TensorProto.create({
    dtype: elementTypeInfo(tensor.dtype).tensorflow as DataType,
    tensorShape: { dim: tensor.shape.map((size) => ({ size: BigInt(size), name: "" })), unknownRank: false },
  });
  if (isNumeric(tensor)) proto.tensorContent = bytesOf(tensor.data);
  else proto.stringVal = (tensor.data as readonly string[]).map((text) => Buffer.from(text));
  return proto;
}

/** @throws INTERNAL when the server's answer is not a tensor of a type that is carried */
export function decodeTensorProto(name: string, proto: TensorProto): Tensor {
  const info = elementTypeOfTensorflow(proto.dtype);
  const shape = (proto.tensorShape?.dim ?? []).map(({ size }) => Number(size));
  const count = elementCount(shape);
  if (info === undefined || count === undefined) {
    throw internal(`output "${name}" has TensorFlow type ${proto.dtype} and shape ${formatShape(shape)}`);
  }
  const dtype = info.name;
  if (dtype === "string") {
    const values = repeatLast(proto.stringVal, count).map((bytes) => Buffer.from(bytes).toString());
    return { dtype, shape, data: requireCount(name, values, count) };
  }
  if (info.array === undefined) throw internal(`output "${name}" has element type ${dtype}, which has no array here`);
  if (proto.tensorContent.length > 0) {
    if (proto.tensorContent.length !== count * info.bytesPerElement) {
      throw internal(
        `output "${name}": ${proto.tensorContent.length} bytes for ${dtype} of shape ${formatShape(shape)}`,
      );
    }
    return { dtype, shape, data: viewAs(dtype, proto.tensorContent) };
  }
  const values = requireCount(name, repeatLast<number | bigint | boolean>(typedField(proto, dtype), count), count);
  const data = new info.array(count);
  for (let i = 0; i < count; i++) data[i] = values[i] as never;
  return { dtype, shape, data };
}

function typedField(proto: TensorProto, dtype: Tensor["dtype"]): readonly (number | bigint | boolean)[] {
  switch (dtype) {
    case "float32":
      return proto.floatVal;
    case "float64":
      return proto.doubleVal;
    case "float16":
    case "bfloat16":
      return proto.halfVal;
    case "int64":
      return proto.int64Val;
    case "uint32":
      return proto.uint32Val;
    case "uint64":
      return proto.uint64Val;
    case "bool":
      return proto.boolVal;
    default:
      return proto.intVal;
  }
}

/** TensorFlow leaves out what repeats at the end. */
function repeatLast<T>(values: readonly T[], count: number): readonly T[] {
  if (values.length === 0 || values.length >= count) return values;
  return Array.from({ length: count }, (_, i) => values[Math.min(i, values.length - 1)]!);
}

function requireCount<T>(name: string, values: readonly T[], count: number): readonly T[] {
  if (values.length !== count) throw internal(`output "${name}" holds ${values.length} elements; its shape ${count}`);
  return values;
}
