// How often each version has answered, and where the time went: what Triton's statistics and its nv_inference_* metrics
// report, moved once for each inference, whichever door it came through.
import { Code } from "../status.js";
import type { CallRecord } from "./call-record.js";

export interface CountedTime {
  count: number;
  ms: number;
}

/** Triton's reasons for a request without an answer. */
export const failureReasons = ["REJECTED", "CANCELED", "BACKEND", "OTHER"] as const;
export type FailureReason = (typeof failureReasons)[number];

export interface VersionStatistics {
  readonly model: string;
  readonly version: bigint;
  /** Milliseconds since 1970; 0 before the first. */
  lastInferenceMs: number;
  /** Rows that were answered. */
  rows: number;
  /** Runs of the model: calls that shared a run share its one. */
  runs: number;
  /** Requests. */
  readonly success: CountedTime;
  readonly fail: CountedTime;
  readonly failures: Record<FailureReason, number>;
  /** Of the requests that were answered. */
  readonly queue: CountedTime;
  readonly computeInput: CountedTime;
  readonly computeInfer: CountedTime;
  readonly computeOutput: CountedTime;
  /** By rows that ran together, the runs and what they took. */
  readonly batches: Map<number, BatchStatistics>;
}

export interface BatchStatistics {
  runs: number;
  inputMs: number;
  inferMs: number;
  outputMs: number;
}

/** Sizes of batches that are told apart for one version; a client chooses the size of its own. */
const maxBatchSizes = 1024;

export class InferenceStatistics {
  readonly #byModel = new Map<string, Map<bigint, VersionStatistics>>();
  /** Of the version that was asked last. */
  #latest: VersionStatistics | undefined;

  /** Once for each inference, when it has been answered, well or not. */
  observe(record: CallRecord, version: bigint, code: Code, durationMs: number, wallTimeMs: number): void {
    const statistics = this.#of(record.model ?? "", version);
    if (code !== Code.OK) {
      add(statistics.fail, durationMs);
      statistics.failures[failureReason(code)] += 1;
      return;
    }
    const { rows = 1, batchSize = 0, queueMs = 0, computeMs = 0, inputMs = 0, outputMs = 0 } = record;
    // Of a shared run each call accounts for the part that its rows are, so that the parts add up to one.
    const share = batchSize > rows ? rows / batchSize : 1;
    statistics.lastInferenceMs = wallTimeMs;
    statistics.rows += rows;
    statistics.runs += share;
    add(statistics.success, durationMs);
    add(statistics.queue, queueMs);
    add(statistics.computeInput, inputMs);
    add(statistics.computeInfer, computeMs);
    add(statistics.computeOutput, outputMs);
    const batch = batchOf(statistics, Math.max(batchSize, rows));
    if (batch === undefined) return;
    batch.runs += share;
    batch.inputMs += inputMs;
    batch.inferMs += computeMs * share;
    batch.outputMs += outputMs;
  }

  /** undefined: it has not been asked anything yet. */
  read(model: string, version: bigint): VersionStatistics | undefined {
    return this.#byModel.get(model)?.get(version);
  }

  *[Symbol.iterator](): IterableIterator<VersionStatistics> {
    for (const versions of this.#byModel.values()) yield* versions.values();
  }

  /** Adds what another process has answered. */
  absorb(others: Iterable<VersionStatistics>): void {
    for (const other of others) {
      const own = this.#of(other.model, other.version);
      own.lastInferenceMs = Math.max(own.lastInferenceMs, other.lastInferenceMs);
      own.rows += other.rows;
      own.runs += other.runs;
      for (const time of ["success", "fail", "queue", "computeInput", "computeInfer", "computeOutput"] as const) {
        own[time].count += other[time].count;
        own[time].ms += other[time].ms;
      }
      for (const reason of failureReasons) own.failures[reason] += other.failures[reason];
      for (const [size, { runs, inputMs, inferMs, outputMs }] of other.batches) {
        const batch = batchOf(own, size);
        if (batch === undefined) continue;
        batch.runs += runs;
        batch.inputMs += inputMs;
        batch.inferMs += inferMs;
        batch.outputMs += outputMs;
      }
    }
  }

  forget(model: string, version: bigint): void {
    this.#byModel.get(model)?.delete(version);
    this.#latest = undefined;
  }

  #of(model: string, version: bigint): VersionStatistics {
    const latest = this.#latest;
    if (latest !== undefined && latest.version === version && latest.model === model) return latest;
    let versions = this.#byModel.get(model);
    if (versions === undefined) {
      versions = new Map();
      this.#byModel.set(model, versions);
    }
    let statistics = versions.get(version);
    if (statistics === undefined) {
      statistics = emptyStatistics(model, version);
      versions.set(version, statistics);
    }
    this.#latest = statistics;
    return statistics;
  }
}

export function emptyStatistics(model: string, version: bigint): VersionStatistics {
  const none = (): CountedTime => ({ count: 0, ms: 0 });
  return {
    model,
    version,
    lastInferenceMs: 0,
    rows: 0,
    runs: 0,
    success: none(),
    fail: none(),
    failures: { REJECTED: 0, CANCELED: 0, BACKEND: 0, OTHER: 0 },
    queue: none(),
    computeInput: none(),
    computeInfer: none(),
    computeOutput: none(),
    batches: new Map(),
  };
}

function add(time: CountedTime, ms: number): void {
  time.count += 1;
  time.ms += ms;
}

function batchOf({ batches }: VersionStatistics, size: number): BatchStatistics | undefined {
  let batch = batches.get(size);
  if (batch === undefined && batches.size < maxBatchSizes) {
    batch = { runs: 0, inputMs: 0, inferMs: 0, outputMs: 0 };
    batches.set(size, batch);
  }
  return batch;
}

function failureReason(code: Code): FailureReason {
  switch (code) {
    case Code.UNAVAILABLE:
    case Code.RESOURCE_EXHAUSTED:
      return "REJECTED";
    case Code.CANCELLED:
    case Code.DEADLINE_EXCEEDED:
      return "CANCELED";
    case Code.INTERNAL:
    case Code.UNKNOWN:
      return "BACKEND";
    default:
      return "OTHER";
  }
}
