// The REST door of the real server, over plain HTTP.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { readJson } from "../support/read-json.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

describe("the REST door", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    fetch(`${server.url}${path}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
  const predict = async (model: string, body: string) => {
    const response = await post(`/v1/models/${model}:predict`, body);
    return { status: response.status, body: await response.text() };
  };

  it("answers TensorFlow Serving's own example", async () => {
    const { status, body } = await predict("linear_regression", '{"instances": [[1.0]]}');
    assert.equal(status, 200);
    assert.deepEqual(JSON.parse(body), { predictions: [[1]] });
  });

  it("answers the same in column form, from integers, and from objects", async () => {
    assert.deepEqual(JSON.parse((await predict("linear_regression", '{"inputs": [[1.0]]}')).body), { outputs: [[1]] });
    assert.deepEqual(JSON.parse((await predict("linear_regression", '{"instances": [[1]]}')).body), {
      predictions: [[1]],
    });
    assert.deepEqual(JSON.parse((await predict("linear_regression", '{"instances": [{"x": [1.0]}]}')).body), {
      predictions: [[1]],
    });
  });

  it("passes NaN and the infinities in both directions", async () => {
    const { status, body } = await predict("half_plus_two", '{"instances": [NaN, Infinity, -Infinity]}');
    assert.equal(status, 200);
    assert.match(body, /NaN,\s*Infinity,\s*-Infinity/);
  });

  it("classifies digits as the model's example says", async () => {
    const example = JSON.parse(readFileSync(join(repositoryRoot, "test", "models", "digits", "example.json"), "utf8"));
    const { status, body } = await predict("digits", JSON.stringify({ inputs: example.inputs }));
    assert.equal(status, 200, body);
    const outputs = JSON.parse(body).outputs as number[][];
    assert.deepEqual(
      outputs.map((row) => row.indexOf(Math.max(...row))),
      example.labels,
    );
  });

  it("reads a gzip body", async () => {
    const response = await post("/v1/models/half_plus_two:predict", gzipSync('{"instances": [1.0]}'), {
      "content-encoding": "gzip",
    });
    assert.deepEqual(await response.json(), { predictions: [2.5] });
  });

  it("survives nesting that no stack could", async () => {
    const deep = `${"[".repeat(250_000)}1.0${"]".repeat(250_000)}`;
    assert.equal((await predict("half_plus_two", `{"instances": ${deep}}`)).status, 400);
    assert.equal((await predict("half_plus_two", `{"unused": ${deep}, "instances": [1.0]}`)).status, 200);
  });

  it("tells status and metadata", async () => {
    const status = await readJson(await fetch(`${server.url}/v1/models/half_plus_two`));
    assert.deepEqual(
      status.model_version_status.map(({ version, state }: { version: string; state: string }) => [version, state]),
      [
        ["2", "AVAILABLE"],
        ["1", "AVAILABLE"],
      ],
    );
    const metadata = await readJson(await fetch(`${server.url}/v1/models/half_plus_two/metadata`));
    assert.deepEqual(metadata.metadata.signature_def.signature_def.serving_default.inputs.x.tensor_shape, {
      dim: [
        {
          size: "-1",
          name: metadata.metadata.signature_def.signature_def.serving_default.inputs.x.tensor_shape.dim[0].name,
        },
      ],
      unknown_rank: false,
    });
  });

  it("is alive and ready", async () => {
    assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
    assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  });

  it("counts its calls in the metrics, under our names and TensorFlow Serving's", async () => {
    await predict("half_plus_three", '{"instances": [1.0]}');
    for (const path of ["/metrics", "/monitoring/prometheus/metrics"]) {
      const response = await fetch(`${server.url}${path}`);
      assert.equal(response.status, 200);
      const page = await response.text();
      assert.match(page, /^:tensorflow:serving:request_count\{.*model_name="half_plus_three".*\} [1-9]/m);
      assert.match(page, /^onnxd_\w*request\w*\{.*half_plus_three.*\} [1-9]/m);
    }
  });

  it("answers what it has no page for with JSON", async () => {
    const response = await fetch(`${server.url}/favicon.ico`);
    assert.equal(response.status, 404);
    assert.equal(typeof (await readJson(response)).error, "string");
  });
});
