// onnxd evaluate.
import { EvaluateResponse } from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import { toProtoJson } from "../training/proto-json.js";
import { type EvaluateOptions, TrainingClient } from "../training/training-client.js";
import { type Command, type CommandLine, sharedHelp } from "./command-line.js";
import { formatConfusion, formatDrift, formatMetrics } from "./format-evaluation.js";
import { formatCount } from "./format-numbers.js";
import { readRows } from "./read-rows.js";

const help = `usage: onnxd evaluate MODEL --data FILE
       onnxd evaluate MODEL --server_data PATH

Every metric of a served version on rows whose answers are known.

  --data FILE          .csv, .jsonl, .ndjson or .json (an array of rows, or an object of
                       tensors: inputs by name, targets, weights), also with .gz behind; - is CSV from standard input
  --server_data PATH   a file below the server's --training_data_dir
  --version N, --label TEXT
                       this version of the model, in the place of the newest that is ready
  --weight COLUMN      a column of numbers that says what each row counts
  --top_k N            several classes: also the share of rows whose class is among so many of the likeliest
  --threshold P        two classes: from which probability on it is the second
${sharedHelp("host:port, grpc://…, grpcs://… or unix:/path").slice(1)}`;

export const evaluateCommand: Command = {
  help,
  flags: {
    data: { type: "string" },
    server_data: { type: "string" },
    version: { type: "string" },
    label: { type: "string" },
    weight: { type: "string" },
    top_k: { type: "string" },
    threshold: { type: "string" },
  },
  prepare(line, io) {
    const [model, ...others] = line.words;
    if (model === undefined || others.length > 0) throw invalidArgument("onnxd evaluate takes the name of one model");
    const [own, serverFile] = [readRows(line, "data", io), line.text("server_data")];
    if ((own === undefined) === (serverFile === undefined)) {
      throw invalidArgument("onnxd evaluate takes --data, or --server_data for a file of the server's");
    }
    const data = own ?? { serverFile: serverFile! };
    const options = readOptions(line);
    const client = new TrainingClient(line.target, line.clientOptions);
    return async () => {
      try {
        const response = await client.evaluate(model, data, options);
        if (line.json) {
          io.out(`${JSON.stringify(toProtoJson("onnxd.v1.EvaluateResponse", EvaluateResponse, response))}\n`);
        } else {
          io.out(formatResponse(response, io.columns));
        }
        return 0;
      } finally {
        client.close();
      }
    };
  },
};

function readOptions(line: CommandLine): EvaluateOptions {
  const weight = line.text("weight");
  const topK = line.wholeNumber("top_k");
  const threshold = line.number("threshold");
  return {
    ...line.callOptions,
    ...line.version,
    ...(weight !== undefined && { weight }),
    ...(topK !== undefined && { topK: Number(topK) }),
    ...(threshold !== undefined && { threshold }),
  };
}

function formatResponse({ model, version, evaluation, drift }: EvaluateResponse, columns: number | undefined): string {
  if (evaluation === undefined) return `${model}, version ${version}: the server gave no evaluation\n`;
  const confusion = formatConfusion(evaluation, columns);
  return [
    `${model}, version ${version}, on ${formatCount(evaluation.rows, "row")}\n`,
    formatMetrics(evaluation),
    confusion === "" ? "" : `\n${confusion}`,
    formatDrift(drift),
  ].join("");
}
