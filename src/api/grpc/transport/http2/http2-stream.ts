import type { StatusError } from "../../../../status.js";
import type { MemoryBlock } from "./message-memory.js";

/**
 * What a stream of a server that never pushes can be (RFC 9113, section 5.1). Half-closed (local) lasts no time: a response
 * that ends before its request ends the stream with RST_STREAM. Idle streams are numbers above the last one; closed ones
 * are remembered for a while by ClosedStreams.
 */
export type StreamState = "open" | "half-closed-remote" | "closed";

/** How a stream came to be closed. */
export type StreamEnd =
  /** Both sides have said all. */
  | "ended"
  | "reset-by-peer"
  /** Frames that the peer sent before it heard of it are to be ignored. */
  | "reset-by-us";

/** Bytes that wait to be sent. */
export interface Segment {
  readonly bytes: Uint8Array;
  /** Holds them, when their memory can be used again once they have been sent. */
  readonly block: MemoryBlock | undefined;
}

/** One stream of a connection: what came for it goes to a subclass, what leaves it waits here for windows and room. */
export abstract class Http2Stream {
  readonly id: number;
  state: StreamState = "open";
  /** What we may still send; negative when the client shrank its windows. */
  sendWindow: number;
  /** What the client may still send. */
  receiveWindow: number;
  /** DATA received, padding left out; held against content-length. */
  receivedBytes = 0;
  readonly contentLength: number | undefined;

  // The response as it waits, in the order it leaves: the initial fields, bytes of DATA, the trailers.
  initialFields: readonly string[] | undefined;
  segments: Segment[] | undefined;
  /** Sent already of the first segment. */
  segmentOffset = 0;
  /** Of all segments, not yet sent. */
  pendingBytes = 0;
  trailers: readonly string[] | undefined;
  /** The last DATA frame ends the stream, without trailers. */
  endsWithData = false;
  /** Is in the writer's list of streams that have something to send. */
  listed = false;
  /** Asked to be told when its pending bytes have gone. */
  waitsForRoom = false;
  /** How long an ended response has waited for the client to take any of it. */
  stalledMs = 0;

  constructor(id: number, sendWindow: number, receiveWindow: number, contentLength: number | undefined) {
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.contentLength = contentLength;
  }

  /** Something waits to be sent. */
  get pending(): boolean {
    return this.pendingBytes > 0 || this.trailers !== undefined || this.initialFields !== undefined;
  }

  /** All of the response has been produced; what is missing is the client. */
  get answered(): boolean {
    return this.trailers !== undefined || this.endsWithData;
  }

  /** Bytes of the request's body at chunk[start, end); views of them may be kept. */
  abstract data(chunk: Buffer, start: number, end: number): void;
  /** The client has sent all of the request. */
  abstract requestEnded(): void;
  /** The stream is closed and nobody hears an answer: the client reset it, or the connection is gone. */
  abstract lost(): void;
  /** There is room for more of the response. */
  abstract drained(): void;
  /** Responses flow again after too many had been waiting. */
  abstract resumed(): void;
  /** Time has passed: called about once a second. */
  elapse(_ms: number): void {}
  /** The server ends the call. */
  abstract fail(error: StatusError): void;
}
