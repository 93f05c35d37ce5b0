import { Agent, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps, Agent as TlsAgent } from "node:https";
import { Code, deadlineExceeded, StatusError, unavailable } from "../status.js";
import type { CallOptions, ResolvedClientOptions } from "./client-options.js";
import { abortError, withRetry } from "./retry.js";

export interface HttpRequest {
  readonly method: "GET" | "POST";
  /** From the server's address on: "/v2/models/m". */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: readonly Uint8Array[];
}

export interface HttpResponse {
  readonly status: number;
  /** By lower-case key. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Keeps connections to one server, and turns what it answers with an error status into a StatusError. */
export class HttpChannel {
  readonly #url: URL;
  readonly #options: ResolvedClientOptions;
  readonly #agent: Agent;

  constructor(url: URL, options: ResolvedClientOptions) {
    const { tls } = options;
    this.#url = url;
    this.#options = options;
    this.#agent =
      tls === undefined
        ? new Agent({ keepAlive: true })
        : new TlsAgent({
            keepAlive: true,
            ...(tls.ca !== undefined && { ca: Buffer.from(tls.ca) }),
            ...(tls.cert !== undefined && { cert: Buffer.from(tls.cert) }),
            ...(tls.key !== undefined && { key: Buffer.from(tls.key) }),
            ...(tls.serverName !== undefined && { servername: tls.serverName }),
          });
  }

  call(request: HttpRequest, options: CallOptions): Promise<HttpResponse> {
    const { clock, random, retry: policy } = this.#options;
    const deadlineMs = clock.now() + (options.timeoutMs ?? this.#options.timeoutMs);
    return withRetry({ policy, clock, random, deadlineMs, signal: options.signal }, () =>
      this.#attempt(request, deadlineMs, options).then(requireSuccess),
    );
  }

  /** The bare status of one attempt, for questions whose "no" is an error status. */
  async probe(path: string, options: CallOptions): Promise<number> {
    const deadlineMs = this.#options.clock.now() + (options.timeoutMs ?? this.#options.timeoutMs);
    return (await this.#attempt({ method: "GET", path }, deadlineMs, options)).status;
  }

  #attempt({ method, path, headers, body = [] }: HttpRequest, deadlineMs: number, options: CallOptions) {
    const { clock, metadata, maxReceiveMessageBytes } = this.#options;
    const { signal } = options;
    return new Promise<HttpResponse>((resolve, reject) => {
      const send = this.#url.protocol === "https:" ? requestHttps : requestHttp;
      const length = body.reduce((sum, part) => sum + part.length, 0);
      const outgoing = send(new URL(this.#url.pathname.replace(/\/$/, "") + path, this.#url), {
        method,
        agent: this.#agent,
        headers: {
          ...metadata,
          ...options.metadata,
          ...headers,
          ...(method === "POST" && { "content-length": length }),
        },
      });
      const finish = (settle: () => void) => {
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const fail = (error: Error) => finish(() => reject(error));
      const end = (error: Error) => {
        fail(error);
        outgoing.destroy();
      };
      const onAbort = () => end(abortError());
      const timer = clock.setTimer(deadlineMs - clock.now(), () => end(deadlineExceeded("Deadline exceeded")));
      signal?.addEventListener("abort", onAbort, { once: true });
      outgoing.on("error", (error) =>
        fail(unavailable(`no answer from ${this.#url.host}: ${error.message || error.name}`, { cause: error })),
      );
      outgoing.on("response", (response) => {
        readBody(response, maxReceiveMessageBytes).then(
          (bytes) =>
            finish(() => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes })),
          (error) => end(error),
        );
      });
      for (const part of body) outgoing.write(part);
      outgoing.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) {
        throw new StatusError(Code.RESOURCE_EXHAUSTED, `the answer is larger than ${maxBytes} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (thrown) {
    if (thrown instanceof StatusError) throw thrown;
    throw unavailable(`the answer broke off: ${(thrown as Error).message}`, { cause: thrown });
  }
  return Buffer.concat(chunks, length);
}

function requireSuccess(response: HttpResponse): HttpResponse {
  const { status, body } = response;
  if (status >= 200 && status < 300) return response;
  throw new StatusError(codeOfHttp(status), errorText(body) || `HTTP status ${status}`);
}

function codeOfHttp(status: number): Code {
  switch (status) {
    case 400:
      return Code.INVALID_ARGUMENT;
    case 401:
      return Code.UNAUTHENTICATED;
    case 403:
      return Code.PERMISSION_DENIED;
    case 404:
      return Code.NOT_FOUND;
    case 409:
      return Code.ABORTED;
    case 412:
      return Code.FAILED_PRECONDITION;
    case 413:
    case 429:
      return Code.RESOURCE_EXHAUSTED;
    case 499:
      return Code.CANCELLED;
    case 405:
    case 501:
      return Code.UNIMPLEMENTED;
    case 502:
    case 503:
      return Code.UNAVAILABLE;
    case 504:
      return Code.DEADLINE_EXCEEDED;
    case 500:
      return Code.INTERNAL;
    default:
      return Code.UNKNOWN;
  }
}

/** The protocol's `{"error": "…"}`, or what a proxy wrote in its place. */
function errorText(body: Buffer): string {
  const text = body.toString("utf8", 0, Math.min(body.length, 4096));
  try {
    const { error } = JSON.parse(text);
    if (typeof error === "string") return error;
  } catch {
    // Not JSON: shown as it is.
  }
  return text.trim();
}
