import { availableCpus, type BatchingParameters } from "../runtime/index.js";
import { notFound } from "../status.js";
import { readTextProtoFile } from "./text-proto/text-file.js";
import { bool, int64, message, optional, repeated, singular, string, type TypeOf } from "./text-proto/text-schema.js";

/** In a version's directory, with per-model batching parameters. */
export const batchingParametersFileName = "batching_params.pbtxt";

const int64Value = optional(message("google.protobuf.Int64Value", { value: singular(int64) }));
const batchingParametersType = message("tensorflow.serving.BatchingParameters", {
  max_batch_size: int64Value,
  batch_timeout_micros: int64Value,
  max_enqueued_batches: int64Value,
  num_batch_threads: int64Value,
  thread_pool_name: optional(message("google.protobuf.StringValue", { value: singular(string) })),
  allowed_batch_sizes: repeated(int64),
  pad_variable_length_inputs: singular(bool),
  enable_large_batch_splitting: optional(message("google.protobuf.BoolValue", { value: singular(bool) })),
  max_execution_batch_size: int64Value,
});

/** tensorflow.serving.BatchingParameters: how queues are filled, and how many batches of all models run at a time. */
export interface BatchingParametersFile {
  readonly parameters: BatchingParameters;
  readonly numBatchThreads: number;
}

/**
 * Reads what --batching_parameters_file names.
 * @throws NOT_FOUND; INVALID_ARGUMENT `Invalid protobuf file: '{path}': …`
 */
export async function readBatchingParametersFile(path: string): Promise<BatchingParametersFile> {
  const read = await readTextProtoFile(path, batchingParametersType);
  if (read === undefined) throw notFound(`batching parameters file ${path} is not there`);
  return { parameters: toParameters(read), numBatchThreads: numberOf(read.num_batch_threads) ?? availableCpus() };
}

/** A model's own: everything but the threads, which all models share. undefined when there is no such file. */
export async function readModelBatchingParameters(path: string): Promise<BatchingParameters | undefined> {
  const read = await readTextProtoFile(path, batchingParametersType);
  return read && toParameters(read);
}

function toParameters(read: TypeOf<typeof batchingParametersType>): BatchingParameters {
  const given = {
    maxBatchSize: numberOf(read.max_batch_size),
    batchTimeoutMicros: numberOf(read.batch_timeout_micros),
    maxEnqueuedBatches: numberOf(read.max_enqueued_batches),
    enableLargeBatchSplitting: read.enable_large_batch_splitting?.value,
    maxExecutionBatchSize: numberOf(read.max_execution_batch_size),
  };
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return {
    ...(present as BatchingParameters),
    allowedBatchSizes: read.allowed_batch_sizes.map(Number),
    padVariableLengthInputs: read.pad_variable_length_inputs,
  };
}

function numberOf(wrapper: { readonly value: bigint } | undefined): number | undefined {
  return wrapper && Number(wrapper.value);
}
