import type { EventEmitter } from "node:events";
import {
  Client,
  type ClientDuplexStream,
  ChannelCredentials as Credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { Code, StatusError } from "../status.js";
import type { CallOptions, ResolvedClientOptions } from "./client-options.js";
import { abortError, throwIfAborted, withRetry } from "./retry.js";

/** A message's codec, as ts-proto makes them. */
export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** One method of a service. */
export interface Method<Request, Response> {
  /** "/package.Service/Method". */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
}

/** One connection to one server, made when it is first needed and again whenever it is lost. */
export class GrpcChannel {
  readonly #client: Client;
  readonly #options: ResolvedClientOptions;

  /** @param target "host:port" or "unix:/path" */
  constructor(target: string, options: ResolvedClientOptions) {
    this.#options = options;
    const serverName = options.tls?.serverName;
    this.#client = new Client(target, credentialsOf(options), {
      "grpc.max_receive_message_length": options.maxReceiveMessageBytes,
      "grpc.max_send_message_length": -1,
      // Keeps a record of every channel and call for a service that nobody serves here.
      "grpc.enable_channelz": 0,
      ...(serverName !== undefined && {
        "grpc.ssl_target_name_override": serverName,
        "grpc.default_authority": serverName,
      }),
    });
  }

  /** A unary call that is made once: its second time might be refused for what the first one did. */
  callOnce<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    throwIfAborted(options.signal);
    const deadlineMs = this.#options.clock.now() + (options.timeoutMs ?? this.#options.timeoutMs);
    return this.#attempt(method, method.request.encode(request).finish(), deadlineMs, options);
  }

  /** A unary call, tried again as the client's policy says. */
  call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const { clock, random, retry: policy } = this.#options;
    const deadlineMs = clock.now() + (options.timeoutMs ?? this.#options.timeoutMs);
    const bytes = method.request.encode(request).finish();
    return withRetry({ policy, clock, random, deadlineMs, signal: options.signal }, () =>
      this.#attempt(method, bytes, deadlineMs, options),
    );
  }

  #attempt<Request, Response>(
    method: Method<Request, Response>,
    bytes: Uint8Array,
    deadlineMs: number,
    options: CallOptions,
  ): Promise<Response> {
    const { clock } = this.#options;
    const deadline = clock.wallTime() + (deadlineMs - clock.now());
    return new Promise((resolve, reject) => {
      const onAbort = () => call.cancel();
      const call = this.#client.makeUnaryRequest<Uint8Array, Response>(
        method.path,
        asBuffer,
        (response) => method.response.decode(response),
        bytes,
        this.#metadata(options),
        { deadline },
        (error, response) => {
          options.signal?.removeEventListener("abort", onAbort);
          if (error !== null) reject(statusOf(error, options.signal));
          else resolve(response!);
        },
      );
      options.signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /**
   * A bidirectional call: requests are taken as fast as the server takes them, responses given as fast as they are
   * read. Not tried again: nobody knows which requests were heard. Leaving the loop over the responses ends the call.
   */
  async *stream<Request, Response>(
    method: Method<Request, Response>,
    requests: AsyncIterable<Request> | Iterable<Request>,
    options: CallOptions,
  ): AsyncGenerator<Response, void, undefined> {
    const { signal, timeoutMs } = options;
    throwIfAborted(signal);
    const { clock } = this.#options;
    // A stream may live long: it has a deadline only when its caller sets one.
    const call = this.#client.makeBidiStreamRequest<Request, Response>(
      method.path,
      (request) => asBuffer(method.request.encode(request).finish()),
      (response) => method.response.decode(response),
      this.#metadata(options),
      timeoutMs === undefined ? {} : { deadline: clock.wallTime() + timeoutMs },
    );
    const onAbort = () => call.cancel();
    signal?.addEventListener("abort", onAbort, { once: true });
    let failure: unknown;
    const writing = writeAll(call, requests).catch((thrown) => {
      // What the caller's own iterable threw is what the caller shall hear.
      failure ??= thrown;
      call.cancel();
    });
    try {
      for await (const response of call) yield response as Response;
      await writing;
      if (failure !== undefined) throw failure;
    } catch (thrown) {
      throw failure ?? statusOf(thrown as ServiceError, signal);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      call.cancel();
    }
  }

  #metadata(options: CallOptions): Metadata {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries({ ...this.#options.metadata, ...options.metadata })) {
      metadata.set(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
    }
    return metadata;
  }

  close(): void {
    this.#client.close();
  }
}

async function writeAll<Request, Response>(
  call: ClientDuplexStream<Request, Response>,
  requests: AsyncIterable<Request> | Iterable<Request>,
): Promise<void> {
  for await (const request of requests) {
    if (call.destroyed || call.writableEnded) return;
    if (!call.write(request)) await drained(call);
  }
  call.end();
}

function drained(call: EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) call.removeListener(event, done);
      resolve();
    };
    const events = ["drain", "close", "error", "end"];
    for (const event of events) call.once(event, done);
  });
}

function credentialsOf({ tls }: ResolvedClientOptions): Credentials {
  if (tls === undefined) return Credentials.createInsecure();
  const pem = (value: Uint8Array | string | undefined) => (value === undefined ? null : Buffer.from(value));
  return Credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

/** The bytes under another name; grpc-js wants Buffers. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function statusOf(error: ServiceError, signal: AbortSignal | undefined): unknown {
  if (typeof error.code !== "number" || typeof error.details !== "string") return error;
  if (error.code === Code.CANCELLED && signal?.aborted === true) return abortError();
  return new StatusError(error.code as Code, error.details, { cause: error });
}
