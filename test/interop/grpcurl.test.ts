// grpcurl, a gRPC client in Go that knows nothing of our .proto files but what reflection tells it.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { findTool } from "../support/find-tool.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const grpcurl = findTool("grpcurl");
const run = promisify(execFile);

for (const transport of ["http2", "grpc-js"])
  describe(`grpcurl on ${transport}`, { skip: grpcurl === undefined ? "grpcurl is not on the path" : false }, () => {
    let server: TestServer;
    before(async () => {
      server = await startTestServer(`--grpc_transport=${transport}`);
    });
    after(() => server[Symbol.asyncDispose]());

    const ask = async (...args: string[]) => (await run(grpcurl!, ["-plaintext", ...args])).stdout;

    it("lists the services", async () => {
      const services = (await ask(server.target, "list")).trim().split("\n").sort();
      for (const service of [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "onnxd.v1.CatalogService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
      ]) {
        assert.ok(services.includes(service), `${service} in ${services}`);
      }
    });

    it("describes every service and every message it can reach, reserved ranges included", async () => {
      const services = (await ask(server.target, "list")).trim().split("\n");
      for (const service of services) {
        const description = await ask(server.target, "describe", service);
        for (const [, message] of description.matchAll(/\( (?:stream )?\.(\S+) \)/g)) {
          assert.match(await ask(server.target, "describe", message!), /is a message/);
        }
      }
      assert.match(await ask(server.target, "describe", "tensorflow.serving.PredictRequest"), /reserved 4;/);
      assert.match(await ask(server.target, "describe", "tensorflow.serving.ModelConfig"), /reserved/);
    });

    it("predicts", async () => {
      const request = JSON.stringify({
        model_spec: { name: "half_plus_two" },
        inputs: { x: { dtype: "DT_FLOAT", tensor_shape: { dim: [{ size: 3 }] }, float_val: [1, 2, 5] } },
      });
      const answer = await ask("-d", request, server.target, "tensorflow.serving.PredictionService/Predict");
      const response = JSON.parse(answer);
      assert.deepEqual(response.outputs.y.floatVal, [2.5, 3, 4.5]);
      assert.equal(response.modelSpec.version, "2");
    });

    it("unpacks the signatures in GetModelMetadata", async () => {
      const request = JSON.stringify({ model_spec: { name: "digits" }, metadata_field: ["signature_def"] });
      const answer = await ask("-d", request, server.target, "tensorflow.serving.PredictionService/GetModelMetadata");
      assert.match(answer, /"serving_default"/);
      assert.match(answer, /"probabilities"/);
    });

    it("lists models", async () => {
      const { models } = JSON.parse(await ask(server.target, "onnxd.v1.CatalogService/ListModels"));
      assert.equal(models.length, 5);
    });

    it("watches health", async () => {
      const watch = spawn(grpcurl!, ["-plaintext", "-d", "{}", server.target, "grpc.health.v1.Health/Watch"]);
      const [first] = await once(watch.stdout, "data");
      watch.kill();
      assert.match(String(first), /SERVING/);
    });
  });
