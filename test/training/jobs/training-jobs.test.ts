import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../../src/cancellation.js";
import { decodeGraphModel } from "../../../src/onnx/index.js";
import { Code, deadlineExceeded } from "../../../src/status.js";
import type { Job, JobEvent, JobSpec } from "../../../src/training/index.js";
import { readDataSet } from "../../support/data-set.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { floatTensor } from "../../support/test-models.js";
import { TrainingHost } from "../../support/training-host.js";
import { trainingProcesses } from "../../support/training-processes.js";
import { until } from "../../support/until.js";

const iris = readDataSet("iris");

function irisSpec(change: Partial<JobSpec> = {}, training: Partial<JobSpec["training"]> = {}): JobSpec {
  return {
    model: "flowers",
    start: { kind: "layers", layers: [{ type: "dense", units: 3, activation: "softmax" }] },
    table: { target: "target", columns: [], onlyNamed: false },
    classLabels: [],
    training: { optimizer: { learningRate: 0.05 }, schedule: {}, epochs: 15, seed: 3, classWeights: {}, ...training },
    gate: { conditions: [{ metric: "accuracy", min: 0.9 }], allowWorse: false },
    hold: false,
    limits: {},
    tags: {},
    ...change,
  };
}
/** Trains until it is stopped, with a checkpoint every few steps. */
const endless = irisSpec({ limits: { checkpointSeconds: 0.02 } }, { epochs: 1_000_000 });

async function events(host: TrainingHost, id: string, until: (event: JobEvent) => boolean): Promise<JobEvent[]> {
  const seen: JobEvent[] = [];
  for await (const event of host.jobs.watch(id, 1, neverCancelled)) {
    seen.push(event);
    if (until(event)) break;
  }
  return seen;
}
const atCheckpoint = ({ kind }: JobEvent) => kind === "checkpoint";
const never = () => false;

function weightsOf(host: TrainingHost, { spec, publishedVersion }: Job): unknown {
  const file = readFileSync(join(host.folder, "models", spec.model, publishedVersion!, "model.onnx"));
  const { graph } = decodeGraphModel(file);
  return [...graph.initializers].map(([name, { data }]) => [name, Array.from(data as Float32Array)]);
}
const versionsOf = (host: TrainingHost, model: string): string[] => {
  const path = join(host.folder, "models", model);
  return existsSync(path) ? readdirSync(path) : [];
};

describe("training jobs", () => {
  let host: TrainingHost;
  before(async () => {
    host = await TrainingHost.open({ maxQueue: 2 });
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  it("train, pass the gate, and publish a version that the next Predict is answered by", async () => {
    const { id } = await host.submit(irisSpec({ tags: { team: "garden" } }), iris);
    const seen = await events(host, id, never);
    const states = seen.flatMap((event) => (event.kind === "state" ? event.job.state : []));
    assert.deepEqual(states, ["PENDING", "RUNNING", "EVALUATING", "PUBLISHING", "SUCCEEDED"]);
    assert.deepEqual(
      seen.map(({ sequence }) => sequence),
      seen.map((_, index) => index + 1),
    );
    assert.equal(seen.filter(({ kind }) => kind === "epoch").length, 15);
    const job = host.jobs.get(id);
    assert.equal(job.publishedVersion, "1");
    assert.ok(job.evaluation!.metrics["accuracy"]! >= 0.9);
    assert.equal(job.plan!.trainRows + job.plan!.validationRows, 150);
    const columns = iris.slice(0, iris.indexOf("\n")).trim().split(",").slice(0, -1);
    const feeds = new Map(columns.map((name, i) => [name, floatTensor([1], [5.1, 3.5, 1.4, 0.2][i]!)]));
    using handle = host.repository.getServableHandle({ name: "flowers", signatureName: "" });
    const { outputs } = await handle.servable.session.run(feeds, ["label", "scores"], { cancellation: neverCancelled });
    assert.equal(String(outputs.get("label")!.data[0]), "0");
    const origin = JSON.parse(readFileSync(join(host.folder, "models", "flowers", "1", "onnxd_job.json"), "utf8"));
    assert.equal(origin.job, id);
    assert.equal(origin.data_sha256, job.data.sha256);
    const { metadata } = decodeGraphModel(readFileSync(join(host.folder, "models", "flowers", "1", "model.onnx")));
    assert.deepEqual(JSON.parse(metadata.get("onnxd.lineage")!).tags, { team: "garden" });
    // What only training needed is gone a moment later.
    const left = () =>
      readdirSync(join(host.folder, "jobs", id))
        .sort()
        .join(" ");
    await until(() => left() === "candidate.onnx events.ndjson job.json");
  });

  it("learn from more rows on the next version, which is not published when it is worse than its base", async () => {
    const update = irisSpec({ start: { kind: "update", base: {} }, gate: { conditions: [], allowWorse: true } });
    const { table: _, ...withoutTable } = update;
    const better = await host.ended((await host.submit(withoutTable, iris)).id);
    assert.deepEqual(
      [better.state, better.publishedVersion, better.base],
      ["SUCCEEDED", "2", { model: "flowers", version: "1" }],
    );
    assert.ok(better.baseEvaluation!.metrics["loss"]! > 0);
    const ruinous = irisSpec(
      { start: { kind: "update", base: {} }, gate: { conditions: [], allowWorse: false } },
      { optimizer: { kind: "sgd", learningRate: 1000 }, epochs: 1 },
    );
    const { table: __, ...ruin } = ruinous;
    const worse = await host.ended((await host.submit(ruin, iris)).id);
    assert.equal(worse.state, "FAILED");
    assert.match(worse.error!.message, /worse than the base|diverged/);
    assert.deepEqual(versionsOf(host, "flowers").sort(), ["1", "2"]);
  });

  it("do not publish what the gate refuses, and keep it from being published by hand", async () => {
    const gate = { conditions: [{ metric: "accuracy", min: 1.01 }], allowWorse: false };
    const job = await host.ended((await host.submit(irisSpec({ model: "shut", gate }), iris)).id);
    assert.equal(job.state, "FAILED");
    assert.match(job.error!.message, /accuracy is .*, and 1.01 is wanted at least/);
    await rejectsWith("FAILED_PRECONDITION", /no candidate/, () => host.jobs.publish(job.id, neverCancelled));
    assert.deepEqual(versionsOf(host, "shut"), []);
  });

  it("hold a candidate back until Publish, once", async () => {
    const held = await host.ended((await host.submit(irisSpec({ model: "held", hold: true }), iris)).id);
    assert.deepEqual([held.state, held.candidate, held.publishedVersion], ["SUCCEEDED", true, undefined]);
    assert.deepEqual(versionsOf(host, "held"), []);
    const published = await host.jobs.publish(held.id, neverCancelled);
    assert.deepEqual([published.state, published.candidate, published.publishedVersion], ["SUCCEEDED", false, "1"]);
    assert.equal(host.repository.getModelStatus("held", 1n)[0]!.state, "AVAILABLE");
    await rejectsWith("FAILED_PRECONDITION", /published as version 1/, () =>
      host.jobs.publish(held.id, neverCancelled),
    );
  });

  it("leave a version number alone that is taken, and can be published when it is free", async () => {
    const spec = irisSpec({ model: "flowers", version: "1", gate: { conditions: [], allowWorse: true } });
    const job = await host.ended((await host.submit(spec, iris)).id);
    assert.deepEqual([job.state, job.error!.code, job.candidate], ["FAILED", Code.ALREADY_EXISTS, true]);
  });

  it("are one job when they come twice under one idempotency key", async () => {
    const spec = irisSpec({ model: "once", hold: true }, { epochs: 1 });
    const first = await host.submit(spec, iris, "key-1");
    assert.equal(host.jobs.existing({ spec, idempotencyKey: "key-1" })!.id, first.id);
    await rejectsWith("ALREADY_EXISTS", /another spec/, () =>
      host.jobs.existing({ spec: { ...spec, hold: false }, idempotencyKey: "key-1" }),
    );
    const sending = await host.jobs.receive({ spec, idempotencyKey: "key-2" });
    await rejectsWith("ABORTED", /is sending its data/, () => host.jobs.receive({ spec, idempotencyKey: "key-2" }));
    await sending.discard();
    await host.submit(spec, iris, "key-2");
  });

  it("wait in a bounded queue, and are cancelled there as well as between two steps", async () => {
    const running = await host.submit(endless, iris);
    await events(host, running.id, atCheckpoint);
    const waiting = [await host.submit(irisSpec(), iris), await host.submit(irisSpec(), iris)];
    assert.deepEqual(
      waiting.map(({ id }) => host.jobs.queuePosition(id)),
      [0, 1],
    );
    await rejectsWith("RESOURCE_EXHAUSTED", /--training_queue=2/, () => host.submit(irisSpec(), iris));
    await rejectsWith("FAILED_PRECONDITION", /is RUNNING/, () => host.jobs.delete(running.id));
    for (const { id } of [...waiting, running]) {
      const job = await host.jobs.cancel(id, neverCancelled);
      assert.deepEqual([job.state, job.error!.code], ["CANCELLED", Code.CANCELLED]);
    }
    await rejectsWith("FAILED_PRECONDITION", /is CANCELLED/, () => host.jobs.cancel(running.id, neverCancelled));
    await host.jobs.delete(running.id);
    await rejectsWith("NOT_FOUND", /no job/, () => host.jobs.get(running.id));
    assert.ok(!existsSync(join(host.folder, "jobs", running.id)));
  });

  it("end by their deadline", async () => {
    const job = await host.ended((await host.submit({ ...endless, limits: { maxSeconds: 0.05 } }, iris)).id);
    assert.deepEqual([job.state, job.error!.code], ["FAILED", Code.DEADLINE_EXCEEDED]);
    assert.match(job.error!.message, /max_seconds/);
  });

  it("are refused before a step when they need more memory than they may have", async () => {
    const job = await host.ended((await host.submit({ ...endless, limits: { maxMemoryBytes: 1000 } }, iris)).id);
    assert.deepEqual([job.state, job.error!.code], ["FAILED", Code.RESOURCE_EXHAUSTED]);
    assert.equal(job.step, undefined);
  });

  it("fail alone when their process is killed", async () => {
    const { id } = await host.submit(endless, iris);
    await events(host, id, atCheckpoint);
    process.kill(trainingProcesses(process.pid)[0]!, "SIGKILL");
    const job = await host.ended(id);
    assert.deepEqual([job.state, job.error!.code], ["FAILED", Code.RESOURCE_EXHAUSTED]);
    assert.match(job.error!.message, /SIGKILL/);
  });

  it("leave nothing behind of data that were not sent to their end", async () => {
    const before = readdirSync(join(host.folder, "jobs")).length;
    const intake = await host.jobs.receive({ spec: irisSpec(), idempotencyKey: "" });
    await intake.add("train", { kind: "csv", bytes: Buffer.from(iris.slice(0, 500)) });
    assert.equal(readdirSync(join(host.folder, "jobs")).length, before + 1);
    await intake.discard();
    assert.equal(readdirSync(join(host.folder, "jobs")).length, before);
  });

  it("say what they would take, without becoming jobs", async () => {
    const count = host.jobs.list({ model: "", states: [] }).length;
    const intake = await host.jobs.receive({ spec: irisSpec(), idempotencyKey: "" });
    await intake.add("train", { kind: "csv", bytes: Buffer.from(iris) });
    const plan = await intake.plan(neverCancelled);
    await intake.discard();
    assert.deepEqual([plan.parameterCount, plan.trainRows, plan.validationRows], [15, 120, 30]);
    assert.ok(plan.secondsPerStep! > 0);
    assert.equal(host.jobs.list({ model: "", states: [] }).length, count);
  });

  it("are listed newest first, by model and state", () => {
    const all = host.jobs.list({ model: "", states: [] });
    assert.deepEqual(
      all.map(({ created }) => created),
      all.map(({ created }) => created).sort((a, b) => b - a),
    );
    assert.deepEqual(
      host.jobs.list({ model: "held", states: [] }).map(({ spec }) => spec.model),
      ["held"],
    );
    assert.ok(host.jobs.list({ model: "", states: ["FAILED"] }).every(({ state }) => state === "FAILED"));
  });

  it("judge a served version on given rows, with every metric", async () => {
    const rows = [{ kind: "csv", bytes: Buffer.from(iris) }] as const;
    const report = await host.jobs.evaluate({ model: { name: "flowers", version: "2" } }, rows, neverCancelled);
    assert.deepEqual([report.model, report.version, report.evaluation.rows], ["flowers", 2n, 150]);
    assert.ok(report.evaluation.metrics["accuracy"]! > 0.9);
    assert.equal(report.evaluation.confusion!.length, 3);
    assert.ok(report.drift.every(({ warnings }) => warnings.length === 0));
    const gone = new CancellationSource();
    gone.cancel(deadlineExceeded("too late"));
    await rejectsWith("DEADLINE_EXCEEDED", /too late/, () =>
      host.jobs.evaluate({ model: { name: "flowers" } }, rows, gone),
    );
    await rejectsWith("NOT_FOUND", /Servable not found/, () =>
      host.jobs.evaluate({ model: { name: "nobody" } }, rows, neverCancelled),
    );
  });
});

describe("training jobs across restarts", () => {
  it("go on from a checkpoint to the same weights, bit for bit, as if nothing had happened", async () => {
    await using host = await TrainingHost.open();
    const long = irisSpec({ limits: { checkpointSeconds: 0.01 } }, { epochs: 150, batchSize: 4 });
    const whole = await host.ended((await host.submit({ ...long, model: "whole" }, iris)).id);
    const { id } = await host.submit({ ...long, model: "cut" }, iris);
    await events(host, id, atCheckpoint);
    await host.close();
    const stored = JSON.parse(readFileSync(join(host.folder, "jobs", id, "job.json"), "utf8"));
    assert.equal(stored.job.state, "RUNNING");
    await host.reopen();
    const cut = await host.ended(id);
    assert.deepEqual([cut.state, cut.resumptions], ["SUCCEEDED", 1], cut.error?.message);
    const told = await events(host, id, never);
    assert.ok(told.some((event) => event.kind === "notice" && /training goes on after step \d+/.test(event.text)));
    assert.deepEqual(weightsOf(host, cut), weightsOf(host, whole));
    assert.equal(cut.evaluation!.metrics["loss"], whole.evaluation!.metrics["loss"]);
  });

  it("go on at the next start when the server closes before their process is there", async () => {
    await using host = await TrainingHost.open();
    const { id } = await host.submit(irisSpec({}, { epochs: 1_000_000 }), iris);
    // The job enters RUNNING at this moment; training to its end would take minutes.
    await host.close();
    assert.deepEqual(trainingProcesses(process.pid), []);
    const stored = JSON.parse(readFileSync(join(host.folder, "jobs", id, "job.json"), "utf8"));
    assert.equal(stored.job.state, "RUNNING");
    await host.reopen({ start: false });
    assert.equal(host.jobs.get(id).state, "RUNNING");
  });

  it("tell their end when the server stopped between a job's record and its last event", async () => {
    await using host = await TrainingHost.open();
    const { id } = await host.ended((await host.submit(irisSpec(), iris)).id);
    await host.close();
    const path = join(host.folder, "jobs", id, "events.ndjson");
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.slice(0, whole.lastIndexOf("\n", whole.length - 2) + 1));
    await host.reopen();
    const told = await events(host, id, never);
    const [last] = told.slice(-1);
    assert.deepEqual([last!.sequence, last!.kind === "state" && last!.job.state], [told.length, "SUCCEEDED"]);
    assert.equal(told.length, whole.split("\n").length - 1);
  });

  it("start from the beginning when a checkpoint is damaged, and say so", async () => {
    await using host = await TrainingHost.open();
    const { id } = await host.submit(irisSpec({ limits: { checkpointSeconds: 0.01 } }, { epochs: 300 }), iris);
    await events(host, id, atCheckpoint);
    await host.close();
    writeFileSync(join(host.folder, "jobs", id, "checkpoint.bin"), "not a checkpoint");
    await host.reopen();
    const job = await host.ended(id);
    assert.equal(job.state, "SUCCEEDED", job.error?.message);
    const told = await events(host, id, never);
    assert.ok(told.some((event) => event.kind === "notice" && /from the beginning/.test(event.text)));
  });

  it("are published once when the server stopped between the version's appearance and the job's record of it", async () => {
    await using host = await TrainingHost.open();
    const done = await host.ended((await host.submit(irisSpec(), iris)).id);
    await host.close();
    // As it was a moment before.
    const path = join(host.folder, "jobs", done.id, "job.json");
    const stored = JSON.parse(readFileSync(path, "utf8"));
    const { publishedVersion: _, ended: __, ...job } = stored.job;
    writeFileSync(path, JSON.stringify({ ...stored, job: { ...job, state: "PUBLISHING", candidate: true } }));
    await host.reopen();
    const again = await host.ended(done.id);
    assert.deepEqual([again.state, again.publishedVersion], ["SUCCEEDED", "1"]);
    assert.deepEqual(versionsOf(host, "flowers"), ["1"]);
  });

  it("wait again where they waited, and a job that cannot be read holds nobody back", async () => {
    await using host = await TrainingHost.open();
    await host.close();
    await host.reopen({ start: false });
    const { id } = await host.submit(irisSpec(), iris);
    await host.close();
    mkdirSync(join(host.folder, "jobs", "broken"));
    mkdirSync(join(host.folder, "jobs", ".receiving-x"));
    await host.reopen();
    assert.equal((await host.ended(id)).state, "SUCCEEDED");
    assert.ok(existsSync(join(host.folder, "jobs", "broken")));
    assert.ok(!existsSync(join(host.folder, "jobs", ".receiving-x")));
    rmSync(join(host.folder, "jobs", "broken"), { recursive: true });
  });

  it("serve what they have published at the next start too, beside what is configured", async () => {
    await using host = await TrainingHost.open();
    await host.ended((await host.submit(irisSpec(), iris)).id);
    await host.close();
    await host.reopen();
    assert.equal(host.repository.getModelStatus("flowers", 1n)[0]!.state, "AVAILABLE");
    await host.repository.applyConfig({ kind: "model_config_list", models: [] });
    assert.equal(host.repository.getModel("flowers")!.configured, true);
  });
});
