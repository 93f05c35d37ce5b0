// The limits of time that a connection is held to. It only counts and decides; the connection acts.
import type { Http2Options } from "./http2-options.js";
import { ErrorCode } from "./protocol.js";

/** What a connection looks like when it is looked at, about once a second. */
export interface ConnectionSnapshot {
  /** Bytes came since it was looked at last. */
  readonly heard: boolean;
  readonly calls: number;
  /** Grows with every frame of a request. */
  readonly framesReceived: number;
  /** Grows with every frame of a response. */
  readonly framesSent: number;
  /** Stands for the frame or header block that has begun and not ended; another object for another one. */
  readonly unfinished: object | undefined;
  /** Bytes that the kernel has taken, and that wait for it to take them. */
  readonly takenBytes: number;
  readonly waitingBytes: number;
  /** So many responses wait that calls get no further requests. */
  readonly congested: boolean;
}

export type WatchAction =
  | { readonly name: "ping" }
  | { readonly name: "drain" }
  | { readonly name: "end-calls" }
  | { readonly name: "destroy" }
  | { readonly name: "fail"; readonly code: ErrorCode; readonly message: string };

export type WatchLimits = Pick<
  Http2Options,
  | "keepaliveTimeMs"
  | "keepaliveTimeoutMs"
  | "maxConnectionAgeMs"
  | "maxConnectionAgeGraceMs"
  | "maxConnectionIdleMs"
  | "handshakeTimeoutMs"
  | "responseStallTimeoutMs"
>;

/** Between ending the calls of a connection and cutting it: time for the word to leave. */
const farewellMs = 2000;

export class ConnectionWatch {
  readonly #limits: WatchLimits;
  #last: ConnectionSnapshot | undefined;
  #ageMs = 0;
  #quietMs = 0;
  /** Since the PING that asks for a sign of life; undefined: none is on its way. */
  #pingMs: number | undefined;
  #idleMs = 0;
  #unfinishedMs = 0;
  #stalledMs = 0;

  /** @param limits its ages with whatever spread they are to have */
  constructor(limits: WatchLimits) {
    this.#limits = limits;
  }

  /** @returns what is due; more than one thing may be */
  elapse(ms: number, now: ConnectionSnapshot): WatchAction[] {
    const last = this.#last;
    this.#last = now;
    const due = [this.#liveness(ms, now), this.#age(ms), this.#idleness(ms, now, last)];
    due.push(this.#unfinished(ms, now, last), this.#stall(ms, now, last));
    return due.filter((action) => action !== undefined);
  }

  #liveness(ms: number, now: ConnectionSnapshot): WatchAction | undefined {
    if (now.heard) {
      this.#quietMs = 0;
      this.#pingMs = undefined;
      return undefined;
    }
    this.#quietMs += ms;
    if (this.#pingMs !== undefined) {
      this.#pingMs += ms;
      return this.#pingMs >= this.#limits.keepaliveTimeoutMs ? { name: "destroy" } : undefined;
    }
    if (this.#quietMs < this.#limits.keepaliveTimeMs) return undefined;
    this.#pingMs = 0;
    return { name: "ping" };
  }

  #age(ms: number): WatchAction | undefined {
    const { maxConnectionAgeMs, maxConnectionAgeGraceMs } = this.#limits;
    this.#ageMs += ms;
    const overdueMs = this.#ageMs - maxConnectionAgeMs;
    if (maxConnectionAgeMs === 0 || overdueMs < 0) return undefined;
    if (maxConnectionAgeGraceMs === 0 || overdueMs < maxConnectionAgeGraceMs) return { name: "drain" };
    return { name: overdueMs < maxConnectionAgeGraceMs + farewellMs ? "end-calls" : "destroy" };
  }

  #idleness(ms: number, now: ConnectionSnapshot, last: ConnectionSnapshot | undefined): WatchAction | undefined {
    const { maxConnectionIdleMs } = this.#limits;
    const idle = now.calls === 0 && now.framesReceived === last?.framesReceived;
    this.#idleMs = idle ? this.#idleMs + ms : 0;
    return maxConnectionIdleMs > 0 && this.#idleMs >= maxConnectionIdleMs ? { name: "drain" } : undefined;
  }

  /** A frame or a header block that does not end keeps buffers, and all streams waiting. */
  #unfinished(ms: number, now: ConnectionSnapshot, last: ConnectionSnapshot | undefined): WatchAction | undefined {
    const same = now.unfinished !== undefined && now.unfinished === last?.unfinished;
    this.#unfinishedMs = same ? this.#unfinishedMs + ms : 0;
    if (this.#unfinishedMs < this.#limits.handshakeTimeoutMs) return undefined;
    const message = "a frame or a header block was begun and not ended";
    return { name: "fail", code: ErrorCode.ENHANCE_YOUR_CALM, message };
  }

  #stall(ms: number, now: ConnectionSnapshot, last: ConnectionSnapshot | undefined): WatchAction | undefined {
    const socketStalled = now.waitingBytes > 0 && now.takenBytes === last?.takenBytes;
    const congestionStalled = now.congested && now.framesSent === last?.framesSent;
    this.#stalledMs = socketStalled || congestionStalled ? this.#stalledMs + ms : 0;
    if (this.#stalledMs < this.#limits.responseStallTimeoutMs) return undefined;
    return { name: "fail", code: ErrorCode.ENHANCE_YOUR_CALM, message: "responses are not being read" };
  }
}
