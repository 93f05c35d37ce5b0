// Whether calls that carry much are short enough for the serving thread after all. How long they take is found out where it
// harms nobody, in a thread pool.
import type { Clock } from "../../clock.js";
import { byteLength, isNumeric, NamedValues, type Tensor } from "../../tensor/index.js";
import type { Waiter } from "../../waiter.js";
import type { RuntimeOptions } from "../runtime-options.js";
import type { RunOptions, RunResult } from "../session.js";

/** So many more large calls have to be short than the long ones among them take back. */
const neededRuns = 32;
/**
 * What one long run takes back. It is mostly a short one that lost its core on the way: on a server that is busy, a quarter
 * of the runs of a model that copies 1 MB took up to twice their time. With a third of them long, it takes hundreds of runs
 * until enough are short, and many more with half of them.
 */
const takenByLong = 2;
/** But a run beyond so many times what is too slow for the serving thread takes back all. */
const mostSlowness = 2;
/**
 * What carrying feeds to another thread and as much back costs, about, beside a hop: no copy, but the memory is in no cache
 * that is near. Measured with 1 MB each way: 200 to 330 µs of CPU, on one core as on two.
 */
const carriedBytesPerMicro = 4096;
/** Kinds of calls that are watched, and kinds that have been proven, at most. */
const maxKinds = 8;
/** After a model has come back, and had to leave again, it stays away so long; then twice as long, and so on. */
const firstPauseMs = 10_000;
const longestPauseMs = 3_600_000;

/** Calls whose time can be foretold by their rows are of one kind; of the others, each with its exact shapes. */
const foretold = "foretold";

export type SizeTrialLimits = Pick<
  RuntimeOptions,
  "cpus" | "inlineMaxFeedBytes" | "inlineSlowRunMicros" | "inlineThresholdMicros"
>;

export class SizeTrial {
  readonly #limits: SizeTrialLimits;
  readonly #clock: Clock;
  readonly #onProven: () => void;
  /** Short runs of each kind, less what long ones took back; undefined while nothing is on trial. */
  #shortRuns: Map<string, number> | undefined;
  readonly #proven = new Set<string>();
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #pauseMs = firstPauseMs;

  constructor(limits: SizeTrialLimits, clock: Clock, onProven: () => void) {
    this.#limits = limits;
    this.#clock = clock;
    this.#onProven = onProven;
  }

  /** The model leaves the serving thread because of what its calls carry, or how long they will take for it. */
  begin(): void {
    this.#shortRuns ??= new Map();
  }

  /** Runs on the serving thread were slow: nothing is proven any more. */
  forget(): void {
    this.#shortRuns = undefined;
    this.#proven.clear();
  }

  /** Whether calls of exactly these shapes were found to be short. */
  hasProven(feeds: ReadonlyMap<string, Tensor>): boolean {
    return this.#proven.size > 0 && this.#proven.has(kindOf(feeds));
  }

  /** @returns what the run in the pool is to report to, the waiter itself unless the call is on trial */
  watch(
    feeds: ReadonlyMap<string, Tensor>,
    { expectedMs, expectedIsGuess = false }: RunOptions,
    waiter: Waiter<RunResult>,
  ): Waiter<RunResult> {
    if (this.#shortRuns === undefined || this.#clock.now() < this.#notBeforeMs) return waiter;
    const bytes = feedBytes(feeds);
    if (bytes <= this.#limits.inlineMaxFeedBytes) return waiter;
    // Before the run: feeds that were given away are empty after it.
    const kind = expectedMs === undefined || expectedIsGuess ? kindOf(feeds) : foretold;
    return {
      resolve: (result) => {
        if (this.#ran(kind, bytes, result.computeMs)) this.#onProven();
        waiter.resolve(result);
      },
      reject: (error) => waiter.reject(error),
    };
  }

  /** @returns whether that was the last run that was needed */
  #ran(kind: string, bytes: number, computeMs: number): boolean {
    if (this.#shortRuns === undefined) return false;
    const { cpus, inlineThresholdMicros, inlineSlowRunMicros } = this.#limits;
    // With a single CPU nothing is gained by another thread but that others need not wait for the run.
    const wayMicros = cpus === 1 ? inlineSlowRunMicros : inlineThresholdMicros + bytes / carriedBytesPerMicro;
    const short = computeMs * 1000 < Math.min(wayMicros, inlineSlowRunMicros);
    const tooSlow = computeMs * 1000 > mostSlowness * inlineSlowRunMicros;
    const before = tooSlow ? 0 : (this.#shortRuns.get(kind) ?? 0);
    const runs = short ? before + 1 : Math.max(0, before - takenByLong);
    if (tooSlow || (this.#shortRuns.size >= maxKinds && !this.#shortRuns.has(kind))) this.#shortRuns.clear();
    this.#shortRuns.set(kind, runs);
    if (runs < neededRuns) return false;
    this.#shortRuns = undefined;
    if (this.#proven.size >= maxKinds) this.#proven.clear();
    if (kind !== foretold) this.#proven.add(kind);
    this.#notBeforeMs = this.#clock.now() + this.#pauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, longestPauseMs);
    return true;
  }
}

/** Of the tensors of numbers. */
export function feedBytes(feeds: ReadonlyMap<string, Tensor>): number {
  let bytes = 0;
  for (const tensor of NamedValues.from(feeds).items) if (isNumeric(tensor)) bytes += byteLength(tensor);
  return bytes;
}

function kindOf(feeds: ReadonlyMap<string, Tensor>): string {
  const { names, items } = NamedValues.from(feeds);
  let kind = "";
  for (let index = 0; index < names.length; index++) {
    kind += `${JSON.stringify(names[index])}${items[index]!.dtype}[${items[index]!.shape.join()}]`;
  }
  return kind;
}
