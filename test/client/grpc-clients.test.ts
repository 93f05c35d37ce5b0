import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import {
  Code,
  connect,
  type ModelClient,
  OpenInferenceClient,
  type StreamRequest,
  TensorFlowServingClient,
  toNested,
} from "../../src/client/index.js";
import { elementTypes, type Tensor } from "../../src/tensor/index.js";
import { EchoModelServer } from "../support/echo-model-server.js";
import { rejectsWith } from "../support/rejects-with.js";

const fast = { retry: { initialBackoffMs: 1 } };

describe("clients over gRPC", () => {
  let server: EchoModelServer;
  const clients: ModelClient[] = [];
  const tfs = (options = {}) => keep(new TensorFlowServingClient(server.target, { ...fast, ...options }));
  const oip = (options = {}) => keep(new OpenInferenceClient(server.target, { ...fast, ...options }));
  function keep<T extends ModelClient>(client: T): T {
    clients.push(client);
    return client;
  }
  before(async () => {
    server = await EchoModelServer.start();
  });
  beforeEach(() => {
    server.calls.length = 0;
    server.refusals.length = 0;
    server.hangs = false;
  });
  after(async () => {
    for (const client of clients) client.close();
    await server[Symbol.asyncDispose]();
  });

  it("carry every element type there and back", async () => {
    for (const info of elementTypes.filter(({ carried }) => carried)) {
      const tensor: Tensor =
        info.array === undefined
          ? { dtype: "string", shape: [2, 1], data: ["héllo", ""] }
          : {
              dtype: info.name,
              shape: [2, 1],
              data: new info.array(
                Uint8Array.from({ length: 2 * info.bytesPerElement }, (_, i) => (info.name === "bool" ? i : i + 1))
                  .buffer,
              ),
            };
      for (const client of [tfs(), oip()]) {
        const { outputs, version } = await client.predict("echo", { y: tensor });
        assert.deepEqual(outputs["y"], tensor, info.name);
        assert.equal(version, 7n);
      }
    }
  });

  it("ask for the declared types of plain arrays once, not of typed ones", async () => {
    for (const client of [tfs(), oip()]) {
      server.calls.length = 0;
      await client.predict("echo", { x: new BigInt64Array([1n, 2n]) });
      assert.equal(server.calls.length, 1);
      for (const value of [1, 2, 3]) {
        const { outputs } = await client.predict("echo", { x: [[value, 5]] });
        assert.deepEqual(toNested(outputs["x"]!), [[BigInt(value), 5n]]);
      }
      const metadataCalls = server.calls.filter((path) => /Metadata$/.test(path));
      assert.equal(metadataCalls.length, 1);
    }
  });

  it("hand the outputs wanted, the version and the signature to the server", async () => {
    const prediction = await tfs().predict(
      "echo",
      { a: new Float32Array(1), b: new Float32Array(1) },
      { outputs: ["b"], version: 12 },
    );
    assert.deepEqual(Object.keys(prediction.outputs), ["b"]);
    assert.equal(prediction.version, 12n);
    assert.equal((await oip().predict("echo", { a: new Float32Array(1) }, { version: 3n })).version, 3n);
    await rejectsWith("INVALID_ARGUMENT", /not both/, () => tfs().predict("echo", {}, { version: 1, label: "stable" }));
    await rejectsWith("INVALID_ARGUMENT", /no version labels/, () => oip().predict("echo", {}, { label: "stable" }));
    await rejectsWith("INVALID_ARGUMENT", /no signatures/, () => oip().predict("echo", {}, { signature: "other" }));
  });

  it("keep an output named __proto__ apart", async () => {
    const { outputs } = await oip().predict("echo", { ["__proto__"]: new Float32Array([4]) });
    assert.deepEqual(Object.keys(outputs), ["__proto__"]);
  });

  it("describe models", async () => {
    const x = { dtype: "int64", shape: [-1, 2] };
    const served = await tfs().metadata("echo");
    assert.equal(served.version, 7n);
    assert.deepEqual(
      { ...served.signatures["serving_default"]!.inputs },
      { x, any: { dtype: "string", shape: undefined } },
    );
    const inferred = await oip().metadata("echo");
    assert.equal(inferred.version, 12n);
    assert.deepEqual({ ...inferred.signatures["serving_default"]!.inputs }, { x });
  });

  it("list models and the states of their versions", async () => {
    assert.deepEqual(await tfs().models(), [
      { name: "echo", versions: [{ version: 7n, state: "AVAILABLE", error: "", labels: ["stable"] }] },
      { name: "other", versions: [] },
    ]);
    assert.deepEqual(await tfs().status("echo"), [
      { version: 8n, state: "END", error: "bad file", labels: [] },
      { version: 7n, state: "AVAILABLE", error: "", labels: [] },
    ]);
    assert.deepEqual(await oip().models(), [
      {
        name: "echo",
        versions: [
          { version: 7n, state: "READY", error: "", labels: [] },
          { version: 6n, state: "UNAVAILABLE", error: "unloaded", labels: [] },
        ],
      },
      { name: "never_loaded", versions: [] },
    ]);
    assert.equal((await oip().status("echo", { version: 6 }))[0]!.error, "unloaded");
    await rejectsWith("NOT_FOUND", /no version 9 of model "echo"/, () => oip().status("echo", { version: 9 }));
    await rejectsWith("NOT_FOUND", /no model "nothing"/, () => oip().status("nothing"));
  });

  it("try again on UNAVAILABLE, and tell other refusals at once", async () => {
    server.refusals.push(
      { code: Code.UNAVAILABLE, details: "loading" },
      { code: Code.UNAVAILABLE, details: "loading" },
    );
    await tfs().predict("echo", { x: new Float32Array(1) });
    assert.equal(server.calls.length, 3);
    server.refusals.push({ code: Code.FAILED_PRECONDITION, details: 'Serving signature key "z" not found.' });
    await rejectsWith("FAILED_PRECONDITION", /^Serving signature key "z" not found.$/, () =>
      tfs().predict("echo", { x: new Float32Array(1) }, { signature: "z" }),
    );
    assert.equal(server.calls.length, 4);
  });

  it("end a call at its deadline, and cancel it at the server when its signal fires", async () => {
    server.hangs = true;
    await rejectsWith("DEADLINE_EXCEEDED", /./, () =>
      oip().predict("echo", { x: new Float32Array(1) }, { timeoutMs: 30 }),
    );
    // The first call may have met its deadline before the server heard of it.
    const before = server.calls.length;
    const controller = new AbortController();
    const call = tfs().predict("echo", { x: new Float32Array(1) }, { signal: controller.signal });
    const check = rejectsWith("CANCELLED", /caller's signal/, () => call);
    while (server.calls.length === before) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await check;
    await server.cancelled;
  });

  it("send the client's metadata and the call's", async () => {
    await tfs({ metadata: { authorization: "Bearer a" } }).status("echo", { metadata: { "x-request-id": "7" } });
    assert.deepEqual(server.metadata.get("authorization"), ["Bearer a"]);
    assert.deepEqual(server.metadata.get("x-request-id"), ["7"]);
  });

  it("take answers far above gRPC's usual 4 MiB", async () => {
    const x = new Float32Array(5 * 2 ** 20).fill(1.5);
    const { outputs } = await oip().predict("echo", { x });
    assert.equal(outputs["x"]!.data.length, x.length);
    await rejectsWith("RESOURCE_EXHAUSTED", /larger than max/, () =>
      oip({ maxReceiveMessageBytes: 1000 }).predict("echo", { x: new Float32Array(1000) }),
    );
  });

  it("stream requests: answers in order, a failed one in its place", async () => {
    const requests: StreamRequest[] = [
      { model: "echo", inputs: { x: [[1, 2]] }, id: "a" },
      { model: "nothing", inputs: { x: new Float32Array(1) }, id: "b" },
      { model: "echo", inputs: { x: [[3, 4]] }, id: "c" },
    ];
    const results = [];
    for await (const result of oip().predictStream(requests)) results.push(result);
    assert.deepEqual(
      results.map(({ id }) => id),
      ["a", "b", "c"],
    );
    assert.deepEqual(
      results.map((result) => (result.error === undefined ? toNested(result.outputs["x"]!) : result.error.code)),
      [[[1n, 2n]], Code.NOT_FOUND, [[3n, 4n]]],
    );
  });

  it("take a stream's requests only as fast as its answers are read, and stop when the reader leaves", async () => {
    let taken = 0;
    let closed = false;
    async function* endless(): AsyncGenerator<StreamRequest> {
      try {
        for (;;) {
          taken += 1;
          yield { model: "echo", inputs: { x: new Float32Array(2 ** 18) } };
        }
      } finally {
        closed = true;
      }
    }
    let read = 0;
    for await (const result of oip().predictStream(endless())) {
      assert.equal(result.error, undefined);
      read += 1;
      if (read === 3) {
        // Nobody reads for a while: what can be sent without a reader fits into the windows and buffers on the way.
        for (let quietTurns = 0, last = taken; quietTurns < 300 && taken < 200; quietTurns++) {
          await new Promise((resolve) => setImmediate(resolve));
          if (taken !== last) [quietTurns, last] = [0, taken];
        }
        assert.ok(taken < 200, `${taken} requests of 1 MiB were taken while nobody read`);
        break;
      }
    }
    while (!closed) await new Promise((resolve) => setImmediate(resolve));
  });

  it("tell what a stream's own requests threw", async () => {
    async function* broken(): AsyncGenerator<StreamRequest> {
      yield { model: "echo", inputs: { x: new Float32Array(1) } };
      throw new RangeError("source ran dry");
    }
    await assert.rejects(async () => {
      for await (const _ of oip().predictStream(broken()));
    }, /source ran dry/);
  });

  it("are chosen by target and protocol", async () => {
    assert.ok(keep(connect("localhost:1")) instanceof TensorFlowServingClient);
    assert.ok(keep(connect("grpc://localhost:1", { protocol: "open-inference" })) instanceof OpenInferenceClient);
    assert.equal(keep(connect("http://localhost:1")).constructor.name, "OpenInferenceRestClient");
    await rejectsWith("INVALID_ARGUMENT", /use gRPC/, () => connect("http://x", { protocol: "tensorflow-serving" }));
    await rejectsWith("INVALID_ARGUMENT", /speaks gRPC/, () => new TensorFlowServingClient("ftp://x"));
    await rejectsWith("INVALID_ARGUMENT", /go together/, () => connect("grpcs://x", { tls: { cert: "a" } }));
  });
});
