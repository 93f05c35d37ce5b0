// One gRPC call on one stream: DATA into messages for the dispatcher as it asks for them, and its answers into frames.
import { type Code, deadlineExceeded, internal, StatusError } from "../../../../status.js";
import { bytesOfMessage, type EncodableMessage } from "../../../codecs/encodable-message.js";
import type { CallReceiver, Dispatcher, HeaderField, TransportCall } from "../../dispatch.js";
import type { Metadata, Peer } from "../../service-table.js";
import { percentEncodeStatusMessage } from "../../status-message.js";
import { Http2Stream } from "./http2-stream.js";
import { chooseResponseEncoding, compressMessage, type Inflater, supportedEncodings } from "./message-compression.js";
import { type MemoryBlock, messageMemory } from "./message-memory.js";
import { MessageReader, messagePrefixBytes } from "./message-reader.js";
import { largestWindowBytes } from "./protocol.js";
import type { RequestBudget } from "./request-budget.js";
import type { RequestHead } from "./request-head.js";

/** What a call needs of its connection. */
export interface CallHost {
  readonly peer: Peer;
  readonly writer: CallWriter;
  readonly maxReceiveMessageBytes: number;
  readonly streamWindowBytes: number;
  readonly requestStallTimeoutMs: number;
  readonly compressResponsesFromBytes: number;
  readonly budget: RequestBudget;
  readonly inflater: Inflater;
  /** In the middle of no message: any call may use it, and one whose message has only begun takes it away. */
  spareReader: MessageReader;
  /** Allows the client to send this much more on the stream. */
  grantWindow(stream: Http2Stream, increment: number): void;
  /** The call was held up by congestion: it is told when that is over. */
  holdUntilUncongested(stream: Http2Stream): void;
}

/** The connection's writer, as far as calls are concerned. */
export interface CallWriter {
  readonly congested: boolean;
  canWrite(stream: Http2Stream, dataBytes: number): boolean;
  writeFields(
    stream: Http2Stream,
    fields: readonly string[],
    endStream: boolean,
    more?: readonly [name: string, value: string],
  ): void;
  writeMessage(stream: Http2Stream, compressed: boolean, message: Uint8Array | EncodableMessage): boolean;
  queueData(stream: Http2Stream, bytes: Uint8Array, block?: MemoryBlock): void;
  list(stream: Http2Stream): void;
}

/** Initial metadata without fields of the handler's. */
const plainInitialFields: readonly string[] = [
  ...[":status", "200", "content-type", "application/grpc", "grpc-accept-encoding", supportedEncodings],
];
const okTrailers: readonly string[] = ["grpc-status", "0"];
/** Worth an entry in the client's header table: they come with every call. */
export const rememberedFields: ReadonlyMap<string, readonly string[] | "any"> = new Map<
  string,
  readonly string[] | "any"
>([
  ["content-type", ["application/grpc"]],
  ["grpc-accept-encoding", [supportedEncodings]],
  ["grpc-status", ["0"]],
  ["grpc-message", "any"],
  ["x-request-id", "any"],
]);
export const constantFieldLists = [plainInitialFields, okTrailers];

/** Bytes of a stream that wait, at most, before its handler is asked to wait. */
const highWaterBytes = 64 * 1024;
/** A message up to this size that has to wait is copied together with its prefix. */
const joinBytes = 16 * 1024;

export class GrpcCall extends Http2Stream implements TransportCall {
  readonly #head: RequestHead;
  readonly #host: CallHost;
  /** Holds the beginning of a message whose rest is to come. Most messages come in one piece, and need none. */
  #reader: MessageReader | undefined;
  #receiver: CallReceiver | undefined;
  /** Holds the message that was handed over last. */
  #requestBlock: MemoryBlock | undefined;
  /** The dispatcher asked for the next message, or the end. */
  #wanted = false;
  /** A message is being decompressed. */
  #inflating = false;
  #delivering = false;
  /** What came before it was asked for; all of it is in #backlog[#backlogStart, #backlogEnd). */
  #backlog: Buffer | undefined;
  #backlogStart = 0;
  #backlogEnd = 0;
  /** Leave for a message larger than the window to come; see #grantWindow(). */
  #reservation: "none" | "waiting" | "granted" = "none";
  /** How long nothing has come of a message that was begun. */
  #requestStalledMs = 0;
  /** Of receivedBytes, when that was looked at last. */
  #lastReceivedBytes = 0;
  #responding = false;
  /** Its status was sent, or nobody is there to hear it. */
  #ended = false;
  #responseEncoding: "gzip" | "deflate" | undefined;
  /** What follows a response that is being compressed. */
  #afterCompression: (() => void)[] | undefined;

  constructor(id: number, head: RequestHead, sendWindow: number, host: CallHost) {
    super(id, sendWindow, host.streamWindowBytes, head.contentLength);
    this.#head = head;
    this.#host = host;
  }

  get path(): string {
    return this.#head.path;
  }

  get metadata(): Metadata {
    return this.#head.metadata;
  }

  get peer(): Peer {
    return this.#host.peer;
  }

  get timeoutMs(): number | undefined {
    return this.#head.timeoutMs;
  }

  begin(dispatcher: Dispatcher): void {
    this.#receiver = dispatcher(this);
    const { refusal } = this.#head;
    if (refusal !== undefined) this.#receiver.fail(refusal);
    else this.#deliver();
  }

  // From the client.

  override data(chunk: Buffer, start: number, end: number): void {
    if (this.#ended) return;
    let at = start;
    if (this.#backlog === undefined) {
      this.#delivering = true;
      at = this.#parse(chunk, start, end);
      this.#delivering = false;
    }
    if (at < end && !this.#ended) this.#keep(chunk, at, end);
    this.#grantWindow();
  }

  override requestEnded(): void {
    this.#deliver();
  }

  override lost(): void {
    this.#end();
    this.#receiver?.cancel();
  }

  override drained(): void {
    this.#receiver?.drained();
  }

  override resumed(): void {
    this.#deliver();
    this.#grantWindow();
  }

  /** A message that was begun holds memory, and maybe the connection's budget: not for ever. */
  override elapse(ms: number): void {
    const expected = this.#wanted && this.#midMessage && this.#backlog === undefined && this.receiveWindow > 0;
    const stalled = expected && this.receivedBytes === this.#lastReceivedBytes;
    this.#lastReceivedBytes = this.receivedBytes;
    this.#requestStalledMs = stalled ? this.#requestStalledMs + ms : 0;
    if (this.#requestStalledMs < this.#host.requestStallTimeoutMs || this.#ended) return;
    this.#receiver?.fail(
      deadlineExceeded(`A message was begun, and nothing more of it came for ${this.#requestStalledMs} ms`),
    );
  }

  override fail(error: StatusError): void {
    this.#receiver?.fail(error);
  }

  /** The call's turn to send its large message has come. */
  reservationGranted(): void {
    this.#reservation = "granted";
    this.#grantWindow();
  }

  // From the dispatcher.

  read(): void {
    if (this.#ended) return;
    this.#wanted = true;
    if (this.#delivering) return;
    this.#deliver();
    this.#grantWindow();
  }

  sendHeaders(fields: readonly HeaderField[]): void {
    if (!this.#ended) this.#writeInitialFields([...plainInitialFields, ...wireFields(fields)]);
  }

  sendMessage(encodable: Uint8Array | EncodableMessage): boolean {
    if (this.#ended) return true;
    if (!this.#responding) this.#writeInitialFields(plainInitialFields);
    if (this.#responseEncoding === undefined && this.#afterCompression === undefined) {
      return encodable instanceof Uint8Array ? this.#writeMessage(false, encodable) : this.#writeEncodable(encodable);
    }
    const message = bytesOfMessage(encodable);
    const fromBytes = this.#host.compressResponsesFromBytes;
    const compressing = this.#responseEncoding !== undefined && message.length >= fromBytes;
    if (!compressing && this.#afterCompression === undefined) return this.#writeMessage(false, message);
    this.#inTurn(() => (compressing ? this.#compress(message) : void this.#writeMessage(false, message)));
    this.waitsForRoom = true;
    return false;
  }

  sendStatus(code: Code, message: string, trailers: readonly HeaderField[]): void {
    if (this.#ended) return;
    this.#end();
    if (code === 0 && trailers.length === 1 && this.#responding && this.#afterCompression === undefined) {
      const [name, value] = trailers[0]!;
      this.#writeOk(typeof value === "string" ? (trailers[0] as readonly [string, string]) : [name, wireValue(value)]);
      return;
    }
    const status = code === 0 && trailers.length === 0 ? okTrailers : statusFields(code, message, trailers);
    this.#inTurn(() => this.#writeTrailers(this.#responding ? status : [...plainInitialFields, ...status]));
  }

  releaseRequest(): void {
    this.#requestBlock?.release();
    this.#requestBlock = undefined;
  }

  // Requests.

  /** Hands over what is there and wanted. */
  #deliver(): void {
    if (this.#delivering || this.#ended || this.#receiver === undefined) return;
    this.#delivering = true;
    if (this.#backlog !== undefined) {
      this.#backlogStart = this.#parse(this.#backlog, this.#backlogStart, this.#backlogEnd);
      if (this.#backlogStart === this.#backlogEnd) this.#dropBacklog();
    }
    if (this.#mayDeliver() && this.#backlog === undefined && this.state !== "open") this.#deliverEnd(this.#receiver);
    this.#delivering = false;
  }

  #deliverEnd(receiver: CallReceiver): void {
    this.#wanted = false;
    if (this.#midMessage) receiver.fail(internal("The request ended in the middle of a message"));
    else receiver.halfClose();
  }

  #mayDeliver(): boolean {
    if (!this.#wanted || this.#inflating || this.#ended) return false;
    if (!this.#host.writer.congested) return true;
    this.#host.holdUntilUncongested(this);
    return false;
  }

  /** Hands over messages while they are wanted. @returns the offset after what was taken */
  #parse(chunk: Buffer, start: number, end: number): number {
    const reader = this.#reader ?? this.#host.spareReader;
    let at = start;
    while (at < end && this.#mayDeliver()) {
      try {
        at = reader.next(chunk, at, end);
      } catch (thrown) {
        if (!(thrown instanceof StatusError)) throw thrown;
        this.#keepReader(reader);
        this.#receiver!.fail(thrown);
        return end;
      }
      if (!reader.complete) {
        this.#keepReader(reader);
        break;
      }
      reader.complete = false;
      const { bytes, start: from, end: to } = reader;
      this.#wanted = false;
      if (this.#reservation !== "none") this.#release();
      if (reader.compressed) {
        this.#inflate(bytes.subarray(from, to));
      } else {
        this.#requestBlock = reader.block;
        this.#receiver!.message(bytes, from, to);
      }
    }
    return at;
  }

  get #midMessage(): boolean {
    return this.#reader?.midMessage ?? false;
  }

  #keepReader(reader: MessageReader): void {
    if (this.#reader !== undefined) return;
    this.#reader = reader;
    this.#host.spareReader = new MessageReader(this.#host.maxReceiveMessageBytes);
  }

  #inflate(message: Uint8Array): void {
    const { encoding } = this.#head;
    if (encoding === "identity") {
      this.#receiver!.fail(internal("Received a compressed message in a call without grpc-encoding"));
      return;
    }
    this.#inflating = true;
    const isWanted = () => !this.#ended;
    this.#host.inflater.inflate(message, encoding, this.#host.maxReceiveMessageBytes, isWanted, (result) => {
      this.#inflating = false;
      if (this.#ended) return;
      if (result instanceof StatusError) {
        this.#receiver!.fail(result);
        return;
      }
      this.#receiver!.message(result, 0, result.length);
      this.#deliver();
      this.#grantWindow();
    });
  }

  /** Copied closely together: many small pieces must not keep many chunks alive. */
  #keep(chunk: Buffer, start: number, end: number): void {
    const kept = this.#backlogEnd - this.#backlogStart;
    const bytes = kept + end - start;
    if (this.#backlog === undefined || this.#backlog.length - this.#backlogEnd < end - start) {
      const room = Math.min(Math.max(bytes * 2, 1024), Math.max(bytes, this.#host.streamWindowBytes));
      const larger = Buffer.allocUnsafeSlow(room);
      this.#backlog?.copy(larger, 0, this.#backlogStart, this.#backlogEnd);
      this.#backlog = larger;
      this.#backlogStart = 0;
      this.#backlogEnd = kept;
    }
    chunk.copy(this.#backlog, this.#backlogEnd, start, end);
    this.#backlogEnd += end - start;
  }

  #dropBacklog(): void {
    this.#backlog = undefined;
    this.#backlogStart = 0;
    this.#backlogEnd = 0;
  }

  /**
   * Lets the client send on: a window's worth beyond what was taken; and of a message that is larger than that, all the
   * rest at once, when it is wanted and the connection's budget has room for it.
   */
  #grantWindow(): void {
    if (this.state !== "open" || this.#ended) return;
    const missing = this.#reader?.missingBytes ?? 0;
    const partial = this.#reader?.partialBytes ?? 0;
    if (this.#reservation === "none" && this.#wanted && missing > this.receiveWindow) {
      const granted = this.#host.budget.reserve(this, missing + partial);
      this.#reservation = granted ? "granted" : "waiting";
    }
    const reserved = this.#reservation === "granted";
    const window = this.#host.streamWindowBytes;
    const unread = this.#backlogEnd - this.#backlogStart;
    const target = reserved ? window + missing - unread : window - unread - partial;
    const increment = Math.min(target, largestWindowBytes) - this.receiveWindow;
    if (increment >= window / 2 || (reserved && increment > 0 && missing > this.receiveWindow)) {
      this.#host.grantWindow(this, increment);
    }
  }

  #release(): void {
    this.#reservation = "none";
    this.#host.budget.release(this);
  }

  // Responses.

  #writeInitialFields(fields: readonly string[]): void {
    this.#responding = true;
    let all = fields;
    if (this.#host.compressResponsesFromBytes > 0) {
      this.#responseEncoding = chooseResponseEncoding(this.#head.acceptEncoding);
      if (this.#responseEncoding !== undefined) all = [...fields, "grpc-encoding", this.#responseEncoding];
    }
    const { writer } = this.#host;
    if (writer.canWrite(this, 0)) {
      writer.writeFields(this, all, false);
    } else {
      this.initialFields = all;
      writer.list(this);
    }
  }

  /** @returns whether there is room for more */
  #writeMessage(compressed: boolean, message: Uint8Array): boolean {
    const { writer } = this.#host;
    const bytes = messagePrefixBytes + message.length;
    if (writer.canWrite(this, bytes) && writer.writeMessage(this, compressed, message)) return true;
    const joined = message.length <= joinBytes;
    const prefix = Buffer.allocUnsafe(joined ? bytes : messagePrefixBytes);
    prefix[0] = compressed ? 1 : 0;
    prefix.writeUInt32BE(message.length, 1);
    if (joined) prefix.set(message, messagePrefixBytes);
    writer.queueData(this, prefix);
    if (!joined) writer.queueData(this, message);
    if (this.pendingBytes <= highWaterBytes) return true;
    this.waitsForRoom = true;
    return false;
  }

  /** As #writeMessage(), straight to where the message leaves from. */
  #writeEncodable(message: EncodableMessage): boolean {
    const { writer } = this.#host;
    const bytes = messagePrefixBytes + message.size;
    if (writer.canWrite(this, bytes) && writer.writeMessage(this, false, message)) return true;
    const block = messageMemory.take(bytes);
    const whole = block.bytes.subarray(0, bytes);
    whole[0] = 0;
    whole.writeUInt32BE(message.size, 1);
    message.writeTo(block.bytes, messagePrefixBytes);
    writer.queueData(this, whole, block);
    if (this.pendingBytes <= highWaterBytes) return true;
    this.waitsForRoom = true;
    return false;
  }

  /** The trailers of almost every call: OK, and one field. */
  #writeOk(field: readonly [name: string, value: string]): void {
    if (this.state === "closed") return;
    const { writer } = this.#host;
    if (writer.canWrite(this, 0)) {
      writer.writeFields(this, okTrailers, true, field);
    } else {
      this.trailers = [...okTrailers, ...field];
      writer.list(this);
    }
  }

  #writeTrailers(fields: readonly string[]): void {
    if (this.state === "closed") return;
    const { writer } = this.#host;
    if (writer.canWrite(this, 0)) {
      writer.writeFields(this, fields, true);
    } else {
      this.trailers = fields;
      writer.list(this);
    }
  }

  /** After the responses that are being compressed. */
  #inTurn(step: () => void): void {
    if (this.#afterCompression === undefined) step();
    else this.#afterCompression.push(step);
  }

  #compress(message: Uint8Array): void {
    const after: (() => void)[] = [];
    this.#afterCompression = after;
    compressMessage(message, this.#responseEncoding!, (compressed) => {
      this.#afterCompression = undefined;
      if (this.state === "closed") return;
      this.#writeMessage(compressed !== undefined, compressed ?? message);
      while (after.length > 0) {
        // One of these may begin to compress: the others are then after it.
        if (this.#afterCompression !== undefined) {
          (this.#afterCompression as (() => void)[]).push(...after);
          return;
        }
        after.shift()!();
      }
      if (!this.#ended && this.pendingBytes === 0) {
        this.waitsForRoom = false;
        this.#receiver!.drained();
      }
    });
  }

  #end(): void {
    this.#ended = true;
    this.#dropBacklog();
    if (this.#reservation !== "none") this.#release();
  }
}

function statusFields(code: Code, message: string, trailers: readonly HeaderField[]): string[] {
  const fields = ["grpc-status", String(code)];
  if (message !== "") fields.push("grpc-message", percentEncodeStatusMessage(message));
  for (const [key, value] of trailers) fields.push(key, wireValue(value));
  return fields;
}

function wireFields(fields: readonly HeaderField[]): string[] {
  return fields.flatMap(([key, value]) => [key, wireValue(value)]);
}

function wireValue(value: string | Uint8Array): string {
  if (typeof value === "string") return value;
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64").replace(/=+$/, "");
}
