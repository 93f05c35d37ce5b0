import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { type CountedModelRuntime, createModelRuntime } from "../../src/runtime/index.js";
import { createModelRepository, type FileSystemModelRepository, type ModelConfig } from "../../src/serving/index.js";
import {
  type Job,
  type JobSpec,
  TrainingJobs,
  type TrainingJobsOptions,
  trainedModelsFolder,
} from "../../src/training/index.js";
import { LogRecorder } from "./log-recorder.js";

/** A repository and the training that publishes to it, on a folder of their own, to be closed and opened again. */
export class TrainingHost implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "onnxd-training-"));
  readonly log = new LogRecorder();
  repository!: FileSystemModelRepository;
  jobs!: TrainingJobs;
  #runtime!: CountedModelRuntime;
  readonly #options: Partial<TrainingJobsOptions>;
  readonly #models: readonly ModelConfig[];

  private constructor(options: Partial<TrainingJobsOptions>, models: readonly ModelConfig[]) {
    this.#options = options;
    this.#models = models;
  }

  static async open(
    options: Partial<TrainingJobsOptions> = {},
    models: readonly ModelConfig[] = [],
  ): Promise<TrainingHost> {
    const host = new TrainingHost(options, models);
    await host.reopen();
    return host;
  }

  async reopen({ start = true }: { readonly start?: boolean } = {}): Promise<void> {
    const shared = { clock: systemClock, logger: this.log };
    this.#runtime = createModelRuntime({}, shared);
    this.repository = createModelRepository(
      { fileQuietPeriodMs: 0, trainedModelsFolder: trainedModelsFolder(this.folder) },
      { ...shared, runtime: this.#runtime },
    );
    this.repository.start({ kind: "model_config_list", models: this.#models });
    await this.repository.firstSettled(neverCancelled);
    this.jobs = await TrainingJobs.open(
      { trainingDir: this.folder, ...this.#options },
      { ...shared, models: this.repository },
    );
    if (start) this.jobs.start();
  }

  /** Queues a job on CSV text. */
  async submit(spec: JobSpec, csv: string, idempotencyKey = ""): Promise<Job> {
    const intake = await this.jobs.receive({ spec, idempotencyKey });
    try {
      await intake.add("train", { kind: "csv", bytes: Buffer.from(csv) });
      return await intake.commit();
    } finally {
      await intake.discard();
    }
  }

  /** The job once it has ended. */
  async ended(id: string): Promise<Job> {
    for await (const _ of this.jobs.watch(id, 1, neverCancelled));
    return this.jobs.get(id);
  }

  /** As a server does at SIGTERM. */
  async close(): Promise<void> {
    await this.jobs.close();
    await this.repository.close();
    await this.#runtime.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
