// --enable_batching on the real server: what an operator's files say is what calls get, on both doors.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { affineModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

async function predict(server: TestServer, model: string, values: readonly number[], shape = [values.length, 1]) {
  using client = connect(PredictionServiceClient, server.target);
  const response = await call(client, client.predict, floatPredict(model, "x", values, shape), noMetadata);
  return response.outputs.get("y")!.floatVal;
}

function folderWith(models: Record<string, Uint8Array>): ModelFolder {
  const folder = new ModelFolder();
  for (const [name, bytes] of Object.entries(models)) folder.publish(name, 1, bytes);
  return folder;
}

describe("--enable_batching", () => {
  it("runs calls of all models together by the file's parameters", async () => {
    using folder = folderWith({ affine: affineModel(2, 1) });
    const parameters = join(folder.path, "batching.config");
    writeFileSync(
      parameters,
      `max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } num_batch_threads { value: 2 }
       thread_pool_name { value: "pool" } allowed_batch_sizes: [4, 8]`,
    );
    await using server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ affine: "" })}`,
      "--enable_batching",
      `--batching_parameters_file=${parameters}`,
    );
    const answers = await Promise.all([1, 2, 3, 4].map((x) => predict(server, "affine", [x])));
    assert.deepEqual(answers, [[3], [5], [7], [9]]);
    const page = await (await fetch(`${server.url}/metrics`)).text();
    for (const name of ["wrapped_run_count", "queuing_latency_count", "padding_size_count", "input_batch_size_count"]) {
      assert.match(page, new RegExp(`^:tensorflow:serving:batching_session:${name}\\{`, "m"));
    }
    const [{ loaded } = assert.fail()] = server.server.repository.getModelStatus("affine");
    assert.deepEqual(loaded?.batching, { enabled: true, reason: "enable_batching says so" });
  });

  it("takes each version's own file instead, and batches none without one", async () => {
    using folder = folderWith({ own: affineModel(2, 1), none: affineModel(3, 0) });
    writeFileSync(join(folder.basePath("own"), "1", "batching_params.pbtxt"), "max_batch_size { value: 2 }");
    await using server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ own: "", none: "" })}`,
      "--enable_batching",
      "--enable_per_model_batching_parameters",
    );
    await assert.rejects(predict(server, "own", [1, 2, 3]), { code: status.INVALID_ARGUMENT });
    assert.deepEqual(await predict(server, "own", [1, 2]), [3, 5]);
    assert.deepEqual(await predict(server, "none", [1, 2, 3]), [3, 6, 9]);
  });
});
