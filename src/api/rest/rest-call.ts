import type { IncomingMessage, ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { type Cancellation, CancellationSource } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, cancelled, codeName, deadlineExceeded, internal, StatusError } from "../../status.js";
import type { CallRecord, Logger } from "../../telemetry/index.js";
import { encodeJsonString } from "../codecs/json-string.js";
import type { CallObserver } from "../grpc/interceptors.js";
import { isRequestId, requestIdKey } from "../request-id.js";
import { compressPieces, type Encoding, preferredEncoding } from "./content-encoding.js";
import { httpStatusOf } from "./http-status.js";
import { BodyTooLarge } from "./request-body.js";

export interface RestCallDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Hears of every call once, when it is over. */
  readonly observer: CallObserver;
  readonly nextRequestId: () => string;
  /** Headers of every answer under /v1/. */
  readonly corsHeaders: Readonly<Record<string, string>>;
  /** Whether clients should open another connection for what they ask next. */
  readonly lastOnConnection: () => boolean;
}

/** Up to here a copy costs less than a second write. */
const smallBodyBytes = 4096;
/** From here on compressing is worth its while. */
const compressedFromBytes = 1024;
/** How long a client may leave a large answer unread. */
const stallLimitMs = 60_000;
/** After an answer to a body that was not read to its end: how much more is read, so that the client sees the answer. */
const lingerBytes = 256 * 1024 * 1024;

/**
 * One call from its arrival to its answer. It is answered once: by what its handler makes, by its deadline, or not at
 * all when the client has gone away, whichever comes first.
 */
export class RestCall {
  readonly record: CallRecord;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #deps: RestCallDeps;
  readonly #startMs: number;
  #cancellation = new CancellationSource();
  #answered = false;
  /** Whether the answer is to be heard by a client that is still sending. */
  #lingers = false;
  #moreHeaders: Readonly<Record<string, string>> = {};

  constructor(request: IncomingMessage, response: ServerResponse, path: string, peer: string, deps: RestCallDeps) {
    this.#request = request;
    this.#response = response;
    this.#deps = deps;
    this.#startMs = deps.clock.now();
    const id = request.headers[requestIdKey];
    this.record = {
      requestId: isRequestId(id) ? id : deps.nextRequestId(),
      door: "rest",
      method: `${request.method} ${path.length > 256 ? `${path.slice(0, 256)}…` : path}`,
      peer,
    };
    response.on("close", () => {
      if (!this.#answered) this.#abandon(cancelled("The client went away"));
    });
  }

  /**
   * Begins what is done for the call. Answers DEADLINE_EXCEEDED, and cancels the work, when it takes longer than the
   * timeout; 0 or less is none. The work has to call `done` at its end.
   */
  begin(timeoutMs: number): { readonly cancellation: Cancellation; readonly done: () => void } {
    if (timeoutMs <= 0) return { cancellation: this.#cancellation, done: () => {} };
    const { reason } = this.#cancellation;
    const { clock } = this.#deps;
    this.#cancellation = new CancellationSource(clock.now() + timeoutMs);
    if (reason !== undefined) this.#cancellation.cancel(reason);
    const timer = clock.setTimer(timeoutMs, () =>
      this.fail(deadlineExceeded(`The call took longer than --rest_api_timeout_in_ms=${timeoutMs}`)),
    );
    return { cancellation: this.#cancellation, done: () => timer.cancel() };
  }

  /** Of the answer, whatever it will be. */
  addHeaders(headers: Readonly<Record<string, string>>): void {
    this.#moreHeaders = { ...this.#moreHeaders, ...headers };
  }

  answerJson(body: string): void {
    this.#send(Code.OK, 200, body, "");
  }

  /** Without a body, as CORS preflights are answered. */
  answerEmpty(code: Code): void {
    this.#send(code, httpStatusOf(code), "", "");
  }

  /** Sends bytes that are there already, under headers that say what they are. */
  answerBytes(pieces: readonly Uint8Array[], more: Readonly<Record<string, string | number>>): void {
    if (this.#answered) return;
    const response = this.#response;
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    response.writeHead(200, { ...this.#headers(), ...more, "content-length": length });
    response.cork();
    for (const piece of pieces) response.write(piece);
    response.end();
    this.#end(Code.OK, "");
  }

  /** Answers with a status that no code stands for. @param body of JSON; default: the error */
  refuse(status: number, code: Code, message: string, body = errorBody(message)): void {
    this.#send(code, status, body, message);
  }

  /**
   * Sends pieces as they are made, compressed where the client would have it so. A single one that is sent as it is has
   * been sent when this returns; more let others have their turn.
   */
  answerPieces(pieces: Iterator<Buffer, undefined>): Promise<void> | undefined {
    const first = pieces.next().value ?? Buffer.alloc(0);
    const second = pieces.next();
    const more = second.value;
    const encoding =
      first.length < compressedFromBytes ? undefined : preferredEncoding(this.#request.headers["accept-encoding"]);
    if (encoding !== undefined) return this.#sendCompressed(rejoined(first, more, pieces), encoding);
    if (more !== undefined) return this.#sendPieces(first, more, pieces);
    // As a string a small body leaves in one write with its headers.
    this.#send(Code.OK, 200, first.length < smallBodyBytes ? first.toString() : first, "");
    return undefined;
  }

  async #sendCompressed(pieces: Iterable<Buffer>, encoding: Encoding): Promise<void> {
    if (this.#answered) return;
    const response = this.#response;
    response.writeHead(200, { ...this.#headers(), "content-encoding": encoding, vary: "accept-encoding" });
    for await (const piece of compressPieces(pieces, encoding)) {
      if (response.destroyed) return; // the client went away meanwhile
      if (!response.write(piece)) await this.#drained();
    }
    response.end();
    this.#end(Code.OK, "");
  }

  async #sendPieces(first: Buffer, second: Buffer, pieces: Iterator<Buffer, undefined>): Promise<void> {
    if (this.#answered) return;
    const response = this.#response;
    response.writeHead(200, this.#headers());
    let ready = response.write(first);
    for (let piece: Buffer | undefined = second; piece !== undefined; piece = pieces.next().value) {
      if (!ready) await this.#drained();
      await setImmediate();
      if (response.destroyed) return; // the client went away meanwhile
      ready = response.write(piece);
    }
    response.end();
    this.#end(Code.OK, "");
  }

  /**
   * Sends lines as they come, to their end. The answer begins with the first, so that what fails before it is an error
   * like any other; a client that stops reading is waited for, as long as for any answer.
   */
  async answerLines(lines: AsyncGenerator<string, void, undefined>, contentType: string): Promise<void> {
    const response = this.#response;
    try {
      let step = await lines.next();
      if (this.#answered) return;
      response.writeHead(200, { ...this.#headers(), "content-type": contentType });
      for (; step.done !== true; step = await lines.next()) {
        if (response.destroyed) return; // the client went away meanwhile
        if (!response.write(`${step.value}\n`)) await this.#drained();
      }
      response.end();
      this.#end(Code.OK, "");
    } finally {
      await lines.return();
    }
  }

  /** Answers with the error when not all of the body may have been read: the client is let to finish, within reason. */
  failUnread(thrown: unknown): void {
    this.#lingers = !this.#request.complete;
    this.fail(thrown);
  }

  /** Answers with the error. What is no StatusError is a defect of ours: logged, and not shown to the client. */
  fail(thrown: unknown): void {
    if (this.#answered) return;
    if (this.#response.headersSent) {
      // Too late for an error; that the answer breaks off is all that the client can be told.
      const fields = { request_id: this.record.requestId, error: thrown };
      if (thrown instanceof StatusError) this.#deps.logger.info("A REST answer broke off", fields);
      else this.#deps.logger.error("A REST answer broke off", fields);
      this.#response.destroy();
      return;
    }
    if (thrown instanceof BodyTooLarge) {
      this.#cancellation.cancel(thrown.status);
      this.#send(thrown.status.code, 413, errorBody(thrown.status.message), thrown.status.message);
      return;
    }
    let error: StatusError;
    if (thrown instanceof StatusError) error = thrown;
    else {
      const { requestId, method } = this.record;
      this.#deps.logger.error("A REST call failed on a defect", { request_id: requestId, method, error: thrown });
      error = internal(`Internal error; the server's log has it under request id ${requestId}`);
    }
    this.#cancellation.cancel(error);
    this.#send(error.code, httpStatusOf(error.code), errorBody(error.message), error.message);
  }

  #send(code: Code, status: number, body: string | Buffer, error: string): void {
    if (this.#answered) return;
    const headers = this.#headers();
    headers["content-length"] = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    const unread = status === 413 || this.#lingers;
    if (unread) headers["connection"] = "close";
    this.#response.writeHead(status, headers);
    if (unread) this.#linger(body);
    else this.#response.end(body);
    this.#end(code, error);
  }

  /** Ends the answer only when the client has sent all: a connection closed under its hands would cost it the answer. */
  #linger(body: string | Buffer): void {
    const response = this.#response;
    const request = this.#request;
    if (request.readableEnded) {
      response.end(body);
      return;
    }
    response.write(body);
    let discarded = 0;
    request.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > lingerBytes) response.end();
    });
    request.on("end", () => response.end());
    request.resume();
  }

  /** Waits until the client has read on, or has gone. One that stops reading is cut: its answer takes up memory here. */
  #drained(): Promise<void> {
    const response = this.#response;
    return new Promise((resolve) => {
      const timer = this.#deps.clock.setTimer(stallLimitMs, () => response.destroy());
      const done = () => {
        timer.cancel();
        response.off("drain", done);
        response.off("close", done);
        resolve();
      };
      response.on("drain", done);
      response.on("close", done);
    });
  }

  #headers(): Record<string, string | number> {
    const headers: Record<string, string | number> = {
      "content-type": "application/json",
      [requestIdKey]: this.record.requestId,
      ...this.#deps.corsHeaders,
      ...this.#moreHeaders,
    };
    if (this.#deps.lastOnConnection()) headers["connection"] = "close";
    return headers;
  }

  #abandon(reason: StatusError): void {
    this.#cancellation.cancel(reason);
    this.#end(reason.code, reason.message);
  }

  #end(code: Code, error: string): void {
    this.#answered = true;
    const { clock, observer, logger } = this.#deps;
    try {
      observer(this.record, code, clock.now() - this.#startMs, error);
    } catch (defect) {
      logger.error("The observer of REST calls failed", { code: codeName(code), error: defect });
    }
  }
}

function* rejoined(
  first: Buffer,
  second: Buffer | undefined,
  others: Iterator<Buffer, undefined>,
): Generator<Buffer, undefined> {
  yield first;
  for (let piece = second; piece !== undefined; piece = others.next().value) yield piece;
}

/** TensorFlow Serving's error object, in its layout. */
export function errorBody(message: string): string {
  return `{\n    "error": ${encodeJsonString(message)}\n}`;
}
