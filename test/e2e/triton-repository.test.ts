// A Triton repository of ONNX models, served as it lies there, through the client of this package. With Triton's own client:
// test/interop/open-inference.test.ts.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { OpenInferenceClient, OpenInferenceRestClient, TensorFlowServingClient } from "../../src/client/index.js";
import { ModelFolder } from "../support/model-folder.js";
import { rejectsWith } from "../support/rejects-with.js";
import { affineModel, mlpModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";
import { until } from "../support/until.js";

const classifier = `
  name: "classifier"
  platform: "onnxruntime_onnx"
  max_batch_size: 8
  version_policy: { specific: { versions: [ 1, 3 ] } }
  input [ { name: "features" data_type: TYPE_FP32 dims: [ 4 ] } ]
  output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
  dynamic_batching { }
  instance_group [ { kind: KIND_CPU count: 2 } ]
  model_warmup [ { name: "zeros" batch_size: 8 inputs { key: "features" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } } ]
`;
const reshaped = `
  backend: "onnxruntime"
  max_batch_size: 4
  input { name: "x" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }
  output { name: "y" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }
`;

describe("a Triton repository", () => {
  let folder: ModelFolder;
  let server: TestServer;
  let client: OpenInferenceClient;
  let rest: OpenInferenceRestClient;
  before(async () => {
    folder = new ModelFolder();
    const configure = (model: string, text: string, file = "config.pbtxt") =>
      writeFileSync(join(folder.basePath(model), file), text);
    for (const version of [1, 2, 3]) folder.publish("classifier", version, mlpModel([4, 3 + version, 3]));
    configure("classifier", classifier);
    configure("classifier", "setosa\nversicolor\nvirginica\n", "labels.txt");
    folder.publish("reshaped", 1, affineModel(2, 1, 4));
    configure("reshaped", reshaped);
    folder.copyBundled("half_plus_two", 1, { model: "elements" });
    configure("elements", "max_batch_size: 16");
    folder.copyBundled("digits", 1);
    folder.publish("stateful", 1, affineModel(1, 1));
    configure("stateful", "sequence_batching { }");
    server = await startTestServer(
      `--model_repository=${folder.path}`,
      "--model_control_mode=explicit",
      ...["classifier", "reshaped", "elements"].map((name) => `--load_model=${name}`),
    );
    client = new OpenInferenceClient(server.target);
    rest = new OpenInferenceRestClient(server.url);
  });
  after(async () => {
    client.close();
    rest.close();
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const state = async (model: string) => {
    const found = (await client.models()).find(({ name }) => name === model);
    return found?.versions.map(({ version, state }) => `${version} ${state}`).sort();
  };

  it("serves the versions of its policy, with the labels and the batch limit of its configuration", async () => {
    // The doors open with the first of them.
    await until(async () => (await state("classifier"))?.every((each) => each.endsWith("READY")) === true);
    assert.deepEqual(await state("classifier"), ["1 READY", "3 READY"]);
    const features = { shape: [2, 4], data: Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0) };
    for (const one of [client, rest]) {
      const { outputs, version } = await one.predict(
        "classifier",
        { features },
        { classification: { probabilities: 1 } },
      );
      assert.equal(version, 3n);
      const best = outputs["probabilities"]!;
      assert.deepEqual(best.shape, [2, 1]);
      for (const text of best.data) assert.match(String(text), /^0\.\d{6}:\d:(setosa|versicolor|virginica)$/);
      const many = { shape: [9, 4], data: new Float32Array(36) };
      await rejectsWith("INVALID_ARGUMENT", /batch-size must be <= 8 for 'classifier'/, () =>
        one.predict("classifier", { features: many }),
      );
    }
    assert.equal((await client.modelConfig("classifier")).instanceGroup[0]!.count, 2);
  });

  it("shows tensors as the configuration has them, at these doors only", async () => {
    const shaped = { shape: [1, 2, 2], data: Float32Array.of(1, 2, 3, 4) };
    const column = { shape: [2, 1], data: Float32Array.of(1, 2) };
    for (const one of [client, rest]) {
      const { y } = (await one.predict("reshaped", { x: shaped })).outputs;
      assert.deepEqual(
        [y!.shape, [...y!.data]],
        [
          [1, 2, 2],
          [3, 5, 7, 9],
        ],
      );
      // Also those that shared a run.
      const together = await Promise.all(
        Array.from({ length: 12 }, (_, call) =>
          one.predict("reshaped", { x: { shape: [1, 2, 2], data: Float32Array.of(call, 0, 0, call) } }),
        ),
      );
      for (const [call, { outputs }] of together.entries()) {
        assert.deepEqual([...outputs["y"]!.data], [2 * call + 1, 1, 1, 2 * call + 1]);
      }
      // Batches were asked for and no input listed: the rows of a single dimension have one element, as in Triton.
      const elements = (await one.predict("elements", { x: column })).outputs["y"]!;
      assert.deepEqual(
        [elements.shape, [...elements.data]],
        [
          [2, 1],
          [2.5, 3],
        ],
      );
    }
    const tensorflow = new TensorFlowServingClient(server.target);
    const { y } = (await tensorflow.predict("reshaped", { x: { shape: [1, 4], data: shaped.data } })).outputs;
    assert.deepEqual(y!.shape, [1, 4]);
    tensorflow.close();
  });

  it("loads and unloads what clients ask for, and says by field why it does not", async () => {
    assert.deepEqual(await state("digits"), []);
    await client.loadModel("digits");
    assert.deepEqual(await state("digits"), ["1 READY"]);
    const image = { shape: [1, 1, 8, 8], data: new Float32Array(64) };
    assert.equal((await rest.predict("digits", { image })).version, 1n);
    await client.unloadModel("digits");
    await rejectsWith("NOT_FOUND", /'digits' has no available versions/, () => rest.predict("digits", { image }));
    await rejectsWith("INVALID_ARGUMENT", /sequence_batching: stateful models are not served/, () =>
      client.loadModel("stateful"),
    );
  });
});
