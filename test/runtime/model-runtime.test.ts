import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import { encodeModel, GraphBuilder } from "../../src/onnx/index.js";
import { createModelRuntime, type Session } from "../../src/runtime/index.js";
import { loadBinding } from "../../src/runtime/placement/native-session.js";
import { cancelled } from "../../src/status.js";
import { silentLogger } from "../../src/telemetry/index.js";
import { FakeClock } from "../support/fake-clock.js";
import { PuppetThreads } from "../support/puppet-threads.js";
import { rejectsWith } from "../support/rejects-with.js";
import {
  affineModel,
  floatTensor,
  int64Tensor,
  scalarOutputModel,
  severalInputsModel,
  slowModel,
  unknownOperatorModel,
  unknownRankModel,
  writeExternalDataModel,
  zipMapModel,
} from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";
import { until } from "../support/until.js";

const nothing = { threads: [], models: [] };

describe("load", () => {
  it("gives a description and a session that answers with all that is fetched, in that order", async () => {
    await using runtime = new TestRuntime();
    const { description, session } = await runtime.load(severalInputsModel());
    assert.deepEqual(
      description.inputs.map(({ name }) => name),
      ["a", "b", "ids"],
    );
    const feeds = new Map([
      ["a", floatTensor([1, 2], 5, 6)],
      ["ids", int64Tensor([1], 7)],
      ["b", floatTensor([1, 2], 1, 2)],
    ]);
    const { outputs } = await session.run(feeds, ["ids_out", "sum"], { cancellation: neverCancelled });
    assert.deepEqual(
      [...outputs],
      [
        ["ids_out", int64Tensor([1], 7)],
        ["sum", floatTensor([1, 2], 6, 8)],
      ],
    );
  });

  it("serves a classifier that ended in ZipMap, in every thread of its pool", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const { description, session } = await runtime.load(zipMapModel({ labels: [0, 1, 2] }), { poolSize: 2 });
    assert.equal(description.rewrites.length, 1);
    const feeds = new Map([["x", floatTensor([2, 2], 1, 2, -3, 4)]]);
    const fetches = description.outputs.map(({ name }) => name);
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => session.run(feeds, fetches, { cancellation: neverCancelled })),
    );
    for (const { outputs } of answers) assert.deepEqual(outputs, answers[0]!.outputs);
    assert.deepEqual(answers[0]!.outputs.get(fetches[1]!)!.shape, [2, 3]);
    assert.ok(runtime.runtime.stats().threads.every(({ runs }) => runs > 0));
  });

  it("finds external data beside the model, whatever the working directory", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-external-"));
    try {
      writeExternalDataModel(folder, [10, 20]);
      await using runtime = new TestRuntime();
      const path = join(folder, "model.onnx");
      const { session } = await runtime.runtime.load("m", path, {}, neverCancelled);
      const { outputs } = await session.run(new Map([["x", floatTensor([1, 2], 1, 2)]]), ["y"], {
        cancellation: neverCancelled,
      });
      assert.deepEqual(outputs.get("y"), floatTensor([1, 2], 11, 22));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("serves a model in onnxruntime's own format, which only a session can describe", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-ort-"));
    try {
      await using runtime = new TestRuntime();
      const path = join(folder, "model.ort");
      const converter = new (loadBinding().InferenceSession)();
      const conversion = { optimizedModelFilePath: path, extra: { session: { save_model_format: "ORT" } } };
      converter.loadModel(runtime.write(affineModel(2, 1, 2)), conversion);
      converter.dispose();
      const { description, session } = await runtime.runtime.load("m", path, { poolSize: 2 }, neverCancelled);
      assert.deepEqual(description.inputs, [{ name: "x", dtype: "float32", shape: ["batch", 2] }]);
      assert.match(session.placement.reason, /but what its graph does is not known$/);
      assert.deepEqual(await run(session, [1, 2]), [3, 5]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("serves models whose outputs are scalars or of unknown rank", async () => {
    await using runtime = new TestRuntime();
    const x = new Map([["x", floatTensor([3], 1, 2, 3)]]);
    const total = await runtime.load(scalarOutputModel());
    const summed = await total.session.run(x, ["total"], { cancellation: neverCancelled });
    assert.deepEqual(summed.outputs.get("total"), floatTensor([], 6));
    const any = await runtime.load(unknownRankModel());
    const same = await any.session.run(x, ["y"], { cancellation: neverCancelled });
    assert.deepEqual(same.outputs.get("y"), floatTensor([3], 1, 2, 3));
  });

  it("serves outputs called what every object inherits", async () => {
    const graph = new GraphBuilder("inherited");
    const x = graph.input("toString", "float32", ["n"]);
    graph.node("Neg", [x], {}, { outputs: ["constructor"] });
    graph.node("Abs", [x], {}, { outputs: ["hasOwnProperty"] });
    graph.output("constructor", "float32", ["n"]);
    graph.output("hasOwnProperty", "float32", ["n"]);
    for (const options of [alwaysInline, alwaysPool]) {
      await using runtime = new TestRuntime(options);
      const { session } = await runtime.load(encodeModel(graph), { poolSize: 1 });
      const feeds = new Map([["toString", floatTensor([1], -2)]]);
      const { outputs } = await session.run(feeds, ["hasOwnProperty"], { cancellation: neverCancelled });
      assert.deepEqual([...outputs], [["hasOwnProperty", floatTensor([1], 2)]]);
    }
  });

  it("refuses what cannot be served, with the reason, and leaves no thread behind", async () => {
    await using runtime = new TestRuntime();
    const { load } = runtime.runtime;
    const loadPath = (path: string) => load.call(runtime.runtime, "m", path, {}, neverCancelled);
    await rejectsWith("NOT_FOUND", /^model "m": the model file cannot be opened: ENOENT/, () => loadPath("/no/such"));
    await rejectsWith("INVALID_ARGUMENT", /^model "m": not an ONNX model/, () =>
      runtime.load(new TextEncoder().encode("<html>")),
    );
    await rejectsWith("INTERNAL", /^model "m": .*Frobnicate/s, () => runtime.load(unknownOperatorModel()));
    await until(() => runtime.runtime.stats().threads.length === 0);
    assert.deepEqual(runtime.runtime.stats(), nothing);
  });

  it("refuses a file larger than its limit", async () => {
    await using runtime = new TestRuntime({ maxModelFileBytes: 100 });
    await rejectsWith("INVALID_ARGUMENT", /at most 100/, () => runtime.load(affineModel(1, 1)));
  });

  it("refuses options out of bounds, by name", async () => {
    await using runtime = new TestRuntime();
    for (const options of [{ poolSize: 0 }, { poolSize: 1.5 }, { intraOpThreads: 0 }, { maxQueue: 0 }]) {
      const name = new RegExp(`^${Object.keys(options)[0]} must be a whole number`);
      await rejectsWith("INVALID_ARGUMENT", name, () => runtime.load(affineModel(1, 1), options));
    }
    const environment = { logger: silentLogger, clock: new FakeClock() };
    for (const options of [
      { cpus: 0 },
      { maxModelFileBytes: -1 },
      { loadTimeoutMs: 0.5 },
      { inlineThresholdMicros: -1 },
    ]) {
      const name = new RegExp(`^${Object.keys(options)[0]} must be a whole number`);
      await rejectsWith("INVALID_ARGUMENT", name, () => createModelRuntime(options, environment));
    }
  });

  it("loads a model that zeros are no good for, or that wants too many of them; it is just not warmed up", async () => {
    const graph = new GraphBuilder("picky");
    const x = graph.input("x", "float32", ["batch"]);
    graph.node("Reshape", [x, graph.initializer("shape", int64Tensor([2], 2, 3))], {}, { outputs: ["y"] });
    graph.output("y", "float32", [2, 3]);
    await using picky = new TestRuntime();
    const { session } = await picky.load(encodeModel(graph));
    assert.equal(session.placement.kind, "thread-pool");
    assert.equal(session.placement.warmupRunMicros, undefined);
    assert.match(session.placement.reason, /^not warmed up: the runtime refuses zeros: .*Reshape/s);

    await using frugal = new TestRuntime({ warmupMaxBytes: 1000 });
    const wide = await frugal.load(affineModel(1, 1, 251));
    assert.match(wide.session.placement.reason, /^not warmed up: its inputs take 1004 bytes, more than the 1000/);
    assert.equal((await run(wide.session, new Array(251).fill(1)))[250], 2);
  });

  it("ends at once when it is cancelled, and releases what it comes to", async () => {
    const threads = new PuppetThreads();
    await using runtime = new TestRuntime(alwaysPool, { startThread: threads.start });
    const source = new CancellationSource();
    const path = runtime.write(affineModel(1, 1));
    const loading = runtime.runtime.load("m", path, { poolSize: 2 }, source);
    assert.equal(runtime.runtime.stats().threads[0]!.state, "starting");
    source.cancel(cancelled("not wanted any more"));
    await rejectsWith("CANCELLED", /not wanted any more/, () => loading);
    assert.equal(runtime.runtime.stats().threads[0]!.busy, true);
    await until(() => runtime.runtime.stats().threads.length === 0);
    assert.deepEqual(runtime.runtime.stats(), nothing);
    await rejectsWith("CANCELLED", /not wanted any more/, () => runtime.runtime.load("m", path, {}, source));
    assert.ok(threads.started <= 2);
  });

  it("ends when it takes longer than it may", async () => {
    const clock = new FakeClock();
    await using runtime = new TestRuntime({ ...alwaysPool, loadTimeoutMs: 5_000 }, { clock });
    const loading = runtime.load(affineModel(1, 1));
    clock.advance(5_000);
    await rejectsWith("DEADLINE_EXCEEDED", /^model "m": loading took longer than 5000 ms$/, () => loading);
    await until(() => runtime.runtime.stats().threads.length === 0);
    assert.equal(clock.pending, 0);
  });

  it("refuses a file that is exchanged while it is being loaded, rather than serve two models as one", async () => {
    const threads = new PuppetThreads();
    const runtime = new TestRuntime(alwaysPool, {
      startThread: () => {
        if (threads.started === 1) writeFileSync(path, affineModel(2, 2));
        return threads.start();
      },
    });
    const path = runtime.write(affineModel(1, 1));
    await rejectsWith("UNAVAILABLE", /model\.onnx has changed since it was first read/, () =>
      runtime.runtime.load("m", path, { poolSize: 2 }, neverCancelled),
    );
    await until(() => runtime.runtime.stats().threads.length === 0);
    assert.deepEqual(runtime.runtime.stats(), nothing);
    await runtime[Symbol.asyncDispose]();
  });

  it("refuses a folder called like a model", async () => {
    await using runtime = new TestRuntime();
    const path = `${runtime.write(affineModel(1, 1))}.d/model.onnx`;
    mkdirSync(path, { recursive: true });
    await rejectsWith("INVALID_ARGUMENT", /is not a file/, () => runtime.runtime.load("m", path, {}, neverCancelled));
  });
});

describe("placement", () => {
  it("never puts a model on the serving thread whose run a fed value can make long", async () => {
    await using runtime = new TestRuntime(alwaysInline);
    const { session } = await runtime.load(slowModel("input"), { poolSize: 1 });
    assert.equal(session.placement.kind, "thread-pool");
    assert.match(session.placement.reason, /but what Loop costs follows from values it is fed$/);
  });

  it("says how many sessions and threads a model has", async () => {
    await using runtime = new TestRuntime({ ...alwaysPool, cpus: 6 });
    const { session } = await runtime.load(affineModel(1, 1), { poolSize: 2 });
    const { kind, sessions, intraOpThreads, reason } = session.placement;
    assert.deepEqual(
      { kind, sessions, intraOpThreads, reason },
      { kind: "thread-pool", sessions: 2, intraOpThreads: 3, reason: "no model is to run on the serving thread" },
    );
    assert.ok(session.placement.warmupRunMicros! > 0);
  });
});

describe("close", () => {
  it("answers the runs that were called, releases every model, ends all threads and loads no more", async () => {
    const threads = new PuppetThreads();
    await using runtime = new TestRuntime(alwaysPool, { startThread: threads.start });
    const { session } = await runtime.load(affineModel(2, 1), { poolSize: 1 });
    const path = runtime.write(affineModel(1, 1));
    const loading = runtime.runtime.load("late", path, { poolSize: 1 }, neverCancelled);
    threads.hold();
    const runs = [1, 2, 3].map((x) => run(session, [x]));
    const closed = runtime.runtime.close();
    await rejectsWith("UNAVAILABLE", /model "m2" cannot be loaded: the server is shutting down/, () =>
      runtime.runtime.load("m2", path, {}, neverCancelled),
    );
    threads.finish();
    assert.deepEqual(await Promise.all(runs), [[3], [5], [7]]);
    await loading;
    await closed;
    assert.deepEqual(runtime.runtime.stats(), nothing);
    await runtime.runtime.close();
  });
});

async function run(session: Session, x: readonly number[]): Promise<number[]> {
  const feeds = new Map([["x", floatTensor([1, x.length], ...x)]]);
  const { outputs } = await session.run(feeds, ["y"], { cancellation: neverCancelled });
  return [...(outputs.get("y")!.data as Float32Array)];
}
