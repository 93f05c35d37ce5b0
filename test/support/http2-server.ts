import { createDispatcher } from "../../src/api/grpc/dispatch.js";
import { standardInterceptors } from "../../src/api/grpc/interceptors.js";
import type { Call, GrpcTransport, Metadata, Method, Peer } from "../../src/api/grpc/service-table.js";
import { createHttp2Transport } from "../../src/api/grpc/transport/http2/http2-transport.js";
import type { Code } from "../../src/status.js";
import { FakeClock } from "./fake-clock.js";
import { LogRecorder } from "./log-recorder.js";
import { RawHttp2Connection } from "./raw-http2-connection.js";

const codec = { decode: (message: Uint8Array) => message, encode: (message: Uint8Array) => message };

/** Sends the message back. */
export const echo = "/test.Echo/Unary";
/** Sends as many bytes as the message says in decimal. */
export const bytesOf = "/test.Bytes/Unary";
/** Sends as many messages of 1000 bytes as the message says. */
export const streamOf = "/test.Bytes/Stream";
/** Takes no message before the test says so; answers with the number of bytes that came. */
export const slowSum = "/test.Slow/Sum";
/** Never answers. */
export const never = "/test.Never/Unary";

/** The http2 transport on a port of its own, with a clock that only tests turn, and methods to try it with. */
export class Http2Server implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log = new LogRecorder();
  /** How calls ended, as the access log hears it. */
  readonly ended: { readonly path: string; readonly code: Code; readonly message: string }[] = [];
  readonly begun: string[] = [];
  // Of the calls that have begun.
  readonly peers: Peer[] = [];
  readonly metadata: Metadata[] = [];
  readonly transport: GrpcTransport;
  port = 0;
  /** Lets slowSum take its messages. */
  letIn: () => void = () => {};
  readonly #open: RawHttp2Connection[] = [];

  private constructor(options: Parameters<typeof createHttp2Transport>[1]) {
    const gate = new Promise<void>((resolve) => {
      this.letIn = resolve;
    });
    const begin = <T>(call: Call, response: T): T => {
      this.begun.push(call.path);
      this.peers.push(call.peer);
      this.metadata.push(call.metadata);
      return response;
    };
    const methods: Method[] = [
      { ...codec, kind: "unary", path: echo, handle: (request: Uint8Array, call) => begin(call, request) },
      {
        ...codec,
        kind: "unary",
        path: bytesOf,
        handle: (request: Uint8Array, call) => begin(call, Buffer.alloc(Number(request), "b")),
      },
      {
        ...codec,
        kind: "server-stream",
        path: streamOf,
        handle: async function* (request: Uint8Array, call) {
          begin(call, undefined);
          for (let index = 0; index < Number(request); index++) yield Buffer.alloc(1000, "s");
        },
      },
      {
        ...codec,
        kind: "client-stream",
        path: slowSum,
        handle: async (requests: AsyncIterable<Uint8Array>, call) => {
          begin(call, undefined);
          await gate;
          let bytes = 0;
          for await (const request of requests) bytes += request.length;
          return Buffer.from(String(bytes));
        },
      },
      {
        ...codec,
        kind: "unary",
        path: never,
        handle: (_request: Uint8Array, call) =>
          new Promise((_resolve, reject) => begin(call, call.cancellation.onCancel(reject))),
      },
    ];
    const table = new Map(methods.map((method) => [method.path, method]));
    const interceptors = standardInterceptors(this.clock, (record, code, _durationMs, message) =>
      this.ended.push({ path: record.method, code, message }),
    );
    const dispatcher = createDispatcher(table, { interceptors, logger: this.log, clock: this.clock });
    this.transport = createHttp2Transport(table, options, { dispatcher, logger: this.log, clock: this.clock });
  }

  static async start(options: Parameters<typeof createHttp2Transport>[1] = {}): Promise<Http2Server> {
    const server = new Http2Server(options);
    server.port = await server.transport.listenTcp("127.0.0.1", 0);
    return server;
  }

  connect(options?: ConstructorParameters<typeof RawHttp2Connection>[1]): RawHttp2Connection {
    const connection = new RawHttp2Connection({ port: this.port, host: "127.0.0.1" }, options);
    this.#open.push(connection);
    return connection;
  }

  /** Time passes second by second, and what it caused is done. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1000) {
      this.clock.advance(Math.min(left, 1000));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#open) connection.socket.destroy();
    await this.transport.close(0);
  }
}
