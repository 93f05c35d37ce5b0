// Does the server answer others while one model runs for two seconds and another of 200 MB loads? Health checks, one after
// the other over gRPC, in turn with the server idle and with the server busy; prints their latency and the event loop's
// lag as the server's own metrics tell it.
//
//   npm run build && node dist/test/bench/responsiveness.js
import { HealthClient } from "../gen/grpc/health/v1/health.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { ServerProcess } from "../support/server-process.js";
import { bigModel, identityModel, slowModel } from "../support/test-models.js";

const rounds = 3;
const slowRunSeconds = 2;

using models = new ModelFolder();
models.publish("slow", 1, slowModel("input"));
models.publish("big", 1, identityModel("float32", ["batch"]));
const config = models.writeConfig({ slow: "", big: "" });
await using server = await ServerProcess.start(`--model_config_file=${config}`, "--access_log=false");
using health = connect(HealthClient, server.target);
using prediction = connect(PredictionServiceClient, server.target, { "grpc.max_send_message_length": -1 });

const iterations = await calibrate();
for (let round = 1; round <= rounds; round++) {
  report("idle", await checkHealthUntil(new Promise((resolve) => setTimeout(resolve, 1000 * slowRunSeconds))));
  models.publish("big", round + 1, bigModel(200 * 2 ** 20));
  report("busy", await checkHealthUntil(Promise.all([runSlow(iterations), bigIsAvailable(round + 1)])));
}

/** Iterations that take about two seconds on this machine. */
async function calibrate(): Promise<bigint> {
  let iterations = 1n;
  for (;;) {
    const start = performance.now();
    await runSlow(iterations);
    const seconds = (performance.now() - start) / 1000;
    if (seconds > slowRunSeconds / 10) return BigInt(Math.ceil((Number(iterations) * slowRunSeconds) / seconds));
    iterations *= 4n;
  }
}

async function runSlow(iterations: bigint): Promise<void> {
  const request = floatPredict("slow", "x", [1]);
  request.inputs.set(
    "iterations",
    TensorProto.fromPartial({ dtype: DataType.DT_INT64, tensorShape: { dim: [] }, int64Val: [iterations] }),
  );
  await call(prediction, prediction.predict, request, noMetadata);
}

async function bigIsAvailable(version: number): Promise<void> {
  for (;;) {
    const response = await fetch(`${server.url}/v1/models/big/versions/${version}`);
    if (response.ok && (await response.text()).includes("AVAILABLE")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function checkHealthUntil(work: Promise<unknown>): Promise<number[]> {
  const latencies: number[] = [];
  let over = false;
  const done = work.finally(() => {
    over = true;
  });
  while (!over) {
    const start = performance.now();
    await call(health, health.check, { service: "" }, noMetadata);
    latencies.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await done;
  return latencies.sort((a, b) => a - b);
}

function report(what: string, latencies: readonly number[]): void {
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))]!.toFixed(2);
  console.log(`${what}: ${latencies.length} health checks, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);
}
