// What a served prediction costs: the real server, beside a bare loop of session.run without any server (one row a run, and
// many), and beside a C++ gRPC server that only sends messages of the same size back. In turn, several rounds in one run;
// look at the ratios. The server and the loop have one CPU, the load generator the other.
//
//   npm run build && node dist/test/bench/serving.js [--cpp_echo=PATH] [--rounds=3] [--seconds=2]
//
// Needs h2load (package nghttp2-client). PATH is a C++ echo server that takes its port as first argument.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createNativeSession } from "../../src/runtime/placement/native-session.js";
import { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { findTool } from "../support/find-tool.js";
import { ModelFolder } from "../support/model-folder.js";
import { repositoryRoot } from "../support/repository-root.js";
import { mlpModel } from "../support/test-models.js";

const { values: given } = parseArgs({
  options: {
    cpp_echo: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    /** Internal: this process is the bare loop over that model file, with rows of that shape. */
    bare: { type: "string" },
    shape: { type: "string", default: "1" },
    input: { type: "string", default: "x" },
    output: { type: "string", default: "y" },
  },
});
if (given.bare !== undefined) {
  bareLoop(given.bare);
  process.exit(0);
}

const method = "/tensorflow.serving.PredictionService/Predict";
const h2load = findTool("h2load");
if (h2load === undefined) {
  console.error("skipped: h2load is not installed (package nghttp2-client)");
  process.exit(0);
}
const pinned = findTool("taskset") !== undefined && cpus().length > 1;
const on = (cpu: number, command: string, args: readonly string[]): [string, string[]] =>
  pinned ? ["taskset", ["-c", String(cpu), command, ...args]] : [command, [...args]];
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

const folder = mkdtempSync(join(tmpdir(), "onnxd-bench-"));
using models = new ModelFolder();
models.copyBundled("half_plus_two", 1);
models.copyBundled("digits", 1);
models.publish("mlp", 1, mlpModel([784, 512, 10]));
const config = models.writeConfig({ half_plus_two: "", digits: "", mlp: "" });
const cases = [
  { model: "half_plus_two", input: "x", output: "y", row: [1] },
  { model: "digits", input: "image", output: "probabilities", row: [1, 1, 8, 8] },
  { model: "mlp", input: "features", output: "probabilities", row: [1, 784] },
];
const children: ChildProcess[] = [];
try {
  const main = join(repositoryRoot, "dist", "src", "main.js");
  const flags = [
    `--model_config_file=${config}`,
    "--access_log=false",
    "--log_level=error",
    "--bind_address=127.0.0.1",
  ];
  await launch(process.execPath, [main, "serve", ...flags, "--port=9621", "--rest_api_port=9622"]);
  if (given.cpp_echo === undefined) console.log("skipped: the C++ echo (build one and say --cpp_echo=PATH)");
  else await launch(given.cpp_echo, ["9623"]);
  await answers();
  console.log(`${given.rounds} rounds of ${given.seconds} s; calls (or rows) a second: median (lowest to highest)`);
  for (const each of cases) measure(each);
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
}

async function launch(command: string, args: readonly string[]): Promise<void> {
  const [program, programArgs] = on(0, command, args);
  const child = spawn(program, programArgs, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  await Promise.race([once(child.stdout!, "data"), once(child.stderr!, "data")]);
}

/** h2load does not look at grpc-status: whether calls succeed is found out beforehand. */
async function answers(): Promise<void> {
  using client = connect(PredictionServiceClient, "127.0.0.1:9621");
  for (const { model, input, row } of cases) {
    await call(client, client.predict, request(model, input, row), noMetadata);
  }
}

function request(model: string, input: string, row: readonly number[]): PredictRequest {
  const values = new Float32Array(row.reduce((product, size) => product * size, 1)).fill(0.5);
  const message = floatPredict(model, input, [], row);
  message.inputs.get(input)!.tensorContent = Buffer.from(values.buffer);
  return message;
}

function measure({ model, input, output, row }: (typeof cases)[number]): void {
  const message = Buffer.from(PredictRequest.encode(request(model, input, row)).finish());
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const body = join(folder, `${model}.bin`);
  writeFileSync(body, Buffer.concat([prefix, message]));
  const modelPath = join(models.basePath(model), "1", "model.onnx");
  const lanes: readonly (readonly [string, () => number])[] = [
    ["served, 8 × 32 in flight", () => load(9621, body, 8, 32)],
    ["served, one at a time", () => load(9621, body, 1, 1)],
    ...(given.cpp_echo === undefined
      ? []
      : ([
          ["C++ echo, 8 × 32", () => load(9623, body, 8, 32)],
          ["C++ echo, one at a time", () => load(9623, body, 1, 1)],
        ] as const)),
    ["bare loop, 1 row a run", () => bare(modelPath, input, output, row)],
    ["bare loop, 32 rows a run", () => bare(modelPath, input, output, [32 * row[0]!, ...row.slice(1)]) * 32],
  ];
  const results = new Map<string, number[]>(lanes.map(([name]) => [name, []]));
  for (let round = 0; round < Number(given.rounds); round++) {
    for (const [name, run] of lanes) results.get(name)!.push(run());
  }
  console.log(`\n${model}, one row a call, ${message.length} bytes`);
  const ours = median(results.get("served, 8 × 32 in flight")!);
  for (const [name, values] of results) {
    const spread = `(${Math.round(Math.min(...values))} to ${Math.round(Math.max(...values))})`;
    const base = name.includes("one at a time") ? median(results.get("served, one at a time")!) : ours;
    const ratio = name.startsWith("served") ? "" : `   ours is ${(base / median(values)).toFixed(2)} ×`;
    console.log(`  ${name.padEnd(26)} ${String(Math.round(median(values))).padStart(8)} ${spread.padEnd(20)}${ratio}`);
  }
}

function load(port: number, body: string, connections: number, inFlight: number): number {
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  const shape = ["-D", given.seconds, "-c", String(connections), "-m", String(inFlight), "-t", "1", "--warm-up-time=1"];
  const [program, args] = on(1, h2load!, [...shape, `--data=${body}`, ...headers, `http://127.0.0.1:${port}${method}`]);
  const output = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  if (!/\b0 failed/.test(output)) throw new Error(`calls failed:\n${output}`);
  return Number(/([\d.]+) req\/s/.exec(output)?.[1]);
}

function bare(modelPath: string, input: string, output: string, shape: readonly number[]): number {
  const [program, args] = on(0, process.execPath, [
    fileURLToPath(import.meta.url),
    `--bare=${modelPath}`,
    `--shape=${shape.join(",")}`,
    `--input=${input}`,
    `--output=${output}`,
    `--seconds=${given.seconds}`,
  ]);
  return Number(execFileSync(program, args, { encoding: "utf8" }));
}

/** Prints runs a second of one session on this thread. */
function bareLoop(path: string): void {
  const source = { path, bytes: readFileSync(path), externalDataFolder: undefined };
  const session = createNativeSession(source, 1);
  const shape = given.shape.split(",").map(Number);
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5);
  const feeds = new Map([[given.input, { dtype: "float32", shape, data } as const]]);
  const fetches = [given.output];
  const until = (end: number) => {
    let runs = 0;
    while (performance.now() < end) {
      session.run(feeds, fetches);
      runs++;
    }
    return runs;
  };
  until(performance.now() + 500);
  const seconds = Number(given.seconds);
  console.log(until(performance.now() + 1000 * seconds) / seconds);
}
