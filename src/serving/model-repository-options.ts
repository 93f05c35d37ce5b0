import { requireInteger } from "../options.js";
import type {
  BatchingOptions,
  BatchingParameters,
  BatchReport,
  SessionOptions,
  SharedBatchScheduler,
} from "../runtime/index.js";
import type { TritonLoading } from "./triton/loading.js";

/** Batching by an operator's word, for every model. */
export interface ScheduledBatching {
  /** Of all models. */
  readonly scheduler: SharedBatchScheduler;
  /** For models without parameters of their own; undefined: each version has its own file, or is not batched. */
  readonly parameters: BatchingParameters | undefined;
  readonly onBatch?: (report: BatchReport) => void;
}

export interface ModelRepositoryOptions {
  /** From one look into base paths to the next. Default 1; 0: one look at each model; negative: none. */
  readonly fileSystemPollWaitSeconds: number;
  /** How long files of a version must not have changed before it is loaded. Default 500; 0: not at all. */
  readonly fileQuietPeriodMs: number;
  /** Models that load at the same time, at most. Default 0: as many as there are CPUs, but two at least. */
  readonly numLoadThreads: number;
  /** Attempts after the first. Default 5. */
  readonly maxNumLoadRetries: number;
  /** The longest wait between two attempts; the first ones come sooner. Default 60 000 000; 0 or less: none. */
  readonly loadRetryIntervalMicros: number;
  /** Accept labels for versions that cannot answer yet, unless the label is moved. Default false. */
  readonly allowVersionLabelsForUnavailableModels: boolean;
  /** For models whose files do not say otherwise. */
  readonly sessionOptions: SessionOptions;
  /** How often each record of a version's warm-up file is run before the version is available. Default 1; 0: not at all. */
  readonly warmupIterations: number;
  /** Run together what waits together, for models where that is proven safe. Default undefined: never. */
  readonly batching: Partial<BatchingOptions> | undefined;
  /** Takes the place of `batching`. Default undefined. */
  readonly scheduledBatching: ScheduledBatching | undefined;
  /** The models lie in a Triton repository: their config.pbtxt counts. Default undefined. */
  readonly triton: TritonLoading | undefined;
  /** Where models lie that were published here under names of their own. Default undefined: none can be. */
  readonly trainedModelsFolder: string | undefined;
}

/** Fills in the defaults. Throws INVALID_ARGUMENT naming the option that is out of range. */
export function validateModelRepositoryOptions(given: Partial<ModelRepositoryOptions>): ModelRepositoryOptions {
  const options: ModelRepositoryOptions = {
    fileSystemPollWaitSeconds: 1,
    fileQuietPeriodMs: 500,
    numLoadThreads: 0,
    maxNumLoadRetries: 5,
    loadRetryIntervalMicros: 60_000_000,
    allowVersionLabelsForUnavailableModels: false,
    sessionOptions: {},
    batching: undefined,
    scheduledBatching: undefined,
    warmupIterations: 1,
    triton: undefined,
    trainedModelsFolder: undefined,
    ...given,
  };
  requireInteger("fileSystemPollWaitSeconds", options.fileSystemPollWaitSeconds, { max: 2_000_000 });
  requireInteger("fileQuietPeriodMs", options.fileQuietPeriodMs, { min: 0, max: 60_000 });
  requireInteger("numLoadThreads", options.numLoadThreads, { min: 0, max: 1024 });
  requireInteger("maxNumLoadRetries", options.maxNumLoadRetries, { min: 0 });
  requireInteger("loadRetryIntervalMicros", options.loadRetryIntervalMicros, { max: 2_000_000_000_000 });
  requireInteger("warmupIterations", options.warmupIterations, { min: 0, max: 1_000_000 });
  return Object.freeze(options);
}
