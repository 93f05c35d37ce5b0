// What RFC 9113 asks of each frame by itself, and of header blocks: checked here, so that a connection only hears of things
// that mean something.
import type { FrameSink } from "./frame-reader.js";
import { HeaderBlock } from "./header-block.js";
import { ConnectionError, ErrorCode, Flag, FrameType } from "./protocol.js";
import { type ClientSettings, parseSettings } from "./settings.js";

/** Frames as they concern a connection. All stream ids are odd. */
export interface FrameListener {
  /** DATA, as FrameSink.data() tells it. */
  data: FrameSink["data"];
  /** A whole header block, at block[start, end); borrowed until the call returns. */
  headers(streamId: number, endStream: boolean, block: Buffer, start: number, end: number): void;
  reset(streamId: number): void;
  streamWindow(streamId: number, increment: number): void;
  /** The increment is not 0. */
  connectionWindow(increment: number): void;
  settings(settings: ClientSettings): void;
  /** @param opaque eight bytes, borrowed until the call returns */
  ping(opaque: Buffer): void;
  pingAnswered(opaque: Buffer): void;
  /** A frame that means nothing to a server like ours: PRIORITY, GOAWAY, one of a type unknown. */
  ignored(): void;
}

export interface GrammarLimits {
  readonly maxHeaderListBytes: number;
  readonly maxContinuationFrames: number;
}

export class FrameGrammar implements FrameSink {
  readonly #listener: FrameListener;
  readonly #limits: GrammarLimits;
  /** SETTINGS, the first frame of every client, have come. */
  #begun = false;
  #headerBlock: HeaderBlock | undefined;

  constructor(listener: FrameListener, limits: GrammarLimits) {
    this.#listener = listener;
    this.#limits = limits;
  }

  /** Stands for the header block that has begun and waits for its rest; another object for another one. */
  get unfinished(): object | undefined {
    return this.#headerBlock;
  }

  /** @throws ConnectionError, its own and the listener's */
  frame(type: number, flags: number, streamId: number, chunk: Buffer, start: number, end: number): void {
    if (type === FrameType.CONTINUATION) {
      this.#continuation(flags, streamId, chunk, start, end);
      return;
    }
    this.#requirePlace(type === FrameType.SETTINGS);
    const length = end - start;
    switch (type) {
      case FrameType.HEADERS:
        this.#headers(flags, streamId, chunk, start, end);
        return;
      case FrameType.RST_STREAM:
        requireLength("RST_STREAM", length, 4);
        requireStream("RST_STREAM", streamId);
        this.#listener.reset(streamId);
        return;
      case FrameType.WINDOW_UPDATE:
        requireLength("WINDOW_UPDATE", length, 4);
        this.#windowUpdate(streamId, chunk.readUInt32BE(start) & 0x7fff_ffff);
        return;
      case FrameType.PING:
        requireConnection("PING", streamId);
        requireLength("PING", length, 8);
        if ((flags & Flag.ACK) === 0) this.#listener.ping(chunk.subarray(start, end));
        else this.#listener.pingAnswered(chunk.subarray(start, end));
        return;
      case FrameType.SETTINGS:
        requireConnection("SETTINGS", streamId);
        this.#settings(flags, chunk, start, end);
        return;
      case FrameType.PRIORITY:
        requireStream("PRIORITY", streamId);
        requireLength("PRIORITY", length, 5);
        requireOtherStream(streamId, chunk.readUInt32BE(start));
        break;
      case FrameType.GOAWAY:
        requireConnection("GOAWAY", streamId);
        if (length < 8) requireLength("GOAWAY", length, 8);
        break;
      case FrameType.PUSH_PROMISE:
        throw protocolError("clients may not push");
    }
    this.#listener.ignored();
  }

  data(
    streamId: number,
    flags: number,
    flowBytes: number,
    chunk: Buffer,
    start: number,
    end: number,
    complete: boolean,
  ): void {
    this.#requirePlace(false);
    requireStream("DATA", streamId);
    this.#listener.data(streamId, flags, flowBytes, chunk, start, end, complete);
  }

  #requirePlace(settings: boolean): void {
    if (this.#headerBlock !== undefined) throw protocolError("a frame came within a header block");
    if (!this.#begun && !settings) throw protocolError("SETTINGS must come first");
  }

  #headers(flags: number, streamId: number, chunk: Buffer, start: number, end: number): void {
    requireStream("HEADERS", streamId);
    let from = start;
    let to = end;
    if ((flags & Flag.PADDED) !== 0) {
      if (from === to) throw frameSizeError("padded HEADERS without its padding");
      to -= chunk[from]!;
      from += 1;
    }
    if ((flags & Flag.PRIORITY) !== 0) {
      if (end - from < 5) throw frameSizeError("HEADERS without its priority");
      requireOtherStream(streamId, chunk.readUInt32BE(from));
      from += 5;
    }
    if (to < from) throw protocolError("HEADERS has more padding than payload");
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) !== 0) {
      this.#listener.headers(streamId, endStream, chunk, from, to);
      return;
    }
    const { maxHeaderListBytes, maxContinuationFrames } = this.#limits;
    this.#headerBlock = new HeaderBlock(streamId, endStream, maxHeaderListBytes, maxContinuationFrames);
    this.#headerBlock.add(chunk, from, to);
  }

  #continuation(flags: number, streamId: number, chunk: Buffer, start: number, end: number): void {
    const block = this.#headerBlock;
    if (block === undefined || block.streamId !== streamId) throw protocolError("CONTINUATION of nothing");
    block.add(chunk, start, end);
    if ((flags & Flag.END_HEADERS) === 0) return;
    this.#headerBlock = undefined;
    const whole = block.whole();
    this.#listener.headers(streamId, block.endStream, whole, 0, whole.length);
  }

  #windowUpdate(streamId: number, increment: number): void {
    if (streamId !== 0) {
      requireStream("WINDOW_UPDATE", streamId);
      this.#listener.streamWindow(streamId, increment);
    } else if (increment === 0) {
      throw protocolError("WINDOW_UPDATE by 0");
    } else {
      this.#listener.connectionWindow(increment);
    }
  }

  #settings(flags: number, chunk: Buffer, start: number, end: number): void {
    if ((flags & Flag.ACK) !== 0) {
      requireLength("SETTINGS with ACK", end - start, 0);
      if (!this.#begun) throw protocolError("SETTINGS must come first");
    } else {
      this.#begun = true;
      this.#listener.settings(parseSettings(chunk, start, end));
    }
  }
}

function protocolError(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, message);
}

function frameSizeError(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message);
}

function requireLength(frame: string, length: number, expected: number): void {
  if (length !== expected) throw frameSizeError(`${frame} of ${length} bytes; it has ${expected}`);
}

function requireConnection(frame: string, streamId: number): void {
  if (streamId !== 0) throw protocolError(`${frame} on stream ${streamId}; it belongs to the connection`);
}

/** Streams that clients open have odd numbers, and there are no others here. */
function requireStream(frame: string, streamId: number): void {
  if ((streamId & 1) === 0) throw protocolError(`${frame} on stream ${streamId}`);
}

/** @param dependency the priority field's first four bytes */
function requireOtherStream(streamId: number, dependency: number): void {
  if ((dependency & 0x7fff_ffff) === streamId) throw protocolError(`stream ${streamId} depends on itself`);
}
