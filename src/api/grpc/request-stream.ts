/**
 * The requests of a streaming call, one read ahead at most: a message is asked for when the handler asks, so that a slow
 * handler slows its client down. Iterated once, by one reader.
 */
export class RequestStream<Request> implements AsyncIterable<Request>, AsyncIterator<Request> {
  readonly #decode: (bytes: Uint8Array) => Request;
  readonly #read: () => void;
  #state: "open" | "ended" | { readonly error: Error } = "open";
  #waiting: { resolve: (step: IteratorResult<Request>) => void; reject: (error: Error) => void } | undefined;

  constructor(decode: (bytes: Uint8Array) => Request, read: () => void) {
    this.#decode = decode;
    this.#read = read;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Request>> {
    if (this.#waiting !== undefined) return Promise.reject(new Error("the request before has not arrived yet"));
    if (this.#state === "ended") return Promise.resolve({ done: true, value: undefined });
    if (this.#state !== "open") return Promise.reject(this.#state.error);
    const step = new Promise<IteratorResult<Request>>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    // A handler may leave while it waits; its call then ends, and nobody is left to hear of it.
    step.catch(() => {});
    this.#read();
    return step;
  }

  return(): Promise<IteratorResult<Request>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** A message arrived; it was asked for. */
  push(bytes: Uint8Array): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return; // the reader has left
    this.#waiting = undefined;
    try {
      waiting.resolve({ done: false, value: this.#decode(bytes) });
    } catch (thrown) {
      this.#state = { error: thrown as Error };
      waiting.reject(thrown as Error);
    }
  }

  /** The client sends no more. */
  end(): void {
    if (this.#state === "open") this.#state = "ended";
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ done: true, value: undefined });
  }

  /** The call is over: well, or with an error. */
  close(error: Error | undefined): void {
    if (error === undefined) {
      this.end();
      return;
    }
    if (this.#state === "open") this.#state = { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }
}
