// inference.ModelConfig of a version, and any of the protocol's messages as Triton's JSON.
import {
  type DataType,
  DataType as DataTypes,
  ModelConfig,
  type ModelInput,
  ModelInput_Format,
  ModelInstanceGroup_Kind,
  ModelOptimizationPolicy_ModelPriority,
  type ModelOutput,
  ModelQueuePolicy_TimeoutAction,
} from "../../gen/inference/model_config.js";
import type { Servable } from "../../serving/index.js";
import { type ElementType, elementTypeInfo } from "../../tensor/index.js";
import { platform } from "../open-inference/model-info.js";
import { modelView, type OutputView, type TensorView } from "../open-inference/model-view.js";

/**
 * What config.pbtxt says, and for what it leaves out, or where there is none, what the model itself says: the signature,
 * the batch dimension, a session for each worker.
 */
export function toModelConfig(servable: Servable): ModelConfig {
  const { triton } = servable;
  const automatic = automaticConfig(servable);
  if (triton === undefined) return automatic;
  const given = ModelConfig.fromPartial(toMessage(triton.config) as Partial<ModelConfig>);
  return {
    ...given,
    name: automatic.name,
    platform: automatic.platform,
    backend: automatic.backend,
    versionPolicy: given.versionPolicy ?? automatic.versionPolicy,
    maxBatchSize: automatic.maxBatchSize,
    schedulingChoice: given.schedulingChoice ?? automatic.schedulingChoice,
    input: given.input.length > 0 ? given.input : automatic.input,
    output: given.output.length > 0 ? given.output : automatic.output,
    instanceGroup: given.instanceGroup.length > 0 ? given.instanceGroup : automatic.instanceGroup,
    defaultModelFilename: given.defaultModelFilename || automatic.defaultModelFilename,
    optimization: given.optimization ?? automatic.optimization,
    modelTransactionPolicy: given.modelTransactionPolicy ?? automatic.modelTransactionPolicy,
    // Whatever was asked for: there is no cache.
    responseCache: automatic.responseCache,
  };
}

/** What Triton would make of the model by itself. */
function automaticConfig(servable: Servable): ModelConfig {
  const view = modelView(servable);
  const { sessions } = servable.session.placement;
  return ModelConfig.create({
    name: servable.id.name,
    platform,
    backend: "onnxruntime",
    versionPolicy: { policyChoice: { $case: "latest", value: { numVersions: 1 } } },
    maxBatchSize: view.maxBatchSize,
    input: [...view.inputs].map(([name, tensor]) => toModelInput(name, tensor)),
    output: [...view.outputs].map(([name, tensor]) => toModelOutput(name, tensor)),
    instanceGroup: [{ name: servable.id.name, kind: ModelInstanceGroup_Kind.KIND_CPU, count: sessions }],
    defaultModelFilename: "model.onnx",
    ...(view.maxBatchSize > 0 && { schedulingChoice: { $case: "dynamicBatching" as const, value: {} } }),
    optimization: { priority: ModelOptimizationPolicy_ModelPriority.PRIORITY_DEFAULT },
    modelTransactionPolicy: { decoupled: false },
    responseCache: { enable: false },
  });
}

/** The oneofs that fields belong to, of messages that are served. */
const oneofs: Readonly<Record<string, string>> = {
  latest: "policyChoice",
  all: "policyChoice",
  specific: "policyChoice",
  dynamic_batching: "schedulingChoice",
  zero_data: "inputDataType",
  random_data: "inputDataType",
  input_data_file: "inputDataType",
  histogram_options: "metricOptions",
};

/** A configuration as it was read, in the form of the generated messages. */
function toMessage(read: unknown): unknown {
  if (read instanceof Map) return new Map([...read].map(([key, value]) => [key, toMessage(value)]));
  if (Array.isArray(read)) return read.map(toMessage);
  if (typeof read !== "object" || read === null) return read;
  const message: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(read)) {
    if (value === undefined) continue;
    const camelCase = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const oneof = oneofs[name];
    if (oneof === undefined) message[camelCase] = toMessage(value);
    else message[oneof] = { $case: camelCase, value: toMessage(value) };
  }
  return message;
}

function toModelInput(name: string, tensor: TensorView): Partial<ModelInput> {
  const { dims, reshape } = shownDims(tensor);
  return { name, dataType: dataTypeOf(tensor.dtype), dims, reshape, optional: tensor.optional };
}

function toModelOutput(name: string, tensor: OutputView): Partial<ModelOutput> {
  const { dims, reshape } = shownDims(tensor);
  return { name, dataType: dataTypeOf(tensor.dtype), dims, reshape };
}

function shownDims({ dims = [-1], reshape }: TensorView) {
  return { dims: dims.map(BigInt), reshape: reshape && { shape: reshape.map(BigInt) } };
}

export function dataTypeOf(dtype: ElementType): DataType {
  const name = dtype === "string" ? "STRING" : elementTypeInfo(dtype).openInference;
  return DataTypes[`TYPE_${name}` as keyof typeof DataTypes] ?? DataTypes.TYPE_INVALID;
}

/** Enums by the names of the fields that hold them. */
const enums: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  data_type: DataTypes,
  format: ModelInput_Format,
  kind: ModelInstanceGroup_Kind,
  priority: ModelOptimizationPolicy_ModelPriority,
  timeout_action: ModelQueuePolicy_TimeoutAction,
};

/**
 * A message as Triton prints it: the .proto file's own names, defaults included, 64-bit integers as numbers, enums by
 * name, fields of a oneof beside the others.
 */
export function messageToJson(message: unknown): unknown {
  if (typeof message === "bigint") return Number(message);
  if (message instanceof Map)
    return Object.fromEntries([...message].map(([key, value]) => [key, messageToJson(value)]));
  if (Array.isArray(message)) return message.map(messageToJson);
  if (typeof message !== "object" || message === null) return message;
  const json: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(message)) {
    if (value === undefined || key === "_unknownFields") continue;
    if (isChoice(value)) {
      json[snakeCase(value.$case)] = messageToJson(value.value);
      continue;
    }
    const name = snakeCase(key);
    const names = enums[name];
    json[name] = names !== undefined && typeof value === "number" ? enumName(names, value) : messageToJson(value);
  }
  return json;
}

function isChoice(value: unknown): value is { readonly $case: string; readonly value: unknown } {
  return typeof value === "object" && value !== null && "$case" in value;
}

function snakeCase(camelCase: string): string {
  return camelCase.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function enumName(names: Readonly<Record<string, number>>, value: number): string | number {
  return Object.entries(names).find(([, number]) => number === value)?.[0] ?? value;
}
