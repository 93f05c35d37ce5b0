import type { Http2Stream } from "./http2-stream.js";

const firstSlots = 64;
const mostSlots = 4096;
/** So many streams without a slot of their own, and there are to be more slots. */
const crowdedOut = 16;

/**
 * The open streams of a connection by id. Ids count up by two, so that the low bits say where a stream lies; one that finds
 * its place taken by a long-lived stream goes to a map. A map for all would be rebuilt every few dozen calls, and V8 then
 * keeps the streams that its former tables held until the next full collection.
 */
export class StreamTable {
  #slots: (Http2Stream | undefined)[] = new Array(firstSlots).fill(undefined);
  readonly #others = new Map<number, Http2Stream>();
  size = 0;

  get(id: number): Http2Stream | undefined {
    const stream = this.#slots[(id >>> 1) & (this.#slots.length - 1)];
    if (stream !== undefined && stream.id === id) return stream;
    return this.#others.size === 0 ? undefined : this.#others.get(id);
  }

  add(stream: Http2Stream): void {
    if (this.#others.size >= crowdedOut && this.#slots.length < mostSlots) this.#grow();
    this.size += 1;
    this.#place(stream);
  }

  delete(id: number): void {
    const slot = (id >>> 1) & (this.#slots.length - 1);
    if (this.#slots[slot]?.id === id) {
      this.#slots[slot] = undefined;
      this.size -= 1;
    } else if (this.#others.delete(id)) {
      this.size -= 1;
    }
  }

  /** All of them as they are now, the oldest first. */
  all(): Http2Stream[] {
    if (this.size === 0) return [];
    const streams = [...this.#others.values()];
    for (const stream of this.#slots) if (stream !== undefined) streams.push(stream);
    return streams.sort((a, b) => a.id - b.id);
  }

  #place(stream: Http2Stream): void {
    const slot = (stream.id >>> 1) & (this.#slots.length - 1);
    if (this.#slots[slot] === undefined) this.#slots[slot] = stream;
    else this.#others.set(stream.id, stream);
  }

  #grow(): void {
    const streams = this.all();
    this.#slots = new Array(this.#slots.length * 4).fill(undefined);
    this.#others.clear();
    for (const stream of streams) this.#place(stream);
  }
}
