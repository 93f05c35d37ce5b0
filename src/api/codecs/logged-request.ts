// REST calls as the gRPC requests that they come to, for the request log: what is replayed of it has to mean the same.
import { Example } from "../../gen/tensorflow/core/example/example.js";
import type { Feature as FeatureMessage } from "../../gen/tensorflow/core/example/feature.js";
import { ModelSpec as ModelSpecMessage } from "../../gen/tensorflow_serving/apis/model.js";
import type { Signature } from "../../onnx/index.js";
import {
  type ExampleInput,
  type Example as ExampleValues,
  type FeatureValues,
  featureKindOf,
  type ModelSpec,
} from "../../serving/index.js";
import type { Tensor } from "../../tensor/index.js";
import { toRequestedModelSpecMessage } from "./model-spec.js";
import { measureTensor, writeTensor } from "./tensor-proto-writer.js";
import { tagOf, WireType } from "./wire-reader.js";
import { fieldSize, writeVarint32 } from "./wire-writer.js";

const [first, second] = [tagOf(1, WireType.bytes), tagOf(2, WireType.bytes)];

/**
 * A PredictRequest; the tensors are copied once, and may be taken by a run after that.
 * @param hasRoom asked for the tensors' bytes before any is copied
 * @returns undefined when there is no room
 */
export function encodeLoggedPredict(
  modelSpec: ModelSpec,
  inputs: ReadonlyMap<string, Tensor>,
  hasRoom: (bytes: number) => boolean,
): Uint8Array | undefined {
  const tensors = Array.from(inputs, ([alias, tensor]) => ({ alias, measured: measureTensor(tensor, true) }));
  if (!hasRoom(tensors.reduce((sum, { measured }) => sum + measured.size, 0))) return undefined;
  const spec = ModelSpecMessage.encode(toRequestedModelSpecMessage(modelSpec)).finish();
  const parts = [field(first, spec)];
  for (const { alias, measured } of tensors) {
    const value = Buffer.allocUnsafe(measured.size);
    writeTensor(value, 0, measured);
    parts.push(field(second, Buffer.concat([field(first, Buffer.from(alias)), field(second, value)])));
  }
  return Buffer.concat(parts);
}

/**
 * A ClassificationRequest or RegressionRequest, an example at a time: `next` is called between them. Of each example, what
 * the signature reads is written, and in the kind that it reads: in JSON 1 may stand for 1.0, in a tf.Example not.
 */
export async function encodeLoggedExamples(
  modelSpec: ModelSpec,
  { examples, context }: ExampleInput,
  signature: Signature,
  next: (bytes: number) => Promise<void>,
): Promise<Uint8Array> {
  const features = signature.features!;
  const wanted = new Set(features.keys());
  const encode = (values: ExampleValues) => {
    const feature = new Map<string, FeatureMessage>();
    for (const [name, { spec }] of features) {
      const value = values.get(name);
      if (value !== undefined) feature.set(name, { kind: listOf(value, featureKindOf(spec.dtype) === "float") });
    }
    return Example.encode({ features: { feature } }).finish();
  };
  const list: Uint8Array[] = [];
  for (let index = 0; index < examples.count; index++) {
    const example = encode(examples.read(index, wanted));
    list.push(field(first, example));
    await next(example.length);
  }
  if (context !== undefined) list.push(field(second, encode(context.read(wanted))));
  const spec = ModelSpecMessage.encode(toRequestedModelSpecMessage(modelSpec)).finish();
  const input = field(context === undefined ? first : second, Buffer.concat(list));
  return Buffer.concat([field(first, spec), field(second, input)]);
}

function listOf(values: FeatureValues, asFloats: boolean): FeatureMessage["kind"] {
  if (values.kind === "bytes") {
    return { $case: "bytesList", value: { value: values.texts().map((text) => Buffer.from(text)) } };
  }
  const numbers = values.numbers();
  if (asFloats)
    return { $case: "floatList", value: { value: Array.from(numbers as ArrayLike<number | bigint>, Number) } };
  return { $case: "int64List", value: { value: Array.from(numbers as BigInt64Array) } };
}

/** A length-delimited field of a number below 16. */
function field(tag: number, bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(fieldSize(bytes.length));
  out[0] = tag;
  out.set(bytes, writeVarint32(out, 1, bytes.length));
  return out;
}
