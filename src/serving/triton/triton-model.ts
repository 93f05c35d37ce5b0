// What of a config.pbtxt a model is served by. What cannot be honoured is refused where the answers would be others, and
// reported by its field where only speed or bookkeeping would; docs/open-inference.md has the table.
import type { Dimension, ModelDescription, Signature, TensorSpec } from "../../onnx/index.js";
import type { SessionOptions } from "../../runtime/index.js";
import { invalidArgument } from "../../status.js";
import { type ElementType, elementTypeOfOpenInference, formatShape, type Shape } from "../../tensor/index.js";
import {
  dataTypes,
  instanceKinds,
  type TritonConfig,
  type TritonInput,
  type TritonOutput,
  timeoutActions,
} from "./config-schema.js";

/** A tensor as clients see it, and as the model does. */
export interface TritonTensor {
  readonly name: string;
  readonly dtype: ElementType;
  /** What requests show, the batch dimension left out; -1 stands for any size. */
  readonly dims: Shape;
  /** What the model sees, the batch dimension left out, where that differs. */
  readonly reshape: Shape | undefined;
}

export interface TritonOutputTensor extends TritonTensor {
  /** By index along the last dimension. */
  readonly labels: readonly string[] | undefined;
}

/** How a model of a Triton repository is shown and called. */
export interface TritonModel {
  /** As it was read. */
  readonly config: TritonConfig;
  /** 0: tensors are shown whole. */
  readonly maxBatchSize: number;
  /** undefined: as the model file has them. */
  readonly inputs: readonly TritonTensor[] | undefined;
  readonly outputs: readonly TritonOutputTensor[] | undefined;
}

/** What is known before the model file is read. */
export interface TritonPlan {
  readonly config: TritonConfig;
  /** In the version's directory. */
  readonly modelFileName: string;
  readonly sessionOptions: Pick<SessionOptions, "poolSize" | "intraOpThreads" | "maxQueue">;
  /** A sentence for each field that was given and has no effect. */
  readonly withoutEffect: readonly string[];
}

/**
 * Holds a configuration against what this server can do.
 * @param name of the model's directory
 * @throws INVALID_ARGUMENT naming the field
 */
export function planTritonModel(config: TritonConfig, name: string): TritonPlan {
  refuse(config, name);
  const intraOp = config.parameters.get("intra_op_thread_count")?.string_value;
  if (intraOp !== undefined && !/^\d{1,3}$/.test(intraOp)) {
    throw field("parameters", `intra_op_thread_count must be a number of threads; got "${intraOp}"`);
  }
  const instances = instanceCount(config);
  const maxQueue = config.dynamic_batching?.default_queue_policy?.max_queue_size ?? 0;
  return {
    config,
    modelFileName: config.default_model_filename || "model.onnx",
    sessionOptions: {
      ...(instances > 0 && { poolSize: instances }),
      ...(intraOp !== undefined && Number(intraOp) > 0 && { intraOpThreads: Number(intraOp) }),
      ...(maxQueue > 0 && { maxQueue }),
    },
    withoutEffect: fieldsWithoutEffect(config),
  };
}

function field(name: string, reason: string) {
  return invalidArgument(`config.pbtxt: ${name}: ${reason}`);
}

const platforms = new Set(["", "onnxruntime_onnx", "onnx_onnxv1"]);
const backends = new Set(["", "onnxruntime"]);

/** Everything whose being ignored would change what clients get. */
function refuse(config: TritonConfig, name: string): void {
  if (config.name !== "" && config.name !== name) {
    throw field("name", `"${config.name}" is not the name of the model's directory, "${name}"`);
  }
  if (config.ensemble_scheduling !== undefined || config.platform === "ensemble") {
    throw field("ensemble_scheduling", "ensembles are not served");
  }
  if (!platforms.has(config.platform)) {
    throw field("platform", `"${config.platform}" is not served; onnxruntime_onnx is`);
  }
  if (!backends.has(config.backend)) throw field("backend", `"${config.backend}" is not served; onnxruntime is`);
  if (config.runtime !== "") throw field("runtime", `"${config.runtime}": a backend of one's own is not served`);
  if (config.sequence_batching !== undefined) throw field("sequence_batching", "stateful models are not served");
  if (config.batch_input.length > 0) throw field("batch_input", "inputs made from the batch are not served");
  if (config.batch_output.length > 0) throw field("batch_output", "outputs scattered by the batch are not served");
  if (config.model_transaction_policy?.decoupled === true) {
    throw field("model_transaction_policy", "decoupled: an ONNX model gives one response to a request");
  }
  if ((config.model_operations?.op_library_filename.length ?? 0) > 0) {
    throw field("model_operations", "libraries of operators cannot be loaded");
  }
  if ((config.model_repository_agents?.agents.length ?? 0) > 0) {
    throw field(
      "model_repository_agents",
      "agents (checksums, for one) are not run, so that what they guard is not either",
    );
  }
  if (config.max_batch_size < 0) throw field("max_batch_size", `must be 0 or more; got ${config.max_batch_size}`);
  if (/[/\\\0]/.test(config.default_model_filename) || config.default_model_filename.startsWith(".")) {
    throw field("default_model_filename", `"${config.default_model_filename}" is no file in a version's directory`);
  }
  for (const group of config.instance_group) {
    if (group.passive) throw field("instance_group", "passive instances are not kept");
    if (group.count < 0) throw field("instance_group", `count must be 0 or more; got ${group.count}`);
  }
  for (const tensor of [...config.input, ...config.output]) refuseTensor(tensor);
  for (const warmup of config.model_warmup) {
    if (warmup.batch_size > config.max_batch_size) {
      throw field("model_warmup", `"${warmup.name}": batch_size ${warmup.batch_size} is above max_batch_size`);
    }
  }
}

function refuseTensor(tensor: TritonInput | TritonOutput): void {
  const where = `tensor "${tensor.name}"`;
  if (tensor.name === "") throw field("input, output", "a tensor has no name");
  if (tensor.is_shape_tensor) throw field("is_shape_tensor", `${where}: shape tensors are TensorRT's`);
  if (tensor.is_non_linear_format_io) throw field("is_non_linear_format_io", `${where}: such formats are TensorRT's`);
  if ("allow_ragged_batch" in tensor && tensor.allow_ragged_batch) {
    throw field("allow_ragged_batch", `${where}: ragged batches are not served`);
  }
  if ("optional" in tensor && tensor.optional) {
    throw field("optional", `${where}: an ONNX model takes all of its inputs`);
  }
  if (tensor.dims.some((size) => size < -1n || size > BigInt(Number.MAX_SAFE_INTEGER))) {
    throw field("dims", `${where}: [${tensor.dims.join(",")}] holds what is no size`);
  }
}

/** Sessions of all groups; 0: nothing is said of them. */
function instanceCount({ instance_group: groups }: TritonConfig): number {
  return groups.reduce((sum, { count, gpus }) => sum + Math.max(1, count) * Math.max(1, gpus.length), 0);
}

/** Everything whose being ignored only costs speed, or a figure in a report. */
function fieldsWithoutEffect(config: TritonConfig): string[] {
  const { dynamic_batching: batching, optimization } = config;
  const queue = batching?.default_queue_policy;
  const given: readonly (readonly [string, boolean | undefined, string])[] = [
    ["instance_group.kind: KIND_GPU", hasKind(config, instanceKinds.KIND_GPU), "models run on the CPU"],
    ["instance_group.kind: KIND_MODEL", hasKind(config, instanceKinds.KIND_MODEL), "as KIND_CPU"],
    ["instance_group.rate_limiter", config.instance_group.some((group) => group.rate_limiter), "there is none"],
    [
      "instance_group.profile",
      config.instance_group.some((group) => group.profile.length > 0),
      "profiles are TensorRT's",
    ],
    ["instance_group.host_policy", config.instance_group.some((group) => group.host_policy !== ""), "there are none"],
    [
      "instance_group.secondary_devices",
      config.instance_group.some((group) => group.secondary_devices.length > 0),
      "there are none",
    ],
    ["input.format", config.input.some(({ format }) => format !== 0), "it only describes"],
    ["cc_model_filenames", config.cc_model_filenames.size > 0, "there is no GPU whose capability would choose"],
    [
      "dynamic_batching",
      batching !== undefined && config.max_batch_size <= 1,
      `with max_batch_size ${config.max_batch_size} there is nothing to put together`,
    ],
    ["dynamic_batching.preferred_batch_size", (batching?.preferred_batch_size.length ?? 0) > 0, batchingNote],
    ["dynamic_batching.preserve_ordering", batching?.preserve_ordering, "a stream is answered in order in any case"],
    ["dynamic_batching.priority_levels", (batching?.priority_levels ?? 0n) > 0n, "all requests have one priority"],
    [
      "dynamic_batching.default_priority_level",
      (batching?.default_priority_level ?? 0n) > 0n,
      "all requests have one priority",
    ],
    ["dynamic_batching.priority_queue_policy", (batching?.priority_queue_policy.size ?? 0) > 0, "there is one queue"],
    [
      "default_queue_policy.default_timeout_microseconds",
      (queue?.default_timeout_microseconds ?? 0n) > 0n,
      timeoutNote,
    ],
    ["default_queue_policy.allow_timeout_override", queue?.allow_timeout_override, timeoutNote],
    ["default_queue_policy.timeout_action: DELAY", queue?.timeout_action === timeoutActions.DELAY, timeoutNote],
    ["optimization", optimization !== undefined, "onnxruntime's own defaults are used"],
    ["response_cache", config.response_cache?.enable, "every request is computed"],
    ["metric_tags", config.metric_tags.size > 0, "metrics are labelled by model and version"],
    ["model_metrics", (config.model_metrics?.metric_control.length ?? 0) > 0, "buckets are fixed"],
  ];
  const fields = given.filter(([, isGiven]) => isGiven === true).map(([name, , reason]) => `${name} (${reason})`);
  for (const name of config.parameters.keys())
    if (name !== "intra_op_thread_count") fields.push(`parameters "${name}"`);
  return fields;
}

const batchingNote = "a batch is made of what waits when a session is free";
const timeoutNote = "a request waits until its own deadline";

function hasKind(config: TritonConfig, kind: number): boolean {
  return config.instance_group.some((group) => group.kind === kind);
}

/**
 * Holds what the configuration says of tensors against the model file.
 * @param labels of each label file, by its name
 * @throws INVALID_ARGUMENT naming the tensor, expected and got
 */
export function bindTritonModel(
  { config }: TritonPlan,
  signature: Signature,
  description: ModelDescription,
  labels: ReadonlyMap<string, readonly string[]>,
): TritonModel {
  const maxBatchSize = config.max_batch_size;
  if (maxBatchSize > 0) {
    for (const [name, { shape }] of [...signature.inputs, ...signature.outputs]) {
      if (shape !== undefined && (shape.length === 0 || typeof shape[0] === "number")) {
        throw field(
          "max_batch_size",
          `is ${maxBatchSize}, but tensor "${name}" of the model has shape ${formatShape(shape)}, without an open first dimension`,
        );
      }
    }
  }
  const inputs = config.input.map((input) => bind(input, signature.inputs, maxBatchSize, "input"));
  if (inputs.length > 0) {
    for (const name of signature.inputs.keys()) {
      if (!inputs.some((input) => input.name === name)) throw field("input", `the model's input "${name}" is missing`);
    }
  }
  const outputs = config.output.map((output) => ({
    ...bind(output, signature.outputs, maxBatchSize, "output"),
    labels:
      labels.get(output.label_filename) ??
      description.classLabels.get(signature.outputs.get(output.name)!.name)?.map(String),
  }));
  return {
    config,
    maxBatchSize,
    inputs: inputs.length > 0 ? inputs : undefined,
    outputs: outputs.length > 0 ? outputs : undefined,
  };
}

function bind(
  tensor: TritonInput | TritonOutput,
  specs: ReadonlyMap<string, TensorSpec>,
  maxBatchSize: number,
  kind: "input" | "output",
): TritonTensor {
  const { name } = tensor;
  const spec = specs.get(name);
  if (spec === undefined) {
    throw field(kind, `"${name}" is none of the model's: ${[...specs.keys()].join(", ")}`);
  }
  const dtype = dtypeOf(tensor.data_type);
  if (dtype !== spec.dtype) {
    throw field(kind, `"${name}" is ${dataTypeName(tensor.data_type)}; the model file has it as ${spec.dtype}`);
  }
  const dims = tensor.dims.map(Number);
  const reshape = tensor.reshape?.shape.map(Number);
  if (reshape !== undefined && openSizes(reshape) !== openSizes(dims)) {
    throw field(
      kind,
      `"${name}": reshape [${reshape.join(",")}] has not as many open dimensions as dims [${dims.join(",")}]`,
    );
  }
  const seen = [...(maxBatchSize > 0 ? [-1] : []), ...(reshape ?? dims)];
  if (spec.shape !== undefined && !agrees(seen, spec.shape)) {
    throw field(
      kind,
      `"${name}" has shape [${seen.join(",")}]${maxBatchSize > 0 ? " with its batch dimension" : ""}; ` +
        `the model file has it as ${formatShape(spec.shape)}`,
    );
  }
  return { name, dtype, dims, reshape };
}

function openSizes(dims: Shape): number {
  return dims.filter((size) => size === -1).length;
}

/** A size that the model file leaves open may be fixed; one that it fixes may not be left open. */
function agrees(seen: Shape, shape: readonly Dimension[]): boolean {
  return seen.length === shape.length && shape.every((size, axis) => typeof size !== "number" || size === seen[axis]);
}

export function dtypeOf(dataType: number): ElementType | undefined {
  const name = dataTypeName(dataType).slice("TYPE_".length);
  return elementTypeOfOpenInference(name === "STRING" ? "BYTES" : name)?.name;
}

function dataTypeName(dataType: number): string {
  return Object.entries(dataTypes).find(([, number]) => number === dataType)?.[0] ?? `data type ${dataType}`;
}
