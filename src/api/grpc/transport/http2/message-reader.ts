// gRPC's framing: a byte that says whether a message is compressed, its length in four bytes, the message. It knows nothing
// of DATA frames: a message may begin and end anywhere in them.
import { internal, resourceExhausted } from "../../../../status.js";
import { receiveLimitHint } from "../transport-options.js";
import { type MemoryBlock, messageMemory } from "./message-memory.js";
import { type OwnBytes, ownBytes } from "./shared-reads.js";

export const messagePrefixBytes = 5;
/** A message that comes in pieces begins with this much room, at most; the room then grows with what has really come. */
const firstRoomBytes = 64 * 1024;
const growthFactor = 8;
const alignment = 8;

export class MessageReader implements OwnBytes {
  readonly #maxMessageBytes: number;
  /** next() has completed a message, at bytes[start, end); the caller takes it out before it goes on. */
  complete = false;
  bytes: Buffer = nothing;
  start = 0;
  end = 0;
  block: MemoryBlock | undefined;
  /** Of the message that was completed, or has begun. */
  compressed = false;
  /** Of the message that has begun; 0 while its length is not known. */
  #messageBytes = 0;
  #receivedBytes = 0;
  #prefixBytes = 0;
  /**
   * Where the message begins in its room. Its end lies at a multiple of eight: a request for one tensor, written field by
   * field in the order of their numbers, ends with the tensor's elements, which can then be used where they are.
   */
  #offset = 0;
  #room: MemoryBlock | undefined;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** A message has begun and is not complete. */
  get midMessage(): boolean {
    return this.#prefixBytes > 0;
  }

  /** What has come of the message that has begun. */
  get partialBytes(): number {
    return this.#prefixBytes + this.#receivedBytes;
  }

  /** What is still to come of the message that has begun, as far as is known. */
  get missingBytes(): number {
    return this.#prefixBytes === messagePrefixBytes ? this.#messageBytes - this.#receivedBytes : 0;
  }

  /**
   * Takes bytes from chunk[at, end) up to the end of a message. The message is what ownBytes() makes of it when all of it
   * lies in the chunk, else it is put together in memory of its own; in either case nobody writes to it before the block
   * that holds it is released.
   * @returns the offset after what was taken
   * @throws StatusError when the message is too large or its prefix is wrong; the reader is of no use after that
   */
  next(chunk: Buffer, at: number, end: number): number {
    let from = at;
    if (this.#prefixBytes === 0 && end - from >= messagePrefixBytes) {
      this.#begin(chunk[from]!, chunk.readUInt32BE(from + 1));
      from += messagePrefixBytes;
      const messageEnd = from + this.#messageBytes;
      if (messageEnd <= end) {
        ownBytes(chunk, from, messageEnd, this);
        this.#complete();
        return messageEnd;
      }
      this.#prefixBytes = messagePrefixBytes;
    }
    while (this.#prefixBytes < messagePrefixBytes) {
      if (from === end) return from;
      this.#prefixByte(chunk[from++]!);
    }
    const take = Math.min(this.#messageBytes - this.#receivedBytes, end - from);
    const room = this.#roomFor(this.#receivedBytes + take);
    chunk.copy(room.bytes, this.#offset + this.#receivedBytes, from, from + take);
    this.#receivedBytes += take;
    if (this.#receivedBytes === this.#messageBytes) {
      this.bytes = room.bytes;
      this.start = this.#offset;
      this.end = this.#offset + this.#messageBytes;
      this.block = room;
      this.#complete();
    }
    return from + take;
  }

  #prefixByte(byte: number): void {
    const position = this.#prefixBytes++;
    if (position === 0) this.compressed = byte !== 0;
    if (position === 0 && byte > 1) throw wrongFlag(byte);
    if (position > 0) this.#messageBytes = this.#messageBytes * 256 + byte;
    if (this.#prefixBytes === messagePrefixBytes) this.#begin(this.compressed ? 1 : 0, this.#messageBytes);
  }

  #begin(flag: number, messageBytes: number): void {
    if (flag > 1) throw wrongFlag(flag);
    if (messageBytes > this.#maxMessageBytes) {
      throw resourceExhausted(
        `Received message larger than max (${messageBytes} vs ${this.#maxMessageBytes}); ${receiveLimitHint}`,
      );
    }
    this.compressed = flag === 1;
    this.#messageBytes = messageBytes;
    this.#offset = (alignment - (messageBytes % alignment)) % alignment;
  }

  #complete(): void {
    this.complete = true;
    this.#messageBytes = 0;
    this.#receivedBytes = 0;
    this.#prefixBytes = 0;
    this.#room = undefined;
  }

  /**
   * A length is only a claim: room is made for what has come, and some more, so that claims cost nothing. Room for all of
   * it is taken where it lies idle.
   */
  #roomFor(bytes: number): MemoryBlock {
    const room = this.#room;
    const offset = this.#offset;
    if (room !== undefined && room.bytes.length >= offset + bytes) return room;
    const wanted = Math.min(Math.max(bytes * growthFactor, firstRoomBytes), this.#messageBytes);
    let larger: MemoryBlock;
    try {
      larger = messageMemory.takeIdle(offset + this.#messageBytes) ?? messageMemory.take(offset + wanted);
    } catch {
      throw resourceExhausted(`No memory for a message of ${this.#messageBytes} bytes`);
    }
    if (room !== undefined) {
      room.bytes.copy(larger.bytes, offset, offset, offset + this.#receivedBytes);
      room.release();
    }
    this.#room = larger;
    return larger;
  }
}

const nothing = Buffer.alloc(0);

function wrongFlag(flag: number): Error {
  return internal(`Received message with a compressed flag of ${flag}; it must be 0 or 1`);
}
