import type { Cancellation } from "../cancellation.js";
import type { Tensor } from "../tensor/index.js";
import { tell, type Waiter } from "../waiter.js";

export interface RunOptions {
  readonly cancellation: Cancellation;
  /**
   * The caller will not look at the feeds again: arrays that own their whole buffer may be moved to another thread
   * instead of copied, or freed after the run, which leaves them empty here. Default false.
   */
  readonly feedsMayBeTaken?: boolean;
  /**
   * Whoever waits for the run has read the outputs when its resolve() returns: their memory may be freed then, which leaves
   * them empty. Counts for runs that are started with startRun(): a promise's answer is read later. Default false.
   */
  readonly outputsAreBorrowed?: boolean;
  /** How long the run will take by what its rows have cost until now. Default undefined: nobody knows. */
  readonly expectedMs?: number | undefined;
  /** expectedMs comes from too few runs, and is rather too high. Default false. */
  readonly expectedIsGuess?: boolean;
}

export interface RunResult {
  /** By the fetched names. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** From the call to the start of the run. */
  readonly queueMs: number;
  /** The run itself. */
  readonly computeMs: number;
  /** Rows that ran together, this call's own included; 0 where nothing was batched. */
  readonly batchSize: number;
}

/**
 * A model one can run, wherever it lives. Callers have validated names, types and shapes; a Session checks nothing again.
 *
 * Errors: RESOURCE_EXHAUSTED when its queue is full; the cancellation's reason when it fires before the run has started
 * (a started run ends unheard); DEADLINE_EXCEEDED when the deadline has passed by then; UNAVAILABLE when the worker that
 * ran it died; INVALID_ARGUMENT with the runtime's text when the runtime refuses the values; INTERNAL otherwise.
 */
export interface Session {
  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[], options: RunOptions): Promise<RunResult>;
  /** The same without a promise, where a session can: use startRun(). */
  start?(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
    waiter: Waiter<RunResult>,
  ): void;
  /** Waits for the runs that were called, then gives the memory back. Idempotent. No run may be called afterwards. */
  release(): Promise<void>;
  /** May change while the session lives: a model that turns out slow leaves the serving thread. */
  readonly placement: PlacementInfo;
  /** Calls that wait, and sessions that run, at this moment. */
  load(): { readonly queued: number; readonly running: number };
}

/** Runs the session in the cheapest way that it has. Whatever goes wrong, the waiter is told: this does not throw. */
export function startRun(
  session: Session,
  feeds: ReadonlyMap<string, Tensor>,
  fetches: readonly string[],
  options: RunOptions,
  waiter: Waiter<RunResult>,
): void {
  try {
    if (session.start !== undefined) session.start(feeds, fetches, options, waiter);
    else tell(session.run(feeds, fetches, options), waiter);
  } catch (error) {
    // Waiters do not throw: this comes from before it was told, as when there is no memory for a copy of the feeds.
    waiter.reject(error);
  }
}

/** Where a session's runs happen, for ListModels and the log. */
export interface PlacementInfo {
  readonly kind: "inline" | "thread-pool";
  readonly sessions: number;
  readonly intraOpThreads: number;
  /** Median of the warm-up runs; undefined when the model could not be warmed up without data. */
  readonly warmupRunMicros: number | undefined;
  /** How the kind was chosen. */
  readonly reason: string;
}
