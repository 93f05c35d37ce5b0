// The sending side of a connection: frames into one write per turn, and the order in which streams may send while windows
// and the socket have room.
//
//   stream.segments ──pump──▶ OutputBuffer ──flush──▶ socket ──▶ kernel
//    waits for windows         one turn               waits for the client to read; above highWaterBytes nothing follows
import type { Socket } from "node:net";
import type { EncodableMessage } from "../../../codecs/encodable-message.js";
import { writeFrameHeader } from "./frame-writer.js";
import type { HpackEncoder } from "./hpack/encoder.js";
import type { Http2Stream } from "./http2-stream.js";
import type { MemoryBlock } from "./message-memory.js";
import { OutputBuffer, type SlabPool } from "./output-buffer.js";
import {
  ConnectionError,
  defaultFrameBytes,
  defaultWindowBytes,
  ErrorCode,
  Flag,
  FrameType,
  frameHeaderBytes,
  largestWindowBytes,
} from "./protocol.js";
import type { ClientSettings } from "./settings.js";

/** What waits in the socket for the client to read, about; the rest stays where it takes no second copy. */
const highWaterBytes = 512 * 1024;
/** A stream sends this much before others have their turn. */
const quantumBytes = 64 * 1024;
/** A stream with no more than this waiting is asked for more. */
const lowWaterBytes = 16 * 1024;

export interface WriterHost {
  /** The last frame of the stream's response is on its way. */
  responseSent(stream: Http2Stream): void;
  /** Of all streams, so little waits again that calls may go on. */
  uncongested(): void;
  /** The client asks for answers and does not read them. */
  unsentControlFrames(): void;
}

export interface WriterLimits {
  readonly maxBufferedResponseBytes: number;
  readonly maxUnsentControlFrames: number;
}

export class ConnectionWriter {
  readonly #socket: Socket;
  readonly #host: WriterHost;
  readonly #limits: WriterLimits;
  readonly #output: OutputBuffer;
  readonly #encoder: HpackEncoder;
  readonly #flushLater = () => this.#flushIfScheduled();
  /** What the client allows. */
  initialWindowBytes = defaultWindowBytes;
  #frameBytes = defaultFrameBytes;
  #window = defaultWindowBytes;
  /** Streams that have something to send and, when they were listed, a window for it; the first sends first. */
  #ready: Http2Stream[] = [];
  /** Counts the frames of responses. */
  framesSent = 0;
  /** DATA that waits, of all streams. */
  bufferedBytes = 0;
  /** Too much waits: calls get no further requests. */
  congested = false;
  /** The socket holds as much as it should. */
  #choked = false;
  #scheduled = false;
  #ending = false;
  #unsentControlFrames = 0;
  /** Congestion is over; calls will hear of it when the flush is done. */
  #relieved = false;
  #drained: Http2Stream[] = [];

  constructor(socket: Socket, host: WriterHost, limits: WriterLimits, slabs: SlabPool, encoder: HpackEncoder) {
    this.#socket = socket;
    this.#host = host;
    this.#limits = limits;
    this.#output = new OutputBuffer(slabs);
    this.#encoder = encoder;
    socket.on("drain", () => {
      this.#unsentControlFrames = 0;
      if (this.#choked || this.#ready.length > 0) this.flush();
    });
  }

  /** A frame that the client caused us to send. */
  answer(frame: Buffer): void {
    this.announce(frame);
    if (++this.#unsentControlFrames > this.#limits.maxUnsentControlFrames) this.#host.unsentControlFrames();
  }

  /** A frame of our own accord. */
  announce(frame: Buffer): void {
    this.#output.append(frame);
    this.schedule();
  }

  /** Nothing is to follow: what has been written until now goes out, then the end of the connection. */
  end(): void {
    this.#ending = true;
    this.schedule();
  }

  /** The stream's response may be written at once: nothing of it waits, and there is room. */
  canWrite(stream: Http2Stream, dataBytes: number): boolean {
    return (
      !stream.listed &&
      !stream.pending &&
      dataBytes <= this.#window &&
      dataBytes <= stream.sendWindow &&
      !this.#choked &&
      this.#output.bytes < highWaterBytes
    );
  }

  /** Only after canWrite(). @param more a field behind the others */
  writeFields(
    stream: Http2Stream,
    fields: readonly string[],
    endStream: boolean,
    more?: readonly [string, string],
  ): void {
    this.#writeFields(stream.id, fields, endStream, more);
    this.schedule();
    if (endStream) this.#host.responseSent(stream);
  }

  /** A message with its prefix in one frame. Only after canWrite() for all of it; false when it needs several frames. */
  writeMessage(stream: Http2Stream, compressed: boolean, message: Uint8Array | EncodableMessage): boolean {
    const size = message instanceof Uint8Array ? message.length : message.size;
    const dataBytes = size + 5;
    if (dataBytes > this.#frameBytes) return false;
    this.framesSent += 1;
    this.#window -= dataBytes;
    stream.sendWindow -= dataBytes;
    const output = this.#output;
    const at = output.reserve(frameHeaderBytes + dataBytes);
    const slab = output.slab;
    writeFrameHeader(slab, at, dataBytes, FrameType.DATA, 0, stream.id);
    slab[at + 9] = compressed ? 1 : 0;
    slab[at + 10] = size >>> 24;
    slab[at + 11] = size >>> 16;
    slab[at + 12] = size >>> 8;
    slab[at + 13] = size;
    if (message instanceof Uint8Array) slab.set(message, at + 14);
    else message.writeTo(slab, at + 14);
    this.schedule();
    return true;
  }

  /**
   * Lets the bytes wait for windows and room. They must not change any more.
   * @param block holds them, and is released when they have been sent; undefined: they are nobody else's
   */
  queueData(stream: Http2Stream, bytes: Uint8Array, block?: MemoryBlock): void {
    stream.segments ??= [];
    stream.segments.push({ bytes, block });
    stream.pendingBytes += bytes.length;
    this.bufferedBytes += bytes.length;
    if (this.bufferedBytes > this.#limits.maxBufferedResponseBytes) this.congested = true;
    this.list(stream);
  }

  /** The stream has something to send, or may send again. */
  list(stream: Http2Stream): void {
    if (stream.listed || !stream.pending) return;
    stream.listed = true;
    this.#ready.push(stream);
    this.schedule();
  }

  /** Forgets what the stream would have sent. */
  drop(stream: Http2Stream): void {
    this.#took(stream.pendingBytes);
    stream.segments = undefined;
    stream.pendingBytes = 0;
    stream.initialFields = undefined;
    stream.trailers = undefined;
  }

  /** @returns what every open stream's window changes by */
  applySettings(settings: ClientSettings): number {
    if (settings.headerTableBytes !== undefined) this.#encoder.peerAllows(settings.headerTableBytes);
    if (settings.maxFrameBytes !== undefined) this.#frameBytes = settings.maxFrameBytes;
    if (settings.initialWindowBytes === undefined) return 0;
    const change = settings.initialWindowBytes - this.initialWindowBytes;
    this.initialWindowBytes = settings.initialWindowBytes;
    return change;
  }

  /** @throws ConnectionError when the connection's window grows too large */
  windowUpdate(increment: number): void {
    if (this.#window + increment > largestWindowBytes) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "connection window over 2^31 - 1");
    }
    this.#window += increment;
    if (this.#ready.length > 0) this.schedule();
  }

  /** Writes at the end of this turn: after all that is being done now, and the promises it settles. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(this.#flushLater);
  }

  #flushIfScheduled(): void {
    if (this.#scheduled) this.flush();
  }

  flush(): void {
    this.#scheduled = false;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    if (socket.writableLength === 0) this.#unsentControlFrames = 0;
    for (;;) {
      const progress = this.#ready.length > 0 && this.#pump();
      this.#output.flush(socket);
      this.#choked = socket.writableLength >= highWaterBytes;
      if (socket.writableLength === 0) this.#unsentControlFrames = 0;
      if (!progress || this.#choked || this.#ready.length === 0) break;
    }
    if (this.#ending) socket.end();
    if (this.#drained.length > 0 || this.#relieved) this.#tellOfRoom();
  }

  #tellOfRoom(): void {
    const drained = this.#drained;
    this.#drained = [];
    for (const stream of drained) stream.drained();
    if (this.#relieved) {
      this.#relieved = false;
      this.#host.uncongested();
    }
  }

  /** Lets streams send in turn. @returns whether any did */
  #pump(): boolean {
    let progress = false;
    const blocked: Http2Stream[] = [];
    while (this.#ready.length > 0 && this.#output.bytes + this.#socket.writableLength < highWaterBytes) {
      const turn = this.#ready;
      this.#ready = [];
      for (let index = 0; index < turn.length; index++) {
        const stream = turn[index]!;
        if (this.#output.bytes + this.#socket.writableLength >= highWaterBytes) {
          this.#ready.push(...turn.slice(index));
          break;
        }
        stream.listed = false;
        if (this.#send(stream)) progress = true;
        if (!stream.pending || stream.state === "closed") continue;
        if (stream.sendWindow <= 0 && stream.pendingBytes > 0) continue; // its WINDOW_UPDATE lists it again
        stream.listed = true;
        // Without a window of the connection, those that have DATA wait aside while others may send their header fields.
        if (this.#window <= 0) blocked.push(stream);
        else this.#ready.push(stream);
      }
    }
    this.#ready.push(...blocked);
    return progress;
  }

  /** @returns whether anything was sent */
  #send(stream: Http2Stream): boolean {
    let sent = false;
    if (stream.initialFields !== undefined) {
      this.#writeFields(stream.id, stream.initialFields, false);
      stream.initialFields = undefined;
      sent = true;
    }
    let left = quantumBytes;
    while (stream.pendingBytes > 0 && left > 0) {
      const bytes = Math.min(stream.pendingBytes, this.#frameBytes, this.#window, stream.sendWindow);
      if (bytes <= 0) break;
      this.#writeData(stream, bytes);
      left -= bytes;
      sent = true;
    }
    if (sent) stream.stalledMs = 0;
    if (stream.pendingBytes === 0 && stream.trailers !== undefined) {
      this.#writeFields(stream.id, stream.trailers, true);
      stream.trailers = undefined;
      this.#host.responseSent(stream);
      sent = true;
    } else if (stream.pendingBytes === 0 && stream.endsWithData) {
      this.#host.responseSent(stream);
    } else if (stream.waitsForRoom && stream.pendingBytes <= lowWaterBytes) {
      stream.waitsForRoom = false;
      this.#drained.push(stream);
    }
    return sent;
  }

  /** One DATA frame of the stream's first bytes, across its segments. */
  #writeData(stream: Http2Stream, bytes: number): void {
    this.framesSent += 1;
    this.#window -= bytes;
    stream.sendWindow -= bytes;
    stream.pendingBytes -= bytes;
    const flags = stream.endsWithData && stream.pendingBytes === 0 ? Flag.END_STREAM : 0;
    const at = this.#output.reserve(frameHeaderBytes);
    writeFrameHeader(this.#output.slab, at, bytes, FrameType.DATA, flags, stream.id);
    const segments = stream.segments!;
    let finished = 0;
    for (let left = bytes; left > 0; ) {
      const { bytes: segment, block } = segments[finished]!;
      const take = Math.min(segment.length - stream.segmentOffset, left);
      this.#output.append(segment.subarray(stream.segmentOffset, stream.segmentOffset + take));
      stream.segmentOffset += take;
      left -= take;
      if (stream.segmentOffset === segment.length) {
        if (block !== undefined) this.#output.releaseWhenSent(block);
        finished += 1;
        stream.segmentOffset = 0;
      }
    }
    if (finished === segments.length) stream.segments = undefined;
    else if (finished > 0) segments.splice(0, finished);
    this.#took(bytes);
  }

  #took(bytes: number): void {
    this.bufferedBytes -= bytes;
    if (this.congested && this.bufferedBytes <= this.#limits.maxBufferedResponseBytes / 2) {
      this.congested = false;
      this.#relieved = true;
      this.schedule();
    }
  }

  #writeFields(
    streamId: number,
    fields: readonly string[],
    endStream: boolean,
    more?: readonly [name: string, value: string],
  ): void {
    const output = this.#output;
    const bound = this.#encoder.boundBytes(fields, more);
    const start = output.reserve(frameHeaderBytes + bound);
    let end = this.#encoder.encode(fields, output.slab, start + frameHeaderBytes);
    if (more !== undefined) end = this.#encoder.encodeField(more[0], more[1], output.slab, end);
    const length = end - start - frameHeaderBytes;
    const flags = endStream ? Flag.END_STREAM : 0;
    if (length <= this.#frameBytes) {
      writeFrameHeader(output.slab, start, length, FrameType.HEADERS, flags | Flag.END_HEADERS, streamId);
      output.trim(end);
      return;
    }
    // Rare: the block is taken out again and sent in HEADERS and CONTINUATION frames.
    const block = Buffer.from(output.slab.subarray(start + frameHeaderBytes, end));
    output.trim(start);
    for (let from = 0; from < block.length; from += this.#frameBytes) {
      const part = block.subarray(from, from + this.#frameBytes);
      const last = from + part.length === block.length;
      const at = output.reserve(frameHeaderBytes);
      writeFrameHeader(
        output.slab,
        at,
        part.length,
        from === 0 ? FrameType.HEADERS : FrameType.CONTINUATION,
        (from === 0 ? flags : 0) | (last ? Flag.END_HEADERS : 0),
        streamId,
      );
      output.append(part);
    }
  }
}
