import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Metadata } from "@grpc/grpc-js";
import type { PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { connect, floatPredict } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { affineModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";
import { until } from "../support/until.js";

describe("a request by version label", () => {
  let folder: ModelFolder;
  let server: TestServer;
  before(async () => {
    folder = new ModelFolder();
    folder.publish("m", 1, affineModel(2, 0));
    folder.publish("m", 2, affineModel(3, 0));
    const labels = 'model_version_policy { all {} } version_labels { key: "stable" value: 1 }';
    server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ m: labels })}`,
      "--allow_version_labels_for_unavailable_models",
      "--file_quiet_period_ms=0",
    );
    await until(() => server.server.repository.getModelStatus("m").every(({ state }) => state === "AVAILABLE"));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** The answer, and the headers it came with. */
  async function predict(versionLabel?: string): Promise<{ response: PredictResponse; headers: Metadata }> {
    using client = connect(PredictionServiceClient, server.target);
    const request = floatPredict("m", "x", [1], [1, 1]);
    if (versionLabel !== undefined) {
      request.modelSpec!.versionChoice = { $case: "versionLabel", value: versionLabel };
    }
    return await new Promise((resolve, reject) => {
      let headers = new Metadata();
      client
        .predict(request, new Metadata(), (error, response) => (error ? reject(error) : resolve({ response, headers })))
        .on("metadata", (given) => {
          headers = given;
        });
    });
  }

  it("is answered over gRPC with the version in model_spec and the label in a header", async () => {
    const { response, headers } = await predict("stable");
    assert.deepEqual(response.outputs.get("y")!.floatVal, [2]);
    assert.deepEqual(response.modelSpec!.versionChoice, { $case: "version", value: 1n });
    assert.deepEqual(headers.get("onnxd-version-label"), ["stable"]);
    assert.deepEqual((await predict()).headers.get("onnxd-version-label"), []);
  });

  it("is answered over REST with both in headers", async () => {
    const post = (path: string) =>
      fetch(`${server.url}/v1/models/m${path}:predict`, { method: "POST", body: '{"instances": [[1.0]]}' });
    const { headers } = await post("/labels/stable");
    assert.deepEqual([headers.get("onnxd-version-label"), headers.get("onnxd-model-version")], ["stable", "1"]);
    assert.equal((await post("")).headers.get("onnxd-version-label"), null);
  });
});
