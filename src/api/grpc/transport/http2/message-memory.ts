// Memory for messages, used again by message after message. Memory that is new to the process costs several times what
// filling it does: the kernel has to find each page and clear it, and V8, which sees it come and go outside of its heap,
// collects the heap again and again.

/** Up to here sizes are powers of two, from there quarters between them. */
const fineFromBytes = 64 * 1024;
const smallestBytes = 256;
/** A block larger than this is not kept. */
const largestKeptBytes = 16 * 1024 * 1024;
/** All blocks that are kept, together. */
const mostKeptBytes = 64 * 1024 * 1024;

/** Some memory, and how many hold it. Who forgets to release it loses nothing: it is garbage, and not used again. */
export class MemoryBlock {
  readonly bytes: Buffer;
  #memory: MessageMemory;
  #holders = 1;

  constructor(bytes: Buffer, memory: MessageMemory) {
    this.bytes = bytes;
    this.#memory = memory;
  }

  /** One more holds it. */
  hold(): void {
    this.#holders += 1;
  }

  /** One less; with the last one its memory becomes somebody else's. */
  release(): void {
    if (--this.#holders === 0) this.#memory.give(this);
  }

  /** For its next use. */
  renew(): this {
    this.#holders = 1;
    return this;
  }
}

interface IdleBlocks {
  readonly blocks: MemoryBlock[];
  /** The fewest there were since trim(): so many were not needed. */
  fewest: number;
}

export class MessageMemory {
  readonly #idle = new Map<number, IdleBlocks>();
  #idleBytes = 0;

  get idleBytes(): number {
    return this.#idleBytes;
  }

  /**
   * A block of at least this many bytes, held once; what is in it is anything.
   * @throws RangeError when there is no such memory
   */
  take(bytes: number): MemoryBlock {
    return this.takeIdle(bytes) ?? new MemoryBlock(Buffer.allocUnsafeSlow(sizeFor(bytes)), this);
  }

  /** As take(), if there is such a block already. */
  takeIdle(bytes: number): MemoryBlock | undefined {
    const size = sizeFor(bytes);
    const idle = this.#idle.get(size);
    const block = idle?.blocks.pop();
    if (block === undefined) return undefined;
    idle!.fewest = Math.min(idle!.fewest, idle!.blocks.length);
    this.#idleBytes -= size;
    return block.renew();
  }

  /** For MemoryBlock: nobody holds it any more. */
  give(block: MemoryBlock): void {
    const size = block.bytes.length;
    if (size > largestKeptBytes || this.#idleBytes + size > mostKeptBytes) return;
    let idle = this.#idle.get(size);
    if (idle === undefined) {
      idle = { blocks: [], fewest: 0 };
      this.#idle.set(size, idle);
    }
    idle.blocks.push(block);
    this.#idleBytes += size;
  }

  /** Called about once a second: lets go half of what has not been needed since the last time. */
  trim(): void {
    for (const [size, idle] of this.#idle) {
      const unneeded = Math.ceil(idle.fewest / 2);
      idle.blocks.splice(0, unneeded);
      this.#idleBytes -= unneeded * size;
      idle.fewest = idle.blocks.length;
      if (idle.blocks.length === 0) this.#idle.delete(size);
    }
  }
}

function sizeFor(bytes: number): number {
  if (bytes <= smallestBytes) return smallestBytes;
  if (bytes > largestKeptBytes) return bytes;
  const power = 2 ** (32 - Math.clz32(bytes - 1));
  if (bytes <= fineFromBytes) return power;
  const step = power / 8;
  return Math.ceil(bytes / step) * step;
}

/** Of this thread: all its connections share it, as they do the buffer that they read into. */
export const messageMemory = new MessageMemory();
