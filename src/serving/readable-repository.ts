import { dirname } from "node:path";
import { invalidArgument, notFound, unavailable } from "../status.js";
import type { ServableStateMonitor, StateListener } from "./lifecycle/servable-state-monitor.js";
import type { ConfiguredModel } from "./model-config.js";
import type { ModelRepository } from "./model-repository.js";
import type { ModelStatus, VersionStatus } from "./model-status.js";
import type { ModelSpec, ServableHandle } from "./servable.js";

/**
 * What doors ask of a repository, answered in TensorFlow Serving's order and words, whoever decides on the versions: this
 * process, or another of which it is a replica.
 */
export abstract class ReadableRepository implements ModelRepository {
  protected abstract readonly monitor: ServableStateMonitor;
  /** undefined until a configuration has been applied. */
  protected configured: ReadonlyMap<string, ConfiguredModel> | undefined;
  /** What the last look at a model's base path said; absent before the first. */
  protected readonly verdicts = new Map<string, string>();

  abstract settled(): boolean;
  abstract onChange(listener: () => void): () => void;
  /** @param version undefined: the largest that is available */
  protected abstract acquire(name: string, version: bigint | undefined): ServableHandle | undefined;
  protected abstract latestVersion(name: string): bigint | undefined;

  getServableHandle({ name, version, versionLabel }: ModelSpec): ServableHandle {
    if (name === "") throw invalidArgument("ModelSpec has no name specified.");
    const wanted = versionLabel === undefined ? version : this.#versionOf(name, versionLabel);
    const handle = this.acquire(name, wanted);
    if (handle !== undefined) return handle;
    throw notFound(
      `Servable not found for request: ${wanted === undefined ? `Latest(${name})` : `Specific(${name}, ${wanted})`}`,
    );
  }

  #versionOf(name: string, label: string): bigint {
    if (this.configured === undefined) throw unavailable(`Model labels does not init yet.${label}`);
    const version = this.configured.get(name)?.versionLabels.get(label);
    if (version === undefined) throw invalidArgument(`Unrecognized servable version label: ${label}`);
    return version;
  }

  getModelStatus(name: string, version?: bigint): readonly VersionStatus[] {
    if (version !== undefined) {
      const status = this.monitor.version(name, version);
      if (status === undefined) throw notFound(`Could not find version ${version} of model ${name}`);
      return [status];
    }
    const versions = this.monitor.versions(name);
    if (versions.length === 0) throw notFound(`Could not find any versions of model ${name}`);
    return versions;
  }

  listModels(): readonly ModelStatus[] {
    const names = new Set([...(this.configured?.keys() ?? []), ...this.monitor.names()]);
    return [...names].sort().map((name) => this.getModel(name)!);
  }

  getModel(name: string): ModelStatus | undefined {
    const model = this.configured?.get(name);
    const versions = this.monitor.versions(name);
    if (model === undefined && versions.length === 0) return undefined;
    return {
      name,
      basePath: model?.basePath ?? dirname(versions[0]!.path),
      configured: model !== undefined,
      versions,
      labels: model?.versionLabels ?? new Map(),
      defaultVersion: this.latestVersion(name),
      sourceError: (model && this.verdicts.get(name)) ?? "",
    };
  }

  onStateChange(listener: StateListener): () => void {
    return this.monitor.onStateChange(listener);
  }
}
