import type { Clock, Timer } from "../../clock.js";
import { invalidArgument, unavailable } from "../../status.js";
import type { ValidBatchingParameters } from "./batching-parameters.js";

/** What waits in a queue. */
export interface BatchTask {
  /** Rows, at least one. */
  readonly size: number;
}

/** What the scheduler knows of a queue. */
type TurnTaker = Pick<BatchQueue<BatchTask>, "readyInMs" | "runNext">;

interface Batch<Task> {
  readonly tasks: Set<Task>;
  size: number;
  /** Of its first task. */
  openedMs: number;
  /** Nothing more is added. */
  closed: boolean;
}

/**
 * Batch threads shared by the queues of all models: `numBatchThreads` batches run at a time, and queues take turns, one
 * batch each, so that no model starves another. "Thread" is TensorFlow Serving's word; runs happen where each model's
 * session has its home.
 */
export class SharedBatchScheduler {
  readonly #numBatchThreads: number;
  readonly #clock: Clock;
  /** The one whose turn is next comes first. */
  readonly #queues: TurnTaker[] = [];
  #running = 0;
  #scheduled = false;
  #timer: Timer | undefined;

  /** @throws INVALID_ARGUMENT `num_batch_threads must be positive; was {n}` */
  constructor({ numBatchThreads, clock }: { readonly numBatchThreads: number; readonly clock: Clock }) {
    if (!(numBatchThreads >= 1)) throw invalidArgument(`num_batch_threads must be positive; was ${numBatchThreads}`);
    this.#numBatchThreads = numBatchThreads;
    this.#clock = clock;
  }

  /** @param process runs one batch; it answers for every task and never rejects */
  addQueue<Task extends BatchTask>(
    parameters: ValidBatchingParameters,
    process: (tasks: readonly Task[]) => Promise<void>,
  ): BatchQueue<Task> {
    const queue = new BatchQueue(parameters, process, this.#clock, () => this.#schedulePump());
    this.#queues.push(queue);
    return queue;
  }

  /** Nothing may wait in it. */
  removeQueue(queue: TurnTaker): void {
    const index = this.#queues.indexOf(queue);
    if (index >= 0) this.#queues.splice(index, 1);
  }

  get queues(): number {
    return this.#queues.length;
  }

  /** At the end of the turn, so that calls which arrive together are seen together. */
  #schedulePump(): void {
    if (this.#scheduled || this.#running >= this.#numBatchThreads) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#running < this.#numBatchThreads) {
      const now = this.#clock.now();
      const next = this.#queues.findIndex((queue) => queue.readyInMs(now) <= 0);
      if (next < 0) {
        this.#wakeWhenReady(now);
        return;
      }
      const [queue] = this.#queues.splice(next, 1);
      this.#queues.push(queue!);
      this.#running++;
      void queue!.runNext().finally(() => {
        this.#running--;
        this.#schedulePump();
      });
    }
  }

  #wakeWhenReady(now: number): void {
    let waitMs = Infinity;
    for (const queue of this.#queues) waitMs = Math.min(waitMs, queue.readyInMs(now));
    if (waitMs === Infinity) return;
    this.#timer = this.#clock.setTimer(Math.min(waitMs, longestTimerMs), () => this.#pump());
  }
}

/** Node's timers fire at once when asked for more. */
const longestTimerMs = 2 ** 31 - 1;

/** Tasks that may share a batch. The last batch is open: tasks join it while they fit. */
export class BatchQueue<Task extends BatchTask> {
  readonly #parameters: ValidBatchingParameters;
  readonly #process: (tasks: readonly Task[]) => Promise<void>;
  readonly #clock: Clock;
  readonly #wake: () => void;
  readonly #batches: Batch<Task>[] = [emptyBatch()];

  constructor(
    parameters: ValidBatchingParameters,
    process: (tasks: readonly Task[]) => Promise<void>,
    clock: Clock,
    wake: () => void,
  ) {
    this.#parameters = parameters;
    this.#process = process;
    this.#clock = clock;
    this.#wake = wake;
  }

  /**
   * In which pieces a task of this size would be queued now: one, unless large tasks are split.
   * @throws INVALID_ARGUMENT for one that is too large; UNAVAILABLE when the queue is full
   */
  pieces(size: number): readonly number[] {
    const { maxBatchSize, maxEnqueuedBatches, enableLargeBatchSplitting, maxExecutionBatchSize } = this.#parameters;
    if (size > maxBatchSize) {
      throw invalidArgument(`Task size ${size} is larger than maximum input batch size ${maxBatchSize}`);
    }
    const full = "The batch scheduling queue to which this task was submitted is full;";
    const enqueued = this.#batches.length;
    const open = this.#open.size;
    if (!enableLargeBatchSplitting) {
      if (open + size > maxBatchSize && enqueued >= maxEnqueuedBatches) {
        throw unavailable(
          `${full} currently ${enqueued} batches enqueued and max_enqueued_batches is ${maxEnqueuedBatches}`,
        );
      }
      return [size];
    }
    const capacity = (maxEnqueuedBatches - enqueued) * maxExecutionBatchSize + (maxExecutionBatchSize - open);
    if (size > capacity) {
      throw unavailable(
        `${full} task size is ${size} but scheduling capacity is only ${capacity} (num_enqueued_batches=${enqueued}, ` +
          `max_enqueued_batches=${maxEnqueuedBatches}, open_batch_size=${open}, ` +
          `max_execution_batch_size=${maxExecutionBatchSize})`,
      );
    }
    const pieces: number[] = [];
    let room = maxExecutionBatchSize - open || maxExecutionBatchSize;
    for (let left = size; left > 0; room = maxExecutionBatchSize) {
      const piece = Math.min(left, room);
      pieces.push(piece);
      left -= piece;
    }
    return pieces;
  }

  /** Queues a task that `pieces` has let in. @returns what takes it out again, and makes room for another */
  add(task: Task): () => void {
    const limit = this.#parameters.maxExecutionBatchSize;
    if (this.#open.size > 0 && this.#open.size + task.size > limit) {
      this.#open.closed = true;
      this.#batches.push(emptyBatch());
    }
    const open = this.#open;
    if (open.tasks.size === 0) open.openedMs = this.#clock.now();
    open.tasks.add(task);
    open.size += task.size;
    this.#wake();
    return () => this.#remove(task, open);
  }

  #remove(task: Task, batch: Batch<Task>): void {
    const index = this.#batches.indexOf(batch);
    if (index < 0 || !batch.tasks.delete(task)) return;
    batch.size -= task.size;
    if (batch.tasks.size === 0 && batch.closed) this.#batches.splice(index, 1);
  }

  /** Until a batch may run: 0 or less for now, Infinity while nothing waits. */
  readyInMs(now: number): number {
    const first = this.#batches[0]!;
    if (first.tasks.size === 0) return Infinity;
    if (first.closed || first.size >= this.#parameters.maxExecutionBatchSize) return 0;
    return first.openedMs + this.#parameters.batchTimeoutMicros / 1000 - now;
  }

  get idle(): boolean {
    return this.#batches.length === 1 && this.#open.tasks.size === 0;
  }

  runNext(): Promise<void> {
    const { tasks } = this.#batches.shift()!;
    if (this.#batches.length === 0) this.#batches.push(emptyBatch());
    return this.#process([...tasks]);
  }

  get #open(): Batch<Task> {
    return this.#batches.at(-1)!;
  }
}

function emptyBatch<Task>(): Batch<Task> {
  return { tasks: new Set(), size: 0, openedMs: 0, closed: false };
}
