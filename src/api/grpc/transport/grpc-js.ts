// The reference transport, on @grpc/grpc-js. Each call is taken over where grpc-js hands it to its interceptors, before
// it makes Node streams of it: nearer to the wire, and cheaper. Connections are accepted here and handed in, because
// grpc-js with channelz off loses sight of them and could not cut them at the end.
import type { Socket } from "node:net";
import {
  type ConnectionInjector,
  Metadata as GrpcJsMetadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";
import type { Clock } from "../../../clock.js";
import { Code, errorMessage, StatusError, unavailable } from "../../../status.js";
import type { Logger } from "../../../telemetry/index.js";
import { bytesOfMessage, type EncodableMessage } from "../../codecs/encodable-message.js";
import { TlsHandshakes } from "../../tls/tls-handshakes.js";
import type { CallReceiver, Dispatcher, HeaderField, TransportCall } from "../dispatch.js";
import { tcpPeer, unixPeer } from "../peer.js";
import type { GrpcTransport, Metadata, Origin, Peer, ServiceTable } from "../service-table.js";
import { Acceptor } from "./acceptor.js";
import { type GrpcTransportOptions, receiveLimitHint } from "./transport-options.js";

export interface GrpcTransportDeps {
  readonly dispatcher: Dispatcher;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** @param table the dispatcher's own: grpc-js wants to know its paths beforehand */
export function createGrpcJsTransport(
  table: ServiceTable,
  options: GrpcTransportOptions,
  deps: GrpcTransportDeps,
): GrpcTransport {
  return new GrpcJsTransport(table, options, deps);
}

/** From accepting a connection to the end of its TLS handshake. */
const handshakeTimeoutMs = 10_000;
/** Between telling calls that the server goes away and cutting their connections: time for the word to leave. */
const farewellMs = 250;

/** Where accepted connections of one origin go. */
interface Injector {
  readonly inject: (socket: Socket) => void;
  readonly handshakes: TlsHandshakes | undefined;
}

class GrpcJsTransport implements GrpcTransport {
  readonly #table: ServiceTable;
  readonly #options: GrpcTransportOptions;
  readonly #deps: GrpcTransportDeps;
  readonly #acceptor: Acceptor;
  readonly #calls = new Set<GrpcJsCall>();
  readonly #servers: Server[] = [];
  /** One for TCP and one for each Unix socket, whose peers are named after it. */
  readonly #injectors = new Map<string, Injector>();

  constructor(table: ServiceTable, options: GrpcTransportOptions, deps: GrpcTransportDeps) {
    this.#table = table;
    this.#options = options;
    this.#deps = deps;
    this.#acceptor = new Acceptor((socket, origin) => this.#injector(origin).inject(socket), deps.logger);
  }

  listenTcp(host: string, port: number): Promise<number> {
    return this.#acceptor.listenTcp(host, port);
  }

  listenUnix(path: string): Promise<void> {
    return this.#acceptor.listenUnix(path);
  }

  accept(socket: Socket, origin: Origin): void {
    this.#acceptor.accept(socket, origin);
  }

  async close(graceMs: number): Promise<void> {
    const { clock } = this.#deps;
    const connectionsGone = this.#acceptor.close();
    // Tells every client to go elsewhere; each connection then ends with its last call.
    for (const server of this.#servers) server.tryShutdown(() => {});
    let timer = clock.setTimer(graceMs, () => {
      for (const call of this.#calls) call.receiver?.fail(unavailable("The server is shutting down"));
      timer = clock.setTimer(farewellMs, () => this.#acceptor.destroyConnections());
    });
    await connectionsGone;
    for (const { handshakes } of this.#injectors.values()) handshakes?.close();
    timer.cancel();
  }

  #injector(origin: Origin): Injector {
    const key = origin.kind === "unix" ? origin.path : "";
    let injector = this.#injectors.get(key);
    if (injector === undefined) {
      const server = this.#createServer(origin);
      this.#servers.push(server);
      injector = this.#createInjector(server.createConnectionInjector(ServerCredentials.createInsecure()));
      this.#injectors.set(key, injector);
    }
    return injector;
  }

  /** grpc-js is never told of TLS: it is given the sockets whose handshakes are done. */
  #createInjector(plain: ConnectionInjector): Injector {
    const { tls } = this.#options;
    const inject = (socket: Socket) => plain.injectConnection(socket);
    if (tls === undefined) return { inject, handshakes: undefined };
    const deps = { protocols: ["h2"], handshakeTimeoutMs, logger: this.#deps.logger };
    const handshakes = new TlsHandshakes(tls, deps, inject);
    return { inject: (socket) => handshakes.begin(socket), handshakes };
  }

  #createServer(origin: Origin): Server {
    const { maxReceiveMessageBytes, maxConcurrentStreams, maxConnectionAgeMs, maxConnectionAgeGraceMs } = this.#options;
    const server = new Server({
      "grpc.max_receive_message_length": maxReceiveMessageBytes,
      "grpc.max_send_message_length": -1,
      "grpc.max_concurrent_streams": maxConcurrentStreams,
      "grpc.enable_channelz": 0, // its books grow with the connections of a lifetime
      ...(maxConnectionAgeMs > 0 && { "grpc.max_connection_age_ms": maxConnectionAgeMs }),
      ...(maxConnectionAgeGraceMs > 0 && { "grpc.max_connection_age_grace_ms": maxConnectionAgeGraceMs }),
      ...Object.fromEntries(this.#options.channelArguments),
      interceptors: [
        (method, base) => new TakenOverCall(base, new GrpcJsCall(method.path, base, origin, this.#calls, this.#deps)),
      ],
    });
    for (const path of this.#table.keys()) {
      // Messages stay bytes; calls are taken over before the handler or its kind matter.
      server.register(path, () => {}, asBuffer, identity, "bidi");
    }
    return server;
  }
}

type PartialStatusObject = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** What grpc-js starts instead of its own call: from here on only ours hears the wire. */
class TakenOverCall extends ServerInterceptingCall {
  readonly #call: GrpcJsCall;

  constructor(base: ServerInterceptingCallInterface, call: GrpcJsCall) {
    super(base);
    this.#call = call;
  }

  override start(): void {
    this.#call.start();
  }
}

/** Responses that wait to be written, at most, before a stream's handler is asked to wait. */
const highWaterBytes = 64 * 1024;

class GrpcJsCall implements TransportCall {
  readonly path: string;
  readonly peer: Peer;
  readonly timeoutMs: number | undefined;
  metadata: Metadata = { get: () => undefined };
  receiver: CallReceiver | undefined;
  readonly #base: ServerInterceptingCallInterface;
  readonly #sendStatus: (status: PartialStatusObject) => void;
  readonly #active: Set<GrpcJsCall>;
  readonly #deps: GrpcTransportDeps;
  #unwrittenBytes = 0;
  #full = false;
  #ended = false;

  constructor(
    path: string,
    base: ServerInterceptingCallInterface,
    origin: Origin,
    active: Set<GrpcJsCall>,
    deps: GrpcTransportDeps,
  ) {
    this.path = path;
    this.#base = base;
    this.#active = active;
    this.#deps = deps;
    this.timeoutMs = timeoutOf(base);
    const { remoteAddress, remotePort } = base.getConnectionInfo();
    this.peer = origin.kind === "unix" ? unixPeer(origin.path) : tcpPeer(remoteAddress, remotePort);
    // grpc-js ends calls by itself, through this very method, when a message is too large or cannot be decompressed.
    // Those ends are the dispatcher's to make, so that they are worded, counted and logged like all others.
    this.#sendStatus = base.sendStatus.bind(base);
    base.sendStatus = (status) => this.#refuse(status);
  }

  start(): void {
    this.#active.add(this);
    this.#base.start({
      onReceiveMetadata: (metadata) => {
        this.metadata = { get: (key) => metadata.get(key)[0] };
        this.receiver = this.#deps.dispatcher(this);
      },
      onReceiveMessage: (message: Uint8Array) => this.receiver?.message(message, 0, message.length),
      onReceiveHalfClose: () => {
        // Node ends the readable side of a stream that was reset just as of one that was finished. The step that makes
        // grpc-js look at the difference queues onCancel before what is queued here.
        this.#base.startRead();
        process.nextTick(() => this.receiver?.halfClose());
      },
      // Comes after every call, the well ended ones included.
      onCancel: () => {
        this.#end();
        this.receiver?.cancel();
      },
    });
  }

  read(): void {
    if (!this.#ended) this.#base.startRead();
  }

  sendHeaders(fields: readonly HeaderField[]): void {
    if (!this.#ended) this.#attempt(() => this.#base.sendMetadata(toGrpcJsMetadata(fields)));
  }

  sendMessage(encodable: Uint8Array | EncodableMessage): boolean {
    if (this.#ended) return true;
    const message = bytesOfMessage(encodable);
    this.#unwrittenBytes += message.byteLength;
    const written = () => {
      this.#unwrittenBytes -= message.byteLength;
      if (this.#full && this.#unwrittenBytes <= highWaterBytes) {
        this.#full = false;
        this.receiver?.drained();
      }
    };
    this.#attempt(() => this.#base.sendMessage(message, written));
    this.#full = this.#unwrittenBytes > highWaterBytes;
    return !this.#full;
  }

  sendStatus(code: Code, message: string, trailers: readonly HeaderField[]): void {
    if (this.#ended) return;
    this.#end();
    this.#attempt(() => this.#sendStatus({ code, details: message, metadata: toGrpcJsMetadata(trailers) }));
  }

  releaseRequest(): void {}

  #refuse({ code, details }: PartialStatusObject): void {
    // Deadlines are the dispatcher's, which keeps the client's exactly; grpc-js cuts them to 32 bits.
    if (code === Code.DEADLINE_EXCEEDED) return;
    const text = details ?? "";
    this.receiver?.fail(
      code === Code.RESOURCE_EXHAUSTED
        ? new StatusError(Code.RESOURCE_EXHAUSTED, `${text}; ${receiveLimitHint}`)
        : new StatusError((code as Code | null) ?? Code.INTERNAL, text),
    );
  }

  #end(): void {
    this.#ended = true;
    this.#active.delete(this);
  }

  /** A stream can break between two steps of ours; grpc-js then throws, and tells of the end in a later turn. */
  #attempt(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.#deps.logger.debug(`Writing to ${this.peer.address} failed: ${errorMessage(thrown)}`, { path: this.path });
    }
  }
}

/**
 * grpc-js hands out the deadline on Date.now()'s scale, cut to 32 bits of milliseconds: one of more than 24 days away may
 * come out long past. None that far away matters.
 */
function timeoutOf(base: ServerInterceptingCallInterface): number | undefined {
  const timeoutMs = Number(base.getDeadline()) - Date.now();
  return timeoutMs === Number.POSITIVE_INFINITY || timeoutMs < -1000 ? undefined : timeoutMs;
}

function toGrpcJsMetadata(fields: readonly HeaderField[]): GrpcJsMetadata {
  const metadata = new GrpcJsMetadata();
  for (const [key, value] of fields) metadata.add(key, typeof value === "string" ? value : asBuffer(value));
  return metadata;
}

const identity = (bytes: Buffer): Buffer => bytes;
const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
