import { requireInteger } from "../../options.js";
import { invalidArgument } from "../../status.js";

/** TensorFlow Serving's BatchingParameters, as an operator gives them; what is left out has its default. */
export interface BatchingParameters {
  /** Rows of one request, at most, and of a batch unless large requests are split. Default 1000. */
  readonly maxBatchSize?: number;
  /** How long the first request of a batch may wait for company. Default 0: until a batch thread is free. */
  readonly batchTimeoutMicros?: number;
  /** Batches of one queue that may wait, the one that fills up included. Default 10. */
  readonly maxEnqueuedBatches?: number;
  /** A batch is padded to the smallest of these that holds it; the last must be maxBatchSize. Default none: no padding. */
  readonly allowedBatchSizes?: readonly number[];
  /** Pad tensors of one batch to the same sizes beyond the first. Default false. */
  readonly padVariableLengthInputs?: boolean;
  /** Run requests that are larger than maxExecutionBatchSize in pieces. Default false. */
  readonly enableLargeBatchSplitting?: boolean;
  /** Rows of a batch, at most, when large requests are split. Default maxBatchSize. */
  readonly maxExecutionBatchSize?: number;
}

export type ValidBatchingParameters = Required<BatchingParameters>;

const defaultMaxBatchSize = 1000;

/** Fills in the defaults. @throws INVALID_ARGUMENT in TensorFlow Serving's words, where it has any */
export function validateBatchingParameters(given: BatchingParameters): ValidBatchingParameters {
  const maxBatchSize = given.maxBatchSize ?? defaultMaxBatchSize;
  const parameters: ValidBatchingParameters = {
    maxBatchSize,
    batchTimeoutMicros: given.batchTimeoutMicros ?? 0,
    maxEnqueuedBatches: given.maxEnqueuedBatches ?? 10,
    allowedBatchSizes: given.allowedBatchSizes ?? [],
    padVariableLengthInputs: given.padVariableLengthInputs ?? false,
    enableLargeBatchSplitting: given.enableLargeBatchSplitting ?? false,
    maxExecutionBatchSize: maxBatchSize,
  };
  requireInteger("max_batch_size", maxBatchSize, { min: 1, max: 2 ** 31 - 1 });
  requireInteger("max_enqueued_batches", parameters.maxEnqueuedBatches, { min: 0 });
  if (parameters.batchTimeoutMicros < 0) {
    throw invalidArgument(`batch_timeout_micros must be non-negative; was ${parameters.batchTimeoutMicros}`);
  }
  const last = parameters.allowedBatchSizes.at(-1);
  if (last !== undefined && last !== maxBatchSize) {
    throw invalidArgument(
      `Last entry in allowed_batch_sizes must match max_batch_size; last entry was ${last}; expected ${maxBatchSize}`,
    );
  }
  for (const size of parameters.allowedBatchSizes) requireInteger("allowed_batch_sizes", size, { min: 1 });
  if (!parameters.enableLargeBatchSplitting) {
    return Object.freeze({ ...parameters, maxEnqueuedBatches: Math.max(1, parameters.maxEnqueuedBatches) });
  }
  const maxExecutionBatchSize = given.maxExecutionBatchSize ?? maxBatchSize;
  requireInteger("max_execution_batch_size", maxExecutionBatchSize, { min: 1 });
  if (maxBatchSize < maxExecutionBatchSize) {
    throw invalidArgument(
      "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to max_execution_batch_size.",
    );
  }
  return Object.freeze({ ...parameters, maxExecutionBatchSize });
}
