import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { type ClientDuplexStream, type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import type { ManagementPolicy } from "../../../src/api/auth/management.js";
import { trainingService } from "../../../src/api/grpc/training-service.js";
import { TrainingCalls } from "../../../src/api/training/training-calls.js";
import { type Clock, systemClock } from "../../../src/clock.js";
import { resourceExhausted } from "../../../src/status.js";
import type { DataPiece, JobSpec } from "../../../src/training/index.js";
import { HealthClient } from "../../gen/grpc/health/v1/health.js";
import {
  type DataChunk,
  EvaluateRequest,
  type Job,
  Job_State,
  type JobEvent,
  ListJobsRequest,
  type Plan,
  StartJobRequest,
  TrainingServiceClient,
  TrainRequest,
} from "../../gen/onnxd/v1/training.js";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { FakeClock } from "../../support/fake-clock.js";
import { aPlan, FakeTraining } from "../../support/fake-training.js";
import { callUnary, failureOf, GrpcServices } from "../../support/grpc-services.js";
import { until } from "../../support/until.js";

type Spec = NonNullable<NonNullable<Parameters<typeof StartJobRequest.fromPartial>[0]>["spec"]>;
type HeaderFields = { readonly idempotencyKey?: string; readonly dryRun?: boolean };

const spec: Spec = { model: "iris", classic: { form: "softmax" }, table: { target: "species" } };
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

/** On it every wait is over at the next turn of the event loop. */
const hurriedClock: Clock = {
  ...systemClock,
  setTimer(_delayMs, callback) {
    const handle = setImmediate(callback);
    return { cancel: () => clearImmediate(handle) };
  },
};

async function start(management: ManagementPolicy = "local", clock = hurriedClock) {
  const training = new FakeTraining();
  const calls = new TrainingCalls({ service: training, management, clock });
  const services = await GrpcServices.start({}, () => trainingService(calls, clock));
  const client = services.client(TrainingServiceClient);
  return { training, client, services, [Symbol.asyncDispose]: () => services[Symbol.asyncDispose]() };
}

const header = (fields: HeaderFields = {}, given: Spec = spec) =>
  TrainRequest.fromPartial({ part: { $case: "header", value: { spec: given, ...fields } } });
const data = (content: DataChunk["content"], validation = false) =>
  TrainRequest.fromPartial({ part: { $case: "data", value: { content, validation } } } as never);
const csv = (text: string, validation = false) => data({ $case: "csv", value: Buffer.from(text) }, validation);

type TrainCall = ClientDuplexStream<TrainRequest, JobEvent>;

/** What a streaming call gave, and how it ended. */
function follow(call: Pick<ClientReadableStream<JobEvent>, "on">) {
  const events: JobEvent[] = [];
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    call.on("data", (event: JobEvent) => events.push(event));
    call.on("end", () => resolve(undefined));
    call.on("error", (error: Error) => resolve(error as ServiceError));
  });
  return { events, ended };
}

async function trainFailure(call: TrainCall): Promise<{ code: number; details: string }> {
  const error = await follow(call).ended;
  assert.ok(error, "the call succeeded");
  return { code: error.code, details: error.details };
}

const floats = (shape: readonly number[], values: readonly number[]): TensorProto =>
  TensorProto.fromPartial({
    dtype: DataType.DT_FLOAT,
    tensorShape: { dim: shape.map((size) => ({ size: BigInt(size) })) },
    floatVal: [...values],
  });

describe("Train", () => {
  it("takes header and data, and streams the job's events to its end", async () => {
    await using served = await start();
    const { training, client, services } = served;
    const call = client.train();
    const { events, ended } = follow(call);
    call.write(header());
    call.write(csv("a,spe"));
    call.write(csv("cies\n1,x\n"));
    call.write(csv("a,species\n2,x\n", true));
    assert.equal(training.list({ model: "", states: [] }).length, 0); // no job before all data have come
    call.end();
    await until(() => events.length === 1);
    const [intake] = training.intakes;
    assert.equal(intake!.text("train"), "a,species\n1,x\n");
    assert.equal(intake!.text("validation"), "a,species\n2,x\n");
    assert.deepEqual(intake!.request.spec.table, { target: "species", columns: [], onlyNamed: false });
    training.become("job-001", { state: "RUNNING", started: 1_700_000_000_500 });
    training.emit("job-001", { kind: "planned", plan: aPlan });
    training.emit("job-001", {
      kind: "step",
      step: { step: 1, epoch: 1, loss: 0.5, gradientNorm: 2, learningRate: 0.25 },
    });
    const validation = { metrics: { accuracy: 0.5 }, rows: 30, confusion: [[1, 2]], classLabels: ["x"] };
    training.emit("job-001", {
      kind: "epoch",
      epoch: { epoch: 1, step: 4, loss: 0.25, learningRate: 0.125, validation },
    });
    training.emit("job-001", { kind: "checkpoint", step: 4 });
    training.emit("job-001", { kind: "notice", text: "column b is constant" });
    training.become("job-001", {
      ...{ state: "FAILED", ended: 1_700_000_000_900, error: { code: 9, message: "the gate" }, evaluation: validation },
      ...{ base: { model: "iris", version: "3" }, end: "completed" },
    });
    assert.equal(await ended, undefined);
    assert.deepEqual(
      events.map(({ job, sequence, event }) => [job, sequence, event?.$case]),
      ["state", "state", "planned", "step", "epoch", "checkpoint", "notice", "state"].map((kind, index) => [
        "job-001",
        BigInt(index + 1),
        kind,
      ]),
    );
    assert.deepEqual(events[0]!.time, new Date(1_700_000_001_001));
    const [pending, , planned, step, epoch, checkpoint, notice, failed] = events.map(({ event }) => event!.value);
    assert.equal((pending as Job).id, "job-001");
    const { parameterCount, activationBytes, secondsPerStep } = planned as Plan;
    assert.deepEqual([parameterCount, activationBytes, secondsPerStep], [12n, 101n, 0.25]);
    assert.deepEqual(step, { step: 1n, epoch: 1, loss: 0.5, gradientNorm: 2, learningRate: 0.25 });
    assert.deepEqual(epoch, {
      ...{ epoch: 1, step: 4n, loss: 0.25, learningRate: 0.125 },
      validation: {
        metrics: new Map([["accuracy", 0.5]]),
        rows: 30n,
        confusion: [{ weights: [1, 2] }],
        classLabels: ["x"],
      },
    });
    assert.deepEqual(checkpoint, { step: 4n });
    assert.equal(notice, "column b is constant");
    const last = failed as Job;
    assert.equal(last.state, Job_State.FAILED);
    assert.deepEqual([last.errorCode, last.errorMessage, last.end], [9, "the gate", "completed"]);
    assert.deepEqual([last.baseModel, last.baseVersion, last.lastEvent], ["iris", 3n, 8n]);
    assert.deepEqual(last.ended, new Date(1_700_000_000_900));
    assert.deepEqual(last.spec?.classic, { form: "softmax", alpha: undefined, l1Ratio: undefined });
    assert.deepEqual(
      services.ended.map(({ record }) => record.model),
      ["iris"],
    );
  });

  it("asks for a piece only when the one before has been taken in", async () => {
    await using served = await start();
    const { training, client } = served;
    const waiting: (() => void)[] = [];
    training.onAdd = () => new Promise((resolve) => waiting.push(resolve));
    const call = client.train();
    const { events } = follow(call);
    call.write(header());
    const piece = "x".repeat(60_000);
    let sent = 0;
    const write = () =>
      call.write(csv(piece), () => {
        sent += 1;
        if (sent < 200) write();
        else call.end();
      });
    write();
    await until(() => waiting.length === 1);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(waiting.length, 1);
    assert.ok(sent < 100, `${sent} of 200 pieces went into the air`);
    training.onAdd = () => {};
    waiting[0]!();
    await until(() => events.length === 1);
    assert.equal(training.intakes[0]!.text("train").length, 200 * 60_000);
    call.cancel();
  });

  it("leaves nothing of a call that is cut before its data have all come", async () => {
    // grpc-js ends its side when it is cancelled, and resets the call only then; on this clock the server waits forever.
    await using served = await start("local", new FakeClock());
    const { training, client } = served;
    const call = client.train();
    const { ended } = follow(call);
    call.write(header());
    call.write(csv("a,species\n"));
    await until(() => training.intakes[0]?.pieces.length === 1);
    call.cancel();
    assert.equal((await ended)?.code, status.CANCELLED);
    await until(() => training.intakes[0]!.state === "discarded");
    assert.deepEqual(training.list({ model: "", states: [] }), []);
  });

  it("goes on with the job when the call breaks off afterwards", async () => {
    await using served = await start();
    const { training, client } = served;
    const call = client.train();
    const { events, ended } = follow(call);
    call.write(header());
    call.end(csv("a,species\n1,x\n"));
    await until(() => events.length === 1);
    call.cancel();
    await ended;
    await until(() => training.watchers === 0);
    assert.equal(training.intakes[0]!.state, "committed");
    assert.equal(training.get("job-001").state, "PENDING");
  });

  it("is the same job under the same idempotency key, whatever becomes of the data", async () => {
    await using served = await start();
    const { training, client } = served;
    const first = client.train();
    const firstHeard = follow(first);
    first.write(header({ idempotencyKey: "k" }));
    first.end(csv("a,species\n1,x\n"));
    await until(() => firstHeard.events.length === 1);
    first.cancel();
    const again = client.train();
    const { events, ended } = follow(again);
    again.write(header({ idempotencyKey: "k" }));
    // More than any window takes unread, and it reads no events before all is sent.
    for (let index = 0; index < 40; index++) again.write(csv("y".repeat(100_000)));
    again.end();
    await once(again, "finish");
    await until(() => events.length === 1);
    training.become("job-001", { state: "SUCCEEDED" });
    assert.equal(await ended, undefined);
    assert.deepEqual(
      events.map(({ job, sequence }) => [job, sequence]),
      [
        ["job-001", 1n],
        ["job-001", 2n],
      ],
    );
    assert.equal(training.intakes.length, 1);
    const other = client.train();
    other.end(header({ idempotencyKey: "k" }, { ...spec, epochs: 3 }));
    const failure = await trainFailure(other);
    assert.equal(failure.code, status.ALREADY_EXISTS);
    assert.match(failure.details, /job-001/);
  });

  it("answers a dry run with the plan alone, and keeps nothing", async () => {
    await using served = await start();
    const { training, client } = served;
    const call = client.train();
    const { events, ended } = follow(call);
    call.write(header({ dryRun: true, idempotencyKey: "k" }));
    call.end(csv("a,species\n1,x\n"));
    assert.equal(await ended, undefined);
    assert.deepEqual(
      events.map(({ job, event }) => [job, event?.$case]),
      [["", "planned"]],
    );
    assert.equal(training.intakes[0]!.request.idempotencyKey, "");
    assert.equal(training.intakes[0]!.state, "discarded");
    assert.deepEqual(training.list({ model: "", states: [] }), []);
  });

  it("reads tensors as Predict does", async () => {
    await using served = await start();
    const { training, client } = served;
    const call = client.train();
    follow(call);
    call.write(header());
    call.write(
      data({
        $case: "tensors",
        value: {
          inputs: new Map([["x", floats([2, 2], [1, 2, 3, 4])]]),
          targets: TensorProto.fromPartial({
            dtype: DataType.DT_INT64,
            tensorShape: { dim: [{ size: 2n }] },
            int64Val: [2n ** 60n, -1n],
          }),
          weights: floats([2], [1]),
        },
      }),
    );
    await until(() => training.intakes[0]?.pieces.length === 1);
    const { piece } = training.intakes[0]!.pieces[0]!;
    assert.deepEqual(piece, {
      kind: "tensors",
      inputs: new Map([["x", { dtype: "float32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) }]]),
      targets: { dtype: "int64", shape: [2], data: new BigInt64Array([2n ** 60n, -1n]) },
      weights: { dtype: "float32", shape: [2], data: new Float32Array([1, 1]) },
    });
    call.cancel();
  });

  it("refuses what is out of order or no data, and leaves nothing of it", async () => {
    const tensors = (value: Partial<Extract<DataChunk["content"], { $case: "tensors" }>["value"]>) =>
      data({ $case: "tensors", value: { inputs: new Map(), targets: undefined, weights: undefined, ...value } });
    const x = new Map([["x", floats([1], [1])]]);
    const text = TensorProto.fromPartial({ dtype: DataType.DT_STRING, tensorShape: { dim: [{ size: 1n }] } });
    const cases: readonly (readonly [string, readonly TrainRequest[], RegExp])[] = [
      ["nothing", [], /^Train begins with a header; the client sent nothing$/],
      ["data first", [csv("a")], /^Train begins with a header; got data$/],
      ["an empty message", [TrainRequest.fromPartial({})], /either a header or data; got neither$/],
      ["two headers", [header(), header()], /^only the first message of Train is a header; got another$/],
      ["a header late", [header(), csv("a"), header()], /^only the first message/],
      ["empty data", [header(), data(undefined)], /^data takes one of csv, json_lines and tensors; got none$/],
      ["no inputs", [header(), tensors({ targets: floats([1], [1]) })], /^data\.tensors\.inputs is empty$/],
      ["no targets", [header(), tensors({ inputs: x })], /^data\.tensors\.targets is missing$/],
      [
        "text as targets",
        [header(), tensors({ inputs: x, targets: text })],
        /^data\.tensors\.targets must hold numbers; got strings$/,
      ],
      [
        "a tensor that is none",
        [header(), tensors({ inputs: new Map([["x", TensorProto.fromPartial({})]]), targets: floats([1], [1]) })],
        /^data\.tensors\.inputs\["x"\]: dtype is not set$/,
      ],
      ["no spec", [TrainRequest.fromPartial({ part: { $case: "header", value: {} } })], /^the request has no spec$/],
      [
        "a long key",
        [header({ idempotencyKey: "k".repeat(129) })],
        /^idempotency_key may have 128 characters at most; got 129$/,
      ],
    ];
    await using served = await start();
    const { training, client, services } = served;
    for (const [name, messages, details] of cases) {
      const call = client.train();
      for (const message of messages) call.write(message);
      call.end();
      const failure = await trainFailure(call);
      assert.equal(failure.code, status.INVALID_ARGUMENT, `${name}: ${failure.details}`);
      assert.match(failure.details, details, name);
    }
    assert.deepEqual(new Set(training.intakes.map(({ state }) => state)), new Set(["discarded"]));
    assert.deepEqual(services.log.lines, []);
  });

  it("passes on what the intake refuses, and discards", async () => {
    await using served = await start();
    const { training, client } = served;
    training.onAdd = () => {
      throw resourceExhausted("the disk is full");
    };
    const call = client.train();
    call.write(header());
    call.write(csv("a"));
    assert.deepEqual(await trainFailure(call), { code: status.RESOURCE_EXHAUSTED, details: "the disk is full" });
    assert.equal(training.intakes[0]!.state, "discarded");
  });
});

describe("StartJob", () => {
  const request = (given: Parameters<typeof StartJobRequest.fromPartial>[0]) =>
    StartJobRequest.fromPartial({ spec, ...given });

  it("takes data in every form, and returns the job in the queue", async () => {
    await using served = await start();
    const { training, client } = served;
    const long = `a,species\n${"1,x\n".repeat(200_000)}`;
    await callUnary(
      client,
      client.startJob,
      request({ data: { csv: long }, validationData: { csv: "a,species\n2,é\n" } }),
    );
    assert.equal(training.intakes[0]!.text("train"), long);
    assert.ok(training.intakes[0]!.pieces.length > 2);
    assert.equal(training.intakes[0]!.text("validation"), "a,species\n2,é\n");
    const rows = [
      { a: 1, b: null, species: "x\ny" },
      { a: -0.5, ["__proto__"]: true, species: "é" },
    ];
    const job = await callUnary(client, client.startJob, request({ data: { rows } }));
    assert.equal(
      training.intakes[1]!.text("train"),
      '{"a":1,"b":null,"species":"x\\ny"}\n{"a":-0.5,"__proto__":true,"species":"é"}\n',
    );
    assert.deepEqual([job.id, job.state, job.queuePosition, job.lastEvent], ["job-002", Job_State.PENDING, 1, 1n]);
    assert.deepEqual(job.created, new Date(1_700_000_000_002));
    await callUnary(client, client.startJob, request({ data: { file: "a/b.csv" } }));
    assert.deepEqual(training.intakes[2]!.pieces, [{ role: "train", piece: { kind: "file", path: "a/b.csv" } }]);
  });

  it("is the same job under the same idempotency key", async () => {
    await using served = await start();
    const { training, client } = served;
    const given = request({ data: { csv: "a,species\n1,x\n" }, idempotencyKey: "k" });
    const first = await callUnary(client, client.startJob, given);
    training.become(first.id, { state: "RUNNING" });
    const again = await callUnary(client, client.startJob, given);
    assert.deepEqual([again.id, again.state], [first.id, Job_State.RUNNING]);
    assert.equal(training.intakes.length, 1);
  });

  it("answers a dry run with a job that has nothing but its plan", async () => {
    await using served = await start();
    const { training, client } = served;
    const job = await callUnary(client, client.startJob, request({ data: { csv: "a\n" }, dryRun: true }));
    assert.deepEqual(
      [job.id, job.state, job.spec, job.created],
      ["", Job_State.STATE_UNSPECIFIED, undefined, undefined],
    );
    assert.deepEqual(job.plan?.parameters, [{ name: "dense/weight", shape: [4n, 3n] }]);
    assert.equal(training.intakes[0]!.state, "discarded");
  });

  it("refuses none and several forms of data, and rows that cannot be text", async () => {
    await using served = await start();
    const { training, client } = served;
    const cases: readonly (readonly [Parameters<typeof request>[0], RegExp])[] = [
      [{}, /^data takes exactly one of csv, file, rows and tensors; got none$/],
      [{ data: {} }, /^data takes exactly one of csv, file, rows and tensors; got none$/],
      [{ data: { csv: "a", file: "b" } }, /^data takes exactly one of csv, file, rows and tensors; got csv and file$/],
      [{ data: { csv: "a" }, validationData: {} }, /^validation_data takes exactly one/],
      [{ data: { rows: [{ a: 1 }, { a: Number.NaN }] } }, /^data\.rows\[1\]\.a is NaN/],
    ];
    for (const [given, details] of cases) {
      const failure = await failureOf(callUnary(client, client.startJob, request(given)));
      assert.equal(failure.code, status.INVALID_ARGUMENT, failure.details);
      assert.match(failure.details, details);
    }
    assert.deepEqual(new Set(training.intakes.map(({ state }) => state)), new Set(["discarded"]));
  });
});

describe("jobs", () => {
  it("are told one by one and in pages, newest first, while others come and go", async () => {
    await using served = await start();
    const { training, client } = served;
    for (let index = 0; index < 25; index++) training.make({ spec: plainSpec, idempotencyKey: "" });
    training.make({ spec: { ...plainSpec, model: "other" }, idempotencyKey: "" });
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await callUnary(
        client,
        client.listJobs,
        ListJobsRequest.fromPartial({ pageSize: 10, pageToken, model: "iris" }),
      );
      seen.push(...page.jobs.map(({ id }) => id));
      pageToken = page.nextPageToken;
      training.make({ spec: plainSpec, idempotencyKey: "" });
      // The one that the token names is gone by the next page.
      const last = seen.at(-1)!;
      training.become(last, { state: "CANCELLED" });
      await training.delete(last);
    } while (pageToken !== "");
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, index) => `job-${String(25 - index).padStart(3, "0")}`),
    );
    training.become("job-024", { state: "RUNNING" });
    const states = [Job_State.RUNNING, Job_State.CANCELLED];
    const running = await callUnary(client, client.listJobs, ListJobsRequest.fromPartial({ states }));
    assert.deepEqual(
      running.jobs.map(({ id }) => id),
      ["job-024"],
    );
    assert.equal((await callUnary(client, client.getJob, { id: "job-024" })).state, Job_State.RUNNING);
  });

  it("are refused by field when asked for wrongly", async () => {
    await using served = await start();
    const { client, training } = served;
    training.make({ spec: plainSpec, idempotencyKey: "" });
    const list = (given: Parameters<typeof ListJobsRequest.fromPartial>[0]) =>
      failureOf(callUnary(client, client.listJobs, ListJobsRequest.fromPartial(given)));
    const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE } = status;
    const watch = async (id: string, from: bigint) => {
      const error = await follow(client.watchJob({ id, from })).ended;
      return { code: error!.code, details: error!.details };
    };
    const failures: readonly (readonly [Promise<{ code: number; details: string }>, number, RegExp])[] = [
      [list({ pageSize: -1 }), INVALID_ARGUMENT, /^page_size must be 0 or more; got -1$/],
      [list({ pageToken: "x" }), INVALID_ARGUMENT, /^page_token is none that ListJobs returned$/],
      [list({ states: [0] }), INVALID_ARGUMENT, /^states: 0 is no state of a job$/],
      [list({ states: [99 as never] }), INVALID_ARGUMENT, /^states: 99 is no state of a job$/],
      [failureOf(callUnary(client, client.getJob, { id: "" })), INVALID_ARGUMENT, /^id is missing/],
      [failureOf(callUnary(client, client.getJob, { id: "no" })), NOT_FOUND, /^there is no job no$/],
      [failureOf(callUnary(client, client.cancelJob, { id: "no" })), NOT_FOUND, /^there is no job no$/],
      [failureOf(callUnary(client, client.deleteJob, { id: "job-001" })), FAILED_PRECONDITION, /has not ended$/],
      [failureOf(callUnary(client, client.publish, { id: "job-001" })), FAILED_PRECONDITION, /has no candidate$/],
      [watch("no", 0n), NOT_FOUND, /^there is no job no$/],
      [watch("job-001", -1n), INVALID_ARGUMENT, /^from must be 0 or more; got -1$/],
      [watch("job-001", 2n ** 60n), INVALID_ARGUMENT, /^from must be/],
    ];
    for (const [failure, code, details] of failures) {
      const found = await failure;
      assert.equal(found.code, code, found.details);
      assert.match(found.details, details);
    }
    training.become("job-001", { state: "FAILED" });
    assert.equal((await watch("job-001", 9n)).code, OUT_OF_RANGE);
  });

  it("are watched from any event on, by as many as like, and a reader that sleeps holds up nobody", async () => {
    await using served = await start();
    const { client, training } = served;
    training.make({ spec: plainSpec, idempotencyKey: "" });
    const asleep = client.watchJob({ id: "job-001", from: 0n });
    asleep.pause();
    asleep.on("error", () => {});
    const late = follow(client.watchJob({ id: "job-001", from: 300n }));
    await until(() => training.watchers === 2);
    const text = "n".repeat(10_000);
    for (let index = 0; index < 400; index++) training.emit("job-001", { kind: "notice", text });
    training.become("job-001", { state: "SUCCEEDED" });
    assert.equal(await late.ended, undefined);
    assert.deepEqual([late.events.length, late.events[0]!.sequence], [103, 300n]);
    asleep.cancel();
    await until(() => training.watchers === 0);
  });

  it("are cancelled, published and deleted", async () => {
    await using served = await start();
    const { client, training, services } = served;
    training.make({ spec: plainSpec, idempotencyKey: "" });
    training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "SUCCEEDED", candidate: true });
    assert.equal((await callUnary(client, client.cancelJob, { id: "job-001" })).state, Job_State.CANCELLED);
    const published = await callUnary(client, client.publish, { id: "job-002" });
    assert.deepEqual([published.publishedVersion, published.candidate], [7n, false]);
    await callUnary(client, client.deleteJob, { id: "job-002" });
    assert.equal((await failureOf(callUnary(client, client.getJob, { id: "job-002" }))).code, status.NOT_FOUND);
    assert.deepEqual(
      services.ended.map(({ record }) => record.model),
      ["iris", "iris", "iris", undefined],
    );
  });
});

describe("Evaluate", () => {
  it("judges a version on given rows", async () => {
    await using served = await start();
    const { client, training, services } = served;
    const response = await callUnary(
      client,
      client.evaluate,
      EvaluateRequest.fromPartial({
        model: { name: "iris", choice: { $case: "version", value: 3n } },
        data: { rows: [{ x: 1, y: "yes" }] },
        ...{ weight: "w", loss: { kind: "mae" }, topK: 0, threshold: 0 },
      }),
    );
    const [asked] = training.evaluations;
    assert.deepEqual(asked!.request, {
      ...{ model: { name: "iris", version: "3" }, weight: "w", loss: { kind: "mae" }, topK: 0, threshold: 0 },
    });
    assert.deepEqual(
      asked!.data.map((piece: DataPiece) => [piece.kind, "bytes" in piece && Buffer.from(piece.bytes).toString()]),
      [["json-lines", '{"x":1,"y":"yes"}\n']],
    );
    assert.deepEqual([response.model, response.version], ["iris", 3n]);
    assert.deepEqual(
      [...response.evaluation!.metrics],
      [
        ["accuracy", 0.75],
        ["loss", 0],
      ],
    );
    assert.deepEqual(
      response.evaluation!.confusion.map(({ weights }) => weights),
      [
        [2, 0],
        [1, 1],
      ],
    );
    assert.deepEqual(response.drift, [{ column: "x", measures: new Map([["psi", 0.5]]), warnings: ["x has moved"] }]);
    assert.deepEqual(
      services.ended.map(({ record: { model, version } }) => [model, version]),
      [["iris", 3n]],
    );
  });

  it("refuses a request without model or data", async () => {
    await using served = await start();
    const { client } = served;
    const evaluate = (given: Parameters<typeof EvaluateRequest.fromPartial>[0]) =>
      failureOf(callUnary(client, client.evaluate, EvaluateRequest.fromPartial(given)));
    assert.match((await evaluate({ data: { csv: "a" } })).details, /^model\.name is missing/);
    assert.match((await evaluate({ model: { name: "m" } })).details, /^data takes exactly one of/);
  });
});

describe("who may train", () => {
  it("is what --management says, before anything is read; looking is free", async () => {
    await using served = await start("off");
    const { client, training } = served;
    training.make({ spec: plainSpec, idempotencyKey: "" }, { state: "FAILED" });
    // The call is refused although it has sent nothing yet.
    const train = await trainFailure(client.train());
    const unary = await Promise.all([
      failureOf(callUnary(client, client.startJob, StartJobRequest.fromPartial({}))),
      failureOf(callUnary(client, client.cancelJob, { id: "no" })),
      failureOf(callUnary(client, client.deleteJob, { id: "no" })),
      failureOf(callUnary(client, client.publish, { id: "no" })),
      failureOf(callUnary(client, client.evaluate, EvaluateRequest.fromPartial({}))),
    ]);
    const names = ["Train", "StartJob", "CancelJob", "DeleteJob", "Publish", "Evaluate"];
    for (const [index, { code, details }] of [train, ...unary].entries()) {
      assert.equal(code, status.PERMISSION_DENIED);
      assert.equal(details, `${names[index]} changes the server, which --management=off forbids`);
    }
    assert.equal((await callUnary(client, client.getJob, { id: "job-001" })).id, "job-001");
    assert.equal((await callUnary(client, client.listJobs, ListJobsRequest.fromPartial({}))).jobs.length, 1);
    assert.equal(await follow(client.watchJob({ id: "job-001", from: 0n })).ended, undefined);
  });
});

describe("the training service", () => {
  it("is one that health checks know", async () => {
    await using served = await start();
    const health = served.services.client(HealthClient);
    const { status: answer } = await callUnary(health, health.check, { service: "onnxd.v1.TrainingService" });
    assert.equal(answer, 1);
  });
});
