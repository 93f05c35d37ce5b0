import type { TensorShapeProto } from "../../gen/tensorflow/core/framework/tensor_shape.js";
import type { DataType } from "../../gen/tensorflow/core/framework/types.js";
import type { SignatureDef, TensorInfo } from "../../gen/tensorflow/core/protobuf/meta_graph.js";
import { SignatureDefMap } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import type { Signature, TensorSpec } from "../../onnx/index.js";
import { elementTypeInfo } from "../../tensor/index.js";

/** Signatures as GetModelMetadata packs them. */
export function encodeSignatureDefMap(signatures: ReadonlyMap<string, Signature>): Uint8Array {
  const signatureDef = new Map([...signatures].map(([key, signature]) => [key, toSignatureDef(signature)]));
  return SignatureDefMap.encode({ signatureDef }).finish();
}

/** Default values are left out, as TensorFlow Serving leaves them out. */
export function toSignatureDef({ inputs, outputs, methodName }: Signature): SignatureDef {
  return { inputs: toTensorInfos(inputs), outputs: toTensorInfos(outputs), methodName, defaults: new Map() };
}

function toTensorInfos(specs: ReadonlyMap<string, TensorSpec>): Map<string, TensorInfo> {
  return new Map(
    [...specs].map(([alias, { name, dtype, shape }]) => [
      alias,
      {
        encoding: { $case: "name", value: name },
        dtype: elementTypeInfo(dtype).tensorflow as DataType,
        tensorShape: toTensorShapeProto(shape),
      },
    ]),
  );
}

/** Open dimensions are -1 and keep their names; an open rank has no dimensions. */
function toTensorShapeProto(shape: TensorSpec["shape"]): TensorShapeProto {
  if (shape === undefined) return { dim: [], unknownRank: true };
  const dim = shape.map((size) =>
    typeof size === "number" ? { size: BigInt(size), name: "" } : { size: -1n, name: size ?? "" },
  );
  return { dim, unknownRank: false };
}
