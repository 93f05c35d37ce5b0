// tf.Examples against the real server and real models: Classify, Regress, MultiInference, request logs and warm-up files.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { frameRecord } from "../../src/serving/tf-record.js";
import { warmupFileName } from "../../src/serving/warmup.js";
import type { Example } from "../gen/tensorflow/core/example/example.js";
import { ClassificationRequest } from "../gen/tensorflow_serving/apis/classification.js";
import { GetModelMetadataRequest, SignatureDefMap } from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { MultiInferenceRequest } from "../gen/tensorflow_serving/apis/inference.js";
import { ModelServiceClient } from "../gen/tensorflow_serving/apis/model_service.js";
import { PredictionLog } from "../gen/tensorflow_serving/apis/prediction_log.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const example = (name: string, ...value: number[]): Example => ({
  features: { feature: new Map([[name, { kind: { $case: "floatList", value: { value } } }]]) },
});
const request = (model: string, ...examples: Example[]) =>
  ClassificationRequest.fromPartial({
    modelSpec: { name: model },
    input: { kind: { $case: "exampleList", value: { examples } } },
  });
const setosa = example("X", 5.1, 3.5, 1.4, 0.2);
const virginica = example("X", 5.9, 3, 5.1, 1.8);

describe("the bundled models on tf.Examples", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const post = async (path: string, body: object) => {
    const response = await fetch(`${server.url}/v1/models/${path}`, { method: "POST", body: JSON.stringify(body) });
    return (await response.json()) as { results: never[] };
  };

  it("classify iris flowers with their labels, over gRPC", async () => {
    using client = connect(PredictionServiceClient, server.target);
    const { result, modelSpec } = await call(client, client.classify, request("iris", setosa, virginica), noMetadata);
    assert.equal(modelSpec!.signatureName, "classify");
    const best = result!.classifications.map(({ classes }) => classes.reduce((a, b) => (b.score > a.score ? b : a)));
    assert.deepEqual(
      best.map(({ label }) => label),
      ["0", "2"],
    );
    assert.deepEqual(
      result!.classifications[0]!.classes.map(({ label }) => label),
      ["0", "1", "2"],
    );
  });

  it("classify iris flowers with their labels, over REST, with integers where numbers are whole", async () => {
    const { results } = await post("iris:classify", { examples: [{ X: [5.1, 3.5, 1.4, 0.2] }, { X: [6, 3, 5, 2] }] });
    const best = results.map((pairs: [string, number][]) => pairs.reduce((a, b) => (b[1] > a[1] ? b : a))[0]);
    assert.deepEqual(best, ["0", "2"]);
  });

  it("regress a line, over both doors", async () => {
    using client = connect(PredictionServiceClient, server.target);
    const { result } = await call(
      client,
      client.regress,
      request("linear_regression", example("x", 3), example("x", -0.5)),
      noMetadata,
    );
    assert.deepEqual(result!.regressions, [{ value: 5 }, { value: -2 }]);
    assert.deepEqual(await post("linear_regression:regress", { examples: [{ x: 3 }, { x: [-0.5] }] }), {
      results: [5, -2],
    });
    assert.deepEqual(
      await post("half_plus_two/versions/1:regress", { context: { x: 1 }, examples: [{}, { x: 2.0 }] }),
      {
        results: [2.5, 3],
      },
    );
  });

  it("are shown as TensorFlow shows such signatures", async () => {
    using client = connect(PredictionServiceClient, server.target);
    const { metadata } = await call(
      client,
      client.getModelMetadata,
      GetModelMetadataRequest.fromPartial({ modelSpec: { name: "iris" }, metadataField: ["signature_def"] }),
      noMetadata,
    );
    const { signatureDef } = SignatureDefMap.decode(metadata.get("signature_def")!.value);
    const { inputs, outputs, methodName } = signatureDef.get("classify")!;
    assert.equal(methodName, "tensorflow/serving/classify");
    assert.deepEqual(
      [...inputs].map(([alias, { dtype, tensorShape }]) => [alias, dtype, tensorShape!.dim.map(({ size }) => size)]),
      [["inputs", 7, [-1n]]],
    );
    assert.deepEqual([...outputs.keys()], ["classes", "scores"]);
  });

  it("are counted", async () => {
    const page = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(page, /:tensorflow:serving:request_count\{model_name="iris",status="OK"\} 2\n/);
    assert.match(page, /:tensorflow:serving:runtime_latency_count\{model_name="linear_regression",API="Regress"/);
  });
});

const stateOf = async (server: TestServer, model: string) => {
  using client = connect(ModelServiceClient, server.target);
  const { modelVersionStatus } = await call(
    client,
    client.getModelStatus,
    GetModelStatusRequest.fromPartial({ modelSpec: { name: model } }),
    noMetadata,
  );
  return modelVersionStatus[0]!;
};
const patient = ["--file_quiet_period_ms=0", "--max_num_load_retries=0"];

const logsOf = (file: Buffer): PredictionLog[] => {
  const found: PredictionLog[] = [];
  for (let at = 0; at < file.length; at += 16) {
    const length = Number(file.readBigUInt64LE(at));
    found.push(PredictionLog.decode(file.subarray(at + 12, at + 12 + length)));
    at += length;
  }
  return found;
};

describe("a day's request log", () => {
  it("is a warm-up file", async () => {
    using folder = new ModelFolder();
    for (const model of ["iris", "linear_regression"]) folder.copyBundled(model, 1);
    const logs = join(folder.path, "logs");
    const logging = (model: string) =>
      `logging_config { log_collector_config { filename_prefix: "${join(logs, model)}" } sampling_config { sampling_rate: 1 } }`;
    const config = folder.writeConfig({ iris: logging("iris"), linear_regression: logging("linear_regression") });
    const flags = [`--model_config_file=${config}`, ...patient];
    {
      await using server = await startTestServer(...flags);
      using client = connect(PredictionServiceClient, server.target);
      await call(client, client.classify, request("iris", setosa, virginica), noMetadata);
      await call(client, client.predict, floatPredict("iris", "X", [1, 2, 3, 4], [1, 4]), noMetadata);
      await call(
        client,
        client.multiInference,
        MultiInferenceRequest.fromPartial({
          tasks: [{ modelSpec: { name: "iris" }, methodName: "tensorflow/serving/classify" }],
          input: { kind: { $case: "exampleList", value: { examples: [setosa] } } },
        }),
        noMetadata,
      );
      await call(client, client.regress, request("linear_regression", example("x", 3)), noMetadata);
      // What fails is not logged: it would fail the load that it warms up.
      await assert.rejects(call(client, client.regress, request("linear_regression"), noMetadata));
      const post = async (path: string, body: object | string) => {
        const text = typeof body === "string" ? body : JSON.stringify(body);
        const response = await fetch(`${server.url}/v1/models/${path}`, { method: "POST", body: text });
        return response.status;
      };
      // Whole numbers stand for floats here, which no tf.Example may do: the log has what they mean.
      assert.equal(
        await post("iris:classify", { context: { X: [6, 3, 5, 2] }, examples: [{}, { ignored: "x" }] }),
        200,
      );
      assert.equal(await post("iris/versions/1:predict", { instances: [[1, 2, 3, 4]] }), 200);
      assert.equal(await post("linear_regression:regress", '{"examples": [{"x": 3}, {"x": -0.5}]}'), 200);
      assert.equal(await post("linear_regression:predict", "{}"), 400);
      assert.equal(await post("linear_regression:regress", { examples: [{}] }), 400);
    }
    const fileOf = (model: string) => {
      const files = readdirSync(logs).filter((name) => name.startsWith(`${model}-`));
      assert.equal(files.length, 1);
      return readFileSync(join(logs, files[0]!));
    };
    const read = { iris: logsOf(fileOf("iris")), line: logsOf(fileOf("linear_regression")) };
    assert.deepEqual(
      read.iris.map(({ logType }) => logType!.$case),
      ["classifyLog", "predictLog", "multiInferenceLog", "classifyLog", "predictLog"],
    );
    assert.deepEqual(
      read.line.map(({ logType }) => logType!.$case),
      ["regressLog", "regressLog"],
    );
    const [first] = read.iris as [PredictionLog];
    assert.equal(first.logType!.$case, "classifyLog");
    assert.deepEqual(first.logMetadata!.modelSpec, {
      name: "iris",
      signatureName: "classify",
      versionChoice: { $case: "version", value: 1n },
    });
    assert.equal(first.logMetadata!.samplingConfig!.samplingRate, 1);
    assert.ok(Math.abs(Number(first.logMetadata!.timestampSecs) - Date.now() / 1000) < 3600);
    if (first.logType!.$case === "classifyLog") {
      assert.equal(first.logType!.value.response!.result!.classifications.length, 2);
    }
    for (const model of ["iris", "linear_regression"]) {
      const path = join(folder.basePath(model), "1", warmupFileName);
      mkdirSync(dirname(path));
      writeFileSync(path, fileOf(model));
    }
    await using server = await startTestServer(
      ...flags,
      "--num_request_iterations_for_warmup=2",
      "--enable_serialization_as_tensor_content", // as REST calls are logged
    );
    assert.equal((await stateOf(server, "iris")).state, 30);
    using client = connect(PredictionServiceClient, server.target);
    for (const { logType } of [...read.iris.slice(3), ...read.line]) {
      const { request: asked, response } = logType!.value as { request: never; response: object };
      const method = { classifyLog: client.classify, predictLog: client.predict, regressLog: client.regress };
      const again = method[logType!.$case as "predictLog"];
      assert.deepEqual(await call(client, again, asked, noMetadata), response);
    }
    const page = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(page, /:tensorflow:serving:model_warmup_records_read\{model_path="[^"]*iris\/1",status="OK"\} 5\n/);
    assert.match(
      page,
      /:tensorflow:serving:model_warmup_latency_count\{model_path="[^"]*linear_regression\/1",status="OK"\} 1\n/,
    );
  });
});

describe("a warm-up file", () => {
  const good = PredictionLog.encode({
    logMetadata: undefined,
    logType: {
      $case: "predictLog",
      value: { request: floatPredict("any", "x", [1, 2], [2, 1]), response: undefined },
    },
  }).finish();
  const log = (logType: PredictionLog["logType"]) => PredictionLog.encode({ logMetadata: undefined, logType }).finish();
  it("may be empty, and hold a thousand records", async () => {
    using folder = new ModelFolder();
    const put = (model: string, file: Buffer) => {
      folder.copyBundled("linear_regression", 1, { model });
      const path = join(folder.basePath(model), "1", warmupFileName);
      mkdirSync(dirname(path));
      writeFileSync(path, file);
    };
    put("empty", Buffer.alloc(0));
    put("full", Buffer.concat([...new Array(999).fill(frameRecord(log(undefined))), frameRecord(good)]));
    writeFileSync(join(folder.basePath("full"), "1", "assets.extra", "mlmd_uuid"), "a-uuid");
    const config = folder.writeConfig({ empty: "", full: "" });
    await using server = await startTestServer(`--model_config_file=${config}`, ...patient);
    for (const model of ["empty", "full"]) assert.equal((await stateOf(server, model)).state, 30, model);
    const page = async () => (await fetch(`${server.url}/metrics`)).text();
    while (!(await page()).includes(":tensorflow:serving:mlmd_map")) await new Promise(setImmediate);
    assert.match(await page(), /^:tensorflow:serving:mlmd_map\{model_name="full",version="1"\} 0$/m);
    assert.doesNotMatch(await page(), /mlmd_map\{model_name="empty"/);
  });

  it("is not looked at when the flag says so", async () => {
    using folder = new ModelFolder();
    folder.copyBundled("linear_regression", 1, { model: "m" });
    const path = join(folder.basePath("m"), "1", warmupFileName);
    mkdirSync(dirname(path));
    writeFileSync(path, "no records");
    const config = folder.writeConfig({ m: "" });
    await using server = await startTestServer(
      `--model_config_file=${config}`,
      "--enable_model_warmup=false",
      ...patient,
    );
    assert.equal((await stateOf(server, "m")).state, 30);
  });
});
