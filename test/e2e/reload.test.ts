// HandleReloadConfigRequest and version labels over both doors, and what reloads do to calls in flight: nothing.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { ReloadConfigRequest } from "../gen/tensorflow_serving/apis/model_management.js";
import { ModelServiceClient } from "../gen/tensorflow_serving/apis/model_service.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, floatPredict, noMetadata } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { affineModel } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

/** Version v of it answers v · x + 100 v: an answer tells which version gave it. */
const versionedModel = (version: number) => affineModel(version, 100 * version);
const answerOf = (version: bigint, x: number) => Number(version) * (x + 100);

type Config = { readonly versions?: readonly bigint[]; readonly labels?: Readonly<Record<string, bigint>> } & Record<
  string,
  unknown
>;

describe("reloading over gRPC", () => {
  let folder: ModelFolder;
  let server: TestServer;
  before(async () => {
    folder = new ModelFolder();
    for (const version of [1, 2, 3]) folder.publish("m", version, versionedModel(version));
    folder.publish("broken", 1, new Uint8Array([1, 2, 3]));
    const config = folder.writeConfig({ m: "model_version_policy { specific { versions: [1, 2] } }" });
    server = await startTestServer(
      `--model_config_file=${config}`,
      "--max_num_load_retries=0",
      "--load_retry_interval_micros=-1",
    );
    await available(1n);
    await available(2n);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const model = (name: string, { versions, labels, ...more }: Config = {}) => ({
    name,
    basePath: folder.basePath(name),
    modelPlatform: "tensorflow",
    ...(versions && {
      modelVersionPolicy: { policyChoice: { $case: "specific" as const, value: { versions: [...versions] } } },
    }),
    versionLabels: new Map(Object.entries(labels ?? {})),
    ...more,
  });

  const reload = async (config: readonly object[], metricNames: string[] = []) => {
    using client = connect(ModelServiceClient, server.target);
    const request = ReloadConfigRequest.fromPartial({
      config: { config: { $case: "modelConfigList", value: { config: [...config] } } },
      metricNames,
    });
    return await call(client, client.handleReloadConfigRequest, request, noMetadata);
  };
  const predictLabelled = async (label: string, x: number) => {
    using client = connect(PredictionServiceClient, server.target);
    const request = floatPredict("m", "x", [x], [1, 1]);
    request.modelSpec!.versionChoice = { $case: "versionLabel", value: label };
    const response = await call(client, client.predict, request, noMetadata);
    const choice = response.modelSpec!.versionChoice;
    assert.ok(choice?.$case === "version");
    return { version: choice.value!, y: response.outputs.get("y")!.floatVal[0]! };
  };
  const restLabelled = async (label: string, x: number) => {
    const response = await fetch(`${server.url}/v1/models/m/labels/${label}:predict`, {
      method: "POST",
      body: JSON.stringify({ instances: [[x]] }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it("gives, moves and takes away labels, seen by both doors at once", async () => {
    await reload([model("m", { versions: [1n, 2n], labels: { stable: 1n, canary: 2n } })]);
    assert.deepEqual(await predictLabelled("stable", 1), { version: 1n, y: 101 });
    assert.deepEqual(await predictLabelled("canary", 1), { version: 2n, y: 202 });
    assert.deepEqual(await restLabelled("canary", 1), { status: 200, body: { predictions: [[202]] } });

    await reload([model("m", { versions: [1n, 2n], labels: { stable: 2n } })]);
    assert.deepEqual(await predictLabelled("stable", 1), { version: 2n, y: 202 });
    await assert.rejects(predictLabelled("canary", 1), {
      code: status.INVALID_ARGUMENT,
      details: "Unrecognized servable version label: canary",
    });
    assert.deepEqual(await restLabelled("canary", 1), {
      status: 400,
      body: { error: "Unrecognized servable version label: canary" },
    });
  });

  it("says OK in the response and how the named counters rose", async () => {
    folder.publish("more", 1, versionedModel(1));
    const keep = model("m", { versions: [1n, 2n] });
    const { status: said, metric } = await reload(
      [keep, model("more")],
      ["/tensorflow/cc/saved_model/load_attempt_count", "/tensorflow/serving/request_count"],
    );
    assert.deepEqual(said, { errorCode: 0, errorMessage: "" });
    const rose = new Map(metric.map(({ name, valueIncrease }) => [name, valueIncrease?.value]));
    assert.equal(rose.get("/tensorflow/cc/saved_model/load_attempt_count"), 1n);
    assert.equal(rose.get("/tensorflow/serving/request_count"), 0n);
    await reload([keep]);
  });

  it("changes nothing when it is refused", async () => {
    await reload([model("m", { versions: [1n, 2n], labels: { stable: 1n } })]);
    for (const refused of [
      [model("m", { versions: [2n], labels: { stable: 9n } })],
      [model("m", { versions: [2n], labels: { stable: 2n } }), model("n", { modelPlatform: "pytorch" })],
    ]) {
      await assert.rejects(reload(refused));
      assert.deepEqual(await predictLabelled("stable", 1), { version: 1n, y: 101 });
    }
  });

  it("serves the others when new models did not load", async () => {
    const served = model("m", { versions: [1n, 2n], labels: { stable: 2n } });
    await assert.rejects(reload([served, model("broken")]), { code: status.UNKNOWN });
    assert.deepEqual(await predictLabelled("stable", 1), { version: 2n, y: 202 });
  });

  it("loses no call while labels move and versions come and go: every answer is whole, and of the version it names", async () => {
    await reload([model("m", { versions: [1n, 2n], labels: { live: 1n } })]);
    const answered = new Map<bigint, number>();
    const wrong: string[] = [];
    let restAnswers = 0;
    let stopped = false;
    using client = connect(PredictionServiceClient, server.target);
    const grpcLane = async (seed: number) => {
      for (let x = seed; !stopped; x = (x + 7) % 1000) {
        const request = floatPredict("m", "x", [x, x + 1, x + 2], [3, 1]);
        if (x % 2 === 0) request.modelSpec!.versionChoice = { $case: "versionLabel", value: "live" };
        try {
          const { modelSpec, outputs } = await call(client, client.predict, request, noMetadata);
          const choice = modelSpec!.versionChoice;
          assert.ok(choice?.$case === "version");
          const version = choice.value!;
          const expected = [x, x + 1, x + 2].map((each) => answerOf(version, each));
          if (`${outputs.get("y")!.floatVal}` !== `${expected}`) wrong.push(`${version}: ${x}`);
          answered.set(version, (answered.get(version) ?? 0) + 1);
        } catch (error) {
          wrong.push(String(error));
        }
      }
    };
    const restLane = async () => {
      for (let x = 0; !stopped; x++) {
        const { status: code, body } = await restLabelled("live", x);
        const [[y]] = body["predictions"] as [[number]];
        const versions = [1n, 2n, 3n].filter((version) => answerOf(version, x) === y);
        if (code === 200 && versions.length > 0) restAnswers++;
        else wrong.push(`REST ${code}: ${JSON.stringify(body)}`);
      }
    };
    const lanes = [0, 1, 2, 3].map(grpcLane);
    lanes.push(restLane());
    const moves: [bigint[], bigint][] = [
      [[1n, 2n], 2n],
      [[2n, 3n], 2n],
    ];
    for (let round = 0; round < 2; round++) {
      for (const [versions, live] of moves) {
        await reload([model("m", { versions, labels: { live } })]);
      }
      await available(3n);
      await reload([model("m", { versions: [2n, 3n], labels: { live: 3n } })]);
      await reload([model("m", { versions: [1n, 3n], labels: { live: 3n } })]);
      await available(1n);
      await reload([model("m", { versions: [1n, 3n], labels: { live: 1n } })]);
      await reload([model("m", { versions: [1n, 2n], labels: { live: 1n } })]);
      await available(2n);
    }
    stopped = true;
    await Promise.all(lanes);
    assert.deepEqual(wrong, []);
    assert.deepEqual([...answered.keys()].sort(), [1n, 2n, 3n]);
    assert.ok(restAnswers > 0);
  });

  const available = async (version: bigint) => {
    for (let attempt = 0; attempt < 1000; attempt++) {
      const versions = server.server.repository.getModelStatus("m");
      if (versions.some((each) => each.version === version && each.state === "AVAILABLE")) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail(`version ${version} never became available`);
  };

  it("unloads everything for an empty list", async () => {
    await reload([]);
    await assert.rejects(predictLabelled("live", 1), { code: status.INVALID_ARGUMENT });
    for (let attempt = 0; attempt < 1000 && server.server.repository.liveVersions > 0; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(server.server.repository.liveVersions, 0);
  });
});
