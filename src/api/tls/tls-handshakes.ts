import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Logger } from "../../telemetry/index.js";
import type { TlsOptions } from "./tls-options.js";

export interface TlsHandshakesDeps {
  /** What is spoken inside: "h2", "http/1.1". Clients that offer only others are refused. */
  readonly protocols: readonly string[];
  /** From a connection's start to the end of its handshake. */
  readonly handshakeTimeoutMs: number;
  readonly logger: Logger;
}

/**
 * Shakes hands on connections that somebody else has accepted. New certificates hold for the connections that come after
 * them; those that are open stay as they are.
 */
export class TlsHandshakes {
  readonly #onSecure: (socket: TLSSocket) => void;
  readonly #deps: TlsHandshakesDeps;
  readonly #ignoreChanges: () => void;
  #options: TlsOptions;
  /** It never listens: connections are handed to it, and come back when their handshake is done. */
  #server: Server | undefined;

  constructor(options: TlsOptions, deps: TlsHandshakesDeps, onSecure: (socket: TLSSocket) => void) {
    this.#options = options;
    this.#deps = deps;
    this.#onSecure = onSecure;
    // A server of its own for each set of options: whether clients must prove themselves may have changed too, and
    // sessions of the old one are not to be resumed.
    const change = (next: TlsOptions) => {
      this.#options = next;
      this.#server = undefined;
    };
    this.#ignoreChanges = options.onChange?.(change) ?? (() => {});
  }

  /** Tells the socket's end by its own "close" event when the handshake fails. */
  begin(socket: Socket): void {
    this.#server ??= this.#createServer();
    this.#server.emit("connection", socket);
  }

  /** No certificates are heard of any more. */
  close(): void {
    this.#ignoreChanges();
  }

  #createServer(): Server {
    const { key, cert, ca, passphrase, requireClientCertificate = false } = this.#options;
    const { protocols, handshakeTimeoutMs, logger } = this.#deps;
    const server = createServer({
      ...(key !== undefined && { key }),
      ...(cert !== undefined && { cert }),
      ...(ca !== undefined && { ca }),
      ...(passphrase !== undefined && { passphrase }),
      ALPNProtocols: [...protocols],
      requestCert: requireClientCertificate,
      rejectUnauthorized: requireClientCertificate,
      handshakeTimeout: handshakeTimeoutMs,
    });
    server.on("secureConnection", this.#onSecure);
    server.on("tlsClientError", (error, socket) => {
      logger.debug(`TLS handshake failed: ${error.message}`);
      socket.destroy();
    });
    return server;
  }
}
