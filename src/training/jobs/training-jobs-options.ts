import { requireInteger, requireNumber } from "../../options.js";

export interface TrainingJobsOptions {
  /** Where jobs and new models lie. One server a folder. */
  readonly trainingDir: string;
  /** The only folder that jobs may take files from. Default undefined: none. */
  readonly dataDir: string | undefined;
  /** Jobs that train at the same time. Default 1. */
  readonly concurrency: number;
  /** Jobs that wait for their turn, at most. Default 16. */
  readonly maxQueue: number;
  /** What a job's weights, activations and rows may take. Default 2 GiB. */
  readonly memoryBytes: number;
  /** How long a job may train. Default 0: without end. */
  readonly maxSeconds: number;
  /** A job's data, at most. Default 4 GiB. */
  readonly maxDataBytes: number;
  /** Of a core, for each job that trains. Default 1. */
  readonly cpuShare: number;
  /** Jobs that have ended and are kept; the oldest go first. Default 1000. */
  readonly maxEnded: number;
}

/** Fills in the defaults. Throws INVALID_ARGUMENT naming the option that is out of range. */
export function validateTrainingJobsOptions(
  given: Pick<TrainingJobsOptions, "trainingDir"> & Partial<TrainingJobsOptions>,
): TrainingJobsOptions {
  const options: TrainingJobsOptions = {
    dataDir: undefined,
    concurrency: 1,
    maxQueue: 16,
    memoryBytes: 2 * 2 ** 30,
    maxSeconds: 0,
    maxDataBytes: 4 * 2 ** 30,
    cpuShare: 1,
    maxEnded: 1000,
    ...given,
  };
  requireInteger("concurrency", options.concurrency, { min: 1, max: 64 });
  requireInteger("maxQueue", options.maxQueue, { min: 0, max: 100_000 });
  requireInteger("memoryBytes", options.memoryBytes, { min: 1 });
  requireNumber("maxSeconds", options.maxSeconds, { min: 0 });
  requireInteger("maxDataBytes", options.maxDataBytes, { min: 1 });
  requireNumber("cpuShare", options.cpuShare, { above: 0, max: 1 });
  requireInteger("maxEnded", options.maxEnded, { min: 0 });
  return Object.freeze(options);
}
