// The half of a server that decides which versions there are: the configuration and the files it follows. Where several
// processes serve together, one of them has this half and the others follow it.

import { resolve } from "node:path";
import type { ModelControl } from "./api/open-inference/model-control.js";
import { readWarmupRecord } from "./api/warmup-reader.js";
import type { Cancellation } from "./cancellation.js";
import type { Clock } from "./clock.js";
import type { Options } from "./config.js";
import { availableCpus, type ModelRuntime, SharedBatchScheduler } from "./runtime/index.js";
import {
  type BatchingParametersFile,
  createModelRepository,
  type FileSystemModelRepository,
  ModelConfigFilePoller,
  type ModelRepositoryContext,
  type ModelRepositoryOptions,
  type ModelServerConfig,
  type ReplicaSet,
  readBatchingParametersFile,
  readModelConfigFile,
  type ScheduledBatching,
  type ServedRepository,
  singleModelConfig,
  startupError,
  TritonConfigs,
  TritonRepository,
} from "./serving/index.js";
import { Code, invalidArgument } from "./status.js";
import type { Logger, Metrics } from "./telemetry/index.js";
import { TrainingJobs, TrainingOff, type TrainingService, trainedModelsFolder } from "./training/index.js";

export interface ModelKeeperDeps {
  readonly runtime: ModelRuntime;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly clock: Clock;
  /** What the file behind batching_parameters_file says. */
  readonly batching: BatchingParametersFile | undefined;
  /** Processes that serve what is decided here. Default: this one serves. */
  readonly replicas?: ReplicaSet;
}

/** What a server answers from. */
export interface ServerModels {
  readonly repository: ServedRepository;
  /** What clients may load and unload by; undefined: models come and go by configuration and by polling alone. */
  readonly control: ModelControl | undefined;
  /** What makes new versions, once open() has resolved. */
  readonly training: TrainingService;
  /** Before all else: reads what training jobs there are. */
  open(): Promise<void>;
  /**
   * Begins to load, and resolves once every model was tried: one bad model holds nobody back, unless TensorFlow Serving's
   * way was asked for, which is to reject then.
   * @param stopped ends the waiting
   */
  start(stopped: Cancellation): Promise<void>;
  /** From now on follows the configuration file and the directories of a Triton repository, and trains. */
  follow(): void;
  /** Looks for new versions now instead of at the next poll. */
  pollNow(): Promise<void>;
  /** The configuration stays as it is from now on, and what trains leaves a checkpoint and stops. */
  stopFollowing(): Promise<void>;
}

/** Undefined where batching is not by an operator's word, or all its parameters are the defaults. */
export async function readBatching({
  enable_batching: enabled,
  batching_parameters_file: path,
}: Options): Promise<BatchingParametersFile | undefined> {
  return enabled && path !== "" ? await readBatchingParametersFile(path) : undefined;
}

export class ModelKeeper implements ServerModels {
  readonly repository: FileSystemModelRepository;
  readonly #options: Options;
  readonly #deps: ModelKeeperDeps;
  readonly #triton: TritonRepository | undefined;
  #configPoller: ModelConfigFilePoller | undefined;
  /** undefined: training is off. */
  #jobs: TrainingJobs | undefined;

  constructor(options: Options, deps: ModelKeeperDeps) {
    this.#options = options;
    this.#deps = deps;
    const { clock, logger } = deps;
    const configs = tritonConfigs(options);
    this.repository = createModelRepository(repositoryOptions(options, configs, deps), repositoryContext(deps));
    this.#triton = configs && makeTritonRepository(options, { configs, repository: this.repository, clock, logger });
  }

  get control(): ModelControl | undefined {
    return this.#options.model_control_mode === "explicit" ? this.#triton : undefined;
  }

  get training(): TrainingService {
    return this.#jobs ?? new TrainingOff(trainingIsOff);
  }

  async open(): Promise<void> {
    const { logger, clock, metrics } = this.#deps;
    const options = trainingOptions(this.#options);
    if (options !== undefined) {
      const jobs = await TrainingJobs.open(options, { models: this.repository, logger, clock });
      this.#jobs = jobs;
      metrics.readTrainingJobs(() => jobs.counts());
    }
  }

  async start(stopped: Cancellation): Promise<void> {
    const { repository } = this;
    const { clock, logger } = this.#deps;
    repository.start(await this.#firstConfig());
    if (this.#options.strict_startup) {
      const failed = await repository.firstSettled(stopped);
      if (failed.length > 0) throw startupError(failed);
      return;
    }
    const patience = clock.now() + this.#options.startup_wait_ms;
    while (!repository.settled() && stopped.reason === undefined && clock.now() < patience) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const { name, sourceError } of repository.listModels()) {
      if (sourceError !== "") logger.error("a model cannot be served", { model: name, reason: sourceError });
    }
  }

  follow(): void {
    const { model_config_file: path, model_config_file_poll_wait_seconds: pollWaitSeconds } = this.#options;
    const { logger, clock } = this.#deps;
    if (path !== "") {
      const apply = (config: ModelServerConfig) => this.repository.applyConfig(config);
      this.#configPoller = new ModelConfigFilePoller({ path, pollWaitSeconds, apply, logger, clock });
      this.#configPoller.start();
    }
    this.#triton?.start();
    this.#jobs?.start();
  }

  pollNow(): Promise<void> {
    return this.#triton?.controlMode === "poll" ? this.#triton.poll() : this.repository.poll();
  }

  async stopFollowing(): Promise<void> {
    await Promise.all([this.#configPoller?.close(), this.#triton?.close(), this.#jobs?.close()]);
  }

  async #firstConfig(): Promise<ModelServerConfig> {
    const { model_config_file: path, model_name: name, model_base_path: basePath } = this.#options;
    if (this.#triton !== undefined) return await this.#triton.firstConfig();
    if (path !== "") return await readModelConfigFile(path);
    if (basePath !== "") return singleModelConfig(name, basePath);
    if (this.#jobs !== undefined) return { kind: "model_config_list", models: [] };
    throw invalidArgument("Both server_options.model_base_path and server_options.model_config_file are empty!");
  }
}

const trainingIsOff =
  "training is off on this server; it is turned on with --training_dir, a folder for jobs and new models";

/** undefined: training is off. */
function trainingOptions(options: Options): Parameters<typeof TrainingJobs.open>[0] | undefined {
  const { training_dir: trainingDir, training_data_dir: dataDir } = options;
  if (trainingDir === "") return undefined;
  return {
    trainingDir: resolve(trainingDir),
    dataDir: dataDir === "" ? undefined : resolve(dataDir),
    concurrency: options.training_concurrency,
    maxQueue: options.training_queue,
    memoryBytes: options.training_memory_bytes,
    maxSeconds: options.training_max_seconds,
    maxDataBytes: options.training_max_data_bytes,
    cpuShare: options.training_cpu_share,
  };
}

/** undefined: the models do not lie in a Triton repository. */
export function tritonConfigs(options: Options): TritonConfigs | undefined {
  return options.model_repository === "" ? undefined : new TritonConfigs();
}

function makeTritonRepository(
  options: Options,
  context: ConstructorParameters<typeof TritonRepository>[1],
): TritonRepository {
  const names = (text: string) => text.split(",").filter((name) => name !== "");
  return new TritonRepository(
    {
      directories: names(options.model_repository),
      controlMode: options.model_control_mode,
      loadModels: names(options.load_model),
      pollSeconds: options.repository_poll_secs,
    },
    context,
  );
}

export function repositoryOptions(
  options: Options,
  triton: TritonConfigs | undefined,
  { batching, metrics, clock }: Pick<ModelKeeperDeps, "batching" | "metrics" | "clock">,
): Partial<ModelRepositoryOptions> {
  return {
    // Control by poll has a clock of its own; otherwise nothing is looked at unless somebody asks.
    fileSystemPollWaitSeconds: triton === undefined ? options.file_system_poll_wait_seconds : 0,
    triton,
    trainedModelsFolder: options.training_dir === "" ? undefined : trainedModelsFolder(resolve(options.training_dir)),
    fileQuietPeriodMs: options.file_quiet_period_ms,
    numLoadThreads: options.num_load_threads,
    // Who asked for a load hears of its failure, and may ask again.
    maxNumLoadRetries: options.model_control_mode === "explicit" ? 0 : options.max_num_load_retries,
    loadRetryIntervalMicros: options.load_retry_interval_micros,
    allowVersionLabelsForUnavailableModels: options.allow_version_labels_for_unavailable_models,
    warmupIterations: options.enable_model_warmup ? Math.max(1, options.num_request_iterations_for_warmup) : 0,
    batching: options.batching === "auto" ? { maxQueue: options.max_queued_calls } : undefined,
    scheduledBatching: options.enable_batching ? scheduledBatching(options, batching, { metrics, clock }) : undefined,
    sessionOptions: {
      maxQueue: options.max_queued_calls,
      ...(options.session_pool_size > 0 && { poolSize: options.session_pool_size }),
      ...(options.tensorflow_intra_op_parallelism > 0 && {
        intraOpThreads: options.tensorflow_intra_op_parallelism,
      }),
    },
  };
}

function scheduledBatching(
  options: Options,
  file: BatchingParametersFile | undefined,
  { metrics, clock }: Pick<ModelKeeperDeps, "metrics" | "clock">,
): ScheduledBatching {
  const { parameters = {}, numBatchThreads = availableCpus() } = file ?? {};
  return {
    scheduler: new SharedBatchScheduler({ numBatchThreads, clock }),
    parameters: options.enable_per_model_batching_parameters ? undefined : parameters,
    onBatch: (report) => metrics.observeBatch(report),
  };
}

export function repositoryContext({
  runtime,
  metrics,
  logger,
  clock,
  replicas,
}: Omit<ModelKeeperDeps, "batching">): ModelRepositoryContext {
  return {
    ...(replicas && { replicas }),
    runtime,
    logger,
    clock,
    readWarmupRecord,
    onWarmup: (warmup) => metrics.observeWarmup(warmup),
    onLoggedRequest: (model, code) => metrics.countLoggedRequest(model, code),
    onLoadAttempt: ({ id, path, seconds, error }) =>
      metrics.observeLoad({ model: id.name, version: id.version, path, code: error?.code ?? Code.OK, seconds }),
  };
}
