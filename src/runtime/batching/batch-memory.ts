/** Buffers kept for later batches, and the largest that is kept. */
const mostKept = 4;
const largestKeptBytes = 4 * 1024 * 1024;

/**
 * Memory for the feeds of batches that run on this thread, used again by batch after batch. New memory for each would
 * be hundreds of megabytes a second, all outside of the heap, which V8 answers by collecting all of it again and again.
 * A buffer is given back when its run is over, and nobody looks at the feeds any more.
 */
export class BatchMemory {
  readonly #free: ArrayBuffer[] = [];

  /** @returns a buffer of at least this size; what is in it is anything */
  take(bytes: number): ArrayBuffer {
    const index = this.#free.findIndex((buffer) => buffer.byteLength >= bytes);
    if (index >= 0) return this.#free.splice(index, 1)[0]!;
    // Twice the size, so that batches that grow do not need another each time.
    return Buffer.allocUnsafeSlow(Math.min(2 * bytes, Math.max(bytes, largestKeptBytes))).buffer as ArrayBuffer;
  }

  give(buffer: ArrayBuffer): void {
    // One that was moved to another thread is empty here.
    if (buffer.byteLength === 0 || buffer.byteLength > largestKeptBytes) return;
    if (this.#free.length === mostKept) this.#free.shift();
    this.#free.push(buffer);
  }
}
