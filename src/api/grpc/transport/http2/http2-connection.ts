// One connection: a state machine over its frames (RFC 9113).
//
//   handshake ──preface, SETTINGS──▶ open ──drain()──▶ leaving ──PING answered──▶ draining ──last stream──▶ ended ──▶ closed
//                                      (in each: a connection error leads to ended, a lost socket to closed)
//
// leaving: the client was told that we go (GOAWAY with the highest id), but calls it sent before it read that are served.
// draining: it was told which call is the last.  ended: all is said; what still comes is discarded until the client closes.
import type { Socket } from "node:net";
import { errorMessage, type StatusError, unavailable } from "../../../../status.js";
import type { Logger } from "../../../../telemetry/index.js";
import type { Dispatcher } from "../../dispatch.js";
import type { Peer } from "../../service-table.js";
import { AbuseGuard } from "./abuse-guard.js";
import type { BusyPoll } from "./busy-poll.js";
import { ClosedStreams } from "./closed-streams.js";
import { ConnectionWatch, type WatchAction } from "./connection-watch.js";
import { ConnectionWriter, type WriterHost } from "./connection-writer.js";
import { FrameGrammar, type FrameListener } from "./frame-grammar.js";
import { FrameReader } from "./frame-reader.js";
import {
  goawayFrame,
  pingFrame,
  rstStreamFrame,
  settingsAckFrame,
  settingsFrame,
  windowUpdateFrame,
} from "./frame-writer.js";
import { type CallHost, constantFieldLists, GrpcCall, rememberedFields } from "./grpc-call.js";
import { HpackEncoder } from "./hpack/encoder.js";
import type { Http2Options } from "./http2-options.js";
import type { Http2Stream, StreamEnd } from "./http2-stream.js";
import type { Inflater } from "./message-compression.js";
import { MessageReader } from "./message-reader.js";
import type { SlabPool } from "./output-buffer.js";
import { answerFor, headerListTooLarge, PlainHttpExchange } from "./plain-http-exchange.js";
import {
  ConnectionError,
  connectionPreface,
  defaultWindowBytes,
  ErrorCode,
  Flag,
  largestStreamId,
  largestWindowBytes,
  StreamError,
} from "./protocol.js";
import { RequestBudget } from "./request-budget.js";
import { type RequestHead, validateTrailers } from "./request-head.js";
import { RequestHeads } from "./request-heads.js";
import { type ClientSettings, SettingId } from "./settings.js";
import { receiveFrom } from "./shared-reads.js";
import { StreamTable } from "./stream-table.js";

export interface ConnectionDeps {
  readonly dispatcher: Dispatcher;
  readonly logger: Logger;
  readonly slabs: SlabPool;
  readonly inflater: Inflater;
  readonly busyPoll: BusyPoll;
}

type State =
  | { readonly name: "handshake"; prefaceBytes: number }
  | { readonly name: "open" }
  | { readonly name: "leaving" }
  | { readonly name: "draining" }
  | { readonly name: "ended" }
  | { readonly name: "closed" };

/** The most that clients may keep in their header tables for us. */
const headerTableBytes = 4096;
/** After our end of a connection: how long its client may take to close its own. */
const lingerMs = 2000;
/** After the first GOAWAY: how long the PING sent with it may take. */
const leavingMs = 2000;
const drainPing = Buffer.from("draining", "latin1");
const keepalivePing = Buffer.from("are you?", "latin1");

export class Http2Connection implements FrameListener, WriterHost, CallHost {
  readonly peer: Peer;
  readonly writer: ConnectionWriter;
  readonly budget: RequestBudget;
  readonly inflater: Inflater;
  spareReader: MessageReader;
  readonly maxReceiveMessageBytes: number;
  readonly streamWindowBytes: number;
  readonly requestStallTimeoutMs: number;
  readonly compressResponsesFromBytes: number;
  readonly #socket: Socket;
  readonly #options: Http2Options;
  readonly #deps: ConnectionDeps;
  readonly #reader: FrameReader;
  readonly #heads: RequestHeads;
  readonly #guard: AbuseGuard;
  readonly #streams = new StreamTable();
  readonly #closedStreams = new ClosedStreams();
  readonly #held = new Set<Http2Stream>();
  readonly #grammar: FrameGrammar;
  readonly #watch: ConnectionWatch;
  #state: State = { name: "handshake", prefaceBytes: 0 };
  #lastStreamId = 0;
  #receiveWindow: number;
  /** Counts the frames of requests. */
  #framesReceived = 0;
  /** Something came since elapse() looked last. */
  #heard = false;
  #stateMs = 0;

  constructor(socket: Socket, peer: Peer, options: Http2Options, deps: ConnectionDeps) {
    this.peer = peer;
    this.#socket = socket;
    this.#options = options;
    this.#deps = deps;
    this.maxReceiveMessageBytes = options.maxReceiveMessageBytes;
    this.streamWindowBytes = options.streamWindowBytes;
    this.requestStallTimeoutMs = options.requestStallTimeoutMs;
    this.compressResponsesFromBytes = options.compressResponsesFromBytes;
    this.inflater = deps.inflater;
    this.spareReader = new MessageReader(options.maxReceiveMessageBytes);
    this.#receiveWindow = options.connectionWindowBytes;
    this.#grammar = new FrameGrammar(this, options);
    this.#reader = new FrameReader(this.#grammar, options.maxFrameBytes);
    // With a spread of a tenth to either side, so that clients do not all come back at once.
    const maxConnectionAgeMs = options.maxConnectionAgeMs * (0.9 + Math.random() * 0.2);
    this.#watch = new ConnectionWatch({ ...options, maxConnectionAgeMs });
    this.#heads = new RequestHeads(headerTableBytes, options.maxHeaderListBytes);
    this.#guard = new AbuseGuard(options);
    this.budget = new RequestBudget(options.maxBufferedRequestBytes);
    const encoder = new HpackEncoder(rememberedFields, constantFieldLists);
    this.writer = new ConnectionWriter(socket, this, options, deps.slabs, encoder);
    receiveFrom(socket, (chunk) => this.#received(chunk));
    socket.on("close", () => this.#lost());
    socket.on("error", (error) => deps.logger.debug(`Connection of ${peer.address} failed: ${error.message}`));
  }

  /** Tells the client to go elsewhere; ends when the calls it has sent have ended. */
  drain(): void {
    if (this.#state.name === "handshake") {
      this.#fail(new ConnectionError(ErrorCode.NO_ERROR, "the server is shutting down"));
    } else if (this.#state.name === "open") {
      this.#become({ name: "leaving" });
      this.writer.announce(goawayFrame(largestStreamId, ErrorCode.NO_ERROR, "the server is shutting down"));
      this.writer.announce(pingFrame(false, drainPing));
    }
  }

  /** Time has passed: called about once a second. */
  elapse(ms: number): void {
    this.#stateMs += ms;
    const { name } = this.#state;
    if (name === "ended") {
      if (this.#stateMs >= lingerMs) this.destroy();
    } else if (name === "handshake") {
      if (this.#stateMs < this.#options.handshakeTimeoutMs) return;
      this.#fail(new ConnectionError(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS came"));
    } else if (name !== "closed") {
      if (name === "leaving" && this.#stateMs >= leavingMs) this.#sayLastStream();
      this.#guard.elapse(ms);
      const snapshot = {
        heard: this.#heard,
        calls: this.#streams.size,
        framesReceived: this.#framesReceived,
        framesSent: this.writer.framesSent,
        unfinished: this.#grammar.unfinished ?? this.#reader.unfinished,
        takenBytes: this.#socket.bytesWritten - this.#socket.writableLength,
        waitingBytes: this.#socket.writableLength,
        congested: this.writer.congested,
      };
      this.#heard = false;
      for (const action of this.#watch.elapse(ms, snapshot)) this.#act(action);
      if (this.writer.bufferedBytes > 0) this.#dropStalled(ms);
      for (const stream of this.#streams.all()) stream.elapse(ms);
    }
  }

  /** Ends all calls with this error. */
  failCalls(error: StatusError): void {
    for (const stream of this.#streams.all()) stream.fail(error);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // What the writer and the calls report.

  responseSent(stream: Http2Stream): void {
    if (stream.state === "open") {
      // What the client still sends of its request is of no use to anyone.
      this.writer.announce(rstStreamFrame(stream.id, ErrorCode.NO_ERROR));
      this.#closeStream(stream, "reset-by-us");
    } else if (stream.state === "half-closed-remote") {
      this.#closeStream(stream, "ended");
    }
  }

  uncongested(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const stream of held) stream.resumed();
  }

  unsentControlFrames(): void {
    this.#fail(new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many answers wait to be read"));
  }

  holdUntilUncongested(stream: Http2Stream): void {
    this.#held.add(stream);
  }

  grantWindow(stream: Http2Stream, increment: number): void {
    stream.receiveWindow += increment;
    this.writer.announce(windowUpdateFrame(stream.id, increment));
  }

  // Frames.

  #introduce(): void {
    const { maxConcurrentStreams, streamWindowBytes, maxFrameBytes, maxHeaderListBytes } = this.#options;
    this.writer.announce(
      settingsFrame([
        [SettingId.MAX_CONCURRENT_STREAMS, maxConcurrentStreams],
        [SettingId.INITIAL_WINDOW_SIZE, streamWindowBytes],
        [SettingId.MAX_FRAME_SIZE, maxFrameBytes],
        [SettingId.MAX_HEADER_LIST_SIZE, maxHeaderListBytes],
      ]),
    );
    const increment = this.#receiveWindow - defaultWindowBytes;
    if (increment > 0) this.writer.announce(windowUpdateFrame(0, increment));
  }

  #received(chunk: Buffer): void {
    const state = this.#state;
    if (state.name === "ended" || state.name === "closed") return;
    this.#heard = true;
    this.#deps.busyPoll.received();
    const framesSent = this.writer.framesSent;
    try {
      let rest = chunk;
      if (state.name === "handshake" && state.prefaceBytes < connectionPreface.length) {
        rest = this.#preface(state, chunk);
        if (rest.length === 0) return;
      }
      this.#reader.push(rest);
      this.#returnWindow();
    } catch (thrown) {
      this.#fail(thrown instanceof ConnectionError ? thrown : this.#defect(thrown));
    }
    this.writer.flush();
    if (this.writer.framesSent !== framesSent) this.#deps.busyPoll.answered();
  }

  /** @returns what follows the preface */
  #preface(state: { prefaceBytes: number }, chunk: Buffer): Buffer {
    const seen = state.prefaceBytes;
    const take = Math.min(connectionPreface.length - seen, chunk.length);
    if (connectionPreface.compare(chunk, 0, take, seen, seen + take) !== 0) {
      if (seen === 0 && /^[A-Z]+ [^ ]+ HTTP\/1/.test(chunk.toString("latin1", 0, 8192))) this.#answerHttp1();
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "this port speaks HTTP/2 only");
    }
    state.prefaceBytes += take;
    // Not before the client has shown that it speaks HTTP/2: another could not read the answer meant for it.
    if (state.prefaceBytes === connectionPreface.length) this.#introduce();
    return chunk.subarray(take);
  }

  #answerHttp1(): void {
    const body = "This port speaks gRPC over HTTP/2. REST is served on the port set with --rest_api_port.\n";
    const head = `HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}`;
    this.writer.announce(Buffer.from(`${head}\r\nconnection: close\r\n\r\n${body}`));
    this.#become({ name: "ended" });
    this.writer.end();
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
    this.#receiveWindow -= flowBytes;
    if (this.#receiveWindow < 0) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window");
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#dataWithoutStream(streamId);
      return;
    }
    if (stream.state !== "open") {
      this.#resetStream(stream, ErrorCode.STREAM_CLOSED);
      return;
    }
    stream.receiveWindow -= flowBytes;
    if (stream.receiveWindow < 0) {
      this.#resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
      return;
    }
    const endStream = complete && (flags & Flag.END_STREAM) !== 0;
    if (end > start) {
      this.#framesReceived += 1;
      stream.receivedBytes += end - start;
      stream.data(chunk, start, end);
    } else if (!endStream && complete) {
      this.#idleFrame();
    }
    // The call may have ended by what came.
    if (endStream && stream.state === "open") this.#endRequest(stream);
  }

  #dataWithoutStream(streamId: number): void {
    this.#requireNotIdle("DATA", streamId);
    this.#idleFrame();
    const end = this.#closedStreams.endOf(streamId);
    if (end === "reset-by-us") return;
    if (end !== undefined) throw new ConnectionError(ErrorCode.STREAM_CLOSED, "DATA on a closed stream");
    this.#refuse(streamId, ErrorCode.STREAM_CLOSED);
  }

  /** Whatever becomes of a header block, it must be decoded: later blocks build upon it. */
  headers(streamId: number, endStream: boolean, block: Buffer, start: number, end: number): void {
    this.#framesReceived += 1;
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) {
      this.#trailers(stream, endStream, this.#heads.decodeFields(block, start, end));
    } else if (streamId > this.#lastStreamId) {
      this.#lastStreamId = streamId;
      this.#request(streamId, endStream, block, start, end);
    } else {
      this.#heads.decodeFields(block, start, end);
      const closedBy = this.#closedStreams.endOf(streamId);
      if (closedBy === undefined) throw protocolError(`stream ${streamId} came after ${this.#lastStreamId}`);
      if (closedBy !== "reset-by-us") throw new ConnectionError(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream");
    }
  }

  #trailers(stream: Http2Stream, endStream: boolean, fields: readonly string[]): void {
    if (stream.state !== "open") {
      this.#resetStream(stream, ErrorCode.STREAM_CLOSED);
    } else if (!endStream) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR);
    } else {
      try {
        validateTrailers(fields);
      } catch (thrown) {
        if (!(thrown instanceof StreamError)) throw thrown;
        this.#resetStream(stream, thrown.code);
        return;
      }
      this.#endRequest(stream);
    }
  }

  #request(streamId: number, endStream: boolean, block: Buffer, start: number, end: number): void {
    let head: RequestHead | "too large";
    try {
      head = this.#heads.decode(block, start, end);
    } catch (thrown) {
      if (!(thrown instanceof StreamError)) throw thrown;
      this.#deps.logger.debug(`${this.peer.address}: ${thrown.message}`);
      this.#refuse(streamId, thrown.code);
      return;
    }
    if (this.#state.name === "draining") {
      // It came after the last stream that we said we would serve: the client knows, and sends it elsewhere.
      this.#closedStreams.add(streamId, "reset-by-us");
      return;
    }
    if (this.#streams.size >= this.#options.maxConcurrentStreams) {
      this.#refuse(streamId, ErrorCode.REFUSED_STREAM);
      return;
    }
    this.#guard.streamOpened();
    if (head === "too large") {
      const answer = headerListTooLarge(this.#options.maxHeaderListBytes);
      const exchange = new PlainHttpExchange(streamId, answer, undefined, this.streamWindowBytes, this.writer);
      this.#open(exchange, endStream);
      exchange.answer();
    } else if (head.httpStatus !== 0) {
      const answer = answerFor(head.httpStatus, head.method);
      this.#open(
        new PlainHttpExchange(streamId, answer, head.contentLength, this.streamWindowBytes, this.writer),
        endStream,
      );
    } else {
      const call = new GrpcCall(streamId, head, this.writer.initialWindowBytes, this);
      this.#open(call, endStream);
      if (call.state !== "closed") call.begin(this.#deps.dispatcher);
    }
  }

  #open(stream: Http2Stream, endStream: boolean): void {
    this.#streams.add(stream);
    if (endStream) this.#endRequest(stream);
  }

  #endRequest(stream: Http2Stream): void {
    if (stream.contentLength !== undefined && stream.contentLength !== stream.receivedBytes) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.state = "half-closed-remote";
    stream.requestEnded();
  }

  reset(streamId: number): void {
    this.#requireNotIdle("RST_STREAM", streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#idleFrame();
      return;
    }
    this.#closeStream(stream, "reset-by-peer");
    stream.lost();
    this.#guard.streamReset();
  }

  connectionWindow(increment: number): void {
    this.#idleFrame();
    this.writer.windowUpdate(increment);
  }

  streamWindow(streamId: number, increment: number): void {
    this.#idleFrame();
    this.#requireNotIdle("WINDOW_UPDATE", streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (increment === 0) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (stream.sendWindow + increment > largestWindowBytes) {
      this.#resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
    } else {
      stream.sendWindow += increment;
      this.writer.list(stream);
    }
  }

  ping(opaque: Buffer): void {
    this.#idleFrame();
    this.writer.answer(pingFrame(true, opaque));
  }

  pingAnswered(opaque: Buffer): void {
    if (this.#state.name === "leaving" && opaque.equals(drainPing)) this.#sayLastStream();
    else this.#idleFrame();
  }

  settings(settings: ClientSettings): void {
    this.#idleFrame();
    const change = this.writer.applySettings(settings);
    if (change !== 0) {
      for (const stream of this.#streams.all()) {
        stream.sendWindow += change;
        if (stream.sendWindow > largestWindowBytes) {
          throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window grew over 2^31 - 1");
        }
        this.writer.list(stream);
      }
    }
    this.writer.answer(settingsAckFrame());
    if (this.#state.name === "handshake") this.#become({ name: "open" });
  }

  ignored(): void {
    this.#idleFrame();
  }

  #returnWindow(): void {
    const increment = this.#options.connectionWindowBytes - this.#receiveWindow;
    if (increment < this.#options.connectionWindowBytes / 2) return;
    this.#receiveWindow += increment;
    this.writer.announce(windowUpdateFrame(0, increment));
  }

  /** Of no use to a call, that is; too many are too many. */
  #idleFrame(): void {
    this.#guard.idleFrame(this.#framesReceived + this.writer.framesSent);
  }

  #requireNotIdle(frame: string, streamId: number): void {
    if (streamId > this.#lastStreamId) throw protocolError(`${frame} on idle stream ${streamId}`);
  }

  // Streams.

  /** Resets a stream for a fault of the client's. */
  #resetStream(stream: Http2Stream, code: ErrorCode): void {
    this.#closeStream(stream, "reset-by-us");
    this.writer.answer(rstStreamFrame(stream.id, code));
    stream.lost();
    this.#guard.streamReset();
  }

  /** Resets a stream that is not open. */
  #refuse(streamId: number, code: ErrorCode): void {
    this.#closedStreams.add(streamId, "reset-by-us");
    this.writer.answer(rstStreamFrame(streamId, code));
    this.#guard.streamReset();
  }

  #closeStream(stream: Http2Stream, end: StreamEnd): void {
    stream.state = "closed";
    this.#streams.delete(stream.id);
    this.#closedStreams.add(stream.id, end);
    if (this.#held.size > 0) this.#held.delete(stream);
    if (stream.pending) this.writer.drop(stream);
    if (this.#state.name === "draining" && this.#streams.size === 0) this.#finish();
  }

  // The end.

  #become(state: State): void {
    this.#state = state;
    this.#stateMs = 0;
  }

  #sayLastStream(): void {
    this.#become({ name: "draining" });
    this.writer.announce(goawayFrame(this.#lastStreamId, ErrorCode.NO_ERROR, "the server is shutting down"));
    if (this.#streams.size === 0) this.#finish();
  }

  /** All is said and done. */
  #finish(): void {
    this.#become({ name: "ended" });
    this.#reader.stopped = true;
    this.writer.end();
  }

  #fail(error: ConnectionError): void {
    if (this.#state.name === "ended" || this.#state.name === "closed") return;
    this.#deps.logger.debug(`Connection of ${this.peer.address} ended: ${error.message}`);
    const introduced = this.#state.name !== "handshake" || this.#state.prefaceBytes === connectionPreface.length;
    if (!introduced) this.#introduce();
    this.writer.announce(goawayFrame(this.#lastStreamId, error.code, error.message));
    this.#finish();
    this.#loseStreams();
  }

  /** An error of ours: it ends this connection, and no other. */
  #defect(thrown: unknown): ConnectionError {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    this.#deps.logger.error(`HTTP/2 transport failed: ${errorMessage(thrown)}`, { peer: this.peer.address, stack });
    return new ConnectionError(ErrorCode.INTERNAL_ERROR, "internal error");
  }

  #lost(): void {
    this.#become({ name: "closed" });
    this.#reader.stopped = true;
    this.#loseStreams();
  }

  #loseStreams(): void {
    this.#held.clear();
    for (const stream of this.#streams.all()) {
      this.#streams.delete(stream.id);
      stream.state = "closed";
      this.writer.drop(stream);
      stream.lost();
    }
  }

  // Time.

  #act(action: WatchAction): void {
    switch (action.name) {
      case "ping":
        this.writer.announce(pingFrame(false, keepalivePing));
        break;
      case "drain":
        this.drain();
        break;
      case "end-calls":
        this.failCalls(unavailable("The connection reached its maximum age"));
        break;
      case "destroy":
        this.destroy();
        break;
      case "fail":
        this.#fail(new ConnectionError(action.code, action.message));
        break;
    }
  }

  /** The response of a call that has ended waits for its client alone: not for ever. */
  #dropStalled(ms: number): void {
    for (const stream of this.#streams.all()) {
      if (!stream.answered) continue;
      stream.stalledMs += ms;
      if (stream.stalledMs < this.#options.responseStallTimeoutMs) continue;
      this.#closeStream(stream, "reset-by-us");
      this.writer.announce(rstStreamFrame(stream.id, ErrorCode.CANCEL));
    }
  }
}

function protocolError(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, message);
}
