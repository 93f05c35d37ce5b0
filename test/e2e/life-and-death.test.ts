// SIGTERM, version swaps and vanishing files under load: what must not be lost, counted.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import { HealthClient } from "../gen/grpc/health/v1/health.js";
import { ServerReflectionClient } from "../gen/grpc/reflection/v1/reflection.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { readJson } from "../support/read-json.js";
import { ServerProcess } from "../support/server-process.js";
import { slowModel } from "../support/test-models.js";
import { startTestServer } from "../support/test-server.js";

/** Calls one after the other until told to stop; every answer is checked, every error kept. */
function steadyLoad(target: string, model: string, lanes = 4) {
  const client = connect(PredictionServiceClient, target);
  const errors: ServiceError[] = [];
  const versions = new Map<bigint, number>();
  let answers = 0;
  let stopped = false;
  const lane = async () => {
    while (!stopped) {
      try {
        const response = await call(client, client.predict, floatPredict(model, "x", [1, 2]), noMetadata);
        assert.deepEqual(response.outputs.get("y")!.floatVal, [2.5, 3]);
        const choice = response.modelSpec!.versionChoice;
        assert.ok(choice?.$case === "version" && choice.value !== undefined);
        versions.set(choice.value, (versions.get(choice.value) ?? 0) + 1);
        answers++;
      } catch (error) {
        errors.push(error as ServiceError);
        stopped = true;
      }
    }
  };
  const lanesDone = Promise.all(Array.from({ length: lanes }, lane));
  return {
    errors,
    versions,
    answers: () => answers,
    async stop(): Promise<void> {
      stopped = true;
      await lanesDone;
      client[Symbol.dispose]();
    },
    ended: lanesDone,
  };
}

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
  for (let attempt = 0; attempt < 1500; attempt++) {
    if (await condition()) return;
    await delay(10);
  }
  assert.fail(`never came: ${what}`);
};

describe("SIGTERM under load", () => {
  it("loses no call, ends open streams, and exits with 0", async () => {
    await using server = await ServerProcess.start(
      "--model_config_file=models/models.config",
      "--drain_delay_ms=300",
      "--shutdown_timeout_ms=5000",
    );
    using health = connect(HealthClient, server.target);
    const watched: number[] = [];
    const watch = health.watch({ service: "" });
    watch.on("data", ({ status: state }) => watched.push(state));
    const watchEnded = new Promise((resolve) => watch.on("error", resolve).on("end", resolve));
    using reflection = connect(ServerReflectionClient, server.target);
    const stream = reflection.serverReflectionInfo();
    const streamEnded = new Promise((resolve) => stream.on("error", resolve).on("end", resolve));
    stream.resume();
    const load = steadyLoad(server.target, "half_plus_two");
    await until("answers", () => load.answers() > 50);

    server.kill("SIGTERM");
    await until("NOT_SERVING on the watch", () => watched.includes(2));
    const answersAtDrain = load.answers();
    await until("calls that are answered while draining", () => load.answers() > answersAtDrain);
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    await Promise.all([watchEnded, streamEnded]);
    assert.equal(watched[0], 1);
  });

  it("fails calls made after the drain only with a refused connection, never half-way", async () => {
    await using server = await ServerProcess.start("--model_config_file=models/models.config");
    const load = steadyLoad(server.target, "half_plus_two");
    await until("answers", () => load.answers() > 50);
    server.kill("SIGTERM");
    await load.ended;
    for (const error of load.errors) assert.equal(error.code, status.UNAVAILABLE, error.message);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    await load.stop();
  });

  it("is obeyed while models still load: no door opens, and the exit code is 0", async () => {
    using models = new ModelFolder();
    models.publish("slow", 1, slowModel(20_000));
    const config = models.writeConfig({ slow: "" });
    await using server = await ServerProcess.launch(`--model_config_file=${config}`, "--file_quiet_period_ms=60000");
    await until("the configuration to be applied", () => server.output.includes("model configuration applied"));
    server.kill("SIGTERM");
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.doesNotMatch(server.output, /Running gRPC/);
  });

  it("exits at once on the second signal", async () => {
    await using server = await ServerProcess.start(
      "--model_config_file=models/models.config",
      "--drain_delay_ms=600000",
    );
    server.kill("SIGTERM");
    await until("the first signal to be logged", () => server.output.includes("SIGTERM"));
    server.kill("SIGTERM");
    const { code, signal } = await server.exited;
    assert.ok(code !== 0 || signal !== null);
  });
});

describe("SIGTERM while a run goes on that nobody can end", () => {
  const startSlow = async (models: ModelFolder, ...flags: string[]) => {
    models.publish("slow", 1, slowModel("input"));
    const config = models.writeConfig({ slow: "" });
    return await ServerProcess.start(`--model_config_file=${config}`, ...flags);
  };
  const run = (target: string) => {
    const client = connect(PredictionServiceClient, target);
    const request = floatPredict("slow", "x", [1]);
    const iterations = { dtype: DataType.DT_INT64, tensorShape: { dim: [] }, int64Val: [1_000_000n] };
    request.inputs.set("iterations", TensorProto.fromPartial(iterations));
    return call(client, client.predict, request, noMetadata).finally(() => client[Symbol.dispose]());
  };

  it("cuts the call at the deadline and ends the process", async () => {
    using models = new ModelFolder();
    await using server = await startSlow(models, "--shutdown_timeout_ms=200");
    const refused = assert.rejects(run(server.target));
    await until("the run to begin", async () => {
      const page = await (await fetch(`${server.url}/metrics`)).text();
      return /^onnxd_sessions_busy\{[^}]*"slow"[^}]*\} 1$/m.test(page);
    });
    server.kill("SIGTERM");
    await refused;
    const { signal } = await server.exited;
    assert.equal(signal, "SIGKILL", server.output);
  });
});

describe("versions under load", () => {
  it("swaps 20 times without losing a call, each answer from a version that was there", async () => {
    using models = new ModelFolder();
    models.copyBundled("half_plus_two", 1, { model: "m" });
    const config = models.writeConfig({ m: "" });
    await using server = await startTestServer(`--model_config_file=${config}`, "--file_quiet_period_ms=0");
    const load = steadyLoad(server.target, "m");
    const available = async (version: number) => {
      const response = await fetch(`${server.url}/v1/models/m/versions/${version}`);
      if (!response.ok) return false;
      return (await readJson(response)).model_version_status[0].state === "AVAILABLE";
    };
    for (let version = 2; version <= 21; version++) {
      models.copyBundled("half_plus_two", 1, { model: "m", version });
      await server.server.pollNow();
      await until(`version ${version}`, () => available(version));
      models.remove("m", version - 1);
    }
    await until("an answer from the last version", () => load.versions.has(21n));
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.ok(load.versions.size > 1);
  });

  it("goes on with what is loaded when the base path vanishes", async () => {
    using models = new ModelFolder();
    models.copyBundled("half_plus_two", 1, { model: "m" });
    models.copyBundled("half_plus_two", 1, { model: "other" });
    const config = models.writeConfig({ m: "", other: "" });
    await using server = await startTestServer(`--model_config_file=${config}`);
    models.remove("m");
    models.copyBundled("half_plus_two", 1, { model: "other", version: 2 });
    await server.server.pollNow();
    await until("the other model's new version", async () => {
      const response = await fetch(`${server.url}/v1/models/other/versions/2`);
      return response.ok && (await readJson(response)).model_version_status[0].state === "AVAILABLE";
    });
    using client = connect(PredictionServiceClient, server.target);
    await call(client, client.predict, floatPredict("m", "x", [1]), noMetadata);
  });

  it("starts, and says why, when one model is broken and another is missing", async () => {
    using models = new ModelFolder();
    models.copyBundled("half_plus_two", 1, { model: "good" });
    models.publish("broken", 1, Buffer.from("this is no model"));
    const config = models.writeConfig({ good: "", broken: "", missing: "" });
    models.remove("missing");
    await using server = await startTestServer(`--model_config_file=${config}`, "--max_num_load_retries=0");
    using client = connect(PredictionServiceClient, server.target);
    await call(client, client.predict, floatPredict("good", "x", [1]), noMetadata);
    const broken = await readJson(await fetch(`${server.url}/v1/models/broken`));
    assert.equal(broken.model_version_status[0].state, "END");
    assert.notEqual(broken.model_version_status[0].status.error_code, "OK");
    assert.notEqual(broken.model_version_status[0].status.error_message, "");
    const missing = server.server.repository.getModel("missing")!;
    assert.match(missing.sourceError, /missing/);
  });
});
