import type { Cancellation } from "../../cancellation.js";
import { neverCancelled } from "../../cancellation.js";
import { systemClock } from "../../clock.js";
import type { PlacementInfo } from "../../runtime/index.js";
import { errorMessage, failedPrecondition, StatusError } from "../../status.js";
import { type Logger, type SessionLoad, silentLogger } from "../../telemetry/index.js";
import { OnnxLoader, type OnnxLoaderOptions } from "../lifecycle/onnx-loader.js";
import { ServableStateMonitor } from "../lifecycle/servable-state-monitor.js";
import type { ModelServerConfig } from "../model-config.js";
import type { ConfigurableModelRepository, ModelRepositoryContext, ServedRepository } from "../model-repository.js";
import { type ModelRepositoryOptions, validateModelRepositoryOptions } from "../model-repository-options.js";
import type { VersionStatus } from "../model-status.js";
import { ReadableRepository } from "../readable-repository.js";
import { RequestLogs } from "../request-log.js";
import { loadOf, type ServableHandle } from "../servable.js";
import type { TritonConfigs } from "../triton/triton-configs.js";
import type { ReplicaLoad, ReplicaLoaded, ReplicaNews, ToldError, ToldStatus } from "./replica-link.js";
import { ReplicaVersion } from "./replica-version.js";

export interface ReplicaRepositoryContext extends Omit<ModelRepositoryContext, "onLoadAttempt" | "replicas"> {
  /** Asks the repository in charge. */
  readonly reloadConfig: ConfigurableModelRepository["reloadConfig"];
  /** As the options have it; undefined: not a Triton repository. */
  readonly tritonConfigs: TritonConfigs | undefined;
  /** How many replicas there are, this one included. */
  readonly processes: number;
}

interface ReplicaModel {
  /** What requests get, by version. */
  readonly ready: Map<bigint, ReplicaVersion>;
  /** The ready version with the largest number. */
  latest: ReplicaVersion | undefined;
}

/**
 * Serves in this process what a repository in another decides on: loads and unloads what it is told to, and knows of
 * models what it is told.
 */
export class ReplicaRepository extends ReadableRepository implements ServedRepository {
  readonly requestLogs: RequestLogs;
  protected readonly monitor: ServableStateMonitor;
  readonly #context: ReplicaRepositoryContext;
  readonly #logger: Logger;
  readonly #loaderOptions: OnnxLoaderOptions;
  readonly #models = new Map<string, ReplicaModel>();
  readonly #versions = new Map<number, ReplicaVersion>();
  readonly #listeners = new Set<() => void>();
  #settled = false;

  constructor(given: Partial<ModelRepositoryOptions>, context: ReplicaRepositoryContext) {
    super();
    const options = validateModelRepositoryOptions(given);
    const {
      runtime,
      logger = silentLogger,
      clock = systemClock,
      readWarmupRecord,
      onWarmup,
      onLoggedRequest,
    } = context;
    const { warmupIterations: iterations } = options;
    const warmup = readWarmupRecord && iterations > 0 ? { readRecord: readWarmupRecord, iterations } : undefined;
    this.#context = context;
    this.#logger = logger;
    this.#loaderOptions = { ...options, logger, clock, runtime, warmup, onWarmup };
    this.monitor = new ServableStateMonitor(logger);
    this.monitor.onStateChange(() => this.#wake());
    this.requestLogs = new RequestLogs({ logger, clock, ...(onLoggedRequest && { onRecord: onLoggedRequest }) });
  }

  /** Makes a version ready to answer, which it does not do before it is activated. @throws why it cannot */
  async load({ key, id, path, tritonConfig }: ReplicaLoad, cancellation: Cancellation): Promise<ReplicaLoaded> {
    this.#context.tritonConfigs?.replace(id.name, tritonConfig);
    const loader = new OnnxLoader(id, path, this.#loaderOptions);
    const version = new ReplicaVersion(id, (unwanted) => loader.load(unwanted));
    this.#versions.set(key, version);
    try {
      const { servable, batching } = await version.loaded(cancellation);
      // It may have come to its end unheard; nobody would say that it is not wanted.
      if (cancellation.reason !== undefined) {
        await this.unload(key);
        throw cancellation.reason;
      }
      const { id: _, session, ...described } = servable;
      return { ...described, placement: { ...session.placement }, batching };
    } catch (error) {
      this.#versions.delete(key);
      throw error;
    }
  }

  /** From now on it is what answers for its version. */
  activate(key: number): void {
    const version = this.#versions.get(key);
    if (version?.servable === undefined) throw failedPrecondition(`version ${key} has not been loaded`);
    const { name, version: number } = version.id;
    const model = this.#models.get(name) ?? { ready: new Map(), latest: undefined };
    this.#models.set(name, model);
    model.ready.set(number, version);
    model.latest = latestOf(model.ready);
  }

  /** Answers with it no more, and resolves when its memory is given back. */
  async unload(key: number): Promise<void> {
    const version = this.#versions.get(key);
    if (version === undefined) return;
    this.#versions.delete(key);
    this.#withdraw(version);
    await version.release();
  }

  /** Takes in what has come to be in the repository in charge. */
  hear(news: ReplicaNews): void {
    if (news.what === "version") {
      this.monitor.publish(news.model, this.#fromTold(news.model, news.status));
      return;
    }
    this.configured = news.configured;
    this.verdicts.clear();
    for (const [name, verdict] of news.verdicts) this.verdicts.set(name, verdict);
    this.#settled = news.settled;
    this.requestLogs.configure(news.configured?.values() ?? []);
    this.#wake();
  }

  reloadConfig(config: ModelServerConfig, cancellation: Cancellation): Promise<void> {
    return this.#context.reloadConfig(config, cancellation);
  }

  settled(): boolean {
    return this.#settled;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  sessionLoads(): SessionLoad[] {
    return [...this.#models.values()].flatMap(({ ready }) =>
      [...ready.values()].map(({ servable }) => loadOf(servable!)),
    );
  }

  get openHandles(): number {
    return [...this.#versions.values()].reduce((sum, { openHandles }) => sum + openHandles, 0);
  }
  get liveVersions(): number {
    return this.#versions.size;
  }

  async close(cancellation: Cancellation = neverCancelled): Promise<void> {
    const released = Promise.all([...this.#versions.keys()].map((key) => this.unload(key)));
    await new Promise<void>((resolve, reject) => {
      const undo = cancellation.onCancel(reject);
      Promise.all([released, this.requestLogs.close()])
        .then(() => resolve(), reject)
        .finally(undo);
    });
  }

  protected acquire(name: string, version: bigint | undefined): ServableHandle | undefined {
    const model = this.#models.get(name);
    const found = version === undefined ? model?.latest : model?.ready.get(version);
    return found?.acquire();
  }

  protected latestVersion(name: string): bigint | undefined {
    return this.#models.get(name)?.latest?.id.version;
  }

  #withdraw(version: ReplicaVersion): void {
    const { name, version: number } = version.id;
    const model = this.#models.get(name);
    if (model === undefined || model.ready.get(number) !== version) return;
    model.ready.delete(number);
    model.latest = latestOf(model.ready);
    if (model.ready.size === 0) this.#models.delete(name);
  }

  #fromTold(model: string, { error, lastFailure, loaded, ...status }: ToldStatus): VersionStatus {
    const placement = () => this.#placementOf(model, status.version) ?? loaded!.placement;
    return {
      ...status,
      error: toError(error),
      ...(lastFailure && { lastFailure: toError(lastFailure)! }),
      loaded: loaded && {
        ...loaded,
        // Read when asked for: a session may move while it serves.
        get placement() {
          return placement();
        },
      },
    };
  }

  /** As it is here; the others make up their own minds, of the same model on the same machine. */
  #placementOf(model: string, version: bigint): PlacementInfo | undefined {
    const servable = this.#models.get(model)?.ready.get(version)?.servable;
    if (servable === undefined) return undefined;
    const { placement } = servable.session;
    const { processes } = this.#context;
    return {
      ...placement,
      sessions: placement.sessions * processes,
      reason: `${placement.reason}; in each of ${processes} processes`,
    };
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        // A listener's defect is not to stop a model from being served.
        this.#logger.error("a listener to the repository failed", { reason: errorMessage(error) });
      }
    }
  }
}

function latestOf(ready: ReadonlyMap<bigint, ReplicaVersion>): ReplicaVersion | undefined {
  let latest: ReplicaVersion | undefined;
  for (const version of ready.values()) {
    if (latest === undefined || version.id.version > latest.id.version) latest = version;
  }
  return latest;
}

function toError(told: ToldError | undefined): StatusError | undefined {
  return told && new StatusError(told.code, told.message);
}
