/** A call so soon after a run's end was on its way during the run. */
const closeMs = 0.03;
/** Batches of one call in a row before no more company is expected. */
const lonelyBatches = 8;

/**
 * Whether another call is likely to come within the same moment as this one. A call that finds the model idle gains
 * nothing by waiting for the end of the event loop's turn when it stays alone, and much when it does not: so one client
 * that calls again and again is answered at once, and many are answered together.
 */
export class Company {
  #expected = false;
  /** The last run of a call that was started at once. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #closeMs = closeMs;
  #lonely = 0;

  /** Asked by a call that finds the model idle. */
  expected(nowMs: number): boolean {
    if (!this.#expected && nowMs - this.#endedMs < this.#closeMs) {
      this.#expected = true;
      this.#lonely = 0;
    }
    return this.#expected;
  }

  /** A call ran by itself. */
  ran(endedMs: number, tookMs: number): void {
    this.#endedMs = endedMs;
    this.#closeMs = Math.max(closeMs, tookMs);
  }

  /** So many calls that waited were there to share a run. */
  met(calls: number): void {
    if (calls > 1) {
      this.#expected = true;
      this.#lonely = 0;
    } else if (++this.#lonely >= lonelyBatches) {
      this.#expected = false;
    }
  }
}
