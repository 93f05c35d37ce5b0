import type { Server, Socket } from "node:net";
import type { Logger } from "../../../telemetry/index.js";
import type { Origin } from "../service-table.js";
import { type Listener, listenTcp, listenUnix } from "./listener.js";

/** Accepts connections and remembers the open ones, so that at the end they can be waited for, or cut. */
export class Acceptor {
  readonly #onConnection: (socket: Socket, origin: Origin) => void;
  readonly #logger: Logger;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  /** Called when the last connection has ended. */
  readonly #whenEmpty: (() => void)[] = [];

  constructor(onConnection: (socket: Socket, origin: Origin) => void, logger: Logger) {
    this.#onConnection = onConnection;
    this.#logger = logger;
  }

  /** Resolves to the port that was bound. */
  async listenTcp(host: string, port: number): Promise<number> {
    const { server, port: bound } = await listenTcp(host, port, this.#listenerOf({ kind: "tcp" }));
    this.#servers.add(server);
    return bound;
  }

  async listenUnix(path: string): Promise<void> {
    this.#servers.add(await listenUnix(path, this.#listenerOf({ kind: "unix", path })));
  }

  /** Takes a connection that another process has accepted. */
  accept(socket: Socket, origin: Origin): void {
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    });
    this.#onConnection(socket, origin);
  }

  /** No new connections; resolves when the open ones have ended. */
  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    this.#servers.clear();
    if (this.#sockets.size === 0) return;
    await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  #listenerOf(origin: Origin): Listener {
    return { onConnection: (socket) => this.accept(socket, origin), logger: this.#logger };
  }

  /** Cuts all open connections. */
  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
