import { type TensorProto, TensorProto_DataLocation } from "../gen/onnx/onnx.js";
import { invalidArgument } from "../status.js";
import {
  elementCount,
  elementTypeInfo,
  elementTypeOfOnnx,
  formatShape,
  type NumericData,
  type Tensor,
  viewAs,
} from "../tensor/index.js";

/** Reads weights that lie in a file beside the model. */
export type ReadExternalData = (entries: ReadonlyMap<string, string>) => Uint8Array;

/**
 * A tensor stored in a model, as a value. Raw bytes become a view where they lie aligned, else a copy.
 * Throws INVALID_ARGUMENT naming the tensor when its data do not fit its shape.
 */
export function readTensorProto(proto: TensorProto, readExternal?: ReadExternalData): Tensor {
  const info = elementTypeOfOnnx(proto.dataType);
  if (info === undefined || (info.array === undefined && info.name !== "string")) {
    throw refuse(proto, `has elements ${info?.name ?? `of ONNX type ${proto.dataType}`}, which are not read`);
  }
  const shape = proto.dims.map(Number);
  const count = elementCount(shape);
  const data = readData(proto, info.name, readExternal);
  if (data.length !== count) {
    throw refuse(proto, `of shape ${formatShape(shape)} holds ${data.length} elements`);
  }
  return { dtype: info.name, shape, data };
}

function readData(
  proto: TensorProto,
  dtype: Tensor["dtype"],
  readExternal: ReadExternalData | undefined,
): NumericData | readonly string[] {
  if (dtype === "string") return proto.stringData.map((bytes) => new TextDecoder().decode(bytes));
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    if (readExternal === undefined) throw refuse(proto, "is kept outside the model file");
    return view(proto, dtype, readExternal(new Map(proto.externalData.map(({ key, value }) => [key, value]))));
  }
  if (proto.rawData.length > 0) return view(proto, dtype, proto.rawData);
  switch (dtype) {
    case "float32":
      return Float32Array.from(proto.floatData);
    case "float64":
      return Float64Array.from(proto.doubleData);
    case "int64":
      return BigInt64Array.from(proto.int64Data);
    case "uint64":
      return BigUint64Array.from(proto.uint64Data);
    case "uint32":
      return Uint32Array.from(proto.uint64Data, Number);
    default: {
      // The small types share one field; float16 and bfloat16 are bit patterns in it.
      const made = new (elementTypeInfo(dtype).array!)(proto.int32Data.length);
      (made as Int32Array).set(proto.int32Data);
      return made;
    }
  }
}

function view(proto: TensorProto, dtype: Tensor["dtype"], bytes: Uint8Array): NumericData {
  if (bytes.byteLength % elementTypeInfo(dtype).bytesPerElement !== 0) {
    throw refuse(proto, `has ${bytes.byteLength} bytes of ${dtype}, which is no whole number of elements`);
  }
  return viewAs(dtype, bytes);
}

const refuse = (proto: TensorProto, why: string) => invalidArgument(`tensor "${proto.name}" ${why}`);
