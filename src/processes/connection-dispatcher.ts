import type { Socket } from "node:net";

/** Who serves connections that were accepted here. */
export interface ConnectionTaker<Door> {
  /** The connection is no longer this process's. */
  take(socket: Socket, door: Door): void;
}

/** A taker has not taken what was on its way at so many looks in a row: it is stuck. */
const stuckAfterLooks = 2;
/** Connections that wait while nobody can take them, at most. */
const maxWaiting = 4096;

/**
 * Gives each connection to whoever has the fewest, so that long-lived ones are spread evenly and a process that has just
 * come gets its part. One at a time is on its way to each taker; what a taker that ends, or takes nothing, has not been
 * sent goes to others.
 */
export class ConnectionDispatcher<Door> {
  readonly #takers = new Map<ConnectionTaker<Door>, Book<Door>>();
  /** While there is no taker. */
  #waiting: Accepted<Door>[] = [];
  #closed = false;
  /** Called when a connection has left a queue, or a taker has. */
  readonly #whenMoved: (() => void)[] = [];

  add(taker: ConnectionTaker<Door>): void {
    this.#takers.set(taker, { open: 0, onItsWay: false, looks: 0, queue: [] });
    for (const each of this.#waiting.splice(0)) this.#give(each);
  }

  /** The taker has ended. */
  remove(taker: ConnectionTaker<Door>): void {
    const book = this.#takers.get(taker);
    this.#takers.delete(taker);
    for (const each of book?.queue ?? []) this.#give(each);
    for (const resolve of this.#whenMoved.splice(0)) resolve();
  }

  accept(socket: Socket, door: Door): void {
    this.#give({ socket, door });
  }

  /** The taker has the connection that was on its way. */
  taken(taker: ConnectionTaker<Door>): void {
    const book = this.#takers.get(taker);
    if (book === undefined) return;
    book.onItsWay = false;
    book.looks = 0;
    this.#sendNext(taker, book);
  }

  /** To be called now and then: whoever takes nothing from one call to the next is passed over until it does. */
  passOverStuck(): void {
    const stuck = [...this.#takers.values()].filter((book) => book.onItsWay && ++book.looks >= stuckAfterLooks);
    if (stuck.length === this.#takers.size) return;
    for (const book of stuck) {
      const left = book.queue.splice(0);
      book.open -= left.length;
      for (const each of left) this.#give(each);
    }
  }

  /** So many of the taker's connections are over. */
  ended(taker: ConnectionTaker<Door>, count: number): void {
    const book = this.#takers.get(taker);
    if (book !== undefined) book.open -= count;
  }

  /** Connections that were given to a taker and are not over. */
  open(taker: ConnectionTaker<Door>): number {
    return this.#takers.get(taker)?.open ?? 0;
  }

  /** Nothing more is accepted; resolves when all that was is with its taker, or on its way there. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    while ([...this.#takers.values()].some(({ queue }) => queue.length > 0)) {
      await new Promise<void>((resolve) => this.#whenMoved.push(resolve));
    }
  }

  #give(accepted: Accepted<Door>): void {
    let fewest: [ConnectionTaker<Door>, Book<Door>] | undefined;
    for (const each of this.#takers) if (fewest === undefined || isBefore(each[1], fewest[1])) fewest = each;
    if (fewest !== undefined) {
      const [taker, book] = fewest;
      book.open += 1;
      book.queue.push(accepted);
      this.#sendNext(taker, book);
    } else if (this.#closed || this.#waiting.length >= maxWaiting) accepted.socket.destroy();
    else this.#waiting.push(accepted);
  }

  #sendNext(taker: ConnectionTaker<Door>, book: Book<Door>): void {
    if (book.onItsWay) return;
    const next = book.queue.shift();
    if (next === undefined) return;
    book.onItsWay = true;
    taker.take(next.socket, next.door);
    for (const resolve of this.#whenMoved.splice(0)) resolve();
  }
}

/** Whether a taker is to have the next connection rather than another: first those that take any, then who has fewer. */
function isBefore(a: Book<unknown>, b: Book<unknown>): boolean {
  const [aStuck, bStuck] = [a.looks >= stuckAfterLooks, b.looks >= stuckAfterLooks];
  return aStuck === bStuck ? a.open < b.open : bStuck;
}

interface Accepted<Door> {
  readonly socket: Socket;
  readonly door: Door;
}

interface Book<Door> {
  /** Connections given to it that are not over. */
  open: number;
  onItsWay: boolean;
  /** How often it was looked at since one has been. */
  looks: number;
  /** Not sent yet. */
  queue: Accepted<Door>[];
}
