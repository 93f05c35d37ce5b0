import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection.js";
import { ServerReflectionClient as AlphaClient } from "../../gen/grpc/reflection/v1alpha/reflection.js";
import { GrpcServices } from "../../support/grpc-services.js";

type Asked = ServerReflectionRequest["messageRequest"];

/** One stream, asked one question after the other. */
function conversation(stream: ClientDuplexStream<ServerReflectionRequest, ServerReflectionResponse>) {
  const answers = stream[Symbol.asyncIterator]();
  return async (messageRequest: Asked): Promise<ServerReflectionResponse> => {
    stream.write({ host: "here", messageRequest });
    return (await answers.next()).value;
  };
}

async function started() {
  const services = await GrpcServices.start();
  const ask = conversation(services.client(ServerReflectionClient).serverReflectionInfo());
  return { services, ask };
}

function filesIn({ messageResponse }: ServerReflectionResponse): string[] {
  assert.equal(messageResponse?.$case, "fileDescriptorResponse");
  const { fileDescriptorProto } = messageResponse.value as { fileDescriptorProto: Uint8Array[] };
  return fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

describe("server reflection", () => {
  it("lists what is served and nothing else, in both versions", async () => {
    await using services = await GrpcServices.start();
    for (const client of [services.client(ServerReflectionClient), services.client(AlphaClient)]) {
      const { messageResponse, validHost, originalRequest } = await conversation(client.serverReflectionInfo())({
        $case: "listServices",
        value: "",
      });
      assert.equal(validHost, "here");
      assert.equal(originalRequest?.messageRequest?.$case, "listServices");
      assert.equal(messageResponse?.$case, "listServicesResponse");
      const { service } = messageResponse.value as { service: { name: string }[] };
      assert.deepEqual(
        service.map(({ name }) => name),
        [
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
          "onnxd.v1.CatalogService",
          "tensorflow.serving.ModelService",
          "tensorflow.serving.PredictionService",
        ],
      );
    }
  });

  it("gives the file of a symbol first, and all its imports behind it", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const names = filesIn(await ask({ $case: "fileContainingSymbol", value: "tensorflow.serving.PredictionService" }));
    assert.equal(names[0], "tensorflow_serving/apis/prediction_service.proto");
    for (const needed of [
      "tensorflow_serving/apis/predict.proto",
      "tensorflow_serving/apis/model.proto",
      "tensorflow/core/framework/tensor.proto",
      "tensorflow/core/framework/resource_handle.proto",
      "google/protobuf/wrappers.proto",
    ]) {
      assert.ok(names.includes(needed), needed);
    }
    assert.equal(new Set(names).size, names.length);
  });

  it("does not send an import twice on one stream, but whatever is asked for by name", async () => {
    const { services, ask } = await started();
    await using _ = services;
    await ask({ $case: "fileContainingSymbol", value: "tensorflow.serving.PredictionService" });
    const again = await ask({ $case: "fileByFilename", value: "tensorflow_serving/apis/predict.proto" });
    assert.deepEqual(filesIn(again), ["tensorflow_serving/apis/predict.proto"]);
  });

  it("finds messages, nested ones, fields, oneofs, enums, their values, services and methods", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const predict = "tensorflow_serving/apis/predict.proto";
    const types = "tensorflow/core/framework/types.proto";
    const symbols: Record<string, string> = {
      "tensorflow.serving.PredictRequest": predict,
      "tensorflow.serving.PredictRequest.RequestOptions": predict,
      "tensorflow.serving.PredictRequest.RequestOptions.DeterministicMode": predict,
      "tensorflow.serving.PredictRequest.RequestOptions.FIXED_DECODER_SLOT": predict,
      "tensorflow.serving.PredictRequest.inputs": predict,
      "tensorflow.serving.PredictRequest.InputsEntry": predict,
      "tensorflow.serving.ModelSpec.version_choice": "tensorflow_serving/apis/model.proto",
      "tensorflow.serving.PredictionService.Predict": "tensorflow_serving/apis/prediction_service.proto",
      "tensorflow.DataType": types,
      "tensorflow.DT_FLOAT": types,
      "grpc.reflection.v1alpha.ServerReflection": "grpc/reflection/v1alpha/reflection.proto",
      "google.protobuf.Int64Value": "google/protobuf/wrappers.proto",
    };
    for (const [value, file] of Object.entries(symbols)) {
      assert.equal(filesIn(await ask({ $case: "fileContainingSymbol", value }))[0], file, value);
    }
  });

  it("describes messages that have reserved numbers", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const { messageResponse } = await ask({ $case: "fileByFilename", value: "tensorflow_serving/apis/predict.proto" });
    const { fileDescriptorProto } = messageResponse!.value as { fileDescriptorProto: Uint8Array[] };
    const file = fromBinary(FileDescriptorProtoSchema, fileDescriptorProto[0]!);
    const request = file.messageType.find(({ name }) => name === "PredictRequest");
    assert.deepEqual(
      request?.reservedRange.map(({ start, end }) => [start, end]),
      [[4, 5]],
    );
  });

  it("answers NOT_FOUND on the stream, which goes on", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const unknown: Asked[] = [
      { $case: "fileByFilename", value: "no/such.proto" },
      { $case: "fileByFilename", value: "__proto__" },
      { $case: "fileContainingSymbol", value: "tensorflow.serving.Nothing" },
      { $case: "fileContainingSymbol", value: "" },
      { $case: "fileContainingExtension", value: { containingType: "tensorflow.TensorProto", extensionNumber: 1 } },
      { $case: "allExtensionNumbersOfType", value: "no.such.Type" },
    ];
    for (const request of unknown) {
      const { messageResponse } = await ask(request);
      assert.equal(messageResponse?.$case, "errorResponse");
      assert.equal((messageResponse.value as { errorCode: number }).errorCode, status.NOT_FOUND);
    }
    const { messageResponse } = await ask({ $case: "allExtensionNumbersOfType", value: "tensorflow.TensorProto" });
    assert.deepEqual(messageResponse, {
      $case: "allExtensionNumbersResponse",
      value: { baseTypeName: "tensorflow.TensorProto", extensionNumber: [] },
    });
  });

  it("refuses a question that asks nothing", async () => {
    const { services, ask } = await started();
    await using _ = services;
    await assert.rejects(ask(undefined), { code: status.INVALID_ARGUMENT });
  });
});
