// A model on the serving thread, for models whose run is shorter than the way to another thread and back.
import type { Clock } from "../../clock.js";
import { deadlineExceeded, errorMessage } from "../../status.js";
import { discardTensors, type Tensor } from "../../tensor/index.js";
import type { RunOptions, RunResult } from "../session.js";
import { warmupFeeds } from "../warm-up.js";
import type { OpenedModel } from "./messages.js";
import { createNativeSession, type NativeSession } from "./native-session.js";
import { runFailure } from "./run-failure.js";

/** Weight of the newest run in the average. */
const averaging = 1 / 8;
/**
 * One run counts for no more than this many times what is too slow: on a busy machine the thread itself may be kept from
 * running for a while, which says nothing of the model. It takes six slow runs in a row to be slow.
 */
const mostSlowness = 2;
/** But a run beyond this many times was too long whatever the reason. */
const blatantSlowness = 50;

/** Runs at once: when run() returns, the answer is there. So nothing ever waits, and nothing is under way. */
export class InlineSession {
  readonly #name: string;
  readonly #session: NativeSession;
  readonly #clock: Clock;
  readonly #slowRunMs: number;
  readonly counters = { runs: 0, droppedBeforeRun: 0 };
  /** Moving average, runs that failed included; see mostSlowness. */
  averageRunMs = 0;

  /**
   * Throws what the runtime throws when it refuses the model.
   * @param slowRunMs what is too slow for the serving thread
   */
  static open(
    name: string,
    model: OpenedModel,
    { warmupMaxBytes, slowRunMs }: { readonly warmupMaxBytes: number; readonly slowRunMs: number },
    clock: Clock,
  ): InlineSession {
    const session = createNativeSession(model.source, 1);
    try {
      const warmup = warmupFeeds(model.description.inputs, warmupMaxBytes);
      const fetches = model.description.outputs.map((output) => output.name);
      if ("feeds" in warmup) session.run(warmup.feeds, fetches);
      return new InlineSession(name, session, slowRunMs, clock);
    } catch (error) {
      session.release();
      throw error;
    }
  }

  private constructor(name: string, session: NativeSession, slowRunMs: number, clock: Clock) {
    this.#name = name;
    this.#session = session;
    this.#slowRunMs = slowRunMs;
    this.#clock = clock;
  }

  /** Throws as Session.run rejects. */
  run(
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    { cancellation: { reason, deadlineMs }, feedsMayBeTaken = false }: RunOptions,
  ): RunResult {
    const start = this.#clock.now();
    if (reason !== undefined || (deadlineMs !== undefined && start >= deadlineMs)) {
      this.counters.droppedBeforeRun += 1;
      throw reason ?? deadlineExceeded(`model "${this.#name}": the deadline passed before the run`);
    }
    try {
      const outputs = this.#session.run(feeds, fetches);
      return { outputs, queueMs: 0, computeMs: this.#noteRun(start), batchSize: 0 };
    } catch (error) {
      this.#noteRun(start);
      throw runFailure(this.#name, errorMessage(error));
    } finally {
      if (feedsMayBeTaken) discardTensors(feeds);
    }
  }

  #noteRun(start: number): number {
    const computeMs = this.#clock.now() - start;
    this.counters.runs += 1;
    const blatant = computeMs > blatantSlowness * this.#slowRunMs;
    const counted = blatant ? computeMs : Math.min(computeMs, mostSlowness * this.#slowRunMs);
    this.averageRunMs += (counted - this.averageRunMs) * averaging;
    return computeMs;
  }

  /** Idempotent. */
  release(): void {
    this.#session.release();
  }
}
