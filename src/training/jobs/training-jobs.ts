import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { type Cancellation, CancellationSource, eitherCancelled, orCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import {
  aborted,
  alreadyExists,
  errorMessage,
  failedPrecondition,
  invalidArgument,
  notFound,
  resourceExhausted,
  unavailable,
} from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { copyBase } from "./copy-base.js";
import { DataSetWriter } from "./data-set-writer.js";
import { EventLog } from "./event-log.js";
import { FolderLock } from "./folder-lock.js";
import { hasEnded, type Job, type JobEvent, type JobPlan, type JobState } from "./job.js";
import type { JobFolder } from "./job-folder.js";
import { JobRunner, type TrainedModels } from "./job-runner.js";
import type { JobSpec } from "./job-spec.js";
import { JobStore } from "./job-store.js";
import { LiveJob } from "./live-job.js";
import { SideTasks } from "./side-tasks.js";
import { type TrainingJobsOptions, validateTrainingJobsOptions } from "./training-jobs-options.js";
import type {
  DataIntake,
  DataPiece,
  EvaluationReport,
  EvaluationRequest,
  JobFilter,
  JobPlace,
  JobRequest,
  TrainingService,
} from "./training-service.js";
import { validateJobSpec } from "./validate-job-spec.js";

export interface TrainingJobsDeps {
  readonly models: TrainedModels;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Training on this machine. Jobs are directories and outlive the server: what was waiting waits again at the next start,
 * what was training goes on from its last checkpoint, and what was being published is published once.
 */
export class TrainingJobs implements TrainingService {
  readonly #options: TrainingJobsOptions;
  readonly #deps: TrainingJobsDeps;
  readonly #store: JobStore;
  readonly #lock: FolderLock;
  readonly #runner: JobRunner;
  /** Oldest first. */
  readonly #jobs = new Map<string, LiveJob>();
  readonly #keys = new Map<string, LiveJob>();
  /** Idempotency keys of calls that are sending their data. */
  readonly #receiving = new Set<string>();
  /** In the order of their turns. */
  readonly #waiting: LiveJob[] = [];
  readonly #training = new Set<LiveJob>();
  readonly #closing = new CancellationSource();
  readonly #sideTasks: SideTasks;
  #started = false;

  /** Reads what jobs there are. Throws FAILED_PRECONDITION when another server has the folder. */
  static async open(
    given: Pick<TrainingJobsOptions, "trainingDir"> & Partial<TrainingJobsOptions>,
    deps: TrainingJobsDeps,
  ): Promise<TrainingJobs> {
    const options = validateTrainingJobsOptions(given);
    await mkdir(options.trainingDir, { recursive: true });
    const lock = new FolderLock(options.trainingDir);
    try {
      const store = await JobStore.open(options.trainingDir, deps.logger);
      const jobs = new TrainingJobs(options, deps, store, lock);
      for (const stored of await store.load()) {
        const { id, state } = stored.job;
        const log = await EventLog.open(store.folderOf(id).events, hasEnded(state));
        const live = new LiveJob(stored, log, { store, clock: deps.clock });
        jobs.#remember(live);
        if (live.ended) {
          await live.tellEnd();
          await jobs.#runner.tidy(live);
        } else jobs.#waiting.push(live);
      }
      return jobs;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(options: TrainingJobsOptions, deps: TrainingJobsDeps, store: JobStore, lock: FolderLock) {
    this.#options = options;
    this.#deps = deps;
    this.#store = store;
    this.#lock = lock;
    this.#runner = new JobRunner(options, { ...deps, closing: this.#closing });
    this.#sideTasks = new SideTasks(deps.clock, this.#closing);
  }

  /** Takes up what was left, and what comes from now on. */
  start(): void {
    this.#started = true;
    // Those that had begun go first.
    this.#waiting.sort((a, b) => Number(a.job.state === "PENDING") - Number(b.job.state === "PENDING"));
    this.#schedule();
  }

  /** What trains leaves a checkpoint and stops; it goes on at the next start. Resolves when all processes are gone. */
  async close(): Promise<void> {
    this.#closing.cancel(unavailable("the server is closing"));
    const processes = [...this.#training].flatMap(({ process }) => process ?? []);
    await Promise.all([this.#sideTasks.stop(), ...processes.map((process) => process.stop())]);
    await Promise.allSettled([...this.#jobs.values()].map(({ running }) => running));
    await Promise.all([...this.#jobs.values()].map(({ log }) => log.close()));
    this.#lock.release();
  }

  /** How many jobs are in each state. */
  counts(): ReadonlyMap<JobState, number> {
    const counts = new Map<JobState, number>();
    for (const { job } of this.#jobs.values()) counts.set(job.state, (counts.get(job.state) ?? 0) + 1);
    return counts;
  }

  existing({ spec, idempotencyKey }: JobRequest): Job | undefined {
    validateJobSpec(spec);
    if (idempotencyKey === "") return undefined;
    const known = this.#keys.get(idempotencyKey)?.job;
    if (known !== undefined && JSON.stringify(known.spec) !== JSON.stringify(spec)) {
      throw alreadyExists(`idempotency_key "${idempotencyKey}" is that of job ${known.id}, which has another spec`);
    }
    return known;
  }

  async receive(request: JobRequest): Promise<DataIntake> {
    const { spec, idempotencyKey } = request;
    this.#requireOpen();
    requireKey(idempotencyKey);
    if (this.existing(request) !== undefined) throw alreadyExists(`there is a job for "${idempotencyKey}" already`);
    // Refused before any data are sent for nothing.
    this.#deps.models.publicationPath(spec.model);
    this.#requireRoom();
    if (idempotencyKey !== "") {
      if (this.#receiving.has(idempotencyKey)) {
        throw aborted(`another call with idempotency_key "${idempotencyKey}" is sending its data`);
      }
      this.#receiving.add(idempotencyKey);
    }
    try {
      const folder = await this.#store.makeIntake();
      try {
        return await this.#makeIntake(folder, request);
      } catch (error) {
        await rm(folder.path, { recursive: true, force: true });
        throw error;
      }
    } catch (error) {
      this.#receiving.delete(idempotencyKey);
      throw error;
    }
  }

  get(id: string): Job {
    return this.#find(id).job;
  }

  list({ model, states }: JobFilter): readonly Job[] {
    return [...this.#jobs.values()]
      .map(({ job }) => job)
      .filter(
        (job) => (model === "" || job.spec.model === model) && (states.length === 0 || states.includes(job.state)),
      )
      .reverse();
  }

  queuePosition(id: string): number {
    return Math.max(0, this.#waiting.indexOf(this.#find(id)));
  }

  places(ids: readonly string[]): readonly JobPlace[] {
    return ids.map((id) => {
      const live = this.#jobs.get(id);
      if (live === undefined) return { queuePosition: 0, lastEvent: 0 };
      return { queuePosition: this.queuePosition(id), lastEvent: live.log.last };
    });
  }

  watch(id: string, from: number, cancellation: Cancellation): AsyncIterable<JobEvent> {
    return this.#find(id).log.watch(Math.max(1, from), eitherCancelled(cancellation, this.#closing));
  }

  async cancel(id: string, cancellation: Cancellation): Promise<Job> {
    const live = this.#find(id);
    const { state } = live.job;
    if (live.ended || state === "PUBLISHING") {
      throw failedPrecondition(`job ${id} is ${state} and cannot be cancelled any more`);
    }
    live.cancelled = true;
    const place = this.#waiting.indexOf(live);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      await this.#runner.endCancelled(live);
      return live.job;
    }
    void live.process?.stop();
    await orCancelled(live.running ?? Promise.resolve(), cancellation);
    if (live.job.state !== "CANCELLED") {
      throw failedPrecondition(`job ${id} is ${live.job.state} and cannot be cancelled any more`);
    }
    return live.job;
  }

  async delete(id: string): Promise<void> {
    const live = await this.#findAtRest(id);
    if (!live.ended) {
      throw failedPrecondition(`job ${id} is ${live.job.state}; only jobs that have ended can be deleted`);
    }
    await this.#forget(live);
  }

  async publish(id: string, cancellation: Cancellation): Promise<Job> {
    this.#requireOpen();
    const live = await this.#findAtRest(id);
    if (!live.ended || !live.job.candidate) {
      const { state, publishedVersion, error } = live.job;
      const reason = publishedVersion !== undefined ? `; it was published as version ${publishedVersion}` : "";
      throw failedPrecondition(
        `job ${id} is ${state} and has no candidate that could be published${reason}${error ? `: ${error.message}` : ""}`,
      );
    }
    live.running = this.#runner.publishHeld(live).finally(() => {
      live.running = undefined;
    });
    await orCancelled(live.running, cancellation);
    return live.job;
  }

  async evaluate(
    request: EvaluationRequest,
    data: readonly DataPiece[],
    cancellation: Cancellation,
  ): Promise<EvaluationReport> {
    this.#requireOpen();
    const folder = await this.#store.makeIntake();
    try {
      const base = await copyBase(this.#deps.models, request.model, folder);
      const writer = await this.#openWriter(folder);
      for (const piece of data) await writer.add("train", piece);
      await writer.finish();
      const { memoryBytes } = this.#options;
      const last = await this.#sideTasks.run(
        {
          kind: "evaluate",
          request,
          baseFile: base.file,
          dataFolder: folder.data,
          scratchFolder: folder.scratch,
          memoryBytes,
        },
        cancellation,
      );
      const { evaluation, drift } = last;
      return { model: base.model, version: base.version, evaluation, drift };
    } finally {
      await rm(folder.path, { recursive: true, force: true });
    }
  }

  async #makeIntake(folder: JobFolder, request: JobRequest): Promise<DataIntake> {
    const { spec, idempotencyKey } = request;
    const { start } = spec;
    const base =
      start.kind === "fine-tune" || start.kind === "update"
        ? await copyBase(this.#deps.models, { ...start.base, name: start.base.name || spec.model }, folder)
        : undefined;
    const writer = await this.#openWriter(folder);
    const forget = () => this.#receiving.delete(idempotencyKey);
    let open = true;
    return {
      add: (role, piece) => writer.add(role, piece),
      commit: async () => {
        const data = await writer.finish();
        this.#requireOpen();
        this.#requireRoom();
        const job: Job = {
          id: this.#newId(),
          state: "PENDING",
          spec,
          idempotencyKey,
          created: this.#deps.clock.wallTime(),
          drift: [],
          notices: [],
          data,
          base: base && { model: base.model, version: String(base.version) },
          candidate: false,
          resumptions: 0,
        };
        const stored = { format: 1, job, secondsTrained: 0 } as const;
        await this.#store.admit(folder, stored);
        open = false;
        forget();
        const log = await EventLog.open(this.#store.folderOf(job.id).events, false);
        const live = new LiveJob(stored, log, { store: this.#store, clock: this.#deps.clock });
        this.#remember(live);
        await live.tellState();
        this.#waiting.push(live);
        this.#schedule();
        return live.job;
      },
      plan: async (cancellation) => {
        await writer.finish();
        return await this.#plan(spec, base?.file, folder, cancellation);
      },
      discard: async () => {
        if (!open) return;
        open = false;
        forget();
        await writer.close();
        await rm(folder.path, { recursive: true, force: true });
      },
    };
  }

  async #openWriter(folder: JobFolder): Promise<DataSetWriter> {
    const { dataDir, maxDataBytes } = this.#options;
    await mkdir(folder.data);
    return new DataSetWriter({ folder: folder.data, trainingDataDir: dataDir, maxBytes: maxDataBytes });
  }

  async #plan(
    spec: JobSpec,
    baseFile: string | undefined,
    folder: JobFolder,
    cancellation: Cancellation,
  ): Promise<JobPlan> {
    const last = await this.#sideTasks.run(
      {
        kind: "plan",
        spec,
        baseFile,
        dataFolder: folder.data,
        scratchFolder: folder.scratch,
        memoryBytes: this.#runner.memoryBytes(spec),
      },
      cancellation,
    );
    return last.plan;
  }

  #schedule(): void {
    if (!this.#started || this.#closing.reason !== undefined) return;
    while (this.#training.size < this.#options.concurrency) {
      const live = this.#waiting.shift();
      if (live === undefined) return;
      this.#training.add(live);
      live.running = this.#runner.run(live).finally(() => {
        live.running = undefined;
        this.#training.delete(live);
        void this.#dropOldest();
        this.#schedule();
      });
    }
  }

  async #dropOldest(): Promise<void> {
    const ended = [...this.#jobs.values()].filter((live) => live.ended && live.running === undefined);
    for (const live of ended.slice(0, Math.max(0, ended.length - this.#options.maxEnded))) {
      // Deleted, or being published, since the one before was removed.
      if (this.#jobs.get(live.id) !== live || !live.ended || live.running !== undefined) continue;
      await this.#forget(live).catch((error) =>
        this.#deps.logger.error("an old job cannot be removed", { job: live.id, reason: errorMessage(error) }),
      );
    }
  }

  #remember(live: LiveJob): void {
    this.#jobs.set(live.id, live);
    const { idempotencyKey } = live.job;
    if (idempotencyKey !== "") this.#keys.set(idempotencyKey, live);
  }

  async #forget(live: LiveJob): Promise<void> {
    this.#jobs.delete(live.id);
    this.#keys.delete(live.job.idempotencyKey);
    await live.log.close();
    await this.#store.remove(live.id);
  }

  #find(id: string): LiveJob {
    const live = this.#jobs.get(id);
    if (live === undefined) throw notFound(`there is no job "${id}"`);
    return live;
  }

  /** Not in the moment between a job's end, which clients have seen, and the end of the work for it. */
  async #findAtRest(id: string): Promise<LiveJob> {
    const live = this.#find(id);
    while (live.ended && live.running !== undefined) await live.running.catch(() => {});
    return this.#find(id);
  }

  #requireRoom(): void {
    const { maxQueue, concurrency } = this.#options;
    const free = Math.max(0, concurrency - this.#training.size);
    if (this.#waiting.length < maxQueue + free) return;
    throw resourceExhausted(`${this.#waiting.length} jobs are waiting, as many as --training_queue=${maxQueue} allows`);
  }

  #requireOpen(): void {
    if (this.#closing.reason !== undefined) throw this.#closing.reason;
  }

  /** Sorts by time of creation, and is a name on every file system. */
  #newId(): string {
    const time = new Date(this.#deps.clock.wallTime()).toISOString().replaceAll(/[-:]|\..*/g, "");
    return `${time.replace("T", "-")}-${randomBytes(4).toString("hex")}`;
  }
}

function requireKey(key: string): void {
  if (key.length > 128) throw invalidArgument(`idempotency_key has ${key.length} characters; 128 are allowed`);
}
