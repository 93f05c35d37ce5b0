import type { Clock } from "../../../../clock.js";

/** The next call came in time so often, more than it did not, at most; from half of it on it is expected. */
const surest = 16;
/** It looks so often at most, whatever the clock says. */
const mostLooks = 1000;

export interface BusyPollDeps {
  readonly clock: Clock;
  /** Calls back after the event loop has looked for something to read, without waiting for it. */
  readonly nextTurn: (callback: () => void) => void;
}

/**
 * After an answer the thread keeps looking for the next request for some microseconds before it goes to sleep: to be woken
 * costs more than a small model's run, and a client that calls again and again waits for it each time. Only while requests
 * do come in that time: what is spent in vain is at most one such time for every two requests that came within it.
 */
export class BusyPoll {
  readonly #windowMs: number;
  readonly #clock: Clock;
  readonly #nextTurn: BusyPollDeps["nextTurn"];
  #answeredMs = Number.NEGATIVE_INFINITY;
  /** Something has come since the last answer. */
  #come = true;
  #sureness = 0;
  #looking = false;
  #looks = 0;
  readonly #look = () => {
    this.#looks += 1;
    this.#looking = this.#looks < mostLooks && this.#clock.now() - this.#answeredMs < this.#windowMs;
    if (this.#looking) this.#nextTurn(this.#look);
  };

  /** @param windowMicros how long it looks; 0: not at all */
  constructor(windowMicros: number, { clock, nextTurn }: BusyPollDeps) {
    this.#windowMs = windowMicros / 1000;
    this.#clock = clock;
    this.#nextTurn = nextTurn;
  }

  /** Something came from a client. */
  received(): void {
    if (this.#windowMs === 0 || this.#come) return;
    this.#come = true;
    const inTime = this.#clock.now() - this.#answeredMs < this.#windowMs;
    this.#sureness = inTime ? Math.min(this.#sureness + 1, surest) : Math.max(this.#sureness - 2, 0);
  }

  /** Something was sent to a client. */
  answered(): void {
    if (this.#windowMs === 0) return;
    this.#answeredMs = this.#clock.now();
    this.#come = false;
    this.#looks = 0;
    if (this.#looking || this.#sureness < surest / 2) return;
    this.#looking = true;
    this.#nextTurn(this.#look);
  }
}
