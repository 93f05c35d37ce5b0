import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** Milliseconds by which callbacks came late. */
export interface EventLoopLag {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** How often the monitor's timer is due. Each time wakes the thread: fifty times a second are 2 % of a small machine's CPU. */
const resolutionMs = 100;

/** Measures how late the event loop serves a timer. What stands in its way (a long parse, a run on this thread) shows. */
export class EventLoopMonitor {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  /** Since the last read. */
  read(): EventLoopLag {
    const lag = {
      p50Ms: this.#lateness(this.#histogram.percentile(50)),
      p99Ms: this.#lateness(this.#histogram.percentile(99)),
      maxMs: this.#lateness(this.#histogram.max),
    };
    this.#histogram.reset();
    return lag;
  }

  close(): void {
    this.#histogram.disable();
  }

  /** The histogram holds whole intervals, the timer's own included; zeros before the first. */
  #lateness(intervalNanos: number): number {
    return Math.max(0, intervalNanos / 1e6 - resolutionMs);
  }
}
