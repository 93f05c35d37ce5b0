// onnxd train.
import { readFileSync } from "node:fs";
import { Plan } from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import { parseExactJson } from "../exact-json.js";
import { defaultSignature } from "../model-client.js";
import { TensorFlowServingClient } from "../tensorflow-serving-client.js";
import { toProtoJson } from "../training/proto-json.js";
import { type AnyData, type FollowOptions, TrainingClient } from "../training/training-client.js";
import { specOf, type TrainingJob, type TrainingSpecJson } from "../training/training-messages.js";
import { type Command, type CommandIo, type CommandLine, requireFile, sharedHelp } from "./command-line.js";
import { followJob } from "./follow-job.js";
import { formatDryRun } from "./format-job.js";
import { jobJson } from "./job-progress.js";
import { predictionLine, readSampleRow } from "./prediction-line.js";
import { readRows } from "./read-rows.js";

const help = `usage: onnxd train SPEC.json --data FILE [--validation FILE]
       onnxd train SPEC.json --server_data PATH [--server_validation PATH]

Trains a model at the server and follows it. Ctrl-C ends the following, not the job.

  SPEC.json            what is trained: onnxd.v1.TrainingSpec as JSON, as docs/training.md tells; - is standard input
  --data FILE          rows to train on: .csv, .jsonl, .ndjson or .json (an array of rows, or an object of
                       tensors: inputs by name, targets, weights), also with .gz behind; - is CSV from standard input
  --validation FILE    rows to validate on (default: a share of the others)
  --server_data PATH, --server_validation PATH
                       files below the server's --training_data_dir, in the place of files of one's own
  --idempotency_key TEXT
                       the same key and spec again is the same job, not another
  --dry_run            only say what would be trained, and what memory and time it takes
  --detach             return as soon as the job is stored, and print its id
${sharedHelp("host:port, grpc://…, grpcs://… or unix:/path").slice(1)}
With --json, each event is a line of JSON; with --dry_run or --detach, the plan or the job is one.
The exit code is 0 when the model was published, or held back as asked, and 1 when the job failed.
`;

export const trainCommand: Command = {
  help,
  flags: {
    data: { type: "string" },
    validation: { type: "string" },
    server_data: { type: "string" },
    server_validation: { type: "string" },
    idempotency_key: { type: "string" },
    dry_run: { type: "boolean" },
    detach: { type: "boolean" },
  },
  prepare(line, io) {
    const [specFile, ...others] = line.words;
    if (specFile === undefined || others.length > 0) throw invalidArgument("onnxd train takes one file: the spec");
    if (line.has("dry_run") && line.has("detach")) throw invalidArgument("--dry_run starts no job to --detach from");
    const job = { spec: readSpec(specFile, io), ...readData(line, io) };
    const client = new TrainingClient(line.target, line.clientOptions);
    return async () => {
      try {
        return await train(client, job, line, io);
      } finally {
        client.close();
      }
    };
  },
};

interface GivenJob {
  readonly spec: TrainingSpecJson;
  readonly data: AnyData;
  readonly validation: AnyData | undefined;
}

async function train(
  client: TrainingClient,
  { spec, data, validation }: GivenJob,
  line: CommandLine,
  io: CommandIo,
): Promise<number> {
  const options = { ...line.callOptions, ...(validation !== undefined && { validation }) };
  if (line.has("dry_run")) {
    const plan = await client.plan(spec, data, options);
    io.out(line.json ? `${JSON.stringify(toProtoJson("onnxd.v1.Plan", Plan, plan))}\n` : formatDryRun(plan));
    return 0;
  }
  const idempotencyKey = line.text("idempotency_key");
  const start = (following: FollowOptions & { readonly signal?: AbortSignal } = {}) =>
    client.train(spec, data, {
      ...options,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...following,
    });
  if (line.has("detach")) {
    for await (const event of start()) {
      if (event.kind !== "state") continue;
      io.out(line.json ? jobJson(event.job) : `${event.job.id}\n`);
      return 0;
    }
  }
  return await followJob(start, io, {
    json: line.json,
    program: line.program,
    afterwards: (job) => nextSteps(job, data, line),
  });
}

/** How to ask the new version about a row. Only a suggestion: what fails on the way to it is not the job's failure. */
async function nextSteps(job: TrainingJob, data: AnyData, line: CommandLine): Promise<string> {
  const model = job.spec?.model ?? "";
  if (job.publishedVersion === undefined) return "";
  const asking = new TensorFlowServingClient(line.target, line.clientOptions);
  try {
    const row = "serverFile" in data ? undefined : await readSampleRow(data);
    const { signatures } = await asking.metadata(model, { version: job.publishedVersion });
    const signature = signatures[defaultSignature];
    const asked = row && signature && predictionLine(line.program, model, signature, row);
    return `\n${asked ?? `${line.program} metadata ${model}`}\n`;
  } catch {
    return `\n${line.program} metadata ${model}\n`;
  } finally {
    asking.close();
  }
}

function readSpec(file: string, io: CommandIo): TrainingSpecJson {
  if (file !== "-") requireFile("the spec", file);
  const spec = parseExactJson(file, file === "-" ? io.readInput() : readFileSync(file, "utf8"));
  // Read here so that a field misspelt is the command line's fault, before anything is sent.
  specOf(spec as TrainingSpecJson);
  return spec as TrainingSpecJson;
}

function readData(line: CommandLine, io: CommandIo): { data: AnyData; validation: AnyData | undefined } {
  const [data, serverFile] = [readRows(line, "data", io), line.text("server_data")];
  const [validation, serverValidation] = [readRows(line, "validation", io), line.text("server_validation")];
  if ((data === undefined) === (serverFile === undefined)) {
    throw invalidArgument("onnxd train takes --data, or --server_data for a file of the server's");
  }
  if (data !== undefined) {
    if (serverValidation !== undefined) throw invalidArgument("--server_validation goes with --server_data");
    return { data, validation };
  }
  if (validation !== undefined) throw invalidArgument("--validation goes with --data");
  return {
    data: { serverFile: serverFile! },
    validation: serverValidation === undefined ? undefined : { serverFile: serverValidation },
  };
}
