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
import { affineModel, scalarOutputModel } from "../support/test-models.js";
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

const onceOnly = ["--max_num_load_retries=0", "--load_retry_interval_micros=-1"];

describe("--enable_batching", () => {
  it("runs calls of all models together by the file's parameters", async () => {
    using folder = folderWith({ affine: affineModel(2, 1), total: scalarOutputModel() });
    const parameters = join(folder.path, "batching.config");
    writeFileSync(
      parameters,
      `max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } num_batch_threads { value: 2 }
       thread_pool_name { value: "pool" } allowed_batch_sizes: [4, 8]`,
    );
    await using server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ affine: "", total: "" })}`,
      "--enable_batching",
      `--batching_parameters_file=${parameters}`,
    );
    const answers = await Promise.all([1, 2, 3, 4].map((x) => predict(server, "affine", [x])));
    assert.deepEqual(answers, [[3], [5], [7], [9]]);
    await assert.rejects(predict(server, "affine", [1, 2, 3, 4, 5, 6, 7, 8, 9]), {
      code: status.INVALID_ARGUMENT,
      details: "Task size 9 is larger than maximum input batch size 8",
    });
    // Proven independent or not: the operator's word counts, and what cannot be split is said.
    await assert.rejects(predict(server, "total", [1, 2], [2]), {
      code: status.FAILED_PRECONDITION,
      details: "Batched output tensor has 0 dimensions",
    });
    const rest = await fetch(`${server.url}/v1/models/affine:predict`, {
      method: "POST",
      body: JSON.stringify({ instances: Array.from({ length: 9 }, () => [1]) }),
    });
    assert.deepEqual(
      [rest.status, await rest.json()],
      [400, { error: "Task size 9 is larger than maximum input batch size 8" }],
    );
    const page = await (await fetch(`${server.url}/metrics`)).text();
    for (const name of ["wrapped_run_count", "queuing_latency_count", "padding_size_count", "input_batch_size_count"]) {
      assert.match(page, new RegExp(`^:tensorflow:serving:batching_session:${name}\\{`, "m"));
    }
    const [{ loaded } = assert.fail()] = server.server.repository.getModelStatus("affine");
    assert.deepEqual(loaded?.batching, { enabled: true, reason: "enable_batching says so" });
  });

  it("fails to load a model whose parameters are wrong, with TensorFlow Serving's reason", async () => {
    using folder = folderWith({ affine: affineModel(2, 1) });
    const parameters = join(folder.path, "batching.config");
    writeFileSync(parameters, "max_batch_size { value: 8 } allowed_batch_sizes: 4");
    await using server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ affine: "" })}`,
      "--enable_batching",
      `--batching_parameters_file=${parameters}`,
      ...onceOnly,
    );
    const [version] = server.server.repository.getModelStatus("affine");
    assert.equal(version?.state, "END");
    assert.match(version?.error?.message ?? "", /Last entry in allowed_batch_sizes must match max_batch_size/);
  });

  it("takes each version's own file instead, batches none without one, and refuses a malformed one", async () => {
    using folder = folderWith({ own: affineModel(2, 1), none: affineModel(3, 0), bad: affineModel(4, 0) });
    const file = (model: string) => join(folder.basePath(model), "1", "batching_params.pbtxt");
    writeFileSync(file("own"), "max_batch_size { value: 2 }");
    writeFileSync(file("bad"), "max_batch_sizes { value: 2 }");
    await using server = await startTestServer(
      `--model_config_file=${folder.writeConfig({ own: "", none: "", bad: "" })}`,
      "--enable_batching",
      "--enable_per_model_batching_parameters",
      ...onceOnly,
    );
    await assert.rejects(predict(server, "own", [1, 2, 3]), { code: status.INVALID_ARGUMENT });
    assert.deepEqual(await predict(server, "own", [1, 2]), [3, 5]);
    assert.deepEqual(await predict(server, "none", [1, 2, 3]), [3, 6, 9]);
    const [bad] = server.server.repository.getModelStatus("bad");
    assert.match(bad?.error?.message ?? "", /Invalid protobuf file: .*no field named "max_batch_sizes"/);
  });

  it("stops the start where nothing could be batched with what is asked for", async () => {
    using folder = folderWith({ affine: affineModel(2, 1) });
    const parameters = join(folder.path, "batching.config");
    const start = (...flags: string[]) =>
      startTestServer(
        `--model_config_file=${folder.writeConfig({ affine: "" })}`,
        `--batching_parameters_file=${parameters}`,
        ...flags,
      );
    writeFileSync(parameters, "num_batch_threads { value: 0 }");
    await assert.rejects(
      start(),
      /server_options\.batching_parameters_file is set without setting server_options\.enable_batching to true\./,
    );
    await assert.rejects(start("--enable_batching"), /num_batch_threads must be positive; was 0/);
    writeFileSync(parameters, "no such thing");
    await assert.rejects(start("--enable_batching"), /Invalid protobuf file/);
  });
});
