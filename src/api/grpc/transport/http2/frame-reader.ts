// Bytes off a socket, cut into frames. DATA is handed on piece by piece as it comes, in the chunk it came in;
// every other frame is small and is handed on whole: in place where it lies in one chunk, else collected first.
import { ConnectionError, ErrorCode, Flag, FrameType, frameHeaderBytes } from "./protocol.js";

export interface FrameSink {
  /** Any frame but DATA, its payload at chunk[start, end). The bytes are borrowed until the call returns. */
  frame(type: number, flags: number, streamId: number, chunk: Buffer, start: number, end: number): void;
  /**
   * A piece of a DATA frame's body, padding left out, at chunk[start, end); it may be empty. The bytes are borrowed until
   * the call returns.
   * @param flowBytes what the frame takes from the flow-control windows, told with its first piece; 0 with the others
   * @param complete nothing more of this frame follows
   */
  data(
    streamId: number,
    flags: number,
    flowBytes: number,
    chunk: Buffer,
    start: number,
    end: number,
    complete: boolean,
  ): void;
}

/** The DATA frame that has begun and not ended. */
interface OpenData {
  readonly streamId: number;
  readonly flags: number;
  /** Payload still to come, padding included. */
  leftBytes: number;
  /** Undefined until the byte that says it has come. */
  paddingBytes: number | undefined;
  flowBytes: number;
}

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameBytes: number;
  /** Set by whoever closes the connection from within a callback: nothing more is handed on. */
  stopped = false;
  #openData: OpenData | undefined;
  /** A frame that lies across chunks: its beginning, in a buffer that grows to the frame's size once that is known. */
  #collected: Buffer | undefined;
  #collectedBytes = 0;

  /** @param maxFrameBytes the SETTINGS_MAX_FRAME_SIZE that the peer was told */
  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Stands for the frame that has begun and waits for its rest, if it is no DATA; another object for another frame. */
  get unfinished(): object | undefined {
    return this.#collected;
  }

  /** @throws ConnectionError, its own and the sink's */
  push(chunk: Buffer): void {
    let at = 0;
    if (this.#collected !== undefined) at = this.#collect(chunk);
    else if (this.#openData !== undefined) at = this.#continueData(this.#openData, chunk, 0);
    const end = chunk.length;
    while (end - at >= frameHeaderBytes && !this.stopped) {
      const length = (chunk[at]! << 16) | (chunk[at + 1]! << 8) | chunk[at + 2]!;
      const type = chunk[at + 3]!;
      if (length > this.#maxFrameBytes) throw frameTooLarge(type, length, this.#maxFrameBytes);
      const payload = at + frameHeaderBytes;
      const next = payload + length;
      if (next > end && type !== FrameType.DATA) break;
      const flags = chunk[at + 4]!;
      // The highest bit is reserved and ignored.
      const streamId =
        ((chunk[at + 5]! & 0x7f) << 24) | (chunk[at + 6]! << 16) | (chunk[at + 7]! << 8) | chunk[at + 8]!;
      if (type !== FrameType.DATA) {
        this.#sink.frame(type, flags, streamId, chunk, payload, next);
        at = next;
      } else if (next <= end && (flags & Flag.PADDED) === 0) {
        this.#sink.data(streamId, flags, length, chunk, payload, next, true);
        at = next;
      } else {
        at = this.#beginData(streamId, flags, length, chunk, payload);
      }
    }
    if (at < end && !this.stopped) this.#keep(chunk, at, end);
  }

  #beginData(streamId: number, flags: number, length: number, chunk: Buffer, at: number): number {
    const padded = (flags & Flag.PADDED) !== 0;
    if (padded && length === 0)
      throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "padded DATA without its padding");
    const open = { streamId, flags, leftBytes: length, paddingBytes: padded ? undefined : 0, flowBytes: length };
    this.#openData = open;
    return this.#continueData(open, chunk, at);
  }

  /** @returns where the next frame begins, or the chunk's end */
  #continueData(open: OpenData, chunk: Buffer, from: number): number {
    let at = from;
    if (at === chunk.length) return at;
    if (open.paddingBytes === undefined) {
      open.paddingBytes = chunk[at]!;
      at += 1;
      open.leftBytes -= 1;
      if (open.paddingBytes > open.leftBytes) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "DATA has more padding than payload");
      }
    }
    const bodyEnd = Math.min(at + Math.max(open.leftBytes - open.paddingBytes, 0), chunk.length);
    const next = Math.min(at + open.leftBytes, chunk.length);
    open.leftBytes -= next - at;
    const complete = open.leftBytes === 0;
    if (complete) this.#openData = undefined;
    const { flowBytes } = open;
    open.flowBytes = 0;
    this.#sink.data(open.streamId, open.flags, flowBytes, chunk, at, bodyEnd, complete);
    return next;
  }

  /** Begins to collect the frame at chunk[at, end). */
  #keep(chunk: Buffer, at: number, end: number): void {
    const present = end - at;
    const length = present >= 3 ? (chunk[at]! << 16) | (chunk[at + 1]! << 8) | chunk[at + 2]! : 0;
    this.#collected = Buffer.allocUnsafe(present < frameHeaderBytes ? frameHeaderBytes : frameHeaderBytes + length);
    chunk.copy(this.#collected, 0, at, end);
    this.#collectedBytes = present;
  }

  /** Adds to the collected frame, and hands it on when it is whole. @returns how much of the chunk that took */
  #collect(chunk: Buffer): number {
    let taken = 0;
    for (;;) {
      const collected = this.#collected!;
      const take = Math.min(collected.length - this.#collectedBytes, chunk.length - taken);
      chunk.copy(collected, this.#collectedBytes, taken, taken + take);
      taken += take;
      this.#collectedBytes += take;
      if (this.#collectedBytes < collected.length) return taken;
      const length = (collected[0]! << 16) | (collected[1]! << 8) | collected[2]!;
      const type = collected[3]!;
      if (length > this.#maxFrameBytes) throw frameTooLarge(type, length, this.#maxFrameBytes);
      if (type === FrameType.DATA || collected.length === frameHeaderBytes + length) {
        this.#collected = undefined;
        const flags = collected[4]!;
        const streamId = collected.readUInt32BE(5) & 0x7fff_ffff;
        if (type === FrameType.DATA) {
          if (length > 0 || (flags & Flag.PADDED) !== 0) return this.#beginData(streamId, flags, length, chunk, taken);
          this.#sink.data(streamId, flags, 0, chunk, taken, taken, true);
        } else {
          this.#sink.frame(type, flags, streamId, collected, frameHeaderBytes, collected.length);
        }
        return taken;
      }
      this.#collected = Buffer.allocUnsafe(frameHeaderBytes + length);
      collected.copy(this.#collected, 0, 0, frameHeaderBytes);
    }
  }
}

function frameTooLarge(type: number, length: number, limit: number): ConnectionError {
  return new ConnectionError(
    ErrorCode.FRAME_SIZE_ERROR,
    `frame of type ${type} has ${length} bytes; ${limit} are allowed`,
  );
}
