/**
 * Where the server as a whole is in its life:
 * - serving: calls are welcome.
 * - draining: health says NOT_SERVING so that nobody sends more, but whoever does is still served.
 * - closed: the doors are closing; what never ends by itself (watches) ends now.
 */
export type ServingState = "serving" | "draining" | "closed";

/** Moved by the server, watched by the doors. It only moves forward. */
export class ServingSwitch {
  #state: ServingState = "serving";
  readonly #listeners = new Set<(state: ServingState) => void>();

  get state(): ServingState {
    return this.#state;
  }

  drain(): void {
    if (this.#state === "serving") this.#move("draining");
  }

  close(): void {
    if (this.#state !== "closed") this.#move("closed");
  }

  /** Calls back after each move. Returns the undo. */
  onChange(listener: (state: ServingState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #move(state: ServingState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }
}
