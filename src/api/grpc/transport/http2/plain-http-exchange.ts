import type { ConnectionWriter } from "./connection-writer.js";
import { Http2Stream } from "./http2-stream.js";

/** A body up to this size is heard out before the answer; of a larger one the rest is not wanted. */
const patienceBytes = 64 * 1024;

export interface PlainAnswer {
  readonly status: number;
  readonly fields: readonly string[];
  /** Empty for requests that may not have one. */
  readonly body: string;
}

/** What a request gets that is no gRPC call: an answer that its sender can read. */
export function answerFor(status: number, method: string): PlainAnswer {
  const answer = status === 405 ? notPost : notGrpc;
  return method === "HEAD" ? { ...answer, body: "" } : answer;
}

const text = ["content-type", "text/plain; charset=utf-8"];
const notPost = { status: 405, fields: [...text, "allow", "POST"], body: "gRPC calls are POST requests.\n" };
const notGrpc = {
  status: 415,
  fields: text,
  body: "This port speaks gRPC (content-type: application/grpc). REST is served on the port set with --rest_api_port.\n",
};

/** For gRPC clients too, which read the status in the last two fields. */
export function headerListTooLarge(maxBytes: number): PlainAnswer {
  const message = `The request's header fields are larger than max (${maxBytes} bytes)`;
  return {
    status: 431,
    fields: ["content-type", "application/grpc", "grpc-status", "8", "grpc-message", message],
    body: "",
  };
}

export class PlainHttpExchange extends Http2Stream {
  readonly #answer: PlainAnswer;
  readonly #writer: ConnectionWriter;
  #answered = false;

  constructor(
    id: number,
    answer: PlainAnswer,
    contentLength: number | undefined,
    receiveWindow: number,
    writer: ConnectionWriter,
  ) {
    super(id, writer.initialWindowBytes, receiveWindow, contentLength);
    this.#answer = answer;
    this.#writer = writer;
  }

  override data(): void {
    if (this.receivedBytes > patienceBytes) this.answer();
  }

  override requestEnded(): void {
    this.answer();
  }

  override fail(): void {
    this.answer();
  }

  override lost(): void {}
  override drained(): void {}
  override resumed(): void {}

  answer(): void {
    if (this.#answered) return;
    this.#answered = true;
    const { status, fields, body } = this.#answer;
    if (body === "") {
      this.trailers = [":status", String(status), ...fields];
    } else {
      this.initialFields = [":status", String(status), ...fields, "content-length", String(body.length)];
      this.endsWithData = true;
      this.#writer.queueData(this, Buffer.from(body));
    }
    this.#writer.list(this);
  }
}
