import { bytesPerParameter, requireMemory } from "../memory-budget.js";

/** Counts what layers take in training while they are written, so that what is too large is never made. */
export class LayerRoom {
  readonly #memoryBytes: number;
  readonly #batchSize: number;
  #bytes = 0;

  constructor(memoryBytes: number, batchSize: number) {
    this.#memoryBytes = memoryBytes;
    this.#batchSize = batchSize;
  }

  /** Throws RESOURCE_EXHAUSTED naming the layer at which it is too much. */
  weights(place: string, count: number): void {
    this.#take(place, bytesPerParameter * count);
  }

  /** A value of that shape a row: itself and its gradient. */
  value(place: string, shape: readonly number[]): void {
    this.#take(
      place,
      shape.reduce((all, size) => all * size, 2 * Float32Array.BYTES_PER_ELEMENT * this.#batchSize),
    );
  }

  #take(place: string, bytes: number): void {
    this.#bytes += bytes;
    requireMemory(`${place}: the layers up to here`, this.#bytes, this.#memoryBytes);
  }
}
