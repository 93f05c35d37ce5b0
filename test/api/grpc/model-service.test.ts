import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { invalidArgument } from "../../../src/status.js";
import { GetModelStatusRequest } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import type { ModelSpec } from "../../gen/tensorflow_serving/apis/model.js";
import { ModelServiceClient } from "../../gen/tensorflow_serving/apis/model_service.js";
import { signatureOf } from "../../support/fake-repository.js";
import { callUnary, GrpcServices } from "../../support/grpc-services.js";

async function started() {
  const services = await GrpcServices.start();
  const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
  for (const version of [3n, 1n, 2n]) services.repository.add("m", version, [signature], () => new Map());
  services.repository.setState("m", 1n, "END", invalidArgument("not a model"));
  services.repository.setState("m", 3n, "LOADING");
  const client = services.client(ModelServiceClient);
  const ask = (modelSpec?: Partial<ModelSpec>) =>
    callUnary(client, client.getModelStatus, GetModelStatusRequest.fromPartial(modelSpec ? { modelSpec } : {}));
  return { services, client, ask };
}

describe("ModelService.GetModelStatus", () => {
  it("lists all versions from the largest, with the reason of a failure", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const { modelVersionStatus } = await ask({ name: "m" });
    assert.deepEqual(modelVersionStatus, [
      { version: 3n, state: 20, status: { errorCode: 0, errorMessage: "" } },
      { version: 2n, state: 30, status: { errorCode: 0, errorMessage: "" } },
      { version: 1n, state: 50, status: { errorCode: 3, errorMessage: "not a model" } },
    ]);
  });

  it("answers for one version, and for all when a label is given", async () => {
    const { services, ask } = await started();
    await using _ = services;
    const one = await ask({ name: "m", versionChoice: { $case: "version", value: 2n } });
    assert.deepEqual(
      one.modelVersionStatus.map(({ version }) => version),
      [2n],
    );
    const labelled = await ask({ name: "m", versionChoice: { $case: "versionLabel", value: "any" } });
    assert.equal(labelled.modelVersionStatus.length, 3);
    assert.equal(services.ended.at(-1)?.record.model, "m");
  });
});
