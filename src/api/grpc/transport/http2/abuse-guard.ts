// Counts what costs us more than it costs the client, within windows of time, and says when it is too much.
import { ConnectionError, ErrorCode } from "./protocol.js";

export interface AbuseLimits {
  readonly maxResets: number;
  readonly maxIdleFrames: number;
  readonly abuseWindowMs: number;
}

export class AbuseGuard {
  readonly #limits: AbuseLimits;
  #windowMs = 0;
  #streams = 0;
  #resets = 0;
  #idleFrames = 0;
  /** What the work done amounted to when idle frames were last counted. */
  #workDone = 0;

  constructor(limits: AbuseLimits) {
    this.#limits = limits;
  }

  /** Time has passed. */
  elapse(ms: number): void {
    this.#windowMs += ms;
    if (this.#windowMs < this.#limits.abuseWindowMs) return;
    this.#windowMs = 0;
    this.#streams = 0;
    this.#resets = 0;
    this.#idleFrames = 0;
  }

  streamOpened(): void {
    this.#streams += 1;
  }

  /**
   * A stream was reset by the client, or by us for a fault of the client's, before it was answered (CVE-2023-44487). A
   * client whose calls often run into deadlines resets many too, but most of its calls are answered.
   * @throws ConnectionError
   */
  streamReset(): void {
    this.#resets += 1;
    if (this.#resets > this.#limits.maxResets && this.#resets * 2 > this.#streams) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset");
    }
  }

  /**
   * A frame came that is of no use to any call: PING, SETTINGS, an empty DATA …
   * @param workDone grows with every frame of use, either way: clients send PINGs and WINDOW_UPDATEs along with those
   * @throws ConnectionError
   */
  idleFrame(workDone: number): void {
    if (workDone !== this.#workDone) {
      this.#workDone = workDone;
      this.#idleFrames = 0;
    }
    this.#idleFrames += 1;
    if (this.#idleFrames > this.#limits.maxIdleFrames) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without use");
    }
  }
}
