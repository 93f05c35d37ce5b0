// Time as something handed over, so that tests own it.
// Imported: the global of the same name is an accessor, which costs more than reading the clock.
import { performance } from "node:perf_hooks";

export interface Timer {
  /** Idempotent; a timer that has fired is cancelled already. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds of a monotonic clock, fractions included. For durations and deadlines. */
  now(): number;
  /** Milliseconds since 1970, for what people read. */
  wallTime(): number;
  /** Calls back once. The timer alone does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimer(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
