import { neverCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, deadlineExceeded, resourceExhausted, StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { Tensor } from "../../tensor/index.js";
import type { PlacementInfo, RunOptions, RunResult, Session } from "../session.js";
import { concatRows, splitRows } from "./batch.js";
import { type BatchingOptions, validateBatchingOptions } from "./batching-options.js";

interface Task {
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly rows: number;
  readonly options: RunOptions;
  readonly enqueuedMs: number;
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: unknown) => void;
  /** True until it is started or its caller has given up; a task that no longer waits is passed over. */
  waiting: boolean;
  /** Takes back the wish to hear of cancellation. */
  ignoreCancel: () => void;
}

/** Tasks that may share a run: same fetches, same inputs, same types, same sizes beyond the first dimension. */
interface Group {
  readonly key: string;
  readonly fetches: readonly string[];
  readonly tasks: Task[];
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
  #waiting = 0;
  #running = 0;
  #pumpScheduled = false;
  /** Moving average of compute time per row; 0 until the first run. */
  #rowMs = 0;
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
    const rows = commonRows(feeds);
    if (rows === undefined || this.#disproven) return this.#inner.run(feeds, fetches, options);
    const { reason } = options.cancellation;
    if (reason !== undefined) return Promise.reject(reason);
    if (this.#waiting >= this.#options.maxQueue) {
      return Promise.reject(
        resourceExhausted(`Model ${this.#name}: ${this.#waiting} calls are waiting, and no more than that may wait`),
      );
    }
    return new Promise((resolve, reject) => {
      const enqueuedMs = this.#clock.now();
      this.#enqueue(
        { feeds, rows, options, enqueuedMs, resolve, reject, waiting: true, ignoreCancel: () => {} },
        fetches,
      );
    });
  }

  async release(): Promise<void> {
    await this.#inner.release();
  }

  #enqueue(task: Task, fetches: readonly string[]): void {
    const key = groupKey(task.feeds, fetches);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { key, fetches, tasks: [] };
      this.#groups.set(key, group);
    }
    group.tasks.push(task);
    this.#waiting++;
    task.ignoreCancel = task.options.cancellation.onCancel((reason) => {
      if (!task.waiting) return;
      task.waiting = false;
      this.#waiting--;
      task.reject(reason);
    });
    this.#schedulePump();
  }

  /**
   * Calls that arrive in the same turn are seen together. A session on this thread waits for the end of the turn, since
   * its run would stop the reading of more; one on another thread is given work at once.
   */
  #schedulePump(): void {
    if (this.#pumpScheduled || this.#running >= this.#capacity()) return;
    this.#pumpScheduled = true;
    const pump = () => {
      this.#pumpScheduled = false;
      this.#pump();
    };
    if (this.#inner.placement.kind === "inline") setImmediate(pump);
    else queueMicrotask(pump);
  }

  #capacity(): number {
    return this.#inner.placement.sessions;
  }

  #pump(): void {
    while (this.#running < this.#capacity()) {
      const batch = this.#takeBatch();
      if (batch === undefined) return;
      this.#running++;
      void this.#runBatch(batch.fetches, batch.tasks).finally(() => {
        this.#running--;
        if (this.#waiting > 0) this.#schedulePump();
      });
    }
  }

  /** The oldest group's tasks, as many as fit; at least one, however many rows it has. */
  #takeBatch(): { fetches: readonly string[]; tasks: Task[] } | undefined {
    const now = this.#clock.now();
    const limit = this.#rowLimit();
    for (const group of this.#groups.values()) {
      const tasks: Task[] = [];
      let rows = 0;
      let taken = 0;
      for (const task of group.tasks) {
        if (task.waiting) {
          if (tasks.length > 0 && rows + task.rows > limit) break;
          if (this.#start(task, now)) {
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
  #start(task: Task, now: number): boolean {
    this.#waiting--;
    task.waiting = false;
    task.ignoreCancel();
    const { deadlineMs } = task.options.cancellation;
    if (deadlineMs === undefined || now < deadlineMs) return true;
    task.reject(deadlineExceeded(`Model ${this.#name}: the deadline passed while the call waited for a session`));
    return false;
  }

  #rowLimit(): number {
    const { maxBatchRows, targetRunMs } = this.#options;
    if (this.#rowMs === 0) return maxBatchRows;
    return Math.max(1, Math.min(maxBatchRows, Math.floor(targetRunMs / this.#rowMs)));
  }

  async #runBatch(fetches: readonly string[], tasks: readonly Task[]): Promise<void> {
    if (tasks.length === 1) return this.#runAlone(fetches, tasks[0]!);
    const startedMs = this.#clock.now();
    const sizes = tasks.map(({ rows }) => rows);
    const rows = sizes.reduce((sum, size) => sum + size, 0);
    let result: RunResult;
    try {
      const feeds = new Map<string, Tensor>();
      for (const name of tasks[0]!.feeds.keys()) {
        feeds.set(name, concatRows(tasks.map((task) => task.feeds.get(name)!)));
      }
      // Tasks come with clocks of their own; the batch as a whole is nobody's to cancel.
      result = await this.#inner.run(feeds, fetches, { cancellation: neverCancelled });
    } catch (error) {
      if (error instanceof StatusError && error.code === Code.UNAVAILABLE) {
        for (const task of tasks) task.reject(error);
        return;
      }
      for (const task of tasks) await this.#runAlone(fetches, task);
      return;
    }
    for (const [name, output] of result.outputs) {
      if (output.shape[0] === rows) continue;
      this.#disproven = true;
      this.#logger.error("batching is off: an output does not have the rows of its batch", {
        model: this.#name,
        output: name,
        shape: output.shape,
        rows,
      });
      for (const task of tasks) await this.#runAlone(fetches, task);
      return;
    }
    this.#learn(result.computeMs / rows);
    const parts = [...result.outputs].map(([name, output]) => [name, splitRows(output, sizes)] as const);
    for (const [index, task] of tasks.entries()) {
      task.resolve({
        outputs: new Map(parts.map(([name, tensors]) => [name, tensors[index]!])),
        queueMs: startedMs - task.enqueuedMs + result.queueMs,
        computeMs: result.computeMs,
        batchSize: rows,
      });
    }
  }

  async #runAlone(fetches: readonly string[], task: Task): Promise<void> {
    const startedMs = this.#clock.now();
    try {
      const result = await this.#inner.run(task.feeds, fetches, task.options);
      if (task.rows > 0) this.#learn(result.computeMs / task.rows);
      task.resolve({ ...result, queueMs: startedMs - task.enqueuedMs + result.queueMs, batchSize: task.rows });
    } catch (error) {
      task.reject(error);
    }
  }

  #learn(rowMs: number): void {
    this.#rowMs = this.#rowMs === 0 ? rowMs : this.#rowMs + 0.1 * (rowMs - this.#rowMs);
  }
}

/** The first dimension when all inputs share it and it holds rows; undefined for what cannot be batched. */
function commonRows(feeds: ReadonlyMap<string, Tensor>): number | undefined {
  let rows: number | undefined;
  for (const { shape } of feeds.values()) {
    const size = shape[0];
    if (size === undefined || size === 0 || (rows !== undefined && size !== rows)) return undefined;
    rows = size;
  }
  return rows;
}

function groupKey(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): string {
  let key = "";
  for (const [name, { dtype, shape }] of feeds) {
    key += `${JSON.stringify(name)}${dtype}`;
    for (let axis = 1; axis < shape.length; axis++) key += `,${shape[axis]}`;
    key += ";";
  }
  return key + JSON.stringify(fetches);
}
