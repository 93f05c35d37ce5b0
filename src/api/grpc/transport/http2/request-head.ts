// What a request's header list says: whether HTTP/2 allows it at all, whether it is a gRPC call, and if so which.
import { internal, type StatusError, unimplemented } from "../../../../status.js";
import type { Metadata } from "../../service-table.js";
import { isSupportedEncoding, supportedEncodings } from "./message-compression.js";
import { ErrorCode, StreamError } from "./protocol.js";

/** Shared by all calls whose header blocks are alike, hence immutable. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly metadata: Metadata;
  /** Bytes of all DATA together, when the client said so. */
  readonly contentLength: number | undefined;
  /** The status that tells a client which is no gRPC client what is wrong; 0 for gRPC calls. */
  readonly httpStatus: number;
  /** Of a gRPC call: what was left of the deadline when the client sent it. */
  readonly timeoutMs: number | undefined;
  /** How messages marked as compressed are compressed. */
  readonly encoding: string;
  /** What the client takes besides identity, as it said. */
  readonly acceptEncoding: string;
  /** Why the call cannot be served, found in its header fields. */
  readonly refusal: StatusError | undefined;
}

/**
 * @param fields name, value, name, value …; one character to the byte
 * @throws StreamError when RFC 9113 calls the request malformed
 */
export function parseRequestHead(fields: readonly string[]): RequestHead {
  const pseudo = requirePseudoFields(fields);
  requireFields(fields, pseudo.count);
  const metadata = new HeaderMetadata(fields, pseudo.count * 2);
  const text = (name: string): string | undefined => metadata.raw(name);
  const encoding = text("grpc-encoding") ?? "identity";
  const timeout = text("grpc-timeout");
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
  return Object.freeze({
    method: pseudo.method,
    path: pseudo.path,
    metadata,
    contentLength: parseContentLength(text("content-length")),
    httpStatus: httpStatusFor(pseudo.method, text("content-type")),
    timeoutMs,
    encoding,
    acceptEncoding: text("grpc-accept-encoding") ?? "",
    refusal: refusalOf(encoding, timeout, timeoutMs),
  });
}

/** @throws StreamError when the fields may not stand in trailers */
export function validateTrailers(fields: readonly string[]): void {
  requireFields(fields, 0);
}

class HeaderMetadata implements Metadata {
  readonly #fields: readonly string[];
  readonly #first: number;
  // Calls alike share this object, and ask it for the same.
  #latestName = "";
  #latestValue: string | undefined;

  constructor(fields: readonly string[], first: number) {
    this.#fields = fields;
    this.#first = first;
  }

  get(key: string): string | Uint8Array | undefined {
    const value = this.raw(key);
    if (value === undefined || !key.endsWith("-bin")) return value;
    // Several values may have been joined by commas on the way; padding is optional.
    const comma = value.indexOf(",");
    return Buffer.from(comma < 0 ? value : value.slice(0, comma), "base64");
  }

  /** As on the wire. */
  raw(name: string): string | undefined {
    if (name === this.#latestName) return this.#latestValue;
    const fields = this.#fields;
    let index = this.#first;
    while (index < fields.length && fields[index] !== name) index += 2;
    this.#latestName = name;
    this.#latestValue = fields[index + 1];
    return this.#latestValue;
  }
}

interface PseudoFields {
  readonly method: string;
  readonly path: string;
  /** How many of the list's fields they are; they come first. */
  readonly count: number;
}

/** RFC 9113, section 8.3.1. */
function requirePseudoFields(fields: readonly string[]): PseudoFields {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let index = 0;
  for (; index < fields.length; index += 2) {
    const name = fields[index]!;
    if (!name.startsWith(":")) break;
    const value = fields[index + 1]!;
    if (name === ":method" && method === undefined) method = value;
    else if (name === ":scheme" && scheme === undefined) scheme = value;
    else if (name === ":authority" && authority === undefined) authority = value;
    else if (name === ":path" && path === undefined) path = value;
    else throw malformed(`unexpected pseudo-header field ${name}`);
  }
  if (method === undefined || method === "") throw malformed("no :method");
  if (method === "CONNECT") {
    if (scheme !== undefined || path !== undefined || authority === undefined) throw malformed("CONNECT to nowhere");
  } else if (scheme === undefined || scheme === "" || path === undefined || path === "") {
    throw malformed("no :scheme or no :path");
  }
  return { method, path: path ?? "", count: index / 2 };
}

const fieldName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const forbiddenInValue = /[\0\r\n]|^[ \t]|[ \t]$/;
/** They speak of one hop of HTTP/1.1 and have no meaning here. */
const connectionFields = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);

/** RFC 9113, sections 8.2.1 and 8.2.2. */
function requireFields(fields: readonly string[], pseudoCount: number): void {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]!;
    const value = fields[index + 1]!;
    // Pseudo-header fields after others, or in trailers, fail here.
    if (index >= pseudoCount * 2 && !fieldName.test(name)) throw malformed(`field name ${JSON.stringify(name)}`);
    if (forbiddenInValue.test(value)) throw malformed(`value of ${name}`);
    if (connectionFields.has(name)) throw malformed(`connection-specific field ${name}`);
    if (name === "te" && value !== "trailers") throw malformed(`te: ${value}`);
  }
}

function parseContentLength(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw malformed(`content-length: ${text}`);
  return Number(text);
}

function malformed(what: string): StreamError {
  return new StreamError(ErrorCode.PROTOCOL_ERROR, `malformed request: ${what}`);
}

function httpStatusFor(method: string, contentType: string | undefined): number {
  if (contentType === undefined || !/^application\/grpc(?:\+proto)?(?:;|$)/i.test(contentType)) return 415;
  return method === "POST" ? 0 : 405;
}

const timeoutUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** "100m" → 100. Undefined when it is no timeout. */
export function parseTimeout(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * timeoutUnitsMs[match[2]!]!;
}

function refusalOf(
  encoding: string,
  timeout: string | undefined,
  timeoutMs: number | undefined,
): StatusError | undefined {
  if (timeout !== undefined && timeoutMs === undefined) {
    return internal(`grpc-timeout must be up to 8 digits and a unit (H, M, S, m, u or n); got "${timeout}"`);
  }
  if (!isSupportedEncoding(encoding)) {
    return unimplemented(`grpc-encoding must be one of ${supportedEncodings}; got "${encoding}"`);
  }
  return undefined;
}
