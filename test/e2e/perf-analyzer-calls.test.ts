// What perf_analyzer asks of a server, recorded from version 2.41.1 (-m iris -b 2, over gRPC and over HTTP), in its order
// and its words, and what it needs of the answers. test/interop/perf-analyzer.test.ts runs the program itself.
import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, describe, it } from "node:test";
import { GRPCInferenceServiceClient, type ModelInferResponse } from "../gen/inference/grpc_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { boolParam, inferRequest } from "../support/infer-requests.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const rows = 2;
/** Two rows of four floats, as the program draws them. */
const data = Buffer.from("Z8Zpc1H/Suwpzbqr8vvjRmfGaXNR/0rsKc26q/L740Y=", "base64");
const asked = ["output_label", "output_probability"];
const windows = 3;
const requestsPerWindow = 5;

describe("perf_analyzer's calls", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  it("are answered over gRPC as it needs it", async () => {
    using client = connect(GRPCInferenceServiceClient, server.target);
    const model = { name: "iris", version: "" };
    const metadata = await call(client, client.modelMetadata, model, noMetadata);
    const { config } = await call(client, client.modelConfig, model, noMetadata);
    // Each input of the configuration must be in the metadata, each with a shape that the program can fill.
    assert.deepEqual(
      config!.input.map(({ name, dims }) => [name, dims]),
      [["X", [4n]]],
    );
    assert.deepEqual(metadata.inputs, [{ name: "X", datatype: "FP32", shape: [-1n, 4n] }]);
    assert.deepEqual(
      metadata.outputs.map(({ name }) => name),
      asked,
    );
    assert.ok(config!.maxBatchSize >= rows);
    assert.equal(config!.modelTransactionPolicy?.decoupled, false);
    assert.equal(config!.responseCache?.enable, false);
    assert.equal(config!.schedulingChoice?.$case, "dynamicBatching");
    const { extensions } = await call(client, client.serverMetadata, {}, noMetadata);
    assert.ok(extensions.includes("statistics"));

    const statistics = async () => (await call(client, client.modelStatistics, model, noMetadata)).modelStats[0]!;
    const request = inferRequest([{ name: "X", datatype: "FP32", shape: [rows, 4], raw: data }], {
      modelName: "iris",
      parameters: { triton_enable_empty_final_response: boolParam(true) },
      outputs: Object.fromEntries(asked.map((name) => [name, {}])),
    });
    for (let window = 0; window < windows; window++) {
      const earlier = await statistics();
      for (let i = 0; i < requestsPerWindow; i++) {
        checkAnswer(await call(client, client.modelInfer, request, noMetadata));
      }
      const later = await statistics();
      assert.equal(later.inferenceCount - earlier.inferenceCount, BigInt(rows * requestsPerWindow));
      assert.equal(later.executionCount - earlier.executionCount, BigInt(requestsPerWindow));
      const { success, queue, computeInput, computeInfer, computeOutput, cacheHit } = later.inferenceStats!;
      assert.equal(success!.count - earlier.inferenceStats!.success!.count, BigInt(requestsPerWindow));
      // It shows what is left of a request's time as overhead, which must not be less than nothing.
      assert.ok(success!.ns >= queue!.ns + computeInput!.ns + computeInfer!.ns + computeOutput!.ns);
      assert.deepEqual(cacheHit, { count: 0n, ns: 0n });
      assert.ok(later.batchStats.some(({ batchSize, computeInfer: infer }) => batchSize === 2n && infer!.count > 0n));
    }

    const stream = client.modelStreamInfer(noMetadata);
    const answers: ModelInferResponse[] = [];
    stream.on("data", ({ errorMessage, inferResponse }) => {
      assert.equal(errorMessage, "");
      answers.push(inferResponse);
    });
    const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
    for (let i = 0; i < requestsPerWindow; i++) stream.write({ ...request, id: String(i) });
    stream.end();
    await ended;
    assert.deepEqual(
      answers.map(({ id }) => id),
      ["0", "1", "2", "3", "4"],
    );
    for (const answer of answers) {
      checkAnswer(answer);
      const last = answer.parameters.get("triton_final_response")?.parameterChoice;
      assert.deepEqual(last, { $case: "boolParam", value: true });
    }
  });

  it("are answered over HTTP as it needs it", async () => {
    const get = async (path: string) => JSON.parse((await exchange("GET", path)).bytes.toString());
    const metadata = await get("/v2/models/iris");
    const config = await get("/v2/models/iris/config");
    assert.deepEqual(metadata.inputs, [{ name: "X", datatype: "FP32", shape: [-1, 4] }]);
    assert.deepEqual([config.input[0].name, config.input[0].dims], ["X", [4]]);
    assert.ok(config.max_batch_size >= rows);
    assert.equal(config.model_transaction_policy.decoupled, false);
    assert.equal(config.response_cache.enable, false);
    assert.ok((await get("/v2")).extensions.includes("statistics"));

    const head = JSON.stringify({
      id: "",
      inputs: [{ name: "X", datatype: "FP32", shape: [rows, 4], parameters: { binary_data_size: data.length } }],
      outputs: asked.map((name) => ({ name, parameters: { binary_data: true } })),
    });
    const headers = {
      Accept: "*/*",
      "Inference-Header-Content-Length": String(head.length),
      "Content-Type": "application/octet-stream",
    };
    const statistics = async () => (await get("/v2/models/iris/stats")).model_stats[0];
    for (let window = 0; window < windows; window++) {
      const earlier = await statistics();
      for (let i = 0; i < requestsPerWindow; i++) {
        const body = Buffer.concat([Buffer.from(head), data]);
        const answer = await exchange("POST", "/v2/models/iris/infer", headers, body);
        assert.equal(answer.headers["content-type"], "application/octet-stream");
        const length = Number(answer.headers["inference-header-content-length"]);
        const { outputs } = JSON.parse(answer.bytes.subarray(0, length).toString());
        const sizes = outputs.map(
          ({ parameters }: { parameters: { binary_data_size: number } }) => parameters.binary_data_size,
        );
        assert.deepEqual(sizes, [8 * rows, 4 * 3 * rows]);
        assert.equal(answer.bytes.length, length + 8 * rows + 4 * 3 * rows);
      }
      const later = await statistics();
      assert.equal(later.inference_count - earlier.inference_count, rows * requestsPerWindow);
      assert.equal(later.execution_count - earlier.execution_count, requestsPerWindow);
      assert.deepEqual(later.inference_stats.cache_miss, { count: 0, ns: 0 });
    }
  });

  function exchange(method: string, path: string, headers: Record<string, string> = {}, body?: Buffer) {
    return new Promise<{ headers: Record<string, unknown>; bytes: Buffer }>((resolve, reject) => {
      const sent = httpRequest(`${server.url}${path}`, { method, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          if (response.statusCode === 200) resolve({ headers: response.headers, bytes });
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${bytes}`));
        });
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
});

function checkAnswer({ outputs, rawOutputContents }: ModelInferResponse): void {
  assert.deepEqual(
    outputs.map(({ name }) => name),
    asked,
  );
  assert.deepEqual(
    rawOutputContents.map(({ length }) => length),
    [8 * rows, 4 * 3 * rows],
  );
}
