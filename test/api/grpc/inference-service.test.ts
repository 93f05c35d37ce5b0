import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Metadata } from "@grpc/grpc-js";
import { RunError } from "../../../src/runtime/index.js";
import { Code, codeName, internal, resourceExhausted } from "../../../src/status.js";
import type { Tensor } from "../../../src/tensor/index.js";
import {
  GRPCInferenceServiceClient,
  LogSettingsRequest,
  type ModelInferRequest,
  RepositoryModelLoadRequest,
  TraceSettingRequest,
} from "../../gen/inference/grpc_service.js";
import { signatureOf } from "../../support/fake-repository.js";
import { callUnary, failureOf } from "../../support/grpc-services.js";
import {
  boolParam,
  type InputGiven,
  inferRequest,
  int64Param,
  parameters,
  rawFloats,
  stringParam,
} from "../../support/infer-requests.js";
import {
  addHalfPlusTwo,
  type InferenceServicesOptions,
  startInferenceServices,
} from "../../support/inference-services.js";

async function started(options: InferenceServicesOptions = {}) {
  const inference = await startInferenceServices(options);
  const { services } = inference;
  addHalfPlusTwo(services, "m", 1n);
  addHalfPlusTwo(services, "m", 2n);
  const client = services.client(GRPCInferenceServiceClient);
  const infer = (request: ModelInferRequest) => callUnary(client, client.modelInfer, request);
  return {
    ...inference,
    client,
    infer,
    async refusal(request: ModelInferRequest) {
      const { code, details } = await failureOf(infer(request));
      assert.equal(services.repository.openHandles, 0);
      return `${codeName(code as Code)}: ${details}`;
    },
    [Symbol.asyncDispose]: () => services[Symbol.asyncDispose](),
  };
}

const x = (...values: number[]): InputGiven => ({ shape: [values.length], raw: rawFloats(...values) });
const pairs = (...values: number[]): InputGiven => ({ shape: [values.length / 2, 2], raw: rawFloats(...values) });

function floatsOf(bytes: Uint8Array | undefined): number[] {
  return [...new Float32Array(Uint8Array.from(bytes!).buffer)];
}

describe("ModelInfer", () => {
  it("answers with all outputs, the version that answered and the id, and gives the handle back", async () => {
    await using inference = await started();
    const response = await inference.infer(inferRequest([x(1, 2, 5)], { id: "seven" }));
    assert.deepEqual(
      response.outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
      [
        { name: "y", datatype: "FP32", shape: [3n] },
        { name: "z", datatype: "FP32", shape: [3n] },
      ],
    );
    assert.deepEqual(response.rawOutputContents.map(floatsOf), [
      [2.5, 3, 4.5],
      [-1, -2, -5],
    ]);
    assert.equal(response.modelName, "m");
    assert.equal(response.modelVersion, "2");
    assert.equal(response.id, "seven");
    assert.equal(inference.services.repository.openHandles, 0);
    assert.equal((await inference.infer(inferRequest([x(1)], { modelVersion: "1" }))).modelVersion, "1");
  });

  it("tells the record what the access line, the metrics and the statistics need", async () => {
    await using inference = await started();
    await inference.infer(inferRequest([x(1, 2, 3)]));
    const { record, code } = inference.services.ended[0]!;
    assert.equal(code, Code.OK);
    const { api, model, version, signature, queueMs, computeMs, batchSize, rows } = record;
    assert.deepEqual(
      { api, model, version, signature, queueMs, computeMs, batchSize, rows },
      {
        api: "ModelInfer",
        model: "m",
        version: 2n,
        signature: "serving_default",
        queueMs: 1.5,
        computeMs: 2.5,
        batchSize: 4,
        rows: 3,
      },
    );
    assert.ok(record.inputMs! >= 0 && record.outputMs! >= 0);
  });

  it("gives the outputs asked for, in the order asked for, each once", async () => {
    await using inference = await started();
    const response = await inference.infer(inferRequest([x(1)], { outputs: { z: {}, y: {} } }));
    assert.deepEqual(
      response.outputs.map(({ name }) => name),
      ["z", "y"],
    );
    assert.deepEqual(response.rawOutputContents.map(floatsOf), [[-1], [2.5]]);
  });

  it("answers typed contents with typed contents and raw with raw, unless told otherwise", async () => {
    await using inference = await started();
    const typed = { shape: [1], contents: { fp32Contents: [1] } };
    const form = async (input: InputGiven, onnxdRawOutput?: boolean) => {
      const given = onnxdRawOutput === undefined ? {} : { onnxd_raw_output: boolParam(onnxdRawOutput) };
      const response = await inference.infer(inferRequest([input], { parameters: given, outputs: { y: {} } }));
      const raw = response.rawOutputContents.map(floatsOf);
      const contents = response.outputs.flatMap((output) => (output.contents ? [output.contents.fp32Contents] : []));
      return { raw, contents };
    };
    const asRaw = { raw: [[2.5]], contents: [] };
    const asTyped = { raw: [], contents: [[2.5]] };
    assert.deepEqual(await form(x(1)), asRaw);
    assert.deepEqual(await form(typed), asTyped);
    assert.deepEqual(await form(typed, true), asRaw);
    assert.deepEqual(await form(x(1), false), asTyped);
    await using triton = await started({ alwaysRaw: true });
    const response = await triton.infer(inferRequest([typed]));
    assert.equal(response.rawOutputContents.length, 2);
  });

  it("classifies outputs that ask for it", async () => {
    await using inference = await started();
    addHalfPlusTwo(inference.services, "pairs", 1n, [2]);
    const response = await inference.infer(
      inferRequest([pairs(1, 2, 4, 3)], {
        modelName: "pairs",
        outputs: { y: { classification: int64Param(1n) }, z: {} },
      }),
    );
    assert.equal(response.outputs[0]!.datatype, "BYTES");
    assert.deepEqual(response.outputs[0]!.shape, [2n, 1n]);
    const classes = Buffer.from(response.rawOutputContents[0]!).toString("latin1");
    assert.match(classes, /3\.000000:1.*4\.000000:0:only$/s);
    assert.deepEqual(floatsOf(response.rawOutputContents[1]), [-1, -2, -4, -3]);
    const whole = await inference.infer(
      inferRequest([x(1, 2)], { outputs: { y: { classification: int64Param(1n) } } }),
    );
    assert.deepEqual(whole.outputs[0]!.shape, [1n]);
  });

  it("refuses in Triton's words and codes", async () => {
    await using inference = await started();
    addHalfPlusTwo(inference.services, "pairs", 1n, [2]);
    const { services } = inference;
    services.repository.setState("m", 1n, "LOADING");
    const two = signatureOf({ a: ["float32", [2]], b: ["int64", [1]] }, { y: ["float32", [2]] });
    services.repository.add("two", 1n, [two], () => new Map());
    services.repository.add("gone", 1n, [two], () => new Map());
    services.repository.setState("gone", 1n, "END", internal("disk on fire"));
    const a = { name: "a", shape: [2], raw: rawFloats(1, 2) };
    const b = { name: "b", datatype: "INT64", shape: [1], raw: new Uint8Array(8) };
    const cases: readonly (readonly [ModelInferRequest, string])[] = [
      [inferRequest([], { modelName: "no" }), "NOT_FOUND: Request for unknown model: 'no' is not found"],
      [inferRequest([], { modelName: "" }), "NOT_FOUND: Request for unknown model: '' is not found"],
      [inferRequest([], { modelVersion: "9" }), "NOT_FOUND: Request for unknown model: 'm' version 9 is not found"],
      [
        inferRequest([], { modelName: "gone" }),
        "NOT_FOUND: Request for unknown model: 'gone' has no available versions",
      ],
      [
        inferRequest([], { modelVersion: "1" }),
        "UNAVAILABLE: Request for unknown model: 'm' version 1 is not at ready state",
      ],
      [
        inferRequest([], { modelName: "gone", modelVersion: "1" }),
        "UNAVAILABLE: Request for unknown model: 'gone' version 1 is not at ready state: disk on fire",
      ],
      [
        inferRequest([], { modelVersion: "one" }),
        "INVALID_ARGUMENT: failed to get model version from specified version string 'one' (details: not a number), version should be an integral value > 0",
      ],
      [
        inferRequest([], { modelVersion: "-1" }),
        "INVALID_ARGUMENT: invalid model version specified '-1' , version should be an integral value > 0",
      ],
      [
        inferRequest([a], { modelName: "two", id: "r1" }),
        "INVALID_ARGUMENT: [request id: r1] expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['a'], but missing required input(s) ['b']. Please provide all required input(s).",
      ],
      [
        inferRequest([a, { ...b, name: "c" }], { modelName: "two" }),
        "INVALID_ARGUMENT: unexpected inference input 'c' for model 'two'",
      ],
      [
        inferRequest([a, b], { modelName: "two", outputs: { q: {} } }),
        "INVALID_ARGUMENT: unexpected inference output 'q' for model 'two'",
      ],
      [inferRequest([x(1), x(1)]), "INVALID_ARGUMENT: input 'x' already exists in request"],
      [
        inferRequest([{ datatype: "INT32", shape: [1], raw: new Uint8Array(4) }]),
        "INVALID_ARGUMENT: [request id: <id_unknown>] inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'",
      ],
      [
        inferRequest([{ name: "a", shape: [3], raw: rawFloats(1, 2, 3) }, b], { modelName: "two" }),
        "INVALID_ARGUMENT: [request id: <id_unknown>] unexpected shape for input 'a' for model 'two'. Expected [2], got [3]. ",
      ],
      [
        inferRequest([{ shape: [1, 1], raw: rawFloats(1) }]),
        "INVALID_ARGUMENT: [request id: <id_unknown>] unexpected shape for input 'x' for model 'm'. Expected [-1], got [1,1]. ",
      ],
      [
        inferRequest([{ shape: [2, 1], raw: rawFloats(1, 2) }], { modelName: "pairs" }),
        "INVALID_ARGUMENT: [request id: <id_unknown>] unexpected shape for input 'x' for model 'pairs'. Expected [-1,2], got [2,1]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape.",
      ],
      [
        inferRequest([{ shape: [], raw: rawFloats(1) }], { modelName: "pairs" }),
        "INVALID_ARGUMENT: [request id: <id_unknown>] input 'x' has no shape but model requires batch dimension for 'pairs'",
      ],
      [
        inferRequest([{ shape: [-1], raw: rawFloats(1) }]),
        "INVALID_ARGUMENT: [request id: <id_unknown>] unexpected shape for input 'x' for model 'm'. Expected [-1], got [-1]. ",
      ],
      [
        inferRequest([{ shape: [2], raw: rawFloats(1) }]),
        "INVALID_ARGUMENT: [request id: <id_unknown>] input byte size mismatch for input 'x' for model 'm'. Expected 8, got 4",
      ],
      [
        inferRequest([{ shape: [2], contents: { fp32Contents: [1] } }]),
        "INVALID_ARGUMENT: [request id: <id_unknown>] input byte size mismatch for input 'x' for model 'm'. Expected 8, got 4",
      ],
      [
        inferRequest([{ shape: [1] }]),
        "INVALID_ARGUMENT: unable to find data for input tensor 'x' for model 'm' in request.",
      ],
      [
        inferRequest([{ shape: [1], parameters: { shared_memory_region: stringParam("r") } }]),
        "NOT_FOUND: Unable to find system shared memory region: 'r'",
      ],
      [
        inferRequest([x(1)], { outputs: { y: { shared_memory_region: stringParam("r") } } }),
        "NOT_FOUND: Unable to find system shared memory region: 'r'",
      ],
      [
        inferRequest([x(1)], { outputs: { y: { classification: int64Param(0n) } } }),
        "INVALID_ARGUMENT: invalid value for 'classification' parameter of output 'y', expected > 0 integer, got 0",
      ],
      [
        inferRequest([x(1)], { parameters: { priority: stringParam("high") } }),
        "INVALID_ARGUMENT: invalid value type for 'priority' parameter, expected an integer of 0 or more, got string high",
      ],
      [
        inferRequest([x(1)], { parameters: { sequence_start: int64Param(1n) } }),
        "INVALID_ARGUMENT: invalid value type for 'sequence_start' parameter, expected a bool, got bigint 1",
      ],
      [
        inferRequest([x(1)], { parameters: { triton_secret: int64Param(1n) } }),
        "INVALID_ARGUMENT: parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys are allowed: triton_enable_empty_final_response. Got 'triton_secret'",
      ],
    ];
    for (const [request, expected] of cases) assert.equal(await inference.refusal(request), expected);
  });

  it("accepts the protocol's parameters, and a model's own, of which an ONNX model has none", async () => {
    await using inference = await started();
    const given = {
      sequence_id: int64Param(5n),
      sequence_start: boolParam(true),
      sequence_end: boolParam(false),
      priority: { $case: "uint64Param", value: 1n } as const,
      timeout: int64Param(1000n),
      triton_enable_empty_final_response: boolParam(true),
      mine: { $case: "doubleParam", value: 0.5 } as const,
    };
    await inference.infer(inferRequest([x(1)], { parameters: given }));
  });

  it("passes on the errors of runs", async () => {
    await using inference = await started();
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    const failing = (error: Error) => () => Promise.reject(error);
    inference.services.repository.add("full", 1n, [signature], failing(resourceExhausted("queue is full")));
    inference.services.repository.add("defect", 1n, [signature], failing(new TypeError("secret")));
    const request = (modelName: string) => inferRequest([{ shape: [1], raw: rawFloats(1) }], { modelName });
    assert.equal(await inference.refusal(request("full")), "RESOURCE_EXHAUSTED: queue is full");
    // INVALID_ARGUMENT at TensorFlow Serving's doors.
    const refused = new RunError(Code.INVALID_ARGUMENT, "cannot be reshaped");
    inference.services.repository.add("refused", 1n, [signature], failing(refused));
    assert.equal(await inference.refusal(request("refused")), "INTERNAL: cannot be reshaped");
    assert.match(await inference.refusal(request("defect")), /^INTERNAL: Internal error; the server's log has it/);
  });

  it("shows the only signature when none is the default one, and refuses to choose among several", async () => {
    await using inference = await started();
    const one = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] }, "one");
    const other = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] }, "other");
    const run = (feeds: ReadonlyMap<string, Tensor>) => new Map([["y:0", feeds.get("x:0")!]]);
    inference.services.repository.add("single", 1n, [one], run);
    inference.services.repository.add("several", 1n, [one, other], run);
    const request = (modelName: string) => inferRequest([{ shape: [1], raw: rawFloats(3) }], { modelName });
    assert.deepEqual(floatsOf((await inference.infer(request("single"))).rawOutputContents[0]), [3]);
    assert.match(await inference.refusal(request("several")), /^FAILED_PRECONDITION: .*signatures one, other/);
  });
});

describe("what the server says of itself and its models", () => {
  it("is live from the start, and ready once its models have settled and until it drains", async () => {
    await using inference = await started();
    const { client, services } = inference;
    assert.equal((await callUnary(client, client.serverLive, {})).live, true);
    const ready = async () => (await callUnary(client, client.serverReady, {})).ready;
    services.repository.settle(false);
    assert.equal(await ready(), false);
    services.repository.settle(true);
    assert.equal(await ready(), true);
    services.servingSwitch.drain();
    assert.equal(await ready(), false);
    assert.equal((await callUnary(client, client.serverLive, {})).live, true);
  });

  it("tells a model's readiness, or by an error why it is not", async () => {
    await using inference = await started();
    const { client, services } = inference;
    const ready = (name: string, version = "") => callUnary(client, client.modelReady, { name, version });
    assert.equal((await ready("m")).ready, true);
    assert.equal((await ready("m", "1")).ready, true);
    services.repository.setState("m", 1n, "UNLOADING");
    assert.equal((await failureOf(ready("m", "1"))).code, Code.UNAVAILABLE);
    assert.equal((await failureOf(ready("no"))).code, Code.NOT_FOUND);
    assert.equal(services.repository.openHandles, 0);
  });

  it("names itself, its version and only the extensions that work", async () => {
    await using inference = await started();
    const { client } = inference;
    const { name, version, extensions } = await callUnary(client, client.serverMetadata, {});
    assert.equal(name, "onnxd");
    assert.equal(version, "1.2.3");
    assert.ok(extensions.includes("statistics"));
    assert.ok(!extensions.some((extension) => /shared_memory|sequence|trace|logging/.test(extension)));
  });

  it("describes models: open dimensions are -1, the ready versions are listed", async () => {
    await using inference = await started();
    const { client, services } = inference;
    const describe = (version: string) => callUnary(client, client.modelMetadata, { name: "m", version });
    const metadata = await describe("");
    assert.deepEqual(metadata.versions, ["1", "2"]);
    assert.equal(metadata.platform, "onnxruntime_onnx");
    assert.deepEqual(metadata.inputs, [{ name: "x", datatype: "FP32", shape: [-1n] }]);
    assert.deepEqual((await describe("1")).versions, ["1"]);
    const scalar = signatureOf({ s: ["string", []] }, { any: ["int64", undefined], half: ["float16", [2, "n"]] });
    services.repository.add("shapes", 1n, [scalar], () => new Map());
    const shapes = await callUnary(client, client.modelMetadata, { name: "shapes", version: "" });
    assert.deepEqual(shapes.inputs, [{ name: "s", datatype: "BYTES", shape: [] }]);
    assert.deepEqual(shapes.outputs, [
      { name: "any", datatype: "INT64", shape: [-1n] },
      { name: "half", datatype: "FP16", shape: [2n, -1n] },
    ]);
  });

  it("shows a configuration: the batch dimension apart where rows are proven independent, none elsewhere", async () => {
    await using inference = await started();
    addHalfPlusTwo(inference.services, "pairs", 1n, [2]);
    const { client, services } = inference;
    const { config } = await callUnary(client, client.modelConfig, { name: "pairs", version: "" });
    assert.equal(config?.maxBatchSize, 256);
    assert.equal(config?.schedulingChoice?.$case, "dynamicBatching");
    assert.deepEqual(config?.input[0]?.dims, [2n]);
    assert.equal(config?.input[0]?.dataType, 11);
    assert.equal(config?.instanceGroup[0]?.count, 1);
    // What is left of an input without its batch dimension must be a dimension: perf_analyzer refuses a shape without any.
    const single = (await callUnary(client, client.modelConfig, { name: "m", version: "" })).config;
    assert.deepEqual([single?.maxBatchSize, single?.input[0]?.dims], [0, [-1n]]);
    const unproven = signatureOf({ x: ["string", ["batch", 4]] }, { y: ["float32", ["batch", 2]] });
    services.repository.add("unproven", 1n, [unproven], () => new Map());
    const other = (await callUnary(client, client.modelConfig, { name: "unproven", version: "" })).config;
    assert.equal(other?.maxBatchSize, 0);
    assert.deepEqual(other?.input[0]?.dims, [-1n, 4n]);
    assert.equal(other?.input[0]?.dataType, 13);
    assert.equal((await failureOf(callUnary(client, client.modelConfig, { name: "no", version: "" }))).code, 5);
  });

  it("gives the statistics of one version, of a model's ready versions, or of all, zeros included", async () => {
    await using inference = await started();
    const { client, statistics, services } = inference;
    const record = { ...services.ended[0]?.record, model: "m", rows: 3, batchSize: 6, queueMs: 1, computeMs: 2 };
    statistics.observe(record as never, 2n, Code.OK, 5, 1_700_000_000_000);
    const read = async (name: string, version = "") =>
      (await callUnary(client, client.modelStatistics, { name, version })).modelStats;
    const [one, two] = await read("m");
    assert.deepEqual([one!.version, two!.version], ["1", "2"]);
    assert.equal(one!.inferenceCount, 0n);
    assert.deepEqual(one!.inferenceStats?.cacheHit, { count: 0n, ns: 0n });
    assert.equal(two!.inferenceCount, 3n);
    assert.equal(two!.lastInference, 1_700_000_000_000n);
    assert.deepEqual(two!.inferenceStats?.success, { count: 1n, ns: 5_000_000n });
    assert.equal((await read("m", "2")).length, 1);
    assert.equal((await read("")).length, 2);
    const { code, details } = await failureOf(read("no"));
    assert.equal(code, Code.INVALID_ARGUMENT);
    assert.equal(details, "requested model 'no' is not available");
  });

  it("answers for shared memory, tracing and logging as Triton does when they are off", async () => {
    await using inference = await started();
    const { client } = inference;
    assert.equal((await callUnary(client, client.systemSharedMemoryStatus, { name: "" })).regions.size, 0);
    assert.equal((await callUnary(client, client.cudaSharedMemoryStatus, { name: "" })).regions.size, 0);
    const region = { name: "r", key: "/r", offset: 0n, byteSize: 1n };
    for (const call of [
      () => callUnary(client, client.systemSharedMemoryRegister, region),
      () => callUnary(client, client.systemSharedMemoryUnregister, { name: "" }),
      () => callUnary(client, client.cudaSharedMemoryUnregister, { name: "" }),
    ]) {
      const { code, details } = await failureOf(call());
      assert.equal(code, Code.UNIMPLEMENTED);
      assert.match(details, /^Client shared memory is disabled\./);
    }
    const trace = (settings: Record<string, string[]>) =>
      callUnary(
        client,
        client.traceSetting,
        TraceSettingRequest.fromPartial({
          settings: new Map(Object.entries(settings).map(([key, value]) => [key, { value }])),
        }),
      );
    assert.deepEqual((await trace({})).settings.get("trace_level")?.value, ["OFF"]);
    assert.deepEqual((await trace({ trace_level: ["OFF"], trace_rate: [] })).settings.size, 6);
    assert.equal((await failureOf(trace({ trace_level: ["TIMESTAMPS"] }))).code, Code.UNAVAILABLE);
    assert.equal((await failureOf(trace({ nonsense: ["1"] }))).code, Code.INVALID_ARGUMENT);
    const log = (settings: Record<string, ReturnType<typeof boolParam> | { $case: "uint32Param"; value: number }>) =>
      callUnary(
        client,
        client.logSettings,
        LogSettingsRequest.fromPartial({
          settings: new Map(
            Object.entries(settings).map(([key, parameterChoice]) => [key, { parameterChoice }]),
          ) as never,
        }),
      );
    assert.deepEqual((await log({})).settings.get("log_info")?.parameterChoice, { $case: "boolParam", value: true });
    assert.equal((await failureOf(log({ log_info: boolParam(false) }))).code, Code.UNAVAILABLE);
    assert.equal((await failureOf(log({ log_verbose_level: boolParam(true) }))).code, Code.INVALID_ARGUMENT);
    assert.equal((await failureOf(log({ nonsense: boolParam(true) }))).code, Code.INVALID_ARGUMENT);
  });
});

describe("the repository's calls", () => {
  it("list every known version with its state, and only what is ready when asked so", async () => {
    await using inference = await started();
    const { client, services } = inference;
    services.repository.setState("m", 1n, "END", internal("disk on fire"));
    const index = async (ready: boolean, repositoryName = "") =>
      (await callUnary(client, client.repositoryIndex, { repositoryName, ready })).models;
    assert.deepEqual(await index(false), [
      { name: "m", version: "1", state: "UNAVAILABLE", reason: "disk on fire" },
      { name: "m", version: "2", state: "READY", reason: "" },
    ]);
    assert.deepEqual(await index(true), [{ name: "m", version: "2", state: "READY", reason: "" }]);
    services.repository.setState("m", 1n, "END");
    assert.equal((await index(false))[0]!.reason, "unloaded");
    assert.equal((await failureOf(index(false, "other"))).code, Code.UNIMPLEMENTED);
  });

  it("refuse to load and unload unless the server was started for it", async () => {
    await using inference = await started();
    const { client } = inference;
    const load = RepositoryModelLoadRequest.fromPartial({ modelName: "m" });
    for (const call of [
      callUnary(client, client.repositoryModelLoad, load),
      callUnary(client, client.repositoryModelUnload, load),
    ]) {
      const { code, details } = await failureOf(call);
      assert.equal(code, Code.UNAVAILABLE);
      assert.match(details, /^explicit model load \/ unload is not allowed if polling is enabled/);
    }
  });

  it("load and unload by name, Triton's way and KServe's, with the parameters that clients send", async () => {
    const calls: unknown[] = [];
    const control = {
      available: async () => ["m", "waiting"],
      load: async (name: string, config: string | undefined) => void calls.push(["load", name, config]),
      unload: async (name: string) => void calls.push(["unload", name]),
    };
    await using inference = await started({ control });
    const { client } = inference;
    const load = (request: Parameters<typeof RepositoryModelLoadRequest.fromPartial>[0]) =>
      callUnary(client, client.repositoryModelLoad, RepositoryModelLoadRequest.fromPartial(request));
    await load({ modelName: "m", parameters: parameters({ config: stringParam("{}") }) as never });
    await load({ repositoryName: "kserve" });
    await callUnary(
      client,
      client.repositoryModelUnload,
      RepositoryModelLoadRequest.fromPartial({
        modelName: "m",
        parameters: parameters({ unload_dependents: boolParam(false) }) as never,
      }),
    );
    assert.deepEqual(calls, [
      ["load", "m", "{}"],
      ["load", "kserve", undefined],
      ["unload", "m"],
    ]);
    const listed = (await callUnary(client, client.repositoryIndex, { repositoryName: "", ready: false })).models;
    assert.deepEqual(listed.at(-1), { name: "waiting", version: "", state: "", reason: "" });
    const codes = async (request: Parameters<typeof load>[0]) => (await failureOf(load(request))).code;
    assert.equal(await codes({ modelName: "../m" }), Code.INVALID_ARGUMENT);
    assert.equal(await codes({ modelName: ".." }), Code.INVALID_ARGUMENT);
    assert.equal(await codes({}), Code.INVALID_ARGUMENT);
    assert.equal(await codes({ modelName: "m", repositoryName: "r" }), Code.UNIMPLEMENTED);
    const file = parameters({ "file:1/model.onnx": stringParam("") }) as never;
    assert.equal(await codes({ modelName: "m", parameters: file }), Code.UNIMPLEMENTED);
    const other = parameters({ nonsense: stringParam("") }) as never;
    assert.equal(await codes({ modelName: "m", parameters: other }), Code.INVALID_ARGUMENT);
  });

  it("follow --management", async () => {
    const control = { available: async () => [], load: async () => {}, unload: async () => {} };
    await using inference = await started({ control, management: "off" });
    const { client } = inference;
    const load = RepositoryModelLoadRequest.fromPartial({ modelName: "m" });
    const { code, details } = await failureOf(callUnary(client, client.repositoryModelLoad, load));
    assert.equal(code, Code.PERMISSION_DENIED);
    assert.match(details, /--management=off/);
  });
});

describe("ModelStreamInfer", () => {
  const open = (client: GRPCInferenceServiceClient, metadata = new Metadata()) => {
    const stream = client.modelStreamInfer(metadata);
    const answers: { error: string; id: string; values: number[] | undefined; code: bigint | undefined }[] = [];
    stream.on("data", ({ errorMessage, inferResponse }) => {
      const choice = inferResponse?.parameters.get("onnxd_error_code")?.parameterChoice;
      const raw = inferResponse?.rawOutputContents[0];
      answers.push({
        error: errorMessage,
        id: inferResponse?.id ?? "",
        values: raw && floatsOf(raw),
        code: choice?.$case === "int64Param" ? choice.value : undefined,
      });
    });
    const ended = new Promise<{ code: number; details: string }>((resolve) => {
      stream.on("status", resolve);
      stream.on("error", () => {});
    });
    return { stream, answers, ended };
  };

  it("answers in order, an error in its place with its code, and ends when the client does", async () => {
    await using inference = await started();
    const { stream, answers, ended } = open(inference.client);
    stream.write(inferRequest([x(1)], { id: "a" }));
    stream.write(inferRequest([], { modelName: "no", id: "b" }));
    stream.write(inferRequest([x(3)], { id: "c" }));
    stream.end();
    assert.equal((await ended).code, Code.OK);
    assert.deepEqual(answers, [
      { error: "", id: "a", values: [2.5], code: undefined },
      {
        error: "Request for unknown model: 'no' is not found",
        id: "b",
        values: undefined,
        code: BigInt(Code.NOT_FOUND),
      },
      { error: "", id: "c", values: [3.5], code: undefined },
    ]);
    assert.deepEqual(
      inference.streamed.map(({ record, code }) => [record.api, record.model, record.version, code]).sort(),
      [
        ["ModelStreamInfer", "m", 2n, Code.OK],
        ["ModelStreamInfer", "m", 2n, Code.OK],
        ["ModelStreamInfer", "no", undefined, Code.NOT_FOUND],
      ],
    );
    assert.equal(inference.services.repository.openHandles, 0);
  });

  it("runs requests beside each other, and still answers them in order", async () => {
    await using inference = await started();
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    const waiting: (() => void)[] = [];
    inference.services.repository.add(
      "slow",
      1n,
      [signature],
      (feeds) => new Promise((resolve) => waiting.push(() => resolve(new Map([["y:0", feeds.get("x:0")!]])))),
    );
    const { stream, answers, ended } = open(inference.client);
    for (const value of [1, 2, 3]) {
      stream.write(inferRequest([{ shape: [1], raw: rawFloats(value) }], { modelName: "slow", id: String(value) }));
    }
    while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve));
    for (const finish of waiting.reverse()) finish();
    stream.end();
    await ended;
    assert.deepEqual(
      answers.map(({ id, values }) => [id, values]),
      [
        ["1", [1]],
        ["2", [2]],
        ["3", [3]],
      ],
    );
  });

  it("ends with the first error's own status when the client asks for that", async () => {
    await using inference = await started();
    const metadata = new Metadata();
    metadata.set("triton_grpc_error", "true");
    const { stream, answers, ended } = open(inference.client, metadata);
    stream.write(inferRequest([x(1)], { id: "a" }));
    stream.write(inferRequest([], { modelName: "no", id: "b" }));
    const { code, details } = await ended;
    assert.equal(code, Code.NOT_FOUND);
    assert.equal(details, "Request for unknown model: 'no' is not found");
    assert.deepEqual(
      answers.map(({ id }) => id),
      ["a"],
    );
  });

  it("takes no more requests than may be under way", async () => {
    await using inference = await started({ maxStreamInFlight: 3 });
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    let begun = 0;
    let finish = () => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    inference.services.repository.add("slow", 1n, [signature], async (feeds) => {
      begun += 1;
      await gate;
      return new Map([["y:0", feeds.get("x:0")!]]);
    });
    const { stream, answers, ended } = open(inference.client);
    for (let i = 0; i < 10; i++) {
      stream.write(inferRequest([{ shape: [1], raw: rawFloats(i) }], { modelName: "slow" }));
    }
    stream.end();
    for (let turns = 0; turns < 200; turns++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(begun, 3);
    finish();
    await ended;
    assert.equal(begun, 10);
    assert.deepEqual(
      answers.map(({ values }) => values![0]),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
  });

  it("cancels what is under way when the client leaves", async () => {
    await using inference = await started();
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    let cancelled = 0;
    let begun = 0;
    inference.services.repository.add(
      "slow",
      1n,
      [signature],
      (_feeds, { cancellation }) =>
        new Promise((_, reject) => {
          begun += 1;
          cancellation.onCancel((reason) => {
            cancelled += 1;
            reject(reason);
          });
        }),
    );
    const { stream, ended } = open(inference.client);
    for (let i = 0; i < 3; i++) {
      stream.write(inferRequest([{ shape: [1], raw: rawFloats(i) }], { modelName: "slow" }));
    }
    while (begun < 3) await new Promise((resolve) => setImmediate(resolve));
    stream.cancel();
    await ended;
    while (cancelled < 3) await new Promise((resolve) => setImmediate(resolve));
    while (inference.services.repository.openHandles > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      inference.streamed.map(({ code }) => code),
      [Code.CANCELLED, Code.CANCELLED, Code.CANCELLED],
    );
  });

  it("logs a defect and answers it in its place", async () => {
    await using inference = await started();
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    inference.services.repository.add("defect", 1n, [signature], () => Promise.reject(new TypeError("secret")));
    const { stream, answers, ended } = open(inference.client);
    stream.write(inferRequest([{ shape: [1], raw: rawFloats(1) }], { modelName: "defect", id: "a" }));
    stream.write(inferRequest([x(1)], { id: "b" }));
    stream.end();
    assert.equal((await ended).code, Code.OK);
    assert.match(answers[0]!.error, /^Internal error; the server's log has it/);
    assert.equal(answers[0]!.code, BigInt(Code.INTERNAL));
    assert.deepEqual(answers[1]!.values, [2.5]);
    assert.ok(inference.services.log.lines.some(({ message }) => message.includes("secret")));
  });
});
