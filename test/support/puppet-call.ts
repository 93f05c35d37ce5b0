import { bytesOfMessage, type EncodableMessage } from "../../src/api/codecs/encodable-message.js";
import type { HeaderField, TransportCall } from "../../src/api/grpc/dispatch.js";
import type { Metadata, Peer } from "../../src/api/grpc/service-table.js";
import type { Code } from "../../src/status.js";

/** A transport's side of one call that writes down what it is told, and does nothing by itself. */
export class PuppetCall implements TransportCall {
  readonly path: string;
  readonly metadata: Metadata;
  readonly peer: Peer = { address: "127.0.0.1:1", local: true };
  readonly timeoutMs: number | undefined;
  reads = 0;
  releasedRequests = 0;
  headers: readonly HeaderField[] | undefined;
  readonly messages: string[] = [];
  status: { readonly code: Code; readonly message: string; readonly trailers: readonly HeaderField[] } | undefined;
  /** What sendMessage answers. */
  hasRoom = true;

  constructor(path: string, timeoutMs?: number, fields: Readonly<Record<string, string | Uint8Array>> = {}) {
    this.path = path;
    this.timeoutMs = timeoutMs;
    this.metadata = { get: (key) => (Object.hasOwn(fields, key) ? fields[key] : undefined) };
  }

  read(): void {
    this.reads += 1;
  }

  sendHeaders(fields: readonly HeaderField[]): void {
    this.headers = fields;
  }

  sendMessage(message: Uint8Array | EncodableMessage): boolean {
    this.messages.push(Buffer.from(bytesOfMessage(message)).toString());
    return this.hasRoom;
  }

  releaseRequest(): void {
    this.releasedRequests += 1;
  }

  sendStatus(code: Code, message: string, trailers: readonly HeaderField[]): void {
    if (this.status !== undefined) throw new Error("a call ends once");
    this.status = { code, message, trailers };
  }
}
