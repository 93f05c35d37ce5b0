// npm run bench: what a served prediction costs, beside a bare loop of session.run (the ideal), beside a C++ gRPC server
// that only sends messages back, and beside the same of grpc-js. All in turn, in one run; the ratios of medians count.
// docs/performance.md has the last run.
//
//   npm run bench -- [--cpp_echo=PATH] [--rounds=3] [--seconds=1] [--only=models,in-flight,payloads,rest,latency]
//
// PATH is a C++ echo server that takes its port as first argument. Needs h2load (package nghttp2-client). What is missing
// is named and left out.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { hugePageVariables } from "../../src/huge-pages.js";
import { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { RawGrpcClient } from "../support/raw-grpc-client.js";
import { repositoryRoot } from "../support/repository-root.js";
import { identityModel, mlpModel } from "../support/test-models.js";
import { callsPerSecond, h2load } from "./comparison/load.js";
import { Contestant, howPinned, runOn } from "./comparison/machine.js";
import { echoBody, predictBody, predictPath } from "./comparison/messages.js";
import { format, inTurn, type Lane, type Measured, printTable, withSpread } from "./comparison/rounds.js";
import { transformerModel } from "./comparison/transformer-model.js";

const { values: given } = parseArgs({
  options: {
    cpp_echo: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1" },
    only: { type: "string", default: "models,in-flight,payloads,rest,latency" },
    models: { type: "string", default: "half_plus_two,mlp,digits,transformer,encoder,squeezenet,shufflenet,resnet50" },
  },
});
const [rounds, seconds] = [Number(given.rounds), Number(given.seconds)];
/** Of load before a model is measured: until V8 has compiled what its calls go through. A C++ server needs none. */
const warmUpSeconds = 4;
/** Beyond, it would be the generator of the open loop that is late: a Node process. */
const mostOpenLoop = 40_000;
const ports = { served: 9621, rest: 9622, cpp: 9623, grpcJs: 9624, ours: 9625 };

interface ServedModel {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  /** One row's shape, its batch dimension included. */
  readonly row: readonly number[];
  /** Rows that the bare loop is tried with, to find its best. */
  readonly batches: readonly number[];
  readonly load: { readonly connections: number; readonly inFlight: number };
  /**
   * Calls in a round, of a model that runs for long: those that are under way when a second is over would be a good part of
   * all. Default: as many as go.
   */
  readonly calls?: number;
}
const small = { batches: [1, 32, 256], load: { connections: 8, inFlight: 32 } };
const image = { row: [1, 3, 224, 224], batches: [1], load: { connections: 2, inFlight: 2 } };
const encoder = { row: [1, 32, 384], batches: [1, 4, 16], load: { connections: 2, inFlight: 4 } };
const light = join(repositoryRoot, "..", "shared", "models", "light");
const sides = ["served", "our transport, echo", "÷ C++ echo: served", "our echo", "÷ grpc-js echo: served", "our echo"];
const known: readonly ServedModel[] = [
  { name: "half_plus_two", input: "x", output: "y", row: [1], ...small },
  { name: "mlp", input: "features", output: "probabilities", row: [1, 784], ...small },
  { name: "digits", input: "image", output: "probabilities", row: [1, 1, 8, 8], ...small },
  { name: "transformer", input: "x", output: "y", row: [1, 16, 64], ...small },
  { name: "encoder", input: "x", output: "y", ...encoder, calls: 200 },
  { name: "squeezenet", input: "data_0", output: "softmaxout_1", ...image, calls: 500 },
  { name: "shufflenet", input: "gpu_0/data_0", output: "gpu_0/softmax_1", ...image, calls: 500 },
  { name: "resnet50", input: "gpu_0/data_0", output: "gpu_0/softmax_1", ...image, calls: 60 },
];
const served = known.filter(({ name }) => given.models.split(",").includes(name));

if (h2load === undefined) {
  console.error("skipped: h2load is not installed (package nghttp2-client)");
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), "onnxd-bench-"));
using models = new ModelFolder();
const contestants: Contestant[] = [];
try {
  const paths = publishModels();
  const here = await startOnnxd(paths);
  const echoes = await startEchoes();
  console.log(`${cpus()[0]?.model.trim()}, ${cpus().length} CPUs, Node ${process.version}; ${howPinned}`);
  console.log(`${rounds} rounds of ${seconds} s a lane, in turn. Figures are medians (lowest to highest).`);
  const sections: Record<string, () => Promise<void> | void> = {
    models: () => compareModels(here, echoes, paths),
    "in-flight": () => compareInFlight(here, echoes),
    payloads: () => comparePayloads(here, echoes),
    rest: () => compareRest(here, echoes),
    latency: () => measureLatency(here),
  };
  for (const name of given.only.split(",")) await sections[name]!();
} finally {
  for (const contestant of contestants) contestant.stop();
  rmSync(folder, { recursive: true });
}

interface Echoes {
  readonly ours: Contestant;
  readonly grpcJs: Contestant;
  readonly cpp: Contestant | undefined;
}

/** @returns each model's file; models that are not on this machine are left out, by name */
function publishModels(): Map<string, string> {
  models.copyBundled("half_plus_two", 1);
  models.copyBundled("digits", 1);
  models.publish("mlp", 1, mlpModel([784, 512, 10]));
  models.publish("transformer", 1, transformerModel(16, 64, 4));
  models.publish("encoder", 1, transformerModel(32, 384, 12, 12)); // the size of MiniLM-L12
  models.publish("identity", 1, identityModel("float32", ["batch"]));
  const paths = new Map<string, string>();
  for (const { name } of served) {
    const beside = join(light, name, "1", "model.onnx");
    if (existsSync(beside)) models.publish(name, 1, readFileSync(beside));
    const path = join(models.basePath(name), "1", "model.onnx");
    if (existsSync(path)) paths.set(name, path);
    else console.log(`skipped: ${name} (${beside} is not there)`);
  }
  return paths;
}

async function startOnnxd(paths: ReadonlyMap<string, string>): Promise<Contestant> {
  const config = models.writeConfig(Object.fromEntries([...paths.keys(), "identity"].map((name) => [name, ""])));
  const args = [
    ...["--max-semi-space-size=4", join(repositoryRoot, "dist", "src", "main.js"), "serve"],
    ...[`--model_config_file=${config}`, "--access_log=false", "--log_level=error", "--bind_address=127.0.0.1"],
    ...[`--port=${ports.served}`, `--rest_api_port=${ports.rest}`],
  ];
  // As npm start and the command onnxd start it; older versions of Node have to be given the variable.
  const onnxd = await start(ports.served, process.execPath, args, hugePageVariables);
  // h2load does not look at grpc-status: whether calls succeed is found out beforehand.
  using client = connect(PredictionServiceClient, `127.0.0.1:${ports.served}`);
  for (const { name, input, row } of served) {
    if (!paths.has(name)) continue;
    const request = PredictRequest.decode(readFileSync(predictBody(folder, name, input, row).body).subarray(5));
    await call(client, client.predict, request, noMetadata);
  }
  return onnxd;
}

async function startEchoes(): Promise<Echoes> {
  const server = fileURLToPath(new URL("./comparison/echo-server.js", import.meta.url));
  const echo = (transport: string, port: number) =>
    start(port, process.execPath, [server, transport, String(port), "observed"]);
  const echoes = {
    ours: await echo("http2", ports.ours),
    grpcJs: await echo("grpc-js", ports.grpcJs),
    cpp: given.cpp_echo === undefined ? undefined : await start(ports.cpp, given.cpp_echo, [String(ports.cpp)]),
  };
  if (echoes.cpp === undefined) console.log("skipped: the C++ echo (build one and say --cpp_echo=PATH)");
  const request = readFileSync(echoBody(folder, 60).body).subarray(5);
  for (const contestant of Object.values(echoes)) {
    if (contestant === undefined) continue;
    using client = new RawGrpcClient(`127.0.0.1:${contestant.port}`);
    const { error, response } = await client.unary(predictPath, request);
    if (error !== undefined || !response?.equals(request)) throw new Error(`no echo: ${error?.message}`);
  }
  return echoes;
}

async function start(...how: Parameters<typeof Contestant.start>): Promise<Contestant> {
  const contestant = await Contestant.start(...how);
  contestants.push(contestant);
  return contestant;
}

function compareModels(onnxd: Contestant, { cpp }: Echoes, paths: ReadonlyMap<string, string>): void {
  const table: string[][] = [];
  for (const { name, input, output, row, batches, load: shape, calls } of served) {
    const path = paths.get(name);
    if (path === undefined) continue;
    const { body, bytes } = predictBody(folder, name, input, row);
    const echo = echoBody(folder, bytes).body;
    const amount = calls === undefined ? { seconds } : { calls };
    const rate = (server: Contestant, file: string, connections: number, inFlight: number) =>
      callsPerSecond(server, { path: predictPath, body: file, connections, inFlight, ...amount }).callsPerSecond;
    let cpu = Number.NaN;
    const load = { path: predictPath, body, ...shape, ...amount };
    const bareSeconds = calls === undefined ? seconds : 3 * seconds;
    const lanes: Lane[] = [
      {
        name: "many",
        measure: () => {
          const figures = callsPerSecond(onnxd, load);
          cpu = figures.cpuMicrosPerCall;
          return figures.callsPerSecond;
        },
      },
      { name: "alone", measure: () => rate(onnxd, body, 1, 1) },
      ...batches.map((rows) => ({
        name: `bare ${rows}`,
        measure: () => bare(path, input, output, row, rows, bareSeconds),
      })),
      { name: "bare huge", measure: () => bare(path, input, output, row, 1, bareSeconds, hugePageVariables) },
    ];
    if (cpp !== undefined) {
      lanes.push({ name: "echo many", measure: () => rate(cpp, echo, shape.connections, shape.inFlight) });
      lanes.push({ name: "echo alone", measure: () => rate(cpp, echo, 1, 1) });
    }
    callsPerSecond(onnxd, { path: predictPath, body, ...shape, seconds: warmUpSeconds });
    const found = inTurn(lanes, rounds);
    const many = found.get("many")!;
    const alone = found.get("alone")!;
    const best = Math.max(...batches.map((rows) => found.get(`bare ${rows}`)!.median));
    table.push([
      `${name}, ${bytes} B`,
      withSpread(many),
      format(cpu, 1),
      ratio(many, found.get("bare 1")!),
      ratio(many, found.get("bare huge")!),
      format(many.median / best, 2),
      found.has("echo many") ? ratio(many, found.get("echo many")!) : "–",
      format(1e6 / alone.median),
      found.has("echo alone") ? ratio(found.get("echo alone")!, alone) : "–",
    ]);
  }
  title("Served models, one row a call");
  printTable(
    [
      ...[
        "model, request",
        "calls/s, many in flight",
        "CPU µs a call",
        "÷ bare loop, 1 row",
        "÷ the same in huge pages",
        "÷ bare loop, best batch",
      ],
      ...["÷ C++ echo", "one at a time: µs", "its latency ÷ C++ echo's"],
    ],
    table,
  );
  console.log("\nMany in flight: 8 connections × 32, for the encoder 2 × 4, for images 2 × 2.");
}

function bare(
  path: string,
  input: string,
  output: string,
  row: readonly number[],
  rows: number,
  roundSeconds: number,
  variables = {},
): number {
  const program = fileURLToPath(new URL("./comparison/bare-loop.js", import.meta.url));
  const shape = [rows * row[0]!, ...row.slice(1)].join(",");
  return Number(
    runOn("server", process.execPath, [program, path, input, output, shape, String(roundSeconds)], variables),
  );
}

function compareInFlight(onnxd: Contestant, echoes: Echoes): void {
  const { body, bytes } = predictBody(folder, "half_plus_two", "x", [1]);
  const echo = echoBody(folder, bytes).body;
  title("half_plus_two, by calls in flight: calls/s");
  const table = [1, 8, 64, 256].map((calls) => {
    const connections = Math.min(calls, 8);
    const load = { path: predictPath, connections, inFlight: calls / connections, seconds };
    return [
      String(calls),
      ...compareWith({ onnxd, ...echoes }, (name) => ({ ...load, body: name === "onnxd" ? body : echo })),
    ];
  });
  printTable(["in flight", ...sides], table);
}

function comparePayloads(onnxd: Contestant, echoes: Echoes): void {
  title("A model that returns its floats, by size of the message: calls/s");
  const table = [60, 3_000, 100_000, 1_000_000].map((bytes) => {
    const { body } = predictBody(folder, "identity", "x", [Math.round(bytes / 4)]);
    const echo = echoBody(folder, bytes).body;
    const [connections, inFlight] = bytes < 10_000 ? [8, 32] : bytes < 500_000 ? [4, 4] : [2, 4];
    const load = { path: predictPath, connections, inFlight, seconds };
    const cells = compareWith({ onnxd, ...echoes }, (name) => ({ ...load, body: name === "onnxd" ? body : echo }));
    return [`${format(bytes)} B, ${connections} × ${inFlight}`, ...cells];
  });
  printTable(["message", ...sides], table);
}

function compareWith(
  { onnxd, ours, grpcJs, cpp }: Echoes & { readonly onnxd: Contestant },
  loadOf: (name: string) => Parameters<typeof callsPerSecond>[1],
): string[] {
  const all = { onnxd, ours, grpcJs, ...(cpp && { cpp }) };
  const lanes = Object.entries(all).map(([name, server]) => ({
    name,
    measure: () => callsPerSecond(server, loadOf(name)).callsPerSecond,
  }));
  const found = inTurn(lanes, rounds);
  const [mine, echo] = [found.get("onnxd")!, found.get("ours")!];
  const over = (name: string) =>
    found.has(name) ? [ratio(mine, found.get(name)!), ratio(echo, found.get(name)!)] : ["–", "–"];
  return [withSpread(mine), withSpread(echo), ...over("cpp"), ...over("grpcJs")];
}

function compareRest(onnxd: Contestant, { grpcJs }: Echoes): void {
  const body = join(folder, "rest.json");
  writeFileSync(body, '{"instances": [1.0]}');
  const rest = { path: "/v1/models/half_plus_two:predict", body, restPort: ports.rest };
  const echo = echoBody(folder, 38).body;
  const shape = { connections: 32, inFlight: 1, seconds };
  const found = inTurn(
    [
      { name: "rest", measure: () => callsPerSecond(onnxd, { ...shape, ...rest }).callsPerSecond },
      {
        name: "grpc-js",
        measure: () => callsPerSecond(grpcJs, { ...shape, path: predictPath, body: echo }).callsPerSecond,
      },
    ],
    rounds,
  );
  title("REST predict of half_plus_two, 32 connections");
  printTable(
    ["REST calls/s", "grpc-js echo calls/s", "ratio"],
    [
      [
        withSpread(found.get("rest")!),
        withSpread(found.get("grpc-js")!),
        ratio(found.get("rest")!, found.get("grpc-js")!),
      ],
    ],
  );
}

async function measureLatency(onnxd: Contestant): Promise<void> {
  const table: string[][] = [];
  for (const { name, input, row, calls } of served) {
    if (calls !== undefined) continue;
    const { body } = predictBody(folder, name, input, row);
    const load = { path: predictPath, body, connections: 8, inFlight: 32, seconds };
    const most = inTurn([{ name, measure: () => callsPerSecond(onnxd, load).callsPerSecond }], rounds).get(
      name,
    )!.median;
    await lag(); // from here on
    const rate = Math.min(0.7 * most, mostOpenLoop);
    const generator = fileURLToPath(new URL("./comparison/open-loop.js", import.meta.url));
    const args = [String(ports.served), predictPath, body, String(rate), String(3 * seconds)];
    const found: { readonly failed: number; readonly percentiles: readonly number[] } = JSON.parse(
      runOn("load", process.execPath, [generator, ...args]),
    );
    const memory = onnxd.memoryMiB();
    table.push([
      ...[
        name,
        format(rate),
        ...found.percentiles.map((micros) => format(micros)),
        `${format(100 * found.failed, 2)} %`,
        await lag(),
      ],
      memory === undefined ? "–" : `${format(memory.now)} (${format(memory.most)})`,
    ]);
  }
  title(`Latency at 70 % load, at most ${format(mostOpenLoop)} calls/s, open loop: µs`);
  printTable(
    [
      "model",
      "calls/s",
      "p50",
      "p90",
      "p99",
      "p99.9",
      "refused",
      "event-loop lag p99 / max, ms",
      "resident MiB (at most)",
    ],
    table,
  );
}

/** The server's own measure since it was last asked. */
async function lag(): Promise<string> {
  const page = await (await fetch(`http://127.0.0.1:${ports.rest}/metrics`)).text();
  const at = (quantile: string) =>
    1000 * Number(new RegExp(`^onnxd_event_loop_lag_seconds\\{quantile="${quantile}"\\} (\\S+)`, "m").exec(page)?.[1]);
  return `${format(at("0.99"), 1)} / ${format(at("1"), 1)}`;
}

function ratio(a: Measured, b: Measured): string {
  return format(a.median / b.median, 2);
}

function title(text: string): void {
  console.log(`\n### ${text}\n`);
}
