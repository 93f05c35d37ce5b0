// What a training process does, from the rows on disk to a candidate on disk.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Cancellation, CancellationSource, eitherCancelled } from "../../cancellation.js";
import { systemClock } from "../../clock.js";
import { Code, resourceExhausted, StatusError } from "../../status.js";
import type { EpochReport, Trainer } from "../trainer.js";
import { openDataSets } from "./data-set-reader.js";
import { readIfThere, writeDurably } from "./durable-file.js";
import { tooLong } from "./job-deadline.js";
import { evaluateServed, jobEvaluation, type PreparedJob, prepareJob } from "./prepare-job.js";
import type { FromProcess, LastMessage, Task, TrainTask } from "./process-messages.js";

export interface TaskContext {
  readonly post: (message: FromProcess) => void;
  readonly cancellation: Cancellation;
}

/** Throws the cancellation's reason, or why the task cannot be done. */
export async function runTask(task: Task, context: TaskContext): Promise<LastMessage> {
  const startMs = systemClock.now();
  // One that a crash left behind may still have its files open: neither is to meet the other's.
  await rm(task.scratchFolder, { recursive: true, force: true });
  const folder = join(task.scratchFolder, String(process.pid));
  await mkdir(folder, { recursive: true });
  try {
    const data = openDataSets(task.dataFolder);
    if (task.kind === "evaluate") {
      return { kind: "report", ...(await evaluateServed(task.baseFile, task.request, data)) };
    }
    const { spec, baseFile, memoryBytes } = task;
    const prepared = await prepareJob(spec, data, { ...(baseFile !== undefined && { baseFile }), folder, memoryBytes });
    try {
      return task.kind === "plan" ? plan(prepared) : await train(task, startMs, prepared, context);
    } finally {
      prepared.training.release();
    }
  } finally {
    await rm(task.scratchFolder, { recursive: true, force: true });
  }
}

/** The first run pays for what later ones do not. */
const rehearsals = 6;

function plan({ training, plan }: PreparedJob): LastMessage {
  const seconds = Array.from({ length: rehearsals }, () => {
    const start = systemClock.now();
    training.trainer.rehearse();
    return (systemClock.now() - start) / 1000;
  });
  const secondsPerStep = seconds.slice(1).sort((a, b) => a - b)[(rehearsals - 1) >> 1]!;
  return { kind: "planned", plan: { ...plan, secondsPerStep } };
}

async function train(
  task: TrainTask,
  startMs: number,
  prepared: PreparedJob,
  { post, cancellation }: TaskContext,
): Promise<LastMessage> {
  const { trainer } = prepared.training;
  await restore(trainer, task, post);
  const { plan, notices, drift } = prepared;
  post({ kind: "prepared", plan, notices, drift, step: trainer.stepsDone });
  const pace = new Pace(task, startMs, trainer, post, cancellation);
  const result = await trainer.run({
    cancellation: pace.cancellation,
    clock: systemClock,
    onStep: (step) => pace.observeStep(step),
    onEpoch: (epoch) => pace.observeEpoch(epoch),
    betweenSteps: () => pace.betweenSteps(),
  });
  await pace.checkpoint();
  post({ kind: "trained", end: result.end, reason: result.reason });
  if (result.end === "diverged" && result.weightsOfEpoch === 0) {
    return { kind: "evaluated", evaluation: undefined, baseEvaluation: undefined, candidate: false };
  }
  const evaluation = prepared.evaluate();
  const baseEvaluation = prepared.evaluateBase();
  const lineage = { ...task.lineage, epochs: result.epochs, steps: result.steps, end: result.end };
  await writeDurably(task.candidateFile, prepared.export(evaluation, lineage));
  return { kind: "evaluated", evaluation, baseEvaluation, candidate: true };
}

/** A checkpoint that cannot be used costs time and no more. */
async function restore(trainer: Trainer, { checkpointFile }: TrainTask, post: TaskContext["post"]): Promise<void> {
  const saved = await readIfThere(checkpointFile);
  if (saved === undefined) return;
  try {
    trainer.restore(saved);
  } catch (error) {
    if (!(error instanceof StatusError) || (error.code !== Code.DATA_LOSS && error.code !== Code.FAILED_PRECONDITION)) {
      throw error;
    }
    post({ kind: "notice", text: `training starts from the beginning: ${error.message}` });
  }
}

const stepReportMs = 250;
/** Tiny data have thousands of epochs a second: after the first ones, so many are told that a curve can be drawn. */
const epochsToldEach = 1000;
const epochReportMs = 50;
/** Small nets take many steps between two looks at the clock's finer points. */
const memoryLookMs = 1000;
const breathMs = 20;

/** Between two steps: checkpoints, the deadline, the memory's bound, and breathing space for everyone else. */
class Pace {
  /** By whoever told the process to stop, or by a limit. */
  readonly cancellation: Cancellation;
  readonly #task: TrainTask;
  readonly #trainer: Trainer;
  readonly #post: TaskContext["post"];
  readonly #outer: Cancellation;
  readonly #limits = new CancellationSource();
  readonly #deadlineMs: number;
  /** Beyond what the process has before it trains, and what is budgeted. */
  readonly #memoryLimit: number;
  #checkpointAt: number;
  #checkpointed = systemClock.now();
  #reported = Number.NEGATIVE_INFINITY;
  #epochReported = Number.NEGATIVE_INFINITY;
  #looked = systemClock.now();
  #breathed = systemClock.now();
  /** The last step and epoch that were not told. */
  #waiting: FromProcess | undefined;
  #waitingEpoch: FromProcess | undefined;

  /** @param startMs when the task began: preparing counts as well */
  constructor(task: TrainTask, startMs: number, trainer: Trainer, post: TaskContext["post"], outer: Cancellation) {
    this.#task = task;
    this.#trainer = trainer;
    this.#post = post;
    this.#outer = outer;
    this.cancellation = eitherCancelled(outer, this.#limits);
    this.#deadlineMs = startMs + 1000 * task.secondsLeft;
    this.#checkpointAt = systemClock.now() + 1000 * task.checkpointSeconds;
    this.#memoryLimit = task.memoryBytes + idleBytes;
  }

  observeStep(step: Extract<FromProcess, { kind: "step" }>["step"]): void {
    const message: FromProcess = { kind: "step", step };
    if (systemClock.now() - this.#reported < stepReportMs) {
      this.#waiting = message;
      return;
    }
    this.#post(message);
    this.#reported = systemClock.now();
    this.#waiting = undefined;
  }

  observeEpoch(report: EpochReport): void {
    const message: FromProcess = { kind: "epoch", epoch: toEpoch(report) };
    if (report.epoch > epochsToldEach && systemClock.now() - this.#epochReported < epochReportMs) {
      this.#waitingEpoch = message;
      return;
    }
    this.#post(message);
    this.#epochReported = systemClock.now();
    this.#waitingEpoch = undefined;
  }

  betweenSteps(): Promise<void> | undefined {
    const now = systemClock.now();
    if (now > this.#deadlineMs) {
      this.#limits.cancel(tooLong());
      return undefined;
    }
    if (now - this.#looked > memoryLookMs) {
      this.#looked = now;
      const rss = process.memoryUsage.rss();
      if (rss > this.#memoryLimit) {
        this.#limits.cancel(
          resourceExhausted(
            `training takes ${megabytes(rss)} MB of memory; ${megabytes(this.#memoryLimit)} MB are allowed (limits.max_memory_bytes, --training_memory_bytes)`,
          ),
        );
        return undefined;
      }
    }
    // Whoever is told to stop leaves a checkpoint, so that training can go on from here.
    if (this.#outer.reason !== undefined || now >= this.#checkpointAt) return this.checkpoint();
    const worked = now - this.#breathed;
    if (this.#task.cpuShare < 1 && worked > breathMs) return this.#breathe(worked);
    return undefined;
  }

  async checkpoint(): Promise<void> {
    for (const waiting of [this.#waiting, this.#waitingEpoch]) if (waiting !== undefined) this.#post(waiting);
    this.#waiting = undefined;
    this.#waitingEpoch = undefined;
    const now = systemClock.now();
    await writeDurably(this.#task.checkpointFile, this.#trainer.checkpoint());
    this.#post({ kind: "checkpoint", step: this.#trainer.stepsDone, seconds: (now - this.#checkpointed) / 1000 });
    this.#checkpointed = now;
    const written = systemClock.now();
    // However often they are asked for, checkpoints take no more time than training does.
    this.#checkpointAt = written + Math.max(1000 * this.#task.checkpointSeconds, written - now);
  }

  async #breathe(workedMs: number): Promise<void> {
    await delay(workedMs * (1 / this.#task.cpuShare - 1));
    this.#breathed = systemClock.now();
  }
}

/** What Node and onnxruntime take by themselves, generously. */
const idleBytes = 400 * 2 ** 20;
const megabytes = (bytes: number): number => Math.round(bytes / 2 ** 20);

function toEpoch({ validation, ...epoch }: EpochReport): Extract<FromProcess, { kind: "epoch" }>["epoch"] {
  // Without the labels, which the job's evaluation has: an epoch is told often.
  return validation === undefined ? epoch : { ...epoch, validation: jobEvaluation(validation, undefined) };
}
