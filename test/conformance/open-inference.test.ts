// The refusals of the Open Inference Protocol, asked of the real server over both doors: one text, and the code of each.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { ServiceError } from "@grpc/grpc-js";
import { Code, codeName } from "../../src/status.js";
import {
  GRPCInferenceServiceClient,
  type InferTensorContents,
  RepositoryModelLoadRequest,
} from "../gen/inference/grpc_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { inferRequest, type ParameterChoice, parameters } from "../support/infer-requests.js";
import { ModelFolder } from "../support/model-folder.js";
import { affineModel, failingModel, identityModel, mlpModel, severalInputsModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

type Value = number | boolean | string;
type Parameters = Readonly<Record<string, Value>>;
interface Input {
  readonly name: string;
  readonly datatype: keyof typeof fields;
  readonly shape: readonly number[];
  readonly data?: readonly Value[];
  readonly parameters?: Parameters;
}
interface Request {
  readonly model?: string;
  readonly version?: string;
  readonly id?: string;
  readonly inputs?: readonly Input[];
  readonly outputs?: Readonly<Record<string, Parameters>>;
  readonly parameters?: Parameters;
}

const fields = {
  BOOL: "boolContents",
  UINT8: "uintContents",
  INT8: "intContents",
  INT32: "intContents",
  INT64: "int64Contents",
  FP32: "fp32Contents",
  FP64: "fp64Contents",
  BYTES: "bytesContents",
} as const satisfies Record<string, keyof InferTensorContents>;

const features = (rows = 1, width = 4): Input => ({
  name: "features",
  datatype: "FP32",
  shape: [rows, width],
  data: Array.from({ length: rows * width }, () => 1),
});
const pair = (name: string, rows = 1): Input => ({ ...features(rows, 2), name });
const x = (more: Partial<Input>): Input => ({ name: "x", datatype: "FP32", shape: [1], data: [1], ...more });

const unknownId = "[request id: <id_unknown>] ";
const note =
  "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape.";

const refusals: readonly (readonly [title: string, Request, Code, string | RegExp])[] = [
  ["a model that there is not", { model: "none" }, Code.NOT_FOUND, "Request for unknown model: 'none' is not found"],
  [
    "a version that there is not",
    { version: "9" },
    Code.NOT_FOUND,
    "Request for unknown model: 'classifier' version 9 is not found",
  ],
  [
    "a model none of whose versions is ready",
    { model: "broken" },
    Code.NOT_FOUND,
    "Request for unknown model: 'broken' has no available versions",
  ],
  [
    "a version that is not ready",
    { model: "broken", version: "1" },
    Code.UNAVAILABLE,
    /^Request for unknown model: 'broken' version 1 is not at ready state: ./,
  ],
  [
    "a version that is no number",
    { version: "one" },
    Code.INVALID_ARGUMENT,
    "failed to get model version from specified version string 'one' (details: not a number), version should be an integral value > 0",
  ],
  [
    "a version below zero",
    { version: "-1" },
    Code.INVALID_ARGUMENT,
    "invalid model version specified '-1' , version should be an integral value > 0",
  ],
  [
    "inputs that are missing",
    { model: "several", id: "seven", inputs: [pair("a")] },
    Code.INVALID_ARGUMENT,
    "[request id: seven] expected 3 inputs but got 1 inputs for model 'several'. Got input(s) ['a'], but missing required input(s) ['b','ids']. Please provide all required input(s).",
  ],
  [
    "an input that the model has not",
    { inputs: [{ ...features(), name: "q" }] },
    Code.INVALID_ARGUMENT,
    "unexpected inference input 'q' for model 'classifier'",
  ],
  [
    "an output that the model has not",
    { outputs: { q: {} } },
    Code.INVALID_ARGUMENT,
    "unexpected inference output 'q' for model 'classifier'",
  ],
  [
    "an input twice",
    { inputs: [features(), features()] },
    Code.INVALID_ARGUMENT,
    "input 'features' already exists in request",
  ],
  [
    "another datatype",
    { inputs: [{ ...features(), datatype: "INT32" }] },
    Code.INVALID_ARGUMENT,
    `${unknownId}inference input 'features' data-type is 'INT32', but model 'classifier' expects 'FP32'`,
  ],
  [
    "another shape",
    { inputs: [features(1, 3)] },
    Code.INVALID_ARGUMENT,
    `${unknownId}unexpected shape for input 'features' for model 'classifier'. Expected [-1,4], got [1,3]. ${note}`,
  ],
  [
    "another shape of a model without batches",
    { model: "numbers", inputs: [x({ shape: [1, 1] })] },
    Code.INVALID_ARGUMENT,
    `${unknownId}unexpected shape for input 'x' for model 'numbers'. Expected [-1], got [1,1]. `,
  ],
  [
    "no shape where there must be a batch",
    { inputs: [{ ...features(), shape: [], data: [1] }] },
    Code.INVALID_ARGUMENT,
    `${unknownId}input 'features' has no shape but model requires batch dimension for 'classifier'`,
  ],
  [
    "batches that differ",
    {
      model: "several",
      inputs: [pair("a", 2), pair("b"), { name: "ids", datatype: "INT64", shape: [2], data: [1, 2] }],
    },
    Code.INVALID_ARGUMENT,
    `${unknownId}input 'b' batch size does not match other inputs for 'several'`,
  ],
  [
    "a batch that is too large",
    { inputs: [features(9)] },
    Code.INVALID_ARGUMENT,
    `${unknownId}inference request batch-size must be <= 8 for 'classifier'`,
  ],
  [
    "a run that fails",
    { model: "failing", inputs: [x({ shape: [4], data: [1, 2, 3, 4] })] },
    Code.INTERNAL,
    /^model "failing\/1": .*Reshape/,
  ],
  [
    "a value that its datatype cannot hold",
    { model: "bytes", inputs: [x({ datatype: "UINT8", data: [300] })] },
    Code.INVALID_ARGUMENT,
    /300/,
  ],
  [
    "a text that the runtime would cut",
    { model: "texts", inputs: [x({ datatype: "BYTES", data: ["a\0b"] })] },
    Code.INVALID_ARGUMENT,
    /NUL|U\+0000/,
  ],
  [
    "an input in shared memory",
    {
      inputs: [{ ...withoutData(features()), parameters: { shared_memory_region: "r", shared_memory_byte_size: 16 } }],
    },
    Code.NOT_FOUND,
    "Unable to find system shared memory region: 'r'",
  ],
  [
    "an output in shared memory",
    { outputs: { probabilities: { shared_memory_region: "r", shared_memory_byte_size: 12 } } },
    Code.NOT_FOUND,
    "Unable to find system shared memory region: 'r'",
  ],
  [
    "the best no elements",
    { outputs: { probabilities: { classification: 0 } } },
    Code.INVALID_ARGUMENT,
    "invalid value for 'classification' parameter of output 'probabilities', expected > 0 integer, got 0",
  ],
  [
    "the best elements of a type without an order",
    { model: "flags", inputs: [x({ datatype: "BOOL", data: [true] })], outputs: { y: { classification: 1 } } },
    Code.INVALID_ARGUMENT,
    "class result not available for output due to unsupported type 'BOOL'",
  ],
  [
    "a priority that is no number",
    { parameters: { priority: "high" } },
    Code.INVALID_ARGUMENT,
    "invalid value type for 'priority' parameter, expected an integer of 0 or more, got string high",
  ],
  [
    "a reserved parameter",
    { parameters: { triton_secret: true } },
    Code.INVALID_ARGUMENT,
    /^parameter keys starting with 'triton_' are reserved for Triton usage/,
  ],
];

function withoutData({ data: _, ...input }: Input): Input {
  return input;
}

describe("both doors of the Open Inference Protocol refuse", () => {
  let folder: ModelFolder;
  let server: TestServer;
  let client: GRPCInferenceServiceClient & Disposable;
  before(async () => {
    folder = new ModelFolder();
    const models = {
      classifier: mlpModel([4, 5, 3]),
      several: severalInputsModel(),
      numbers: identityModel("float32"),
      bytes: identityModel("uint8"),
      texts: identityModel("string"),
      flags: identityModel("bool"),
      failing: failingModel(),
      stateful: affineModel(1, 1),
      broken: Buffer.from("not a model"),
    };
    for (const [name, bytes] of Object.entries(models)) folder.publish(name, 1, bytes);
    const configure = (model: string, text: string) => writeFileSync(join(folder.path, model, "config.pbtxt"), text);
    configure("classifier", "max_batch_size: 8");
    configure(
      "several",
      "max_batch_size: 8 input [{ name: 'a' data_type: TYPE_FP32 dims: 2 }, { name: 'b' data_type: TYPE_FP32 dims: 2 }, { name: 'ids' data_type: TYPE_INT64 dims: 1 reshape {} }]",
    );
    configure("stateful", "sequence_batching {}");
    const repository = `--model_repository=${folder.path}`;
    server = await startTestServer(repository, "--model_control_mode=explicit", "--load_model=*");
    client = connect(GRPCInferenceServiceClient, server.target);
  });
  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const overGrpc = async (answer: Promise<unknown>): Promise<{ code: string; text: string }> => {
    const thrown = await answer.then(
      () => assert.fail("gRPC answered"),
      (error: ServiceError) => error,
    );
    return { code: codeName(thrown.code), text: thrown.details };
  };
  const overRest = async (path: string, init: RequestInit): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${server.url}${path}`, init);
    // KServe's client reads the error only from exactly this.
    assert.equal(response.headers.get("content-type"), "application/json");
    return { status: response.status, text: ((await response.json()) as { error: string }).error };
  };
  const same = async (code: Code, text: string | RegExp, answer: Promise<unknown>, path: string, init: RequestInit) => {
    const grpc = await overGrpc(answer);
    if (typeof text === "string") assert.deepEqual(grpc, { code: codeName(code), text });
    else {
      assert.equal(grpc.code, codeName(code), grpc.text);
      assert.match(grpc.text, text);
    }
    const rest = await overRest(path, init);
    assert.equal(rest.status, statuses.get(code), rest.text);
    if (typeof text === "string") assert.equal(rest.text, grpc.text);
    else assert.match(rest.text, text);
  };

  for (const [title, request, code, text] of refusals) {
    it(title, async () => {
      const { path, body } = restForm(request);
      const answer = call(client, client.modelInfer, grpcForm(request), noMetadata);
      await same(code, text, answer, path, { method: "POST", body });
    });
  }

  it("statistics, readiness, metadata and configuration of models that there are not", async () => {
    const model = { name: "none", version: "" };
    const text = "Request for unknown model: 'none' is not found";
    const path = "/v2/models/none";
    await same(Code.NOT_FOUND, text, call(client, client.modelReady, model, noMetadata), `${path}/ready`, {});
    await same(Code.NOT_FOUND, text, call(client, client.modelMetadata, model, noMetadata), path, {});
    await same(Code.NOT_FOUND, text, call(client, client.modelConfig, model, noMetadata), `${path}/config`, {});
    const unavailable = "requested model 'none' is not available";
    const statistics = call(client, client.modelStatistics, model, noMetadata);
    await same(Code.INVALID_ARGUMENT, unavailable, statistics, `${path}/stats`, {});
  });

  for (const [title, model, given, code, text] of [
    [
      "to load what is not there",
      "none",
      {},
      Code.INTERNAL,
      "failed to load 'none', failed to poll from model repository",
    ],
    [
      "to load what cannot be",
      "broken",
      {},
      Code.INVALID_ARGUMENT,
      /^load failed for model 'broken': version 1 is at UNAVAILABLE state: /,
    ],
    [
      "to load what cannot be honoured",
      "stateful",
      {},
      Code.INVALID_ARGUMENT,
      /sequence_batching: stateful models are not served/,
    ],
    ["a name that is none", ".hidden", {}, Code.INVALID_ARGUMENT, /'\.hidden' is no name of a model/],
    ["a configuration that is none", "classifier", { config: "{" }, Code.INVALID_ARGUMENT, /config/],
    [
      "model files",
      "classifier",
      { config: "{}", "file:1/model.onnx": "" },
      Code.UNIMPLEMENTED,
      /model files cannot be sent with a load/,
    ],
    [
      "a parameter that there is not",
      "classifier",
      { nonsense: "1" },
      Code.INVALID_ARGUMENT,
      "unrecognized parameter 'nonsense' for the load of model 'classifier'",
    ],
  ] as const) {
    it(title, async () => {
      const request = { modelName: model, parameters: parameters(choices(given)) as never };
      const load = RepositoryModelLoadRequest.fromPartial(request);
      await same(
        code,
        text,
        call(client, client.repositoryModelLoad, load, noMetadata),
        `/v2/repository/models/${model}/load`,
        { method: "POST", body: JSON.stringify({ parameters: given }) },
      );
    });
  }

  it("repositories by name", async () => {
    const text = "'repository_name' specification is not supported";
    const index = call(client, client.repositoryIndex, { repositoryName: "r", ready: false }, noMetadata);
    await same(Code.UNIMPLEMENTED, text, index, "/v2/repository/r/index", { method: "POST", body: "{}" });
  });
});

/** As Triton maps them, where it has the code. */
const statuses = new Map<Code, number>([
  [Code.INVALID_ARGUMENT, 400],
  [Code.NOT_FOUND, 404],
  [Code.INTERNAL, 500],
  [Code.UNIMPLEMENTED, 501],
  [Code.UNAVAILABLE, 503],
]);

function grpcForm({ model = "classifier", version, id, inputs = [features()], outputs, parameters: given }: Request) {
  return inferRequest(
    inputs.map(({ data, datatype, parameters: more = {}, ...input }) => ({
      ...input,
      datatype,
      parameters: choices(more),
      ...(data !== undefined && { contents: { [fields[datatype]]: data.map((value) => element(datatype, value)) } }),
    })),
    {
      modelName: model,
      ...(version !== undefined && { modelVersion: version }),
      ...(id !== undefined && { id }),
      parameters: choices(given ?? {}),
      outputs: Object.fromEntries(Object.entries(outputs ?? {}).map(([name, more]) => [name, choices(more)])),
    },
  );
}

function element(datatype: Input["datatype"], value: Value): unknown {
  if (datatype === "BYTES") return Buffer.from(String(value));
  return datatype === "INT64" ? BigInt(value) : value;
}

function choices(given: Parameters): Record<string, ParameterChoice> {
  const choice = (value: Value): ParameterChoice => {
    if (typeof value === "boolean") return { $case: "boolParam", value };
    return typeof value === "string" ? { $case: "stringParam", value } : { $case: "int64Param", value: BigInt(value) };
  };
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, choice(value)]));
}

function restForm({ model = "classifier", version, inputs = [features()], outputs = {}, ...more }: Request) {
  const versions = version === undefined ? "" : `/versions/${version}`;
  const asked = Object.entries(outputs).map(([name, given]) => ({ name, parameters: given }));
  return {
    path: `/v2/models/${model}${versions}/infer`,
    body: JSON.stringify({ ...more, inputs, ...(asked.length > 0 && { outputs: asked }) }),
  };
}
