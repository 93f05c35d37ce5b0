import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

const asIs = (bytes: Buffer): Buffer => bytes;

export interface UnaryResult {
  readonly error: ServiceError | undefined;
  readonly response: Buffer | undefined;
  readonly headers: Metadata | undefined;
  readonly trailers: Metadata;
}

/** A grpc-js client that sends and receives bytes, to any path. */
export class RawGrpcClient extends Client implements Disposable {
  constructor(target: string, options: ClientOptions = {}, channelCredentials = credentials.createInsecure()) {
    super(target, channelCredentials, {
      "grpc.max_receive_message_length": -1,
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
      ...options,
    });
  }

  /** Resolves however the call ends. */
  unary(path: string, request: Uint8Array | string, fields: Fields = {}, options: CallOptions = {}) {
    let headers: Metadata | undefined;
    let finish: (result: UnaryResult) => void;
    const done = new Promise<UnaryResult>((resolve) => {
      finish = resolve;
    });
    let error: ServiceError | undefined;
    let response: Buffer | undefined;
    const call = this.makeUnaryRequest(
      path,
      asIs,
      asIs,
      Buffer.from(request as string),
      toMetadata(fields),
      options,
      (failure, bytes) => {
        error = failure ?? undefined;
        response = bytes;
      },
    );
    call.on("metadata", (metadata: Metadata) => {
      headers = metadata;
    });
    call.on("status", (status) =>
      setImmediate(() => finish({ error, response, headers, trailers: status.metadata as Metadata })),
    );
    return Object.assign(done, { cancel: () => call.cancel() });
  }

  serverStream(path: string, request: Uint8Array | string, options: CallOptions = {}): ClientReadableStream<Buffer> {
    return this.makeServerStreamRequest(path, asIs, asIs, Buffer.from(request as string), new Metadata(), options);
  }

  clientStream(path: string): { stream: ClientWritableStream<Buffer>; done: Promise<UnaryResult> } {
    let stream!: ClientWritableStream<Buffer>;
    const done = new Promise<UnaryResult>((resolve) => {
      stream = this.makeClientStreamRequest(path, asIs, asIs, new Metadata(), {}, (error, response) =>
        resolve({ error: error ?? undefined, response, headers: undefined, trailers: new Metadata() }),
      );
    });
    return { stream, done };
  }

  bidi(path: string): ClientDuplexStream<Buffer, Buffer> {
    return this.makeBidiStreamRequest(path, asIs, asIs, new Metadata(), {});
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

type Fields = Readonly<Record<string, string | Uint8Array>>;

function toMetadata(fields: Fields): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(fields)) {
    metadata.set(key, typeof value === "string" ? value : Buffer.from(value));
  }
  return metadata;
}

/** The responses of a stream until it ends, and the error it ended with. */
export async function collect(stream: ClientReadableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>) {
  const responses: string[] = [];
  try {
    for await (const response of stream) responses.push(String(response));
  } catch (error) {
    return { responses, error: error as ServiceError };
  }
  return { responses, error: undefined };
}
