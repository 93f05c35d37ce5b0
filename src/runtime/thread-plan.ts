import type { ValidSessionOptions } from "./session-options.js";

/** How many sessions a model gets in its pool, and how many threads each of their runs may use. */
export interface ThreadPlan {
  readonly poolSize: number;
  readonly intraOpThreads: number;
}

export const mostSessions = 4;
/** The weights of a model's sessions take so much together, at most, unless somebody has asked or measured. */
export const sharedBytes = 512 * 1024 * 1024;

/**
 * What was asked for, and for the rest: several sessions serve more calls than one with several threads, but each holds
 * the weights again. So as many sessions as there are CPUs, at most 4, and at most so many that their copies stay under
 * 512 MiB; the CPUs are then divided among them, so that a large model with one session still uses all. Measuring may
 * change what was not asked for: see plan-trial.ts.
 */
export function planThreads(
  asked: Pick<ValidSessionOptions, "poolSize" | "intraOpThreads">,
  cpus: number,
  modelBytes: number,
): ThreadPlan {
  const { poolSize, intraOpThreads } = asked;
  if (poolSize !== undefined) {
    return { poolSize, intraOpThreads: intraOpThreads ?? atLeastOne(cpus / poolSize) };
  }
  const copies = atLeastOne(sharedBytes / Math.max(1, modelBytes));
  const sessions = Math.min(mostSessions, copies, atLeastOne(cpus / (intraOpThreads ?? 1)));
  return { poolSize: sessions, intraOpThreads: intraOpThreads ?? atLeastOne(cpus / sessions) };
}

function atLeastOne(share: number): number {
  return Math.max(1, Math.floor(share));
}
