import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import {
  HealthCheckResponse_ServingStatus as Health,
  type HealthCheckResponse,
  HealthClient,
} from "../../gen/grpc/health/v1/health.js";
import { signatureOf } from "../../support/fake-repository.js";
import { callUnary, failureOf, GrpcServices } from "../../support/grpc-services.js";

const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });

async function started() {
  const services = await GrpcServices.start();
  services.repository.add("m", 1n, [signature], () => new Map());
  const client = services.client(HealthClient);
  const check = async (service: string) => (await callUnary(client, client.check, { service })).status;
  return { services, client, check };
}

/** Statuses as they come, one at a time. */
function watcher(stream: ClientReadableStream<HealthCheckResponse>) {
  const iterator = stream[Symbol.asyncIterator]();
  return {
    async next(): Promise<Health> {
      return ((await iterator.next()).value as HealthCheckResponse).status;
    },
    async end(): Promise<ServiceError | undefined> {
      try {
        const { done } = await iterator.next();
        assert.ok(done);
        return undefined;
      } catch (error) {
        return error as ServiceError;
      }
    },
  };
}

describe("Health.Check", () => {
  it("knows the server, each service by its names, and each model", async () => {
    const { services, check } = await started();
    await using _ = services;
    const names = [
      "",
      "tensorflow.serving.PredictionService",
      "tensorflow.serving.ModelService",
      "onnxd.v1.CatalogService",
      "grpc.health.v1.Health",
      "PredictionService",
      "ModelService",
      "model/m",
    ];
    for (const name of names) assert.equal(await check(name), Health.SERVING, name);
    for (const name of ["model/other", "m", "CatalogService", "model/"]) {
      assert.equal((await failureOf(check(name))).code, status.NOT_FOUND, name);
    }
  });

  it("is NOT_SERVING until all models have settled, and once draining has begun", async () => {
    const { services, check } = await started();
    await using _ = services;
    services.repository.settle(false);
    assert.equal(await check(""), Health.NOT_SERVING);
    assert.equal(await check("PredictionService"), Health.NOT_SERVING);
    assert.equal(await check("model/m"), Health.SERVING); // it answers already
    services.repository.settle(true);
    assert.equal(await check(""), Health.SERVING);
    services.servingSwitch.drain();
    assert.equal(await check(""), Health.NOT_SERVING);
    assert.equal(await check("model/m"), Health.NOT_SERVING);
  });

  it("follows a model's versions", async () => {
    const { services, check } = await started();
    await using _ = services;
    services.repository.add("m", 2n, [signature], () => new Map());
    services.repository.setState("m", 1n, "END");
    assert.equal(await check("model/m"), Health.SERVING);
    services.repository.setState("m", 2n, "UNLOADING");
    assert.equal(await check("model/m"), Health.NOT_SERVING);
  });
});

describe("Health.Watch", () => {
  it("answers at once and then at each change, but never twice the same", async () => {
    const { services, client } = await started();
    await using _ = services;
    const { next } = watcher(client.watch({ service: "model/m" }));
    assert.equal(await next(), Health.SERVING);
    services.repository.add("m", 2n, [signature], () => new Map()); // no change for the model
    services.repository.setState("m", 2n, "END");
    services.repository.setState("m", 1n, "UNLOADING");
    assert.equal(await next(), Health.NOT_SERVING);
    services.repository.setState("m", 1n, "AVAILABLE");
    assert.equal(await next(), Health.SERVING);
  });

  it("stays open for a name that nobody knows yet", async () => {
    const { services, client } = await started();
    await using _ = services;
    const { next } = watcher(client.watch({ service: "model/later" }));
    assert.equal(await next(), Health.SERVICE_UNKNOWN);
    services.repository.add("later", 1n, [signature], () => new Map());
    assert.equal(await next(), Health.SERVING);
  });

  it("hears of settling, which is no version's state", async () => {
    const { services, client } = await started();
    await using _ = services;
    services.repository.settle(false);
    const { next } = watcher(client.watch({ service: "" }));
    assert.equal(await next(), Health.NOT_SERVING);
    services.repository.settle(true);
    assert.equal(await next(), Health.SERVING);
  });

  it("says NOT_SERVING when draining begins, and ends when the doors close", async () => {
    const { services, client } = await started();
    await using _ = services;
    const { next, end } = watcher(client.watch({ service: "" }));
    assert.equal(await next(), Health.SERVING);
    services.servingSwitch.drain();
    assert.equal(await next(), Health.NOT_SERVING);
    services.servingSwitch.close();
    assert.equal((await end())?.code, status.UNAVAILABLE);
  });

  it("leaves no listener behind, however it ends", async () => {
    const { services, client } = await started();
    await using _ = services;
    const stream = client.watch({ service: "" });
    const { next } = watcher(stream);
    await next();
    assert.equal(services.repository.listeners, 1);
    stream.on("error", () => {});
    stream.cancel();
    while (services.repository.listeners > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(services.log.of("error"), []);
  });
});
