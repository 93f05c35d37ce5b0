import type { CancelListener, Cancellation } from "../../cancellation.js";
import type { StatusError } from "../../status.js";
import type { NamedValues, Tensor } from "../../tensor/index.js";
import type { Waiter } from "../../waiter.js";
import type { RunOptions, RunResult } from "../session.js";

/** The batching session, as its tasks see it. */
export interface TaskOwner {
  /** A task that waits is not wanted any more. */
  withdrawn(task: BatchTask, reason: StatusError): void;
  ranAlone(task: BatchTask, result: RunResult): void;
  failedAlone(task: BatchTask, error: unknown): void;
}

/** One call of a batching session, from its arrival to its answer. It waits itself for the run that it has alone. */
export class BatchTask implements Waiter<RunResult>, CancelListener {
  readonly feeds: NamedValues<Tensor>;
  readonly rows: number;
  readonly options: RunOptions;
  readonly enqueuedMs: number;
  readonly waiter: Waiter<RunResult>;
  readonly #owner: TaskOwner;
  startedMs = 0;
  /** True until it is started or its caller has given up; a task that no longer waits is passed over. */
  waiting = false;

  constructor(
    owner: TaskOwner,
    feeds: NamedValues<Tensor>,
    rows: number,
    options: RunOptions,
    enqueuedMs: number,
    waiter: Waiter<RunResult>,
  ) {
    this.#owner = owner;
    this.feeds = feeds;
    this.rows = rows;
    this.options = options;
    this.enqueuedMs = enqueuedMs;
    this.waiter = waiter;
  }

  get cancellation(): Cancellation {
    return this.options.cancellation;
  }

  wait(): void {
    this.waiting = true;
    this.cancellation.listen(this);
  }

  /** Whatever becomes of its caller, it is not taken back any more. */
  stopWaiting(): void {
    this.waiting = false;
    this.cancellation.unlisten(this);
  }

  cancelled(reason: StatusError): void {
    if (!this.waiting) return;
    this.waiting = false;
    this.#owner.withdrawn(this, reason);
  }

  resolve(result: RunResult): void {
    this.#owner.ranAlone(this, result);
  }

  reject(error: unknown): void {
    this.#owner.failedAlone(this, error);
  }
}
