import type { PlacementInfo, RunResult, Session } from "../../src/runtime/index.js";
import type { StatusError } from "../../src/status.js";
import type { Tensor } from "../../src/tensor/index.js";

export interface RowwiseOptions {
  /** Where it says that it lives. Default: in a thread pool. */
  readonly kind?: PlacementInfo["kind"];
  readonly rowMs?: number;
  readonly sessions?: number;
  readonly refuse?: (element: number) => StatusError | undefined;
  /** Outputs lose all but their first row. */
  readonly collapse?: boolean;
  /** Told of each run when it is handed over. */
  readonly onRun?: () => void;
}

/** Doubles each element of its input `x`, one run a turn of the crank. */
export class RowwiseSession implements Session {
  /** Rows (elements, for a scalar) of each run, in order. */
  readonly batches: number[] = [];
  /** The elements of each run, in order. */
  readonly feeds: (readonly number[])[] = [];
  readonly placement: PlacementInfo;
  readonly #options: RowwiseOptions;
  readonly #runs: (() => void)[] = [];

  constructor(options: RowwiseOptions = {}) {
    this.#options = options;
    this.placement = {
      kind: options.kind ?? "thread-pool",
      sessions: options.sessions ?? 1,
      intraOpThreads: 1,
      warmupRunMicros: undefined,
      reason: "a test",
    };
  }

  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): Promise<RunResult> {
    const x = feeds.get("x")!;
    const data = [...(x.data as Float32Array)];
    this.#options.onRun?.();
    return new Promise((resolve, reject) => {
      this.#runs.push(() => {
        this.batches.push(x.shape[0] ?? 1);
        this.feeds.push(data);
        const error = data.map((element) => this.#options.refuse?.(element)).find((found) => found !== undefined);
        if (error !== undefined) return reject(error);
        const kept = this.#options.collapse === true ? data.slice(0, 1) : data;
        const y: Tensor = {
          dtype: "float32",
          shape: this.#options.collapse === true ? [1] : x.shape,
          data: new Float32Array(kept.map((element) => 2 * element)),
        };
        const computeMs = (this.#options.rowMs ?? 0) * (x.shape[0] ?? 1);
        resolve({ outputs: new Map(fetches.map((name) => [name, y])), queueMs: 0, computeMs, batchSize: 0 });
      });
    });
  }

  /** Until a run has been handed over. */
  async started(): Promise<void> {
    while (this.#runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends the oldest run, once there is one. */
  async turn(): Promise<void> {
    for (let i = 0; i < 5 && this.#runs.length === 0; i++) await new Promise((resolve) => setImmediate(resolve));
    this.#runs.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }

  load() {
    return { queued: 0, running: this.#runs.length };
  }

  async release(): Promise<void> {}
}
