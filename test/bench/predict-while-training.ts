// What a training job costs those who ask: Predict over gRPC on the real server, in turn without a job and while one
// trains without pause. The load generator has the same CPUs as both.
//
//   npm run build && node dist/test/bench/predict-while-training.js [--rounds=5] [--seconds=2]
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  GetJobRequest,
  type Job,
  Job_State,
  StartJobRequest,
  TrainingServiceClient,
} from "../gen/onnxd/v1/training.js";
import type { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { readDataSet } from "../support/data-set.js";
import { ModelFolder } from "../support/model-folder.js";
import { ServerProcess } from "../support/server-process.js";
import { mlpModel } from "../support/test-models.js";

const { values: given } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "2" } },
});
const [rounds, seconds] = [Number(given.rounds), Number(given.seconds)];

using models = new ModelFolder();
models.copyBundled("half_plus_two", 1);
models.publish("mlp", 1, mlpModel([784, 512, 10]));
const config = models.writeConfig({ half_plus_two: "", mlp: "" });
const folder = mkdtempSync(join(tmpdir(), "onnxd-bench-training-"));
const server = await ServerProcess.start(
  `--model_config_file=${config}`,
  `--training_dir=${folder}`,
  "--access_log=false",
  "--log_level=error",
);
using prediction = connect(PredictionServiceClient, server.target);
using training = connect(TrainingServiceClient, server.target);

const cases = [
  { title: "half_plus_two", request: floatPredict("half_plus_two", "x", [1]) },
  { title: "MLP 784-512-10", request: floatPredict("mlp", "features", new Array(784).fill(0.5), [1, 784]) },
];
try {
  console.log(
    `${cpus().length} CPUs; a job: a convolutional net on 1797 digits, batch 32. ${rounds} rounds of ${seconds} s; ms: median of the rounds (lowest to highest)`,
  );
  for (const { title, request } of cases) {
    for (const inFlight of [1, 8]) await measure(`${title}, ${inFlight} in flight`, request, inFlight);
  }
} finally {
  server.kill("SIGTERM");
  await server.exited;
  rmSync(folder, { recursive: true });
}

async function measure(title: string, request: PredictRequest, inFlight: number): Promise<void> {
  await predict(request, inFlight, 0.5);
  const results = { without: [] as Latencies[], with: [] as Latencies[] };
  const steps: number[] = [];
  for (let round = 0; round < rounds; round++) {
    results.without.push(await predict(request, inFlight, seconds));
    const started = await startJob();
    results.with.push(await predict(request, inFlight, seconds));
    const { state, step } = await call(training, training.cancelJob, { id: started.id }, noMetadata);
    if (state !== Job_State.RUNNING && state !== Job_State.CANCELLED) throw new Error(`the job is in state ${state}`);
    steps.push(Number(step!.step - started.step!.step) / seconds);
    await until(started.id, (job) => job.state === Job_State.CANCELLED);
  }
  console.log(`\n${title}`);
  for (const [name, rows] of Object.entries(results)) {
    const column = (of: (each: Latencies) => number, digits: number) => spread(rows.map(of), digits);
    console.log(
      `  ${name.padEnd(8)} p50 ${column(({ p50 }) => p50, 3)}  p99 ${column(({ p99 }) => p99, 2)}  calls/s ${column(({ rate }) => rate, 0)}`,
    );
  }
  console.log(`  the job took ${spread(steps, 0)} steps a second meanwhile`);
}

interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly rate: number;
}

/** So many calls at any time, each followed by the next. */
async function predict(request: PredictRequest, inFlight: number, forSeconds: number): Promise<Latencies> {
  const latencies: number[] = [];
  const end = performance.now() + 1000 * forSeconds;
  const ask = async () => {
    for (let start = performance.now(); start < end; start = performance.now()) {
      await call(prediction, prediction.predict, request, noMetadata);
      latencies.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, ask));
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(share * latencies.length)]!;
  return { p50: at(0.5), p99: at(0.99), rate: latencies.length / forSeconds };
}

/** A job that goes on for longer than anyone waits, and has taken its first steps. */
async function startJob(): Promise<Job> {
  const convolution = (filters: number) => ({
    layer: { $case: "conv2d" as const, value: { filters, kernel: [3], padding: "same", activation: "relu" } },
  });
  const dense = (units: number, activation: string) => ({
    layer: { $case: "dense" as const, value: { units, activation } },
  });
  const request = StartJobRequest.fromPartial({
    spec: {
      model: "handwriting",
      layers: [
        { layer: { $case: "reshape", value: { shape: [1, 8, 8] } } },
        convolution(16),
        convolution(32),
        { layer: { $case: "flatten", value: {} } },
        dense(64, "relu"),
        dense(10, "softmax"),
      ],
      table: { target: "target", task: "classification" },
      epochs: 100_000,
    } as Parameters<typeof StartJobRequest.fromPartial>[0]["spec"],
    data: { csv: readDataSet("digits") },
  });
  const { id } = await call(training, training.startJob, request, noMetadata);
  return until(id, ({ step }) => step !== undefined);
}

async function until(id: string, reached: (job: Job) => boolean): Promise<Job> {
  for (;;) {
    const job = await call(training, training.getJob, GetJobRequest.fromPartial({ id }), noMetadata);
    if (reached(job)) return job;
    if (job.state === Job_State.FAILED || job.state === Job_State.SUCCEEDED) {
      throw new Error(`the job has ended: ${job.errorMessage}`);
    }
    await sleep(20);
  }
}

function spread(values: readonly number[], digits: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const [middle, low, high] = [sorted[Math.floor(sorted.length / 2)]!, sorted[0]!, sorted.at(-1)!];
  return `${middle.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}
