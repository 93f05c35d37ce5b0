// What a REST predict costs: reading and writing its JSON beside JSON.parse and JSON.stringify, counting and logging a
// call, and whole calls of a tiny model over keep-alive connections beside a plain node:http echo, CPU time a call.
// Other work on the machine disturbs both sides: they run in turn, and the ratio is what counts.
//
//   npm run build && node dist/test/bench/rest-predict.js
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { Writable } from "node:stream";
import { PredictBody } from "../../src/api/codecs/json-tensor.js";
import { writePredictResponse } from "../../src/api/codecs/json-writer.js";
import { Code } from "../../src/status.js";
import { type CallRecord, createLogger, Metrics } from "../../src/telemetry/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { signatureOf } from "../support/fake-repository.js";
import { RestDoor } from "../support/rest-door.js";

const signature = signatureOf({ x: ["float32", undefined] }, { y: ["float32", undefined] });
const path = "/v1/models/half_plus_two:predict";
const body = '{"instances": [1.0, 2.0, 5.0]}';

if (process.argv[2] === "load") await load(Number(process.argv[3]), Number(process.argv[4]));
else {
  codecs();
  telemetry();
  await calls();
}

function codecs(): void {
  const values = Float32Array.from({ length: 262_144 }, (_unused, index) => Math.sin(index) * 10);
  const rows = Array.from({ length: 65_536 }, (_unused, row) => Array.from(values.subarray(4 * row, 4 * row + 4)));
  const text = Buffer.from(JSON.stringify({ instances: rows }));
  compare(
    "reading 262144 floats",
    () => void read(text),
    () => void Float32Array.from(JSON.parse(text.toString()).instances.flat()),
  );
  const outputs = new Map<string, Tensor>([["y", { dtype: "float32", shape: [65_536, 4], data: values }]]);
  compare(
    "writing 262144 floats",
    () => {
      const pieces = writePredictResponse(outputs, "row");
      while (pieces.next().done !== true);
    },
    () => void JSON.stringify({ predictions: rows }),
  );
}

function read(text: Buffer): void {
  const predict = new PredictBody(text);
  predict.advance(Number.POSITIVE_INFINITY);
  const reader = predict.readInputs(signature);
  reader.advance(Number.POSITIVE_INFINITY);
  reader.inputs();
}

function compare(name: string, ours: () => void, theirs: () => void): void {
  const [a, b] = [ours, theirs].map((run) => {
    const times = Array.from({ length: 9 }, () => {
      const start = performance.now();
      run();
      return performance.now() - start;
    });
    return times.sort((x, y) => x - y)[4]!;
  }) as [number, number];
  console.log(`${name}: ${a.toFixed(1)} ms; JSON.parse or stringify ${b.toFixed(1)} ms`);
}

function telemetry(): void {
  const metrics = new Metrics({ build: {} });
  metrics.setVersionState("m", 1n, "AVAILABLE");
  const stream = new Writable({ write: (_chunk, _encoding, done) => done() });
  const { accessLog } = createLogger({ level: "info", format: "json", stream });
  const record: CallRecord = {
    requestId: "0123456789ab-42",
    door: "grpc",
    method: "/tensorflow.serving.PredictionService/Predict",
    peer: "127.0.0.1:50000",
    model: "m",
    version: 1n,
    api: "Predict",
    queueMs: 0.02,
    computeMs: 0.03,
  };
  for (const [name, run] of [
    ["counting a call", (i: number) => metrics.observeCall(record, Code.OK, i / 1000)],
    ["an access line", (i: number) => accessLog.write(record, Code.OK, i / 1000)],
  ] as const) {
    const count = 300_000;
    for (let i = 0; i < count; i += 1) run(i);
    const start = performance.now();
    for (let i = 0; i < count; i += 1) run(i);
    console.log(`${name}: ${(((performance.now() - start) / count) * 1e6).toFixed(0)} ns`);
  }
}

async function calls(): Promise<void> {
  await using door = await RestDoor.open();
  door.repository.add("half_plus_two", 1n, [signature], (feeds) => {
    const { shape, data } = feeds.get("x:0") as Tensor & { data: Float32Array };
    return new Map([["y:0", { dtype: "float32", shape, data: data.map((x) => x / 2 + 2) }]]);
  });
  // The double's own look-up costs more than a real repository's.
  const { servable } = door.repository.getServableHandle({ name: "half_plus_two", signatureName: "" });
  door.repository.getServableHandle = () => ({ servable, [Symbol.dispose]: () => {} });
  const echo = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": chunk.length });
      response.end(chunk.toString());
    });
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  const ports = { "REST predict": door.port, "node:http echo": (echo.address() as AddressInfo).port };
  for (let round = 0; round < 4; round += 1) {
    for (const [name, port] of Object.entries(ports)) {
      door.observed.length = 0;
      const before = process.cpuUsage();
      const child = fork(process.argv[1]!, ["load", String(port), "4"]);
      const [{ count, seconds }] = await once(child, "message");
      const { user, system } = process.cpuUsage(before);
      const line = `${(count / seconds).toFixed(0)} calls/s, ${((user + system) / count).toFixed(1)} µs of CPU a call`;
      console.log(`${name}: ${line}${round === 0 ? " (warming up)" : ""}`);
    }
  }
  echo.close();
}

/** Calls as fast as answers come, over 32 connections. Hand-made, so that it is not the client that is measured. */
async function load(port: number, seconds: number): Promise<void> {
  const call = Buffer.from(`POST ${path} HTTP/1.1\r\nHost: bench\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  let count = 0;
  const start = performance.now();
  const end = start + 1000 * seconds;
  const one = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        const head = text.indexOf("\r\n\r\n");
        const length = /content-length: (\d+)/i.exec(text)?.[1];
        if (head === -1 || text.length < head + 4 + Number(length)) return;
        if (!text.startsWith("HTTP/1.1 200")) throw new Error(text);
        text = "";
        count += 1;
        if (performance.now() < end) socket.write(call);
        else {
          socket.destroy();
          resolve();
        }
      });
      socket.write(call);
    });
  await Promise.all(Array.from({ length: 32 }, one));
  process.send!({ count, seconds: (performance.now() - start) / 1000 });
  process.disconnect();
}
