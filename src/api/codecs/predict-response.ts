// tensorflow.serving.PredictResponse, written once, into one buffer of the exact size.
import { ModelSpec as ModelSpecMessage } from "../../gen/tensorflow_serving/apis/model.js";
import type { Signature } from "../../onnx/index.js";
import type { PredictResponse, ServableId } from "../../serving/index.js";
import { NamedValues } from "../../tensor/index.js";
import { toModelSpecMessage } from "./model-spec.js";
import { type MeasuredTensor, measureTensor, writeTensor } from "./tensor-proto-writer.js";
import { tagOf, WireType } from "./wire-reader.js";
import { fieldSize, writeVarint32 } from "./wire-writer.js";

const outputsTag = tagOf(1, WireType.bytes);
const modelSpecTag = tagOf(2, WireType.bytes);
const keyTag = tagOf(1, WireType.bytes);
const valueTag = tagOf(2, WireType.bytes);

/** @param asContent --enable_serialization_as_tensor_content: elements in tensor_content instead of typed fields */
export function encodePredictResponse(response: PredictResponse, asContent: boolean): Buffer {
  const { modelSpec, aliases } = encodedNames(response.servableId, response.signature);
  const { names, items } = NamedValues.from(response.outputs);
  const tensors: MeasuredTensor[] = [];
  let size = fieldSize(modelSpec.length);
  for (let index = 0; index < names.length; index++) {
    const tensor = measureTensor(items[index]!, asContent);
    tensors.push(tensor);
    size += fieldSize(entrySize(aliases.get(names[index]!)!, tensor));
  }
  const out = Buffer.allocUnsafe(size);
  let pos = 0;
  for (let index = 0; index < names.length; index++) {
    const alias = aliases.get(names[index]!)!;
    const tensor = tensors[index]!;
    out[pos++] = outputsTag;
    pos = writeVarint32(out, pos, entrySize(alias, tensor));
    out[pos++] = keyTag;
    pos = writeVarint32(out, pos, alias.length);
    out.set(alias, pos);
    pos += alias.length;
    out[pos++] = valueTag;
    pos = writeVarint32(out, pos, tensor.size);
    pos = writeTensor(out, pos, tensor);
  }
  out[pos++] = modelSpecTag;
  pos = writeVarint32(out, pos, modelSpec.length);
  out.set(modelSpec, pos);
  return out;
}

/** Bytes of one entry of the map of outputs. */
function entrySize(alias: Uint8Array, tensor: MeasuredTensor): number {
  return fieldSize(alias.length) + fieldSize(tensor.size);
}

/** What is the same in every answer of one version's signature, encoded once. */
interface EncodedNames {
  readonly modelSpec: Uint8Array;
  readonly aliases: ReadonlyMap<string, Uint8Array>;
}
const namesOfServables = new WeakMap<ServableId, Map<string, EncodedNames>>();

function encodedNames(id: ServableId, signature: Signature): EncodedNames {
  let bySignature = namesOfServables.get(id);
  if (bySignature === undefined) {
    bySignature = new Map();
    namesOfServables.set(id, bySignature);
  }
  let names = bySignature.get(signature.key);
  if (names === undefined) {
    names = {
      modelSpec: ModelSpecMessage.encode(toModelSpecMessage(id, signature.key)).finish(),
      aliases: new Map([...signature.outputs.keys()].map((alias) => [alias, Buffer.from(alias)])),
    };
    bySignature.set(signature.key, names);
  }
  return names;
}
