// What clients of TensorFlow Serving's REST API rely on, asked of a real server by a real HTTP client.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { Code, failedPrecondition, resourceExhausted, unavailable } from "../../../src/status.js";
import type { ElementType, Tensor } from "../../../src/tensor/index.js";
import { type Run, type Specs, signatureOf } from "../../support/fake-repository.js";
import { type Answer, RestDoor } from "../../support/rest-door.js";

let door: RestDoor;

const float = (shape: readonly number[], values: Iterable<number>): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});
/** y = f(x), element by element. */
const elementwise =
  (f: (x: number) => number): Run =>
  (feeds) => {
    const { shape, data } = feeds.get("x:0")!;
    return new Map([["y:0", float(shape, Array.from(data as Float32Array, f))]]);
  };
const identity: Run = (feeds) => new Map([["y:0", feeds.get("x:0")!]]);

const openX: Specs = { x: ["float32", undefined] };
const openY: Specs = { y: ["float32", undefined] };

before(async () => {
  door = await RestDoor.open();
  const { repository } = door;
  const halfPlusTwo = signatureOf({ x: ["float32", ["n"]] }, { y: ["float32", ["n"]] });
  const tripled = signatureOf({ x: ["float32", [undefined]] }, { y: ["float32", [undefined]] }, "tripled");
  repository.add(
    "half_plus_two",
    1n,
    [halfPlusTwo, tripled],
    elementwise((x) => x / 2 + 2),
  );
  repository.add(
    "half_plus_two",
    2n,
    [halfPlusTwo],
    elementwise((x) => x / 2 + 3),
  );
  repository.label("half_plus_two", "stable", 1n);
  repository.add(
    "linear_regression",
    1n,
    [signatureOf({ x: ["float32", [undefined, 1]] }, { y: ["float32", [undefined, 1]] })],
    elementwise((x) => 2 * x - 1),
  );
  for (const dtype of ["float32", "int64", "int32", "bool", "string"] satisfies ElementType[]) {
    const signature = signatureOf({ x: [dtype, undefined] }, { y: [dtype, undefined] });
    repository.add(`echo_${dtype}`, 1n, [signature], identity);
  }
  repository.add("scalar", 1n, [signatureOf(openX, openY)], () => new Map([["y:0", float([], [7])]]));
  repository.add(
    "sum_and_difference",
    1n,
    [
      signatureOf(
        { a: ["float32", [undefined]], b: ["float32", [undefined]] },
        { sum: ["float32", [undefined]], difference: ["float32", [undefined]] },
      ),
    ],
    (feeds) => {
      const [a, b] = ["a:0", "b:0"].map((name) => Array.from(feeds.get(name)!.data as Float32Array)) as [
        number[],
        number[],
      ];
      return new Map([
        [
          "sum:0",
          float(
            [a.length],
            a.map((value, i) => value + b[i]!),
          ),
        ],
        [
          "difference:0",
          float(
            [a.length],
            a.map((value, i) => value - b[i]!),
          ),
        ],
      ]);
    },
  );
  const failing = signatureOf(openX, openY);
  repository.add("full", 1n, [failing], () => Promise.reject(resourceExhausted("1024 calls wait already")));
  repository.add("dying", 1n, [failing], () => Promise.reject(unavailable("the worker died")));
  repository.add("broken", 1n, [failing], () => Promise.reject(new TypeError("our own defect, with a secret")));
});

after(() => door[Symbol.asyncDispose]());

function refused({ status, headers, body }: Answer, expectedStatus: number, message: string | RegExp): void {
  assert.equal(status, expectedStatus, body);
  assert.equal(headers["content-type"], "application/json");
  const { error, ...others } = JSON.parse(body);
  assert.deepEqual(others, {});
  assert.equal(body, `{\n    "error": ${JSON.stringify(error)}\n}`);
  if (typeof message === "string") assert.equal(error, message);
  else assert.match(error, message);
}

describe("the acceptance examples", () => {
  const examples: readonly (readonly [
    number: number,
    model: string,
    body: string,
    answer: string | [number, RegExp],
  ])[] = [
    [1, "linear_regression", '{"instances": [[1.0]]}', '{"predictions": [[1.0]]}'],
    [2, "linear_regression", '{"inputs": [[1.0]]}', '{"outputs": [[1.0]]}'],
    [3, "linear_regression", '{"instances": [[1]]}', '{"predictions": [[1.0]]}'],
    [4, "linear_regression", '{"instances": [{"x": [1.0]}]}', '{"predictions": [[1.0]]}'],
    [
      5,
      "half_plus_two",
      '{"instances": [1.0], "inputs": [1.0]}',
      [400, /expecting only one of 'inputs' or 'instances'/],
    ],
    [6, "half_plus_two", '{"instances": []}', [400, /No values in 'instances' array$/]],
    [7, "half_plus_two", "{}", [400, /^Missing 'inputs' or 'instances' key$/]],
    [8, "half_plus_two", "[]", [400, /^JSON Value: \[\] Is not object$/]],
    [9, "echo_float32", '{"instances": [[1.0], [1.0, 2.0]]}', [400, /Expecting tensor size: 1 but got: 2$/]],
    [10, "half_plus_two", '{"instances": [[null]]}', [400, /Type: Null is not of expected type: float$/]],
    [11, "echo_float32", '{"instances": [[NaN]]}', '{"predictions": [[NaN]]}'],
    [12, "echo_int64", '{"instances": [9007199254740993]}', '{"predictions": [9007199254740993]}'],
    [
      13,
      "echo_int32",
      '{"instances": [1.0]}',
      [
        400,
        /^Failed to process element: 0 of 'instances' list\. Error: INVALID_ARGUMENT: JSON Value: 1\.0 Type: Number is not of expected type: int32$/,
      ],
    ],
    [15, "nobody", '{"instances": [1.0]}', [404, /^Servable not found for request: Latest\(nobody\)$/]],
    [16, "linear_regression", '{"inputs": {"x": [[1.0]], "junk": 1}}', '{"outputs": [[1.0]]}'],
    [
      17,
      "linear_regression",
      '{"instances": [{"x": [1.0], "junk": 1}]}',
      [
        400,
        /^Failed to process element: 0 key: junk of 'instances' list\. Error: INVALID_ARGUMENT: JSON object: does not have named input: junk$/,
      ],
    ],
    [18, "linear_regression", '{"instances": [[1.0]]} trailing', '{"predictions": [[1.0]]}'],
    [20, "scalar", '{"instances": [1.0]}', [400, /^Tensor name: y has no shape information $/]],
    [20, "scalar", '{"inputs": 1.0}', '{"outputs": 7.0}'],
  ];
  for (const [number, model, body, answer] of examples) {
    it(`${number}: ${model} ${body}`, async () => {
      const got = await door.post(model, body);
      if (typeof answer !== "string") return refused(got, ...answer);
      assert.equal(got.status, 200, got.body);
      assert.equal(got.headers["content-type"], "application/json");
      assert.equal(got.body.replaceAll(/\s/g, ""), answer.replaceAll(/\s/g, ""));
    });
  }

  it("14: GET on a predict URL", async () => {
    refused(await door.get("/v1/models/m:predict"), 400, "Malformed request: GET /v1/models/m:predict");
  });

  it("19: a gzip-encoded body", async () => {
    const body = gzipSync('{"instances": [1.0, 2.0, 5.0]}');
    const answer = await door.post("half_plus_two/versions/1", body, { "content-encoding": "gzip" });
    assert.equal(answer.body, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}');
    assert.equal(answer.headers["content-encoding"], undefined);
  });
});

describe("predict", () => {
  it("takes a version, a label, or else the newest version", async () => {
    const body = '{"instances": [1.0]}';
    for (const [path, y] of [
      ["half_plus_two", 3.5],
      ["half_plus_two/versions/1", 2.5],
      ["half_plus_two/labels/stable", 2.5],
    ] as const) {
      const answer = await door.post(path, body);
      assert.deepEqual(JSON.parse(answer.body), { predictions: [y] }, path);
    }
  });

  it("decodes the model's name", async () => {
    refused(await door.post("a%2Fb", '{"instances": [1.0]}'), 404, "Servable not found for request: Latest(a/b)");
  });

  it("runs the signature that the body names", async () => {
    const answer = await door.post("half_plus_two/versions/1", '{"instances": [2], "signature_name": "tripled"}');
    assert.deepEqual(JSON.parse(answer.body), { predictions: [3] });
    assert.equal(door.observed.at(-1)!.record.signature, "tripled");
  });

  it("reads the text before it looks for the model", async () => {
    refused(await door.post("nobody", "{"), 400, "JSON Parse error: Missing a name for object member. at offset: 1");
    refused(await door.post("nobody", ""), 400, "JSON Parse error: The document is empty");
    refused(
      await door.post("nobody", '{"signature_name": "s"}'),
      404,
      "Servable not found for request: Latest(nobody)",
    );
  });

  it("answers several outputs as objects", async () => {
    const rows = await door.post("sum_and_difference", '{"instances": [{"a": 3, "b": 1}, {"a": 5, "b": 7}]}');
    assert.deepEqual(JSON.parse(rows.body), {
      predictions: [
        { sum: 4, difference: 2 },
        { sum: 12, difference: -2 },
      ],
    });
    const columns = await door.post("sum_and_difference", '{"inputs": {"a": [3], "b": [1]}}');
    assert.deepEqual(JSON.parse(columns.body), { outputs: { sum: [4], difference: [2] } });
  });

  it("names input, expected and actual shape where they differ", async () => {
    refused(
      await door.post("linear_regression", '{"instances": [1.0]}'),
      400,
      /linear_regression.*x.*\[\?,1\].*\[1\]$/,
    );
    refused(await door.post("sum_and_difference", '{"inputs": {"a": 1, "b": [1]}}'), 400, /input a.*\[\?\].*\[\]$/);
  });

  it("carries strings and bytes", async () => {
    const answer = await door.post("echo_string", '{"instances": ["é\\n", {"b64": "aGk="}]}');
    assert.deepEqual(JSON.parse(answer.body), { predictions: ["é\n", "hi"] });
  });

  it("does not look at the content type", async () => {
    for (const type of [
      "application/x-www-form-urlencoded",
      "text/plain",
      "nonsense;;",
      "application/json; charset=latin1",
    ]) {
      const answer = await door.post("half_plus_two", '{"instances": [1.0]}', { "content-type": type });
      assert.equal(answer.status, 200, type);
    }
  });

  it("takes bodies of unknown length", async () => {
    const answer = await door.post("half_plus_two", '{"instances": [1.0]}', { "transfer-encoding": "chunked" });
    assert.equal(answer.status, 200);
  });

  it("ignores the query string", async () => {
    const answer = await door.post("/v1/models/half_plus_two:predict?x=:y/z", '{"instances": [1.0]}');
    assert.equal(answer.status, 200);
    assert.equal(door.observed.at(-1)!.record.method, "POST /v1/models/half_plus_two:predict");
    assert.equal((await door.get("/v1/models/half_plus_two?x=1")).status, 200);
  });

  it("takes whole URLs, as clients of proxies send them (RFC 9112, 3.2.2)", async () => {
    for (const origin of ["http://127.0.0.1", "HTTPS://user@models.example:8501", "http://[::1]:1"]) {
      const path = `${origin}/v1/models/half_plus_two`;
      assert.equal((await door.call({ method: "POST", path: `${path}:predict` }, '{"instances": [1.0]}')).status, 200);
      assert.equal(door.observed.at(-1)!.record.method, "POST /v1/models/half_plus_two:predict");
      assert.equal((await door.get(path)).status, 200);
      assert.equal((await door.get(`${origin}/v2/health/live`)).status, 200);
      assert.equal((await door.get(`${origin}/healthz?x`)).status, 200);
      for (const target of [origin, `${origin}?x`]) assert.equal((await door.get(target)).status, 404);
    }
    assert.equal((await door.get("ftp://127.0.0.1/v1/models/half_plus_two")).status, 404);
  });

  it("maps what a run fails with", async () => {
    const body = '{"inputs": 1}';
    refused(await door.post("full", body), 429, "1024 calls wait already");
    refused(await door.post("dying", body), 503, "the worker died");
  });

  it("keeps a defect to itself, and logs it under the request's id", async () => {
    const answer = await door.post("broken", '{"inputs": 1}', { "x-request-id": "id-7" });
    refused(answer, 500, "Internal error; the server's log has it under request id id-7");
    const [line] = door.log.of("error");
    assert.equal(line!.fields["request_id"], "id-7");
    assert.match((line!.fields["error"] as Error).stack!, /our own defect/);
  });

  it("gives its handles back, whatever happened", () => assert.equal(door.repository.openHandles, 0));
});

describe("malformed requests", () => {
  it("of a method without a name for it here are 400, never 405", async () => {
    refused(
      await door.call({ method: "PROPFIND", path: "/v1/models/m" }),
      400,
      "Malformed request: PROPFIND /v1/models/m",
    );
  });

  it("HEAD is 400 without a body", async () => {
    assert.equal((await door.call({ method: "HEAD", path: "/v1/models/half_plus_two" })).status, 400);
  });

  it("outside of /v1/ there is a 404 in JSON", async () => {
    for (const path of ["/", "/v2x", "/v1", "/favicon.ico", "/%zz", "/v1models"]) {
      const answer = await door.get(path);
      assert.ok(answer.status === 404 || (path === "/%zz" && answer.status === 400), `${path}: ${answer.status}`);
      assert.ok(JSON.parse(answer.body).error.length > 0);
    }
  });
});

describe("model status", () => {
  it("lists versions from the largest, in protobuf's JSON", async () => {
    const answer = await door.get("/v1/models/half_plus_two");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "application/json");
    const version = (number: string) =>
      `  {\n   "version": "${number}",\n   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }`;
    assert.equal(answer.body, `{\n "model_version_status": [\n${version("2")},\n${version("1")}\n ]\n}\n`);
  });

  it("shows one version, and ignores a label", async () => {
    const one = JSON.parse((await door.get("/v1/models/half_plus_two/versions/1")).body);
    assert.deepEqual(
      one.model_version_status.map(({ version }: { version: string }) => version),
      ["1"],
    );
    const labelled = JSON.parse((await door.get("/v1/models/half_plus_two/labels/nonsense")).body);
    assert.equal(labelled.model_version_status.length, 2);
  });

  it("shows why a version ended", async () => {
    door.repository.add("failed", 3n, [signatureOf(openX, openY)], identity);
    door.repository.setState("failed", 3n, "END", failedPrecondition("no such file"));
    const { body } = await door.get("/v1/models/failed");
    assert.deepEqual(JSON.parse(body).model_version_status, [
      { version: "3", state: "END", status: { error_code: "FAILED_PRECONDITION", error_message: "no such file" } },
    ]);
    refused(await door.post("failed", '{"inputs": 1}'), 404, /^Servable not found for request: Latest\(failed\)$/);
  });
});

describe("model metadata", () => {
  it("prints all signatures, 64-bit numbers as strings", async () => {
    const answer = await door.get("/v1/models/half_plus_two/labels/stable/metadata");
    assert.equal(answer.status, 200);
    const { model_spec, metadata } = JSON.parse(answer.body);
    assert.deepEqual(model_spec, { name: "half_plus_two", signature_name: "", version: "1" });
    const { serving_default, tripled } = metadata.signature_def.signature_def;
    assert.deepEqual(serving_default, {
      inputs: {
        x: { dtype: "DT_FLOAT", tensor_shape: { dim: [{ size: "-1", name: "n" }], unknown_rank: false }, name: "x:0" },
      },
      outputs: {
        y: { dtype: "DT_FLOAT", tensor_shape: { dim: [{ size: "-1", name: "n" }], unknown_rank: false }, name: "y:0" },
      },
      method_name: "tensorflow/serving/predict",
      defaults: {},
    });
    assert.equal(tripled.method_name, "tensorflow/serving/predict");
  });

  it("marks open ranks, fixed sizes and types", async () => {
    const read = async (model: string) =>
      JSON.parse((await door.get(`/v1/models/${model}/metadata`)).body).metadata.signature_def.signature_def
        .serving_default.inputs.x;
    assert.deepEqual(await read("echo_string"), {
      dtype: "DT_STRING",
      tensor_shape: { dim: [], unknown_rank: true },
      name: "x:0",
    });
    const { tensor_shape } = await read("linear_regression");
    assert.deepEqual(tensor_shape.dim, [
      { size: "-1", name: "" },
      { size: "1", name: "" },
    ]);
  });
});

describe("headers", () => {
  it("give the request's id back, or make one", async () => {
    assert.equal(
      (await door.get("/v1/models/half_plus_two", { "x-request-id": "a-b" })).headers["x-request-id"],
      "a-b",
    );
    const made = (await door.get("/v1/models/half_plus_two")).headers["x-request-id"] as string;
    assert.match(made, /^[\w-]+$/);
    assert.notEqual((await door.get("/v1/models/nobody")).headers["x-request-id"], made);
    const long = await door.get("/v1/models/half_plus_two", { "x-request-id": "x".repeat(200) });
    assert.ok((long.headers["x-request-id"] as string).length < 100);
  });

  it("answer a preflight by its origin, without CORS headers unless asked for", async () => {
    const options = (headers: Record<string, string>) =>
      door.call({ method: "OPTIONS", path: "/v1/models/m:predict", headers });
    for (const [headers, status] of [
      [{ origin: "http://a.example" }, 200],
      [{ origin: "https://a.example" }, 200],
      [{ origin: "null" }, 400],
      [{}, 400],
    ] as const) {
      const answer = await options(headers);
      assert.equal(answer.status, status);
      assert.equal(answer.body, "");
      assert.equal(answer.headers["access-control-allow-origin"], undefined);
    }
  });

  it("allow all origins when asked to, errors and preflights included", async () => {
    await using open = await RestDoor.open({ enableCors: true });
    for (const answer of [
      await open.get("/v1/models/nobody"),
      await open.call({ method: "OPTIONS", path: "/v1/x", headers: { origin: "http://a.example" } }),
    ]) {
      assert.equal(answer.headers["access-control-allow-origin"], "*");
      assert.equal(answer.headers["access-control-allow-methods"], "POST, GET");
      assert.equal(answer.headers["access-control-allow-headers"], "Content-Type");
    }
  });
});

describe("what is observed of a call", () => {
  it("is its model, version, signature and what running it took", async () => {
    await door.post("half_plus_two", '{"instances": [1]}', { "x-request-id": "seen" });
    const { record, code, durationMs, error } = door.observed.at(-1)!;
    const { peer, ...known } = record;
    assert.deepEqual(known, {
      requestId: "seen",
      door: "rest",
      method: "POST /v1/models/half_plus_two:predict",
      model: "half_plus_two",
      version: 2n,
      signature: "serving_default",
      api: "Predict",
      queueMs: 1.5,
      computeMs: 2.5,
      batchSize: 4,
      rows: 1,
    });
    assert.match(peer, /^127\.0\.0\.1:\d+$/);
    assert.equal(code, Code.OK);
    assert.equal(error, "");
    assert.ok(durationMs >= 0);
  });

  it("is its error, and no version that was not found", async () => {
    await door.post("half_plus_two/versions/9", '{"instances": [1]}');
    const { record, code, error } = door.observed.at(-1)!;
    assert.equal(code, Code.NOT_FOUND);
    assert.equal(record.model, "half_plus_two");
    assert.equal(record.version, undefined);
    assert.match(error, /^Servable not found/);
  });

  it("names the model of a GET, and none where there is none", async () => {
    await door.get("/v1/models/half_plus_two/versions/1");
    assert.equal(door.observed.at(-1)!.record.model, "half_plus_two");
    assert.equal(door.observed.at(-1)!.record.api, undefined);
    await door.get("/v1/models");
    assert.equal(door.observed.at(-1)!.record.model, "");
  });

  it("leaves probes and scrapes out", async () => {
    const before = door.observed.length;
    await door.get("/healthz");
    await door.get("/metrics");
    assert.equal(door.observed.length, before);
  });
});

describe("probes and metrics", () => {
  it("is alive", async () => assert.equal((await door.get("/healthz")).status, 200));

  it("is ready once every model has been tried, and no more when the server drains", async () => {
    await using own = await RestDoor.open();
    assert.equal((await own.get("/readyz")).status, 200);
    own.repository.isSettled = false;
    const loading = await own.get("/readyz");
    assert.equal(loading.status, 503);
    assert.equal(JSON.parse(loading.body).reason, "not every model has been loaded yet");
    own.repository.isSettled = true;
    own.servingSwitch.drain();
    assert.equal((await own.get("/readyz")).status, 503);
    assert.equal((await own.get("/healthz")).status, 200);
  });

  it("serves metrics at TensorFlow Serving's path, at /metrics and where one likes", async () => {
    await using own = await RestDoor.open({ metricsPath: "/my/metrics" });
    for (const path of ["/monitoring/prometheus/metrics", "/metrics", "/my/metrics"]) {
      const answer = await own.get(path);
      assert.equal(answer.status, 200, path);
      assert.match(answer.headers["content-type"]!, /^text\/plain/);
      assert.equal(answer.body, "# TYPE a gauge\na{} 1\n");
    }
  });
});

describe("createRestServer", () => {
  it("refuses options that make no sense", () => {
    assert.throws(() => new RestDoor({ bodyLimitBytes: 0 }), /bodyLimitBytes must be a whole number/);
    assert.throws(() => new RestDoor({ timeoutMs: 0.5 }), /timeoutMs must be a whole number/);
  });

  it("can refuse signatures of an unknown method", async () => {
    await using own = await RestDoor.open({ enableSignatureMethodNameCheck: true });
    own.repository.add("odd", 1n, [{ ...signatureOf(openX, openY), methodName: "odd" }], identity);
    const answer = await own.post("odd", '{"inputs": 1}');
    refused(answer, 500, /^Expected prediction signature method_name to be one of \{.*\}\. Was: odd$/);
  });

  it("says when a port is taken", async () => {
    const second = new RestDoor();
    await assert.rejects(second.server.listen("127.0.0.1", door.port), /EADDRINUSE/);
    await second.server.close(0);
  });
});
