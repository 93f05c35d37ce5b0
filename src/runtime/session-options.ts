import { requireInteger } from "../options.js";

/** How one model is to be run. */
export interface SessionOptions {
  /** Worker threads with a session each. Default: from the CPUs this container really has; see planThreads, proposeTrial. */
  readonly poolSize?: number;
  /** Threads that one run may use. Default: the CPUs divided among the pool. */
  readonly intraOpThreads?: number;
  /** Calls that may wait, at most. Default 1024. */
  readonly maxQueue?: number;
}

export interface ValidSessionOptions {
  readonly poolSize: number | undefined;
  readonly intraOpThreads: number | undefined;
  readonly maxQueue: number;
}

/** Throws INVALID_ARGUMENT naming the option. */
export function validateSessionOptions(given: SessionOptions): ValidSessionOptions {
  const { poolSize, intraOpThreads, maxQueue = 1024 } = given;
  if (poolSize !== undefined) requireInteger("poolSize", poolSize, { min: 1, max: 256 });
  if (intraOpThreads !== undefined) requireInteger("intraOpThreads", intraOpThreads, { min: 1, max: 256 });
  requireInteger("maxQueue", maxQueue, { min: 1, max: 1_000_000 });
  return Object.freeze({ poolSize, intraOpThreads, maxQueue });
}
