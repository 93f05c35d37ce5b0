// What every command shares: where it reads and writes, its flags, and where the server is.
import { readFileSync, statSync } from "node:fs";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { errorMessage, invalidArgument } from "../../status.js";
import type { ClientOptions, TlsOptions } from "../client-options.js";

export type Flags = NonNullable<ParseArgsConfig["options"]>;

/** Where a command reads and writes. */
export interface CommandIo {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** All of standard input; asked for only by "@-" and "-". */
  readonly readInput: () => string;
  /** Columns of the terminal that `out` writes to; undefined when it is none. */
  readonly columns?: number | undefined;
  /** Calls back on Ctrl-C, in the place of ending the process, until what it gives is called. */
  readonly onInterrupt?: (callback: () => void) => () => void;
}

export const processIo: CommandIo = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  readInput: () => readFileSync(0, "utf8"),
  get columns() {
    return process.stdout.isTTY ? process.stdout.columns : undefined;
  },
  onInterrupt(callback) {
    process.once("SIGINT", callback);
    return () => process.removeListener("SIGINT", callback);
  },
};

export interface Command {
  readonly help: string;
  /** Beside those that every command takes. */
  readonly flags: Flags;
  /** What is left to do, once the command line has been found right. Throws when it is wrong. */
  readonly prepare: (line: CommandLine, io: CommandIo) => Run;
}

/** Makes the calls and prints what comes of them. Resolves to the exit code; rejects when a call failed. */
export type Run = () => Promise<number>;

export const sharedFlags = {
  target: { type: "string" },
  timeout_ms: { type: "string" },
  metadata: { type: "string", multiple: true },
  ca: { type: "string" },
  cert: { type: "string" },
  key: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies Flags;

/** @param kinds the targets that the command takes */
export const sharedHelp = (kinds: string): string => `
  --target TARGET      ${kinds}
                       (default: the environment's ONNXD_TARGET, or localhost:8500)
  --timeout_ms N       for the whole call
  --metadata KEY=VALUE sent with the call; may be repeated
  --ca FILE, --cert FILE, --key FILE
                       TLS: authorities to trust, and the client's own certificate
  --json               print JSON, for programs
`;

/** A command line as parsed. */
export class CommandLine {
  /** The command's name. */
  readonly name: string;
  /** What stands behind it without a flag. */
  readonly words: readonly string[];
  readonly #values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly #env: NodeJS.ProcessEnv;

  constructor(argv: readonly string[], flags: Flags, env: NodeJS.ProcessEnv) {
    const { values, positionals } = parseArgs({
      args: argv.map((argument) => (argument.startsWith("--") ? argument.replace(/^--[^=]*/, underscores) : argument)),
      allowPositionals: true,
      options: { ...sharedFlags, ...flags },
    });
    const [name = "", ...words] = positionals;
    this.name = name;
    this.words = words;
    this.#values = values;
    this.#env = env;
  }

  text(flag: string): string | undefined {
    return this.#values[flag] as string | undefined;
  }

  texts(flag: string): readonly string[] {
    return (this.#values[flag] as string[] | undefined) ?? [];
  }

  given(flag: string): boolean {
    return this.#values[flag] !== undefined;
  }

  has(flag: string): boolean {
    return this.#values[flag] === true;
  }

  wholeNumber(flag: string): bigint | undefined {
    const text = this.text(flag);
    if (text !== undefined && !/^\d+$/.test(text))
      throw invalidArgument(`--${flag} takes a whole number; got "${text}"`);
    return text === undefined ? undefined : BigInt(text);
  }

  number(flag: string): number | undefined {
    const text = this.text(flag);
    if (text === undefined) return undefined;
    const number = Number(text);
    if (text.trim() === "" || !Number.isFinite(number))
      throw invalidArgument(`--${flag} takes a number; got "${text}"`);
    return number;
  }

  /** The path that a flag names. Throws unless it is a file that is there. */
  file(flag: string): string | undefined {
    const path = this.text(flag);
    if (path !== undefined) requireFile(`--${flag}`, path);
    return path;
  }

  /** What the user wrote to get here. */
  get program(): string {
    return this.#env["npm_command"] === "exec" ? "npx onnxd" : "onnxd";
  }

  get json(): boolean {
    return this.has("json");
  }

  get target(): string {
    return this.text("target") ?? (this.#env["ONNXD_TARGET"] || "localhost:8500");
  }

  get version(): { readonly version?: bigint; readonly label?: string } {
    const version = this.wholeNumber("version");
    const label = this.text("label");
    return { ...(version !== undefined && { version }), ...(label !== undefined && { label }) };
  }

  get clientOptions(): ClientOptions {
    const pem = (flag: string) => {
      const path = this.text(flag);
      return path === undefined ? {} : { [flag]: readFileSync(path) };
    };
    const tls: TlsOptions = { ...pem("ca"), ...pem("cert"), ...pem("key") };
    return {
      ...this.callOptions,
      ...(Object.keys(tls).length > 0 && { tls }),
      metadata: Object.fromEntries(this.texts("metadata").map((pair) => splitPair("--metadata KEY=VALUE", pair))),
    };
  }

  /** For calls that have no time limit unless they are given one. */
  get callOptions(): { readonly timeoutMs?: number } {
    const timeoutMs = this.wholeNumber("timeout_ms");
    return timeoutMs === undefined ? {} : { timeoutMs: Number(timeoutMs) };
  }
}

export function requireFile(what: string, path: string): void {
  try {
    if (statSync(path).isFile()) return;
  } catch (thrown) {
    throw invalidArgument(`${what}: ${errorMessage(thrown)}`, { cause: thrown });
  }
  throw invalidArgument(`${what}: ${path} is not a file`);
}

export function splitPair(what: string, pair: string): readonly [string, string] {
  const equals = pair.indexOf("=");
  if (equals < 1) throw invalidArgument(`${what}: got "${pair}"`);
  return [pair.slice(0, equals), pair.slice(equals + 1)];
}

/** As the server's flags, these may be written with dashes too. */
function underscores(flag: string): string {
  return `--${flag.slice(2).replaceAll("-", "_")}`;
}
