// TensorFlow Serving's flags that no other end-to-end test passes by: what they promise, of a server started with them.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { HealthClient } from "../gen/grpc/health/v1/health.js";
import { GetModelStatusRequest } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { ModelServiceClient } from "../gen/tensorflow_serving/apis/model_service.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { affineModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

describe("a server with TensorFlow Serving's flags", () => {
  let folder: ModelFolder;
  let server: TestServer;
  let socket: string;
  before(async () => {
    folder = new ModelFolder();
    folder.publish("first", 1, affineModel(2, 1));
    folder.publish("second", 1, affineModel(3, 1));
    const monitoring = join(folder.path, "monitoring.config");
    writeFileSync(monitoring, 'prometheus_config { enable: true path: "/my/metrics" }');
    socket = join(folder.path, "grpc.sock");
    server = await startTestServer(
      "--port=0",
      `--grpc_socket_path=${socket}`,
      "--grpc_channel_arguments=grpc.max_receive_message_length=1000,grpc.no_such_thing=text",
      "--enable_grpc_healthcheck_service=false",
      "--rest_api_enable_cors_support",
      `--monitoring_config_file=${monitoring}`,
      `--model_config_file=${folder.writeConfig({ first: "" })}`,
      "--model_config_file_poll_wait_seconds=1",
      "--num_load_threads=1",
      "--file_quiet_period_ms=0",
    );
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const predict = async (model: string, values: readonly number[]) => {
    using client = connect(PredictionServiceClient, `unix:${socket}`);
    const request = floatPredict(model, "x", values, [values.length, 1]);
    return (await call(client, client.predict, request, noMetadata)).outputs.get("y")!.floatVal;
  };

  it("serves gRPC on its socket, and on no port", async () => {
    assert.equal(server.server.grpcPort, undefined);
    assert.deepEqual(await predict("first", [1, 2]), [3, 5]);
  });

  it("keeps to the channel arguments that it knows", async () => {
    await assert.rejects(predict("first", new Array(300).fill(1)), { code: status.RESOURCE_EXHAUSTED });
  });

  it("has no health service when it is turned off", async () => {
    using client = connect(HealthClient, `unix:${socket}`);
    await assert.rejects(call(client, client.check, { service: "" }, noMetadata), { code: status.UNIMPLEMENTED });
  });

  it("answers with CORS headers, and with metrics where the monitoring config says", async () => {
    const models = await fetch(`${server.url}/v1/models/first`);
    assert.equal(models.headers.get("access-control-allow-origin"), "*");
    const page = await (await fetch(`${server.url}/my/metrics`)).text();
    assert.match(page, /^:tensorflow:serving:request_count\{model_name="first",status="OK"\} [1-9]/m);
  });

  it("reads its config file again: models come and go with it", async () => {
    await assert.rejects(predict("second", [1]), { code: status.NOT_FOUND });
    folder.writeConfig({ second: "" });
    const served = async (model: string) => predict(model, [1]).then(Boolean, () => false);
    while (!(await served("second")) || (await served("first"))) await new Promise(setImmediate);
    assert.deepEqual(await predict("second", [1]), [4]);
    writeFileSync(join(folder.path, "models.config"), "no config at all");
    assert.deepEqual(await predict("second", [2]), [7]);
  });
});

describe("--file_system_poll_wait_seconds", () => {
  it("looks at no base path when it is negative", async () => {
    using folder = new ModelFolder();
    folder.publish("m", 1, affineModel(2, 1));
    await using server = await startTestServer(
      `--model_base_path=${folder.basePath("m")}`,
      "--model_name=m",
      "--file_system_poll_wait_seconds=-1",
      "--startup_wait_ms=0",
      "--file_quiet_period_ms=0",
    );
    const stateOf = async () => {
      using client = connect(ModelServiceClient, server.target);
      const request = GetModelStatusRequest.fromPartial({ modelSpec: { name: "m" } });
      return (await call(client, client.getModelStatus, request, noMetadata)).modelVersionStatus[0]!.state;
    };
    await assert.rejects(stateOf(), { code: status.NOT_FOUND });
    await server.server.pollNow();
    while ((await stateOf()) !== 30) await new Promise(setImmediate);
  });
});
