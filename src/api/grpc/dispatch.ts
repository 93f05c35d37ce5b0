// From a transport to a handler and back: what both transports do alike. A transport deals in whole messages and
// header fields; here they meet the service table, the interceptors, deadlines, cancellation and errors.
import { CancellationSource } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, cancelled, errorMessage, internal, StatusError, unimplemented } from "../../status.js";
import { type CallRecord, type Logger, NewCallRecord } from "../../telemetry/index.js";
import { tell, type Waiter } from "../../waiter.js";
import { bytesOfMessage, type EncodableMessage } from "../codecs/encodable-message.js";
import { requestIdKey } from "../request-id.js";
import type { CallEnd, InterceptedCall, Interceptor } from "./interceptors.js";
import { RequestStream } from "./request-stream.js";
import {
  answersLater,
  type Exchange,
  type Metadata,
  type Method,
  type Peer,
  type ServiceTable,
  type UnaryMethod,
} from "./service-table.js";
import { boundStatusMessage } from "./status-message.js";

/** Key and value; bytes under keys that end in "-bin". */
export type HeaderField = readonly [key: string, value: string | Uint8Array];

/** A call as its transport holds it. None of this throws, and none does anything once the call has ended or was cut. */
export interface TransportCall {
  /** "/package.Service/Method". */
  readonly path: string;
  readonly metadata: Metadata;
  readonly peer: Peer;
  /** What was left of the client's deadline on arrival, 0 or less when nothing; undefined: it set none. */
  readonly timeoutMs: number | undefined;
  /** Asks for one more event of the client: its next message, or that there are no more. One at a time. */
  read(): void;
  /** Fields of the initial metadata. At most once, before the first message; without it there are none. */
  sendHeaders(fields: readonly HeaderField[]): void;
  /** False when the client cannot take more at the moment: the next message waits for CallReceiver.drained(). */
  sendMessage(message: Uint8Array | EncodableMessage): boolean;
  /** Ends the call, after all messages. The message is well-formed and short, but not yet percent-encoded. */
  sendStatus(code: Code, message: string, trailers: readonly HeaderField[]): void;
  /** Nobody looks at the one request of the call any more: its memory may be used for another. */
  releaseRequest(): void;
}

/** What a transport tells of a call. None of this throws; all of it may come after the call has ended. */
export interface CallReceiver {
  /** One whole message, decompressed, at bytes[start, end), which are the receiver's until releaseRequest(). Only when asked by read(). */
  message(bytes: Uint8Array, start: number, end: number): void;
  /** The client sends no more. Only when asked by read(). */
  halfClose(): void;
  /** There is room again. */
  drained(): void;
  /** The client cancelled or its connection is lost: nobody hears an answer. */
  cancel(): void;
  /** The transport ends the call (message too large, server closing): the client hears the error. */
  fail(error: StatusError): void;
}

export interface DispatcherDeps {
  readonly interceptors: readonly Interceptor[];
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Begins a call: its headers have arrived. */
export type Dispatcher = (transportCall: TransportCall) => CallReceiver;

export function createDispatcher(table: ServiceTable, deps: DispatcherDeps): Dispatcher {
  return (transportCall) => {
    const call = new DispatchedCall(transportCall, table.get(transportCall.path), deps);
    call.begin();
    return call;
  };
}

class DispatchedCall implements InterceptedCall, CallReceiver, Waiter<unknown>, Exchange {
  readonly record: CallRecord;
  readonly cancellation: CancellationSource;
  readonly startedMs: number;
  readonly #transport: TransportCall;
  readonly #method: Method | undefined;
  readonly #deps: DispatcherDeps;
  // Made when there is a first of them.
  #callEnds: CallEnd[] | undefined;
  #headers: HeaderField[] | undefined;
  #trailers: HeaderField[] | undefined;
  /** The one request of a unary or server-streaming call; until the answer, for a method that wants to see both. */
  #request: Uint8Array | undefined;
  #requestStart = 0;
  #requestEnd = 0;
  /** As it was encoded, while it is sent. */
  #response: Uint8Array | EncodableMessage | undefined;
  /** The requests of a client-streaming or bidirectional call. */
  #requests: RequestStream<unknown> | undefined;
  #responding = false;
  #ended = false;
  /** Wakes the pump of a response stream that waits for room; also on the call's end. */
  #wake: (() => void) | undefined;

  constructor(transport: TransportCall, method: Method | undefined, deps: DispatcherDeps) {
    const { timeoutMs } = transport;
    this.record = new NewCallRecord("grpc", transport.path, transport.peer.address);
    this.startedMs = deps.clock.now();
    this.cancellation = new CancellationSource(timeoutMs === undefined ? undefined : this.startedMs + timeoutMs);
    this.#transport = transport;
    this.#method = method;
    this.#deps = deps;
  }

  get path(): string {
    return this.#transport.path;
  }

  get metadata(): Metadata {
    return this.#transport.metadata;
  }

  get peer(): Peer {
    return this.#transport.peer;
  }

  begin(): void {
    this.#intercept(0);
  }

  setHeader(key: string, value: string | Uint8Array): void {
    requireField(key, value);
    this.#headers ??= [];
    this.#headers.push([key, value]);
  }

  setTrailer(key: string, value: string | Uint8Array): void {
    requireField(key, value);
    this.#trailers ??= [];
    this.#trailers.push([key, value]);
  }

  /** Runs the interceptors from this one on, then lets the call in. */
  #intercept(from: number): void {
    const { interceptors } = this.#deps;
    try {
      for (let index = from; index < interceptors.length; index++) {
        const end = interceptors[index]!(this);
        if (typeof end === "object") {
          end.then(
            (ended) => {
              if (this.#letIn(ended)) this.#intercept(index + 1);
            },
            (thrown) => this.#failWith(thrown),
          );
          return;
        }
        if (!this.#letIn(end)) return;
      }
    } catch (thrown) {
      this.#failWith(thrown);
      return;
    }
    this.#accept();
  }

  /** Keeps what an interceptor wants called at the end; false when that has come already. */
  #letIn(end: CallEnd | undefined): boolean {
    if (end !== undefined) {
      if (this.#callEnds === undefined) this.#callEnds = [end];
      else this.#callEnds.push(end);
    }
    if (!this.#ended) return true;
    const { reason } = this.cancellation;
    end?.(reason?.code ?? Code.CANCELLED, reason?.message ?? "", this);
    return false;
  }

  #accept(): void {
    const method = this.#method;
    if (method === undefined) {
      this.fail(unimplemented(`Unknown method ${this.path}`));
    } else if (method.kind === "unary" || method.kind === "server-stream") {
      this.#transport.read();
    } else {
      const requests = new RequestStream<unknown>(
        (bytes) => this.#decode(method, bytes),
        () => this.#transport.read(),
      );
      this.#requests = requests;
      if (method.kind === "bidi") this.#stream(() => method.handle(requests, this));
      else this.#unary(() => method.handle(requests, this));
    }
  }

  message(bytes: Uint8Array, start: number, end: number): void {
    if (this.#ended) return;
    if (this.#requests !== undefined) {
      this.#requests.push(bytes.subarray(start, end));
    } else if (this.#request !== undefined) {
      this.fail(unimplemented(`${this.path} takes one request message; got a second`));
    } else {
      this.#request = bytes;
      this.#requestStart = start;
      this.#requestEnd = end;
      this.#transport.read();
    }
  }

  halfClose(): void {
    if (this.#ended) return;
    const method = this.#method!;
    if (method.kind === "client-stream" || method.kind === "bidi") {
      this.#requests!.end();
      return;
    }
    if (this.#request === undefined) {
      this.fail(unimplemented(`${this.path} takes one request message; got none`));
    } else if (method.kind === "unary") {
      let response: unknown;
      try {
        response = method.handle(this.#decodeRequest(method), this, this);
      } catch (thrown) {
        this.#failWith(thrown);
        return;
      }
      this.#answer(response);
    } else {
      const bytes = this.requestBytes();
      this.#request = undefined;
      this.#stream(() => method.handle(this.#decode(method, bytes), this));
    }
  }

  requestBytes(): Uint8Array {
    const bytes = this.#request!;
    const [start, end] = [this.#requestStart, this.#requestEnd];
    return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
  }

  responseBytes(): Uint8Array {
    return bytesOfMessage(this.#response!);
  }

  drained(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  cancel(): void {
    this.#end(cancelled("Cancelled by the client"), false);
  }

  fail(error: StatusError): void {
    this.#end(error, true);
  }

  #decode(method: Method, bytes: Uint8Array): unknown {
    try {
      return method.decode(bytes);
    } catch (thrown) {
      throw this.#undecodable(thrown);
    }
  }

  /** The request of a unary call. What neither the handler nor an observer keeps of it may go. */
  #decodeRequest(method: UnaryMethod<unknown, unknown>): unknown {
    const bytes = this.#request!;
    try {
      return method.decodeAt === undefined
        ? method.decode(this.requestBytes())
        : method.decodeAt(bytes, this.#requestStart, this.#requestEnd);
    } catch (thrown) {
      throw this.#undecodable(thrown);
    } finally {
      if (method.observe === undefined) this.#request = undefined;
    }
  }

  #undecodable(thrown: unknown): StatusError {
    if (thrown instanceof StatusError) return thrown;
    // The code that gRPC's own libraries use: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
    return internal(`Request of ${this.path} is not a valid message: ${errorMessage(thrown)}`);
  }

  #unary(handle: () => unknown): void {
    let response: unknown;
    try {
      response = handle();
    } catch (thrown) {
      this.#failWith(thrown);
      return;
    }
    this.#answer(response);
  }

  #answer(response: unknown): void {
    if (response === answersLater) return;
    if (response instanceof Promise) tell(response, this);
    else this.resolve(response);
  }

  // What the handler of a unary call makes known.

  resolve(response: unknown): void {
    if (this.#ended) return;
    try {
      this.#send(response);
    } catch (thrown) {
      this.#failWith(thrown);
      return;
    }
    this.#end(undefined, true);
    const method = this.#method!;
    if (method.kind === "unary" && method.requestEndsWithAnswer === true) this.#transport.releaseRequest();
  }

  reject(thrown: unknown): void {
    this.#failWith(thrown);
  }

  #stream(handle: () => AsyncIterable<unknown>): void {
    let responses: AsyncIterator<unknown>;
    try {
      responses = handle()[Symbol.asyncIterator]();
    } catch (thrown) {
      this.#failWith(thrown);
      return;
    }
    // Its own rejections end in #failWith.
    void this.#pump(responses);
  }

  async #pump(responses: AsyncIterator<unknown>): Promise<void> {
    // A generator that waits inside notices by call.cancellation; one that waits here, at a yield, by return().
    const undo = this.cancellation.onCancel(() => this.#close(responses));
    try {
      while (!this.#ended) {
        const step = await responses.next();
        if (step.done === true) {
          undo();
          this.#end(undefined, true);
          return;
        }
        if (this.#ended) return;
        if (!this.#send(step.value)) await this.#room();
      }
    } catch (thrown) {
      undo();
      this.#close(responses);
      this.#failWith(thrown);
    }
  }

  #close(responses: AsyncIterator<unknown>): void {
    const thrownAway = (thrown: unknown) => this.#logDefect(thrown);
    try {
      responses.return?.().catch(thrownAway);
    } catch (thrown) {
      thrownAway(thrown);
    }
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#ended) resolve();
      else this.#wake = resolve;
    });
  }

  #send(response: unknown): boolean {
    const method = this.#method!;
    const message: Uint8Array | EncodableMessage = method.encode(response);
    if (method.kind === "unary" && method.observe !== undefined) {
      this.#response = message;
      method.observe(response, this);
      this.#response = undefined;
    }
    if (!this.#responding) {
      this.#responding = true;
      if (this.#headers !== undefined) this.#transport.sendHeaders(this.#headers);
    }
    return this.#transport.sendMessage(message);
  }

  /** Ends the call with whatever was thrown: a StatusError as it is, anything else as the defect it shows. */
  #failWith(thrown: unknown): void {
    if (thrown instanceof StatusError) {
      this.fail(thrown);
      return;
    }
    this.#logDefect(thrown);
    this.fail(internal(`Internal error; the server's log has it under request id ${this.record.requestId}`));
  }

  #logDefect(thrown: unknown): void {
    if (thrown instanceof StatusError) return;
    const { requestId } = this.record;
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    this.#deps.logger.error(`${this.path} failed: ${errorMessage(thrown)}`, { requestId, stack });
  }

  /** The one way a call ends; the first end counts. */
  #end(error: StatusError | undefined, audible: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    const code = error?.code ?? Code.OK;
    const message = error === undefined ? "" : boundStatusMessage(error.message);
    if (audible) this.#transport.sendStatus(code, message, this.#lastFields());
    const ends = this.#callEnds;
    for (let index = ends === undefined ? -1 : ends.length - 1; index >= 0; index--) {
      try {
        ends![index]!(code, message, this);
      } catch (thrown) {
        this.#logDefect(thrown);
      }
    }
    // Whatever is still done for the call, in the handler or beside it, is of no use any more.
    if (error !== undefined) this.cancellation.cancel(error);
    this.#requests?.close(error);
    this.#request = undefined;
    this.drained();
  }

  /** The trailers. Those of a response without messages carry the headers' fields too, so that they are not lost. */
  #lastFields(): readonly HeaderField[] {
    const { requestId } = this.record;
    const headers = this.#responding ? undefined : this.#headers;
    if (headers === undefined && this.#trailers === undefined)
      return requestId === "" ? none : [[requestIdKey, requestId]];
    const fields = [...(headers ?? none), ...(this.#trailers ?? none)];
    if (requestId !== "") fields.push([requestIdKey, requestId]);
    return fields;
  }
}

const none: readonly HeaderField[] = [];

/** What HTTP/2 and gRPC allow in a header field; transports rely on it. */
function requireField(key: string, value: string | Uint8Array): void {
  const valid = key.endsWith("-bin") ? typeof value !== "string" : typeof value === "string" && fieldValue.test(value);
  if (!valid || !fieldKey.test(key)) throw new TypeError(`"${key}" cannot be sent as a header field: ${value}`);
}
const fieldKey = /^[0-9a-z_.-]+$/;
const fieldValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;
