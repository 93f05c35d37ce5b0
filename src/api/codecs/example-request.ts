// ClassificationRequest and RegressionRequest, which are the same on the wire, MultiInferenceRequest, and their responses.
import type { Classifications as ClassificationsMessage } from "../../gen/tensorflow_serving/apis/classification.js";
import { ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import { type InferenceResult, MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import { RegressionResponse } from "../../gen/tensorflow_serving/apis/regression.js";
import type {
  Classifications,
  ExampleInput,
  ExampleResult,
  InferenceTask,
  ModelSpec,
  MultiInferenceResult,
} from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { InputReader } from "./example.js";
import { readModelSpec, toModelSpecMessage } from "./model-spec.js";
import { tagOf, WireReader, WireType } from "./wire-reader.js";

export interface DecodedExampleRequest {
  /** undefined: the request had none. */
  readonly modelSpec: ModelSpec | undefined;
  readonly input: ExampleInput;
}

export interface DecodedMultiInferenceRequest {
  readonly tasks: readonly InferenceTask[];
  readonly input: ExampleInput;
}

/** Tasks of one request; no model has as many signatures. */
const maxTasks = 1024;

const firstTag = tagOf(1, WireType.bytes);
const secondTag = tagOf(2, WireType.bytes);

/**
 * The examples are views of `bytes`, which must not change afterwards.
 * @throws WireFormatError for bytes that are no such message; INVALID_ARGUMENT for one with absurdly many examples
 */
export function decodeExampleRequest(bytes: Uint8Array): DecodedExampleRequest {
  const reader = new WireReader(bytes);
  const input = new InputReader(bytes);
  let modelSpec: ModelSpec | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) modelSpec = readModelSpec(reader, modelSpec);
    else if (tag === secondTag) input.merge(reader);
    else reader.skip(tag);
  }
  return { modelSpec, input };
}

/** As decodeExampleRequest. */
export function decodeMultiInferenceRequest(bytes: Uint8Array): DecodedMultiInferenceRequest {
  const reader = new WireReader(bytes);
  const input = new InputReader(bytes);
  const tasks: InferenceTask[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) {
      if (tasks.length === maxTasks) throw invalidArgument(`a request may have ${maxTasks} tasks at most`);
      tasks.push(readTask(reader));
    } else if (tag === secondTag) input.merge(reader);
    else reader.skip(tag);
  }
  return { tasks, input };
}

function readTask(reader: WireReader): InferenceTask {
  const outer = reader.enter();
  let modelSpec: ModelSpec | undefined;
  let methodName = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) modelSpec = readModelSpec(reader, modelSpec);
    else if (tag === secondTag) methodName = reader.string();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { modelSpec, methodName };
}

export function encodeClassificationResponse(result: ExampleResult<Classifications>): Uint8Array {
  return ClassificationResponse.encode({
    result: { classifications: toClassifications(result.value) },
    modelSpec: toModelSpecMessage(result.servableId, result.signature.key),
  }).finish();
}

export function encodeRegressionResponse(result: ExampleResult<Float32Array>): Uint8Array {
  return RegressionResponse.encode({
    result: { regressions: toRegressions(result.value) },
    modelSpec: toModelSpecMessage(result.servableId, result.signature.key),
  }).finish();
}

export function encodeMultiInferenceResponse({ servableId, results }: MultiInferenceResult): Uint8Array {
  return MultiInferenceResponse.encode({
    results: results.map(
      (result): InferenceResult => ({
        modelSpec: toModelSpecMessage(servableId, result.signature.key),
        result:
          result.method === "classify"
            ? { $case: "classificationResult", value: { classifications: toClassifications(result.value) } }
            : { $case: "regressionResult", value: { regressions: toRegressions(result.value) } },
      }),
    ),
  }).finish();
}

function toClassifications({ rows, columns, labels, scores }: Classifications): ClassificationsMessage[] {
  return Array.from({ length: rows }, (_, row) => ({
    classes: Array.from({ length: columns }, (_unused, column) => {
      const index = row * columns + column;
      return { label: labels?.[index] ?? "", score: scores?.[index] ?? 0 };
    }),
  }));
}

function toRegressions(values: Float32Array) {
  return Array.from(values, (value) => ({ value }));
}
