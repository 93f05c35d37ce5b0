import { type Cancellation, neverCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import type { StatusError } from "../../status.js";
import { discardTensors, type Tensor } from "../../tensor/index.js";
import type { Waiter } from "../../waiter.js";
import type { RunOptions, RunResult } from "../session.js";
import type { WorkerRun } from "./worker.js";

/** One call of a pool's session, from run() to its answer. */
export class PoolTask implements WorkerRun {
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly fetches: readonly string[];
  readonly feedsMayBeTaken: boolean;
  readonly cancellation: Cancellation;
  readonly calledAt: number;
  readonly #outputsAreBorrowed: boolean;
  readonly #waiter: Waiter<RunResult>;
  readonly #clock: Clock;
  readonly #onRan: (computeMs: number | undefined) => void;
  #startedAt: number | undefined;
  #undoWait: (() => void) | undefined;

  /** @param onRan told how long the run took; undefined when the runtime refused it */
  constructor(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    { cancellation, feedsMayBeTaken = false, outputsAreBorrowed = false }: RunOptions,
    clock: Clock,
    onRan: (computeMs: number | undefined) => void,
    waiter: Waiter<RunResult>,
  ) {
    this.feeds = feeds;
    this.fetches = fetches;
    this.feedsMayBeTaken = feedsMayBeTaken;
    this.#outputsAreBorrowed = outputsAreBorrowed;
    this.cancellation = cancellation;
    this.calledAt = clock.now();
    this.#clock = clock;
    this.#onRan = onRan;
    this.#waiter = waiter;
  }

  reject(error: StatusError): void {
    this.#waiter.reject(error);
  }

  get isStarted(): boolean {
    return this.#startedAt !== undefined;
  }

  /** Until it is started, its caller may take it back. */
  wait(onCancel: (reason: StatusError) => void): void {
    if (this.cancellation !== neverCancelled) this.#undoWait = this.cancellation.onCancel(onCancel);
  }

  stopWaiting(): void {
    this.#undoWait?.();
    this.#undoWait = undefined;
  }

  started(): void {
    this.stopWaiting();
    this.#startedAt = this.#clock.now();
  }

  succeeded(outputs: ReadonlyMap<string, Tensor>, computeMs: number): void {
    this.#onRan(computeMs);
    this.#waiter.resolve({ outputs, queueMs: this.#startedAt! - this.calledAt, computeMs, batchSize: 0 });
    if (this.#outputsAreBorrowed) discardTensors(outputs);
  }

  refused(error: StatusError): void {
    this.#onRan(undefined);
    this.reject(error);
  }

  lost(error: StatusError): void {
    this.stopWaiting();
    this.reject(error);
  }
}
