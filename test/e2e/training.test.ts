// From rows to a served version and on to the next, over one door at a time: what a person does with grpcurl, or with curl.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CatalogServiceClient } from "../gen/onnxd/v1/catalog.js";
import {
  EvaluateRequest,
  type Job,
  Job_State,
  type JobEvent,
  ListJobsRequest,
  TrainingServiceClient,
  TrainRequest,
} from "../gen/onnxd/v1/training.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { SeededRandom } from "../support/seeded-random.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

/** Fruit: what is green or light is not ripe. Some weights are missing. */
function fruit(rows: number, seed: number, ripeFrom = 80): string {
  const random = new SeededRandom(seed);
  const lines = Array.from({ length: rows }, () => {
    const colour = ["green", "yellow", "red"][random.below(3)]!;
    const weight = 50 + 100 * random.next();
    const ripe = colour !== "green" && weight > ripeFrom ? "ripe" : "unripe";
    return `${colour},${random.next() < 0.05 ? "" : weight.toFixed(1)},${ripe}\n`;
  });
  return `colour,weight,state\n${lines.join("")}`;
}
const held = fruit(400, 1);
/** Of another year: the model has to learn on. */
const more = fruit(200, 2, 105);
const specOf = (model: string) => ({
  model,
  layers: [{ dense: { units: 16, activation: "relu" } }, { dense: { units: 2, activation: "softmax" } }],
  table: { target: "state" },
  optimizer: { learning_rate: 0.02 },
  epochs: 12,
  seed: 5,
  gate: { conditions: [{ metric: "accuracy", min: 0.9 }] },
  tags: { made_by: "a test" },
});

let server: TestServer;
let folder: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "onnxd-training-"));
  server = await startTestServer(`--training_dir=${folder}`);
});
after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

describe("training over gRPC alone", () => {
  type Spec = Parameters<typeof TrainRequest.fromPartial>[0];
  const header = (spec: object) => TrainRequest.fromPartial({ part: { $case: "header", value: { spec } } } as Spec);
  const csv = (text: string) =>
    TrainRequest.fromPartial({
      part: { $case: "data", value: { content: { $case: "csv", value: Buffer.from(text) } } },
    } as Spec);
  const column = (values: readonly (string | number)[]): TensorProto =>
    TensorProto.fromPartial({
      tensorShape: { dim: [{ size: BigInt(values.length) }] },
      ...(typeof values[0] === "string"
        ? { dtype: DataType.DT_STRING, stringVal: values.map((value) => Buffer.from(String(value))) }
        : { dtype: DataType.DT_FLOAT, floatVal: values.map(Number) }),
    });

  /** Trains to the end; the data come in pieces cut anywhere. */
  async function train(client: TrainingServiceClient, spec: object, text: string): Promise<JobEvent[]> {
    const stream = client.train();
    const events: JobEvent[] = [];
    stream.write(header(spec));
    for (let start = 0; start < text.length; start += 1000) stream.write(csv(text.slice(start, start + 1000)));
    stream.end();
    for await (const event of stream) events.push(event as JobEvent);
    return events;
  }
  const lastState = (events: readonly JobEvent[]): Job => {
    const last = events.at(-1)?.event;
    assert.equal(last?.$case, "state");
    return last.value as Job;
  };

  it("goes from CSV through the gate to a version, and on to the next from new rows", async () => {
    using training = connect(TrainingServiceClient, server.target);
    using prediction = connect(PredictionServiceClient, server.target);
    using catalog = connect(CatalogServiceClient, server.target);
    const layers = [
      { layer: { $case: "dense", value: { units: 16, activation: "relu" } } },
      { layer: { $case: "dense", value: { units: 2, activation: "softmax" } } },
    ];
    const spec = {
      ...{
        model: "fruit",
        layers,
        table: { target: "state" },
        optimizer: { learningRate: 0.02 },
        epochs: 12,
        seed: 5n,
      },
      ...{ gate: { conditions: [{ metric: "accuracy", min: 0.9 }] }, tags: new Map([["made_by", "a test"]]) },
    };
    const events = await train(training, { ...spec, hold: true }, held);
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      events.map((_, index) => BigInt(index + 1)),
    );
    assert.equal(events.filter(({ event }) => event?.$case === "epoch").length, 12);
    const trained = lastState(events);
    assert.equal(trained.state, Job_State.SUCCEEDED, trained.errorMessage);
    assert.deepEqual([trained.candidate, trained.publishedVersion], [true, undefined]);
    assert.ok(trained.evaluation!.metrics.get("accuracy")! >= 0.9);
    assert.deepEqual(trained.evaluation!.classLabels, ["ripe", "unripe"]);
    // What it would not have done on its own: it is published now, and can answer when the call returns.
    const published = await call(training, training.publish, { id: trained.id }, noMetadata);
    assert.equal(published.publishedVersion, 1n);
    const request = PredictRequest.fromPartial({
      modelSpec: { name: "fruit" },
      inputs: new Map([
        ["colour", column(["red", "green", "yellow"])],
        ["weight", column([140, 140, 55])],
      ]),
    });
    const { outputs, modelSpec } = await call(prediction, prediction.predict, request, noMetadata);
    assert.deepEqual(outputs.get("label")!.stringVal.map(String), ["ripe", "unripe", "unripe"]);
    assert.deepEqual(modelSpec?.versionChoice, { $case: "version", value: 1n });

    const updated = lastState(
      await train(
        training,
        { model: "fruit", update: { base: {} }, optimizer: { learningRate: 0.02 }, epochs: 30 },
        more,
      ),
    );
    assert.equal(updated.state, Job_State.SUCCEEDED, updated.errorMessage);
    assert.deepEqual([updated.baseModel, updated.baseVersion, updated.publishedVersion], ["fruit", 1n, 2n]);
    assert.ok(updated.baseEvaluation!.rows > 0n);
    assert.deepEqual(updated.drift.map(({ column: name }) => name).sort(), ["colour", "weight"]);
    const answer = await call(prediction, prediction.predict, request, noMetadata);
    assert.deepEqual(answer.modelSpec?.versionChoice, { $case: "version", value: 2n });
    const report = await call(
      training,
      training.evaluate,
      EvaluateRequest.fromPartial({ model: { name: "fruit" }, data: { csv: fruit(100, 3, 105) } }),
      noMetadata,
    );
    assert.deepEqual([report.version, report.evaluation!.rows], [2n, 100n]);
    assert.ok(report.evaluation!.metrics.get("accuracy")! >= 0.9);

    const { versions } = await call(catalog, catalog.getModel, { name: "fruit" }, noMetadata);
    const [second, first] = ["2", "1"].map(
      (version) => versions.find((each) => String(each.version) === version)!.origin!,
    );
    assert.deepEqual(
      [second!.kind, second!.job, second!.baseModel, second!.baseVersion],
      ["trained", updated.id, "fruit", 1n],
    );
    assert.deepEqual([first!.job, first!.seed, first!.dataRows], [trained.id, 5n, 400n]);
    assert.deepEqual([first!.dataSha256, [...first!.tags]], [trained.data!.sha256, [["made_by", "a test"]]]);
    assert.equal(first!.metrics.get("accuracy"), trained.evaluation!.metrics.get("accuracy"));
  });

  it("publishes nothing that does not pass the gate", async () => {
    using training = connect(TrainingServiceClient, server.target);
    using catalog = connect(CatalogServiceClient, server.target);
    const spec = {
      ...{ model: "sour", classic: { form: "logistic" }, table: { target: "state" }, epochs: 1 },
      gate: { conditions: [{ metric: "accuracy", min: 1.5 }] },
    };
    const job = lastState(await train(training, spec, more));
    assert.equal(job.state, Job_State.FAILED);
    assert.match(job.errorMessage, /accuracy/);
    await assert.rejects(call(catalog, catalog.getModel, { name: "sour" }, noMetadata), { code: 5 });
    const { jobs } = await call(
      training,
      training.listJobs,
      ListJobsRequest.fromPartial({ model: "sour" }),
      noMetadata,
    );
    assert.deepEqual(
      jobs.map(({ id, state }) => [id, state]),
      [[job.id, Job_State.FAILED]],
    );
  });
});

describe("training over REST alone", () => {
  const jobs = "/v1/training/jobs";
  const send = async (method: string, path: string, body?: string, type = "application/json") => {
    const headers = { "content-type": type };
    const response = await fetch(`${server.url}${path}`, { method, headers, ...(body !== undefined && { body }) });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return text;
  };
  const sendJson = async (method: string, path: string, body?: unknown) =>
    JSON.parse(await send(method, path, body === undefined ? undefined : JSON.stringify(body)));
  /** The job as it ended, from its events. */
  const watch = async (id: string) => {
    const lines = (await send("GET", `${jobs}/${id}/events`)).trimEnd().split("\n");
    return JSON.parse(lines.at(-1)!).state;
  };

  it("goes from CSV through the gate to a version, and on to the next from new rows", async () => {
    const spec = encodeURIComponent(JSON.stringify({ ...specOf("berries"), hold: true }));
    const started = JSON.parse(await send("POST", `${jobs}?spec=${spec}&idempotency_key=once`, held, "text/csv"));
    const again = JSON.parse(await send("POST", `${jobs}?spec=${spec}&idempotency_key=once`, held, "text/csv"));
    assert.equal(again.id, started.id);
    const trained = await watch(started.id);
    assert.equal(trained.state, "SUCCEEDED", trained.error_message);
    const published = await sendJson("POST", `${jobs}/${started.id}:publish`);
    assert.deepEqual([published.candidate, published.published_version], [false, "1"]);
    const instances = [
      { colour: "red", weight: 140 },
      { colour: "green", weight: 140 },
    ];
    const predict = async () => (await sendJson("POST", "/v1/models/berries:predict", { instances })).predictions;
    assert.deepEqual(
      (await predict()).map(({ label }: { label: string }) => label),
      ["ripe", "unripe"],
    );

    const [names, ...lines] = more
      .trimEnd()
      .split("\n")
      .map((line) => line.split(","));
    const rows = lines.map(([colour, weight, state]) => ({
      colour,
      weight: weight === "" ? null : Number(weight),
      state,
    }));
    assert.deepEqual(names, ["colour", "weight", "state"]);
    const update = {
      spec: { model: "berries", update: {}, optimizer: { learning_rate: 0.02 }, epochs: 30 },
      data: { rows },
    };
    const planned = await sendJson("POST", jobs, { ...update, dry_run: true });
    assert.deepEqual([planned.id, planned.plan.train_rows], ["", "160"]);
    const updated = await watch((await sendJson("POST", jobs, update)).id);
    assert.equal(updated.state, "SUCCEEDED", updated.error_message);
    assert.deepEqual([updated.base_version, updated.published_version], ["1", "2"]);
    const report = JSON.parse(
      await send("POST", "/v1/training/evaluate?model=berries", fruit(100, 3, 105), "text/csv"),
    );
    assert.deepEqual([report.version, report.evaluation.rows], ["2", "100"]);
    assert.ok(report.evaluation.metrics.accuracy >= 0.9);

    assert.match(await send("GET", "/metrics"), /onnxd_training_jobs\{state="SUCCEEDED"\} [2-9]/);
    await sendJson("DELETE", `${jobs}/${started.id}`);
    const listed = await sendJson("GET", `${jobs}?model=berries&state=SUCCEEDED`);
    assert.deepEqual(
      listed.jobs.map(({ id }: { id: string }) => id),
      [updated.id],
    );
    assert.equal((await predict()).length, 2); // what a job has published stays
  });

  it("fails a job on rows that do not fit, saying which, before it trains", async () => {
    const spec = encodeURIComponent(JSON.stringify(specOf("nuts")));
    const ragged = `${more}red,70\n`;
    const { id } = JSON.parse(await send("POST", `${jobs}?spec=${spec}`, ragged, "text/csv"));
    const { state, error_code, error_message, step } = await watch(id);
    assert.deepEqual([state, error_code, step], ["FAILED", 3, undefined]);
    assert.match(error_message, /(row|line) 20[0-9]/);
  });
});
