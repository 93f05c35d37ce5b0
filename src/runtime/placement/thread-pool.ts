// A model on worker threads, a session each:
//
//   run() ──▶ queue (bounded) ──▶ worker: [runs][next]
//                             ──▶ worker: [runs][next]
//
// A call goes to an idle worker at once; else, when runs are short, to a worker as its next, so that the worker need not
// wait for this thread between two runs; else it waits in the queue. What waits can be withdrawn, in either place.
import type { Clock, Timer } from "../../clock.js";
import { deadlineExceeded, errorMessage, internal, resourceExhausted, StatusError, unavailable } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { Tensor } from "../../tensor/index.js";
import { promiseOf, type Waiter } from "../../waiter.js";
import type { PlacementInfo, RunOptions, RunResult, Session } from "../session.js";
import { maxInFlight, type OpenedModel } from "./messages.js";
import { PoolTask } from "./pool-task.js";
import { restartDelayMs, stableAfterMs } from "./restart-delay.js";
import { type QueueEntry, RunQueue } from "./run-queue.js";
import { ModelWorker, type StartThread, type WorkerEvents } from "./worker.js";

export interface ThreadPoolOptions {
  /** What logs and errors call the model. */
  readonly name: string;
  readonly model: OpenedModel;
  readonly maxQueue: number;
  readonly warmupMaxBytes: number;
  readonly warmupRunMicros: number | undefined;
  /** Why the model lives here. */
  readonly reason: string;
}

/** Told of what metrics count. `model` is the name given to load(). */
export interface RuntimeObserver {
  droppedBeforeRun(model: string): void;
  workerRestarted(model: string): void;
}

export interface ThreadPoolEnvironment {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly startThread: StartThread;
  /** Sees every worker, so that the runtime can count and await them. */
  readonly onWorker: (worker: ModelWorker) => void;
  readonly observer: RuntimeObserver | undefined;
}

/** Counted since the session was made. */
export interface SessionCounters {
  /** Answered by the runtime, well or badly. */
  readonly runs: number;
  /** Withdrawn by their callers, or found past their deadline, before they started. */
  readonly droppedBeforeRun: number;
  /** Refused because the queue was full. */
  readonly refused: number;
  readonly workerDeaths: number;
}

/**
 * Runs shorter than this are sent ahead to a busy worker: the gap between two runs matters to them. A long one would
 * wait there while another worker falls idle.
 */
const sendAheadBelowMs = 2;
/** Weight of the newest run in the average. */
const averaging = 1 / 8;

export class ThreadPool implements Session {
  #placement: PlacementInfo;
  readonly #options: ThreadPoolOptions;
  readonly #environment: ThreadPoolEnvironment;
  readonly #clock: Clock;
  readonly #queue = new RunQueue<PoolTask>();
  #ready: ModelWorker[] = [];
  readonly #starting = new Set<ModelWorker>();
  readonly #restarts = new Set<Timer>();
  readonly #readySince = new WeakMap<ModelWorker, number>();
  readonly #counters = { runs: 0, droppedBeforeRun: 0, refused: 0, workerDeaths: 0 };
  #deathsInARow = 0;
  /** Why no worker is there, and none can be made at the moment. */
  #down: StatusError | undefined;
  #averageRunMs: number;
  #released: Promise<void> | undefined;
  #emptied: (() => void) | undefined;

  /**
   * Starts workers until the pool has its size, and waits for all of them. Throws when one cannot be made, having ended
   * those that were.
   * @param first a worker that has loaded the model already
   */
  static async open(
    options: ThreadPoolOptions,
    environment: ThreadPoolEnvironment,
    first?: ModelWorker,
  ): Promise<ThreadPool> {
    const pool = new ThreadPool(options, environment);
    if (first !== undefined) pool.#take(first);
    try {
      const missing = options.model.plan.poolSize - pool.#ready.length;
      await Promise.all(Array.from({ length: missing }, () => pool.#startWorker()));
    } catch (error) {
      await pool.release();
      throw error;
    }
    return pool;
  }

  private constructor(options: ThreadPoolOptions, environment: ThreadPoolEnvironment) {
    const { plan } = options.model;
    this.#options = options;
    this.#environment = environment;
    this.#clock = environment.clock;
    this.#averageRunMs = (options.warmupRunMicros ?? Infinity) / 1000;
    this.#placement = {
      kind: "thread-pool",
      sessions: plan.poolSize,
      intraOpThreads: plan.intraOpThreads,
      warmupRunMicros: options.warmupRunMicros,
      reason: options.reason,
    };
  }

  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[], options: RunOptions): Promise<RunResult> {
    return promiseOf((waiter) => this.start(feeds, fetches, { ...options, outputsAreBorrowed: false }, waiter));
  }

  start(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
    waiter: Waiter<RunResult>,
  ): void {
    if (this.#released !== undefined) {
      waiter.reject(internal(`model "${this.#options.name}" was run after its release`));
      return;
    }
    const task = new PoolTask(feeds, fetches, options, this.#clock, this.#noteRun, waiter);
    const why = this.#whyDropped(task, task.calledAt);
    if (why !== undefined) this.#drop(task, why);
    else if (this.#down !== undefined) task.reject(this.#down);
    else this.#admit(task);
  }

  get placement(): PlacementInfo {
    return this.#placement;
  }

  /** Says more of why the model lives here, in this way. */
  addReason(text: string): void {
    this.#placement = { ...this.#placement, reason: `${this.#placement.reason}; ${text}` };
  }

  get counters(): SessionCounters {
    return this.#counters;
  }

  load(): { readonly queued: number; readonly running: number } {
    let running = 0;
    for (const worker of this.#ready) if (worker.inFlight > 0) running += 1;
    return { queued: this.#waiting(), running };
  }

  release(): Promise<void> {
    this.#released ??= this.#drain();
    return this.#released;
  }

  async #drain(): Promise<void> {
    if (!this.#isEmpty()) {
      await new Promise<void>((resolve) => {
        this.#emptied = resolve;
      });
    }
    for (const restart of this.#restarts) restart.cancel();
    this.#restarts.clear();
    await Promise.all([...this.#ready, ...this.#starting].map((worker) => worker.retire()));
  }

  #admit(task: PoolTask): void {
    const idle = this.#leastBusy(1);
    if (idle !== undefined) {
      this.#send(task, idle);
      return;
    }
    if (this.#waiting() >= this.#options.maxQueue) {
      this.#counters.refused += 1;
      const { name, maxQueue } = this.#options;
      task.reject(resourceExhausted(`model "${name}": ${maxQueue} calls wait already, the most allowed`));
      return;
    }
    const next = this.#queue.size === 0 ? this.#leastBusy(this.#depth()) : undefined;
    if (next === undefined) {
      const entry = this.#queue.push(task);
      task.wait((reason) => this.#withdrawQueued(entry, reason));
    } else {
      this.#send(task, next);
    }
  }

  #withdrawQueued(entry: QueueEntry<PoolTask>, reason: StatusError): void {
    this.#queue.remove(entry);
    this.#drop(entry.value, reason);
    this.#settleRelease();
  }

  /** The worker with the fewest runs, if it holds fewer than that. */
  #leastBusy(fewerThan: number): ModelWorker | undefined {
    let found: ModelWorker | undefined;
    let least = fewerThan;
    for (const worker of this.#ready) {
      if (worker.inFlight < least) {
        found = worker;
        least = worker.inFlight;
      }
    }
    return found;
  }

  #depth(): number {
    return this.#averageRunMs < sendAheadBelowMs ? maxInFlight : 1;
  }

  #send(task: PoolTask, worker: ModelWorker): void {
    let withdraw: () => boolean;
    try {
      withdraw = worker.send(task);
    } catch (error) {
      const { name } = this.#options;
      task.reject(internal(`model "${name}": the feeds cannot be sent to a thread: ${errorMessage(error)}`));
      return;
    }
    if (task.isStarted) return;
    task.wait((reason) => {
      if (withdraw()) this.#drop(task, reason);
    });
  }

  /** Keeps the workers busy with what waits. */
  #fill(): void {
    while (this.#queue.size > 0) {
      const worker = this.#leastBusy(this.#depth());
      if (worker === undefined) break;
      const task = this.#queue.shift()!;
      task.stopWaiting();
      const why = this.#whyDropped(task, this.#clock.now());
      if (why === undefined) this.#send(task, worker);
      else this.#drop(task, why);
    }
    this.#settleRelease();
  }

  #whyDropped({ cancellation, calledAt }: PoolTask, now: number): StatusError | undefined {
    const { reason, deadlineMs } = cancellation;
    if (reason !== undefined) return reason;
    if (deadlineMs === undefined || now < deadlineMs) return undefined;
    const waited = Math.round(now - calledAt);
    return deadlineExceeded(`model "${this.#options.name}": the deadline passed after ${waited} ms in the queue`);
  }

  #drop(task: PoolTask, reason: StatusError): void {
    this.#counters.droppedBeforeRun += 1;
    this.#environment.observer?.droppedBeforeRun(this.#options.name);
    task.reject(reason);
  }

  #waiting(): number {
    let waiting = this.#queue.size;
    for (const worker of this.#ready) waiting += worker.waiting;
    return waiting;
  }

  #isEmpty(): boolean {
    return this.#queue.size === 0 && this.#ready.every((worker) => worker.inFlight === 0);
  }

  #settleRelease(): void {
    if (this.#emptied !== undefined && this.#isEmpty()) this.#emptied();
  }

  async #startWorker(): Promise<void> {
    const { name, model, warmupMaxBytes } = this.#options;
    const { worker, opened } = ModelWorker.join(name, this.#environment.startThread, { model, warmupMaxBytes });
    this.#environment.onWorker(worker);
    this.#starting.add(worker);
    try {
      await opened;
      this.#take(worker);
    } finally {
      this.#starting.delete(worker);
    }
  }

  #take(worker: ModelWorker): void {
    worker.events = this.#events;
    this.#readySince.set(worker, this.#clock.now());
    this.#ready.push(worker);
    this.#down = undefined;
    this.#fill();
  }

  readonly #events: WorkerEvents = {
    finished: () => this.#fill(),
    died: (worker, reason) => {
      this.#ready = this.#ready.filter((other) => other !== worker);
      this.#counters.workerDeaths += 1;
      if (this.#clock.now() - (this.#readySince.get(worker) ?? 0) >= stableAfterMs) this.#deathsInARow = 0;
      this.#restartLater(reason);
      this.#settleRelease();
    },
  };

  #restartLater(reason: StatusError): void {
    const delayMs = restartDelayMs(this.#deathsInARow++);
    const { name } = this.#options;
    this.#environment.logger.error("a worker thread was lost", { model: name, reason: reason.message, delayMs });
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#restarts.delete(timer);
      this.#startWorker().then(
        () => {
          this.#environment.logger.info("a worker thread was replaced", { model: name });
          this.#environment.observer?.workerRestarted(name);
        },
        (error: unknown) => this.#restartFailed(error),
      );
    });
    this.#restarts.add(timer);
  }

  #restartFailed(error: unknown): void {
    const reason = error instanceof StatusError ? error : internal(errorMessage(error));
    if (this.#released !== undefined && this.#isEmpty()) return;
    // With nobody left to run them, those who wait are told now rather than kept until they give up.
    if (this.#ready.length === 0 && this.#starting.size === 0) {
      const { name } = this.#options;
      this.#down = unavailable(
        `model "${name}" has no worker thread left, and none could be started: ${reason.message}`,
      );
      for (let task = this.#queue.shift(); task !== undefined; task = this.#queue.shift()) {
        task.stopWaiting();
        task.reject(this.#down);
      }
    }
    this.#restartLater(reason);
    this.#settleRelease();
  }

  readonly #noteRun = (computeMs: number | undefined): void => {
    this.#counters.runs += 1;
    if (computeMs === undefined) return;
    const average = Number.isFinite(this.#averageRunMs) ? this.#averageRunMs : computeMs;
    this.#averageRunMs = average + (computeMs - average) * averaging;
  };
}
