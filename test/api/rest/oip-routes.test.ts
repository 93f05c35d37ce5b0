import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateSync, gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { Code, internal } from "../../../src/status.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { signatureOf } from "../../support/fake-repository.js";
import { type Answer, RestDoor } from "../../support/rest-door.js";

async function opened(...options: Parameters<typeof RestDoor.open>): Promise<RestDoor> {
  const door = await RestDoor.open(...options);
  const signature = signatureOf({ x: ["float32", ["batch", 2]] }, { y: ["float32", ["batch", 2]] });
  const double = (feeds: ReadonlyMap<string, Tensor>) => {
    const x = feeds.get("x:0")!;
    return new Map<string, Tensor>([["y:0", { ...x, data: (x.data as Float32Array).map((value) => 2 * value) }]]);
  };
  const proven = { batching: { provenSafe: true, reason: "a fake" } };
  door.repository.add("double", 1n, [signature], double, proven);
  door.repository.add("double", 2n, [signature], double, proven);
  const text = signatureOf({ s: ["string", [1]] }, { s: ["string", [1]] });
  door.repository.add("text", 1n, [text], (feeds) => feeds);
  const half = signatureOf({ h: ["float16", [2]] }, { h: ["float16", [2]] });
  door.repository.add("half", 1n, [half], (feeds) => feeds);
  return door;
}

const infer = "/v2/models/double/infer";
const x = (data: string, shape = "[1,2]") =>
  `{"inputs":[{"name":"x","datatype":"FP32","shape":${shape},"data":${data}}]}`;
const errorOf = ({ body }: Answer): string => JSON.parse(body).error;

/** A request whose input follows the JSON, and whose outputs do so in the answer. */
function binaryRequest(name: string, datatype: string, shape: readonly number[], blob: Uint8Array) {
  const head = JSON.stringify({
    inputs: [{ name, datatype, shape, parameters: { binary_data_size: blob.length } }],
    parameters: { binary_data_output: true },
  });
  return {
    body: Buffer.concat([Buffer.from(head), blob]),
    headers: { "Inference-Header-Content-Length": String(Buffer.byteLength(head)) },
  };
}

function binaryAnswer({ headers, bytes }: Answer) {
  const headLength = Number(headers["inference-header-content-length"]);
  return { head: JSON.parse(bytes.toString("utf8", 0, headLength)), blob: bytes.subarray(headLength) };
}

describe("POST /v2/models/…/infer", () => {
  it("answers JSON with JSON: flat data, exactly application/json", async () => {
    await using door = await opened();
    const answer = await door.post(infer, x("[[1,2],[3,4]]", "[2,2]"));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "application/json");
    assert.deepEqual(JSON.parse(answer.body), {
      model_name: "double",
      model_version: "2",
      outputs: [{ name: "y", datatype: "FP32", shape: [2, 2], data: [2, 4, 6, 8] }],
    });
    const old = await door.post("/v2/models/double/versions/1/infer?trace=1", `{"id":"7",${x("[1,2]").slice(1)}`);
    assert.equal(JSON.parse(old.body).model_version, "1");
    assert.equal(JSON.parse(old.body).id, "7");
    assert.equal(door.repository.openHandles, 0);
  });

  it("tells the record what the access line, the metrics and the statistics need", async () => {
    await using door = await opened();
    await door.post(infer, x("[1,2,3,4]", "[2,2]"));
    const { record, code } = door.observed[0]!;
    assert.equal(code, Code.OK);
    assert.deepEqual(
      [record.api, record.model, record.version, record.signature, record.rows, record.computeMs],
      ["ModelInfer", "double", 2n, "serving_default", 2, 2.5],
    );
  });

  it("answers bytes with bytes: the header says how long the JSON is", async () => {
    await using door = await opened();
    const { body, headers } = binaryRequest("x", "FP32", [1, 2], new Uint8Array(Float32Array.of(1, 2.5).buffer));
    const answer = await door.post(infer, body, headers);
    assert.equal(answer.headers["content-type"], "application/octet-stream");
    const { head, blob } = binaryAnswer(answer);
    assert.deepEqual(head.outputs, [
      { name: "y", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } },
    ]);
    assert.deepEqual(new Float32Array(Uint8Array.from(blob).buffer), Float32Array.of(2, 5));
  });

  it("carries FP16 as bytes, and says so where JSON was asked for", async () => {
    await using door = await opened();
    const { body, headers } = binaryRequest("h", "FP16", [2], Uint8Array.of(0, 0x3c, 0, 0x40));
    const answer = await door.post("/v2/models/half/infer", body, headers);
    assert.deepEqual([...binaryAnswer(answer).blob], [0, 0x3c, 0, 0x40]);
    const head = '{"inputs":[{"name":"h","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}}]}';
    const json = await door.post("/v2/models/half/infer", Buffer.concat([Buffer.from(head), Buffer.alloc(4)]), {
      "Inference-Header-Content-Length": String(head.length),
    });
    assert.equal(json.status, 400);
    assert.match(errorOf(json), /sending FP16 data via JSON is not supported/);
  });

  it("takes a body without JSON for the only input: one row, its open dimension as long as the bytes", async () => {
    await using door = await opened();
    const raw = { "Inference-Header-Content-Length": "0" };
    const answer = await door.post(infer, Buffer.from(Float32Array.of(1, 2).buffer), raw);
    assert.deepEqual(binaryAnswer(answer).head.outputs[0].shape, [1, 2]);
    const short = await door.post(infer, Buffer.alloc(4), raw);
    assert.equal(short.status, 400);
    assert.match(errorOf(short), /input byte size mismatch for input 'x' for model 'double'. Expected 8, got 4/);
    const text = await door.post("/v2/models/text/infer", "héllo", raw);
    assert.deepEqual(binaryAnswer(text).blob.toString("utf8", 4), "héllo");
    const open = signatureOf({ x: ["int16", ["n"]] }, { x: ["int16", ["n"]] });
    door.repository.add("open", 1n, [open], (feeds) => feeds);
    const four = await door.post("/v2/models/open/infer", Buffer.alloc(8), raw);
    assert.deepEqual(binaryAnswer(four).head.outputs[0].shape, [4]);
    const two = signatureOf({ x: ["int16", ["n", "m"]] }, { x: ["int16", ["n", "m"]] });
    door.repository.add("two", 1n, [two], (feeds) => feeds);
    assert.match(errorOf(await door.post("/v2/models/two/infer", "", raw)), /more than one variable-sized dimension/);
    assert.equal((await door.post("/v2/models/no/infer", "", raw)).status, 404);
  });

  it("reads and writes gzip and deflate, the header counting bytes without them, and refuses other encodings", async () => {
    await using door = await opened();
    const { body, headers } = binaryRequest("x", "FP32", [1, 2], new Uint8Array(Float32Array.of(1, 2).buffer));
    for (const [name, compress, inflate] of [
      ["gzip", gzipSync, gunzipSync],
      ["deflate", deflateSync, inflateSync],
    ] as const) {
      const answer = await door.post(infer, compress(body), {
        ...headers,
        "Content-Encoding": name,
        "Accept-Encoding": `identity;q=0.1, ${name};q=0.9`,
      });
      assert.equal(answer.status, 200, answer.body);
      assert.equal(answer.headers["content-encoding"], name);
      const { head } = binaryAnswer({ ...answer, bytes: inflate(answer.bytes) });
      assert.equal(head.outputs[0].parameters.binary_data_size, 8);
    }
    const json = await door.post(infer, x("[1,2]"), { "Accept-Encoding": "br, gzip;q=0" });
    assert.equal(json.headers["content-encoding"], undefined);
    const other = await door.post(infer, x("[1,2]"), { "Content-Encoding": "br" });
    assert.equal(other.status, 501);
    assert.equal(other.headers["accept-encoding"], "gzip, deflate");
    const broken = await door.post(infer, "not gzip", { "Content-Encoding": "gzip" });
    assert.equal(broken.status, 400);
    assert.match(errorOf(broken), /cannot be inflated/);
  });

  it("refuses bodies that are too large, as sent and inflated", async () => {
    await using door = await opened({ bodyLimitBytes: 1000 });
    assert.equal((await door.post(infer, Buffer.alloc(2000))).status, 413);
    const bomb = await door.post(infer, gzipSync(Buffer.alloc(100_000)), { "Content-Encoding": "gzip" });
    assert.equal(bomb.status, 413);
    assert.match(errorOf(bomb), /inflated/);
  });

  it("refuses in Triton's words, with the statuses that its clients know", async () => {
    await using door = await opened();
    door.repository.setState("double", 1n, "LOADING");
    const cases: readonly (readonly [string, string, Record<string, string>, number, RegExp])[] = [
      ["/v2/models/no/infer", x("[1,2]"), {}, 404, /^Request for unknown model: 'no' is not found$/],
      ["/v2/models/double/versions/9/infer", x("[1,2]"), {}, 404, /version 9 is not found$/],
      ["/v2/models/double/versions/1/infer", x("[1,2]"), {}, 503, /version 1 is not at ready state/],
      ["/v2/models/double/versions/a/infer", x("[1,2]"), {}, 400, /failed to get model version/],
      [infer, x("[1]"), {}, 400, /Shape does not match true shape of 'data' field/],
      [infer, x("[1,2]").replace("FP32", "INT32"), {}, 400, /data-type is 'INT32', but model 'double' expects 'FP32'/],
      [
        infer,
        x("[1,2,3]", "[1,3]"),
        {},
        400,
        /unexpected shape for input 'x' for model 'double'. Expected \[-1,2\], got \[1,3\]/,
      ],
      [infer, `{${x("[1,2]").slice(1, -1)},"outputs":[{"name":"q"}]}`, {}, 400, /unexpected inference output 'q'/],
      [infer, `{${x("[1,2]").slice(1, -1)},"parameters":{"triton_x":1}}`, {}, 400, /reserved for Triton/],
      [infer, `{"inputs":[]}`, {}, 400, /expected 1 inputs but got 0 inputs for model 'double'/],
      [infer, "{", {}, 400, /JSON Parse error/],
      [
        infer,
        x("[1,2]"),
        { "Inference-Header-Content-Length": "9999" },
        400,
        /inference header size should be in range/,
      ],
      [
        infer,
        x("[1,2]"),
        { "Inference-Header-Content-Length": "-1" },
        400,
        /Unable to parse Inference-Header-Content-Length/,
      ],
    ];
    for (const [path, body, headers, status, message] of cases) {
      const answer = await door.post(path, body, headers);
      assert.equal(answer.status, status, answer.body);
      assert.equal(answer.headers["content-type"], "application/json");
      assert.match(errorOf(answer), message);
    }
    assert.equal(door.repository.openHandles, 0);
  });

  it("passes on the errors of runs, and keeps defects to itself", async () => {
    await using door = await opened();
    const signature = signatureOf({ x: ["float32", [1]] }, { y: ["float32", [1]] });
    door.repository.add("failing", 1n, [signature], () => Promise.reject(internal("node 7 exploded")));
    door.repository.add("defect", 1n, [signature], () => Promise.reject(new TypeError("secret")));
    const failing = await door.post("/v2/models/failing/infer", x("[1]", "[1]"));
    assert.equal(failing.status, 500);
    assert.equal(errorOf(failing), "node 7 exploded");
    assert.doesNotMatch((await door.post("/v2/models/defect/infer", x("[1]", "[1]"))).body, /secret/);
  });
});

describe("GET under /v2", () => {
  it("tells life, readiness, metadata, models and configuration", async () => {
    await using door = await opened();
    const json = async (path: string) => JSON.parse((await door.get(path)).body);
    assert.deepEqual(await json("/v2/health/live"), { live: true });
    assert.deepEqual(await json("/v2/health/ready"), { ready: true, live: true });
    assert.deepEqual(await json("/v2/models"), { models: ["double", "half", "text"] });
    assert.equal((await json("/v2")).version, "1.2.3");
    assert.deepEqual(await json("/v2/models/double/ready"), { name: "double", ready: true });
    assert.deepEqual(await json("/v2/models/double"), {
      name: "double",
      versions: ["1", "2"],
      platform: "onnxruntime_onnx",
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    });
    const config = await json("/v2/models/double/config");
    assert.equal(config.max_batch_size, 256);
    assert.deepEqual(config.input[0].dims, [2]);
    assert.equal(config.input[0].data_type, "TYPE_FP32");
    assert.equal(config.instance_group[0].kind, "KIND_CPU");
    assert.deepEqual(config.dynamic_batching.preferred_batch_size, []);
    assert.deepEqual(config.model_transaction_policy, { decoupled: false });
  });

  it("says no to readiness with 400 while models load and while the server drains, and with errors for models", async () => {
    await using door = await opened();
    door.repository.settle(false);
    const loading = await door.get("/v2/health/ready");
    assert.equal(loading.status, 400);
    assert.deepEqual(JSON.parse(loading.body), { ready: false, live: true });
    door.repository.settle(true);
    door.servingSwitch.drain();
    assert.equal((await door.get("/v2/health/ready")).status, 400);
    assert.equal((await door.get("/v2/health/live")).status, 200);
    assert.equal((await door.get("/v2/models/no/ready")).status, 404);
    door.repository.setState("double", 1n, "UNLOADING");
    assert.equal((await door.get("/v2/models/double/versions/1/ready")).status, 503);
  });

  it("gives statistics as numbers", async () => {
    await using door = await opened();
    door.statistics.observe({ ...emptyRecord, model: "double", rows: 3 }, 2n, Code.OK, 5, 1_700_000_000_000);
    const { model_stats } = JSON.parse((await door.get("/v2/models/double/versions/2/stats")).body);
    assert.equal(model_stats[0].inference_count, 3);
    assert.equal(model_stats[0].last_inference, 1_700_000_000_000);
    assert.deepEqual(model_stats[0].inference_stats.success, { count: 1, ns: 5_000_000 });
    assert.deepEqual(model_stats[0].inference_stats.cache_hit, { count: 0, ns: 0 });
    assert.equal(JSON.parse((await door.get("/v2/models/stats")).body).model_stats.length, 4);
    const unknown = await door.get("/v2/models/no/stats");
    assert.equal(unknown.status, 400);
    assert.equal(errorOf(unknown), "requested model 'no' is not available");
  });

  it("answers wrong paths with 404 and wrong methods with 405", async () => {
    await using door = await opened();
    const missing = await door.get("/v2/nothing");
    assert.deepEqual([missing.status, errorOf(missing)], [404, "Not Found"]);
    const wrong = await door.get("/v2/repository/index");
    assert.deepEqual([wrong.status, errorOf(wrong)], [405, "Method Not Allowed"]);
  });

  it("is answered with CORS headers when that is on", async () => {
    await using door = await opened({ enableCors: true });
    assert.equal((await door.get("/v2")).headers["access-control-allow-origin"], "*");
    assert.equal((await door.call({ method: "OPTIONS", path: infer })).status, 200);
  });
});

describe("POST under /v2/repository, and what is off", () => {
  it("lists the index as a bare array", async () => {
    await using door = await opened();
    door.repository.setState("double", 1n, "END", internal("disk on fire"));
    const all = JSON.parse((await door.post("/v2/repository/index", "")).body);
    assert.deepEqual(all[0], { name: "double", version: "1", state: "UNAVAILABLE", reason: "disk on fire" });
    assert.deepEqual(all[1], { name: "double", version: "2", state: "READY" });
    const ready = JSON.parse((await door.post("/v2/repository/index", '{"ready":true}')).body);
    assert.equal(ready.length, 3);
    assert.equal((await door.post("/v2/repository/other/index", "{}")).status, 501);
    assert.equal((await door.post("/v2/repository/index", "[]")).status, 400);
  });

  it("loads and unloads where that is on, and says why where it is not", async () => {
    const calls: unknown[] = [];
    const control = {
      available: async () => [],
      load: async (name: string, config: string | undefined) => void calls.push(["load", name, config]),
      unload: async (name: string) => void calls.push(["unload", name]),
    };
    await using door = await opened({}, undefined, control);
    const load = await door.post("/v2/repository/models/a%20b/load", '{"parameters":{"config":"{}"}}');
    assert.deepEqual([load.status, load.body], [200, ""]);
    assert.equal((await door.post("/v2/repository/models/m/load", "")).status, 200);
    const unload = await door.post("/v2/repository/models/m/unload", '{"parameters":{"unload_dependents":false}}');
    assert.equal(unload.status, 200);
    assert.deepEqual(calls, [
      ["load", "a b", "{}"],
      ["load", "m", undefined],
      ["unload", "m"],
    ]);
    assert.equal((await door.post("/v2/repository/models/m/load", "{")).status, 400);
    await using fixed = await opened();
    const refused = await fixed.post("/v2/repository/models/m/load", "{}");
    assert.equal(refused.status, 503);
    assert.match(errorOf(refused), /^explicit model load \/ unload is not allowed/);
  });

  it("answers for shared memory, tracing and logging as Triton does when they are off", async () => {
    await using door = await opened();
    assert.equal((await door.get("/v2/systemsharedmemory/status")).body, "[]");
    const register = await door.post("/v2/systemsharedmemory/region/r/register", "{}");
    assert.equal(register.status, 501);
    assert.match(errorOf(register), /^Client shared memory is disabled/);
    assert.deepEqual(JSON.parse((await door.get("/v2/trace/setting")).body).trace_level, ["OFF"]);
    assert.equal((await door.post("/v2/trace/setting", '{"trace_level":["OFF"],"trace_rate":null}')).status, 200);
    assert.equal((await door.post("/v2/trace/setting", '{"trace_level":["TIMESTAMPS"]}')).status, 503);
    assert.equal((await door.post("/v2/trace/setting", '{"nonsense":"1"}')).status, 400);
    assert.equal(JSON.parse((await door.get("/v2/logging")).body).log_info, true);
    assert.equal((await door.post("/v2/logging", '{"log_info":true}')).status, 200);
    assert.equal((await door.post("/v2/logging", '{"log_info":1}')).status, 400);
    assert.equal((await door.post("/v2/logging", '{"log_verbose_level":1}')).status, 503);
  });
});

const emptyRecord = { requestId: "", door: "rest" as const, method: "", peer: "" };
