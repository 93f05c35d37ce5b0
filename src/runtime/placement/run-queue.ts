/** Calls in the order they came, from whose middle one can leave: a doubly linked list through the entries. */
export interface QueueEntry<T> {
  readonly value: T;
  previous: QueueEntry<T> | undefined;
  next: QueueEntry<T> | undefined;
  queued: boolean;
}

export class RunQueue<T> {
  #first: QueueEntry<T> | undefined;
  #last: QueueEntry<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(value: T): QueueEntry<T> {
    const entry: QueueEntry<T> = { value, previous: this.#last, next: undefined, queued: true };
    if (this.#last === undefined) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#size += 1;
    return entry;
  }

  shift(): T | undefined {
    const first = this.#first;
    if (first === undefined) return undefined;
    this.remove(first);
    return first.value;
  }

  /** Does nothing when the entry has left already. */
  remove(entry: QueueEntry<T>): void {
    if (!entry.queued) return;
    entry.queued = false;
    if (entry.previous === undefined) this.#first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === undefined) this.#last = entry.previous;
    else entry.next.previous = entry.previous;
    this.#size -= 1;
  }
}
