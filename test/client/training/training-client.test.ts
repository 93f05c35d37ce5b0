import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { TrainingClient, type TrainingData, type TrainingSpecJson } from "../../../src/client/index.js";
import { Code } from "../../../src/status.js";
import { type DataChunk, Job, Job_State, Plan, type TensorRows } from "../../gen/onnxd/v1/training.js";
import { FakeTrainingServer, jobEvent, stateEvent } from "../../support/fake-training-server.js";
import { rejectsWith } from "../../support/rejects-with.js";

const spec: TrainingSpecJson = {
  model: "iris",
  table: { target: "species" },
  layers: [{ dense: { units: 8, activation: "relu" } }, { max_pool: { size: [2] } }, { dense: { units: 3 } }],
  optimizer: { kind: "adam", learning_rate: 0.01 },
  classWeights: { setosa: 2 },
  seed: 7n,
};
const csv = "a,species\n1,x\n2,y\n";

const story = [
  stateEvent(1, "PENDING"),
  stateEvent(2, "RUNNING"),
  jobEvent(3, { $case: "epoch", value: { epoch: 1, step: 4n, loss: 0.5, learningRate: 0.01, validation: undefined } }),
  jobEvent(4, { $case: "checkpoint", value: { step: 4n } }),
  stateEvent(5, "SUCCEEDED", { publishedVersion: 3n }),
];
const unavailable = { code: Code.UNAVAILABLE };

describe("the training client", () => {
  let server: FakeTrainingServer;
  let client: TrainingClient;
  let folder: string;
  before(async () => {
    server = await FakeTrainingServer.start();
    client = new TrainingClient(server.target, { retry: { initialBackoffMs: 1, maxBackoffMs: 1 } });
    folder = mkdtempSync(join(tmpdir(), "onnxd-training-client-"));
  });
  beforeEach(() => {
    server.calls.length = 0;
    server.heard.length = 0;
    server.failures.length = 0;
    server.refusals.length = 0;
    server.jobs = [];
    server.story = story;
  });
  after(async () => {
    client.close();
    rmSync(folder, { recursive: true });
    await server[Symbol.asyncDispose]();
  });

  async function sequencesOf(events: AsyncIterable<{ sequence: bigint }>): Promise<number[]> {
    const seen: number[] = [];
    for await (const { sequence } of events) {
      seen.push(Number(sequence));
      server.seen(sequence);
    }
    return seen;
  }
  /** What the server heard of the data in the last call. */
  function sent(kind: "csv" | "jsonLines", validation = false): string {
    const chunks = server.heard.at(-1)!.data.filter((chunk) => chunk.validation === validation);
    for (const { content } of chunks) assert.equal(content?.$case, kind);
    return Buffer.concat(chunks.map(({ content }) => content!.value as Uint8Array)).toString();
  }

  it("sends the spec and the data, and gives each event by its kind", async () => {
    const kinds: string[] = [];
    for await (const event of client.train(spec, { csv }, { validation: { csv: "a,species\n3,x\n" } })) {
      kinds.push(event.kind);
      if (event.kind === "epoch") assert.equal(event.epoch.loss, 0.5);
      if (event.kind === "checkpoint") assert.equal(event.step, 4n);
      if (event.kind === "state" && event.sequence === 5n) assert.equal(event.job.state, "SUCCEEDED");
    }
    assert.deepEqual(kinds, ["state", "state", "epoch", "checkpoint", "state"]);
    const { header } = server.heard[0]!;
    assert.equal(header.spec!.layers[1]!.layer?.$case, "maxPool");
    assert.equal(header.spec!.optimizer!.learningRate, 0.01);
    assert.deepEqual(header.spec!.classWeights, new Map([["setosa", 2]]));
    assert.equal(header.spec!.seed, 7n);
    assert.ok(header.idempotencyKey.length >= 32);
    assert.equal(sent("csv"), csv);
    assert.equal(sent("csv", true), "a,species\n3,x\n");
  });

  it("resolves to the job as it ended, and throws a failed job's own error", async () => {
    assert.equal((await client.train(spec, { csv }).result()).publishedVersion, 3n);
    server.story = [
      stateEvent(1, "PENDING"),
      stateEvent(2, "FAILED", { errorCode: Code.FAILED_PRECONDITION, errorMessage: "the gate: accuracy 0.4" }),
    ];
    await rejectsWith("FAILED_PRECONDITION", /the gate/, () => client.train(spec, { csv }).result());
  });

  it("refuses a spec with a field that there is not, before anything is sent", async () => {
    const wrong: readonly (readonly [object, RegExp])[] = [
      [{ ...spec, epoch: 3 }, /spec: .*"epoch"/],
      [{ ...spec, epochs: "many" }, /epochs/],
      [{ ...spec, layers: [{ dens: {} }] }, /"dens"/],
    ];
    for (const [given, message] of wrong) {
      await rejectsWith("INVALID_ARGUMENT", message, () => client.train(given as TrainingSpecJson, { csv }));
    }
    assert.deepEqual(server.calls, []);
  });

  it("sends every form of data", async () => {
    const lines = '{"a":1,"species":"x"}\n{"a":null,"species":"y"}\n';
    const file = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(folder, name), content);
      return { path: join(folder, name) };
    };
    async function* pieces() {
      yield csv.slice(0, 5);
      yield Buffer.from(csv.slice(5));
    }
    const rows = [
      { a: 1, species: "x" },
      { a: null, species: "y" },
    ];
    const forms: readonly (readonly [TrainingData, "csv" | "jsonLines", string])[] = [
      [{ csv: Buffer.from(csv) }, "csv", csv],
      [{ csv: pieces() }, "csv", csv],
      [file("d.csv", csv), "csv", csv],
      [file("d.csv.gz", gzipSync(csv)), "csv", csv],
      [file("d.jsonl", lines), "jsonLines", lines],
      [file("d.json", JSON.stringify(rows)), "jsonLines", lines],
      [{ jsonLines: lines }, "jsonLines", lines],
      [{ rows }, "jsonLines", lines],
      [{ rows: [{ id: 9007199254740993n }] }, "jsonLines", '{"id":9007199254740993}\n'],
    ];
    for (const [data, kind, text] of forms) {
      await client.train(spec, data).result();
      assert.equal(sent(kind), text, JSON.stringify(Object.keys(data)));
    }
  });

  it("cuts large data into messages that a server takes one by one", async () => {
    const text = `a,species\n${"1,x\n".repeat(300_000)}`;
    await client.train(spec, { csv: text }).result();
    assert.equal(sent("csv"), text);
    assert.equal(server.heard[0]!.data.length, Math.ceil(text.length / (256 * 1024)));
    // And small pieces together, whole characters or not.
    const bytes = Buffer.from("name\nä€😀\n".repeat(1000));
    await client.train(spec, { csv: Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)) }).result();
    assert.equal(sent("csv"), bytes.toString());
    assert.equal(server.heard[1]!.data.length, 1);
  });

  it("sends tensors row by row in the same order, whole rows to a message", async () => {
    const rows = 1000;
    const inputs = { x: { shape: [rows, 2, 64], data: Float32Array.from({ length: rows * 128 }, (_, i) => i) } };
    const targets = BigInt64Array.from({ length: rows }, (_, i) => BigInt(i % 3));
    await client.train(spec, { tensors: { inputs, targets } }).result();
    const parts = server.heard[0]!.data.map(({ content }) => {
      assert.equal(content?.$case, "tensors");
      return (content as Extract<DataChunk["content"], { $case: "tensors" }>).value;
    });
    assert.ok(parts.length > 1);
    const sizes = parts.map(({ targets: part }) => Number(part!.tensorShape!.dim[0]!.size));
    assert.equal(
      sizes.reduce((a, b) => a + b),
      rows,
    );
    const bytes = Buffer.concat(parts.map((part) => part.inputs.get("x")!.tensorContent));
    assert.deepEqual(bytes, Buffer.from(inputs.x.data.buffer));
    assert.equal(parts[0]!.inputs.get("x")!.tensorShape!.dim.length, 3);
    assert.deepEqual(Buffer.concat(parts.map((part) => part.targets!.tensorContent)), Buffer.from(targets.buffer));
  });

  it("reads tensors from a file", async () => {
    const path = join(folder, "tensors.json");
    writeFileSync(path, '{"inputs": {"x": {"shape": [2, 2], "data": [1, 2, 3, 4]}}, "targets": [0, 1]}');
    await client.train(spec, { path }).result();
    const content = server.heard[0]!.data[0]!.content;
    assert.equal(content!.$case, "tensors");
    const sentBytes = (content!.value as TensorRows).inputs.get("x")!.tensorContent;
    assert.deepEqual(sentBytes, Buffer.from(Float32Array.of(1, 2, 3, 4).buffer));
    await client.evaluate("iris", { path });
    assert.equal(server.evaluated!.data!.tensors!.targets!.tensorShape!.dim[0]!.size, 2n);
    writeFileSync(path, '{"x": 1}');
    await rejectsWith("INVALID_ARGUMENT", /array of rows, or an object/, () => client.evaluate("iris", { path }));
  });

  it("says which row and column no server could read, and which file is none", async () => {
    const wrong: readonly (readonly [TrainingData, RegExp])[] = [
      [{ rows: [{ a: 1 }, { a: Number.NaN }] }, /row 2, column "a".*NaN/],
      [{ rows: [{ a: [1] as never }] }, /row 1, column "a"/],
      [{ rows: [3 as never] }, /row 1 must be an object/],
      [{ path: "data.xlsx" }, /\.csv.*got "data.xlsx"/],
      [{ tensors: { inputs: { x: [[1], [2]] }, targets: [1] } }, /first axis.*"x" is \[2,1\]/],
    ];
    for (const [data, message] of wrong) {
      await rejectsWith("INVALID_ARGUMENT", message, () => client.startJob(spec, data));
    }
    await assert.rejects(client.startJob(spec, { path: join(folder, "none.csv") }), /ENOENT/);
    assert.deepEqual(server.calls, []);
  });

  it("goes on where it stopped when the server goes away, each event once", async () => {
    server.failures.push({ after: 2, ...unavailable }, { after: 1, ...unavailable }, { after: 0, ...unavailable });
    assert.deepEqual(await sequencesOf(client.train(spec, { csv })), [1, 2, 3, 4, 5]);
    assert.deepEqual(server.calls, ["Train", "WatchJob 3", "WatchJob 4", "WatchJob 4"]);
  });

  it("sends all again under the same key when nothing was heard of the job", async () => {
    server.failures.push({ after: -1, ...unavailable }, { after: 0, ...unavailable });
    assert.deepEqual(await sequencesOf(client.train(spec, { csv })), [1, 2, 3, 4, 5]);
    assert.deepEqual(server.calls, ["Train", "Train", "Train"]);
    assert.equal(new Set(server.heard.map(({ header }) => header.idempotencyKey)).size, 1);
    assert.equal(sent("csv"), csv);
  });

  it("waits for a server that has not noticed yet that the call before is gone", async () => {
    server.failures.push({ after: -1, ...unavailable }, { after: 0, code: Code.ABORTED });
    assert.deepEqual(await sequencesOf(client.train(spec, { csv })), [1, 2, 3, 4, 5]);
    server.failures.push({ after: 0, code: Code.ABORTED, details: "another call" });
    await rejectsWith("ABORTED", /another call/, () => client.train(spec, { csv }).result());
  });

  it("does not send half of a stream that cannot be read again", async () => {
    async function* once() {
      yield csv;
    }
    server.failures.push({ after: 0, ...unavailable });
    await rejectsWith("UNAVAILABLE", /gone/, () => client.train(spec, { csv: once() }).result());
    assert.deepEqual(server.calls, ["Train"]);
    // Once the job is known, its data are not needed any more.
    server.failures.push({ after: 1, ...unavailable });
    assert.deepEqual(await sequencesOf(client.train(spec, { csv: once() })), [1, 2, 3, 4, 5]);
  });

  it("gives up after so many failures in a row, and at once on other errors", async () => {
    const fail = (after: number) => ({ after, ...unavailable });
    server.failures.push(...[0, 0, 0, 0].map(fail));
    await rejectsWith("UNAVAILABLE", /gone/, () => client.watchJob("job-1").result());
    assert.equal(server.calls.length, 4);
    // A job that has been heard of is waited for longer.
    server.calls.length = 0;
    server.failures.push(...[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(fail));
    let lost = 0;
    const events = client.watchJob("job-1", { onLost: () => lost++ });
    await rejectsWith("UNAVAILABLE", /gone/, () => sequencesOf(events));
    assert.deepEqual([server.calls.length, lost], [10, 9]);
    server.failures.length = 0;
    server.failures.push({ after: 0, code: Code.PERMISSION_DENIED, details: "no" });
    await rejectsWith("PERMISSION_DENIED", /no/, () => client.train(spec, { csv }).result());
  });

  it("takes a stream that ends before the job for a server that went away", async () => {
    server.story = story.slice(0, 2);
    const events = client.watchJob("job-1")[Symbol.asyncIterator]();
    await events.next();
    assert.equal((await events.next()).value?.sequence, 2n);
    server.story = story;
    assert.equal((await events.next()).value?.sequence, 3n);
    await events.return(undefined);
  });

  it("ends at the caller's signal", async () => {
    server.neverEnds = true;
    server.story = story.slice(0, 1);
    const abort = new AbortController();
    await rejectsWith("CANCELLED", /signal/, async () => {
      for await (const _ of client.train(spec, { csv }, { signal: abort.signal })) abort.abort();
    });
    server.neverEnds = false;
  });

  it("plans without a job", async () => {
    server.story = [
      {
        job: "",
        sequence: 0n,
        time: undefined,
        event: { $case: "planned", value: Plan.fromPartial({ parameterCount: 12n }) },
      },
    ];
    assert.equal((await client.plan(spec, { csv })).parameterCount, 12n);
    assert.equal(server.heard[0]!.header.dryRun, true);
    server.jobs = [Job.fromPartial({ id: "job-1", plan: { parameterCount: 13n } })];
    assert.equal((await client.plan(spec, { serverFile: "a.csv" })).parameterCount, 13n);
    assert.equal(server.started!.dryRun, true);
  });

  it("starts jobs on small data and on files of the server's, and may try again for their key", async () => {
    server.refusals.push({ code: Code.UNAVAILABLE, details: "starting" });
    assert.equal((await client.startJob(spec, { csv }, { validation: { rows: [{ a: 1n }] } })).id, "job-1");
    assert.deepEqual(server.calls, ["StartJob", "StartJob"]);
    assert.equal(server.started!.data!.csv, csv);
    assert.deepEqual(server.started!.validationData!.rows, [{ a: 1 }]);
    await client.startJob(spec, { serverFile: "a.csv" }, { idempotencyKey: "mine" });
    assert.equal(server.started!.data!.file, "a.csv");
    assert.equal(server.started!.idempotencyKey, "mine");
    assert.deepEqual(await sequencesOf(client.train(spec, { serverFile: "a.csv" })), [1, 2, 3, 4, 5]);
    await rejectsWith("INVALID_ARGUMENT", /one of each/, () =>
      client.train(spec, { csv }, { validation: { serverFile: "v.csv" } }),
    );
  });

  it("lists jobs over all pages, by model and state", async () => {
    server.jobs = [1, 2, 3, 4, 5].map((n) =>
      Job.fromPartial({
        id: `j${n}`,
        spec: { model: n === 3 ? "b" : "a" },
        state: n === 5 ? Job_State.FAILED : Job_State.RUNNING,
      }),
    );
    const idsOf = async (filter: Parameters<TrainingClient["listJobs"]>[0]) => {
      const ids: string[] = [];
      for await (const { id } of client.listJobs(filter)) ids.push(id);
      return ids.join(" ");
    };
    assert.equal(await idsOf({}), "j1 j2 j3 j4 j5");
    assert.equal(await idsOf({ model: "a", states: ["RUNNING"] }), "j1 j2 j4");
  });

  it("cancels, publishes and deletes once, whatever comes of it", async () => {
    assert.equal((await client.cancelJob("job-1")).state, "CANCELLED");
    assert.equal((await client.publish("job-1")).publishedVersion, 4n);
    await client.deleteJob("job-1");
    server.calls.length = 0;
    server.refusals.push({ code: Code.UNAVAILABLE, details: "gone" });
    await rejectsWith("UNAVAILABLE", /gone/, () => client.cancelJob("job-1"));
    assert.deepEqual(server.calls, ["CancelJob"]);
  });

  it("evaluates a version on data of one's own", async () => {
    await client.evaluate("iris", { csv }, { version: 2, topK: 3, loss: { kind: "huber", delta: 2 } });
    const { model, data, topK, loss } = server.evaluated!;
    assert.deepEqual(model, { name: "iris", choice: { $case: "version", value: 2n } });
    assert.equal(data!.csv, csv);
    assert.equal(topK, 3);
    assert.equal(loss!.delta, 2);
    await rejectsWith("INVALID_ARGUMENT", /row 1.*double/, () =>
      client.evaluate("iris", { rows: [{ a: 9007199254740993n }] }),
    );
  });
});
