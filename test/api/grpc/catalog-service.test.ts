import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { notFound } from "../../../src/status.js";
import { CatalogServiceClient } from "../../gen/onnxd/v1/catalog.js";
import { signatureOf } from "../../support/fake-repository.js";
import { callUnary, failureOf, GrpcServices } from "../../support/grpc-services.js";

const signature = signatureOf({ x: ["float32", ["batch", 4]] }, { y: ["int64", undefined] });

describe("CatalogService", () => {
  it("tells all of a model", async () => {
    await using services = await GrpcServices.start();
    services.repository.add("m", 1n, [signature], () => new Map());
    services.repository.add("m", 2n, [signature], () => new Map());
    services.repository.label("m", "stable", 1n);
    services.repository.setState("m", 1n, "END", notFound("gone"));
    const client = services.client(CatalogServiceClient);
    const model = await callUnary(client, client.getModel, { name: "m" });
    assert.equal(model.basePath, "/models/m");
    assert.equal(model.defaultVersion, 2n);
    assert.deepEqual([...model.labels], [["stable", 1n]]);
    assert.deepEqual(model.versions[0], {
      version: 2n,
      state: 30,
      errorCode: 0,
      errorMessage: "",
      labels: [],
      signatures: [
        {
          name: "serving_default",
          methodName: "tensorflow/serving/predict",
          inputs: [
            {
              name: "x",
              tensorName: "x:0",
              dtype: 1,
              shape: [-1n, 4n],
              dimNames: ["batch", ""],
              unknownRank: false,
            },
          ],
          outputs: [{ name: "y", tensorName: "y:0", dtype: 9, shape: [], dimNames: [], unknownRank: true }],
        },
      ],
      platform: "onnx",
      sizeBytes: 1234n,
      memoryBytes: 1234n,
      loadSeconds: 0.25,
      availableSince: new Date(1_700_000_000_123),
      placement: { kind: "inline", sessions: 1, intraOpThreads: 1, warmupRunMicros: 12, reason: "a fake" },
      batching: { enabled: false, reason: "a fake" },
      origin: {
        ...{ kind: "disk", path: "/models/m/2", job: "", baseModel: "", baseVersion: undefined, dataSha256: "" },
        ...{ dataRows: 0n, seed: undefined, metrics: new Map(), tags: new Map() },
      },
      metadata: new Map([["author", "a test"]]),
      producer: "test 1.0",
      operatorSets: [{ domain: "", version: 17n }],
    });
    const ended = model.versions[1]!;
    assert.deepEqual(
      [ended.version, ended.state, ended.errorCode, ended.errorMessage, ended.labels],
      [1n, 50, 5, "gone", ["stable"]],
    );
  });

  it("tells what the file of a trained version says of its making, and nothing that it says wrongly", async () => {
    await using services = await GrpcServices.start();
    const lineage = {
      ...{
        job: "j-1",
        data_sha256: "ab",
        data_rows: 150,
        seed: 7,
        base_model: "m",
        base_version: "1152921504606846976",
      },
      tags: { who: "me", many: 3 },
    };
    const files: Record<string, string>[] = [
      { "onnxd.lineage": JSON.stringify(lineage), "onnxd.metrics": '{"accuracy": 0.5, "auc": null}' },
      { "onnxd.lineage": '{"job": 3, "seed": 0.5, "base_version": "one", "tags": []}', "onnxd.metrics": "[" },
      { "onnxd.lineage": "no JSON" },
    ];
    for (const [index, metadata] of files.entries()) {
      const more = { metadata: new Map(Object.entries(metadata)) };
      services.repository.add("m", BigInt(index + 1), [signature], () => new Map(), more);
    }
    const client = services.client(CatalogServiceClient);
    const { versions } = await callUnary(client, client.getModel, { name: "m" });
    const [broken, wrong, trained] = versions.map(({ origin }) => origin);
    assert.deepEqual(trained, {
      ...{ kind: "trained", path: "/models/m/1", job: "j-1", baseModel: "m", baseVersion: 2n ** 60n },
      ...{ dataSha256: "ab", dataRows: 150n, seed: 7n },
      metrics: new Map([["accuracy", 0.5]]),
      tags: new Map([["who", "me"]]),
    });
    const nothing = { job: "", baseModel: "", baseVersion: undefined, dataSha256: "", dataRows: 0n, seed: undefined };
    assert.deepEqual(wrong, { kind: "trained", path: "/models/m/2", ...nothing, metrics: new Map(), tags: new Map() });
    assert.deepEqual(broken, { kind: "disk", path: "/models/m/3", ...nothing, metrics: new Map(), tags: new Map() });
  });

  it("answers NOT_FOUND for a model it does not know", async () => {
    await using services = await GrpcServices.start();
    const client = services.client(CatalogServiceClient);
    assert.equal((await failureOf(callUnary(client, client.getModel, { name: "x" }))).code, status.NOT_FOUND);
    assert.equal((await failureOf(callUnary(client, client.getModel, { name: "" }))).code, status.INVALID_ARGUMENT);
  });

  it("gives every model once, page by page, while others come and go", async () => {
    await using services = await GrpcServices.start();
    const names = Array.from({ length: 25 }, (_, index) => `model-${String(index).padStart(2, "0")}`);
    for (const name of names) services.repository.add(name, 1n, [signature], () => new Map());
    const client = services.client(CatalogServiceClient);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await callUnary(client, client.listModels, { pageSize: 10, pageToken });
      seen.push(...page.models.map(({ name }) => name));
      pageToken = page.nextPageToken;
      if (seen.length === 10) services.repository.add("a-new-one", 1n, [signature], () => new Map());
    } while (pageToken !== "");
    assert.deepEqual(seen, names);
    const all = await callUnary(client, client.listModels, { pageSize: 0, pageToken: "" });
    assert.equal(all.models.length, 26);
    assert.equal(all.nextPageToken, "");
    const exact = await callUnary(client, client.listModels, { pageSize: 26, pageToken: "" });
    assert.equal(exact.nextPageToken, "");
  });

  it("bounds a page, and refuses tokens that are not its own", async () => {
    await using services = await GrpcServices.start();
    for (let index = 0; index < 1001; index++) services.repository.add(`m${index}`, 1n, [], () => new Map());
    const client = services.client(CatalogServiceClient);
    const pageOf = async (pageSize: number) =>
      (await callUnary(client, client.listModels, { pageSize, pageToken: "" })).models.length;
    assert.equal(await pageOf(0), 100);
    assert.equal(await pageOf(5000), 1000);
    for (const request of [
      { pageSize: -1, pageToken: "" },
      { pageSize: 0, pageToken: "bogus!" },
    ]) {
      const failed = await failureOf(callUnary(client, client.listModels, request));
      assert.equal(failed.code, status.INVALID_ARGUMENT);
    }
  });
});
