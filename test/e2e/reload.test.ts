// HandleReloadConfigRequest and version labels over both doors, and what reloads do to calls in flight: nothing.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type ServiceError, status } from "@grpc/grpc-js";
import type { ModelSpec } from "../gen/tensorflow_serving/apis/model.js";
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

interface Meaning {
  readonly version: bigint;
  readonly from: number;
  to: number;
}

function versionOf(modelSpec: ModelSpec | undefined): bigint {
  const choice = modelSpec?.versionChoice;
  assert.ok(choice?.$case === "version");
  return choice.value!;
}

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
      "--file_quiet_period_ms=0", // versions are renamed into place
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

  it("loses no call while labels move and versions come, go and take over: each answer is whole, and of the version it names", async () => {
    folder.publish("swap", 1, versionedModel(1));
    /** Which version a label, or the latest one, may have meant; from and to are moments of `now`. */
    const meant = { live: [] as Meaning[], latest: [] as Meaning[] };
    let now = 0;
    const means = async (what: keyof typeof meant, version: bigint, change: () => Promise<unknown>) => {
      const before = meant[what].at(-1);
      meant[what].push({ version, from: ++now, to: Number.POSITIVE_INFINITY });
      await change();
      if (before !== undefined) before.to = ++now;
    };
    const apply = (versions: bigint[], live: bigint) =>
      reload([model("m", { versions, labels: { live } }), model("swap")]);
    await means("live", 1n, () => apply([1n, 2n], 1n));
    await means("latest", 1n, () => available(1n, "swap"));

    const counts = { sent: 0, answered: 0, missing: 0, rest: 0 };
    const answeredBy = { m: new Set<bigint>(), swap: new Set<bigint>() };
    const wrong: string[] = [];
    let stopped = false;
    using client = connect(PredictionServiceClient, server.target);
    const lane = async (ask: (x: number) => Promise<void>) => {
      for (let x = 1; !stopped; x = (x % 1000) + 1) {
        counts.sent++;
        await ask(x).catch((error) => wrong.push(String(error)));
      }
    };
    const check = (name: "m" | "swap", version: bigint, xs: number[], ys: number[], meaning?: Meaning[], start = 0) => {
      counts.answered++;
      answeredBy[name].add(version);
      const expected = xs.map((x) => answerOf(version, x));
      if (`${ys}` !== `${expected}`) wrong.push(`${name} ${version}: ${xs} gave ${ys}`);
      const inTime = meaning?.some((each) => each.version === version && each.from <= now && each.to >= start);
      if (inTime === false) wrong.push(`${name} ${version} answered when it was not meant`);
    };
    const predictLane = (name: "m" | "swap", choice?: ModelSpec["versionChoice"], meaning?: Meaning[]) =>
      lane(async (x) => {
        const xs = [x, x + 1, x + 2];
        const request = floatPredict(name, "x", xs, [3, 1]);
        request.modelSpec!.versionChoice = choice;
        const start = now;
        try {
          const { modelSpec, outputs } = await call(client, client.predict, request, noMetadata);
          check(name, versionOf(modelSpec), xs, outputs.get("y")!.floatVal, meaning, start);
        } catch (error) {
          const { code, details } = error as ServiceError;
          // Only who asks for a version by its number may be told that it is not there.
          if (choice?.$case !== "version" || code !== status.NOT_FOUND) throw error;
          assert.equal(details, `Servable not found for request: Specific(${name}, ${choice.value})`);
          counts.missing++;
        }
      });
    const regressLane = () =>
      lane(async (x) => {
        const examples = [x, x + 1].map((value) => ({
          features: { feature: new Map([["x", { kind: { $case: "floatList" as const, value: { value: [value] } } }]]) },
        }));
        const input = { kind: { $case: "exampleList" as const, value: { examples } } };
        const start = now;
        const { modelSpec, result } = await call(
          client,
          client.regress,
          { modelSpec: { name: "swap", signatureName: "regress", versionChoice: undefined }, input },
          noMetadata,
        );
        const ys = result!.regressions.map(({ value }) => value);
        check("swap", versionOf(modelSpec), [x, x + 1], ys, meant.latest, start);
      });
    const restLane = () =>
      lane(async (x) => {
        const start = now;
        const { status: code, body } = await restLabelled("live", x);
        assert.equal(code, 200, JSON.stringify(body));
        const [[y]] = body["predictions"] as [[number]];
        // REST names no version: the answer does.
        check("m", BigInt(Math.round(y / (x + 100))), [x], [y], meant.live, start);
        counts.rest++;
      });
    const lanes = [
      predictLane("m"),
      predictLane("m", { $case: "versionLabel", value: "live" }, meant.live),
      predictLane("m", { $case: "versionLabel", value: "live" }, meant.live),
      predictLane("m", { $case: "version", value: 3n }),
      predictLane("swap", undefined, meant.latest),
      regressLane(),
      restLane(),
    ];
    const swapTo = (version: number) =>
      means("latest", BigInt(version), async () => {
        folder.publish("swap", version, versionedModel(version));
        await server.server.pollNow();
        await available(BigInt(version), "swap");
        folder.remove("swap", version - 1);
      });
    await means("live", 2n, () => apply([1n, 2n], 2n));
    await apply([2n, 3n], 2n);
    await Promise.all([available(3n), swapTo(2)]);
    await means("live", 3n, () => apply([2n, 3n], 3n));
    await apply([1n, 3n], 3n);
    await Promise.all([available(1n), swapTo(3)]);
    await means("live", 1n, () => apply([1n, 3n], 1n));
    await apply([1n, 2n], 1n);
    await available(2n);
    stopped = true;
    await Promise.all(lanes);
    assert.deepEqual(wrong, []);
    assert.equal(counts.answered + counts.missing, counts.sent);
    assert.deepEqual([...answeredBy.m].sort(), [1n, 2n, 3n]);
    assert.deepEqual([...answeredBy.swap].sort(), [1n, 2n, 3n]);
    assert.ok(counts.rest > 0 && counts.missing > 0, JSON.stringify(counts));
  });

  const available = async (version: bigint, name = "m") => {
    for (let attempt = 0; attempt < 1000; attempt++) {
      const versions = server.server.repository.getModelStatus(name);
      if (versions.some((each) => each.version === version && each.state === "AVAILABLE")) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail(`version ${version} of ${name} never became available`);
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
