import { neverCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, deadlineExceeded, resourceExhausted, StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { NamedValues, type Tensor } from "../../tensor/index.js";
import { promiseOf, type Waiter } from "../../waiter.js";
import { type PlacementInfo, type RunOptions, type RunResult, type Session, startRun } from "../session.js";
import { concatBytes, concatRows, splitRows } from "./batch.js";
import { BatchMemory } from "./batch-memory.js";
import { BatchTask, type TaskOwner } from "./batch-task.js";
import { type BatchingOptions, validateBatchingOptions } from "./batching-options.js";
import { Company } from "./company.js";
import { RunCost } from "./run-cost.js";

/** Tasks that may share a run: same fetches, same inputs, same types, same sizes beyond the first dimension. */
interface Group {
  readonly key: string;
  readonly fetches: readonly string[];
  /** Never empty while the group is listed, but tasks of it may wait no longer. */
  readonly tasks: BatchTask[];
}

/**
 * A Session that runs together what waits together. For models only whose rows are proven not to see each other
 * (ModelDescription.batching): a caller cannot tell whether it was batched, but by the figures.
 *
 * Nothing ever waits for company: a call starts as soon as a session of the inner Session is idle. While all are busy,
 * calls gather, and the next free session takes as many rows of one group as keep its run near `targetRunMs`; groups
 * take turns by the age of their oldest task. Each row is copied once, into the batch; answers are views of its outputs.
 *
 *      run() ──► group "x:float32[784]→y"  [t1 t4 t5]  ──┐   oldest first, ≤ limit rows
 *      run() ──► group "x:float32[2,784]…" [t2 t3]     ──┴─► inner.run() ── split ──► t1 t4 t5
 *
 * When a batch fails, its tasks run again one by one, so that a bad call fails alone.
 */
export class BatchingSession implements Session {
  readonly #inner: Session;
  readonly #name: string;
  readonly #options: BatchingOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** In the order of their oldest tasks. */
  readonly #groups = new Map<string, Group>();
  /** The one that was last added to. */
  #latest: Group | undefined;
  readonly #company = new Company();
  readonly #memory = new BatchMemory();
  #waiting = 0;
  #running = 0;
  #pumpScheduled = false;
  /** When the first of those that came in this turn has come. */
  #turnMs: number | undefined;
  readonly #pumpLater = () => {
    this.#pumpScheduled = false;
    this.#turnMs = undefined;
    this.#pump();
  };
  readonly #cost = new RunCost();
  /** A run whose outputs did not have the batch's rows: the proof does not hold, nothing is batched any more. */
  #disproven = false;

  constructor(
    name: string,
    inner: Session,
    options: Partial<BatchingOptions>,
    deps: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#name = name;
    this.#inner = inner;
    this.#options = validateBatchingOptions(options);
    this.#clock = deps.clock;
    this.#logger = deps.logger;
  }

  get placement(): PlacementInfo {
    return this.#inner.placement;
  }

  load(): { readonly queued: number; readonly running: number } {
    const { queued, running } = this.#inner.load();
    return { queued: this.#waiting + queued, running };
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
    const named = NamedValues.from(feeds);
    const rows = commonRows(named);
    const { reason } = options.cancellation;
    if (rows === undefined || this.#disproven) {
      startRun(this.#inner, feeds, fetches, options, waiter);
    } else if (reason !== undefined) {
      waiter.reject(reason);
    } else if (this.#isFull()) {
      waiter.reject(
        resourceExhausted(`Model ${this.#name}: ${this.#waiting} calls are waiting, and no more than that may wait`),
      );
    } else {
      const now = this.#arrivalMs();
      const task = new BatchTask(this.#owner, named, rows, options, now, waiter);
      const idle = this.#waiting === 0 && this.#running < this.#capacity();
      if (idle && !this.#company.expected(now)) this.#startAlone(fetches, task, now);
      else this.#enqueue(task, fetches);
    }
  }

  /** Calls of one turn of the event loop count as having come together: the clock need not be read for each. */
  #arrivalMs(): number {
    const arrivalMs = this.#turnMs ?? this.#clock.now();
    // Until the turn's end, of which the pump tells.
    this.#turnMs = this.#pumpScheduled && this.#isInline ? arrivalMs : undefined;
    return arrivalMs;
  }

  async release(): Promise<void> {
    await this.#inner.release();
  }

  /** Whether no more calls may wait. Those that only wait for the end of the turn need not: a burst is no overload. */
  #isFull(): boolean {
    const { maxQueue } = this.#options;
    if (this.#waiting >= maxQueue && this.#isInline) this.#pump();
    return this.#waiting >= maxQueue;
  }

  get #isInline(): boolean {
    return this.#inner.placement.kind === "inline";
  }

  #enqueue(task: BatchTask, fetches: readonly string[]): void {
    this.#groupOf(task.feeds, fetches).tasks.push(task);
    this.#waiting++;
    task.wait();
    this.#schedulePump();
  }

  #groupOf(feeds: NamedValues<Tensor>, fetches: readonly string[]): Group {
    const latest = this.#latest;
    if (latest !== undefined && latest.tasks.length > 0 && belongs(latest, feeds, fetches)) return latest;
    const key = groupKey(feeds, fetches);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { key, fetches, tasks: [] };
      this.#groups.set(key, group);
    }
    this.#latest = group;
    return group;
  }

  /**
   * Calls that arrive in the same turn are seen together. A session on this thread waits for the end of the turn, since
   * its run would stop the reading of more; one on another thread is given work at once.
   */
  #schedulePump(): void {
    if (this.#pumpScheduled || this.#running >= this.#capacity()) return;
    this.#pumpScheduled = true;
    if (this.#isInline) setImmediate(this.#pumpLater);
    else queueMicrotask(this.#pumpLater);
  }

  #capacity(): number {
    return this.#inner.placement.sessions;
  }

  #pump(): void {
    const pumpedMs = this.#clock.now();
    while (this.#running < this.#capacity()) {
      const now = this.#clock.now();
      const batch = this.#takeBatch(now);
      if (batch === undefined) return;
      const { fetches, tasks } = batch;
      this.#company.met(tasks.length);
      if (tasks.length === 1) this.#startAlone(fetches, tasks[0]!, now);
      else this.#startTogether(fetches, tasks, now);
      // It has run by now, on this thread: after some time others have their turn before the next.
      if (this.#isInline && this.#clock.now() - pumpedMs >= this.#options.inlineTargetRunMs) return;
    }
  }

  /** The oldest group's tasks, as many as fit; at least one, however many rows it has. */
  #takeBatch(now: number): { fetches: readonly string[]; tasks: BatchTask[] } | undefined {
    const limit = this.#rowLimit();
    for (const group of this.#groups.values()) {
      const tasks: BatchTask[] = [];
      let rows = 0;
      let taken = 0;
      for (const task of group.tasks) {
        if (task.waiting) {
          if (tasks.length > 0 && rows + task.rows > limit) break;
          if (this.#take(task, now)) {
            tasks.push(task);
            rows += task.rows;
          }
        }
        taken++;
      }
      group.tasks.splice(0, taken);
      // To the back of the line, so that groups take turns.
      this.#groups.delete(group.key);
      if (group.tasks.length > 0) this.#groups.set(group.key, group);
      if (tasks.length > 0) return { fetches: group.fetches, tasks };
    }
    return undefined;
  }

  /** Takes a task out of the queue; false when its time has passed. */
  #take(task: BatchTask, now: number): boolean {
    this.#waiting--;
    task.stopWaiting();
    const { deadlineMs } = task.cancellation;
    if (deadlineMs === undefined || now < deadlineMs) return true;
    task.waiter.reject(
      deadlineExceeded(`Model ${this.#name}: the deadline passed while the call waited for a session`),
    );
    return false;
  }

  /**
   * As long as it is not known what a run costs, calls of a model on this thread run one by one: for dear, a first batch
   * would send the model to another thread if it carries much.
   */
  #rowLimit(): number {
    if (this.#isInline && this.#cost.isUnknown) return 1;
    const { maxBatchRows, targetRunMs, inlineTargetRunMs } = this.#options;
    const runMs = this.#isInline ? Math.min(inlineTargetRunMs, targetRunMs) : targetRunMs;
    return Math.min(maxBatchRows, this.#cost.rowsWithin(runMs));
  }

  #expected(rows: number): Pick<RunOptions, "expectedMs" | "expectedIsGuess"> {
    return { expectedMs: this.#cost.expectedMs(rows), expectedIsGuess: !this.#cost.isKnown(rows) };
  }

  #startTogether(fetches: readonly string[], tasks: readonly BatchTask[], startedMs: number): void {
    this.#running++;
    const { names } = tasks[0]!.feeds;
    let rows = 0;
    let outputsAreBorrowed = true;
    for (const task of tasks) {
      rows += task.rows;
      outputsAreBorrowed &&= task.options.outputsAreBorrowed === true;
    }
    // Only what runs here is given back; what goes to another thread goes for good.
    const memory = this.#isInline ? this.#memory : undefined;
    const lent: ArrayBuffer[] = [];
    const giveBack = () => {
      for (const buffer of lent) this.#memory.give(buffer);
    };
    let inputs: Tensor[];
    try {
      inputs = names.map((_, index) => {
        const tensors = tasks.map(({ feeds }) => feeds.items[index]!);
        const buffer = memory?.take(concatBytes(tensors));
        if (buffer !== undefined) lent.push(buffer);
        return concatRows(tensors, buffer);
      });
    } catch (error) {
      // No memory for all of them in one piece; there may be for each.
      giveBack();
      this.#failedTogether(fetches, tasks, error);
      return;
    }
    // Tasks come with clocks of their own; the batch as a whole is nobody's to cancel.
    startRun(
      this.#inner,
      new NamedValues(names, inputs),
      fetches,
      { cancellation: neverCancelled, feedsMayBeTaken: true, outputsAreBorrowed, ...this.#expected(rows) },
      {
        resolve: (result) => {
          giveBack();
          this.#ranTogether(fetches, tasks, startedMs, result);
        },
        reject: (error) => {
          giveBack();
          this.#failedTogether(fetches, tasks, error);
        },
      },
    );
  }

  #ranTogether(fetches: readonly string[], tasks: readonly BatchTask[], startedMs: number, result: RunResult): void {
    const sizes = tasks.map((task) => task.rows);
    let rows = 0;
    for (const size of sizes) rows += size;
    const { names, items } = NamedValues.from(result.outputs);
    const wrong = items.findIndex(({ shape }) => shape[0] !== rows);
    if (wrong >= 0) {
      this.#disproven = true;
      this.#logger.error("batching is off: an output does not have the rows of its batch", {
        model: this.#name,
        output: names[wrong],
        shape: items[wrong]!.shape,
        rows,
      });
      void this.#runOneByOne(fetches, tasks);
      return;
    }
    this.#cost.learn(rows, result.computeMs);
    this.#ended();
    const { computeMs, queueMs } = result;
    const parts = items.map((output) => splitRows(output, sizes));
    for (let index = 0; index < tasks.length; index++) {
      const { waiter, enqueuedMs } = tasks[index]!;
      const own = new Array<Tensor>(parts.length);
      for (let output = 0; output < parts.length; output++) own[output] = parts[output]![index]!;
      const outputs = new NamedValues(names, own);
      waiter.resolve({ outputs, queueMs: startedMs - enqueuedMs + queueMs, computeMs, batchSize: rows });
    }
  }

  #failedTogether(fetches: readonly string[], tasks: readonly BatchTask[], error: unknown): void {
    if (error instanceof StatusError && error.code === Code.UNAVAILABLE) {
      this.#ended();
      for (const task of tasks) task.waiter.reject(error);
    } else {
      void this.#runOneByOne(fetches, tasks);
    }
  }

  /** Tasks that could not share a run, one after the other, so that each has its own answer. */
  async #runOneByOne(fetches: readonly string[], tasks: readonly BatchTask[]): Promise<void> {
    for (const task of tasks) {
      task.startedMs = this.#clock.now();
      try {
        // The answer is read after this promise: not borrowed.
        const options = { ...task.options, outputsAreBorrowed: false };
        const result = await promiseOf<RunResult>((waiter) =>
          startRun(this.#inner, task.feeds, fetches, options, waiter),
        );
        this.#answerAlone(task, result);
      } catch (error) {
        task.waiter.reject(error);
      }
    }
    this.#ended();
  }

  #startAlone(fetches: readonly string[], task: BatchTask, startedMs: number): void {
    this.#running++;
    task.startedMs = startedMs;
    const { options, rows } = task;
    // What one row takes says nothing new.
    const measured = rows === 1 ? options : { ...options, ...this.#expected(rows) };
    startRun(this.#inner, task.feeds, fetches, measured, task);
  }

  readonly #owner: TaskOwner = {
    withdrawn: (task, reason) => {
      this.#waiting--;
      task.waiter.reject(reason);
    },
    ranAlone: (task, result) => {
      this.#ended();
      this.#company.ran(this.#clock.now(), result.computeMs);
      this.#answerAlone(task, result);
    },
    failedAlone: (task, error) => {
      this.#ended();
      task.waiter.reject(error);
    },
  };

  #answerAlone({ rows, startedMs, enqueuedMs, waiter }: BatchTask, result: RunResult): void {
    const { outputs, computeMs } = result;
    this.#cost.learn(rows, computeMs);
    waiter.resolve({ outputs, queueMs: startedMs - enqueuedMs + result.queueMs, computeMs, batchSize: rows });
  }

  /** A session is free again. */
  #ended(): void {
    this.#running--;
    if (this.#waiting > 0) this.#schedulePump();
  }
}

/** The first dimension when all inputs share it and it holds rows; undefined for what cannot be batched. */
function commonRows({ items }: NamedValues<Tensor>): number | undefined {
  let rows: number | undefined;
  for (let index = 0; index < items.length; index++) {
    const size = items[index]!.shape[0];
    if (size === undefined || size === 0 || (rows !== undefined && size !== rows)) return undefined;
    rows = size;
  }
  return rows;
}

/** Whether a task with these feeds and fetches is one of the group, without making its key. */
function belongs(group: Group, { names, items }: NamedValues<Tensor>, fetches: readonly string[]): boolean {
  const { feeds } = group.tasks[0]!;
  if (group.fetches !== fetches || feeds.names !== names) return false;
  for (let index = 0; index < items.length; index++) {
    const [tensor, other] = [items[index]!, feeds.items[index]!];
    if (tensor.dtype !== other.dtype || tensor.shape.length !== other.shape.length) return false;
    for (let axis = 1; axis < tensor.shape.length; axis++) if (tensor.shape[axis] !== other.shape[axis]) return false;
  }
  return true;
}

function groupKey({ names, items }: NamedValues<Tensor>, fetches: readonly string[]): string {
  let key = "";
  for (const [index, { dtype, shape }] of items.entries()) {
    key += `${JSON.stringify(names[index])}${dtype}`;
    for (let axis = 1; axis < shape.length; axis++) key += `,${shape[axis]}`;
    key += ";";
  }
  return key + JSON.stringify(fetches);
}
