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

/** What Triton would make of the model by itself: the signature, the batch dimension, a session for each worker. */
export function toModelConfig(servable: Servable): ModelConfig {
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
