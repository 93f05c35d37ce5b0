import { requireInteger } from "../../options.js";
import { invalidArgument } from "../../status.js";

/** How calls of one model are batched when nobody has said anything else. */
export interface BatchingOptions {
  /** Rows in one run, at most. Default 256. A call that alone has more runs all the same. */
  readonly maxBatchRows: number;
  /**
   * No more rows are taken into a batch than keep its run near this, by what rows have cost so far: large batches of
   * small models pay, large batches of large models only make everyone wait. Default 4 milliseconds.
   */
  readonly targetRunMs: number;
  /** The same for a model on the serving thread, where everyone waits for a run to end. Default 0.75 milliseconds. */
  readonly inlineTargetRunMs: number;
  /** Calls that may wait, at most. Default 1024. */
  readonly maxQueue: number;
}

export function validateBatchingOptions(given: Partial<BatchingOptions>): BatchingOptions {
  const options = { maxBatchRows: 256, targetRunMs: 4, inlineTargetRunMs: 0.75, maxQueue: 1024, ...given };
  requireInteger("maxBatchRows", options.maxBatchRows, { min: 1, max: 65_536 });
  requireInteger("maxQueue", options.maxQueue, { min: 1 });
  for (const name of ["targetRunMs", "inlineTargetRunMs"] as const) {
    if (!(options[name] > 0)) throw invalidArgument(`${name} must be positive; got ${options[name]}`);
  }
  return Object.freeze(options);
}
