// tensorflow.serving.PredictRequest, read in place: nothing is copied, and no element is looked at, before the signature
// has been compared with what the request says it carries.
import type { ModelSpec } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { NamedValues } from "../../tensor/index.js";
import { readModelSpec } from "./model-spec.js";
import { defaultTensorProtoLimits, type TensorProtoLimits, TensorProtoSource } from "./tensor-proto-source.js";
import { tagOf, WireReader, WireType } from "./wire-reader.js";

export interface DecodedPredictRequest {
  /** undefined: the request had none. */
  readonly modelSpec: ModelSpec | undefined;
  /** By alias; the last of those with one alias. */
  readonly inputs: ReadonlyMap<string, TensorProtoSource>;
  readonly outputFilter: readonly string[];
}

/** Inputs, and entries of an output filter, that one request may have; no signature comes near. */
const maxEntries = 16_384;

const modelSpecTag = tagOf(1, WireType.bytes);
const inputsTag = tagOf(2, WireType.bytes);
const outputFilterTag = tagOf(3, WireType.bytes);
const keyTag = tagOf(1, WireType.bytes);
const valueTag = tagOf(2, WireType.bytes);

/**
 * The message is bytes[start, end). The tensors are views of it, which must not change afterwards.
 * @throws WireFormatError for bytes that are no such message; INVALID_ARGUMENT for one with absurdly many entries
 */
export function decodePredictRequest(
  bytes: Uint8Array,
  limits: TensorProtoLimits = defaultTensorProtoLimits,
  start = 0,
  end = bytes.length,
): DecodedPredictRequest {
  const reader = new WireReader(bytes, start, end);
  let inputs: ReadonlyMap<string, TensorProtoSource> = noTensors;
  let outputFilter: string[] | undefined;
  let modelSpec: ModelSpec | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case modelSpecTag:
        modelSpec = readModelSpec(reader, modelSpec);
        break;
      case inputsTag:
        inputs = readNamedTensor(reader, inputs, limits);
        if (inputs.size > maxEntries) throw invalidArgument(`a request may have ${maxEntries} inputs at most`);
        break;
      case outputFilterTag:
        outputFilter ??= [];
        if (outputFilter.length === maxEntries) {
          throw invalidArgument(`a request's output_filter may have ${maxEntries} entries at most`);
        }
        outputFilter.push(reader.string());
        break;
      default:
        reader.skip(tag); // predict_streamed_options, client_id, request_options: TensorFlow Serving ignores them too
    }
  }
  return { modelSpec, inputs, outputFilter: outputFilter ?? none };
}

const none: readonly string[] = [];
export const noTensors = new NamedValues<TensorProtoSource>([], []);

/**
 * Reads an entry of a map<string, TensorProto>.
 * @returns the tensors with one more: a Map from the second on
 */
export function readNamedTensor(
  reader: WireReader,
  inputs: ReadonlyMap<string, TensorProtoSource>,
  limits: TensorProtoLimits,
): ReadonlyMap<string, TensorProtoSource> {
  const outer = reader.enter();
  const tensor = new TensorProtoSource(reader.bytes, limits);
  let alias = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === keyTag) {
      alias = reader.string();
    } else if (tag === valueTag) {
      const outerValue = reader.enter();
      tensor.merge(reader);
      reader.leave(outerValue);
    } else {
      reader.skip(tag);
    }
  }
  reader.leave(outer);
  tensor.finish();
  if (inputs.size === 0) return new NamedValues([alias], [tensor]);
  const more = inputs instanceof Map ? (inputs as Map<string, TensorProtoSource>) : new Map(inputs);
  return more.set(alias, tensor);
}
