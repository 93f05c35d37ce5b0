import type { BatchingOptions, BatchingParameters, SessionOptions } from "../../runtime/index.js";
import type { TritonModel } from "./triton-model.js";

/** How a model's requests share runs by its configuration. */
export interface DynamicBatching {
  readonly options: Pick<BatchingOptions, "maxBatchRows"> & Partial<BatchingOptions>;
  /** For batches that wait for company; undefined: they do not. */
  readonly delayed: BatchingParameters | undefined;
}

/** undefined: the configuration does not ask for dynamic batching, or has no batch dimension. */
export function dynamicBatching(
  { config, maxBatchSize }: TritonModel,
  { maxQueue = 1024 }: SessionOptions,
): DynamicBatching | undefined {
  const { dynamic_batching: asked } = config;
  if (asked === undefined || maxBatchSize <= 1) return undefined;
  const delayMicros = Number(asked.max_queue_delay_microseconds);
  return {
    options: { maxBatchRows: maxBatchSize, maxQueue },
    delayed:
      delayMicros === 0
        ? undefined
        : {
            maxBatchSize,
            batchTimeoutMicros: delayMicros,
            // Requests, counted as the batches that they fill.
            maxEnqueuedBatches: Math.ceil(maxQueue / maxBatchSize),
          },
  };
}
