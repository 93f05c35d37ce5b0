import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { Code, resourceExhausted } from "../../../src/status.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import type { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { GetModelMetadataRequest, SignatureDefMap } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import type { ModelSpec } from "../../gen/tensorflow_serving/apis/model.js";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../../gen/tensorflow_serving/apis/prediction_service.js";
import { signatureOf } from "../../support/fake-repository.js";
import { callUnary, failureOf, GrpcServices } from "../../support/grpc-services.js";

const version = (value: bigint): ModelSpec["versionChoice"] => ({ $case: "version", value });

function floats(...values: number[]): TensorProto {
  return TensorProto.create({
    dtype: 1 as DataType,
    tensorShape: { dim: [{ size: BigInt(values.length), name: "" }], unknownRank: false },
    floatVal: values,
  });
}

function predictRequest(name: string, inputs: Record<string, TensorProto>, spec: Partial<ModelSpec> = {}) {
  return PredictRequest.fromPartial({ modelSpec: { name, ...spec }, inputs: new Map(Object.entries(inputs)) });
}

/** y = x/2 + 2, and z = -x. */
function halfPlusTwo(feeds: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  const x = feeds.get("x:0")!;
  const data = x.data as Float32Array;
  return new Map<string, Tensor>([
    ["y:0", { ...x, data: data.map((value) => value / 2 + 2) }],
    ["z:0", { ...x, data: data.map((value) => -value) }],
  ]);
}

const signature = signatureOf({ x: ["float32", ["batch"]] }, { y: ["float32", ["batch"]], z: ["float32", ["batch"]] });

async function started(options: Parameters<typeof GrpcServices.start>[0] = {}) {
  const services = await GrpcServices.start(options);
  services.repository.add("half", 1n, [signature], halfPlusTwo);
  services.repository.add("half", 2n, [signature], halfPlusTwo);
  services.repository.label("half", "stable", 1n);
  return services;
}

describe("PredictionService.Predict", () => {
  it("answers with the outputs and says which version and signature it was", async () => {
    await using services = await started();
    const client = services.client(PredictionServiceClient);
    const response = await callUnary(client, client.predict, predictRequest("half", { x: floats(1, 2, 5) }));
    assert.deepEqual(response.outputs.get("y")?.floatVal, [2.5, 3, 4.5]);
    assert.deepEqual(response.outputs.get("z")?.floatVal, [-1, -2, -5]);
    assert.deepEqual(response.outputs.get("y")?.tensorShape?.dim, [{ size: 3n, name: "" }]);
    assert.deepEqual(response.modelSpec, {
      name: "half",
      versionChoice: version(2n),
      signatureName: "serving_default",
    });
    assert.equal(services.repository.openHandles, 0);
  });

  it("tells the record what the access line and the metrics need", async () => {
    await using services = await started();
    const client = services.client(PredictionServiceClient);
    await callUnary(client, client.predict, predictRequest("half", { x: floats(1) }, { versionChoice: version(1n) }));
    const { record, code } = services.ended[0]!;
    assert.equal(code, Code.OK);
    assert.deepEqual(
      { ...record, requestId: "", peer: "" },
      {
        requestId: "",
        peer: "",
        door: "grpc",
        method: "/tensorflow.serving.PredictionService/Predict",
        api: "Predict",
        model: "half",
        version: 1n,
        signature: "serving_default",
        queueMs: 1.5,
        computeMs: 2.5,
        batchSize: 4,
        rows: 1,
        inputMs: undefined,
        outputMs: undefined,
      },
    );
    await failureOf(callUnary(client, client.predict, predictRequest("half", { wrong: floats(1) })));
    const failed = services.ended[1]!.record;
    assert.deepEqual([failed.model, failed.version, failed.signature], ["half", 2n, "serving_default"]);
    assert.equal(failed.computeMs, undefined);
  });

  it("serves the version that a number or a label asks for", async () => {
    await using services = await started();
    const client = services.client(PredictionServiceClient);
    for (const [choice, expected] of [
      [version(1n), 1n],
      [{ $case: "versionLabel", value: "stable" }, 1n],
      [undefined, 2n],
    ] as const) {
      const request = predictRequest("half", { x: floats(1) }, { versionChoice: choice });
      const { modelSpec } = await callUnary(client, client.predict, request);
      assert.deepEqual(modelSpec?.versionChoice, version(expected));
    }
  });

  it("computes only the outputs asked for", async () => {
    await using services = await started();
    const client = services.client(PredictionServiceClient);
    const request = { ...predictRequest("half", { x: floats(1) }), outputFilter: ["z"] };
    const { outputs } = await callUnary(client, client.predict, request);
    assert.deepEqual([...outputs.keys()], ["z"]);
  });

  it("answers in tensor_content when told so", async () => {
    await using services = await started({ enableSerializationAsTensorContent: true });
    const client = services.client(PredictionServiceClient);
    const { outputs } = await callUnary(client, client.predict, predictRequest("half", { x: floats(1) }));
    assert.deepEqual(outputs.get("y")?.floatVal, []);
    assert.equal(outputs.get("y")?.tensorContent.readFloatLE(), 2.5);
  });

  it("refuses a gigantic shape without values before it allocates anything", async () => {
    await using services = await started();
    const client = services.client(PredictionServiceClient);
    const huge = { ...floats(1), tensorShape: { dim: [{ size: 2n ** 40n, name: "" }], unknownRank: false } };
    const before = process.memoryUsage().arrayBuffers;
    const failed = await failureOf(callUnary(client, client.predict, predictRequest("half", { x: huge })));
    assert.equal(failed.code, status.INVALID_ARGUMENT);
    assert.match(failed.details, /^tensor parsing error: x.*only 1 of its 1099511627776 values are given/);
    assert.ok(process.memoryUsage().arrayBuffers - before < 50_000_000);
  });

  it("passes the runtime's refusals on, and gives the handle back", async () => {
    await using services = await started();
    services.repository.add("busy", 1n, [signature], () => {
      throw resourceExhausted("the queue of model busy is full");
    });
    const client = services.client(PredictionServiceClient);
    const failed = await failureOf(callUnary(client, client.predict, predictRequest("busy", { x: floats(1) })));
    assert.equal(failed.code, status.RESOURCE_EXHAUSTED);
    assert.equal(failed.details, "the queue of model busy is full");
    assert.equal(services.repository.openHandles, 0);
  });

  it("hands the call's cancellation to the run", async () => {
    await using services = await started();
    let cancelled = false;
    let begun = () => {};
    const running = new Promise<void>((resolve) => {
      begun = resolve;
    });
    services.repository.add("slow", 1n, [signature], (_feeds, { cancellation }) => {
      begun();
      return new Promise((_resolve, reject) =>
        cancellation.onCancel((reason) => {
          cancelled = true;
          reject(reason);
        }),
      );
    });
    const client = services.client(PredictionServiceClient);
    const call = client.predict(predictRequest("slow", { x: floats(1) }), () => {});
    await running;
    call.cancel();
    while (services.ended.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(services.ended[0]?.code, Code.CANCELLED);
    assert.ok(cancelled);
    while (services.repository.openHandles > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("PredictionService.GetModelMetadata", () => {
  const metadataRequest = (spec: Partial<ModelSpec> | undefined, ...metadataField: string[]) =>
    GetModelMetadataRequest.fromPartial({ ...(spec && { modelSpec: spec }), metadataField });

  it("packs every signature, with open dimensions and ranks", async () => {
    await using services = await started();
    const second = signatureOf(
      { a: ["string", undefined], b: ["int64", [2, undefined, "n"]] },
      { c: ["float16", []] },
      "second",
    );
    services.repository.add("both", 5n, [signature, second], halfPlusTwo);
    const client = services.client(PredictionServiceClient);
    const request = metadataRequest({ name: "both", signatureName: "ignored" }, "signature_def", "signature_def");
    const response = await callUnary(client, client.getModelMetadata, request);
    assert.deepEqual(response.modelSpec, { name: "both", signatureName: "", versionChoice: version(5n) });
    assert.deepEqual([...response.metadata.keys()], ["signature_def"]);
    const { typeUrl, value } = response.metadata.get("signature_def")!;
    assert.equal(typeUrl, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    const { signatureDef } = SignatureDefMap.decode(value);
    assert.deepEqual([...signatureDef.keys()], ["serving_default", "second"]);
    const got = signatureDef.get("second")!;
    assert.equal(got.methodName, "tensorflow/serving/predict");
    assert.deepEqual(got.inputs.get("a"), {
      encoding: { $case: "name", value: "a:0" },
      dtype: 7,
      tensorShape: { dim: [], unknownRank: true },
    });
    assert.deepEqual(got.inputs.get("b")?.tensorShape?.dim, [
      { size: 2n, name: "" },
      { size: -1n, name: "" },
      { size: -1n, name: "n" },
    ]);
    assert.deepEqual(got.outputs.get("c")?.tensorShape, { dim: [], unknownRank: false });
    assert.equal(got.outputs.get("c")?.dtype, 19);
  });
});
