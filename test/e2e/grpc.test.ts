// The gRPC door of the real server, with the clients people have: generated stubs, and stubs made at run time from .proto files.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { HealthCheckResponse_ServingStatus, HealthClient } from "../gen/grpc/health/v1/health.js";
import { CatalogServiceClient, ListModelsRequest, type ListModelsResponse } from "../gen/onnxd/v1/catalog.js";
import {
  GetModelMetadataRequest,
  type GetModelMetadataResponse,
  SignatureDefMap,
} from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest, type GetModelStatusResponse } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { ModelServiceClient } from "../gen/tensorflow_serving/apis/model_service.js";
import type { PredictRequest, PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

for (const transport of ["http2", "grpc-js"])
  describe(`the gRPC door on ${transport}`, () => {
    let server: TestServer;
    before(async () => {
      server = await startTestServer(`--grpc_transport=${transport}`);
    });
    after(() => server[Symbol.asyncDispose]());

    const predict = async (request: PredictRequest): Promise<PredictResponse> => {
      using client = connect(PredictionServiceClient, server.target);
      return await call(client, client.predict, request, noMetadata);
    };
    const refusal = async (request: PredictRequest): Promise<ServiceError> => {
      try {
        await predict(request);
      } catch (error) {
        return error as ServiceError;
      }
      assert.fail("the call succeeded");
    };

    it("answers Predict and says which version and signature did", async () => {
      const response = await predict(floatPredict("half_plus_two", "x", [1, 2, 5]));
      const y = response.outputs.get("y")!;
      assert.deepEqual(y.floatVal, [2.5, 3, 4.5]);
      assert.deepEqual(
        y.tensorShape!.dim.map(({ size }) => size),
        [3n],
      );
      assert.equal(response.modelSpec!.name, "half_plus_two");
      assert.equal(response.modelSpec!.signatureName, "serving_default");
      assert.deepEqual(response.modelSpec!.versionChoice, { $case: "version", value: 2n });
    });

    it("answers for the version that is asked for", async () => {
      const response = await predict(floatPredict("half_plus_two", "x", [1], [1], 1n));
      assert.deepEqual(response.modelSpec!.versionChoice, { $case: "version", value: 1n });
    });

    it("takes an empty batch", async () => {
      const y = (await predict(floatPredict("half_plus_two", "x", [], [0]))).outputs.get("y")!;
      assert.deepEqual(
        y.tensorShape!.dim.map(({ size }) => size),
        [0n],
      );
      assert.deepEqual(y.floatVal, []);
    });

    it("serves a scikit-learn classifier that ends in ZipMap, labels and probabilities as tensors", async () => {
      const response = await predict(
        floatPredict("iris", "X", [5.1, 3.5, 1.4, 0.2, 6.6, 3, 4.4, 1.4, 5.9, 3, 5.1, 1.8], [3, 4]),
      );
      assert.deepEqual(response.outputs.get("output_label")!.int64Val, [0n, 1n, 2n]);
      const probabilities = response.outputs.get("output_probability")!;
      assert.deepEqual(
        probabilities.tensorShape!.dim.map(({ size }) => size),
        [3n, 3n],
      );
      assert.ok(Math.abs(probabilities.floatVal[0]! - 0.9815846522037225) < 1e-5);
    });

    it("refuses in TensorFlow Serving's codes and words", async () => {
      const unknownModel = await refusal(floatPredict("nothing", "x", [1]));
      assert.equal(unknownModel.code, status.NOT_FOUND);
      assert.equal(unknownModel.details, "Servable not found for request: Latest(nothing)");

      const unknownVersion = await refusal(floatPredict("half_plus_two", "x", [1], [1], 99n));
      assert.equal(unknownVersion.code, status.NOT_FOUND);
      assert.equal(unknownVersion.details, "Servable not found for request: Specific(half_plus_two, 99)");

      const wrongInput = await refusal(floatPredict("half_plus_two", "z", [1]));
      assert.equal(wrongInput.code, status.INVALID_ARGUMENT);
      assert.match(wrongInput.details, /^Signature input alias: x\(feed name: x(:0)?\) not found in request/);

      const wrongRank = await refusal(floatPredict("half_plus_two", "x", [1, 2], [1, 2]));
      assert.equal(wrongRank.code, status.INVALID_ARGUMENT);
      assert.match(wrongRank.details, /half_plus_two.*x.*\[1,2\]/s);
    });

    it("refuses a gigantic shape without data, before it allocates anything", async () => {
      const before = process.memoryUsage().rss;
      for (const shape of [[2 ** 40], [2 ** 31, 2 ** 31], [2 ** 52, 2 ** 52], [-1]]) {
        const error = await refusal(floatPredict("half_plus_two", "x", [], shape));
        assert.equal(error.code, status.INVALID_ARGUMENT, `[${shape}]`);
      }
      assert.ok(process.memoryUsage().rss - before < 200e6);
    });

    it("treats __proto__ as a name like any other", async () => {
      const error = await refusal(floatPredict("half_plus_two", "__proto__", [1]));
      assert.equal(error.code, status.INVALID_ARGUMENT);
      assert.match(error.details, /Signature input alias: x/);
    });

    it("describes signatures in GetModelMetadata", async () => {
      using client = connect(PredictionServiceClient, server.target);
      const response: GetModelMetadataResponse = await call(
        client,
        client.getModelMetadata,
        GetModelMetadataRequest.fromPartial({ modelSpec: { name: "half_plus_two" }, metadataField: ["signature_def"] }),
        noMetadata,
      );
      const any = response.metadata.get("signature_def")!;
      assert.equal(any.typeUrl, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
      const signature = SignatureDefMap.decode(any.value).signatureDef.get("serving_default")!;
      assert.equal(signature.methodName, "tensorflow/serving/predict");
      assert.deepEqual(signature.inputs.get("x")!.tensorShape!.dim[0]!.size, -1n);
    });

    it("lists versions in GetModelStatus from the largest to the smallest", async () => {
      using client = connect(ModelServiceClient, server.target);
      const response: GetModelStatusResponse = await call(
        client,
        client.getModelStatus,
        GetModelStatusRequest.fromPartial({ modelSpec: { name: "half_plus_two" } }),
        noMetadata,
      );
      assert.deepEqual(
        response.modelVersionStatus.map(({ version, state }) => [version, state]),
        [
          [2n, 30],
          [1n, 30],
        ],
      );
    });

    it("lists all models, by pages", async () => {
      using client = connect(CatalogServiceClient, server.target);
      const names: string[] = [];
      let pageToken = "";
      do {
        const page: ListModelsResponse = await call(
          client,
          client.listModels,
          ListModelsRequest.fromPartial({ pageSize: 2, pageToken }),
          noMetadata,
        );
        assert.ok(page.models.length <= 2);
        names.push(...page.models.map(({ name }) => name));
        for (const model of page.models) {
          const version = model.versions[0]!;
          assert.equal(version.state, 30);
          assert.ok(version.sizeBytes > 0n);
          assert.ok(version.placement!.sessions >= 1 && version.placement!.reason !== "");
          assert.notEqual(version.batching!.reason, "");
          assert.ok(version.signatures[0]!.inputs.length > 0);
        }
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      assert.deepEqual(names, ["digits", "half_plus_three", "half_plus_two", "iris", "linear_regression"]);
    });

    it("says that it is healthy, as a whole and for each model", async () => {
      using client = connect(HealthClient, server.target);
      for (const service of ["", "tensorflow.serving.PredictionService", "PredictionService", "model/half_plus_two"]) {
        const response = await call(client, client.check, { service }, noMetadata);
        assert.equal(response.status, HealthCheckResponse_ServingStatus.SERVING, service);
      }
      await assert.rejects(call(client, client.check, { service: "model/nothing" }, noMetadata), {
        code: status.NOT_FOUND,
      });
    });

    it("answers a client made at run time from the .proto files", async () => {
      const definition = loadSync("tensorflow_serving/apis/prediction_service.proto", {
        includeDirs: [join(repositoryRoot, "proto")],
        keepCase: true,
        longs: String,
      });
      // biome-ignore lint/suspicious/noExplicitAny: such a client has no types.
      const { PredictionService } = (loadPackageDefinition(definition) as any).tensorflow.serving;
      const client = new PredictionService(server.target, credentials.createInsecure());
      const content = Buffer.alloc(8);
      content.writeFloatLE(10, 0);
      content.writeFloatLE(-4, 4);
      const request = {
        model_spec: { name: "half_plus_three" },
        inputs: { x: { dtype: "DT_FLOAT", tensor_shape: { dim: [{ size: 2 }] }, tensor_content: content } },
      };
      try {
        // biome-ignore lint/suspicious/noExplicitAny: as above.
        const response: any = await new Promise((resolve, reject) =>
          client.Predict(request, (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer))),
        );
        assert.deepEqual(response.outputs.y.float_val, [8, 1]);
      } finally {
        client.close();
      }
    });

    it("echoes the request id it was given", async () => {
      using client = connect(PredictionServiceClient, server.target);
      const metadata = noMetadata.clone();
      metadata.set("x-request-id", "abc-123");
      const echoed = await new Promise<unknown>((resolve, reject) => {
        const request = floatPredict("half_plus_two", "x", [1]);
        const answer = client.predict(request, metadata, (error) => error && reject(error));
        answer.on("status", ({ metadata: trailers }) => resolve(trailers.get("x-request-id")[0]));
      });
      assert.equal(echoed, "abc-123");
    });
  });
