// A session wherever it lives. A model that was put on the serving thread and turns out not to belong there moves to a
// thread pool while it serves: the pool is made beside it, then takes over between two calls. One that time alone keeps in
// a pool is measured again now and then, and comes back when it was mismeasured: machines are busy when servers start. So
// does one that went because of what its calls carry, when they turn out to be short (size-trial.ts).
import { neverCancelled } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { errorMessage, internal } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { discardTensors, type Tensor } from "../../tensor/index.js";
import { promiseOf, tell, type Waiter } from "../../waiter.js";
import type { PlacementInfo, RunOptions, RunResult, Session } from "../session.js";
import { median } from "../warm-up.js";
import type { InlineSession } from "./inline.js";
import { formatMicros } from "./placement-decision.js";
import { feedBytes, SizeTrial, type SizeTrialLimits } from "./size-trial.js";
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
  readonly limits: SizeTrialLimits;
  readonly openPool: (reason: string) => Promise<ThreadPool>;
  /** undefined: the serving thread could not make its session. */
  readonly openInline: () => InlineSession | undefined;
  /** See PlacementDecision. */
  readonly timeDecides: boolean;
  /** Feeds that the model can be measured with; undefined: there are none. */
  readonly measuringFeeds: () => ReadonlyMap<string, Tensor> | undefined;
  readonly fetches: readonly string[];
  readonly onReleased: (session: PlacedSession) => void;
}

/** After a pool could not be made, the next attempt waits so long. */
const moveAgainAfterMs = 30_000;
/** In a pool, the model is measured again after so long, then twice as long, and so on to the longest. */
const firstLookMs = 10_000;
const longestLookMs = 3_600_000;
const measuringRuns = 9;

export class PlacedSession implements Session {
  readonly name: string;
  readonly #options: PlacedSessionOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #home: Home;
  #noMoveBefore = Number.NEGATIVE_INFINITY;
  #released: Promise<void> | undefined;
  /** Of the sessions it has left. */
  readonly #past = { runs: 0, droppedBeforeRun: 0 };
  /** When a model in a pool is measured again. */
  #lookAtMs: number;
  #lookAfterMs = firstLookMs;
  /** It is being measured. */
  #looking: Promise<void> | undefined;
  /** Of calls that sent it to a pool because of what they carry. */
  readonly #trial: SizeTrial;
  /** Pools it has left that have not ended. */
  readonly #left = new Set<Promise<void>>();

  constructor(
    home: FirstHome,
    options: PlacedSessionOptions,
    { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
  ) {
    this.name = options.name;
    this.#options = options;
    this.#logger = logger;
    this.#clock = clock;
    this.#trial = new SizeTrial(options.limits, clock, () => this.#returnForLarge());
    this.#home = home;
    this.#lookAtMs = options.timeDecides ? clock.now() + firstLookMs : Number.POSITIVE_INFINITY;
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
    return promiseOf((waiter) => this.start(feeds, fetches, { ...options, outputsAreBorrowed: false }, waiter));
  }

  start(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
    waiter: Waiter<RunResult>,
  ): void {
    const home = this.#home;
    if (home.kind === "thread-pool") {
      home.session.start(feeds, fetches, options, this.#trial.watch(feeds, options, waiter));
      if (this.#clock.now() >= this.#lookAtMs) this.#look(home.session);
    } else if (this.#released !== undefined) {
      waiter.reject(internal(`model "${this.name}" was run after its release`));
    } else if (this.#isLarge(feeds, options)) {
      tell(this.#runLarge(feeds, fetches, options), waiter);
    } else {
      this.#runHere(home.session, feeds, fetches, options, waiter);
    }
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
    await this.#looking;
    await this.#home.session.release();
    await Promise.all(this.#left);
    this.#options.onReleased(this);
  }

  /** Whether a call is not for the serving thread, by what is known of such calls or else by its size. */
  #isLarge(feeds: ReadonlyMap<string, Tensor>, { expectedMs, expectedIsGuess = false }: RunOptions): boolean {
    const { inlineSlowRunMicros, inlineMaxFeedBytes } = this.#options.limits;
    if (expectedMs !== undefined) {
      const isSlow = expectedMs * 1000 > inlineSlowRunMicros;
      if (!isSlow || !expectedIsGuess) return isSlow;
    }
    return feedBytes(feeds) > inlineMaxFeedBytes && !this.#trial.hasProven(feeds);
  }

  #runHere(
    session: InlineSession,
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
    waiter: Waiter<RunResult>,
  ): void {
    let result: RunResult | undefined;
    let failure: unknown;
    try {
      result = session.run(feeds, fetches, options);
    } catch (thrown) {
      failure = thrown;
    }
    const averageMicros = session.averageRunMs * 1000;
    if (averageMicros > this.#options.limits.inlineSlowRunMicros) {
      this.#trial.forget();
      this.#move(`its runs on the serving thread took ${formatMicros(averageMicros)} on average`);
    }
    if (result === undefined) {
      waiter.reject(failure);
    } else {
      waiter.resolve(result);
      if (options.outputsAreBorrowed === true) discardTensors(result.outputs);
    }
  }

  /** How long it takes is not known from warm-up runs with one row; the serving thread is not the place to find out. */
  async #runLarge(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
  ): Promise<RunResult> {
    const { inlineMaxFeedBytes, inlineSlowRunMicros } = this.#options.limits;
    this.#move(
      options.expectedMs === undefined || options.expectedIsGuess === true
        ? `its calls carry more than the ${inlineMaxFeedBytes} bytes for the serving thread`
        : `its calls take longer than the ${formatMicros(inlineSlowRunMicros)} for the serving thread`,
    );
    this.#lookAtMs = Number.POSITIVE_INFINITY; // small ones, which it is measured with, are not what it gets
    this.#trial.begin();
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
      this.#leave(session.counters);
      this.#home = { kind: "thread-pool", session: pool };
      if (this.#lookAtMs !== Number.POSITIVE_INFINITY) this.#lookLater();
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

  #leave({ runs, droppedBeforeRun }: { readonly runs: number; readonly droppedBeforeRun: number }): void {
    this.#past.runs += runs;
    this.#past.droppedBeforeRun += droppedBeforeRun;
  }

  #lookLater(): void {
    this.#lookAtMs = this.#clock.now() + this.#lookAfterMs;
  }

  /** Measures the model in its pool, beside the calls it has, and brings it back if it was mismeasured. */
  #look(pool: ThreadPool): void {
    this.#lookAfterMs = Math.min(2 * this.#lookAfterMs, longestLookMs);
    this.#lookLater();
    if (this.#looking !== undefined || this.#released !== undefined) return;
    this.#looking = this.#measure(pool)
      .then((micros) => {
        const { inlineThresholdMicros } = this.#options.limits;
        if (micros >= inlineThresholdMicros) return;
        const limit = `the ${formatMicros(inlineThresholdMicros)} limit of the serving thread`;
        this.#return(pool, `measured again: median run ${formatMicros(micros)}, under ${limit}`);
      })
      .catch((error: unknown) => {
        this.#logger.debug("a model could not be measured again", { model: this.name, error: errorMessage(error) });
      })
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #measure(pool: ThreadPool): Promise<number> {
    const feeds = this.#options.measuringFeeds();
    if (feeds === undefined) return Number.POSITIVE_INFINITY;
    const micros: number[] = [];
    while (micros.length < measuringRuns) {
      const { computeMs } = await pool.run(feeds, this.#options.fetches, { cancellation: neverCancelled });
      micros.push(computeMs * 1000);
    }
    return median(micros);
  }

  /** Calls that carry much have turned out to run in less than it takes to carry it to a thread. */
  #returnForLarge(): void {
    if (this.#home.kind !== "thread-pool") return;
    this.#return(
      this.#home.session,
      "measured in a thread pool: its large calls run for less than their way to a thread costs",
    );
  }

  #return(pool: ThreadPool, reason: string): void {
    if (this.#released !== undefined || this.#home.session !== pool) return;
    const session = this.#options.openInline();
    if (session === undefined) return;
    this.#logger.info("a model moves to the serving thread", { model: this.name, reason });
    this.#leave(pool.counters);
    const { warmupRunMicros } = pool.placement;
    const placement: PlacementInfo = { kind: "inline", sessions: 1, intraOpThreads: 1, warmupRunMicros, reason };
    this.#home = { kind: "inline", session, placement };
    const ended = pool.release().finally(() => this.#left.delete(ended));
    this.#left.add(ended);
  }
}
