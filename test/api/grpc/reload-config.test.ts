import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ManagementPolicy } from "../../../src/api/auth/management.js";
import { bytesOfMessage } from "../../../src/api/codecs/encodable-message.js";
import { modelService } from "../../../src/api/grpc/model-service.js";
import type { Call, Peer, UnaryMethod } from "../../../src/api/grpc/service-table.js";
import { CancellationSource } from "../../../src/cancellation.js";
import { Code, failedPrecondition } from "../../../src/status.js";
import { Metrics } from "../../../src/telemetry/index.js";
import { ReloadConfigRequest, ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { FakeRepository } from "../../support/fake-repository.js";
import { rejectsWith } from "../../support/rejects-with.js";

const loopback: Peer = { address: "127.0.0.1:5", local: true };
const elsewhere: Peer = { address: "192.0.2.1:5", local: false };

/** The method as a transport calls it: bytes in, bytes out. */
function method(management: ManagementPolicy = "local") {
  const repository = new FakeRepository();
  const metrics = new Metrics({ build: {} });
  const readCounter = (name: string) => metrics.readCounter(name);
  const found = modelService(repository, { management, readCounter }).find(({ path }) =>
    path.endsWith("/HandleReloadConfigRequest"),
  ) as UnaryMethod<unknown, unknown>;
  const ask = async (
    request: Parameters<typeof ReloadConfigRequest.fromPartial>[0],
    peer = loopback,
  ): Promise<ReloadConfigResponse> => {
    const bytes = ReloadConfigRequest.encode(ReloadConfigRequest.fromPartial(request)).finish();
    const call = { peer, record: {}, cancellation: new CancellationSource() } as unknown as Call;
    const nobody = { resolve: () => {}, reject: () => {} };
    return ReloadConfigResponse.decode(
      bytesOfMessage(found.encode(await found.handle(found.decode(bytes), call, nobody))),
    );
  };
  return { repository, metrics, ask };
}

const list = (...config: object[]) => ({ config: { $case: "modelConfigList" as const, value: { config } } });
const load = { model: "m", version: 1n, path: "/m/1", code: Code.OK, seconds: 1 };

describe("HandleReloadConfigRequest", () => {
  it("hands the repository all that the message says", async () => {
    const { repository, ask } = method();
    const specific = { policyChoice: { $case: "specific" as const, value: { versions: [42n, 43n] } } };
    const response = await ask({
      config: list(
        { name: "a", basePath: "/a", modelPlatform: "tensorflow", versionLabels: new Map([["stable", 42n]]) },
        { name: "b", basePath: "/b", modelType: 1, modelVersionPolicy: specific },
        { name: "c", basePath: "/c", modelVersionPolicy: { policyChoice: { $case: "all", value: {} } } },
        {
          name: "d",
          basePath: "./d",
          modelVersionPolicy: { policyChoice: { $case: "latest", value: { numVersions: 3 } } },
          loggingConfig: {
            logCollectorConfig: { type: "file", filenamePrefix: "/log" },
            samplingConfig: { samplingRate: 0.5, perTaskSamplingConfigs: [{ dc: "x", samplingRate: 1 }] },
          },
        },
        { name: "e", modelVersionPolicy: {} },
      ),
    });
    assert.deepEqual(response.status, { errorCode: 0, errorMessage: "" });
    const [config] = repository.reloads;
    assert.ok(config?.kind === "model_config_list");
    const plain = { modelType: 0, versionPolicy: undefined, versionLabels: new Map(), loggingConfig: undefined };
    assert.deepEqual(config.models, [
      {
        ...plain,
        name: "a",
        basePath: "/a",
        modelPlatform: "tensorflow",
        versionLabels: new Map([["stable", 42n]]),
      },
      {
        ...plain,
        name: "b",
        basePath: "/b",
        modelType: 1,
        modelPlatform: "",
        versionPolicy: { kind: "specific", versions: [42n, 43n] },
      },
      { ...plain, name: "c", basePath: "/c", modelPlatform: "", versionPolicy: { kind: "all" } },
      {
        ...plain,
        name: "d",
        basePath: "./d",
        modelPlatform: "",
        versionPolicy: { kind: "latest", numVersions: 3 },
        loggingConfig: {
          logCollectorConfig: { type: "file", filenamePrefix: "/log" },
          samplingConfig: {
            samplingRate: 0.5,
            attributes: 0,
            perTaskSamplingConfigs: [{ dc: "x", taskIndex: undefined, samplingRate: 1 }],
          },
        },
      },
      { ...plain, name: "e", basePath: "", modelPlatform: "" },
    ]);
  });

  it("refuses any other kind of configuration, and none, in TensorFlow Serving's words", async () => {
    const { repository, ask } = method();
    const words =
      /^ServerModelConfig type not supported by HandleReloadConfigRequest\. Only ModelConfigList is currently supported$/;
    for (const request of [{}, { config: {} }, { config: { config: { $case: "customModelConfig", value: {} } } }]) {
      await rejectsWith("INVALID_ARGUMENT", words, () => ask(request as object));
    }
    assert.deepEqual(repository.reloads, []);
  });

  it("takes an empty list: it unloads everything", async () => {
    const { repository, ask } = method();
    await ask({ config: list() });
    assert.deepEqual(repository.reloads, [{ kind: "model_config_list", models: [] }]);
  });

  it("says how much each named counter rose meanwhile, over all its labels; 0 for a name we do not have", async () => {
    const { repository, metrics, ask } = method();
    metrics.observeLoad(load);
    repository.onReload = () => {
      metrics.observeLoad(load);
      metrics.observeLoad({ ...load, path: "/m/2", version: 2n });
    };
    const attempts = "/tensorflow/cc/saved_model/load_attempt_count";
    const { metric } = await ask({ config: list(), metricNames: [attempts, "/no/such", attempts] });
    assert.deepEqual(metric.map(({ name, valueIncrease }) => [name, valueIncrease?.value]).sort(), [
      ["/no/such", 0n],
      [attempts, 2n],
    ]);
  });

  it("passes the repository's refusal on", async () => {
    const { repository, ask } = method();
    repository.onReload = () => {
      throw failedPrecondition("Request to assign label");
    };
    await rejectsWith("FAILED_PRECONDITION", /^Request to assign label$/, () => ask({ config: list() }));
  });

  for (const [management, peer, allowed] of [
    ["local", loopback, true],
    ["local", elsewhere, false],
    ["open", loopback, true],
    ["open", elsewhere, true],
    ["off", loopback, false],
    ["off", elsewhere, false],
  ] as const) {
    it(`is ${allowed ? "answered" : "refused"} under --management=${management} for ${peer.address}`, async () => {
      const { repository, ask } = method(management);
      if (allowed) await ask({ config: list() }, peer);
      else await rejectsWith("PERMISSION_DENIED", /--management=/, () => ask({ config: list() }, peer));
      assert.equal(repository.reloads.length, allowed ? 1 : 0);
    });
  }
});
