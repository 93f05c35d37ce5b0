// Why not AbortSignal: one is made for every call, and an AbortController with its EventTarget costs more than a small
// model's run. This is the same idea with one field and one list.
import type { StatusError } from "./status.js";

/** Who wants to hear of a cancellation. */
export interface CancelListener {
  cancelled(reason: StatusError): void;
}

/** What the holder of work sees: whether its caller still wants it. */
export interface Cancellation {
  /** Set once, when the caller went away or its deadline passed; the error to fail the work with. */
  readonly reason: StatusError | undefined;
  /** When the answer is of no use any more, on Clock.now()'s scale; undefined: never. */
  readonly deadlineMs: number | undefined;
  /** Calls back once on cancellation, at once when it has happened already. */
  listen(listener: CancelListener): void;
  /** Takes back listen(). */
  unlisten(listener: CancelListener): void;
  /** As listen(), with a function. Returns the undo. */
  onCancel(listener: (reason: StatusError) => void): () => void;
}

const nothing = () => {};
const nobody: CancelListener = { cancelled: nothing };

/** For work that nobody can cancel: warm-up, tests. */
export const neverCancelled: Cancellation = {
  reason: undefined,
  deadlineMs: undefined,
  listen: nothing,
  unlisten: nothing,
  onCancel: () => nothing,
};

export class CancellationSource implements Cancellation {
  reason: StatusError | undefined;
  readonly deadlineMs: number | undefined;
  /** Mostly there is one listener: it needs no list. */
  #first: CancelListener | undefined;
  #others: CancelListener[] | undefined;

  constructor(deadlineMs?: number) {
    this.deadlineMs = deadlineMs;
  }

  /** The first reason stays; listeners are called in the order they came. */
  cancel(reason: StatusError): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    const first = this.#first;
    this.#first = undefined;
    first?.cancelled(reason);
    if (this.#others === undefined) return;
    for (const listener of this.#others) listener.cancelled(reason);
    this.#others = undefined;
  }

  listen(listener: CancelListener): void {
    if (this.reason !== undefined) {
      listener.cancelled(this.reason);
    } else if (this.#first === undefined && (this.#others === undefined || this.#others.length === 0)) {
      this.#first = listener;
    } else {
      this.#others ??= [];
      this.#others.push(listener);
    }
  }

  unlisten(listener: CancelListener): void {
    if (this.#first === listener) {
      this.#first = undefined;
    } else if (this.#others !== undefined) {
      const index = this.#others.indexOf(listener);
      if (index < 0) return;
      // While they are being told, nobody moves: one of them may be who takes back another.
      if (this.reason !== undefined) this.#others[index] = nobody;
      else this.#others.splice(index, 1);
    }
  }

  onCancel(listener: (reason: StatusError) => void): () => void {
    const listening = { cancelled: listener };
    this.listen(listening);
    return () => this.unlisten(listening);
  }
}

/** Fires with whichever of two does first. */
export function eitherCancelled(a: Cancellation, b: Cancellation): Cancellation {
  return new EitherCancellation(a, b);
}

class EitherCancellation implements Cancellation {
  readonly #a: Cancellation;
  readonly #b: Cancellation;
  readonly #listening = new Map<CancelListener, CancelListener>();

  constructor(a: Cancellation, b: Cancellation) {
    this.#a = a;
    this.#b = b;
  }

  get reason(): StatusError | undefined {
    return this.#a.reason ?? this.#b.reason;
  }

  get deadlineMs(): number | undefined {
    return earlier(this.#a.deadlineMs, this.#b.deadlineMs);
  }

  listen(listener: CancelListener): void {
    const once = {
      cancelled: (reason: StatusError) => {
        if (this.#listening.delete(listener)) listener.cancelled(reason);
      },
    };
    this.#listening.set(listener, once);
    this.#a.listen(once);
    this.#b.listen(once);
  }

  unlisten(listener: CancelListener): void {
    const once = this.#listening.get(listener);
    if (once === undefined) return;
    this.#listening.delete(listener);
    this.#a.unlisten(once);
    this.#b.unlisten(once);
  }

  onCancel(listener: (reason: StatusError) => void): () => void {
    const listening = { cancelled: listener };
    this.listen(listening);
    return () => this.unlisten(listening);
  }
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** As the work ends, or with the reason as soon as it is cancelled; the work goes on then, and nobody hears of it. */
export function orCancelled<T>(work: Promise<T>, cancellation: Cancellation): Promise<T> {
  return new Promise((resolve, reject) => {
    const undo = cancellation.onCancel(reject);
    work.then(resolve, reject).finally(() => undo());
  });
}
