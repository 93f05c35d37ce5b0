import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { codeName, resourceExhausted } from "../../../src/status.js";
import type { JobSpec } from "../../../src/training/index.js";
import { FakeClock } from "../../support/fake-clock.js";
import { aPlan } from "../../support/fake-training.js";
import { type Answer, RestDoor } from "../../support/rest-door.js";
import { until } from "../../support/until.js";

const spec = { model: "iris", classic: { form: "softmax" }, table: { target: "species" } };
const specParameter = `spec=${encodeURIComponent(JSON.stringify(spec))}`;
const plainSpec: JobSpec = {
  model: "iris",
  start: { kind: "classic", form: "softmax", options: {} },
  classLabels: [],
  training: { optimizer: {}, schedule: {}, seed: 0, classWeights: {} },
  gate: { conditions: [], allowWorse: false },
  hold: false,
  limits: {},
  tags: {},
};
const csvType = { "content-type": "text/csv; charset=utf-8" };
const jobs = "/v1/training/jobs";

const json = (answer: Answer) => JSON.parse(answer.body);
const postJson = (door: RestDoor, path: string, body: unknown) => door.post(path, JSON.stringify(body));

/** A POST whose body is written by hand. */
function upload(door: RestDoor, path: string, headers: Record<string, string> = csvType) {
  const call: ClientRequest = request({ host: "127.0.0.1", port: door.port, method: "POST", path, headers });
  call.on("error", () => {});
  return call;
}

async function answerOf(call: ClientRequest): Promise<{ status: number; body: string }> {
  const [response] = (await once(call, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode!, body };
}

/** The lines of an answer as they come. */
async function follow(door: RestDoor, path: string) {
  const call = request({ host: "127.0.0.1", port: door.port, path });
  call.on("error", () => {});
  call.end();
  const [response] = (await once(call, "response")) as [IncomingMessage];
  let text = "";
  response.on("data", (chunk) => {
    text += chunk;
  });
  response.on("error", () => {});
  const ended = new Promise((resolve) => response.once("close", resolve));
  const lines = () =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  return { call, response, lines, ended };
}

describe("POST /v1/training/jobs with JSON", () => {
  it("starts a job, by either spelling of the fields", async () => {
    await using door = await RestDoor.open();
    const rows = [{ a: 1.5, b: null, species: "é\n" }, JSON.parse('{"__proto__": 1, "species": "x"}')];
    const answer = await postJson(door, jobs, {
      spec: { ...spec, batch_size: 16, earlyStopping: { restoreBest: false }, seed: "9007199254740991", epochs: 0 },
      data: { rows },
      validationData: { csv: "a,species\n2,x\n" },
      idempotency_key: "k",
    });
    assert.equal(answer.status, 200, answer.body);
    const [intake] = door.training.intakes;
    assert.equal(intake!.text("train"), '{"a":1.5,"b":null,"species":"é\\n"}\n{"__proto__":1,"species":"x"}\n');
    assert.equal(intake!.text("validation"), "a,species\n2,x\n");
    assert.deepEqual(intake!.request.spec.training, {
      ...{ optimizer: {}, schedule: {}, seed: Number.MAX_SAFE_INTEGER, classWeights: {} },
      ...{ epochs: 0, batchSize: 16, earlyStopping: { restoreBest: false } },
    });
    // Zeros are there, so that a reader need not know the defaults; the spec reads as it was written.
    const job = json(answer);
    assert.deepEqual(job.spec, {
      ...{ model: "iris", classic: { form: "softmax" }, table: { target: "species" } },
      ...{ epochs: 0, batch_size: 16, seed: "9007199254740991", early_stopping: { restore_best: false } },
    });
    const { id, state, created, queue_position, last_event, candidate, drift, idempotency_key } = job;
    assert.deepEqual(
      { id, state, created, queue_position, last_event, candidate, drift, idempotency_key },
      {
        ...{ id: "job-001", state: "PENDING", created: "2023-11-14T22:13:20.001Z", queue_position: 0 },
        ...{ last_event: "1", candidate: false, drift: [], idempotency_key: "k" },
      },
    );
    assert.equal(door.observed[0]!.record.model, "iris");
  });

  it("takes tensors, and files of the server's", async () => {
    await using door = await RestDoor.open();
    const tensor = { dtype: "DT_FLOAT", tensor_shape: { dim: [{ size: 2 }, { size: "1" }] }, float_val: [1, 2] };
    const targets = { dtype: "DT_INT64", tensorShape: { dim: [{ size: 2 }] }, int64Val: ["1152921504606846976", 1] };
    const tensors = { inputs: { x: tensor }, targets };
    assert.equal((await postJson(door, jobs, { spec, data: { tensors } })).status, 200);
    assert.deepEqual(door.training.intakes[0]!.pieces[0]!.piece, {
      kind: "tensors",
      inputs: new Map([["x", { dtype: "float32", shape: [2, 1], data: new Float32Array([1, 2]) }]]),
      targets: { dtype: "int64", shape: [2], data: new BigInt64Array([2n ** 60n, 1n]) },
    });
    assert.equal((await postJson(door, jobs, { spec, data: { file: "a.csv" } })).status, 200);
    assert.deepEqual(door.training.intakes[1]!.pieces[0]!.piece, { kind: "file", path: "a.csv" });
  });

  it("answers a dry run with the plan", async () => {
    await using door = await RestDoor.open();
    const answer = await postJson(door, jobs, { spec, data: { csv: "a" }, dry_run: true });
    const { id, state, plan } = json(answer);
    assert.deepEqual([id, state], ["", "STATE_UNSPECIFIED"]);
    assert.deepEqual([plan.parameter_count, plan.parameters], ["12", [{ name: "dense/weight", shape: ["4", "3"] }]]);
    assert.equal(plan.seconds_per_step, aPlan.secondsPerStep);
    assert.equal(door.training.intakes[0]!.state, "discarded");
  });

  it("is the same job under the same idempotency key, and another's key is refused", async () => {
    await using door = await RestDoor.open();
    const body = { spec, data: { csv: "a" }, idempotencyKey: "k" };
    await postJson(door, jobs, body);
    assert.equal(json(await postJson(door, jobs, body)).id, "job-001");
    const other = await postJson(door, jobs, { ...body, spec: { ...spec, epochs: 2 } });
    assert.equal(other.status, 409);
    assert.match(json(other).error, /job-001/);
  });

  it("refuses by the field, and leaves nothing", async () => {
    await using door = await RestDoor.open();
    const withSpec = (more: object) => ({ spec: { ...spec, ...more }, data: { csv: "a" } });
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [[], /^the body must be a JSON object$/],
      [{ data: { csv: "a" } }, /^the request has no spec$/],
      [withSpec({ epoch: 3 }), /TrainingSpec.*"epoch" is unknown/],
      [withSpec({ epochs: "many" }), /TrainingSpec\.epochs.*expected number.*"many"/],
      [withSpec({ epochs: 1, layers: [{ dense: { units: 1.5 } }] }), /Dense\.units.*expected number.*1\.5/],
      [withSpec({ layers: [{ dense: {}, flatten: {} }] }), /Layer\.layer.*dense and flatten/],
      [withSpec({ batch_size: 3, batchSize: 4 }), /TrainingSpec\.batch_size.*multiple times/],
      [
        withSpec({ layers: [{ dense: { units: 1 } }] }),
        /exactly one of layers, classic, fine_tune and update; got layers and classic/,
      ],
      [{ spec, data: { csv: 3 } }, /Data\.csv.*expected string/],
      [{ spec, data: { rows: {} } }, /Data\.rows.*expected Array/],
      [{ spec, data: { rows: [{}, 3] } }, /^data\.rows\[1\] must be an object; got 3$/],
      [{ spec, data: { rows: [{ a: 1 }], csv: "a" } }, /^data takes exactly one .*; got csv and rows$/],
      [{ spec, data: { csv: "a" }, validation_data: {} }, /^validation_data takes exactly one .*; got none$/],
      [{ spec, dat: {} }, /StartJobRequest.*"dat" is unknown/],
    ];
    for (const [body, message] of cases) {
      const answer = await postJson(door, jobs, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.match(json(answer).error, message);
    }
    // What JSON.parse has rounded is not taken for what was written; nor is what it has turned into infinity.
    const seed = await door.post(jobs, `{"spec": {"model": "m", "seed": 9007199254740993}, "data": {"csv": "a"}}`);
    assert.match(
      json(seed).error,
      /^seed: 9007199254740992 is beyond what a JSON number holds exactly; write it as a string$/,
    );
    const huge = await door.post(jobs, `{"spec": ${JSON.stringify(spec)}, "data": {"rows": [{"a": 1e999}]}}`);
    assert.match(json(huge).error, /^data\.rows\[0\]\.a is larger than a number can be$/);
    assert.match(json(await door.post(jobs, "a,species\n1,x")).error, /^the body is not JSON: /);
    assert.match(json(await postJson(door, `${jobs}?dry_run=true`, {})).error, /^there is no parameter "dry_run" here/);
    assert.ok(door.training.intakes.every(({ state }) => state === "discarded"));
    assert.deepEqual(door.log.lines, []);
  });

  it("is bounded as all bodies are", async () => {
    await using door = await RestDoor.open({ bodyLimitBytes: 1000 });
    const answer = await postJson(door, jobs, { spec, data: { csv: "x".repeat(1000) } });
    assert.equal(answer.status, 413);
  });
});

describe("POST /v1/training/jobs with a table", () => {
  it("takes it in as it comes, however large, with the spec in the URL", async () => {
    await using door = await RestDoor.open({ bodyLimitBytes: 1000 });
    const table = `a,species\n${"1,x\n".repeat(500_000)}`;
    const answer = await door.post(`${jobs}?${specParameter}&idempotency_key=k`, table, csvType);
    assert.equal(answer.status, 200, answer.body);
    const [intake] = door.training.intakes;
    assert.equal(intake!.text("train"), table);
    assert.equal(intake!.request.idempotencyKey, "k");
    assert.deepEqual(intake!.request.spec.table, { target: "species", columns: [], onlyNamed: false });
    // The same again is the same job, and its data are not wanted.
    assert.equal(json(await door.post(`${jobs}?${specParameter}&idempotency_key=k`, table, csvType)).id, "job-001");
    assert.equal(door.training.intakes.length, 1);
  });

  it("takes JSON lines, and gzip", async () => {
    await using door = await RestDoor.open();
    const lines = '{"a": 1, "species": "x"}\n';
    await door.post(`${jobs}?${specParameter}`, lines, { "content-type": "application/x-ndjson" });
    assert.deepEqual(
      door.training.intakes[0]!.pieces.map(({ piece }) => piece.kind),
      ["json-lines"],
    );
    await door.post(`${jobs}?${specParameter}`, gzipSync("a,b\n1,2\n"), { ...csvType, "content-encoding": "gzip" });
    assert.equal(door.training.intakes[1]!.text("train"), "a,b\n1,2\n");
    const broken = gzipSync("a,b\n".repeat(10_000)).subarray(0, 40);
    const answer = await door.post(`${jobs}?${specParameter}`, broken, { ...csvType, "content-encoding": "gzip" });
    assert.equal(answer.status, 400);
    assert.match(json(answer).error, /^Content-Encoding is gzip, but the body cannot be inflated/);
    assert.equal(door.training.intakes[2]!.state, "discarded");
  });

  it("reads no faster than the data are taken in", async () => {
    await using door = await RestDoor.open();
    const waiting: (() => void)[] = [];
    door.training.onAdd = () => new Promise((resolve) => waiting.push(resolve));
    const call = upload(door, `${jobs}?${specParameter}`);
    const piece = Buffer.alloc(1024 * 1024, "x");
    let written = 0;
    const write = () =>
      call.write(piece, () => {
        written += 1;
        if (written < 40) write();
        else call.end();
      });
    write();
    await until(() => waiting.length === 1);
    for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(waiting.length, 1);
    assert.ok(written < 30, `${written} MB went into the air`);
    door.training.onAdd = () => {};
    waiting[0]!();
    const answer = await answerOf(call);
    assert.equal(answer.status, 200, answer.body);
    assert.equal(door.training.intakes[0]!.text("train").length, 40 * piece.length);
  });

  it("may take longer to come than other requests", async () => {
    await using door = await RestDoor.open({ requestTimeoutMs: 50 });
    const call = upload(door, `${jobs}?${specParameter}`);
    call.write("a,species\n");
    await until(() => door.training.intakes[0]?.pieces.length === 1);
    // Begun later, and cut: the upload's time was up before.
    const other = upload(door, "/v1/models/m:predict", { "content-length": "100" });
    other.write("{");
    assert.equal((await answerOf(other)).status, 408);
    call.end("1,x\n");
    const answer = await answerOf(call);
    assert.equal(answer.status, 200, answer.body);
    assert.equal(door.training.intakes[0]!.text("train"), "a,species\n1,x\n");
  });

  it("leaves nothing when the client goes away in the middle", async () => {
    for (const headers of [csvType, { ...csvType, "content-encoding": "gzip" }]) {
      await using door = await RestDoor.open();
      const call = upload(door, `${jobs}?${specParameter}`, { ...headers, "content-length": "1000000" });
      const random = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * index * 7919) % 251));
      call.write("content-encoding" in headers ? gzipSync(random).subarray(0, 100_000) : random);
      await until(() => (door.training.intakes[0]?.pieces.length ?? 0) > 0);
      call.destroy();
      await until(() => door.training.intakes[0]!.state === "discarded");
      assert.deepEqual(door.training.list({ model: "", states: [] }), []);
      await until(() => door.observed.length === 1);
      assert.equal(codeName(door.observed[0]!.code), "CANCELLED");
      assert.deepEqual(door.log.lines, []);
    }
  });

  it("is told of a refusal while it still sends, and heard to its end", async () => {
    await using door = await RestDoor.open();
    door.training.onAdd = () => {
      throw resourceExhausted("the data are larger than the server takes");
    };
    const answer = await door.post(`${jobs}?${specParameter}`, Buffer.alloc(20 * 1024 * 1024, "x"), csvType);
    assert.equal(answer.status, 429);
    assert.equal(answer.headers.connection, "close");
    assert.equal(json(answer).error, "the data are larger than the server takes");
    assert.equal(door.training.intakes[0]!.state, "discarded");
  });

  it("refuses by the parameter", async () => {
    await using door = await RestDoor.open();
    const cases: readonly (readonly [string, RegExp])[] = [
      ["", /^parameter spec is missing/],
      ["spec={", /^parameter spec is not JSON: /],
      ["spec=3", /^parameter spec must be a JSON object$/],
      ['spec={"modl":"m"}', /"modl" is unknown/],
      [`${specParameter}&spec=3`, /^parameter spec is there more than once$/],
      [`${specParameter}&dry_run=maybe`, /^parameter dry_run must be true or false; got "maybe"$/],
      [
        `${specParameter}&page_size=3`,
        /^there is no parameter "page_size" here; there are spec, idempotency_key, dry_run$/,
      ],
    ];
    for (const [query, message] of cases) {
      const answer = await door.post(`${jobs}?${query}`, "a,species\n", csvType);
      assert.equal(answer.status, 400);
      assert.match(json(answer).error, message);
    }
    assert.equal(json(await door.post(`${jobs}?${specParameter}&dry_run`, "a\n", csvType)).plan.batch_size, 32);
  });
});

describe("jobs over REST", () => {
  it("are told one by one and in pages", async () => {
    await using door = await RestDoor.open();
    for (let index = 0; index < 5; index++) door.training.make({ spec: plainSpec, idempotencyKey: "" });
    door.training.become("job-002", { state: "RUNNING" });
    const first = json(await door.get(`${jobs}?page_size=3`));
    assert.deepEqual(
      first.jobs.map(({ id }: { id: string }) => id),
      ["job-005", "job-004", "job-003"],
    );
    const second = json(await door.get(`${jobs}?page_size=3&page_token=${first.next_page_token}`));
    assert.deepEqual(
      second.jobs.map(({ id }: { id: string }) => id),
      ["job-002", "job-001"],
    );
    assert.equal(second.next_page_token, "");
    assert.equal(second.jobs[0].state, "RUNNING");
    const some = json(await door.get(`${jobs}?model=iris&state=running,FAILED&state=CANCELLED`));
    assert.deepEqual(
      some.jobs.map(({ id }: { id: string }) => id),
      ["job-002"],
    );
    assert.deepEqual(json(await door.get(`${jobs}?model=other`)).jobs, []);
    assert.equal(json(await door.get(`${jobs}/job-002`)).state, "RUNNING");
  });

  it("are cancelled, published and deleted", async () => {
    await using door = await RestDoor.open();
    door.training.make({ spec: plainSpec, idempotencyKey: "" });
    door.training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "SUCCEEDED", candidate: true });
    assert.equal(json(await door.post(`${jobs}/job-001:cancel`, "")).state, "CANCELLED");
    assert.equal(json(await door.post(`${jobs}/job-002:publish`, "")).published_version, "7");
    const deleted = await door.call({ method: "DELETE", path: `${jobs}/job-002` });
    assert.deepEqual([deleted.status, deleted.body], [200, "{}\n"]);
    assert.equal((await door.get(`${jobs}/job-002`)).status, 404);
    assert.equal((await door.post(`${jobs}/job-001:cancel`, "")).status, 400);
  });

  it("stop working for a client that has gone", async () => {
    await using door = await RestDoor.open();
    door.training.make({ spec: plainSpec, idempotencyKey: "" });
    let reason: string | undefined;
    door.training.onWork = (cancellation) =>
      new Promise((_, reject) => {
        cancellation.onCancel((given) => {
          reason = codeName(given.code);
          reject(given);
        });
        call.destroy();
      });
    const call = upload(door, `${jobs}/job-001:cancel`, {});
    call.end();
    await until(() => reason !== undefined);
    assert.equal(reason, "CANCELLED");
  });

  it("are refused by what is wrong with the request", async () => {
    await using door = await RestDoor.open();
    door.training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "SUCCEEDED" });
    const cases: readonly (readonly [string, string, number, RegExp])[] = [
      ["GET", `${jobs}/no`, 404, /^there is no job no$/],
      ["GET", `${jobs}/no/events`, 404, /^there is no job no$/],
      ["DELETE", `${jobs}/no`, 404, /^there is no job no$/],
      ["GET", `${jobs}/job-001/events?from=-1`, 400, /^parameter from must be a whole number; got "-1"$/],
      ["GET", `${jobs}/job-001/events?from=9`, 400, /there is no event 9$/],
      ["GET", `${jobs}/job-001?x=1`, 400, /^there is no parameter "x" here; there are none$/],
      ["GET", `${jobs}?page_size=x`, 400, /ListJobsRequest\.page_size.*"x"/],
      ["GET", `${jobs}?page_size=-1`, 400, /^page_size must be 0 or more/],
      ["GET", `${jobs}?state=RUNING`, 400, /Job\.State.*"RUNING"/],
      ["GET", "/v1/training", 404, /^Not found: GET \/v1\/training$/],
      ["GET", `${jobs}/job-001:stop`, 404, /^Not found/],
      ["PUT", jobs, 405, /does not take PUT$/],
      ["GET", `${jobs}/job-001:cancel`, 405, /does not take GET$/],
      ["POST", `${jobs}/job-001/events`, 405, /does not take POST$/],
    ];
    for (const [method, path, status, message] of cases) {
      const answer = await door.call({ method, path });
      assert.equal(answer.status, status, `${method} ${path}: ${answer.body}`);
      assert.match(json(answer).error, message);
    }
    // A model may be called training.
    assert.equal((await door.get("/v1/models/training")).status, 404);
    assert.equal((await door.get("/v1/trainings")).status, 400);
  });
});

describe("GET /v1/training/jobs/ID/events", () => {
  it("streams a line an event, from any on to the job's end, beyond the timeout of other calls", async () => {
    const clock = new FakeClock();
    await using door = await RestDoor.open({ timeoutMs: 100 }, clock);
    door.training.make({ spec: plainSpec, idempotencyKey: "" });
    const all = await follow(door, `${jobs}/job-001/events`);
    assert.equal(all.response.headers["content-type"], "application/x-ndjson");
    await until(() => all.lines().length === 1);
    clock.advance(1_000_000);
    const step = { step: 0, epoch: 1, loss: 0, gradientNorm: Number.NaN, learningRate: 0.5 };
    door.training.emit("job-001", { kind: "step", step });
    await until(() => all.lines().length === 2);
    const late = await follow(door, `${jobs}/job-001/events?from=2`);
    door.training.become("job-001", { state: "SUCCEEDED" });
    await Promise.all([all.ended, late.ended]);
    assert.deepEqual(
      all.lines().map(({ sequence }) => sequence),
      ["1", "2", "3"],
    );
    assert.deepEqual(
      late.lines().map(({ sequence }) => sequence),
      ["2", "3"],
    );
    assert.deepEqual(all.lines()[1], {
      ...{ job: "job-001", sequence: "2", time: "2023-11-14T22:13:21.002Z" },
      step: { step: "0", epoch: 1, loss: 0, gradient_norm: "NaN", learning_rate: 0.5 },
    });
    assert.equal(all.lines()[2].state.state, "SUCCEEDED");
    assert.deepEqual(all.lines()[2].state.spec, { model: "iris", classic: { form: "softmax" } });
    assert.deepEqual(
      door.observed.map(({ code, record }) => [codeName(code), record.model]),
      [
        ["OK", "iris"],
        ["OK", "iris"],
      ],
    );
  });

  it("ends when the client goes away, and a reader that sleeps holds up nobody", async () => {
    await using door = await RestDoor.open();
    door.training.make({ spec: plainSpec, idempotencyKey: "" });
    const asleep = await follow(door, `${jobs}/job-001/events`);
    asleep.response.pause();
    for (let index = 0; index < 400; index++) {
      door.training.emit("job-001", { kind: "notice", text: "n".repeat(10_000) });
    }
    const awake = await follow(door, `${jobs}/job-001/events?from=300`);
    await until(() => awake.lines().length === 102);
    awake.call.destroy();
    asleep.call.destroy();
    await until(() => door.training.watchers === 0);
    assert.deepEqual(door.log.lines, []);
  });
});

describe("POST /v1/training/evaluate", () => {
  it("judges a version on rows of JSON, or on a table", async () => {
    await using door = await RestDoor.open();
    const model = { name: "iris", label: "stable" };
    const answer = await postJson(door, "/v1/training/evaluate", { model, data: { rows: [{ x: 1 }] }, top_k: 3 });
    assert.deepEqual(json(answer), {
      ...{ model: "iris", version: "3" },
      evaluation: {
        ...{ metrics: { accuracy: 0.75, loss: 0 }, rows: "4", class_labels: ["no", "yes"] },
        confusion: [{ weights: [2, 0] }, { weights: [1, 1] }],
      },
      drift: [{ column: "x", measures: { psi: 0.5 }, warnings: ["x has moved"] }],
    });
    assert.deepEqual(door.training.evaluations[0]!.request, { model, topK: 3 });
    const parameters = "model=iris&version=2&weight=w&threshold=0.25";
    const table = await door.post(`/v1/training/evaluate?${parameters}`, "x,y\n1,no\n", csvType);
    assert.equal(table.status, 200, table.body);
    const asked = door.training.evaluations[1]!;
    assert.deepEqual(asked.request, { model: { name: "iris", version: "2" }, weight: "w", threshold: 0.25 });
    assert.deepEqual(asked.data, [{ kind: "csv", bytes: Buffer.from("x,y\n1,no\n") }]);
    assert.deepEqual(
      door.observed.map(({ record }) => [record.model, record.version]),
      [
        ["iris", 3n],
        ["iris", 3n],
      ],
    );
  });

  it("refuses by field and parameter", async () => {
    await using door = await RestDoor.open({ bodyLimitBytes: 1000 });
    const evaluate = "/v1/training/evaluate";
    assert.match(json(await postJson(door, evaluate, { model: { name: "m" } })).error, /^data takes exactly one/);
    assert.match(json(await postJson(door, evaluate, { data: { csv: "a" } })).error, /^model\.name is missing/);
    assert.match(json(await postJson(door, evaluate, { model: { nam: "m" } })).error, /"nam" is unknown/);
    assert.match(json(await door.post(evaluate, "a\n", csvType)).error, /^model\.name is missing/);
    assert.match(json(await door.post(`${evaluate}?model=m&top_k=x`, "a\n", csvType)).error, /EvaluateRequest\.top_k/);
    assert.match(
      json(await door.post(`${evaluate}?model=m&version=1&label=a`, "a\n", csvType)).error,
      /version and label/,
    );
    assert.equal((await door.post(`${evaluate}?model=m`, "x".repeat(2000), csvType)).status, 413);
  });
});

describe("who may train over REST", () => {
  it("is not a page of another site, which the browser on this machine is made to call by", async () => {
    await using door = await RestDoor.open({});
    const { id } = door.training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "SUCCEEDED" });
    const remove = (origin: string) => door.call({ method: "DELETE", path: `${jobs}/${id}`, headers: { origin } });
    for (const origin of ["https://elsewhere.example", "http://localhost.elsewhere.example", "null"]) {
      assert.equal((await remove(origin)).status, 403, origin);
    }
    assert.equal((await remove("http://localhost:3000")).status, 200);
  });

  it("is what --management says, before a body is read; looking is free", async () => {
    await using door = await RestDoor.open({}, undefined, undefined, "off");
    door.training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "SUCCEEDED" });
    const calls: readonly (readonly [string, string, string])[] = [
      ["POST", jobs, "StartJob"],
      ["POST", `${jobs}/job-001:cancel`, "CancelJob"],
      ["POST", `${jobs}/job-001:publish`, "Publish"],
      ["DELETE", `${jobs}/job-001`, "DeleteJob"],
      ["POST", "/v1/training/evaluate", "Evaluate"],
    ];
    for (const [method, path, name] of calls) {
      const answer = await door.call({ method, path });
      assert.equal(answer.status, 403);
      assert.equal(json(answer).error, `${name} changes the server, which --management=off forbids`);
    }
    // The answer is there before the body is.
    const answer = await answerOf(
      upload(door, `${jobs}?${specParameter}`, { ...csvType, "content-length": "1000000" }).on(
        "socket",
        function (this: ClientRequest) {
          this.flushHeaders();
        },
      ),
    );
    assert.equal(answer.status, 403);
    assert.equal((await door.get(`${jobs}/job-001`)).status, 200);
    assert.equal((await door.get(jobs)).status, 200);
    assert.equal((await door.get(`${jobs}/job-001/events`)).status, 200);
  });

  it("is told to browsers of other sites only where CORS is on", async () => {
    await using closed = await RestDoor.open();
    assert.equal((await closed.get(jobs)).headers["access-control-allow-origin"], undefined);
    await using door = await RestDoor.open({ enableCors: true });
    const { headers } = await door.call({ method: "OPTIONS", path: jobs });
    assert.equal(headers["access-control-allow-methods"], "POST, GET, DELETE");
  });
});
