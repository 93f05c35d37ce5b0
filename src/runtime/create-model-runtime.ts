import type { Cancellation } from "../cancellation.js";
import type { Clock, Timer } from "../clock.js";
import { deadlineExceeded, errorMessage, unavailable } from "../status.js";
import type { Logger } from "../telemetry/index.js";
import { keepFreedMemory } from "../tensor/index.js";
import type { LoadedModel, ModelRuntime } from "./model-runtime.js";
import { InlineSession } from "./placement/inline.js";
import type { LoadedMessage } from "./placement/messages.js";
import { openMeasuredPool } from "./placement/open-measured-pool.js";
import { type FirstHome, PlacedSession } from "./placement/placed-session.js";
import { decidePlacement } from "./placement/placement-decision.js";
import "./placement/telemetry-off.js";
import {
  type RuntimeObserver,
  type SessionCounters,
  ThreadPool,
  type ThreadPoolEnvironment,
  type ThreadPoolOptions,
} from "./placement/thread-pool.js";
import { ModelWorker, type StartThread, startWorkerThread } from "./placement/worker.js";
import { proposeTrial } from "./plan-trial.js";
import { type RuntimeOptions, validateRuntimeOptions } from "./runtime-options.js";
import type { PlacementInfo } from "./session.js";
import { type SessionOptions, type ValidSessionOptions, validateSessionOptions } from "./session-options.js";
import { warmupFeeds } from "./warm-up.js";

export interface RuntimeEnvironment {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Default: a node:worker_threads Worker. Must run worker-main.ts. */
  readonly startThread?: StartThread;
  readonly observer?: RuntimeObserver;
}

export type { RuntimeObserver };

/** A ModelRuntime that can be counted: what metrics show, and what must be nothing at the end. */
export interface CountedModelRuntime extends ModelRuntime {
  stats(): RuntimeStats;
}

export interface RuntimeStats {
  /** Worker threads that have not ended. */
  readonly threads: readonly ThreadStats[];
  /** Models that have not been released. */
  readonly models: readonly ModelStats[];
}

export interface ThreadStats {
  readonly threadId: number;
  readonly model: string;
  readonly state: "starting" | "ready" | "draining";
  /** Making a session or running it. process.exit() at such a moment ends in SIGABRT: onnxruntime-node's doing. */
  readonly busy: boolean;
  readonly runs: number;
}

export interface ModelStats extends SessionCounters {
  readonly name: string;
  readonly placement: PlacementInfo;
  readonly queued: number;
  readonly running: number;
}

/** Throws INVALID_ARGUMENT naming the option that is wrong. */
export function createModelRuntime(
  options: Partial<RuntimeOptions>,
  environment: RuntimeEnvironment,
): CountedModelRuntime {
  return new OnnxModelRuntime(validateRuntimeOptions(options), environment);
}

class OnnxModelRuntime implements CountedModelRuntime {
  readonly #options: RuntimeOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #startThread: StartThread;
  readonly #observer: RuntimeObserver | undefined;
  readonly #sessions = new Set<PlacedSession>();
  readonly #workers = new Set<ModelWorker>();
  readonly #loads = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(
    options: RuntimeOptions,
    { logger, clock, startThread = startWorkerThread, observer }: RuntimeEnvironment,
  ) {
    keepFreedMemory();
    this.#options = options;
    this.#logger = logger;
    this.#clock = clock;
    this.#startThread = startThread;
    this.#observer = observer;
  }

  async load(
    name: string,
    modelPath: string,
    options: SessionOptions,
    cancellation: Cancellation,
  ): Promise<LoadedModel> {
    const asked = validateSessionOptions(options);
    this.#requireOpen(name);
    if (cancellation.reason !== undefined) throw cancellation.reason;
    const loading = this.#load(name, modelPath, asked);
    this.#loads.add(loading);
    const done = () => this.#loads.delete(loading);
    loading.then(done, done);
    return await this.#whileWanted(name, loading, cancellation);
  }

  stats(): RuntimeStats {
    const threads = [...this.#workers].map(({ threadId, model, state, busy, runs }) => ({
      threadId,
      model,
      state: state.name === "exited" ? "draining" : state.name,
      busy,
      runs,
    }));
    const models = [...this.#sessions].map((session) => ({
      name: session.name,
      placement: session.placement,
      ...session.load(),
      ...session.counters,
    }));
    return { threads, models };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#loads);
    await Promise.all([...this.#sessions].map((session) => session.release()));
    await Promise.all([...this.#workers].map((worker) => worker.retire()));
  }

  async #load(name: string, path: string, asked: ValidSessionOptions): Promise<LoadedModel> {
    const { maxModelFileBytes, cpus, warmupMaxBytes, inlineMaxCreateMs } = this.#options;
    const { worker, opened } = ModelWorker.load(name, this.#startThread, {
      path,
      maxFileBytes: maxModelFileBytes,
      asked,
      cpus,
      warmupMaxBytes,
      inlineMaxCreateMs,
    });
    this.#watch(worker);
    const loaded = await opened;
    const { description } = loaded.model;
    const session = await this.#place(name, asked, worker, loaded);
    this.#sessions.add(session);
    const { kind, reason, sessions, intraOpThreads } = session.placement;
    this.#logger.info("a model was placed", { model: name, placement: kind, reason, sessions, intraOpThreads });
    return { description, session };
  }

  /** Decides where the model lives, and brings it there. The worker that loaded it becomes the pool's first, or ends. */
  async #place(
    name: string,
    asked: ValidSessionOptions,
    worker: ModelWorker,
    { model, warmup, createMs, operators }: LoadedMessage,
  ): Promise<PlacedSession> {
    const warmupRunMicros = warmup.medianMicros;
    const decision = decidePlacement(
      {
        modelBytes: model.description.sizeBytes,
        hasStringInputs: model.description.inputs.some(({ dtype }) => dtype === "string"),
        warmupRunMicros,
        warmupSkipped: warmup.skipped,
        createMs,
        operators,
      },
      this.#options,
    );
    const poolOptions = (reason: string): ThreadPoolOptions => ({
      name,
      model,
      maxQueue: asked.maxQueue,
      warmupMaxBytes: this.#options.warmupMaxBytes,
      warmupRunMicros,
      reason,
    });
    const measuringFeeds = () => {
      const made = warmupFeeds(model.description.inputs, this.#options.warmupMaxBytes);
      return "feeds" in made ? made.feeds : undefined;
    };
    const openFirstPool = (reason: string): Promise<ThreadPool> => {
      const { sizeBytes: modelBytes } = model.description;
      const evidence = { asked, modelBytes, warmupRunMicros, createMs, freeBytes: process.availableMemory() };
      const trial = proposeTrial(evidence, this.#options);
      const feeds = trial && measuringFeeds();
      if (trial === undefined || feeds === undefined) {
        return ThreadPool.open(poolOptions(reason), this.#poolEnvironment, worker);
      }
      return openMeasuredPool(poolOptions(reason), this.#poolEnvironment, worker, trial, feeds, () =>
        performance.now(),
      );
    };
    const place = (home: FirstHome) =>
      new PlacedSession(
        home,
        {
          name,
          limits: this.#options,
          openPool: (reason) => ThreadPool.open(poolOptions(reason), this.#poolEnvironment),
          openInline: () => this.#openInline(name, model),
          timeDecides: decision.timeDecides,
          measuringFeeds,
          fetches: model.description.outputs.map((output) => output.name),
          onReleased: (session) => this.#sessions.delete(session),
        },
        { logger: this.#logger, clock: this.#clock },
      );
    if (decision.kind === "thread-pool") {
      return place({ kind: "thread-pool", session: await openFirstPool(decision.reason) });
    }
    const session = this.#openInline(name, model);
    if (session === undefined) {
      const reason = `${decision.reason}, but the serving thread could not make its session`;
      return place({ kind: "thread-pool", session: await openFirstPool(reason) });
    }
    void worker.retire();
    const placement: PlacementInfo = {
      kind: "inline",
      sessions: 1,
      intraOpThreads: 1,
      warmupRunMicros,
      reason: decision.reason,
    };
    return place({ kind: "inline", session, placement });
  }

  #openInline(name: string, model: LoadedMessage["model"]): InlineSession | undefined {
    try {
      const { warmupMaxBytes, inlineSlowRunMicros } = this.#options;
      return InlineSession.open(name, model, { warmupMaxBytes, slowRunMs: inlineSlowRunMicros / 1000 }, this.#clock);
    } catch (error) {
      this.#logger.warn("a model cannot live on the serving thread", { model: name, error: errorMessage(error) });
      return undefined;
    }
  }

  get #poolEnvironment(): ThreadPoolEnvironment {
    return {
      logger: this.#logger,
      clock: this.#clock,
      startThread: this.#startThread,
      onWorker: (worker) => this.#watch(worker),
      observer: this.#observer,
    };
  }

  #watch(worker: ModelWorker): void {
    this.#workers.add(worker);
    void worker.exited.then(() => this.#workers.delete(worker));
  }

  /** A load cannot be interrupted. One that is not wanted any more ends unheard, and what it made is released. */
  async #whileWanted(name: string, loading: Promise<LoadedModel>, cancellation: Cancellation): Promise<LoadedModel> {
    const { loadTimeoutMs } = this.#options;
    let timer: Timer | undefined;
    let undo: (() => void) | undefined;
    const unwanted = new Promise<never>((_resolve, reject) => {
      undo = cancellation.onCancel(reject);
      if (loadTimeoutMs === 0) return;
      timer = this.#clock.setTimer(loadTimeoutMs, () =>
        reject(deadlineExceeded(`model "${name}": loading took longer than ${loadTimeoutMs} ms`)),
      );
    });
    let wanted = false;
    try {
      const loaded = await Promise.race([loading, unwanted]);
      wanted = true;
      return loaded;
    } finally {
      undo?.();
      timer?.cancel();
      // Whether it comes to a session is of no interest now, nor is the reason when it does not.
      if (!wanted) loading.then(({ session }) => session.release()).catch(() => {});
    }
  }

  #requireOpen(name: string): void {
    if (this.#closed !== undefined) throw unavailable(`model "${name}" cannot be loaded: the server is shutting down`);
  }
}
