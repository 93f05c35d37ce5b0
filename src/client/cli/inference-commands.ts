// onnxd predict, models, status, metadata.
import { readFileSync } from "node:fs";
import { invalidArgument } from "../../status.js";
import { formatShape, type Tensor } from "../../tensor/index.js";
import { connect, type Protocol } from "../connect.js";
import { formatExactJson, formatNested, parseExactJson } from "../exact-json.js";
import type {
  Inputs,
  ModelClient,
  ModelMetadata,
  PredictOptions,
  TensorDescription,
  VersionStatus,
} from "../model-client.js";
import { type Nested, toNested } from "../ndarray.js";
import { type Command, type CommandIo, type CommandLine, sharedHelp, splitPair } from "./command-line.js";
import { shortestOfFloat32 } from "./format-numbers.js";
import { formatTable } from "./format-table.js";

const help = `usage: onnxd predict MODEL --input NAME=VALUE… [--output NAME…] [--signature NAME]
       onnxd models
       onnxd status MODEL
       onnxd metadata MODEL

  --input NAME=JSON    a value: arrays in arrays, "text", true; large integers, NaN and Infinity as they are
  --input NAME=@FILE   the same from a file, or from standard input for @-
  --input JSON, --input @FILE
                       an object of all inputs
  --output NAME        only this output; may be repeated
  --signature NAME     in the place of serving_default
  --version N, --label TEXT
                       this version of the model, in the place of the newest that is ready
  --protocol NAME      tensorflow-serving or open-inference (default: the first over gRPC, the second over HTTP)
${sharedHelp("host:port, grpc://…, grpcs://…, unix:/path, http://… or https://…").slice(1)}`;

const flags = {
  input: { type: "string", multiple: true },
  output: { type: "string", multiple: true },
  signature: { type: "string" },
  version: { type: "string" },
  label: { type: "string" },
  protocol: { type: "string" },
} as const;

interface Result {
  readonly data: unknown;
  readonly text: () => string;
}
interface Asked {
  readonly model: string;
  readonly inputs: Inputs;
  readonly callOptions: PredictOptions;
}

function inferenceCommand(takesModel: boolean, ask: (client: ModelClient, asked: Asked) => Promise<Result>): Command {
  return {
    help,
    flags,
    prepare(line, io) {
      const { name, words } = line;
      if (words.length !== Number(takesModel)) {
        throw invalidArgument(takesModel ? `onnxd ${name} takes the name of one model` : "onnxd models takes no model");
      }
      const asked = {
        model: words[0] ?? "",
        inputs: readInputs(line.texts("input"), io),
        callOptions: callOptions(line),
      };
      const client = connect(line.target, { ...line.clientOptions, ...protocolOf(line.text("protocol")) });
      return async () => {
        try {
          const result = await ask(client, asked);
          io.out(line.json ? `${formatExactJson(result.data)}\n` : result.text());
          return 0;
        } finally {
          client.close();
        }
      };
    },
  };
}

export const inferenceCommands: Readonly<Record<"predict" | "models" | "status" | "metadata", Command>> = {
  predict: inferenceCommand(true, async (client, { model, inputs, callOptions }) => {
    const { outputs, version, model: name } = await client.predict(model, inputs, callOptions);
    const nested = Object.entries(outputs).map(([key, tensor]) => [key, tensor, toNested(shortened(tensor))] as const);
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
  }),
  models: inferenceCommand(false, async (client, { callOptions }) => {
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
  }),
  status: inferenceCommand(true, async (client, { model, callOptions }) => {
    const versions = await client.status(model, callOptions);
    return {
      data: versions,
      text: () => formatTable([["VERSION", "STATE", "LABELS", "ERROR"], ...versions.map(statusRow)]),
    };
  }),
  metadata: inferenceCommand(true, async (client, { model, callOptions }) => {
    const metadata = await client.metadata(model, callOptions);
    return { data: metadata, text: () => formatMetadata(metadata) };
  }),
};

function callOptions(line: CommandLine): PredictOptions {
  const signature = line.text("signature");
  return { outputs: line.texts("output"), ...(signature !== undefined && { signature }), ...line.version };
}

function protocolOf(text: string | undefined): { readonly protocol?: Protocol } {
  const protocol = text?.replaceAll("_", "-");
  if (protocol === undefined) return {};
  if (protocol !== "tensorflow-serving" && protocol !== "open-inference") {
    throw invalidArgument(`--protocol is tensorflow-serving or open-inference; got "${text}"`);
  }
  return { protocol };
}

function readInputs(given: readonly string[], io: CommandIo): Inputs {
  const inputs: Record<string, Nested> = Object.create(null);
  for (const argument of given) {
    if (/^[@{]/.test(argument)) {
      const all = parseExactJson(argument.slice(0, 64), readValue(argument, io));
      if (typeof all !== "object" || all === null || Array.isArray(all)) {
        throw invalidArgument(`${argument} takes an object of inputs by name`);
      }
      for (const [name, value] of Object.entries(all)) inputs[name] = value as Nested;
    } else {
      const [name, value] = splitPair("--input NAME=JSON, NAME=@FILE, JSON or @FILE", argument);
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

/** float32 in as many digits as it has: those of its double say nothing. */
function shortened(tensor: Tensor): Tensor {
  if (tensor.dtype !== "float32") return tensor;
  return { ...tensor, dtype: "float64", data: Float64Array.from(tensor.data as Float32Array, shortestOfFloat32) };
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
