// What a connection writes in one turn of the event loop, gathered into one write to its socket. Small things are written
// into slabs; large ones are kept by reference and go to the socket beside them.
import type { Socket } from "node:net";
import type { MemoryBlock } from "./message-memory.js";

const slabBytes = 64 * 1024;
/** Bytes of a message from which on they are not copied: handing a part over costs about as much as copying this many. */
const referenceBytes = 16 * 1024;
/** Slabs kept for the next turn. */
const maxIdleSlabs = 64;

/** Slabs of all connections: a connection needs one only while it writes. */
export class SlabPool {
  readonly #idle: Buffer[] = [];

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
  }

  give(slab: Buffer): void {
    if (this.#idle.length < maxIdleSlabs) this.#idle.push(slab);
  }
}

export class OutputBuffer {
  readonly #pool: SlabPool;
  /** Reserved room lies here; only until the next call of any method. */
  slab: Buffer = nothing;
  /** slab[#sealed, #used) has been written and is not yet among the parts. */
  #used = 0;
  #sealed = 0;
  #parts: Uint8Array[] = [];
  #partsBytes = 0;
  /** Slabs before this one that the parts lie in. */
  #full: Buffer[] = [];
  /** Hold what is to go at the next flush. */
  #lent: MemoryBlock[] = [];

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  get bytes(): number {
    return this.#partsBytes + this.#used - this.#sealed;
  }

  /** @returns the offset in the slab from which on the caller writes exactly this many bytes */
  reserve(bytes: number): number {
    if (bytes > this.slab.length - this.#used) this.#nextSlab(bytes);
    const at = this.#used;
    this.#used += bytes;
    return at;
  }

  /** Gives back what was reserved last and not needed. */
  trim(end: number): void {
    this.#used = end;
  }

  /** The bytes may be kept until they are written: they must not change any more. */
  append(bytes: Uint8Array): void {
    if (bytes.length < referenceBytes) {
      const at = this.reserve(bytes.length);
      this.slab.set(bytes, at);
      return;
    }
    this.#seal();
    this.#parts.push(bytes);
    this.#partsBytes += bytes.length;
  }

  /** A block that holds what was appended last, or before: it is released when the kernel has that. */
  releaseWhenSent(block: MemoryBlock): void {
    this.#lent.push(block);
  }

  /** Hands everything to the socket. */
  flush(socket: Socket): void {
    if (this.#parts.length === 0) {
      if (this.#used === 0) return;
      socket.write(this.slab.subarray(0, this.#used), this.#whenSent());
    } else {
      this.#seal();
      const last = this.#parts.pop()!;
      socket.cork();
      for (const part of this.#parts) socket.write(part);
      socket.write(last, this.#whenSent());
      socket.uncork();
      this.#parts = [];
      this.#partsBytes = 0;
    }
    // When the kernel has taken all of it at once, nobody reads the slabs any more.
    const reusable = socket.writableLength === 0;
    if (reusable && this.slab.length === slabBytes) this.#pool.give(this.slab);
    if (this.#full.length > 0) {
      if (reusable) for (const slab of this.#full) this.#pool.give(slab);
      this.#full = [];
    }
    this.slab = nothing;
    this.#used = 0;
    this.#sealed = 0;
  }

  /** What is to be done when all of a flush has been sent. */
  #whenSent(): ((error?: Error | null) => void) | undefined {
    if (this.#lent.length === 0) return undefined;
    const lent = this.#lent;
    this.#lent = [];
    return (error) => {
      // Where it failed, who knows what is still read: then they are garbage.
      if (error == null) for (const block of lent) block.release();
    };
  }

  #seal(): void {
    if (this.#used === this.#sealed) return;
    this.#parts.push(this.slab.subarray(this.#sealed, this.#used));
    this.#partsBytes += this.#used - this.#sealed;
    this.#sealed = this.#used;
  }

  #nextSlab(bytes: number): void {
    this.#seal();
    if (this.slab.length === slabBytes) this.#full.push(this.slab);
    this.slab = bytes <= slabBytes ? this.#pool.take() : Buffer.allocUnsafeSlow(bytes);
    this.#used = 0;
    this.#sealed = 0;
  }
}

const nothing = Buffer.alloc(0);
