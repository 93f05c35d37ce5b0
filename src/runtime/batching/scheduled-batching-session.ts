// Batching by an operator's word: TensorFlow Serving's BatchingParameters, with its words and its order of checks, but
// for what its way does to neighbours: here a request that fails, fails alone.
import { neverCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, failedPrecondition, invalidArgument, resourceExhausted, StatusError } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import type { PlacementInfo, RunOptions, RunResult, Session } from "../session.js";
import { concatRows, splitRows } from "./batch.js";
import type { ValidBatchingParameters } from "./batching-parameters.js";
import { padRows, repeatFirstRow } from "./pad.js";
import type { BatchQueue, SharedBatchScheduler } from "./shared-batch-scheduler.js";

/** What one batch came to, for metrics. */
export interface BatchReport {
  /** How long each of its tasks had waited. */
  readonly queuedMs: readonly number[];
  /** Rows of each of its tasks. */
  readonly sizes: readonly number[];
  readonly inputs: number;
  /** Rows that ran, padding included. */
  readonly processed: number;
}

export interface ScheduledBatchingDeps {
  readonly scheduler: SharedBatchScheduler;
  readonly clock: Clock;
  readonly onBatch?: (report: BatchReport) => void;
}

interface Task {
  readonly size: number;
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly options: RunOptions;
  readonly enqueuedMs: number;
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: unknown) => void;
  ignoreCancel: () => void;
}

/**
 * A Session that runs together what an operator says may run together.
 *
 *     run() ──► queue (inputs, outputs) ──► SharedBatchScheduler ──► pad, join ──► inner.run() ──► cut, split
 *
 * One queue for each set of inputs and outputs; requests of different row sizes in one batch are padded to the same ones
 * or, where that is not asked for, run as batches of their own. When a run of several fails, each runs again alone.
 */
export class ScheduledBatchingSession implements Session {
  readonly #inner: Session;
  readonly #parameters: ValidBatchingParameters;
  readonly #deps: ScheduledBatchingDeps;
  readonly #queues = new Map<string, BatchQueue<Task>>();
  #waiting = 0;

  constructor(inner: Session, parameters: ValidBatchingParameters, deps: ScheduledBatchingDeps) {
    this.#inner = inner;
    this.#parameters = parameters;
    this.#deps = deps;
  }

  get placement(): PlacementInfo {
    return this.#inner.placement;
  }

  load(): { readonly queued: number; readonly running: number } {
    const { queued, running } = this.#inner.load();
    return { queued: this.#waiting + queued, running };
  }

  /**
   * Errors, beside those of Session.run: INVALID_ARGUMENT for inputs without a common first dimension, or with more rows
   * than maxBatchSize; UNAVAILABLE when the queue is full; RESOURCE_EXHAUSTED when the deadline passes in the queue;
   * FAILED_PRECONDITION for a model whose outputs do not have the rows of its inputs.
   */
  async run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[], options: RunOptions): Promise<RunResult> {
    const size = commonRows(feeds);
    if (size === 0) return this.#inner.run(feeds, fetches, options);
    if (options.cancellation.reason !== undefined) throw options.cancellation.reason;
    const queue = this.#queueOf(feeds, fetches);
    const pieces = queue.pieces(size);
    if (pieces.length === 1) return this.#enqueue(queue, feeds, size, options);
    const parts = [...feeds].map(([name, tensor]) => [name, splitRows(tensor, pieces)] as const);
    const results = await Promise.all(
      pieces.map((rows, index) =>
        this.#enqueue(queue, new Map(parts.map(([name, tensors]) => [name, tensors[index]!])), rows, {
          cancellation: options.cancellation,
        }),
      ),
    );
    return joinResults(results);
  }

  async release(): Promise<void> {
    for (const queue of this.#queues.values()) this.#deps.scheduler.removeQueue(queue);
    this.#queues.clear();
    await this.#inner.release();
  }

  #queueOf(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): BatchQueue<Task> {
    const key = JSON.stringify([[...feeds.keys()].sort(), [...fetches].sort()]);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      if (this.#queues.size >= mostIdleQueues) this.#forgetIdleQueues();
      // Callers name outputs in an order of their own; the queue keeps one.
      const names = [...fetches];
      queue = this.#deps.scheduler.addQueue<Task>(this.#parameters, (tasks) => this.#process(names, tasks));
      this.#queues.set(key, queue);
    }
    return queue;
  }

  #forgetIdleQueues(): void {
    for (const [key, queue] of this.#queues) {
      if (!queue.idle) continue;
      this.#deps.scheduler.removeQueue(queue);
      this.#queues.delete(key);
    }
  }

  #enqueue(
    queue: BatchQueue<Task>,
    feeds: ReadonlyMap<string, Tensor>,
    size: number,
    options: RunOptions,
  ): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      const enqueuedMs = this.#deps.clock.now();
      const task: Task = {
        size,
        feeds,
        options,
        enqueuedMs,
        resolve,
        reject,
        ignoreCancel: () => {},
      };
      this.#waiting++;
      const leave = queue.add(task);
      task.ignoreCancel = options.cancellation.onCancel((reason) => {
        this.#waiting--;
        leave();
        reject(reason.code === Code.DEADLINE_EXCEEDED ? timedOut() : reason);
      });
    });
  }

  async #process(fetches: readonly string[], tasks: readonly Task[]): Promise<void> {
    const now = this.#deps.clock.now();
    for (const task of tasks) {
      task.ignoreCancel();
      this.#waiting--;
    }
    // One that can still be answered in time takes the others along.
    const late = ({ options: { cancellation } }: Task) =>
      cancellation.deadlineMs !== undefined && now >= cancellation.deadlineMs;
    if (tasks.every(late)) {
      for (const task of tasks) task.reject(timedOut());
      return;
    }
    for (const group of this.#groups(tasks)) await this.#runTogether(fetches, group);
  }

  /** Tasks whose rows have the same sizes, or can be padded to the same ones. */
  #groups(tasks: readonly Task[]): readonly (readonly Task[])[] {
    const byShape = new Map<string, Task[]>();
    const { padVariableLengthInputs: pad } = this.#parameters;
    for (const task of tasks) {
      const key = [...task.feeds].map(([name, { dtype, shape }]) => [
        name,
        dtype,
        pad && shape.length <= mostPaddedRank ? shape.length : shape.slice(1),
      ]);
      const shapeKey = JSON.stringify(key.sort());
      const group = byShape.get(shapeKey);
      if (group === undefined) byShape.set(shapeKey, [task]);
      else group.push(task);
    }
    return [...byShape.values()];
  }

  async #runTogether(fetches: readonly string[], group: readonly Task[]): Promise<void> {
    const tasks = this.#parameters.padVariableLengthInputs ? withoutEmpty(group) : group;
    if (tasks.length === 0) return;
    const startedMs = this.#deps.clock.now();
    try {
      const { result, processed } = await this.#runRows(fetches, tasks);
      const sizes = tasks.map(({ size }) => size);
      const parts = [...result.outputs].map(([name, output]) => [name, splitRows(output, sizes)] as const);
      const rows = sizes.reduce((sum, size) => sum + size, 0);
      for (const [index, task] of tasks.entries()) {
        task.resolve({
          outputs: new Map(parts.map(([name, tensors]) => [name, tensors[index]!])),
          queueMs: startedMs - task.enqueuedMs + result.queueMs,
          computeMs: result.computeMs,
          batchSize: rows,
        });
      }
      this.#deps.onBatch?.({
        queuedMs: tasks.map(({ enqueuedMs }) => startedMs - enqueuedMs),
        sizes,
        inputs: tasks[0]!.feeds.size,
        processed,
      });
    } catch (error) {
      const hopeless = tasks.length === 1 || (error instanceof StatusError && error.code === Code.UNAVAILABLE);
      if (hopeless) for (const task of tasks) task.reject(error);
      else for (const task of tasks) await this.#runTogether(fetches, [task]);
    }
  }

  /** @returns outputs of the tasks' rows, padding taken off */
  async #runRows(
    fetches: readonly string[],
    tasks: readonly Task[],
  ): Promise<{ result: RunResult; processed: number }> {
    const rows = tasks.reduce((sum, { size }) => sum + size, 0);
    const processed = allowedSize(this.#parameters.allowedBatchSizes, rows);
    const alone = tasks.length === 1 && processed === rows ? tasks[0]! : undefined;
    const result = await this.#inner.run(
      alone?.feeds ?? joinFeeds(tasks, processed - rows),
      fetches,
      alone?.options ?? { cancellation: neverCancelled },
    );
    for (const { shape } of result.outputs.values()) {
      if (shape.length === 0) throw failedPrecondition("Batched output tensor has 0 dimensions");
      if (shape[0] !== processed) {
        throw failedPrecondition(
          "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        );
      }
    }
    if (processed === rows) return { result, processed };
    const cut = new Map([...result.outputs].map(([name, output]) => [name, splitRows(output, [rows])[0]!]));
    return { result: { ...result, outputs: cut }, processed };
  }
}

/** Clients choose which outputs they ask for, and each choice has a queue. */
const mostIdleQueues = 64;
/** TensorFlow Serving pads tensors up to here. */
const mostPaddedRank = 6;

function timedOut(): StatusError {
  return resourceExhausted("Run() timeout exceeded while waiting in batching queue");
}

function commonRows(feeds: ReadonlyMap<string, Tensor>): number {
  let rows: number | undefined;
  for (const { shape } of feeds.values()) {
    const size = shape[0];
    if (size === undefined) throw invalidArgument("Batching Run() input tensors must have at least one dimension");
    if (rows !== undefined && size !== rows) {
      throw invalidArgument("Batching Run() input tensors must have equal 0th-dimension size");
    }
    rows = size;
  }
  if (rows === undefined) throw invalidArgument("Batching Run() must have at least one input tensor");
  return rows;
}

/** An empty row has no first element to be padded with: such a task is refused where others have elements. */
function withoutEmpty(tasks: readonly Task[]): readonly Task[] {
  const isEmpty = ({ feeds }: Task) => [...feeds.values()].some(({ data }) => data.length === 0);
  if (!tasks.some((task) => !isEmpty(task))) return tasks;
  return tasks.filter((task) => {
    const different = [...task.feeds].some(
      ([name, { data, shape }]) =>
        data.length === 0 &&
        tasks.some((other) => other.feeds.get(name)!.shape.some((size, axis) => axis > 0 && size !== shape[axis])),
    );
    if (different) task.reject(invalidArgument("Got empty tensor in batch of non-empty tensors."));
    return !different;
  });
}

function allowedSize(allowed: readonly number[], rows: number): number {
  let smallest = Infinity;
  for (const size of allowed) if (size >= rows && size < smallest) smallest = size;
  return smallest === Infinity ? rows : smallest;
}

/** @param padding rows to add: the first row of the last task, again and again */
function joinFeeds(tasks: readonly Task[], padding: number): ReadonlyMap<string, Tensor> {
  const joined = new Map<string, Tensor>();
  for (const name of tasks[0]!.feeds.keys()) {
    const tensors = tasks.map(({ feeds }) => feeds.get(name)!);
    const largest = tensors[0]!.shape.map((_, axis) => Math.max(...tensors.map(({ shape }) => shape[axis]!)));
    const padded = tensors.map((tensor) => padRows(tensor, [tensor.shape[0]!, ...largest.slice(1)]));
    if (padding > 0) padded.push(repeatFirstRow(padded.at(-1)!, padding));
    joined.set(name, concatRows(padded));
  }
  return joined;
}

/** The pieces of one request as one answer. */
function joinResults(results: readonly RunResult[]): RunResult {
  const names = [...results[0]!.outputs.keys()];
  return {
    outputs: new Map(names.map((name) => [name, joinOutput(results.map(({ outputs }) => outputs.get(name)!))])),
    queueMs: Math.max(...results.map(({ queueMs }) => queueMs)),
    computeMs: results.reduce((sum, { computeMs }) => sum + computeMs, 0),
    batchSize: Math.max(...results.map(({ batchSize }) => batchSize)),
  };
}

function joinOutput(pieces: readonly Tensor[]): Tensor {
  const [first] = pieces;
  for (const { shape } of pieces) {
    if (
      shape.length === first!.shape.length &&
      shape.every((size, axis) => axis === 0 || size === first!.shape[axis])
    ) {
      continue;
    }
    throw failedPrecondition("The pieces of a large request have outputs of different shapes and cannot be joined");
  }
  return concatRows(pieces);
}
