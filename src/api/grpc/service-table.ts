// What a transport needs to know of our services, and what a handler may know of a transport. Nothing else crosses, so
// that a transport can be replaced without touching a handler.
import type { Socket } from "node:net";
import type { Cancellation } from "../../cancellation.js";
import type { CallRecord } from "../../telemetry/index.js";
import type { Waiter } from "../../waiter.js";
import type { EncodableMessage } from "../codecs/encodable-message.js";

/** Header fields of a call. Keys are lower case; those that end in "-bin" hold bytes, decoded. */
export interface Metadata {
  /** The first value, or undefined. */
  get(key: string): string | Uint8Array | undefined;
}

/** Who calls. */
export interface Peer {
  /** "127.0.0.1:51034", "[::1]:51034" or "unix:/path". */
  readonly address: string;
  /** Over loopback or a Unix socket: from this machine. */
  readonly local: boolean;
}

/** One call as its handler sees it. */
export interface Call {
  /** "/package.Service/Method". */
  readonly path: string;
  readonly metadata: Metadata;
  readonly peer: Peer;
  /** What the access line and the metrics will say; handlers fill in what they learn. */
  readonly record: CallRecord;
  /** Fires when the client cancels, its deadline passes or its connection is lost. */
  readonly cancellation: Cancellation;
  /** Adds a field to the initial response metadata. Only before the first response. */
  setHeader(key: string, value: string | Uint8Array): void;
  /** Adds a field to the trailers that close the call, errors included. */
  setTrailer(key: string, value: string | Uint8Array): void;
}

interface Codec<Request, Response> {
  /** "/package.Service/Method". */
  readonly path: string;
  /**
   * The bytes are the handler's: they are not used again, and may be kept or viewed; with requestEndsWithAnswer, until the
   * answer. Throws on malformed bytes.
   */
  readonly decode: (bytes: Uint8Array) => Request;
  readonly encode: (response: Response) => Uint8Array | EncodableMessage;
}

/** What a handler returns that will tell its waiter. */
export const answersLater = Symbol("answers later");

/** A call's request and response as they are on the wire. */
export interface Exchange {
  requestBytes(): Uint8Array;
  responseBytes(): Uint8Array;
}

export interface UnaryMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "unary";
  /** As decode(), of bytes[start, end): spares a view of them. */
  readonly decodeAt?: (bytes: Uint8Array, start: number, end: number) => Request;
  /** Of a request that was answered well nothing is looked at any more: its memory may be used for another. */
  readonly requestEndsWithAnswer?: boolean;
  /** @param waiter may be told the response instead of its being returned: cheaper than a promise, for the busiest method */
  readonly handle: (
    request: Request,
    call: Call,
    waiter: Waiter<Response>,
  ) => Response | Promise<Response> | typeof answersLater;
  /** Sees each call that succeeds, before its answer leaves. */
  readonly observe?: (response: Response, exchange: Exchange) => void;
}
export interface ServerStreamMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "server-stream";
  /** Each step is taken when the client has room for it. Its return() is called when the call ends early. */
  readonly handle: (request: Request, call: Call) => AsyncIterable<Response>;
}
export interface ClientStreamMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "client-stream";
  readonly handle: (requests: AsyncIterable<Request>, call: Call) => Promise<Response>;
}
export interface BidiMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "bidi";
  readonly handle: (requests: AsyncIterable<Request>, call: Call) => AsyncIterable<Response>;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds methods of all message types; each entry is typed where it is made.
type AnyMessage = any;
export type Method =
  | UnaryMethod<AnyMessage, AnyMessage>
  | ServerStreamMethod<AnyMessage, AnyMessage>
  | ClientStreamMethod<AnyMessage, AnyMessage>
  | BidiMethod<AnyMessage, AnyMessage>;

/** All methods by path. */
export type ServiceTable = ReadonlyMap<string, Method>;

/** How a connection came: what its calls' peers are told from. */
export type Origin = { readonly kind: "tcp" } | { readonly kind: "unix"; readonly path: string };

/** A gRPC server that answers from a table. */
export interface GrpcTransport {
  /** Listens; resolves to the port that was bound (the one asked for, or the one the system chose for 0). */
  listenTcp(host: string, port: number): Promise<number>;
  listenUnix(path: string): Promise<void>;
  /** Serves a connection that another process has accepted. */
  accept(socket: Socket, origin: Origin): void;
  /** No new connections or calls; resolves when all calls have ended, or cuts those that remain after `graceMs`. */
  close(graceMs: number): Promise<void>;
}
