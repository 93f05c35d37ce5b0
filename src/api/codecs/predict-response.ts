// tensorflow.serving.PredictResponse, written once, straight to where it leaves from.
import { ModelSpec as ModelSpecMessage } from "../../gen/tensorflow_serving/apis/model.js";
import type { Signature } from "../../onnx/index.js";
import type { PredictResponse, ServableId } from "../../serving/index.js";
import { copyBytes, NamedValues } from "../../tensor/index.js";
import type { EncodableMessage } from "./encodable-message.js";
import { toModelSpecMessage } from "./model-spec.js";
import { type MeasuredTensor, measureTensor, writeTensor } from "./tensor-proto-writer.js";
import { tagOf, WireType } from "./wire-reader.js";
import { fieldSize, writeVarint32 } from "./wire-writer.js";

const outputsTag = tagOf(1, WireType.bytes);
const modelSpecTag = tagOf(2, WireType.bytes);
const keyTag = tagOf(1, WireType.bytes);
const valueTag = tagOf(2, WireType.bytes);

/**
 * @param asContent --enable_serialization_as_tensor_content: elements in tensor_content instead of typed fields
 * @throws INTERNAL for an output of a type that has no field
 */
export function encodePredictResponse(response: PredictResponse, asContent: boolean): EncodableMessage {
  return new EncodablePredictResponse(response, asContent);
}

class EncodablePredictResponse implements EncodableMessage {
  readonly size: number;
  readonly #names: EncodedNames;
  readonly #aliases: readonly Uint8Array[];
  readonly #tensors: readonly MeasuredTensor[];

  constructor({ servableId, signature, outputs }: PredictResponse, asContent: boolean) {
    const encoded = encodedNames(servableId, signature);
    const { names, items } = NamedValues.from(outputs);
    const tensors = new Array<MeasuredTensor>(names.length);
    let size = fieldSize(encoded.modelSpec.length);
    this.#aliases = aliasesOf(encoded, names);
    for (let index = 0; index < names.length; index++) {
      const tensor = measureTensor(items[index]!, asContent);
      tensors[index] = tensor;
      size += fieldSize(entrySize(this.#aliases[index]!, tensor));
    }
    this.#names = encoded;
    this.#tensors = tensors;
    this.size = size;
  }

  writeTo(out: Buffer, offset: number): void {
    let pos = offset;
    for (let index = 0; index < this.#tensors.length; index++) {
      const alias = this.#aliases[index]!;
      const tensor = this.#tensors[index]!;
      out[pos++] = outputsTag;
      pos = writeVarint32(out, pos, entrySize(alias, tensor));
      out[pos++] = keyTag;
      pos = writeVarint32(out, pos, alias.length);
      copyBytes(alias, 0, alias.length, out, pos);
      pos += alias.length;
      out[pos++] = valueTag;
      pos = writeVarint32(out, pos, tensor.size);
      pos = writeTensor(out, pos, tensor);
    }
    const { modelSpec } = this.#names;
    out[pos++] = modelSpecTag;
    pos = writeVarint32(out, pos, modelSpec.length);
    copyBytes(modelSpec, 0, modelSpec.length, out, pos);
  }
}

/** Bytes of one entry of the map of outputs. */
function entrySize(alias: Uint8Array, tensor: MeasuredTensor): number {
  return fieldSize(alias.length) + fieldSize(tensor.size);
}

/** What is the same in every answer of one version's signature, encoded once. */
interface EncodedNames {
  readonly modelSpec: Uint8Array;
  readonly aliases: ReadonlyMap<string, Uint8Array>;
  /** Those of the response before, and the same encoded: most ask for the same outputs. */
  latestNames: readonly string[];
  latestAliases: readonly Uint8Array[];
}
const namesOfServables = new WeakMap<ServableId, Map<string, EncodedNames>>();
/** Those of the response before: two look-ups less for the next. */
let latest: { readonly id: ServableId; readonly key: string; readonly names: EncodedNames } | undefined;

function encodedNames(id: ServableId, signature: Signature): EncodedNames {
  if (latest !== undefined && latest.id === id && latest.key === signature.key) return latest.names;
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
      latestNames: [],
      latestAliases: [],
    };
    bySignature.set(signature.key, names);
  }
  latest = { id, key: signature.key, names };
  return names;
}

function aliasesOf(encoded: EncodedNames, names: readonly string[]): readonly Uint8Array[] {
  if (encoded.latestNames !== names) {
    encoded.latestNames = names;
    encoded.latestAliases = names.map((name) => encoded.aliases.get(name)!);
  }
  return encoded.latestAliases;
}
