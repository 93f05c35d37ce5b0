/** Who waits to be told that its turn has come. */
export interface Reserver {
  reservationGranted(): void;
}

/**
 * Which calls of a connection may send a message that is larger than its stream's window. Room for all of a message is set
 * aside before more of it may come, so that what has begun can always be completed; the others wait in the order they came.
 */
export class RequestBudget {
  readonly #maxBytes: number;
  readonly #granted = new Map<Reserver, number>();
  readonly #waiting = new Map<Reserver, number>();
  #grantedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** False: not yet; reservationGranted() follows. */
  reserve(reserver: Reserver, bytes: number): boolean {
    if (this.#waiting.size > 0 || !this.#fits(bytes)) {
      this.#waiting.set(reserver, bytes);
      return false;
    }
    this.#grant(reserver, bytes);
    return true;
  }

  /** The message has come, or never will. */
  release(reserver: Reserver): void {
    const bytes = this.#granted.get(reserver);
    if (bytes === undefined) {
      if (this.#waiting.size > 0) this.#waiting.delete(reserver);
    } else {
      this.#granted.delete(reserver);
      this.#grantedBytes -= bytes;
    }
    for (const [next, nextBytes] of this.#waiting) {
      if (!this.#fits(nextBytes)) break;
      this.#waiting.delete(next);
      this.#grant(next, nextBytes);
      next.reservationGranted();
    }
  }

  /** A message larger than all of the budget goes alone. */
  #fits(bytes: number): boolean {
    return this.#granted.size === 0 || this.#grantedBytes + bytes <= this.#maxBytes;
  }

  #grant(reserver: Reserver, bytes: number): void {
    this.#granted.set(reserver, bytes);
    this.#grantedBytes += bytes;
  }
}
