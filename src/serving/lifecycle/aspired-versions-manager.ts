import type { Clock } from "../../clock.js";
import type { StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { Servable, ServableHandle, ServableId } from "../servable.js";
import type { AspiredVersionPolicy } from "./aspired-version-policy.js";
import { LoadSlots } from "./load-slots.js";
import type { Loader } from "./loader.js";
import { type LoadAttempt, LoaderHarness, type RetryOptions } from "./loader-harness.js";
import type { ServableStateMonitor } from "./servable-state-monitor.js";

/** One version that a source wants served. */
export interface AspiredVersion {
  readonly version: bigint;
  readonly path: string;
}

export interface AspiredVersionsManagerOptions extends RetryOptions {
  readonly policy: AspiredVersionPolicy;
  /** Loads at the same time, at most; of one model never more than one. */
  readonly maxConcurrentLoads: number;
  readonly makeLoader: (id: ServableId, path: string) => Loader;
  readonly monitor: ServableStateMonitor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onLoadAttempt: (attempt: LoadAttempt) => void;
  /** Called after each change of any version's stage. Default: nobody. */
  readonly onChange?: () => void;
}

interface ManagedModel {
  readonly name: string;
  aspired: ReadonlyMap<bigint, AspiredVersion>;
  /** Everything that is not over yet, and what failed while it is still aspired. */
  harnesses: LoaderHarness[];
  /** What requests get, by version. */
  readonly ready: Map<bigint, LoaderHarness>;
  /** The ready version with the largest number. */
  latest: LoaderHarness | undefined;
  cranking: "idle" | "busy" | "again";
}

/**
 * Loads the versions that are aspired to and unloads those that are not, in the order that the policy names. Nothing here
 * ticks: the crank is turned when aspired versions are set and when a version's stage changes, for that one model, so
 * that no model waits for another's retries.
 */
export class AspiredVersionsManager {
  readonly #options: AspiredVersionsManagerOptions;
  readonly #slots: LoadSlots;
  readonly #models = new Map<string, ManagedModel>();
  #whenEmpty: (() => void)[] = [];

  constructor(options: AspiredVersionsManagerOptions) {
    this.#options = options;
    this.#slots = new LoadSlots(options.maxConcurrentLoads);
  }

  /**
   * Replaces what is aspired to of one model. Setting the same again is the moment to look whether files have changed of
   * versions that failed, or were loaded only just now. Of two entries with one version the first counts.
   */
  setAspiredVersions(name: string, versions: readonly AspiredVersion[]): void {
    let model = this.#models.get(name);
    if (model === undefined) {
      if (versions.length === 0) return;
      model = { name, aspired: new Map(), harnesses: [], ready: new Map(), latest: undefined, cranking: "idle" };
      this.#models.set(name, model);
    }
    model.aspired = new Map([...versions].reverse().map((version) => [version.version, version]));
    this.#crank(model);
    for (const harness of model.harnesses) if (harness.aspired) void harness.recheck();
  }

  /** Looks at the files of a model's versions now, however long ago they were loaded, and loads anew what has changed. */
  async recheck(name: string): Promise<void> {
    const aspired = this.#models.get(name)?.harnesses.filter((harness) => harness.aspired) ?? [];
    await Promise.all(aspired.map((harness) => harness.recheck(true)));
  }

  /** Why versions that are aspired to do not answer, by version; "pending" while one of them is on its way. */
  failures(name: string): ReadonlyMap<bigint, StatusError> | "pending" {
    const failures = new Map<bigint, StatusError>();
    for (const { version, stage, status, aspired, ending } of this.#models.get(name)?.harnesses ?? []) {
      if (!aspired || ending) continue;
      const error = status.lastFailure ?? status.error;
      if (stage === "ready") continue;
      if (error === undefined) return "pending";
      failures.set(version, error);
    }
    return failures;
  }

  /**
   * Lends a version, so that it stays loaded until the handle is disposed of.
   * @param version undefined: the largest that is available
   */
  acquire(name: string, version: bigint | undefined): ServableHandle | undefined {
    const model = this.#models.get(name);
    const harness = version === undefined ? model?.latest : model?.ready.get(version);
    return harness?.acquire();
  }

  latestVersion(name: string): bigint | undefined {
    return this.#models.get(name)?.latest?.version;
  }

  isAvailable(name: string, version: bigint): boolean {
    return this.#models.get(name)?.ready.has(version) ?? false;
  }

  /** Everything that can answer at this moment; not to be run, since nothing keeps it from being unloaded. */
  readyServables(): Servable[] {
    return this.#all().flatMap(({ readyServable }) => readyServable ?? []);
  }

  /** Handles that have not been returned. */
  openHandles(): number {
    return this.#all().reduce((sum, harness) => sum + harness.openHandles, 0);
  }

  /** Versions that are in memory, or on their way in or out. */
  liveVersions(): number {
    return this.#all().filter(({ stage }) => stage !== "ended").length;
  }

  /** Un-aspires everything; resolves when all handles are back and all sessions released. */
  async close(): Promise<void> {
    for (const name of [...this.#models.keys()]) this.setAspiredVersions(name, []);
    if (this.#models.size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  #all(): LoaderHarness[] {
    return [...this.#models.values()].flatMap(({ harnesses }) => harnesses);
  }

  /** Executes what the policy names until it names nothing more. Steps may turn the crank again; that is only noted. */
  #crank(model: ManagedModel): void {
    if (model.cranking !== "idle") {
      model.cranking = "again";
      return;
    }
    do {
      model.cranking = "busy";
      this.#reconcile(model);
      const next = this.#options.policy(model.harnesses);
      if (next !== undefined) {
        next.target[next.action]();
        model.cranking = "again";
      }
    } while ((model.cranking as ManagedModel["cranking"]) === "again");
    model.cranking = "idle";
    if (model.harnesses.length === 0 && model.aspired.size === 0) this.#forget(model);
  }

  /** Brings the harnesses in line with what is aspired to: marks, withdraws, forgets and adds. */
  #reconcile(model: ManagedModel): void {
    const { aspired } = model;
    for (const harness of model.harnesses) {
      const wanted = aspired.get(harness.version);
      // A version on its way out counts as aspired when it is wanted again, so that others stay until it is back.
      const isCurrent = wanted?.path === harness.path && !harness.outdated;
      harness.aspired = wanted !== undefined && (isCurrent || harness.ending);
      if (!harness.aspired) harness.withdraw();
    }
    // A version that failed stays as long as it is aspired, so that it is not tried over and over.
    model.harnesses = model.harnesses.filter(
      (harness) => harness.stage !== "ended" || (harness.aspired && !harness.ending && harness.failed),
    );
    for (const { version, path } of aspired.values()) {
      const has = model.harnesses.some(
        (harness) => harness.version === version && ((harness.path === path && !harness.outdated) || harness.ending),
      );
      if (!has) model.harnesses.push(this.#makeHarness(model, { name: model.name, version }, path));
    }
  }

  #makeHarness(model: ManagedModel, id: ServableId, path: string): LoaderHarness {
    const { makeLoader, clock, logger, onLoadAttempt, maxNumLoadRetries, loadRetryIntervalMicros } = this.#options;
    return new LoaderHarness({
      id,
      path,
      loader: makeLoader(id, path),
      slots: this.#slots,
      clock,
      logger,
      onLoadAttempt,
      maxNumLoadRetries,
      loadRetryIntervalMicros,
      onChange: (harness) => {
        this.#publish(model, harness);
        this.#crank(model);
        this.#options.onChange?.();
      },
    });
  }

  /**
   * AVAILABLE is published once requests get the version, UNLOADING before they no longer do.
   *
   * When a model's base path changes, or the files of a version that has just been loaded, that version is loaded anew
   * while it still answers as it was. The new one then takes over silently, and what becomes of the old one is no state of
   * the version any more.
   */
  #publish(model: ManagedModel, harness: LoaderHarness): void {
    const { ready, name } = model;
    const { status, version } = harness;
    const standing = ready.get(version);
    if (harness.stage === "ready") ready.set(version, harness);
    else if (standing !== undefined && standing !== harness) return;
    if (harness.stage === "ready") model.latest = latestOf(ready);
    const { monitor } = this.#options;
    if (monitor.version(name, version) !== status) monitor.publish(name, status);
    if (harness.stage !== "ready" && standing === harness) {
      ready.delete(version);
      model.latest = latestOf(ready);
    }
  }

  #forget(model: ManagedModel): void {
    this.#models.delete(model.name);
    if (this.#models.size > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }
}

function latestOf(ready: ReadonlyMap<bigint, LoaderHarness>): LoaderHarness | undefined {
  let latest: LoaderHarness | undefined;
  for (const harness of ready.values()) if (latest === undefined || harness.version > latest.version) latest = harness;
  return latest;
}
