// One version's life, from START to END: a state machine around a loader. Whoever owns it decides when it loads and
// unloads; it sees to attempts, retries and the handles that are still out.
import { CancellationSource } from "../../cancellation.js";
import type { Clock, Timer } from "../../clock.js";
import { cancelled, internal, StatusError, unavailable } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { VersionStatus } from "../model-status.js";
import { formatServableId, type Servable, type ServableHandle, type ServableId } from "../servable.js";
import type { VersionSnapshot } from "./aspired-version-policy.js";
import type { LoadSlots } from "./load-slots.js";
import type { LoadedServable, Loader } from "./loader.js";
import { CountedServableHandle, type Lender } from "./servable-handle.js";

export interface RetryOptions {
  /** Attempts after the first. */
  readonly maxNumLoadRetries: number;
  /** The longest wait between two attempts; 0 or less: none. */
  readonly loadRetryIntervalMicros: number;
}

/** Told of every attempt to load: for metrics. */
export interface LoadAttempt {
  readonly id: ServableId;
  readonly path: string;
  readonly seconds: number;
  /** undefined: it succeeded. */
  readonly error: StatusError | undefined;
}

export interface LoaderHarnessOptions extends RetryOptions {
  readonly id: ServableId;
  readonly path: string;
  readonly loader: Loader;
  readonly slots: LoadSlots;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onLoadAttempt: (attempt: LoadAttempt) => void;
  /** Called after each change of stage, status or both. */
  readonly onChange: (harness: LoaderHarness) => void;
}

type HarnessState =
  | { readonly name: "new" }
  /** An attempt is under way, or waits for its files to be at rest or for a slot. */
  | { readonly name: "loading"; readonly cancellation: CancellationSource }
  /** The last attempt failed; the next comes when the timer fires, or when the files have changed. */
  | { readonly name: "retrying"; readonly timer: Timer; readonly failure: Failure }
  | { readonly name: "ready"; readonly servable: Servable; readonly files: string; readonly sinceMs: number }
  /** No new handles; released when the last one is back. */
  | { readonly name: "unloading"; readonly servable: Servable }
  /** `failure`: all attempts failed; only a change of files brings it back. */
  | { readonly name: "ended"; readonly failure: Failure | undefined };

interface Failure {
  readonly error: StatusError;
  /** The files' fingerprint when they were tried; undefined when they were never at rest. */
  readonly files: string | undefined;
}

interface Attempt {
  readonly cancellation: CancellationSource;
  startedMs: number;
  /** The files' fingerprint, once they were at rest. */
  files: string | undefined;
}

/** How long a version that is ready is looked at again, for the rest of a copy that paused at an unlucky byte. */
const recheckReadyMs = 60_000;

const stages = {
  new: "new",
  loading: "loading",
  retrying: "loading",
  ready: "ready",
  unloading: "unloading",
  ended: "ended",
} as const satisfies Record<HarnessState["name"], VersionSnapshot["stage"]>;

/** The first retry comes after a second, and each waits four times as long as the one before, up to the interval. */
export function retryDelayMs(failures: number, loadRetryIntervalMicros: number): number {
  return Math.max(0, Math.min(loadRetryIntervalMicros / 1000, 1000 * 4 ** (failures - 1)));
}

export class LoaderHarness implements VersionSnapshot, Lender {
  readonly version: bigint;
  readonly path: string;
  /** Set by the owner: whether this version, from this path, is wanted. */
  aspired = true;
  readonly #options: LoaderHarnessOptions;
  #state: HarnessState = { name: "new" };
  #status: VersionStatus;
  #withdrawn = false;
  #outdated = false;
  #handles = 0;
  #failures = 0;
  #loadStartedMs = 0;
  #rechecking: Promise<void> | undefined;

  constructor(options: LoaderHarnessOptions) {
    this.#options = options;
    this.version = options.id.version;
    this.path = options.path;
    this.#status = {
      version: options.id.version,
      state: "START",
      error: undefined,
      loaded: undefined,
      path: options.path,
    };
  }

  get status(): VersionStatus {
    return this.#status;
  }
  get stage(): VersionSnapshot["stage"] {
    return stages[this.#state.name];
  }
  /** On its way out for good, even if the version is wanted again. */
  get ending(): boolean {
    return this.#withdrawn || this.stage === "unloading";
  }
  /** Loaded from files that have changed since: to be replaced by another harness of the same version. */
  get outdated(): boolean {
    return this.#outdated;
  }
  /** Ended without having loaded; kept by the owner so that it is not tried over and over. */
  get failed(): boolean {
    return this.#state.name === "ended" && this.#state.failure !== undefined;
  }
  get openHandles(): number {
    return this.#handles;
  }

  /** Begins to load. Only when new. */
  load(): void {
    this.#loadStartedMs = this.#options.clock.now();
    void this.#attempt();
  }

  /** No longer wanted before it was ready: ends as soon as the attempt under way has. */
  withdraw(): void {
    if (this.#withdrawn) return;
    const state = this.#state;
    if (state.name !== "new" && state.name !== "loading" && state.name !== "retrying") return;
    this.#withdrawn = true;
    if (state.name === "loading") state.cancellation.cancel(loadingCancelled());
    else if (state.name === "retrying") {
      state.timer.cancel();
      this.#end(state.failure);
    } else this.#end({ error: loadingCancelled(), files: undefined });
  }

  /**
   * Looks at the files again. A version that failed is tried again, with all attempts anew, when they are not what they
   * were; one that has become ready not long ago is outdated then: it was whole enough to be loaded, and yet not whole.
   * @param always also when it became ready long ago: somebody has asked for the files as they are now
   */
  async recheck(always = false): Promise<void> {
    // A look under way may have begun before what this one is asked about.
    while (this.#rechecking !== undefined) {
      if (!always) return;
      await this.#rechecking;
    }
    this.#rechecking = this.#recheck(always).finally(() => {
      this.#rechecking = undefined;
    });
    await this.#rechecking;
  }

  async #recheck(always: boolean): Promise<void> {
    const state = this.#state;
    const tried = this.#filesToRecheck(always);
    if (tried === undefined || this.#withdrawn) return;
    try {
      const { fingerprint } = await this.#options.loader.look();
      if (this.#state !== state || this.#withdrawn || fingerprint === tried.files) return;
      this.#options.logger.info("files of a version have changed since it was tried; loading it again", this.#fields());
      if (state.name === "ready") {
        this.#outdated = true;
        this.#options.onChange(this);
        return;
      }
      if (state.name === "retrying") state.timer.cancel();
      else this.#loadStartedMs = this.#options.clock.now();
      this.#failures = 0;
      void this.#attempt();
    } catch (error) {
      this.#defect(error);
    }
  }

  /** What the last attempt was made from, where it matters whether that is still so. */
  #filesToRecheck(always: boolean): { readonly files: string | undefined } | undefined {
    const state = this.#state;
    if (state.name === "retrying" || state.name === "ended") return state.failure;
    if (state.name !== "ready" || this.#outdated) return undefined;
    return always || this.#options.clock.now() - state.sinceMs < recheckReadyMs ? state : undefined;
  }

  /** The servable while it is ready. */
  get readyServable(): Servable | undefined {
    return this.#state.name === "ready" ? this.#state.servable : undefined;
  }

  /** Lends the servable. Only when ready, or while those who listen are being told that it will be so no longer. */
  acquire(): ServableHandle {
    const { servable } = this.#state as Extract<HarnessState, { readonly servable: Servable }>;
    this.#handles++;
    return new CountedServableHandle(servable, this);
  }

  handleReturned(): void {
    this.#handles--;
    if (this.#handles === 0 && this.#state.name === "unloading") void this.#release(this.#state.servable);
  }

  /** Lends no more, and ends when the last handle is back. Only when ready. */
  unload(): void {
    const { servable } = this.#state as Extract<HarnessState, { readonly servable: Servable }>;
    const { loaded } = this.#status;
    // Those who are told of it may still borrow the servable while they are; until then it is held here.
    this.#handles++;
    // The last placement as a value: what is remembered of a version must not keep its session.
    this.#enter({ name: "unloading", servable }, { state: "UNLOADING", loaded: loaded && { ...loaded } });
    this.handleReturned();
  }

  async #release(servable: Servable): Promise<void> {
    await this.#discard(servable);
    this.#options.logger.info(`Unloaded servable version ${formatServableId(this.#options.id)}`, this.#fields());
    this.#enter({ name: "ended", failure: undefined }, { state: "END" });
  }

  async #attempt(): Promise<void> {
    const { clock } = this.#options;
    const attempt: Attempt = { cancellation: new CancellationSource(), startedMs: clock.now(), files: undefined };
    const isRetry = this.#status.state === "LOADING";
    this.#enter(
      { name: "loading", cancellation: attempt.cancellation },
      isRetry ? {} : { state: "START", error: undefined },
    );
    try {
      await this.#accept(await this.#load(attempt), attempt);
    } catch (thrown) {
      const error = thrown instanceof StatusError ? thrown : this.#defect(thrown);
      this.#fail({ error, files: attempt.files }, (clock.now() - attempt.startedMs) / 1000);
    }
  }

  /** Versions take slots in the order they were told to load; one whose files still move lets the others pass. */
  async #load(attempt: Attempt): Promise<LoadedServable> {
    const { loader, slots, clock, id } = this.#options;
    for (;;) {
      const giveBack = await slots.acquire(id.name, attempt.cancellation);
      try {
        const { fingerprint, atRest } = await loader.look();
        if (atRest || fingerprint === attempt.files) {
          attempt.files = fingerprint;
          attempt.startedMs = clock.now();
          if (this.#status.state !== "LOADING") this.#enter(this.#state, { state: "LOADING" });
          return await loader.load(attempt.cancellation);
        }
      } finally {
        giveBack();
      }
      attempt.files = await loader.filesAtRest(attempt.cancellation);
    }
  }

  /** What was loaded becomes available, unless it came too late or from files that are not what they were. */
  async #accept({ servable, batching, activate }: LoadedServable, attempt: Attempt): Promise<void> {
    const { loader, clock, id, logger } = this.#options;
    let refusal: StatusError | undefined;
    try {
      const { fingerprint } = await loader.look();
      if (fingerprint !== attempt.files) refusal = unavailable(`${this.path} changed while it was being loaded`);
      else if (attempt.cancellation.reason === undefined) await activate?.();
    } catch (error) {
      refusal = error instanceof StatusError ? error : this.#defect(error);
    }
    refusal = attempt.cancellation.reason ?? refusal;
    if (refusal !== undefined) {
      await this.#discard(servable);
      throw refusal;
    }
    const now = clock.now();
    this.#report((now - attempt.startedMs) / 1000, undefined);
    const loadSeconds = (now - this.#loadStartedMs) / 1000;
    const { signatures, description, session } = servable;
    const availableSince = clock.wallTime();
    logger.info(`Successfully loaded servable version ${formatServableId(id)}`, { ...this.#fields(), loadSeconds });
    this.#enter(
      { name: "ready", servable, files: attempt.files!, sinceMs: now },
      {
        state: "AVAILABLE",
        loaded: {
          signatures,
          description,
          // Read when asked for: a session may move while it serves.
          get placement() {
            return session.placement;
          },
          batching,
          loadSeconds,
          availableSince,
        },
      },
    );
  }

  #fail(failure: Failure, seconds: number): void {
    const { id, clock, logger, maxNumLoadRetries, loadRetryIntervalMicros } = this.#options;
    const { error } = failure;
    this.#report(seconds, error);
    this.#failures++;
    const final = this.#withdrawn || this.#failures > maxNumLoadRetries;
    const delayMs = retryDelayMs(this.#failures, loadRetryIntervalMicros);
    logger.warn(`Loading servable ${formatServableId(id)} failed`, {
      ...this.#fields(),
      attempt: this.#failures,
      reason: error.message,
      ...(final ? {} : { retryInMs: delayMs }),
    });
    if (final) this.#end(failure);
    else {
      const timer = clock.setTimer(delayMs, () => void this.#attempt());
      this.#enter({ name: "retrying", timer, failure }, { state: "LOADING", lastFailure: error });
    }
  }

  #report(seconds: number, error: StatusError | undefined): void {
    try {
      this.#options.onLoadAttempt({ id: this.#options.id, path: this.path, seconds, error });
    } catch (thrown) {
      this.#defect(thrown);
    }
  }

  #end(failure: Failure): void {
    this.#enter({ name: "ended", failure }, { state: "END", error: failure.error });
  }

  async #discard(servable: Servable): Promise<void> {
    try {
      await servable.session.release();
    } catch (error) {
      this.#defect(error);
    }
  }

  /** Loaders and sessions throw StatusErrors; anything else is a fault in this program, and its text is for the log. */
  #defect(thrown: unknown): StatusError {
    const stack = thrown instanceof Error ? thrown.stack : String(thrown);
    this.#options.logger.error("internal error in a model's life", { ...this.#fields(), stack });
    return internal("internal error while loading; see the server's log");
  }

  /** The one place where anything changes. `lastFailure` stays only as long as the state that names it. */
  #enter(state: HarnessState, status: Partial<VersionStatus>): void {
    this.#state = state;
    const { lastFailure: _, ...kept } = this.#status;
    this.#status = Object.keys(status).length === 0 ? this.#status : { ...kept, ...status };
    this.#options.onChange(this);
  }

  #fields() {
    return { model: this.#options.id.name, version: String(this.version), path: this.path };
  }
}

function loadingCancelled(): StatusError {
  return cancelled("Loading of servable cancelled");
}
