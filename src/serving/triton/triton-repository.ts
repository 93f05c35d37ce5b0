// A Triton model repository: directories of models, each with a config.pbtxt and its versions, served as they are.
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Cancellation, neverCancelled } from "../../cancellation.js";
import type { Clock, Timer } from "../../clock.js";
import { errorMessage, internal, invalidArgument, StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { fileError } from "../file-error.js";
import type { VersionPolicy } from "../lifecycle/version-policy.js";
import { type ModelConfig, type ModelServerConfig, modelConfig } from "../model-config.js";
import type { UnavailableModel } from "../unavailable-model.js";
import { parseTritonConfigJson } from "./config-file.js";
import type { TritonConfig } from "./config-schema.js";
import type { TritonConfigs } from "./triton-configs.js";

/**
 * When models come and go: "none": all are loaded at start, and nothing changes; "poll": the directories are looked at
 * again and again; "explicit": clients say what is loaded and unloaded.
 */
export const tritonControlModes = ["none", "poll", "explicit"] as const;
export type TritonControlMode = (typeof tritonControlModes)[number];

export interface TritonRepositoryOptions {
  readonly directories: readonly string[];
  readonly controlMode: TritonControlMode;
  /** What is loaded at start under explicit control; "*" stands for everything. */
  readonly loadModels: readonly string[];
  /** From one look to the next under control by poll. Default 15. */
  readonly pollSeconds: number;
}

/** What the models are served by. */
export interface RefreshableRepository {
  applyConfig(config: ModelServerConfig): Promise<void>;
  /** Looks at a model's files now and loads anew what has changed; resolves when that is over. */
  refresh(name: string, cancellation: Cancellation): Promise<readonly UnavailableModel[]>;
}

export interface TritonRepositoryContext {
  readonly configs: TritonConfigs;
  readonly repository: RefreshableRepository;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class TritonRepository {
  readonly #options: TritonRepositoryOptions;
  readonly #context: TritonRepositoryContext;
  /** Under explicit control, what is to be served; otherwise everything there is. */
  readonly #loaded = new Set<string>();
  /** Resolves when the changes that came before are over: one at a time. */
  #changes: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: TritonRepositoryOptions, context: TritonRepositoryContext) {
    this.#options = options;
    this.#context = context;
  }

  get controlMode(): TritonControlMode {
    return this.#options.controlMode;
  }

  /** What is served first. @throws when a directory cannot be read, or a model that is to be loaded is not there */
  async firstConfig(): Promise<ModelServerConfig> {
    const found = await this.#scan();
    const { controlMode, loadModels } = this.#options;
    if (controlMode === "explicit") {
      for (const name of loadModels.includes("*") ? found.keys() : loadModels) {
        if (!found.has(name)) throw notInRepository(name);
        this.#loaded.add(name);
      }
    }
    return await this.#config(found);
  }

  start(): void {
    if (this.#options.controlMode === "poll") this.#schedule();
  }

  /** The look or change that is under way ends first. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#changes;
  }

  /** Names of all models that lie there. */
  async available(): Promise<readonly string[]> {
    try {
      return [...(await this.#scan()).keys()];
    } catch (error) {
      this.#context.logger.warn("the model repository cannot be read", { reason: errorMessage(error) });
      return [];
    }
  }

  /**
   * Loads a model, or loads it anew from what lies there now; one that is served goes on until the new one can answer.
   * @param json a configuration in the place of config.pbtxt, until the model is loaded without one
   * @throws INVALID_ARGUMENT in Triton's words with each version's reason
   */
  load(name: string, json: string | undefined, cancellation: Cancellation): Promise<void> {
    return this.#inTurn(async () => {
      const { configs, repository } = this.#context;
      if (json !== undefined) parseTritonConfigJson(json);
      const found = await this.#scan();
      if (!found.has(name)) throw notInRepository(name);
      const before = configs.replace(name, json);
      const wasLoaded = this.#loaded.has(name);
      let failed: readonly UnavailableModel[] = [];
      // What is served proves itself under its new configuration before other versions come or go by it.
      if (wasLoaded) failed = await repository.refresh(name, cancellation);
      if (failed.length === 0) {
        this.#loaded.add(name);
        await repository.applyConfig(await this.#config(found));
        failed = await repository.refresh(name, cancellation);
      }
      if (failed.length === 0) return;
      configs.replace(name, before);
      if (!wasLoaded) this.#loaded.delete(name);
      await repository.applyConfig(await this.#config(found));
      if (wasLoaded) await repository.refresh(name, cancellation);
      throw loadFailed(name, failed);
    });
  }

  /** Resolves as soon as no new request is taken. */
  unload(name: string): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#loaded.delete(name)) return;
      this.#context.configs.replace(name, undefined);
      await this.#context.repository.applyConfig(await this.#config(await this.#scan()));
    });
  }

  /** One look at everything, as the poll does it. */
  poll(): Promise<void> {
    return this.#inTurn(async () => {
      const { repository, logger } = this.#context;
      try {
        const config = await this.#config(await this.#scan());
        await repository.applyConfig(config);
        if (config.kind !== "model_config_list") return;
        // Not waited for: one model's load holds back no other's look.
        for (const { name } of config.models) {
          repository.refresh(name, neverCancelled).catch((error) => {
            if (!this.#closed)
              logger.warn("a model could not be looked at", { model: name, reason: errorMessage(error) });
          });
        }
      } catch (error) {
        logger.error("the model repository was not polled", { reason: errorMessage(error) });
      }
    });
  }

  #schedule(): void {
    if (this.#closed) return;
    const { clock } = this.#context;
    this.#timer = clock.setTimer(this.#options.pollSeconds * 1000, () => {
      void this.poll().finally(() => this.#schedule());
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const before = this.#changes;
    let done = () => {};
    this.#changes = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await before;
      await work();
    } finally {
      done();
    }
  }

  /** Every model's directory by the model's name. */
  async #scan(): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const directory of this.#options.directories) {
      const root = resolve(directory);
      let entries: { readonly name: string; isDirectory(): boolean; isSymbolicLink(): boolean }[];
      try {
        entries = await readdir(root, { withFileTypes: true });
      } catch (error) {
        throw fileError(error);
      }
      for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (entry.name.startsWith(".") || !(entry.isDirectory() || entry.isSymbolicLink())) continue;
        const other = found.get(entry.name);
        if (other === undefined) found.set(entry.name, join(root, entry.name));
        else {
          this.#context.logger.warn("a model is in two repositories; the first is served", {
            model: entry.name,
            served: other,
          });
        }
      }
    }
    return found;
  }

  async #config(found: ReadonlyMap<string, string>): Promise<ModelServerConfig> {
    const explicit = this.#options.controlMode === "explicit";
    const models: ModelConfig[] = [];
    for (const [name, directory] of found) {
      if (explicit && !this.#loaded.has(name)) continue;
      const versionPolicy = await this.#versionPolicy(name, directory);
      models.push(modelConfig({ name, basePath: directory, ...(versionPolicy && { versionPolicy }) }));
    }
    return { kind: "model_config_list", models };
  }

  /** A configuration that cannot be read is told of when a version is loaded; until then the latest is chosen. */
  async #versionPolicy(name: string, directory: string): Promise<VersionPolicy | undefined> {
    try {
      return toVersionPolicy(await this.#context.configs.read(name, directory));
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return undefined;
    }
  }
}

function toVersionPolicy({ version_policy: policy }: TritonConfig): VersionPolicy | undefined {
  if (policy?.all !== undefined) return { kind: "all" };
  if (policy?.specific !== undefined) return { kind: "specific", versions: policy.specific.versions };
  if (policy?.latest !== undefined) return { kind: "latest", numVersions: policy.latest.num_versions };
  return undefined;
}

function notInRepository(name: string): StatusError {
  return internal(`failed to load '${name}', failed to poll from model repository`);
}

function loadFailed(name: string, failed: readonly UnavailableModel[]): StatusError {
  const reasons = failed.map(({ version, error }) =>
    version === undefined ? error.message : `version ${version} is at UNAVAILABLE state: ${error.message};`,
  );
  return invalidArgument(`load failed for model '${name}': ${reasons.join(" ")}`);
}
