// Why not a promise: at a hundred thousand calls a second a promise on each floor, with the function that waits for it,
// costs more than a small model's run. Where that counts, the caller hands down who is to be told.

/** Who waits for a value: told once, one way or the other, at once or later. Neither method throws. */
export interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** The same as a promise, for callers that are not in such a hurry. */
export function promiseOf<T>(start: (waiter: Waiter<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => start({ resolve, reject }));
}

/** Tells the waiter what comes of a promise. */
export function tell<T>(promise: Promise<T>, waiter: Waiter<T>): void {
  promise.then(
    (value) => waiter.resolve(value),
    (error: unknown) => waiter.reject(error),
  );
}
