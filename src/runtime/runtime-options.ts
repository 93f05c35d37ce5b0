import { requireInteger } from "../options.js";
import { availableCpus } from "./cpu-quota.js";

/** What holds for all models of a runtime. */
export interface RuntimeOptions {
  /** CPUs to divide among the threads of a model. Default: what the container's quota and the machine allow. */
  readonly cpus: number;
  /** Size of a model file, external data left out, at most. Default 2 GiB - 1, the most that protobuf can hold. */
  readonly maxModelFileBytes: number;
  /** A load that takes longer fails with DEADLINE_EXCEEDED. Default 0: no limit. */
  readonly loadTimeoutMs: number;
  /**
   * A model whose median warm-up run is shorter lives on the serving thread. Default 50, what a hop to another thread
   * and back costs; with a single CPU, where no other thread would run meanwhile, 250. 0 keeps every model off the
   * serving thread.
   */
  readonly inlineThresholdMicros: number;
  /** A model whose session takes longer to make is not made again on the serving thread to live there. Default 20. */
  readonly inlineMaxCreateMs: number;
  /**
   * Calls of a model on the serving thread that carry more make it move to a thread pool, until such calls have shown there
   * that they are short. Default 64 KiB.
   */
  readonly inlineMaxFeedBytes: number;
  /** A model on the serving thread whose runs take longer on average moves to a thread pool. Default 1500. */
  readonly inlineSlowRunMicros: number;
  /** Zeros that the inputs of a warm-up run may hold together; a model that wants more is not warmed up. Default 64 MiB. */
  readonly warmupMaxBytes: number;
  /**
   * Whether a model does better with several sessions or with several threads is tried when it is loaded if its warm-up
   * run took at least so long. Default 500: shorter runs lose more to handing work between threads than they gain.
   */
  readonly trialShortestRunMicros: number;
  /** And at most so long. Default 100 000: trying longer ones would hold up loading by more than a second or two. */
  readonly trialLongestRunMicros: number;
}

/** Throws INVALID_ARGUMENT naming the option. */
export function validateRuntimeOptions(given: Partial<RuntimeOptions>): RuntimeOptions {
  const cpus = given.cpus ?? availableCpus();
  const options: RuntimeOptions = {
    cpus,
    maxModelFileBytes: 2 ** 31 - 1,
    loadTimeoutMs: 0,
    inlineThresholdMicros: cpus === 1 ? 250 : 50,
    inlineMaxCreateMs: 20,
    inlineMaxFeedBytes: 64 * 1024,
    inlineSlowRunMicros: 1500,
    warmupMaxBytes: 64 * 1024 * 1024,
    trialShortestRunMicros: 500,
    trialLongestRunMicros: 100_000,
    ...given,
  };
  requireInteger("cpus", options.cpus, { min: 1, max: 65_536 });
  requireInteger("maxModelFileBytes", options.maxModelFileBytes, { min: 1 });
  requireInteger("loadTimeoutMs", options.loadTimeoutMs, { min: 0, max: 2 ** 31 - 1 });
  requireInteger("inlineThresholdMicros", options.inlineThresholdMicros, { min: 0 });
  requireInteger("inlineMaxCreateMs", options.inlineMaxCreateMs, { min: 0 });
  requireInteger("inlineMaxFeedBytes", options.inlineMaxFeedBytes, { min: 0 });
  requireInteger("inlineSlowRunMicros", options.inlineSlowRunMicros, { min: 1 });
  requireInteger("warmupMaxBytes", options.warmupMaxBytes, { min: 0 });
  requireInteger("trialShortestRunMicros", options.trialShortestRunMicros, { min: 0 });
  requireInteger("trialLongestRunMicros", options.trialLongestRunMicros, { min: 0 });
  return Object.freeze(options);
}
