// The file behind --ssl_config_file: tensorflow.serving.SSLConfig in text form, with the PEM texts themselves in it.
import { createSecureContext } from "node:tls";
import type { Clock, Timer } from "../../clock.js";
import { textProto } from "../../serving/index.js";
import { errorMessage, invalidArgument } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { TlsOptions } from "./tls-options.js";

const { bool, message, readTextProtoFile, singular, string } = textProto;

const sslConfigType = message("tensorflow.serving.SSLConfig", {
  server_key: singular(string),
  server_cert: singular(string),
  custom_ca: singular(string),
  client_verify: singular(bool),
});
type SslConfig = textProto.TypeOf<typeof sslConfigType>;

/** How often the file is looked at: certificates are renewed days before the old ones end. */
const pollEveryMs = 10_000;

/**
 * Reads the file and proves that one can serve with it.
 * @throws INVALID_ARGUMENT for a file that is not there, is not such a message, or whose key and certificates do not fit
 */
async function readSslConfig(path: string): Promise<SslConfig> {
  const config = await readTextProtoFile(path, sslConfigType);
  if (config === undefined) throw invalidArgument(`SSL config file ${path} is not there`);
  const refuse = (reason: string) => invalidArgument(`Invalid SSL config file '${path}': ${reason}`);
  for (const field of ["server_key", "server_cert"] as const) {
    if (config[field] === "") throw refuse(`${field} is empty; it holds the PEM text itself, not a path`);
  }
  // Without it, every certificate that any public authority ever signed would be let in.
  if (config.client_verify && config.custom_ca === "")
    throw refuse("client_verify needs a custom_ca to verify against");
  if (config.custom_ca !== "" && !config.custom_ca.includes("-----BEGIN ")) throw refuse("custom_ca is not PEM text");
  try {
    createSecureContext(toContext(config));
  } catch (error) {
    throw refuse(errorMessage(error));
  }
  return config;
}

function toContext({ server_key: key, server_cert: cert, custom_ca: ca }: SslConfig) {
  return { key, cert, ...(ca !== "" && { ca }) };
}

/** What the file says, and what it comes to say: it is read again and again, and a fault leaves what there is in place. */
export class SslConfigFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners = new Set<(next: TlsOptions) => void>();
  #config: SslConfig;
  #timer: Timer | undefined;
  #polling: Promise<void> | undefined;
  #closed = false;
  /** So that a lasting fault is one line in the log. */
  #lastError = "";

  private constructor(path: string, config: SslConfig, clock: Clock, logger: Logger) {
    this.#path = path;
    this.#config = config;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** @throws INVALID_ARGUMENT when one cannot serve with it */
  static async open(path: string, { clock, logger }: { clock: Clock; logger: Logger }): Promise<SslConfigFile> {
    const file = new SslConfigFile(path, await readSslConfig(path), clock, logger);
    file.#pollLater();
    return file;
  }

  /** As of now; its onChange tells of what comes. */
  get tls(): TlsOptions {
    return {
      ...toContext(this.#config),
      requireClientCertificate: this.#config.client_verify,
      onChange: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    };
  }

  /** Looks at the file now; joins the look that is under way. */
  poll(): Promise<void> {
    this.#polling ??= this.#read().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#polling;
    this.#listeners.clear();
  }

  #pollLater(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.setTimer(pollEveryMs, () => void this.poll().finally(() => this.#pollLater()));
  }

  async #read(): Promise<void> {
    try {
      const read = await readSslConfig(this.#path);
      this.#lastError = "";
      if (this.#closed || isSame(read, this.#config)) return;
      this.#config = read;
      for (const listener of [...this.#listeners]) listener(this.tls);
      this.#logger.info("TLS certificates were read again; they hold for new connections", { path: this.#path });
    } catch (error) {
      const reason = errorMessage(error);
      if (reason !== this.#lastError) {
        this.#logger.error("TLS certificates were not read again; the last ones stay", { path: this.#path, reason });
      }
      this.#lastError = reason;
    }
  }
}

function isSame(a: SslConfig, b: SslConfig): boolean {
  return (
    a.server_key === b.server_key &&
    a.server_cert === b.server_cert &&
    a.custom_ca === b.custom_ca &&
    a.client_verify === b.client_verify
  );
}
