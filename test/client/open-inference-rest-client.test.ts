import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { OpenInferenceRestClient, toNested } from "../../src/client/index.js";
import { elementTypes, type Tensor } from "../../src/tensor/index.js";
import { EchoRestServer } from "../support/echo-rest-server.js";
import { rejectsWith } from "../support/rejects-with.js";

describe("the client over REST", () => {
  let server: EchoRestServer;
  let client: OpenInferenceRestClient;
  before(async () => {
    server = await EchoRestServer.start();
    client = new OpenInferenceRestClient(`${server.target}/`, { retry: { initialBackoffMs: 1 } });
  });
  beforeEach(() => {
    server.calls.length = 0;
  });
  after(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });

  it("carries every element type there and back", async () => {
    for (const info of elementTypes.filter(({ carried }) => carried)) {
      const bytes = Uint8Array.from({ length: 2 * info.bytesPerElement }, (_, i) => (info.name === "bool" ? i : i + 1));
      const tensor: Tensor =
        info.array === undefined
          ? { dtype: "string", shape: [2, 1], data: ["héllo", ""] }
          : { dtype: info.name, shape: [2, 1], data: new info.array(bytes.buffer) };
      // An input in front puts the next at any offset.
      const { outputs, version } = await client.predict("echo", { pad: new Uint8Array(3), y: tensor });
      assert.deepEqual(outputs["y"], tensor, info.name);
      assert.equal(version, 7n);
    }
  });

  it("says which model, version, outputs, id and parameters", async () => {
    await client.predict(
      "a/b c",
      { x: new Float32Array(1) },
      { version: 3, id: "7", outputs: ["y"], classification: { z: 2 }, parameters: { priority: 1n, deep: true } },
    );
    assert.deepEqual(server.calls, ["POST /v2/models/a%2Fb%20c/versions/3/infer"]);
    assert.equal(server.request.id, "7");
    assert.deepEqual(server.request.parameters, { priority: 1, deep: true, binary_data_output: true });
    assert.deepEqual(server.request.outputs, [
      { name: "y", parameters: { binary_data: true } },
      { name: "z", parameters: { binary_data: true, classification: 2 } },
    ]);
    await rejectsWith("INVALID_ARGUMENT", /parameter "n"/, () =>
      client.predict("echo", { x: new Float32Array(1) }, { parameters: { n: 2n ** 60n } }),
    );
  });

  it("reads answers that are JSON throughout, and the types that a model declares", async () => {
    server.answers.push(
      {
        status: 200,
        body: '{"name":"m","versions":["1"],"inputs":[{"name":"x","datatype":"INT8","shape":[-1]}],"outputs":[]}',
      },
      {
        status: 200,
        body: '{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"INT64","shape":[1,2],"data":[1,2]},{"name":"s","datatype":"BYTES","shape":[1],"data":["a"]}]}',
      },
    );
    const { outputs } = await client.predict("m", { x: [1, 2] });
    assert.deepEqual(toNested(outputs["y"]!), [[1n, 2n]]);
    assert.deepEqual(toNested(outputs["s"]!), ["a"]);
    assert.deepEqual(server.calls, ["GET /v2/models/m", "POST /v2/models/m/infer"]);
  });

  it("tells the server's refusals with their code and words, and tries again on 503", async () => {
    const refuse = (status: number, error: string) => ({ status, body: JSON.stringify({ error }) });
    server.answers.push(refuse(503, "loading"), refuse(503, "loading"));
    await client.predict("echo", { x: new Float32Array(1) });
    assert.equal(server.calls.length, 3);
    server.answers.push(refuse(404, "Request for unknown model: 'm' is not found"));
    await rejectsWith("NOT_FOUND", /^Request for unknown model: 'm' is not found$/, () => client.metadata("m"));
    server.answers.push({ status: 400, body: "<html>proxy</html>" });
    await rejectsWith("INVALID_ARGUMENT", /<html>proxy/, () => client.metadata("m"));
    server.answers.push({ status: 200, body: "not json" });
    await rejectsWith("INTERNAL", /not JSON/, () => client.metadata("m"));
  });

  it("takes a 'no' to a question of readiness for an answer, asked once", async () => {
    server.answers.push({ status: 503, body: "" }, { status: 400, body: "" }, { status: 404, body: "{}" });
    assert.equal(await client.modelReady("m"), false);
    assert.equal(await client.serverReady(), false);
    assert.equal(await client.serverLive(), false);
    server.answers.push({ status: 200, body: "" });
    assert.equal(await client.serverLive(), true);
    assert.equal(server.calls.length, 4);
  });

  it("ends calls at their deadline, by their signal, and when nobody answers", async () => {
    const silent = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const waiting = new OpenInferenceRestClient(`http://127.0.0.1:${port}`, { retry: { maxAttempts: 1 } });
    await rejectsWith("DEADLINE_EXCEEDED", /Deadline/, () => waiting.metadata("m", { timeoutMs: 20 }));
    const controller = new AbortController();
    const call = waiting.metadata("m", { signal: controller.signal });
    const check = rejectsWith("CANCELLED", /signal/, () => call);
    setImmediate(() => controller.abort());
    await check;
    waiting.close();
    await new Promise((resolve) => silent.close(resolve));
    const nobody = new OpenInferenceRestClient(`http://127.0.0.1:${port}`, { retry: { maxAttempts: 1 } });
    await rejectsWith("UNAVAILABLE", /no answer from 127.0.0.1/, () => nobody.metadata("m"));
  });

  it("sends header fields of the client and of the call", async () => {
    await client.predict("echo", { x: new Float32Array(1) }, { metadata: { authorization: "Bearer a" } });
    assert.equal(server.headers.authorization, "Bearer a");
  });
});
