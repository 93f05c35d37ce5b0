// Every metric of the server in one place: the list, and what moves each. Three vocabularies side by side on one page:
// ours (onnxd_…, seconds), TensorFlow Serving's (:tensorflow:serving:…, microseconds, its labels, its bucket limits and
// its choice of calls) and Triton's (nv_inference_…), so that a dashboard made for any of them reads on.
import { type Clock, systemClock } from "../clock.js";
import { Code, codeName } from "../status.js";
import type { CallRecord } from "./call-record.js";
import type { EventLoopLag } from "./event-loop-lag.js";
import { InferenceStatistics } from "./inference-statistics.js";
import {
  type Cell,
  CounterFamily,
  type Distribution,
  formatSixDigits,
  GaugeFamily,
  HistogramFamily,
  ReadFamily,
  type SeriesSnapshot,
} from "./metric-family.js";
import { type MetricsSnapshot, type ProcessFigures, perProcess, residentMemoryName } from "./metrics-snapshot.js";
import { tritonFamilies } from "./triton-metrics.js";

/** A session's load at this moment. */
export interface SessionLoad {
  readonly model: string;
  readonly version: bigint;
  readonly queued: number;
  readonly running: number;
  /** How many could run at once. */
  readonly sessions: number;
  /** What the weights take, over those sessions. */
  readonly memoryBytes: number;
}

export interface MetricsOptions {
  /** Labels of onnxd_build_info: version, node, onnxruntime … */
  readonly build: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Where several processes that are one server are asked for. Default: this process is all there is. */
  readonly processes?: () => Iterable<ProcessFigures>;
}

/** Model names from requests that name no model of ours, at most: clients must not fill the page. */
const unknownModelLimit = 100;
/** Versions of a model that have ended and keep their series. */
const endedVersionLimit = 16;

/** From 50 µs to 50 s, three to a decade. */
const secondLimits = [-5, -4, -3, -2, -1, 0, 1].flatMap((power) =>
  (power === -5 ? [5] : [1, 2, 5]).map((digit) => Number(`${digit}e${power}`)),
);
const batchLimits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/** 10 µs times powers of 1.8. */
const tensorflowLimits = geometric(10, 1.8, 33);

const trainingStates = ["PENDING", "RUNNING", "EVALUATING", "PUBLISHING", "SUCCEEDED", "FAILED", "CANCELLED"];
const versionStates = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"];

export class Metrics {
  /** What Triton's statistics report, of every inference that observeCall was told of. */
  readonly inferenceStatistics = new InferenceStatistics();
  readonly #clock: Clock;
  readonly #requests = new CounterFamily({
    name: "onnxd_requests_total",
    help: "Calls answered, by gRPC status code.",
    labels: ["model", "version", "api", "door", "code"],
  });
  readonly #requestSeconds = seconds("onnxd_request_duration_seconds", "From a call's arrival to its answer.", [
    "model",
    "version",
    "api",
    "door",
  ]);
  readonly #queueSeconds = seconds("onnxd_queue_duration_seconds", "From the call of a run to its start.", [
    "model",
    "version",
    "api",
  ]);
  readonly #computeSeconds = seconds("onnxd_compute_duration_seconds", "The run of the model that answered a call.", [
    "model",
    "version",
    "api",
  ]);
  readonly #batchRows = new HistogramFamily({
    name: "onnxd_batch_rows",
    help: "Rows in the batch that a call ran in; one observation a call.",
    labels: ["model", "version"],
    limits: batchLimits,
    inclusive: true,
  });
  readonly #cancelledBeforeRun = new CounterFamily({
    name: "onnxd_cancelled_before_run_total",
    help: "Calls that were cancelled or ran out of time while they waited for a session.",
    labels: ["model"],
  });
  readonly #workerRestarts = new CounterFamily({
    name: "onnxd_worker_restarts_total",
    help: "Worker threads or processes that died and were replaced.",
    labels: ["model"],
  });
  readonly #versionState = new GaugeFamily({
    name: "onnxd_version_state",
    help: "1 for the state a version is in, 0 for the others.",
    labels: ["model", "version", "state"],
  });
  readonly #loadSeconds = new GaugeFamily({
    name: "onnxd_load_seconds",
    help: "How long the version took from the start of loading to AVAILABLE, retries and warm-up included.",
    labels: ["model", "version"],
  });
  readonly #loads = new CounterFamily({
    name: "onnxd_loads_total",
    help: "Versions loaded, by the outcome's gRPC status code.",
    labels: ["model", "code"],
  });
  readonly #tritonLoadSeconds = new GaugeFamily({
    name: "nv_model_load_duration_secs",
    help: "onnxd_load_seconds under Triton's name.",
    labels: ["model", "version"],
  });
  readonly #buildInfo: GaugeFamily;

  readonly #tensorflowRequestCount = new CounterFamily({
    name: ":tensorflow:serving:request_count",
    labels: ["model_name", "status"],
  });
  readonly #tensorflowRequestLatency = micros(":tensorflow:serving:request_latency", [
    "model_name",
    "API",
    "entrypoint",
  ]);
  readonly #tensorflowRuntimeLatency = micros(":tensorflow:serving:runtime_latency", ["model_name", "API", "runtime"]);
  readonly #exampleCounts = new HistogramFamily({
    name: ":tensorflow:serving:request_example_counts",
    labels: ["model"],
    limits: geometric(1, 2, 15),
    inclusive: false,
  });
  readonly #exampleCountTotal = new CounterFamily({
    name: ":tensorflow:serving:request_example_count_total",
    labels: ["model"],
  });
  readonly #mlmdMap = new GaugeFamily({ name: ":tensorflow:serving:mlmd_map", labels: ["model_name", "version"] });
  readonly #batchQueuingLatency = new HistogramFamily({
    name: ":tensorflow:serving:batching_session:queuing_latency",
    labels: ["thread_pool_name"],
    limits: geometric(100, 1.2, 52),
    inclusive: false,
    formatLimit: formatSixDigits,
  });
  readonly #batchRuns = new CounterFamily({ name: ":tensorflow:serving:batching_session:wrapped_run_count" });
  readonly #batchPadding = batchSizes(":tensorflow:serving:batching_session:padding_size", ["execution_batch_size"]);
  readonly #batchInputSize = batchSizes(":tensorflow:serving:batching_session:input_batch_size");
  readonly #batchProcessedSize = batchSizes(":tensorflow:serving:batching_session:processed_batch_size");
  readonly #tensorflowLoadAttempts = new CounterFamily({
    name: ":tensorflow:cc:saved_model:load_attempt_count",
    labels: ["model_path", "status"],
  });
  readonly #tensorflowLoadLatency = new CounterFamily({
    name: ":tensorflow:cc:saved_model:load_latency",
    labels: ["model_path"],
  });

  readonly #tensorflowWarmupLatency = micros(":tensorflow:serving:model_warmup_latency", ["model_path", "status"]);
  readonly #tensorflowWarmupRecords = new CounterFamily({
    name: ":tensorflow:serving:model_warmup_records_read",
    labels: ["model_path", "status"],
  });
  readonly #tensorflowRequestLogCount = new CounterFamily({
    name: ":tensorflow:serving:request_log_count",
    labels: ["model_name", "status_code"],
  });

  readonly #sessionLoads: (() => Iterable<SessionLoad>)[] = [];
  #readTrainingJobs: (() => ReadonlyMap<string, number>) | undefined;
  #readDroppedLines: (() => number) | undefined;
  #readEventLoopLag: (() => EventLoopLag) | undefined;

  /** In the order of the page. */
  readonly #families;

  /** Versions by model name, as setVersionState has named them. */
  readonly #known = new Map<string, Set<string>>();
  readonly #unknownModels = new Set<string>();
  readonly #ended = new Map<string, string[]>();
  /** By api, model and version: maps in maps cost a tenth of joining the three to one key. */
  readonly #calls: Record<CallRecord["door"], Map<string, Map<string, Map<bigint | undefined, CallSeries>>>> = {
    grpc: new Map(),
    rest: new Map(),
  };

  /** The last call that came to a version of ours. */
  #latest: { readonly record: CallRecord; readonly series: CallSeries } | undefined;

  constructor({ build, clock = systemClock, processes }: MetricsOptions) {
    this.#clock = clock;
    this.#buildInfo = new GaugeFamily({
      name: "onnxd_build_info",
      help: "Always 1; the labels say what runs.",
      labels: Object.keys(build),
    });
    this.#buildInfo.with(...Object.values(build)).value = 1;
    this.#families = [
      this.#buildInfo,
      this.#requests,
      this.#requestSeconds,
      this.#queueSeconds,
      this.#computeSeconds,
      this.#batchRows,
      this.#cancelledBeforeRun,
      this.#versionState,
      this.#loadSeconds,
      this.#loads,
      this.#workerRestarts,
      ...this.#readFamilies(processes),
      this.#tensorflowRequestCount,
      this.#tensorflowRequestLatency,
      this.#tensorflowRuntimeLatency,
      this.#exampleCounts,
      this.#exampleCountTotal,
      this.#mlmdMap,
      this.#batchQueuingLatency,
      this.#batchRuns,
      this.#batchPadding,
      this.#batchInputSize,
      this.#batchProcessedSize,
      this.#tensorflowLoadAttempts,
      this.#tensorflowLoadLatency,
      this.#tensorflowWarmupLatency,
      this.#tensorflowWarmupRecords,
      this.#tensorflowRequestLogCount,
      this.#tritonLoadSeconds,
      ...tritonFamilies(this.inferenceStatistics, () => this.#sessionLoads.flatMap((read) => [...read()])),
    ];
  }

  /** The page of all metrics in Prometheus' text format. */
  text(): string {
    const page: string[] = [];
    for (const family of this.#families) family.print(page);
    return page.join("");
  }

  /** @param withLag whether the event loop's lag counts as read */
  snapshot(withLag: boolean): MetricsSnapshot {
    const counted = new Map<string, SeriesSnapshot>();
    const gauges = new Map<string, SeriesSnapshot>();
    for (const family of this.#families) {
      if (family instanceof ReadFamily) continue;
      (family instanceof GaugeFamily ? gauges : counted).set(family.name, family.snapshot());
    }
    return {
      counted,
      gauges,
      statistics: [...this.inferenceStatistics],
      sessionLoads: this.#sessionLoads.flatMap((read) => [...read()]),
      droppedLines: this.#readDroppedLines?.() ?? 0,
      eventLoopLag: withLag ? this.#readEventLoopLag?.() : undefined,
      residentBytes: process.memoryUsage.rss(),
    };
  }

  /** Adds what another process has counted; what is only so at a moment stays with whoever reads it. */
  absorb({ counted, statistics }: Pick<MetricsSnapshot, "counted" | "statistics">): void {
    for (const family of this.#families) {
      if (!(family instanceof ReadFamily)) family.absorb(counted.get(family.name) ?? []);
    }
    this.inferenceStatistics.absorb(statistics);
  }

  /** Sets the gauges as the process in charge has them. */
  takeGauges({ gauges }: Pick<MetricsSnapshot, "gauges">): void {
    for (const family of this.#families) {
      if (family instanceof GaugeFamily) family.absorb(gauges.get(family.name) ?? []);
    }
  }

  /**
   * What a counter has come to, over all its labels.
   * @param internalName as TensorFlow names it inside: "/tensorflow/serving/request_count"
   * @returns 0 for a name that no counter of this page has
   */
  readCounter(internalName: string): number {
    const name = internalName.replace(/[^A-Za-z0-9_]/g, ":");
    const family = this.#families.find((each) => each.name === name);
    return family instanceof CounterFamily ? family.total() : 0;
  }

  /** Once for each call, when it has been answered. */
  observeCall(record: CallRecord, code: Code, durationMs: number): void {
    const series = this.#callSeries(record);
    series.requests(code).value += 1;
    series.requestSeconds.observe(durationMs / 1000);
    if (record.queueMs !== undefined) series.queueSeconds().observe(record.queueMs / 1000);
    if (record.computeMs !== undefined) series.computeSeconds().observe(record.computeMs / 1000);
    if (record.batchSize !== undefined && record.batchSize > 0) series.batchRows().observe(record.batchSize);
    if (series.inferences && record.api !== undefined) {
      this.inferenceStatistics.observe(record, record.version!, code, durationMs, this.#clock.wallTime());
    }
    if (record.method === multiInference && code === Code.OK) this.#countExamples(record);
    if (!isCountedByTensorflow(record)) return;
    series.tensorflowRequestCount(code).value += 1;
    if (code !== Code.OK) return;
    series.tensorflowRequestLatency().observe(durationMs * 1000);
    if (record.computeMs !== undefined) series.tensorflowRuntimeLatency().observe(record.computeMs * 1000);
  }

  #countExamples({ model = "", rows = 0 }: CallRecord): void {
    this.#exampleCounts.with(model).observe(rows);
    this.#exampleCountTotal.with(model).value += rows;
  }

  /** After each batch that enable_batching formed; `sizes` are the rows of its calls, `processed` has the padding too. */
  observeBatch(batch: {
    readonly queuedMs: readonly number[];
    readonly sizes: readonly number[];
    readonly inputs: number;
    readonly processed: number;
  }): void {
    const { queuedMs, sizes, inputs, processed } = batch;
    let rows = 0;
    for (const size of sizes) {
      rows += size;
      for (let input = 0; input < inputs; input++) this.#batchInputSize.with().observe(size);
    }
    for (const waitedMs of queuedMs) this.#batchQueuingLatency.with("").observe(waitedMs * 1000);
    this.#batchPadding.with(String(processed)).observe(processed - rows);
    this.#batchProcessedSize.with().observe(processed);
    this.#batchRuns.with().value += 1;
  }

  countCancelledBeforeRun(model: string): void {
    this.#cancelledBeforeRun.with(this.#modelLabel(model)).value += 1;
  }

  countWorkerRestart(model: string): void {
    this.#workerRestarts.with(model).value += 1;
  }

  /** After each change of a version's state, with the state as GetModelStatus prints it. */
  setVersionState(model: string, version: bigint, state: string): void {
    const label = version.toString();
    entry(this.#known, model, () => new Set<string>()).add(label);
    for (const name of versionStates) this.#versionState.with(model, label, name).value = name === state ? 1 : 0;
    this.#forgetOldVersions(model, label, state);
  }

  /** For a version with an assets.extra/mlmd_uuid. The value is a text in TensorFlow Serving, which its page cannot print. */
  setMlmd(model: string, version: bigint): void {
    this.#mlmdMap.with(model, version.toString()).value = 0;
  }

  /** After each attempt to load a version. */
  observeLoad(load: { model: string; version: bigint; path: string; code: Code; seconds: number }): void {
    const { model, version, path, code, seconds } = load;
    this.#loads.with(model, codeName(code)).value += 1;
    this.#tensorflowLoadAttempts.with(path, code === Code.OK ? "success" : "fail").value += 1;
    if (code !== Code.OK) return;
    this.#loadSeconds.with(model, version.toString()).value = seconds;
    this.#tritonLoadSeconds.with(model, version.toString()).value = seconds;
    this.#tensorflowLoadLatency.with(path).value += Math.round(seconds * 1e6);
  }

  /** After each warm-up file that was read, to its end or not. */
  observeWarmup(warmup: { path: string; records: number; durationMs: number; code: Code }): void {
    const labels = [warmup.path, codeName(warmup.code)] as const;
    this.#tensorflowWarmupLatency.with(...labels).observe(warmup.durationMs * 1000);
    this.#tensorflowWarmupRecords.with(...labels).value += warmup.records;
  }

  /** For every call that was to be logged: OK when it is on disk, the reason otherwise. */
  countLoggedRequest(model: string, code: Code): void {
    this.#tensorflowRequestLogCount.with(model, codeName(code)).value += 1;
  }

  /** Where queue depths and busy sessions are asked for when the page is read. */
  readSessionLoads(read: () => Iterable<SessionLoad>): void {
    this.#sessionLoads.push(read);
  }

  /** @param read how many training jobs are in each state; states without any may be missing */
  readTrainingJobs(read: () => ReadonlyMap<string, number>): void {
    this.#readTrainingJobs = read;
  }

  readDroppedLines(read: () => number): void {
    this.#readDroppedLines = read;
  }

  readEventLoopLag(read: () => EventLoopLag): void {
    this.#readEventLoopLag = read;
  }

  #readFamilies(processes: MetricsOptions["processes"]): ReadFamily[] {
    const perSession = (name: string, help: string, value: (load: SessionLoad) => number) =>
      new ReadFamily("gauge", { name, help, labels: ["model", "version"] }, () =>
        this.#sessionLoads.flatMap((read) =>
          Array.from(read(), (load) => [[load.model, load.version.toString()], value(load)] as const),
        ),
      );
    return [
      perSession("onnxd_queue_depth", "Calls that wait for a session.", (load) => load.queued),
      perSession("onnxd_sessions_busy", "Sessions that run at this moment.", (load) => load.running),
      perSession("onnxd_sessions", "Sessions that could run at once.", (load) => load.sessions),
      perSession(
        "onnxd_model_memory_bytes",
        "What the weights take in memory, once a session.",
        (load) => load.memoryBytes,
      ),
      new ReadFamily(
        "gauge",
        {
          name: "onnxd_event_loop_lag_seconds",
          help: "How late a timer of the serving thread, due every 100 ms, came since this page was last read.",
          labels: ["quantile"],
        },
        () => {
          const lag = this.#readEventLoopLag?.();
          if (lag === undefined) return [];
          return [
            [["0.5"], lag.p50Ms / 1000],
            [["0.99"], lag.p99Ms / 1000],
            [["1"], lag.maxMs / 1000],
          ];
        },
      ),
      ...(processes === undefined
        ? [
            new ReadFamily("gauge", { name: residentMemoryName, help: "Resident memory of the process." }, () => [
              [[], process.memoryUsage.rss()],
            ]),
          ]
        : perProcess(processes)),
      new ReadFamily(
        "counter",
        {
          name: "onnxd_log_lines_dropped_total",
          help: "Log lines left out because their reader was slow or their disk full.",
        },
        () => (this.#readDroppedLines === undefined ? [] : [[[], this.#readDroppedLines()]]),
      ),
      new ReadFamily(
        "gauge",
        { name: "onnxd_training_jobs", help: "Training jobs that this server remembers, by state.", labels: ["state"] },
        () => {
          const counts = this.#readTrainingJobs?.();
          return counts === undefined ? [] : trainingStates.map((state) => [[state], counts.get(state) ?? 0]);
        },
      ),
    ];
  }

  /** Mostly it is the version that has answered the call before. */
  #callSeries(record: CallRecord): CallSeries {
    const latest = this.#latest;
    if (latest !== undefined && isAlike(record, latest.record)) return latest.series;
    const series = this.#findCallSeries(record);
    if (series.inferences) this.#latest = { record, series };
    return series;
  }

  #findCallSeries({ door, api = "", model = "", version }: CallRecord): CallSeries {
    const known = this.#calls[door].get(api)?.get(model)?.get(version);
    if (known !== undefined) return known;
    const modelLabel = this.#modelLabel(model);
    // The version is a label only where it was found: a request may name any number.
    const labelled = version !== undefined && this.#known.get(model)?.has(version.toString()) ? version : undefined;
    const byModel = entry(this.#calls[door], api, () => new Map<string, Map<bigint | undefined, CallSeries>>());
    const byVersion = entry(byModel, modelLabel, () => new Map<bigint | undefined, CallSeries>());
    return entry(byVersion, labelled, () =>
      this.#makeCallSeries(door, api, modelLabel, labelled === undefined ? "" : labelled.toString()),
    );
  }

  #makeCallSeries(door: "grpc" | "rest", api: string, model: string, version: string): CallSeries {
    return {
      inferences: version !== "",
      requests: perCode((code) => this.#requests.with(model, version, api, door, code)),
      requestSeconds: this.#requestSeconds.with(model, version, api, door),
      queueSeconds: once(() => this.#queueSeconds.with(model, version, api)),
      computeSeconds: once(() => this.#computeSeconds.with(model, version, api)),
      batchRows: once(() => this.#batchRows.with(model, version)),
      tensorflowRequestCount: perCode((code) => this.#tensorflowRequestCount.with(model, code)),
      // TensorFlow Serving labels a REST call with the verb of its URL, "" for a GET.
      tensorflowRequestLatency: once(() =>
        this.#tensorflowRequestLatency.with(model, door === "rest" ? api.toLowerCase() : api, door.toUpperCase()),
      ),
      tensorflowRuntimeLatency: once(() => this.#tensorflowRuntimeLatency.with(model, api, "TF1")),
    };
  }

  #modelLabel(model: string): string {
    if (this.#known.has(model) || this.#unknownModels.has(model)) return model;
    if (this.#unknownModels.size >= unknownModelLimit) return "";
    this.#unknownModels.add(model);
    return model;
  }

  /** A server that publishes version after version must not grow a page without end. */
  #forgetOldVersions(model: string, version: string, state: string): void {
    const ended = (this.#ended.get(model) ?? []).filter((other) => other !== version);
    if (state === "END") ended.push(version);
    this.#ended.set(model, ended);
    if (ended.length <= endedVersionLimit) return;
    const oldest = ended.shift()!;
    this.#known.get(model)?.delete(oldest);
    for (const family of this.#families) family.forget({ model, version: oldest });
    this.#mlmdMap.forget({ model_name: model, version: oldest });
    this.inferenceStatistics.forget(model, BigInt(oldest));
    this.#latest = undefined;
    for (const door of Object.values(this.#calls)) {
      for (const byModel of door.values()) byModel.get(model)?.delete(BigInt(oldest));
    }
  }
}

/** Where one kind of call is counted. */
interface CallSeries {
  /** The calls came to a version of ours, and count in its statistics. */
  readonly inferences: boolean;
  readonly requests: (code: Code) => Cell;
  readonly requestSeconds: Distribution;
  readonly queueSeconds: () => Distribution;
  readonly computeSeconds: () => Distribution;
  readonly batchRows: () => Distribution;
  readonly tensorflowRequestCount: (code: Code) => Cell;
  readonly tensorflowRequestLatency: () => Distribution;
  readonly tensorflowRuntimeLatency: () => Distribution;
}

/** Whether two calls count in the same series. */
function isAlike(a: CallRecord, b: CallRecord): boolean {
  return a.version === b.version && a.model === b.model && a.api === b.api && a.door === b.door;
}

const multiInference = "/tensorflow.serving.PredictionService/MultiInference";
const tensorflowMethods = new Set(
  ["Predict", "Classify", "Regress"].map((name) => `/tensorflow.serving.PredictionService/${name}`),
);

/** Of gRPC the three calls of PredictionService that run one model; of REST everything under /v1/. */
function isCountedByTensorflow({ door, method }: CallRecord): boolean {
  return door === "rest" ? /^\S+ \/v1\//i.test(method) : tensorflowMethods.has(method);
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function seconds(name: string, help: string, labels: readonly string[]): HistogramFamily {
  return new HistogramFamily({ name, help, labels, limits: secondLimits, inclusive: true });
}

/** Powers multiplied up one by one, as TensorFlow does. */
function geometric(first: number, factor: number, count: number): readonly number[] {
  const limits: number[] = [];
  for (let limit = first; limits.length < count; limit *= factor) limits.push(limit);
  return limits;
}

function batchSizes(name: string, labels: readonly string[] = []): HistogramFamily {
  return new HistogramFamily({ name, labels, limits: geometric(1, 2, 14), inclusive: false });
}

function micros(name: string, labels: readonly string[]): HistogramFamily {
  return new HistogramFamily({
    name,
    labels,
    limits: tensorflowLimits,
    inclusive: false,
    formatLimit: formatSixDigits,
  });
}

/** Series appear on the page when they are first used, so they are made then. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

function perCode(make: (name: string) => Cell): (code: Code) => Cell {
  const cells: (Cell | undefined)[] = [];
  return (code) => (cells[code] ??= make(codeName(code)));
}
