// One job on its way from PENDING to its end. Every state is on disk before what it stands for begins, so that each can be
// entered again after a crash: training goes on from a checkpoint, and a version is published once.
import { copyFile, cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import type { PublishedVersion, ServableLender, UnavailableModel, VersionStatus } from "../../serving/index.js";
import { listVersions } from "../../serving/index.js";
import { Code, cancelled, errorMessage, failedPrecondition, internal, notFound, StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { judgeCandidate } from "./gate.js";
import type { Job } from "./job.js";
import { deadlineGraceMs, tooLong } from "./job-deadline.js";
import { originFile } from "./job-folder.js";
import type { JobSpec } from "./job-spec.js";
import type { LiveJob } from "./live-job.js";
import type { FromProcess, LastMessage, TrainTask } from "./process-messages.js";
import type { TrainingJobsOptions } from "./training-jobs-options.js";
import { TrainingProcess } from "./training-process.js";

/** What training needs of the models that are served. */
export interface TrainedModels extends ServableLender {
  /** Where new versions of a model go. Errors: INVALID_ARGUMENT, FAILED_PRECONDITION where there is no such place. */
  publicationPath(name: string): string;
  publish(
    name: string,
    version: bigint | undefined,
    write: (directory: string) => Promise<void>,
  ): Promise<PublishedVersion>;
  /** Resolves when each version that is wanted answers, or has failed. */
  refresh(name: string, cancellation: Cancellation): Promise<readonly UnavailableModel[]>;
  getModelStatus(name: string, version?: bigint): readonly VersionStatus[];
}

export interface JobRunnerDeps {
  readonly models: TrainedModels;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Set once the server closes: then a job is left as it is, to be taken up at the next start. */
  readonly closing: Cancellation;
}

const defaultCheckpointSeconds = 10;
/** Node's timers go no further: some 24 days. */
const maxTimerMs = 2 ** 31;

export class JobRunner {
  readonly #options: TrainingJobsOptions;
  readonly #deps: JobRunnerDeps;

  constructor(options: TrainingJobsOptions, deps: JobRunnerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** What a job's weights, activations and rows may take. */
  memoryBytes({ limits }: JobSpec): number {
    return Math.min(limits.maxMemoryBytes ?? Infinity, this.#options.memoryBytes);
  }

  /** To the job's end, or to where the server closes. Never rejects. */
  async run(live: LiveJob): Promise<void> {
    const { logger, clock, closing } = this.#deps;
    try {
      const { state } = live.job;
      if (state === "PENDING") await live.enter("RUNNING", { started: clock.wallTime() });
      else {
        live.change({ resumptions: live.job.resumptions + 1 });
        await live.save();
        await live.tellState();
        logger.info("a training job is taken up again", { job: live.id, state });
      }
      if (state === "PUBLISHING") await this.#publish(live);
      else await this.#train(live);
    } catch (error) {
      if (closing.reason !== undefined) return;
      await this.#fail(live, error);
    }
    if (live.ended) await this.tidy(live);
  }

  async endCancelled(live: LiveJob): Promise<void> {
    const { code, message } = cancelled("cancelled");
    await live.enter("CANCELLED", { error: { code, message } });
    await this.tidy(live);
  }

  /** A candidate that was held back. What hinders it leaves the job as it was. Errors: as publishing. */
  async publishHeld(live: LiveJob): Promise<void> {
    const { state, error, ended } = live.job;
    try {
      await this.#publish(live);
    } catch (thrown) {
      if (this.#deps.closing.reason !== undefined) throw thrown;
      if (live.job.publishedVersion === undefined) {
        live.change({ ended });
        await live.enter(state, { error });
      } else await this.#fail(live, thrown);
      throw thrown;
    }
    await this.tidy(live);
  }

  async #train(live: LiveJob): Promise<void> {
    let messages: Promise<void> = Promise.resolve();
    const { clock } = this.#deps;
    const task = await this.#taskOf(live);
    const process = new TrainingProcess(task, {
      clock,
      onMessage: (message) => {
        // In their order, each written before the next.
        messages = messages.then(() => this.#hear(live, message));
        messages.catch(() => process.kill());
      },
    });
    live.process = process;
    // Asked for while the process was being made ready, when there was nothing to stop.
    if (live.cancelled || this.#deps.closing.reason !== undefined) void process.stop();
    let late = false;
    const patienceMs = 1000 * task.secondsLeft + deadlineGraceMs;
    const timer =
      patienceMs < maxTimerMs
        ? clock.setTimer(patienceMs, () => {
            late = true;
            process.kill();
          })
        : undefined;
    let last: LastMessage;
    try {
      last = await process.ended;
    } finally {
      timer?.cancel();
      live.process = undefined;
      await messages;
    }
    if (late) throw tooLong();
    await this.#conclude(live, last);
  }

  async #hear(live: LiveJob, message: Exclude<FromProcess, LastMessage>): Promise<void> {
    switch (message.kind) {
      case "prepared": {
        const { plan, notices, drift, step } = message;
        if (live.job.plan === undefined) {
          live.change({ plan, notices, drift });
          await live.save();
          await live.tell({ kind: "planned", plan });
          const warnings = drift.flatMap(({ warnings }) => warnings);
          for (const text of [...notices, ...warnings]) await live.tell({ kind: "notice", text });
        } else if (step > 0) {
          await live.tell({ kind: "notice", text: `training goes on after step ${step}` });
        }
        return;
      }
      case "step":
        live.change({ step: message.step });
        return await live.tell(message);
      case "epoch":
        live.change({ epoch: message.epoch });
        return await live.tell(message);
      case "checkpoint":
        live.addSeconds(message.seconds);
        await live.save();
        return await live.tell({ kind: "checkpoint", step: message.step });
      case "notice":
        return await live.tell(message);
      case "trained": {
        const { end, reason } = message;
        if (reason !== "") await live.tell({ kind: "notice", text: reason });
        return await live.enter("EVALUATING", { end });
      }
    }
  }

  async #conclude(live: LiveJob, last: LastMessage): Promise<void> {
    if (live.cancelled) return await this.endCancelled(live);
    if (this.#deps.closing.reason !== undefined) return;
    if (last.kind === "failed") {
      const { code, message, stack } = last;
      if (stack !== undefined) this.#deps.logger.error("training failed on a defect", { job: live.id, stack });
      throw new StatusError(code, message);
    }
    if (last.kind !== "evaluated") throw internal("the training process stopped by itself");
    const { evaluation, baseEvaluation, candidate } = last;
    live.change({ evaluation, baseEvaluation });
    const verdict = judgeCandidate(live.job.spec.gate, evaluation, baseEvaluation);
    const diverged = live.job.end === "diverged";
    if (!candidate || !verdict.open || diverged) {
      const reason = !candidate
        ? "training diverged before the end of its first epoch; nothing is worth keeping"
        : verdict.open
          ? "training diverged; the candidate has the weights of the last epoch that was finite, and is not published by itself"
          : verdict.reason;
      return await live.fail(failedPrecondition(reason), { candidate: candidate && verdict.open });
    }
    live.change({ candidate: true });
    if (live.job.spec.hold) await live.enter("SUCCEEDED");
    else await this.#publish(live);
  }

  async #publish(live: LiveJob): Promise<void> {
    const { model, version } = live.job.spec;
    await live.enter("PUBLISHING", { error: undefined });
    if (live.job.publishedVersion === undefined) {
      const published = (await this.#alreadyPublished(live)) ?? (await this.#publishOnce(live, model, version));
      live.change({ publishedVersion: String(published), candidate: false });
      await live.save();
    }
    const published = BigInt(live.job.publishedVersion!);
    this.#deps.logger.info("a trained version is published", { model, version: String(published), job: live.id });
    const status = await this.#whenServed(model, published);
    if (status === undefined) {
      const text = `version ${published} is published; the version policy of ${model} does not serve it`;
      live.change({ notices: [...live.job.notices, text] });
      await live.tell({ kind: "notice", text });
    } else if (status.state !== "AVAILABLE") {
      const error = status.error ?? status.lastFailure ?? internal(`it is ${status.state}`);
      throw new StatusError(error.code, `version ${published} is published and cannot be served: ${error.message}`);
    }
    await live.enter("SUCCEEDED");
  }

  /** undefined: the model's version policy does not want it. */
  async #whenServed(model: string, version: bigint): Promise<VersionStatus | undefined> {
    const { models, closing } = this.#deps;
    await models.refresh(model, closing);
    try {
      return models.getModelStatus(model, version)[0];
    } catch (error) {
      if (error instanceof StatusError && error.code === Code.NOT_FOUND) return undefined;
      throw error;
    }
  }

  async #publishOnce(live: LiveJob, model: string, version: string | undefined): Promise<bigint> {
    const wanted = version === undefined ? undefined : BigInt(version);
    const { job, folder } = live;
    const baseFile = live.job.base === undefined ? undefined : await this.#baseFile(live).catch(() => undefined);
    const published = await this.#deps.models.publish(model, wanted, async (directory) => {
      if (baseFile !== undefined) await copyBeside(baseFile, directory);
      await copyFile(folder.candidate, join(directory, "model.onnx"));
      const origin = { job: job.id, ...lineageOf(job) };
      await writeFile(join(directory, originFile), `${JSON.stringify(origin, null, 1)}\n`);
    });
    return published.version;
  }

  /** What a publication left that was cut short after its version had appeared. */
  async #alreadyPublished(live: LiveJob): Promise<bigint | undefined> {
    const basePath = this.#deps.models.publicationPath(live.job.spec.model);
    const versions = await listVersions(basePath).catch(() => []);
    for (const { version, name } of versions) {
      const text = await readFile(join(basePath, name, originFile), "utf8").catch(() => undefined);
      if (text === undefined) continue;
      try {
        if ((JSON.parse(text) as { readonly job?: unknown }).job === live.id) return version;
      } catch {
        // Somebody else's file.
      }
    }
    return undefined;
  }

  async #taskOf(live: LiveJob): Promise<TrainTask> {
    const { job, folder } = live;
    const { maxSeconds, cpuShare } = this.#options;
    const allowed = Math.min(job.spec.limits.maxSeconds ?? Infinity, maxSeconds > 0 ? maxSeconds : Infinity);
    return {
      kind: "train",
      spec: job.spec,
      baseFile: job.base === undefined ? undefined : await this.#baseFile(live),
      dataFolder: folder.data,
      scratchFolder: folder.scratch,
      checkpointFile: folder.checkpoint,
      candidateFile: folder.candidate,
      memoryBytes: this.memoryBytes(job.spec),
      cpuShare,
      secondsLeft: Math.max(0, allowed - live.secondsTrained),
      checkpointSeconds: job.spec.limits.checkpointSeconds ?? defaultCheckpointSeconds,
      lineage: { job: job.id, ...lineageOf(job) },
    };
  }

  async #baseFile({ folder }: LiveJob): Promise<string> {
    const files = await readdir(folder.base);
    const name = files.includes("model.onnx") ? "model.onnx" : files.find((file) => file.endsWith(".onnx"));
    if (name === undefined) throw notFound("the copy of the base is gone");
    return join(folder.base, name);
  }

  async #fail(live: LiveJob, thrown: unknown): Promise<void> {
    const { logger } = this.#deps;
    const error = thrown instanceof StatusError ? thrown : internal(errorMessage(thrown));
    if (!(thrown instanceof StatusError))
      logger.error("a training job failed on a defect", { job: live.id, error: thrown });
    try {
      await live.fail(error);
    } catch {
      // The disk does not take it, perhaps for the job's own data, which nobody needs any more.
      await this.tidy(live);
      await live.fail(error).catch((unwritten: unknown) => {
        logger.error("a training job's end cannot be written", { job: live.id, reason: errorMessage(unwritten) });
      });
      // Whoever asks is told all the same.
      await live.log.complete();
    }
  }

  /** Removes what only training needed. What cannot be removed is logged, and tried again at the next start. */
  async tidy({ id, folder, job }: LiveJob): Promise<void> {
    const gone = [folder.data, folder.checkpoint, folder.scratch];
    if (!job.candidate) gone.push(folder.base);
    for (const path of gone) {
      await rm(path, { recursive: true, force: true }).catch((error: unknown) => {
        this.#deps.logger.error("what a training job needed cannot be removed", {
          ...{ job: id, path, reason: errorMessage(error) },
        });
      });
    }
  }
}

/** Where a version comes from; written into its file and beside it. */
function lineageOf({ spec, data, base, created }: Job): Record<string, unknown> {
  return {
    created: new Date(created).toISOString(),
    data_sha256: data.sha256,
    data_rows: data.rows,
    seed: spec.training.seed,
    ...(base && { base_model: base.model, base_version: base.version }),
    ...(Object.keys(spec.tags).length > 0 && { tags: spec.tags }),
  };
}

/** What lies beside the base's model file goes with the new version: external data, labels, signatures, warm-up requests. */
async function copyBeside(baseFile: string, directory: string): Promise<void> {
  const folder = join(baseFile, "..");
  const left = new Set([basename(baseFile), originFile]);
  await cp(folder, directory, { recursive: true, filter: (source) => !left.has(source.slice(folder.length + 1)) });
}
