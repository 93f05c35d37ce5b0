// onnxd predict, models, status, metadata: the client on the command line.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Code, codeName, errorMessage, invalidArgument, StatusError } from "../status.js";
import { formatShape, type Tensor } from "../tensor/index.js";
import { formatExactJson, formatNested, parseExactJson } from "./cli-json.js";
import type { TlsOptions } from "./client-options.js";
import { connect, type Protocol } from "./connect.js";
import type {
  Inputs,
  ModelClient,
  ModelMetadata,
  PredictOptions,
  TensorDescription,
  VersionStatus,
} from "./model-client.js";
import { type Nested, toNested } from "./ndarray.js";

/** Where a command reads and writes. */
export interface CommandIo {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** All of standard input; asked for only by "@-". */
  readonly readInput: () => string;
}

export const processIo: CommandIo = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  readInput: () => readFileSync(0, "utf8"),
};

export const clientCommands = ["predict", "models", "status", "metadata"] as const;

export function isClientCommand(word: string | undefined): boolean {
  return (clientCommands as readonly (string | undefined)[]).includes(word);
}

/**
 * Runs `predict MODEL …`, `models`, `status MODEL` or `metadata MODEL`. Resolves to the exit code: 0, 1 when the call
 * failed, 2 when the command line is wrong.
 */
export async function runClientCommand(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  io: CommandIo = processIo,
): Promise<number> {
  let command: Command;
  let client: ModelClient;
  try {
    command = readCommand(argv, env, io);
    if (command.help) {
      io.out(clientHelp);
      return 0;
    }
    client = connect(command.target, command.clientOptions);
  } catch (thrown) {
    io.error(`${errorMessage(thrown)}\n\n${clientHelp}`);
    return 2;
  }
  try {
    const result = await commands[command.name](client, command);
    io.out(command.json ? `${formatExactJson(result.data)}\n` : result.text());
    return 0;
  } catch (thrown) {
    const code = thrown instanceof StatusError ? thrown.code : Code.UNKNOWN;
    const message = errorMessage(thrown);
    if (command.json) io.out(`${formatExactJson({ error: message, code: codeName(code) })}\n`);
    else io.error(`${codeName(code)}: ${message}\n`);
    return 1;
  } finally {
    client.close();
  }
}

const clientHelp = `usage: onnxd predict MODEL --input NAME=VALUE… [--output NAME…] [--signature NAME]
       onnxd models
       onnxd status MODEL
       onnxd metadata MODEL

  --input NAME=JSON    a value: arrays in arrays, "text", true; large integers, NaN and Infinity as they are
  --input NAME=@FILE   the same from a file, or from standard input for @-
  --input @FILE        an object of all inputs
  --output NAME        only this output; may be repeated
  --signature NAME     in the place of serving_default
  --version N, --label TEXT
                       this version of the model, in the place of the newest that is ready
  --target TARGET      host:port, grpc://…, grpcs://…, unix:/path, http://… or https://…
                       (default: the environment's ONNXD_TARGET, or localhost:8500)
  --protocol NAME      tensorflow-serving or open-inference (default: the first over gRPC, the second over HTTP)
  --timeout_ms N       for the whole call (default 60000)
  --metadata KEY=VALUE sent with the call; may be repeated
  --ca FILE, --cert FILE, --key FILE
                       TLS: authorities to trust, and the client's own certificate
  --json               print JSON, for programs
`;

interface Command {
  readonly help: boolean;
  readonly name: (typeof clientCommands)[number];
  readonly model: string;
  readonly target: string;
  readonly inputs: Inputs;
  readonly json: boolean;
  readonly clientOptions: Parameters<typeof connect>[1];
  readonly callOptions: PredictOptions;
}

interface Result {
  readonly data: unknown;
  readonly text: () => string;
}

const commands: Record<Command["name"], (client: ModelClient, command: Command) => Promise<Result>> = {
  async predict(client, { model, inputs, callOptions }) {
    const { outputs, version, model: name } = await client.predict(model, inputs, callOptions);
    const nested = Object.entries(outputs).map(([key, tensor]) => [key, tensor, toNested(tensor)] as const);
    return {
      data: {
        model: name,
        version,
        outputs: Object.fromEntries(
          nested.map(([key, { dtype, shape }, data]) => [key, { dtype, shape, data: data as unknown }]),
        ),
      },
      text: () => nested.map((output) => formatOutput(...output)).join(""),
    };
  },
  async models(client, { callOptions }) {
    const models = await client.models(callOptions);
    return {
      data: models,
      text: () => {
        const rows = models.flatMap(({ name, versions }) =>
          versions.length === 0 ? [[name, "", "", "", ""]] : versions.map((version) => [name, ...statusRow(version)]),
        );
        return formatTable([["MODEL", "VERSION", "STATE", "LABELS", "ERROR"], ...rows]);
      },
    };
  },
  async status(client, { model, callOptions }) {
    const versions = await client.status(model, callOptions);
    return {
      data: versions,
      text: () => formatTable([["VERSION", "STATE", "LABELS", "ERROR"], ...versions.map(statusRow)]),
    };
  },
  async metadata(client, { model, callOptions }) {
    const metadata = await client.metadata(model, callOptions);
    return { data: metadata, text: () => formatMetadata(metadata) };
  },
};

function readCommand(argv: readonly string[], env: NodeJS.ProcessEnv, io: CommandIo): Command {
  const { values, positionals } = parseArgs({
    args: argv.map((argument) => (argument.startsWith("--") ? argument.replace(/^--[^=]*/, underscores) : argument)),
    allowPositionals: true,
    options: {
      input: { type: "string", multiple: true, default: [] },
      output: { type: "string", multiple: true, default: [] },
      signature: { type: "string" },
      version: { type: "string" },
      label: { type: "string" },
      target: { type: "string" },
      protocol: { type: "string" },
      timeout_ms: { type: "string" },
      metadata: { type: "string", multiple: true, default: [] },
      ca: { type: "string" },
      cert: { type: "string" },
      key: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [name, model, ...rest] = positionals;
  if (!isClientCommand(name)) throw invalidArgument(`unknown command "${name ?? ""}"`);
  const takesModel = name !== "models";
  if (!values.help && (takesModel !== (model !== undefined) || rest.length > 0)) {
    throw invalidArgument(takesModel ? `onnxd ${name} takes the name of one model` : "onnxd models takes no model");
  }
  const tls: TlsOptions = {
    ...(values.ca !== undefined && { ca: readFileSync(values.ca) }),
    ...(values.cert !== undefined && { cert: readFileSync(values.cert) }),
    ...(values.key !== undefined && { key: readFileSync(values.key) }),
  };
  return {
    help: values.help,
    name: name as Command["name"],
    model: model ?? "",
    target: values.target ?? (env["ONNXD_TARGET"] || "localhost:8500"),
    inputs: readInputs(values.input, io),
    json: values.json,
    clientOptions: {
      ...(values.protocol !== undefined && { protocol: protocolOf(values.protocol) }),
      ...(values.timeout_ms !== undefined && { timeoutMs: Number(wholeNumber("--timeout_ms", values.timeout_ms)) }),
      ...(Object.keys(tls).length > 0 && { tls }),
      metadata: Object.fromEntries(values.metadata.map((pair) => splitPair("--metadata KEY=VALUE", pair))),
    },
    callOptions: {
      outputs: values.output,
      ...(values.signature !== undefined && { signature: values.signature }),
      ...(values.version !== undefined && { version: wholeNumber("--version", values.version) }),
      ...(values.label !== undefined && { label: values.label }),
    },
  };
}

/** As the server's flags, these may be written with dashes too. */
function underscores(flag: string): string {
  return `--${flag.slice(2).replaceAll("-", "_")}`;
}

function protocolOf(text: string): Protocol {
  const name = text.replaceAll("_", "-");
  if (name !== "tensorflow-serving" && name !== "open-inference") {
    throw invalidArgument(`--protocol is tensorflow-serving or open-inference; got "${text}"`);
  }
  return name;
}

function wholeNumber(flag: string, text: string): bigint {
  if (!/^\d+$/.test(text)) throw invalidArgument(`${flag} takes a whole number; got "${text}"`);
  return BigInt(text);
}

function splitPair(what: string, pair: string): readonly [string, string] {
  const equals = pair.indexOf("=");
  if (equals < 1) throw invalidArgument(`${what}: got "${pair}"`);
  return [pair.slice(0, equals), pair.slice(equals + 1)];
}

function readInputs(given: readonly string[], io: CommandIo): Inputs {
  const inputs: Record<string, Nested> = Object.create(null);
  for (const argument of given) {
    if (argument.startsWith("@")) {
      const all = parseExactJson(argument, readValue(argument, io));
      if (typeof all !== "object" || all === null || Array.isArray(all)) {
        throw invalidArgument(`${argument} takes an object of inputs by name`);
      }
      for (const [name, value] of Object.entries(all)) inputs[name] = value as Nested;
    } else {
      const [name, value] = splitPair("--input NAME=JSON, NAME=@FILE or @FILE", argument);
      inputs[name] = parseExactJson(`input "${name}"`, readValue(value, io)) as Nested;
    }
  }
  for (const [name, value] of Object.entries(inputs)) {
    if (!isNested(value))
      throw invalidArgument(`input "${name}" takes values and arrays of them; got an object or null`);
  }
  return inputs;
}

function readValue(value: string, io: CommandIo): string {
  if (!value.startsWith("@")) return value;
  return value === "@-" ? io.readInput() : readFileSync(value.slice(1), "utf8");
}

function isNested(value: unknown): boolean {
  return Array.isArray(value) ? value.every(isNested) : typeof value !== "object";
}

function formatOutput(name: string, { dtype, shape }: Tensor, data: Nested): string {
  return `${name}  ${dtype} ${formatShape(shape)}\n${formatNested(data)}\n`;
}

function formatMetadata({ name, version, signatures }: ModelMetadata): string {
  const lines = [`${name}${version === undefined ? "" : `, version ${version}`}`];
  const table = (title: string, tensors: Readonly<Record<string, TensorDescription>>) => {
    const rows = Object.entries(tensors).map(([key, { dtype, shape }]) => [
      `    ${title} ${key}`,
      dtype ?? "unknown type",
      shape === undefined ? "any shape" : formatShape(shape),
    ]);
    if (rows.length > 0) lines.push(formatTable(rows).trimEnd());
  };
  for (const [key, { inputs, outputs }] of Object.entries(signatures)) {
    lines.push(`  signature ${key}`);
    table("input ", inputs);
    table("output", outputs);
  }
  return `${lines.join("\n")}\n`;
}

function statusRow({ version, state, labels, error }: VersionStatus): string[] {
  return [String(version), state, labels.join(" "), error];
}

/** Columns as wide as their widest cell; a column without content is left out. */
function formatTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const columns = head.map((_, index) => index).filter((index) => rows.length === 1 || body.some((row) => row[index]));
  const widths = columns.map((index) => Math.max(...rows.map((row) => row[index]!.length)));
  return rows
    .map(
      (row) =>
        `${columns
          .map((index, at) => row[index]!.padEnd(widths[at]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
