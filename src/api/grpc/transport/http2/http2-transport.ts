// Our own transport: HTTP/2 for gRPC on plain sockets. node:http2 makes streams, events and objects of everything; this does
// no more than gRPC needs (test/bench/compare.ts compares). What one connection does is told in http2-connection.ts, what
// one call does in grpc-call.ts.
import type { Socket } from "node:net";
import type { Timer } from "../../../../clock.js";
import { unavailable } from "../../../../status.js";
import { TlsHandshakes } from "../../../tls/tls-handshakes.js";
import type { TlsOptions } from "../../../tls/tls-options.js";
import { tcpPeer, unixPeer } from "../../peer.js";
import type { GrpcTransport, Origin, ServiceTable } from "../../service-table.js";
import { Acceptor } from "../acceptor.js";
import type { GrpcTransportDeps } from "../grpc-js.js";
import { BusyPoll } from "./busy-poll.js";
import { Http2Connection } from "./http2-connection.js";
import { type Http2Options, validateHttp2Options } from "./http2-options.js";
import { Inflater } from "./message-compression.js";
import { messageMemory } from "./message-memory.js";
import { SlabPool } from "./output-buffer.js";

/** @param _table the dispatcher has it; paths that it does not have are the dispatcher's to refuse */
export function createHttp2Transport(
  _table: ServiceTable,
  options: Parameters<typeof validateHttp2Options>[0],
  deps: GrpcTransportDeps,
): GrpcTransport {
  return new Http2Transport(validateHttp2Options(options), deps);
}

/** How often connections are asked whether a limit of time has passed. */
const elapseEveryMs = 1000;
/** Between telling calls that the server goes away and cutting their connections: time for the word to leave. */
const farewellMs = 250;

class Http2Transport implements GrpcTransport {
  readonly #options: Http2Options;
  readonly #deps: GrpcTransportDeps;
  readonly #acceptor: Acceptor;
  readonly #slabs = new SlabPool();
  readonly #inflater = new Inflater();
  readonly #busyPoll: BusyPoll;
  readonly #connections = new Set<Http2Connection>();
  /** One for TCP and one for each Unix socket, whose peers are named after it. */
  readonly #handshakes = new Map<string, TlsHandshakes>();
  #accepted = 0;
  #closing = false;
  #elapseTimer: Timer | undefined;

  constructor(options: Http2Options, deps: GrpcTransportDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#busyPoll = new BusyPoll(options.busyPollMicros, { clock: deps.clock, nextTurn: setImmediate });
    this.#acceptor = new Acceptor((socket, origin) => this.#accept(socket, origin), deps.logger);
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
    this.#closing = true;
    const connectionsGone = this.#acceptor.close();
    for (const connection of [...this.#connections]) connection.drain();
    let timer = clock.setTimer(graceMs, () => {
      for (const connection of [...this.#connections]) connection.failCalls(unavailable("The server is shutting down"));
      timer = clock.setTimer(farewellMs, () => this.#acceptor.destroyConnections());
    });
    await connectionsGone;
    for (const handshakes of this.#handshakes.values()) handshakes.close();
    timer.cancel();
    this.#elapseTimer?.cancel();
  }

  #accept(socket: Socket, origin: Origin): void {
    if (this.#accepted >= this.#options.maxConnections) {
      this.#deps.logger.warn(`Refused a connection: ${this.#accepted} are open, the maximum`);
      socket.destroy();
      return;
    }
    this.#accepted += 1;
    socket.once("close", () => {
      this.#accepted -= 1;
    });
    const { tls } = this.#options;
    if (tls === undefined) this.#serve(socket, origin);
    else this.#handshakesOf(tls, origin).begin(socket);
  }

  #serve(socket: Socket, origin: Origin): void {
    const peer = origin.kind === "unix" ? unixPeer(origin.path) : tcpPeer(socket.remoteAddress, socket.remotePort);
    const { dispatcher, logger } = this.#deps;
    const shared = { dispatcher, logger, slabs: this.#slabs, inflater: this.#inflater, busyPoll: this.#busyPoll };
    const connection = new Http2Connection(socket, peer, this.#options, shared);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    if (this.#closing) connection.drain();
    else this.#elapseTimer ??= this.#elapseLater();
  }

  /** One timer for all connections, while there are any or memory of theirs is kept. */
  #elapseLater(): Timer {
    const { clock } = this.#deps;
    const startMs = clock.now();
    return clock.setTimer(elapseEveryMs, () => {
      const elapsedMs = clock.now() - startMs;
      for (const connection of [...this.#connections]) connection.elapse(elapsedMs);
      messageMemory.trim();
      const wanted = this.#connections.size > 0 || messageMemory.idleBytes > 0;
      this.#elapseTimer = wanted ? this.#elapseLater() : undefined;
    });
  }

  #handshakesOf(tls: TlsOptions, origin: Origin): TlsHandshakes {
    const key = origin.kind === "unix" ? origin.path : "";
    let handshakes = this.#handshakes.get(key);
    if (handshakes === undefined) {
      const { handshakeTimeoutMs } = this.#options;
      const deps = { protocols: ["h2"], handshakeTimeoutMs, logger: this.#deps.logger };
      handshakes = new TlsHandshakes(tls, deps, (socket) => this.#serve(socket, origin));
      this.#handshakes.set(key, handshakes);
    }
    return handshakes;
  }
}
