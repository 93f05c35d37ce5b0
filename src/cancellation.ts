// Why not AbortSignal: one is made for every call, and an AbortController with its EventTarget costs more than a small
// model's run. This is the same idea with one field and one list.
import type { StatusError } from "./status.js";

/** What the holder of work sees: whether its caller still wants it. */
export interface Cancellation {
  /** Set once, when the caller went away or its deadline passed; the error to fail the work with. */
  readonly reason: StatusError | undefined;
  /** When the answer is of no use any more, on Clock.now()'s scale; undefined: never. */
  readonly deadlineMs: number | undefined;
  /** Calls back once on cancellation, at once when it has happened already. Returns the undo. */
  onCancel(listener: (reason: StatusError) => void): () => void;
}

const nothing = () => {};

/** For work that nobody can cancel: warm-up, tests. */
export const neverCancelled: Cancellation = {
  reason: undefined,
  deadlineMs: undefined,
  onCancel: () => nothing,
};

export class CancellationSource implements Cancellation {
  reason: StatusError | undefined;
  readonly deadlineMs: number | undefined;
  #listeners: Set<(reason: StatusError) => void> | undefined;

  constructor(deadlineMs?: number) {
    this.deadlineMs = deadlineMs;
  }

  /** The first reason stays; listeners are called in the order they came. */
  cancel(reason: StatusError): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners !== undefined) for (const listener of listeners) listener(reason);
  }

  onCancel(listener: (reason: StatusError) => void): () => void {
    if (this.reason !== undefined) {
      listener(this.reason);
      return nothing;
    }
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }
}

/** Fires with whichever of two does first. */
export function eitherCancelled(a: Cancellation, b: Cancellation): Cancellation {
  return {
    get reason() {
      return a.reason ?? b.reason;
    },
    deadlineMs: earlier(a.deadlineMs, b.deadlineMs),
    onCancel(listener) {
      let told = false;
      const once = (reason: StatusError) => {
        if (told) return;
        told = true;
        listener(reason);
      };
      const [undoA, undoB] = [a.onCancel(once), b.onCancel(once)];
      return () => {
        undoA();
        undoB();
      };
    },
  };
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);
