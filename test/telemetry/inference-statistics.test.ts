import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code } from "../../src/status.js";
import { type CallRecord, InferenceStatistics, Metrics } from "../../src/telemetry/index.js";
import { FakeClock } from "../support/fake-clock.js";

const record = (more: Partial<CallRecord> = {}): CallRecord => ({
  requestId: "1",
  door: "grpc",
  method: "/inference.GRPCInferenceService/ModelInfer",
  peer: "127.0.0.1:1",
  api: "ModelInfer",
  model: "m",
  version: 1n,
  ...more,
});

describe("inference statistics", () => {
  it("count requests, rows and runs; calls that shared a run share its one", () => {
    const statistics = new InferenceStatistics();
    for (const rows of [1, 2, 3]) {
      statistics.observe(record({ rows, batchSize: 6, queueMs: 1, computeMs: 12 }), 1n, Code.OK, 20, 1000);
    }
    statistics.observe(record({ rows: 4, batchSize: 4, queueMs: 2, computeMs: 8 }), 1n, Code.OK, 11, 2000);
    const read = statistics.read("m", 1n)!;
    assert.equal(read.success.count, 4);
    assert.equal(read.rows, 10);
    assert.equal(Math.round(read.runs), 2);
    assert.equal(read.lastInferenceMs, 2000);
    assert.deepEqual(read.success, { count: 4, ms: 71 });
    assert.deepEqual(read.queue, { count: 4, ms: 5 });
    assert.deepEqual(read.computeInfer, { count: 4, ms: 44 });
    const batches = [...read.batches].map(([size, { runs, inferMs }]) => [size, Math.round(runs), Math.round(inferMs)]);
    assert.deepEqual(batches, [
      [6, 1, 12],
      [4, 1, 8],
    ]);
  });

  it("take a call without a batch for a row and a run of its own", () => {
    const statistics = new InferenceStatistics();
    statistics.observe(record({ batchSize: 0 }), 1n, Code.OK, 1, 1);
    const { rows, runs, batches } = statistics.read("m", 1n)!;
    assert.deepEqual([rows, runs, [...batches.keys()]], [1, 1, [1]]);
  });

  it("count failures by Triton's reasons, apart from what was answered", () => {
    const statistics = new InferenceStatistics();
    const codes = [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.INTERNAL];
    for (const code of [...codes, Code.INVALID_ARGUMENT]) statistics.observe(record(), 1n, code, 2, 1);
    const { success, fail, failures, lastInferenceMs, runs } = statistics.read("m", 1n)!;
    assert.deepEqual(failures, { REJECTED: 2, CANCELED: 2, BACKEND: 1, OTHER: 1 });
    assert.deepEqual([success.count, fail.count, fail.ms, lastInferenceMs, runs], [0, 6, 12, 0, 0]);
  });

  it("keep a limited number of batch sizes apart, whatever sizes clients send", () => {
    const statistics = new InferenceStatistics();
    for (let rows = 1; rows <= 5000; rows++) statistics.observe(record({ rows }), 1n, Code.OK, 1, 1);
    const { batches, success } = statistics.read("m", 1n)!;
    assert.equal(batches.size, 1024);
    assert.equal(success.count, 5000);
  });
});

describe("Triton's metrics", () => {
  const value = (text: string, series: string) => {
    const line = text.split("\n").find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };

  it("are moved by every inference of a version that is known, over any door, and by nothing else", () => {
    const metrics = new Metrics({ build: {}, clock: new FakeClock() });
    metrics.setVersionState("m", 1n, "AVAILABLE");
    const figures = { rows: 2, batchSize: 4, queueMs: 1, computeMs: 4, inputMs: 0.5, outputMs: 0.25 };
    metrics.observeCall(record(figures), Code.OK, 6);
    metrics.observeCall(record({ ...figures, door: "rest", api: "Predict" }), Code.OK, 6);
    metrics.observeCall(record(), Code.RESOURCE_EXHAUSTED, 1);
    metrics.observeCall(record({ model: "unknown" }), Code.NOT_FOUND, 1);
    const { api: _, ...status } = record();
    metrics.observeCall(status, Code.OK, 1);
    const text = metrics.text();
    const labels = '{model="m",version="1"}';
    assert.equal(value(text, `nv_inference_request_success${labels}`), 2);
    assert.equal(value(text, `nv_inference_count${labels}`), 4);
    assert.equal(value(text, `nv_inference_exec_count${labels}`), 1);
    assert.equal(value(text, `nv_inference_request_duration_us${labels}`), 13_000);
    assert.equal(value(text, `nv_inference_queue_duration_us${labels}`), 2000);
    assert.equal(value(text, `nv_inference_compute_input_duration_us${labels}`), 1000);
    assert.equal(value(text, `nv_inference_compute_infer_duration_us${labels}`), 8000);
    assert.equal(value(text, `nv_inference_compute_output_duration_us${labels}`), 500);
    assert.equal(value(text, 'nv_inference_request_failure{model="m",version="1",reason="REJECTED"}'), 1);
    assert.equal(value(text, 'nv_inference_request_failure{model="m",version="1",reason="OTHER"}'), 0);
    assert.doesNotMatch(text, /nv_[^\n]*unknown/);
    assert.equal(metrics.inferenceStatistics.read("m", 1n)!.lastInferenceMs, 1_700_000_001_000);
  });

  it("show what waits, and how long versions took to load", () => {
    const metrics = new Metrics({ build: {} });
    metrics.setVersionState("m", 1n, "AVAILABLE");
    metrics.readSessionLoads(() => [{ model: "m", version: 1n, queued: 7, running: 1, sessions: 1, memoryBytes: 9 }]);
    metrics.observeLoad({ model: "m", version: 1n, path: "/m/1", code: Code.OK, seconds: 0.5 });
    assert.equal(value(metrics.text(), 'nv_inference_pending_request_count{model="m",version="1"}'), 7);
    assert.equal(value(metrics.text(), 'nv_model_load_duration_secs{model="m",version="1"}'), 0.5);
  });
});
