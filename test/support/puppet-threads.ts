import { Worker } from "node:worker_threads";
import type { WorkerThread } from "../../src/runtime/placement/worker.js";

export type PuppetControl = Int32Array<SharedArrayBuffer>;
export const Control = { PERMITS: 0, RUNS_RECEIVED: 1, DEATH_ON_RUN: 2, DEATH_ON_OPEN: 3 } as const;

/** process.exit(), an uncaught error, a heap that is full. */
export type Death = 1 | 2 | 3;
export const Death = { EXIT: 1, THROW: 2, OUT_OF_MEMORY: 3 } as const;

/**
 * Real worker threads that run models, with strings attached: they can be made to keep their answers back, so that runs
 * last as long as the test wants, and to die a real death on their next message.
 */
export class PuppetThreads {
  readonly #control: PuppetControl = new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT));
  started = 0;

  constructor() {
    this.#control[Control.PERMITS] = -1;
  }

  readonly start = (): WorkerThread => {
    this.started += 1;
    return new Worker(new URL("./puppet-worker.js", import.meta.url), {
      workerData: this.#control,
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
  };

  /** From now on, runs end only when finish() lets them. */
  hold(): void {
    Atomics.store(this.#control, Control.PERMITS, 0);
  }

  /** Lets so many runs end; without a number, all of them and those to come. */
  finish(runs?: number): void {
    if (runs === undefined) Atomics.store(this.#control, Control.PERMITS, -1);
    else Atomics.add(this.#control, Control.PERMITS, runs);
    Atomics.notify(this.#control, Control.PERMITS);
  }

  /** Runs that reached a thread. */
  get runsReceived(): number {
    return Atomics.load(this.#control, Control.RUNS_RECEIVED);
  }

  /** The next thread that is given a run dies of it. */
  dieOnNextRun(death: Death): void {
    Atomics.store(this.#control, Control.DEATH_ON_RUN, death);
  }

  /** The next thread that is told to make a session dies of that. */
  dieOnNextOpen(death: Death): void {
    Atomics.store(this.#control, Control.DEATH_ON_OPEN, death);
  }
}
