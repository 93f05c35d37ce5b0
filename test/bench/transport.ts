// What a call costs before any model runs: our HTTP/2 transport, grpc-js, and where one was built a C++ gRPC server, each
// only sending messages back, in turn, several rounds in one run. Absolute figures mean nothing on a shared machine: look
// at the ratios. Every call of ours goes through the interceptors that a served call goes through.
//
//   npm run build && node dist/test/bench/transport.js [--cpp_echo=PATH] [--rounds=3] [--seconds=2]
//
// PATH is a C++ echo server that takes its port as first argument. Needs h2load (package nghttp2-client).
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findTool } from "../support/find-tool.js";
import { RawGrpcClient } from "../support/raw-grpc-client.js";

const { values: given } = parseArgs({
  options: {
    cpp_echo: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
  },
});
const path = "/tensorflow.serving.PredictionService/Predict";
const loads = [
  { bytes: 60, connections: 1, inFlight: 1 },
  { bytes: 60, connections: 8, inFlight: 32 },
  { bytes: 3000, connections: 8, inFlight: 32 },
  { bytes: 100_000, connections: 4, inFlight: 4 },
  { bytes: 1_000_000, connections: 2, inFlight: 4 },
];
type Load = (typeof loads)[number];

interface Contestant {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
}

const h2load = findTool("h2load");
if (h2load === undefined) {
  console.error("skipped: h2load is not installed (package nghttp2-client)");
  process.exit(0);
}
// With two CPUs the load generator has one and the server the other, so that neither takes the other's time.
const pinned = findTool("taskset") !== undefined && cpus().length > 1;
const folder = mkdtempSync(join(tmpdir(), "onnxd-bench-"));
const contestants = await start();
try {
  console.log(`${given.rounds} rounds of ${given.seconds} s each; calls/s: median (lowest to highest)`);
  for (const load of loads) report(load, measure(load));
} finally {
  for (const contestant of contestants) contestant.process.kill();
  rmSync(folder, { recursive: true });
}

async function start(): Promise<Contestant[]> {
  const server = fileURLToPath(new URL("./transport-echo-server.js", import.meta.url));
  const started = [
    await launch("http2", 9611, process.execPath, [server, "http2", "9611", "observed"]),
    await launch("grpc-js", 9612, process.execPath, [server, "grpc-js", "9612", "observed"]),
  ];
  if (given.cpp_echo === undefined) console.log("skipped: the C++ echo (build one and say --cpp_echo=PATH)");
  else started.push(await launch("C++", 9613, given.cpp_echo, ["9613"]));
  return started;
}

async function launch(name: string, port: number, command: string, args: readonly string[]): Promise<Contestant> {
  const [program, programArgs] = pinned ? ["taskset", ["-c", "0", command, ...args]] : [command, [...args]];
  const child = spawn(program, programArgs, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout!, "data");
  // h2load does not look at grpc-status: whether calls succeed is found out beforehand.
  using client = new RawGrpcClient(`127.0.0.1:${port}`);
  const request = message(60).subarray(5);
  const { error, response } = await client.unary(path, request);
  if (error !== undefined || !response?.equals(request)) throw new Error(`${name} does not echo: ${error?.message}`);
  return { name, port, process: child };
}

/** Calls per second of each contestant in each round. */
function measure(load: Load): Map<string, number[]> {
  const body = join(folder, `${load.bytes}.bin`);
  writeFileSync(body, message(load.bytes));
  const results = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(given.rounds); round++) {
    for (const { name, port } of contestants) results.get(name)!.push(run(load, body, port));
  }
  return results;
}

function run({ connections, inFlight }: Load, body: string, port: number): number {
  const args = ["-D", given.seconds, "-c", String(connections), "-m", String(inFlight), "-t", "1", `--data=${body}`];
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  const all = [...args, "--warm-up-time=1", ...headers, `http://127.0.0.1:${port}${path}`];
  const output = pinned
    ? execFileSync("taskset", ["-c", "1", h2load!, ...all], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    : execFileSync(h2load!, all, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const failed = /(\d+) failed/.exec(output)?.[1];
  if (failed !== "0") throw new Error(`calls failed:\n${output}`);
  return Number(/([\d.]+) req\/s/.exec(output)?.[1]);
}

function report({ bytes, connections, inFlight }: Load, results: Map<string, number[]>): void {
  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const ours = median(results.get("http2")!);
  console.log(`\n${bytes} bytes, ${connections} connections × ${inFlight} in flight`);
  for (const [name, values] of results) {
    const spread = `(${Math.round(Math.min(...values))} to ${Math.round(Math.max(...values))})`;
    const ratio = name === "http2" ? "" : `   ours is ${(ours / median(values)).toFixed(2)} ×`;
    console.log(`  ${name.padEnd(8)} ${String(Math.round(median(values))).padStart(8)} ${spread.padEnd(20)}${ratio}`);
  }
}

/** A message with its prefix: one field of bytes, number 9, as the C++ echo has it. */
function message(bytes: number): Buffer {
  const length: number[] = [];
  for (let rest = bytes; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) break;
  }
  const body = Buffer.concat([Buffer.from([9 * 8 + 2, ...length]), Buffer.alloc(bytes, 1)]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}
