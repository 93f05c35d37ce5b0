// All that crosses between the serving thread and a worker thread. A worker answers in the order it was asked.
import type { ModelDescription } from "../../onnx/index.js";
import type { Code } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import type { ValidSessionOptions } from "../session-options.js";
import type { ThreadPlan } from "../thread-plan.js";
import type { WarmupMeasure } from "../warm-up.js";
import type { SessionSource } from "./native-session.js";

export type ToWorker = LoadMessage | JoinMessage | RunMessage | ReleaseMessage;
export type FromWorker =
  | LoadedMessage
  | JoinedMessage
  | OpenFailedMessage
  | RanMessage
  | RunFailedMessage
  | SkippedMessage;

/** The first message: read a model file, make its first session, and measure it. */
export interface LoadMessage {
  readonly kind: "load";
  readonly path: string;
  readonly maxFileBytes: number;
  readonly asked: Pick<ValidSessionOptions, "poolSize" | "intraOpThreads">;
  readonly cpus: number;
  readonly warmupMaxBytes: number;
  /** The time to make a session is measured again when it is longer than this. */
  readonly inlineMaxCreateMs: number;
  readonly claims: Claims;
}

/** The first message for all further workers: make one more session of a model that has been loaded. */
export interface JoinMessage {
  readonly kind: "join";
  readonly model: OpenedModel;
  readonly warmupMaxBytes: number;
  readonly claims: Claims;
}

/** What all sessions of a model are made from. */
export interface OpenedModel {
  readonly description: ModelDescription;
  /** Rewritten bytes are in shared memory, so that all workers read the same copy. */
  readonly source: SessionSource;
  readonly stamp: FileStamp;
  readonly plan: ThreadPlan;
}

/** By which a file is recognized: a worker made later must not serve another model under the same name. */
export interface FileStamp {
  readonly sizeBytes: bigint;
  readonly modifiedNs: bigint;
  readonly inode: bigint;
}

export interface LoadedMessage {
  readonly kind: "loaded";
  readonly model: OpenedModel;
  readonly warmup: WarmupMeasure;
  /** How long it takes to make a session. */
  readonly createMs: number;
  /** Types of the graph's nodes; undefined for a file that keeps its graph to itself. */
  readonly operators: readonly string[] | undefined;
}

export interface JoinedMessage {
  readonly kind: "joined";
}

export interface OpenFailedMessage {
  readonly kind: "open-failed";
  readonly code: Code;
  readonly message: string;
}

export interface RunMessage {
  readonly kind: "run";
  readonly id: number;
  /** Numeric data owns its whole buffer: cloning a view would copy all of the buffer under it. */
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly fetches: readonly string[];
}

export interface RanMessage {
  readonly kind: "ran";
  readonly id: number;
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly computeMs: number;
}

export interface RunFailedMessage {
  readonly kind: "run-failed";
  readonly id: number;
  /** The runtime's words. */
  readonly text: string;
}

/** The run had been withdrawn before it started. */
export interface SkippedMessage {
  readonly kind: "skipped";
  readonly id: number;
}

/** The last message: release the session, and end. Runs sent before it are still answered. */
export interface ReleaseMessage {
  readonly kind: "release";
}

/**
 * Shared memory by which a run that has been sent but not started can still be withdrawn: whoever changes its word from
 * WAITING first, decides. Run `id` owns word `id % maxInFlight`.
 */
export type Claims = Int32Array<SharedArrayBuffer>;

export const Claim = { WAITING: 0, STARTED: 1, WITHDRAWN: 2 } as const;

/** Runs that a worker may hold: one that runs, and one so that the next can start without waiting for us. */
export const maxInFlight = 2;

export function createClaims(): Claims {
  return new Int32Array(new SharedArrayBuffer(maxInFlight * Int32Array.BYTES_PER_ELEMENT));
}

/** True when the run was still waiting and now belongs to the caller. */
export function claim(claims: Claims, id: number, as: typeof Claim.STARTED | typeof Claim.WITHDRAWN): boolean {
  return Atomics.compareExchange(claims, id % maxInFlight, Claim.WAITING, as) === Claim.WAITING;
}
