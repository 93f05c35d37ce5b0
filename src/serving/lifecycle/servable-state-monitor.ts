import { errorMessage } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { VersionStatus } from "../model-status.js";

/** Ended versions that are remembered of each model; TensorFlow Serving remembers all of them for ever. */
const maxEndedVersions = 100;
/** Models of which nothing but ended versions is left, remembered at most. */
const maxEndedModels = 10_000;

export type StateListener = (name: string, status: VersionStatus) => void;

/**
 * What is known of the state of every version, served or ended. This is the one place that GetModelStatus, ListModels,
 * metrics, health and readiness look at, so that they cannot disagree. Statuses are values: each change replaces one.
 */
export class ServableStateMonitor {
  readonly #models = new Map<string, Map<bigint, VersionStatus>>();
  readonly #listeners = new Set<StateListener>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Sets the state of one version, then tells the listeners in the order they came. */
  publish(name: string, status: VersionStatus): void {
    const versions = this.#models.get(name) ?? new Map<bigint, VersionStatus>();
    // Set anew, so that maps stay in the order of the last change and the longest ended come first.
    versions.delete(status.version);
    versions.set(status.version, status);
    this.#models.delete(name);
    this.#models.set(name, versions);
    if (status.state === "END") {
      forgetOldest(versions, maxEndedVersions, (each) => each.state === "END");
      forgetOldest(this.#models, maxEndedModels, (each) => [...each.values()].every(({ state }) => state === "END"));
    }
    for (const listener of this.#listeners) {
      try {
        listener(name, status);
      } catch (error) {
        // A listener's defect is not to stop a model from being loaded or unloaded.
        this.#logger.error("a listener to model states failed", { model: name, reason: errorMessage(error) });
      }
    }
  }

  /** From the largest version to the smallest; empty for a model that never was. */
  versions(name: string): readonly VersionStatus[] {
    const versions = [...(this.#models.get(name)?.values() ?? [])];
    return versions.sort((a, b) => (a.version < b.version ? 1 : -1));
  }

  version(name: string, version: bigint): VersionStatus | undefined {
    return this.#models.get(name)?.get(version);
  }

  names(): Iterable<string> {
    return this.#models.keys();
  }

  onStateChange(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Drops the first entries that match until no more than `max` that do are left. */
function forgetOldest<K, V>(map: Map<K, V>, max: number, matches: (value: V) => boolean): void {
  if (map.size <= max) return;
  const keys = [...map].filter(([, value]) => matches(value)).map(([key]) => key);
  for (const key of keys.slice(0, Math.max(0, keys.length - max))) map.delete(key);
}
