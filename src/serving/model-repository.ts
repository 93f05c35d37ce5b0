import { type Cancellation, neverCancelled, orCancelled } from "../cancellation.js";
import { type Clock, systemClock } from "../clock.js";
import { availableCpus, type ModelRuntime } from "../runtime/index.js";
import {
  Code,
  errorMessage,
  failedPrecondition,
  invalidArgument,
  notFound,
  type StatusError,
  unavailable,
} from "../status.js";
import { type Logger, type SessionLoad, silentLogger } from "../telemetry/index.js";
import { availabilityPreserving } from "./lifecycle/aspired-version-policy.js";
import { AspiredVersionsManager } from "./lifecycle/aspired-versions-manager.js";
import { FileSystemSource } from "./lifecycle/file-system-source.js";
import type { LoadAttempt } from "./lifecycle/loader-harness.js";
import { OnnxLoader, type WarmupOutcome } from "./lifecycle/onnx-loader.js";
import { ServableStateMonitor } from "./lifecycle/servable-state-monitor.js";
import { type ConfiguredModel, compareConfigs, type ModelServerConfig, validateModelConfigs } from "./model-config.js";
import { type ModelRepositoryOptions, validateModelRepositoryOptions } from "./model-repository-options.js";
import type { ModelStatus, VersionStatus } from "./model-status.js";
import { ReadableRepository } from "./readable-repository.js";
import type { ReplicaSet } from "./replication/replica-set.js";
import { ReplicatedLoader } from "./replication/replicated-loader.js";
import { RequestLogs } from "./request-log.js";
import { loadOf, type ModelSpec, type ServableHandle } from "./servable.js";
import { TrainedModels } from "./trained-models.js";
import { didNotBecomeAvailable, type UnavailableModel } from "./unavailable-model.js";
import { type PublishedVersion, publishVersion } from "./version-directory.js";
import type { WarmupOptions } from "./warmup.js";

/** All models of this server: the facade that every door speaks to (TensorFlow Serving's ServerCore). */
export interface ModelRepository {
  /**
   * The version a request means, held until the handle is disposed. Errors, in this order: INVALID_ARGUMENT
   * `ModelSpec has no name specified.`; `Unrecognized servable version label: {label}`; NOT_FOUND
   * `Servable not found for request: Latest({name})` or `… Specific({name}, {version})`.
   */
  getServableHandle(spec: ModelSpec): ServableHandle;
  /**
   * From the largest version to the smallest. NOT_FOUND `Could not find any versions of model {name}` or
   * `Could not find version {v} of model {name}`.
   */
  getModelStatus(name: string, version?: bigint): readonly VersionStatus[];
  /** In the order of names; models that are configured but have no version yet included. */
  listModels(): readonly ModelStatus[];
  getModel(name: string): ModelStatus | undefined;
  /** Calls back after each change of any version's state, after it has become visible above. Returns the undo. */
  onStateChange(listener: (name: string, status: VersionStatus) => void): () => void;
  /**
   * True once every configured model has a version that is AVAILABLE or has failed, or has been found to have none to
   * serve: what readiness waits for. A model that failed once and is still being retried counts as failed.
   */
  settled(): boolean;
  /**
   * Calls back whenever any of the above may say something new: after a state change, but also when the configuration
   * was replaced, or a base path looked at that has nothing to serve. Returns the undo.
   */
  onChange(listener: () => void): () => void;
}

/** A repository whose models can be replaced while it serves. */
export interface ConfigurableModelRepository extends ModelRepository {
  /**
   * Replaces the whole configuration: models and labels that it does not name are gone. One reload at a time; others
   * wait. Resolves when every model that is new has a version AVAILABLE; what changes of models that were there before is
   * not waited for. A refused configuration changes nothing.
   *
   * Errors: INVALID_ARGUMENT and FAILED_PRECONDITION as validateModelConfigs; UNKNOWN
   * `{k} model(s) did not become available: …` when a new model has failed or has nothing to load, while everything else
   * stays applied; the cancellation's reason, which ends the waiting and not the loading.
   */
  reloadConfig(config: ModelServerConfig, cancellation: Cancellation): Promise<void>;
}

/** A repository as a server has it: what its doors, its metrics and its end need. */
export interface ServedRepository extends ConfigurableModelRepository {
  /** Where a sample of the models' calls is written to. */
  readonly requestLogs: RequestLogs;
  /** How busy everything is that can answer at this moment: for metrics. */
  sessionLoads(): SessionLoad[];
  /** Handles that have not been returned, and versions that are in memory or on their way: both 0 after close. */
  readonly openHandles: number;
  readonly liveVersions: number;
  /**
   * Unloads everything; resolves when all handles are back and all sessions released.
   * @param cancellation ends the waiting
   */
  close(cancellation?: Cancellation): Promise<void>;
}

export interface ModelRepositoryContext {
  readonly runtime: ModelRuntime;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Told of every attempt to load: for metrics. */
  readonly onLoadAttempt?: (attempt: LoadAttempt) => void;
  /** Reads records of warm-up files. Default: such files are not looked for. */
  readonly readWarmupRecord?: WarmupOptions["readRecord"];
  readonly onWarmup?: (warmup: WarmupOutcome) => void;
  /** Told what became of every call that was to be logged: for metrics. */
  readonly onLoggedRequest?: (model: string, code: Code) => void;
  /** Other processes that serve what this repository decides on. Default: this process serves. */
  readonly replicas?: ReplicaSet;
}

export function createModelRepository(
  options: Partial<ModelRepositoryOptions>,
  context: ModelRepositoryContext,
): FileSystemModelRepository {
  return new FileSystemModelRepository(validateModelRepositoryOptions(options), context);
}

/** Serves what lies in the base paths of a configuration, and follows both. */
export class FileSystemModelRepository extends ReadableRepository implements ServedRepository {
  /** Where a sample of the models' calls is written to, as their configuration has it. */
  readonly requestLogs: RequestLogs;
  readonly #options: ModelRepositoryOptions;
  readonly #logger: Logger;
  protected readonly monitor: ServableStateMonitor;
  readonly #manager: AspiredVersionsManager;
  readonly #source: FileSystemSource;
  readonly #trained: TrainedModels;
  /** What was applied last, as it was given. */
  #given: ModelServerConfig = { kind: "none" };
  /** What had happened to versions of a model before it was configured, and so says nothing of it. */
  readonly #history = new Map<string, ReadonlySet<VersionStatus>>();
  /** Each looks at all models again whenever anything has changed. */
  readonly #waiting = new Set<() => void>();
  /** Resolves when the reloads that came before are over. */
  #reloads: Promise<void> = Promise.resolve();
  #started = false;
  #closed = false;

  constructor(options: ModelRepositoryOptions, context: ModelRepositoryContext) {
    super();
    const { runtime, logger, clock, onLoadAttempt, readWarmupRecord, onWarmup, onLoggedRequest, replicas } = context;
    this.#options = options;
    this.#logger = logger ?? silentLogger;
    const shared = { logger: this.#logger, clock: clock ?? systemClock };
    this.requestLogs = new RequestLogs({ ...shared, ...(onLoggedRequest && { onRecord: onLoggedRequest }) });
    this.#trained = new TrainedModels(options.trainedModelsFolder);
    const { warmupIterations: iterations } = options;
    const warmup = readWarmupRecord && iterations > 0 ? { readRecord: readWarmupRecord, iterations } : undefined;
    this.monitor = new ServableStateMonitor(this.#logger);
    this.monitor.onStateChange(() => this.#wake());
    this.#manager = new AspiredVersionsManager({
      ...shared,
      policy: availabilityPreserving,
      maxConcurrentLoads: options.numLoadThreads === 0 ? Math.max(2, availableCpus()) : options.numLoadThreads,
      maxNumLoadRetries: options.maxNumLoadRetries,
      loadRetryIntervalMicros: options.loadRetryIntervalMicros,
      makeLoader: (id, path) => {
        const loader = new OnnxLoader(id, path, { ...options, ...shared, runtime, warmup, onWarmup });
        return replicas === undefined ? loader : new ReplicatedLoader(id, path, loader, replicas);
      },
      monitor: this.monitor,
      onLoadAttempt: onLoadAttempt ?? (() => {}),
      onChange: () => this.#wake(),
    });
    this.#source = new FileSystemSource({
      ...shared,
      pollWaitSeconds: options.fileSystemPollWaitSeconds,
      aspire: (name, versions) => this.#manager.setAspiredVersions(name, versions),
      onVerdict: (name, sourceError) => {
        if (this.verdicts.get(name) === sourceError) return;
        this.verdicts.set(name, sourceError);
        this.#wake();
      },
    });
    replicas?.follow(this);
  }

  /** Applies the first configuration and begins to look for versions. Waits for no model. @throws as reloadConfig */
  start(config: ModelServerConfig): void {
    this.#apply(config);
    this.#started = true;
    this.#source.start();
    // Without a model there is nothing to wait for.
    this.#wake();
  }

  async reloadConfig(config: ModelServerConfig, cancellation: Cancellation): Promise<void> {
    await this.#inTurn(cancellation, async () => {
      const added = this.#apply(config);
      const failed = await this.#whenSettled(added, cancellation);
      if (failed.length > 0) throw didNotBecomeAvailable("model(s)", failed);
    });
  }

  /** As reloadConfig, but resolves once the configuration is applied: for the config file, which nobody waits for. */
  applyConfig(config: ModelServerConfig): Promise<void> {
    return this.#inTurn(neverCancelled, async () => {
      this.#apply(config);
    });
  }

  /**
   * Resolves when every configured model either answers or will not for now: all attempts to load it have failed, or
   * there is nothing to load. Of several versions the largest that has come to its end decides.
   * @returns the models that do not answer; see startupError
   */
  firstSettled(cancellation: Cancellation): Promise<readonly UnavailableModel[]> {
    return this.#whenSettled([...(this.configured?.keys() ?? [])], cancellation);
  }

  /**
   * Looks at one model's files now, loads anew what has changed, however long ago it was loaded, and resolves when each
   * version that is wanted either answers or has failed once. What served before a failure goes on.
   * @returns why versions, or the model as a whole, cannot be had as they lie there
   */
  async refresh(name: string, cancellation: Cancellation): Promise<readonly UnavailableModel[]> {
    await orCancelled(this.#source.pollModel(name), cancellation);
    await orCancelled(this.#manager.recheck(name), cancellation);
    const failures = () => {
      const found = this.#manager.failures(name);
      if (found === "pending") return undefined;
      const sourceError = this.verdicts.get(name) ?? "";
      if (found.size === 0 && sourceError !== "") return [{ name, version: undefined, error: notFound(sourceError) }];
      return [...found].map(([version, error]) => ({ name, version, error }));
    };
    return await this.#when(failures, cancellation);
  }

  /** Looks at all base paths now, and resolves when that is done. */
  poll(): Promise<void> {
    return this.#source.poll();
  }

  /**
   * Stops looking, unloads everything; resolves when all handles are back and all sessions released.
   * @param cancellation ends the waiting
   */
  async close(cancellation: Cancellation = neverCancelled): Promise<void> {
    this.#closed = true;
    this.#source.close();
    this.#wake();
    await orCancelled(Promise.all([this.#manager.close(), this.requestLogs.close()]), cancellation);
  }

  protected acquire(name: string, version: bigint | undefined): ServableHandle | undefined {
    return this.#manager.acquire(name, version);
  }

  protected latestVersion(name: string): bigint | undefined {
    return this.#manager.latestVersion(name);
  }

  /** What replicas are told beside the state of each version. */
  replicated(): {
    readonly configured: ReadonlyMap<string, ConfiguredModel> | undefined;
    readonly verdicts: ReadonlyMap<string, string>;
  } {
    return { configured: this.configured, verdicts: this.verdicts };
  }

  onChange(listener: () => void): () => void {
    this.#waiting.add(listener);
    return () => this.#waiting.delete(listener);
  }

  settled(): boolean {
    if (!this.#started) return false;
    return [...(this.configured?.keys() ?? [])].every(
      (name) =>
        this.#outcome(name) !== "pending" || this.#versions(name).some(({ lastFailure }) => lastFailure !== undefined),
    );
  }

  sessionLoads(): SessionLoad[] {
    return this.#manager.readyServables().map(loadOf);
  }

  get openHandles(): number {
    return this.#manager.openHandles();
  }
  get liveVersions(): number {
    return this.#manager.liveVersions();
  }

  /**
   * A new version of a model, there at once and whole; see publishVersion. A model that no configuration names is served
   * from then on, whatever configurations are applied. Does not wait for the version to be loaded.
   * Errors besides: INVALID_ARGUMENT for a name that cannot be a folder, FAILED_PRECONDITION when there is no place for
   * new models.
   */
  async publish(
    name: string,
    version: bigint | undefined,
    write: (directory: string) => Promise<void>,
  ): Promise<PublishedVersion> {
    const published = await publishVersion(this.publicationPath(name), version, write);
    if (this.configured?.has(name) !== true) {
      await this.#inTurn(neverCancelled, async () => {
        this.#trained.add(name);
        this.#apply(this.#given);
      });
    }
    return published;
  }

  /** The base path that versions of a model are published to. Errors as publish. */
  publicationPath(name: string): string {
    return this.configured?.get(name)?.basePath ?? this.#trained.basePath(name);
  }

  /** @returns the models that are new */
  #apply(given: ModelServerConfig): readonly string[] {
    if (this.#closed) throw shuttingDown();
    const config = this.#withTrainedModels(given);
    if (config.kind !== "model_config_list") {
      if (this.configured !== undefined) {
        throw failedPrecondition(
          "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.",
        );
      }
      if (config.kind === "none") return [];
      throw invalidArgument("custom_model_config is not supported; list models in model_config_list");
    }
    const before = this.configured ?? new Map<string, ConfiguredModel>();
    const after = validateModelConfigs(config.models, {
      current: before,
      isAvailable: (name, version) => this.#manager.isAvailable(name, version),
      allowVersionLabelsForUnavailableModels: this.#options.allowVersionLabelsForUnavailableModels,
    });
    this.#given = given;
    const { added, changed, removed } = compareConfigs(before, after);
    for (const name of [...added, ...changed, ...removed]) this.verdicts.delete(name);
    for (const name of removed) this.#history.delete(name);
    for (const name of added) this.#history.set(name, new Set(this.monitor.versions(name)));
    this.configured = after;
    if (added.length + changed.length + removed.length > 0) {
      this.#logger.info("model configuration applied", { added, changed, removed });
    }
    this.requestLogs.configure(after.values());
    this.#source.setServables([...after.values()]);
    this.#wake();
    return added;
  }

  #withTrainedModels(config: ModelServerConfig): ModelServerConfig {
    if (config.kind === "custom_model_config") return config;
    const models = config.kind === "none" ? [] : config.models;
    const trained = this.#trained.besides(models);
    return trained.length === 0 ? config : { kind: "model_config_list", models: [...models, ...trained] };
  }

  /** Runs the work when all that came before is over. */
  async #inTurn(cancellation: Cancellation, work: () => Promise<void>): Promise<void> {
    const before = this.#reloads;
    let done = () => {};
    const turn = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#reloads = before.then(() => turn);
    try {
      await orCancelled(before, cancellation);
      await work();
    } finally {
      done();
    }
  }

  #whenSettled(names: readonly string[], cancellation: Cancellation): Promise<readonly UnavailableModel[]> {
    return this.#when(() => {
      const outcomes = names.map((name) => this.#outcome(name));
      return outcomes.includes("pending") ? undefined : outcomes.filter((outcome) => typeof outcome === "object");
    }, cancellation);
  }

  /** Resolves when the answer is there, which is asked for again whenever anything has changed. */
  #when<T>(answer: () => T | undefined, cancellation: Cancellation): Promise<T> {
    const answered = new Promise<T>((resolve, reject) => {
      const look = () => {
        const value = answer();
        if (value !== undefined) resolve(value);
        else if (this.#closed) reject(shuttingDown());
        else if (cancellation.reason === undefined) return;
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      cancellation.onCancel(look);
      look();
    });
    return orCancelled(answered, cancellation);
  }

  #wake(): void {
    for (const look of [...this.#waiting]) {
      try {
        look();
      } catch (error) {
        // A listener's defect is not to stop a model from being served.
        this.#logger.error("a listener to the repository failed", { reason: errorMessage(error) });
      }
    }
  }

  /** What has become of a model since it was configured. */
  #outcome(name: string): "pending" | "available" | UnavailableModel {
    if (this.configured?.has(name) !== true) {
      return { name, version: undefined, error: notFound("it is no longer configured") };
    }
    const versions = this.#versions(name);
    // Versions that were withdrawn say nothing: others have taken their place, or will.
    const decisive = versions.find(
      ({ state, error }) =>
        state === "AVAILABLE" || (state === "END" && error !== undefined && error.code !== Code.CANCELLED),
    );
    if (decisive?.error !== undefined) return { name, version: decisive.version, error: decisive.error };
    if (decisive !== undefined) return "available";
    const sourceError = this.verdicts.get(name) ?? "";
    if (sourceError !== "" && versions.every(({ state }) => state === "END")) {
      return { name, version: undefined, error: notFound(sourceError) };
    }
    return "pending";
  }

  #versions(name: string): readonly VersionStatus[] {
    const history = this.#history.get(name);
    return this.monitor.versions(name).filter((status) => !history?.has(status));
  }
}

function shuttingDown(): StatusError {
  return unavailable("the server is shutting down");
}
