// ONNX's own test cases through the whole server, over gRPC: what onnxruntime can load agrees with the expected outputs; what
// it cannot ends as a failed load with the runtime's reason, the server unharmed.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ModelProto, TensorProto as OnnxTensorProto } from "../../src/gen/onnx/onnx.js";
import { elementTypeOfOnnx } from "../../src/tensor/index.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { PredictRequest, type PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const root = join(repositoryRoot, "..", "shared", "conformance", "onnx-backend");
const present = existsSync(root);
/** How many of the cases onnxruntime-node 1.30 loads as they are. */
const loadable = 41;

interface Case {
  readonly name: string;
  readonly folder: string;
}
const cases: readonly Case[] = present
  ? readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((kind) =>
        readdirSync(join(root, kind.name)).map((name) => ({ name, folder: join(root, kind.name, name) })),
      )
      .filter(({ folder }) => existsSync(join(folder, "model.onnx")))
  : [];

describe("ONNX backend cases", { skip: present ? false : "the conformance cases are not on this machine" }, () => {
  let models: ModelFolder;
  let server: TestServer;
  before(async () => {
    models = new ModelFolder();
    for (const { name, folder } of cases) models.publish(name, 1, readFileSync(join(folder, "model.onnx")));
    const config = models.writeConfig(Object.fromEntries(cases.map(({ name }) => [name, ""])));
    server = await startTestServer(`--model_config_file=${config}`, "--max_num_load_retries=0");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    models[Symbol.dispose]();
  });

  it("agree with their expected outputs wherever the runtime loads them", async (t) => {
    using client = connect(PredictionServiceClient, server.target);
    const refused: string[] = [];
    for (const { name, folder } of cases) {
      const status = server.server.repository.getModel(name)!.versions[0]!;
      if (status.state !== "AVAILABLE") {
        assert.equal(status.state, "END", name);
        assert.notEqual(status.error?.message ?? "", "", name);
        refused.push(`${name}: ${status.error!.message.split("\n")[0]}`);
        continue;
      }
      for (const set of readdirSync(folder).filter((entry) => entry.startsWith("test_data_set"))) {
        await t.test(`${name}/${set}`, () => runCase(client, name, join(folder, set), folder));
      }
    }
    t.diagnostic(`${cases.length - refused.length} of ${cases.length} served; refused:\n${refused.join("\n")}`);
    assert.ok(cases.length - refused.length >= loadable);
  });
});

async function runCase(client: PredictionServiceClient, name: string, set: string, folder: string): Promise<void> {
  const graph = ModelProto.decode(readFileSync(join(folder, "model.onnx"))).graph!;
  const initializers = new Set(graph.initializer.map((initializer) => initializer.name));
  const inputNames = graph.input.map((input) => input.name).filter((input) => !initializers.has(input));
  const inputs = new Map(readTensors(set, "input").map((tensor, index) => [inputNames[index]!, toTensorflow(tensor)]));
  const response: PredictResponse = await call(
    client,
    client.predict,
    PredictRequest.fromPartial({ modelSpec: { name }, inputs }),
    noMetadata,
  );
  for (const [index, expected] of readTensors(set, "output").entries()) {
    const actual = response.outputs.get(graph.output[index]!.name)!;
    assert.deepEqual(
      actual.tensorShape!.dim.map(({ size }) => size),
      expected.dims,
    );
    const texts = (tensor: TensorProto) => tensor.stringVal.map((text) => text.toString());
    assert.deepEqual(texts(actual), texts(toTensorflow(expected)));
    const wanted = numbersOf(toTensorflow(expected));
    const got = numbersOf(actual);
    assert.equal(got.length, wanted.length);
    for (const [i, value] of wanted.entries()) {
      // The tolerance of ONNX's own runner: 1e-3 relative, 1e-7 absolute.
      assert.ok(
        Object.is(got[i], value) || Math.abs(got[i]! - value) <= 1e-7 + 1e-3 * Math.abs(value),
        `${got[i]} for ${value}`,
      );
    }
  }
}

function readTensors(set: string, kind: "input" | "output"): OnnxTensorProto[] {
  return readdirSync(set)
    .filter((file) => file.startsWith(`${kind}_`))
    .sort((a, b) => indexOf(a) - indexOf(b))
    .map((file) => OnnxTensorProto.decode(readFileSync(join(set, file))));
}

function indexOf(file: string): number {
  return Number(file.match(/_(\d+)\./)![1]);
}

function toTensorflow(tensor: OnnxTensorProto): TensorProto {
  const type = elementTypeOfOnnx(tensor.dataType)!;
  const content =
    tensor.rawData.length > 0
      ? tensor.rawData
      : new Uint8Array(
          type.name === "float32"
            ? new Float32Array(tensor.floatData).buffer
            : type.name === "int64"
              ? new BigInt64Array(tensor.int64Data).buffer
              : new Int32Array(tensor.int32Data).buffer,
        );
  return TensorProto.fromPartial({
    dtype: type.tensorflow as TensorProto["dtype"],
    tensorShape: { dim: tensor.dims.map((size) => ({ size, name: "" })) },
    ...(type.name === "string"
      ? { stringVal: tensor.stringData.map((text) => Buffer.from(text)) }
      : { tensorContent: Buffer.from(content) }),
  });
}

function numbersOf(tensor: TensorProto): number[] {
  if (tensor.tensorContent.length > 0) {
    const bytes = new Uint8Array(tensor.tensorContent);
    const type = tensor.dtype;
    if (type === 1) return [...new Float32Array(bytes.buffer)];
    if (type === 2) return [...new Float64Array(bytes.buffer)];
    if (type === 3) return [...new Int32Array(bytes.buffer)];
    if (type === 9) return [...new BigInt64Array(bytes.buffer)].map(Number);
    return [...bytes];
  }
  return [
    ...tensor.floatVal,
    ...tensor.doubleVal,
    ...tensor.intVal,
    ...tensor.int64Val.map(Number),
    ...tensor.boolVal.map(Number),
  ];
}
