import { invalidArgument } from "../status.js";
import { lessIsBetter } from "./metrics.js";
import type { EarlyStoppingOptions } from "./training-options.js";

/** What is remembered from epoch to epoch; part of a checkpoint. */
export interface BestEpoch {
  /** Counted from 1; 0 before the first. */
  readonly epoch: number;
  readonly value: number | undefined;
  readonly epochsSince: number;
}
export const noEpoch: BestEpoch = { epoch: 0, value: undefined, epochsSince: 0 };

/** The watched value of an epoch, turned so that less is better. Throws INVALID_ARGUMENT when there is no such value. */
export function watchedValue(options: EarlyStoppingOptions, values: ReadonlyMap<string, number>): number {
  const value = values.get(options.monitor);
  if (value === undefined) {
    throw invalidArgument(
      `early_stopping watches "${options.monitor}", which this training does not have; it has ${[...values.keys()].join(", ")}`,
    );
  }
  const name = options.monitor.replace(/^val_/, "");
  const minimise = options.mode === "auto" ? lessIsBetter.has(name) : options.mode === "min";
  return minimise ? value : -value;
}

/** What is remembered after one more epoch. An epoch without a number is no improvement. */
export function observeEpoch(state: BestEpoch, epoch: number, value: number, minDelta: number): BestEpoch {
  const better = state.value === undefined ? !Number.isNaN(value) : value < state.value - minDelta;
  return better ? { epoch, value, epochsSince: 0 } : { ...state, epochsSince: state.epochsSince + 1 };
}
