// Several processes behind one port: nobody outside can tell, whatever happens to one of them.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import { TrainingClient } from "../../src/client/index.js";
import { CatalogServiceClient, ListModelsRequest } from "../gen/onnxd/v1/catalog.js";
import { ReloadConfigRequest } from "../gen/tensorflow_serving/apis/model_management.js";
import { ModelServiceClient } from "../gen/tensorflow_serving/apis/model_service.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { readDataSet } from "../support/data-set.js";
import { ModelFolder } from "../support/model-folder.js";
import { findSample, parsePrometheusText } from "../support/prometheus-text.js";
import { readJson } from "../support/read-json.js";
import { ServerProcess } from "../support/server-process.js";
import { affineModel } from "../support/test-models.js";

/** Version v answers v · x + 100 v: an answer tells which version gave it. */
const versionedModel = (version: number) => affineModel(version, 100 * version);

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
  for (let attempt = 0; attempt < 1500; attempt++) {
    if (await condition()) return;
    await delay(10);
  }
  assert.fail(`never came: ${what}`);
};

/** A connection of its own. */
const connection = (server: ServerProcess) => connect(PredictionServiceClient, server.target);

/** @returns the version that answered */
async function predict(client: PredictionServiceClient, version?: bigint, label?: string): Promise<number> {
  const request = floatPredict("m", "x", [1], [1, 1], version);
  if (label !== undefined) request.modelSpec!.versionChoice = { $case: "versionLabel", value: label };
  const { outputs, modelSpec } = await call(client, client.predict, request, noMetadata);
  const choice = modelSpec!.versionChoice;
  assert.ok(choice?.$case === "version");
  assert.equal(outputs.get("y")!.floatVal[0], Number(choice.value) * 101);
  return Number(choice.value);
}

/** Calls one after the other on one connection until told to stop, or until one fails. */
function steadyLane(server: ServerProcess, onAnswer: (version: number, floor: number) => void, floor = () => 0) {
  const client = connection(server);
  const lane = { answers: 0, error: undefined as ServiceError | undefined, stop: async () => {} };
  let stopped = false;
  const done = (async () => {
    while (!stopped) {
      const least = floor();
      try {
        onAnswer(await predict(client), least);
        lane.answers++;
      } catch (error) {
        lane.error = error as ServiceError;
        return;
      }
    }
  })();
  lane.stop = async () => {
    stopped = true;
    await done;
    client[Symbol.dispose]();
  };
  return lane;
}

const metrics = async (server: ServerProcess) =>
  parsePrometheusText(await (await fetch(`${server.url}/metrics`)).text());
const connectionsOf = async (server: ServerProcess) =>
  (await metrics(server)).filter(({ name }) => name === "onnxd_connections").map(({ value }) => value);
const isAvailable = async (server: ServerProcess, version: number) => {
  const response = await fetch(`${server.url}/v1/models/m/versions/${version}`);
  return response.ok && (await readJson(response)).model_version_status[0].state === "AVAILABLE";
};
const pids = (server: ServerProcess) =>
  [...server.output.matchAll(/"serving process (\d) is ready","pid":(\d+)/g)].map(
    ([, index, pid]) => [Number(index), Number(pid)] as const,
  );
const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe("two serving processes", () => {
  let models: ModelFolder;
  let server: ServerProcess;
  before(async () => {
    models = new ModelFolder();
    models.publish("m", 1, versionedModel(1));
    const config = models.writeConfig({ m: "" });
    server = await ServerProcess.start(
      "--serving_processes=2",
      `--model_config_file=${config}`,
      "--file_quiet_period_ms=0",
      "--drain_delay_ms=300",
    );
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    models[Symbol.dispose]();
  });

  it("share connections evenly, and count as one server", async () => {
    const clients = Array.from({ length: 8 }, () => connection(server));
    const total = async (name: string, labels = {}) => findSample(await metrics(server), name, labels) ?? 0;
    const labels = { model: "m", version: "1", api: "Predict", door: "grpc", code: "OK" };
    const before = await total("onnxd_requests_total", labels);
    const asked = await Promise.all(
      clients.map(async (client, index) => {
        for (let calls = 0; calls <= index; calls++) await predict(client);
        return index + 1;
      }),
    );
    const calls = asked.reduce((sum, each) => sum + each, 0);
    const samples = await metrics(server);
    assert.equal(findSample(samples, "onnxd_requests_total", labels), before + calls);
    assert.equal(findSample(samples, "nv_inference_request_success", { model: "m" }), before + calls);
    assert.equal(
      findSample(samples, "onnxd_request_duration_seconds_count", { model: "m", door: "grpc" }),
      before + calls,
    );
    const statistics = await readJson(await fetch(`${server.url}/v2/models/m/stats`));
    assert.equal(Number(statistics.model_stats[0].inference_count), before + calls);
    assert.equal(findSample(samples, "onnxd_sessions", { model: "m" }), 2);
    assert.equal(samples.filter(({ name }) => name === "onnxd_resident_memory_bytes").length, 3);
    // The connection that asks is one more, on either side.
    const open = samples.filter(({ name }) => name === "onnxd_connections").map(({ value }) => value);
    assert.equal(open.length, 2);
    assert.ok(Math.abs(open[0]! - open[1]!) <= 1, `${open}`);
    for (const client of clients) client[Symbol.dispose]();
    using catalog = connect(CatalogServiceClient, server.target);
    const { models: listed } = await call(catalog, catalog.listModels, ListModelsRequest.fromPartial({}), noMetadata);
    const placement = listed[0]!.versions[0]!.placement!;
    assert.equal(placement.sessions, 2);
    assert.match(placement.reason, /in each of 2 processes$/);
  });

  it("swap ten times under load: no error, and no older answer to a call made after a version was AVAILABLE", async () => {
    let available = 1;
    const old: string[] = [];
    const lanes = Array.from({ length: 4 }, () => {
      let last = 0;
      return steadyLane(
        server,
        (version, floor) => {
          if (version < floor || version < last) old.push(`${version} after ${floor}, ${last}`);
          last = version;
        },
        () => available,
      );
    });
    for (let version = 2; version <= 11; version++) {
      models.publish("m", version, versionedModel(version));
      // Another version policy is a reason to look at once.
      await reload({ stable: BigInt(version - 1) }, [BigInt(version - 1), BigInt(version)]);
      await until(`version ${version}`, () => isAvailable(server, version));
      available = version;
      const answered = lanes.map(({ answers }) => answers);
      await until("calls after it", () => lanes.every(({ answers }, index) => answers > answered[index]! + 1));
    }
    for (const lane of lanes) await lane.stop();
    assert.deepEqual(old, []);
    assert.deepEqual(
      lanes.map(({ error }) => error),
      lanes.map(() => undefined),
    );
  });

  it("show a reload at every door once it is answered, whichever process was asked", async () => {
    const clients = Array.from({ length: 4 }, () => connection(server));
    await reload({}, [1n, 11n]);
    await until("both versions", async () => (await isAvailable(server, 1)) && (await isAvailable(server, 11)));
    for (const stable of [1n, 11n, 1n, 11n]) {
      await reload({ stable }, [1n, 11n]);
      const answers = await Promise.all(clients.map((client) => predict(client, undefined, "stable")));
      assert.deepEqual(
        answers,
        clients.map(() => Number(stable)),
      );
    }
    await assert.rejects(reload({ stable: 99n }, [1n, 11n]), {
      code: status.FAILED_PRECONDITION,
      details: "Request to assign label to version 99 of model m, which is not currently available for inference",
    });
    for (const client of clients) client[Symbol.dispose]();
  });

  it("lose nothing but the calls of the one that is killed, which comes back with all versions", async () => {
    const requests = async () => findSample(await metrics(server), "onnxd_requests_total", { api: "Predict" }) ?? 0;
    const lanes = Array.from({ length: 4 }, () => steadyLane(server, () => {}));
    await until("answers", () => lanes.every(({ answers }) => answers > 10));
    const countedBefore = await requests();
    const [[, pid]] = pids(server)
      .filter(([index]) => index === 1)
      .slice(-1) as [readonly [number, number]];
    process.kill(pid, "SIGKILL");
    const failed = () => lanes.flatMap(({ error }) => (error === undefined ? [] : [error.code]));
    await until("its calls' ends", () => failed().length > 0 && !isAlive(pid));
    const answered = lanes.map(({ answers }) => answers);
    await until("the other's answers", () =>
      lanes.every(({ answers, error }, index) => error !== undefined || answers > answered[index]! + 10),
    );
    assert.ok((await requests()) >= countedBefore, "a counter went down");
    await until("the process to be back", async () => pids(server).length === 3);
    const clients = Array.from({ length: 6 }, () => connection(server));
    for (const version of [1n, 11n]) await Promise.all(clients.map((client) => predict(client, version)));
    const open = await connectionsOf(server);
    assert.ok(
      open.every((each) => each >= 3),
      `${open}`,
    );
    for (const lane of lanes) await lane.stop();
    assert.ok(failed().length < lanes.length && failed().every((code) => code === status.UNAVAILABLE), `${failed()}`);
    assert.doesNotMatch(server.output, /internal error in a call between processes/);
    for (const client of clients) client[Symbol.dispose]();
  });

  it("end together on SIGTERM without losing a call", async () => {
    const lanes = Array.from({ length: 4 }, () => steadyLane(server, () => {}));
    await until("answers", () => lanes.every(({ answers }) => answers > 10));
    server.kill("SIGTERM");
    await until("NOT_SERVING", async () => (await fetch(`${server.url}/readyz`)).status === 503);
    const answered = lanes.map(({ answers }) => answers);
    await until("calls while draining", () => lanes.every(({ answers }, index) => answers > answered[index]!));
    for (const lane of lanes) await lane.stop();
    assert.deepEqual(
      lanes.map(({ error }) => error),
      lanes.map(() => undefined),
    );
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.deepEqual(
      pids(server).filter(([, pid]) => isAlive(pid)),
      [],
    );
    for (const line of server.output.split("\n")) if (line.startsWith("{")) JSON.parse(line);
  });

  async function reload(labels: Readonly<Record<string, bigint>>, versions: readonly bigint[]): Promise<void> {
    using client = connect(ModelServiceClient, server.target);
    const policyChoice = { $case: "specific" as const, value: { versions: [...versions] } };
    const model = {
      name: "m",
      basePath: models.basePath("m"),
      modelPlatform: "onnx",
      modelVersionPolicy: { policyChoice },
      versionLabels: new Map(Object.entries(labels)),
    };
    const config = { config: { $case: "modelConfigList" as const, value: { config: [model] } } };
    const request = ReloadConfigRequest.fromPartial({ config, metricNames: [] });
    await call(client, client.handleReloadConfigRequest, request, noMetadata);
  }
});

describe("serving processes", () => {
  it("obey explicit control whichever of them is asked, and show it at all of them", async () => {
    using models = new ModelFolder();
    models.publish("m", 1, versionedModel(1));
    await using server = await ServerProcess.start(
      "--serving_processes=2",
      `--model_repository=${models.path}`,
      "--model_control_mode=explicit",
    );
    const clients = Array.from({ length: 4 }, () => connection(server));
    const post = async (verb: string, body = "") =>
      (await fetch(`${server.url}/v2/repository/models/m/${verb}`, { method: "POST", body })).status;
    for (let round = 0; round < 2; round++) {
      assert.equal(await post("load"), 200);
      assert.deepEqual(await Promise.all(clients.map((client) => predict(client))), [1, 1, 1, 1]);
      assert.equal(await post("unload"), 200);
      for (const client of clients) await assert.rejects(predict(client), { code: status.NOT_FOUND });
    }
    assert.equal(await post("load", JSON.stringify({ parameters: { config: '{"backend":"no such"}' } })), 400);
    for (const client of clients) client[Symbol.dispose]();
  });

  it("do not outlive the process in charge", async () => {
    await using server = await ServerProcess.start("--serving_processes=2", "--model_config_file=models/models.config");
    const serving = pids(server);
    assert.equal(serving.length, 2);
    server.kill("SIGKILL");
    await until("their end", () => serving.every(([, pid]) => !isAlive(pid)));
  });

  it("cannot be started with what one of them cannot read: the reason is the process in charge's", async () => {
    await using server = await ServerProcess.launch(
      "--serving_processes=2",
      "--model_config_file=models/models.config",
      "--ssl_config_file=/no/such/ssl.config",
    );
    assert.equal((await server.exited).code, 255);
    assert.match(server.output, /Failed to start server\. Error: .*\/no\/such\/ssl\.config/);
  });
});

describe("training with several serving processes", () => {
  let folder: string;
  let server: ServerProcess;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-training-"));
    server = await ServerProcess.start("--serving_processes=2", `--training_dir=${folder}`, "--log_format=json");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  const csv = readDataSet("iris");
  const spec = (epochs: number) => ({
    model: "flowers",
    layers: [{ dense: { units: 3, activation: "softmax" } }],
    table: { target: "target" },
    optimizer: { learning_rate: 0.05 },
    epochs,
  });

  it("is one service at every connection: jobs, events, versions, evaluations", async () => {
    // The dispatcher gives each the process with the fewest connections: one each.
    const [one, other] = [new TrainingClient(server.target), new TrainingClient(server.target)];
    const job = await one.train(spec(5), { csv }).result();
    assert.deepEqual([job.state, job.publishedVersion], ["SUCCEEDED", 1n]);
    const seen = [];
    for await (const event of other.watchJob(job.id)) seen.push(event.kind);
    assert.equal(seen.filter((kind) => kind === "epoch").length, 5);
    const report = await other.evaluate("flowers", { csv });
    assert.deepEqual([report.version, report.evaluation!.rows], [1n, 150n]);
    await assert.rejects(other.getJob("nobody"), /there is no job "nobody"/);
    await other.deleteJob(job.id);
    await assert.rejects(one.getJob(job.id), /there is no job/);
    one.close();
    other.close();
  });

  it("goes on when the process dies through which a job was sent", async () => {
    const client = new TrainingClient(server.target);
    let id = "";
    for await (const event of client.train(spec(1_000_000), { csv })) {
      id = event.jobId;
      if (event.kind === "epoch") break;
    }
    for (const [, pid] of pids(server)) process.kill(pid, "SIGKILL");
    // Asked again until a process is there to answer.
    const { lastEvent, state } = await client.getJob(id);
    assert.equal(state, "RUNNING");
    for await (const event of client.watchJob(id, { from: lastEvent + 1n })) if (event.kind === "epoch") break;
    assert.equal((await client.cancelJob(id)).state, "CANCELLED");
    client.close();
  });

  it("stops at SIGTERM with a checkpoint, though somebody watches", async () => {
    const client = new TrainingClient(server.target, { retry: { maxAttempts: 1 } });
    const running = client.train(spec(1_000_000), { csv });
    let id = "";
    let told = false;
    await assert.rejects(async () => {
      for await (const event of running) {
        id = event.jobId;
        if (event.kind !== "epoch" || told) continue;
        told = true; // a second signal would end the server at once
        server.kill("SIGTERM");
      }
    }, /server is closing|Connection dropped|ECONNRE|UNAVAILABLE/);
    assert.equal((await server.exited).code, 0);
    const { job } = JSON.parse(readFileSync(join(folder, "jobs", id, "job.json"), "utf8"));
    assert.equal(job.state, "RUNNING");
    assert.ok(existsSync(join(folder, "jobs", id, "checkpoint.bin")));
    client.close();
  });
});
