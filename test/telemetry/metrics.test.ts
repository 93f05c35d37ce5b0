import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code } from "../../src/status.js";
import { type CallRecord, EventLoopMonitor, Metrics } from "../../src/telemetry/index.js";
import { findSample, parsePrometheusText } from "../support/prometheus-text.js";

const grpcPredict: CallRecord = {
  requestId: "r",
  door: "grpc",
  method: "/tensorflow.serving.PredictionService/Predict",
  peer: "p",
  model: "m",
  version: 1n,
  api: "Predict",
};
const restPredict: CallRecord = { ...grpcPredict, door: "rest", method: "POST /v1/models/m:predict" };

function metricsWithModel(): Metrics {
  const metrics = new Metrics({ build: { version: "0.1.0", node: 'v20 "x"\\' } });
  metrics.setVersionState("m", 1n, "AVAILABLE");
  return metrics;
}

describe("Metrics", () => {
  it("prints a page a scraper takes, with everything on it", () => {
    const metrics = metricsWithModel();
    metrics.observeCall({ ...grpcPredict, queueMs: 1, computeMs: 2, batchSize: 4 }, Code.OK, 4);
    metrics.observeLoad({ model: "m", version: 1n, path: "/models/m/1", code: Code.OK, seconds: 1.5 });
    metrics.observeLoad({ model: "m", version: 2n, path: "/models/m/2", code: Code.INTERNAL, seconds: 1.5 });
    metrics.countCancelledBeforeRun("m");
    metrics.countWorkerRestart("m");
    metrics.readSessionLoads(() => [{ model: "m", version: 1n, queued: 3, running: 2, sessions: 4, memoryBytes: 9 }]);
    metrics.readTrainingJobs(() => new Map([["RUNNING", 2]]));
    metrics.readDroppedLines(() => 7);
    metrics.readEventLoopLag(() => ({ p50Ms: 1, p99Ms: 2, maxMs: 3 }));
    const samples = parsePrometheusText(metrics.text());
    const value = (name: string, labels = {}) => findSample(samples, name, labels);
    const call = { model: "m", version: "1", api: "Predict" };
    assert.equal(value("onnxd_model_memory_bytes", { model: "m", version: "1" }), 9);
    assert.equal(value("onnxd_build_info", { version: "0.1.0", node: 'v20 "x"\\' }), 1);
    assert.equal(value("onnxd_requests_total", { ...call, door: "grpc", code: "OK" }), 1);
    assert.equal(value("onnxd_request_duration_seconds_sum", call), 0.004);
    assert.equal(value("onnxd_request_duration_seconds_bucket", { ...call, le: "0.002" }), 0);
    assert.equal(value("onnxd_request_duration_seconds_bucket", { ...call, le: "0.005" }), 1);
    assert.equal(value("onnxd_queue_duration_seconds_sum", call), 0.001);
    assert.equal(value("onnxd_compute_duration_seconds_sum", call), 0.002);
    assert.equal(value("onnxd_batch_rows_bucket", { model: "m", version: "1", le: "4" }), 1);
    assert.equal(value("onnxd_batch_rows_bucket", { model: "m", version: "1", le: "2" }), 0);
    assert.equal(value("onnxd_cancelled_before_run_total", { model: "m" }), 1);
    assert.equal(value("onnxd_worker_restarts_total", { model: "m" }), 1);
    assert.equal(value("onnxd_version_state", { model: "m", version: "1", state: "AVAILABLE" }), 1);
    assert.equal(value("onnxd_version_state", { model: "m", version: "1", state: "LOADING" }), 0);
    assert.equal(value("onnxd_load_seconds", { model: "m", version: "1" }), 1.5);
    assert.equal(value("onnxd_load_seconds", { model: "m", version: "2" }), undefined);
    assert.equal(value("onnxd_loads_total", { model: "m", code: "INTERNAL" }), 1);
    assert.equal(value("onnxd_queue_depth", { model: "m", version: "1" }), 3);
    assert.equal(value("onnxd_sessions_busy", { model: "m", version: "1" }), 2);
    assert.equal(value("onnxd_sessions", { model: "m", version: "1" }), 4);
    assert.equal(value("onnxd_training_jobs", { state: "RUNNING" }), 2);
    assert.equal(value("onnxd_training_jobs", { state: "FAILED" }), 0);
    assert.equal(value("onnxd_log_lines_dropped_total"), 7);
    assert.equal(value("onnxd_event_loop_lag_seconds", { quantile: "0.99" }), 0.002);
    assert.ok(value("onnxd_resident_memory_bytes")! > 1e6);
    assert.equal(value(":tensorflow:serving:request_count", { model_name: "m", status: "OK" }), 1);
    assert.equal(value(":tensorflow:cc:saved_model:load_attempt_count", { model_path: "/models/m/1" }), 1);
    assert.equal(value(":tensorflow:cc:saved_model:load_latency", { model_path: "/models/m/1" }), 1_500_000);
  });

  it("prints a series only once something has happened", () => {
    const page = new Metrics({ build: {} }).text();
    assert.ok(!page.includes("onnxd_requests_total"));
    assert.ok(!page.includes(":tensorflow"));
  });
});

describe("TensorFlow Serving's metrics", () => {
  it("have its names, labels and bucket limits", () => {
    const metrics = metricsWithModel();
    metrics.observeCall({ ...grpcPredict, computeMs: 0.05 }, Code.OK, 0.1);
    const page = metrics.text();
    assert.ok(page.includes("# TYPE :tensorflow:serving:request_latency histogram\n"));
    assert.ok(!page.includes("# HELP :tensorflow"));
    const limits = parsePrometheusText(page)
      .filter(({ name }) => name === ":tensorflow:serving:request_latency_bucket")
      .map(({ labels }) => labels["le"]);
    assert.equal(limits.length, 34);
    assert.deepEqual(limits.slice(0, 6), ["10", "18", "32.4", "58.32", "104.976", "188.957"]);
    assert.deepEqual(limits.slice(-2), ["1.47476e+09", "+Inf"]);
    assert.ok(
      page.includes(':tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 1\n'),
    );
    assert.ok(
      page.includes(':tensorflow:serving:runtime_latency_sum{model_name="m",API="Predict",runtime="TF1"} 50\n'),
    );
  });

  it("count a value that equals a limit in the next bucket", () => {
    const metrics = metricsWithModel();
    metrics.observeCall(grpcPredict, Code.OK, 0.01);
    const samples = parsePrometheusText(metrics.text());
    assert.equal(findSample(samples, ":tensorflow:serving:request_latency_bucket", { le: "10" }), 0);
    assert.equal(findSample(samples, ":tensorflow:serving:request_latency_bucket", { le: "18" }), 1);
    assert.equal(findSample(samples, "onnxd_request_duration_seconds_bucket", { le: "0.00005" }), 1);
  });

  it("take the latency of successes only, and the API of REST from its URL", () => {
    const metrics = metricsWithModel();
    metrics.observeCall(restPredict, Code.OK, 1);
    metrics.observeCall(restPredict, Code.INVALID_ARGUMENT, 1);
    const { version: _version, api: _api, ...rest } = restPredict;
    metrics.observeCall({ ...rest, method: "GET /v1/models/m" }, Code.OK, 1);
    const samples = parsePrometheusText(metrics.text());
    const count = (labels: Record<string, string>) => findSample(samples, ":tensorflow:serving:request_count", labels);
    const latency = (labels: Record<string, string>) =>
      findSample(samples, ":tensorflow:serving:request_latency_count", labels);
    assert.equal(count({ model_name: "m", status: "OK" }), 2);
    assert.equal(count({ model_name: "m", status: "INVALID_ARGUMENT" }), 1);
    assert.equal(latency({ model_name: "m", API: "predict", entrypoint: "REST" }), 1);
    assert.equal(latency({ model_name: "m", API: "", entrypoint: "REST" }), 1);
  });

  it("count the examples of MultiInference, of calls that succeed", () => {
    const metrics = metricsWithModel();
    const method = "/tensorflow.serving.PredictionService/MultiInference";
    for (const rows of [1, 2, 5]) {
      metrics.observeCall({ ...grpcPredict, method, api: "MultiInference", rows }, Code.OK, 1);
    }
    metrics.observeCall({ ...grpcPredict, method, api: "MultiInference", rows: 3 }, Code.INVALID_ARGUMENT, 1);
    metrics.observeCall({ ...grpcPredict, rows: 3 }, Code.OK, 1);
    const page = metrics.text();
    assert.ok(page.includes(':tensorflow:serving:request_example_count_total{model="m"} 8\n'));
    assert.ok(page.includes(':tensorflow:serving:request_example_counts_sum{model="m"} 8\n'));
    const buckets = parsePrometheusText(page).filter(
      ({ name }) => name === ":tensorflow:serving:request_example_counts_bucket",
    );
    assert.deepEqual(buckets.map(({ labels, value }) => [labels["le"], value]).slice(0, 5), [
      ["1", 0],
      ["2", 1],
      ["4", 2],
      ["8", 3],
      ["16", 3],
    ]);
    assert.equal(buckets.length, 16);
    assert.equal(buckets.at(-2)!.labels["le"], "16384");
  });

  for (const [method, api, counted] of [
    ["/tensorflow.serving.PredictionService/Classify", "Classify", true],
    ["/tensorflow.serving.PredictionService/MultiInference", "MultiInference", false],
    ["/tensorflow.serving.PredictionService/GetModelMetadata", undefined, false],
    ["/inference.GRPCInferenceService/ModelInfer", "Predict", false],
  ] as const) {
    it(`${counted ? "count" : "do not count"} ${method}`, () => {
      const metrics = metricsWithModel();
      const { api: _api, ...record } = grpcPredict;
      metrics.observeCall(api === undefined ? { ...record, method } : { ...record, method, api }, Code.OK, 1);
      const samples = parsePrometheusText(metrics.text());
      assert.equal(findSample(samples, ":tensorflow:serving:request_count"), counted ? 1 : undefined);
      assert.equal(findSample(samples, "onnxd_requests_total"), 1);
    });
  }
});

describe("the page's size", () => {
  it("cannot be driven by clients that make up models and versions", () => {
    const metrics = metricsWithModel();
    for (let i = 0; i < 5000; i += 1) {
      metrics.observeCall({ ...restPredict, model: `made-up-${i}`, version: BigInt(i) }, Code.NOT_FOUND, 1);
      metrics.observeCall({ ...restPredict, version: BigInt(i + 2) }, Code.NOT_FOUND, 1);
    }
    const samples = parsePrometheusText(metrics.text());
    const models = new Set(samples.map(({ labels }) => labels["model"]).filter((model) => model !== undefined));
    assert.equal(models.size, 1 + 100 + 1);
    assert.equal(findSample(samples, "onnxd_requests_total", { model: "" }), 4900);
    assert.equal(findSample(samples, "onnxd_requests_total", { model: "m", version: "" }), 5000);
  });

  it("does not grow with every version ever published", () => {
    const metrics = new Metrics({ build: {} });
    let size = 0;
    for (let version = 1n; version <= 200n; version += 1n) {
      metrics.setVersionState("m", version, "AVAILABLE");
      metrics.observeCall({ ...grpcPredict, version, queueMs: 1, computeMs: 1 }, Code.OK, 1);
      metrics.setVersionState("m", version, "END");
      if (version === 50n) size = metrics.text().split("\n").length;
    }
    assert.equal(metrics.text().split("\n").length, size);
    const samples = parsePrometheusText(metrics.text());
    assert.equal(findSample(samples, "onnxd_requests_total", { version: "184" }), undefined);
    assert.equal(findSample(samples, "onnxd_requests_total", { version: "185" }), 1);
    assert.equal(findSample(samples, ":tensorflow:serving:request_count", { model_name: "m" }), 200);
  });

  it("keeps the series of a version that comes back", () => {
    const metrics = new Metrics({ build: {} });
    metrics.setVersionState("m", 1n, "END");
    metrics.setVersionState("m", 1n, "AVAILABLE");
    for (let version = 2n; version <= 40n; version += 1n) metrics.setVersionState("m", version, "END");
    const samples = parsePrometheusText(metrics.text());
    assert.equal(findSample(samples, "onnxd_version_state", { version: "1", state: "AVAILABLE" }), 1);
  });
});

describe("EventLoopMonitor", () => {
  it("never reports a negative lag", () => {
    const monitor = new EventLoopMonitor();
    const { p50Ms, p99Ms, maxMs } = monitor.read();
    monitor.close();
    for (const lag of [p50Ms, p99Ms, maxMs]) assert.ok(lag >= 0 && lag < 60_000, `${lag}`);
  });
});

describe("metrics of several processes", () => {
  const options = { build: { version: "1" } };
  const counted = (calls: number) => {
    const metrics = new Metrics(options);
    metrics.setVersionState("m", 1n, "AVAILABLE");
    for (let call = 0; call < calls; call++) {
      metrics.observeCall(grpcPredict, Code.OK, 2);
    }
    return metrics;
  };

  it("add up, but for what one process has the word on", () => {
    const whole = new Metrics({
      ...options,
      processes: () => [
        { process: "in charge", residentBytes: 1, connections: undefined },
        { process: "serving process 1", residentBytes: 2, connections: 3 },
      ],
    });
    const [one, two] = [counted(2), counted(3)].map((metrics) => structuredClone(metrics.snapshot(true)));
    whole.takeGauges(one!);
    whole.takeGauges(two!);
    whole.absorb(one!);
    whole.absorb(two!);
    const samples = parsePrometheusText(whole.text());
    assert.equal(findSample(samples, "onnxd_requests_total"), 5);
    assert.equal(findSample(samples, "onnxd_request_duration_seconds_count"), 5);
    assert.equal(findSample(samples, "onnxd_request_duration_seconds_sum"), 0.01);
    assert.equal(findSample(samples, "nv_inference_request_success"), 5);
    assert.equal(findSample(samples, "onnxd_version_state", { state: "AVAILABLE" }), 1);
    assert.equal(findSample(samples, "onnxd_resident_memory_bytes", { process: "serving process 1" }), 2);
    assert.equal(findSample(samples, "onnxd_connections"), 3);
    assert.equal(whole.inferenceStatistics.read("m", 1n)!.success.count, 5);
  });
});
