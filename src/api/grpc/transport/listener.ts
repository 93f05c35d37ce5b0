import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { errorMessage, unavailable } from "../../../status.js";
import type { Logger } from "../../../telemetry/index.js";

export interface Listener {
  readonly onConnection: (socket: Socket) => void;
  readonly logger: Logger;
  /** Nothing is read of a connection here: another process will. Default false. */
  readonly paused?: boolean;
}

/** Resolves once it listens, with the port that was bound. @throws UNAVAILABLE with the reason when it cannot */
export async function listenTcp(
  host: string,
  port: number,
  listener: Listener,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = await listen({ host, port }, `${host}:${port}`, listener);
  const address = server.address();
  return { server, port: address !== null && typeof address === "object" ? address.port : port };
}

/** Takes the place of a socket that nobody listens on any more; owner and group may connect. */
export async function listenUnix(path: string, listener: Listener): Promise<Server> {
  await removeStaleSocket(path);
  const server = await listen({ path }, `unix:${path}`, listener);
  await chmod(path, 0o660);
  return server;
}

function listen(options: ListenOptions, name: string, { onConnection, logger, paused }: Listener): Promise<Server> {
  // A peer that vanished without a word is noticed by TCP's own probes, which no proxy mistakes for a flood of pings.
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, pauseOnConnect: paused === true },
    onConnection,
  );
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(unavailable(`Cannot listen on ${name}: ${error.message}`)));
    server.listen(options, () => {
      server.removeAllListeners("error");
      // Out of file descriptors, for one: this connection is refused, the next may succeed.
      server.on("error", (error) => logger.error(`Accepting on ${name} failed: ${error.message}`));
      resolve(server);
    });
  });
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
