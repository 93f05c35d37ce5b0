// A session wherever it lives. A model that was put on the serving thread and turns out not to belong there moves to a
// thread pool while it serves: the pool is made beside it, then takes over between two calls.
import type { Clock } from "../../clock.js";
import { errorMessage, internal } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { isNumeric, type Tensor } from "../../tensor/index.js";
import type { RuntimeOptions } from "../runtime-options.js";
import type { PlacementInfo, RunOptions, RunResult, Session } from "../session.js";
import type { InlineSession } from "./inline.js";
import { formatMicros } from "./placement-decision.js";
import type { SessionCounters, ThreadPool } from "./thread-pool.js";

export type FirstHome =
  | { readonly kind: "inline"; readonly session: InlineSession; readonly placement: PlacementInfo }
  | { readonly kind: "thread-pool"; readonly session: ThreadPool };

type Home =
  | FirstHome
  /** Still inline, with the pool on its way; undefined when it could not be made. */
  | {
      readonly kind: "moving";
      readonly session: InlineSession;
      readonly placement: PlacementInfo;
      readonly pool: Promise<ThreadPool | undefined>;
    };

export interface PlacedSessionOptions {
  readonly name: string;
  readonly limits: Pick<RuntimeOptions, "inlineMaxFeedBytes" | "inlineSlowRunMicros">;
  readonly openPool: (reason: string) => Promise<ThreadPool>;
  readonly onReleased: (session: PlacedSession) => void;
}

/** After a pool could not be made, the next attempt waits so long. */
const moveAgainAfterMs = 30_000;

export class PlacedSession implements Session {
  readonly name: string;
  readonly #options: PlacedSessionOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #home: Home;
  #noMoveBefore = Number.NEGATIVE_INFINITY;
  #released: Promise<void> | undefined;
  /** Of the sessions it has left. */
  #past = { runs: 0, droppedBeforeRun: 0 };

  constructor(
    home: FirstHome,
    options: PlacedSessionOptions,
    { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
  ) {
    this.name = options.name;
    this.#options = options;
    this.#logger = logger;
    this.#clock = clock;
    this.#home = home;
  }

  get placement(): PlacementInfo {
    return this.#home.kind === "thread-pool" ? this.#home.session.placement : this.#home.placement;
  }

  get counters(): SessionCounters {
    const { runs, droppedBeforeRun } = this.#home.session.counters;
    return {
      refused: 0,
      workerDeaths: 0,
      ...this.#home.session.counters,
      runs: this.#past.runs + runs,
      droppedBeforeRun: this.#past.droppedBeforeRun + droppedBeforeRun,
    };
  }

  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[], options: RunOptions): Promise<RunResult> {
    if (this.#home.kind === "thread-pool") return this.#home.session.run(feeds, fetches, options);
    return this.#runHere(this.#home.session, feeds, fetches, options);
  }

  load(): { readonly queued: number; readonly running: number } {
    return this.#home.kind === "thread-pool" ? this.#home.session.load() : { queued: 0, running: 0 };
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    if (this.#home.kind === "moving") await this.#home.pool;
    await this.#home.session.release();
    this.#options.onReleased(this);
  }

  async #runHere(
    session: InlineSession,
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
  ): Promise<RunResult> {
    if (this.#released !== undefined) throw internal(`model "${this.name}" was run after its release`);
    if (exceeds(feeds, this.#options.limits.inlineMaxFeedBytes)) return this.#runLarge(feeds, fetches, options);
    try {
      return session.run(feeds, fetches, options);
    } finally {
      const averageMicros = session.averageRunMs * 1000;
      if (averageMicros > this.#options.limits.inlineSlowRunMicros) {
        this.#move(`its runs on the serving thread took ${formatMicros(averageMicros)} on average`);
      }
    }
  }

  /** How long it takes is not known from warm-up runs with one row; the serving thread is not the place to find out. */
  async #runLarge(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
  ): Promise<RunResult> {
    this.#move(`its calls carry more than the ${this.#options.limits.inlineMaxFeedBytes} bytes for the serving thread`);
    const pool = this.#home.kind === "moving" ? await this.#home.pool : undefined;
    if (pool !== undefined) return pool.run(feeds, fetches, options);
    // No pool can be made: slow is better than not at all.
    return this.#home.session.run(feeds, fetches, options);
  }

  #move(reason: string): void {
    if (this.#home.kind !== "inline" || this.#clock.now() < this.#noMoveBefore) return;
    const { session, placement } = this.#home;
    this.#home = { kind: "moving", session, placement, pool: this.#moveToPool(session, placement, reason) };
  }

  async #moveToPool(session: InlineSession, placement: PlacementInfo, reason: string): Promise<ThreadPool | undefined> {
    const log = { model: this.name, reason };
    this.#logger.info("a model leaves the serving thread", log);
    try {
      const pool = await this.#options.openPool(`moved off the serving thread: ${reason}`);
      this.#past = { ...session.counters };
      this.#home = { kind: "thread-pool", session: pool };
      session.release();
      return pool;
    } catch (error) {
      this.#logger.error("no thread pool could be made for a model, which stays on the serving thread", {
        ...log,
        error: errorMessage(error),
      });
      session.averageRunMs = 0;
      this.#noMoveBefore = this.#clock.now() + moveAgainAfterMs;
      this.#home = { kind: "inline", session, placement };
      return undefined;
    }
  }
}

function exceeds(feeds: ReadonlyMap<string, Tensor>, maxBytes: number): boolean {
  let bytes = 0;
  for (const tensor of feeds.values()) if (isNumeric(tensor)) bytes += tensor.data.byteLength;
  return bytes > maxBytes;
}
