import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { errorMessage, unavailable } from "../../../status.js";
import type { Logger } from "../../../telemetry/index.js";
import type { Origin } from "../service-table.js";

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
    const server = await this.#listen({ host, port }, { kind: "tcp" }, `${host}:${port}`);
    const address = server.address();
    return address !== null && typeof address === "object" ? address.port : port;
  }

  /** Takes the place of a socket that nobody listens on any more; owner and group may connect. */
  async listenUnix(path: string): Promise<void> {
    await removeStaleSocket(path);
    await this.#listen({ path }, { kind: "unix", path }, `unix:${path}`);
    await chmod(path, 0o660);
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

  /** Cuts all open connections. */
  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #listen(options: ListenOptions, origin: Origin, name: string): Promise<Server> {
    // A peer that vanished without a word is noticed by TCP's own probes, which no proxy mistakes for a flood of pings.
    const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) => {
      this.accept(socket, origin);
    });
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(unavailable(`Cannot listen on ${name}: ${error.message}`)));
      server.listen(options, () => {
        server.removeAllListeners("error");
        // Out of file descriptors, for one: this connection is refused, the next may succeed.
        server.on("error", (error) => this.#logger.error(`Accepting on ${name} failed: ${error.message}`));
        this.#servers.add(server);
        resolve(server);
      });
    });
  }
}

/** A socket file outlives a server that was killed. It is removed only when nobody answers on it. */
async function removeStaleSocket(path: string): Promise<void> {
  let entry: Awaited<ReturnType<typeof lstat>>;
  try {
    entry = await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw unavailable(`Cannot listen on unix:${path}: ${errorMessage(error)}`);
  }
  if (!entry.isSocket()) throw unavailable(`Cannot listen on unix:${path}: there is a file that is not a socket`);
  if (await answers(path)) throw unavailable(`Cannot listen on unix:${path}: another server listens there`);
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: the file is left over. Anything else (no permission, a full backlog): somebody may be there.
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
