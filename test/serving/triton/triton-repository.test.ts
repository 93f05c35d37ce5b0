import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { neverCancelled } from "../../../src/cancellation.js";
import {
  createModelRepository,
  type FileSystemModelRepository,
  predict,
  TritonConfigs,
  TritonRepository,
  type TritonRepositoryOptions,
} from "../../../src/serving/index.js";
import { eventLoopTurns } from "../../support/event-loop-turns.js";
import { FakeClock } from "../../support/fake-clock.js";
import { LogRecorder } from "../../support/log-recorder.js";
import { ModelFolder } from "../../support/model-folder.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { floatTensor } from "../../support/test-models.js";
import { TextModelRuntime, textModel } from "../../support/text-model-runtime.js";
import { until } from "../../support/until.js";

let folder: ModelFolder;
let runtime: TextModelRuntime;
let clock: FakeClock;
let log: LogRecorder;
let repository: FileSystemModelRepository;
let triton: TritonRepository;

beforeEach(() => {
  folder = new ModelFolder();
  runtime = new TextModelRuntime();
  clock = new FakeClock();
  log = new LogRecorder();
});
afterEach(async () => {
  for (const name of runtime.attempts) runtime.free(name);
  await triton.close();
  await repository.close();
  assert.deepEqual([repository.openHandles, repository.liveVersions, runtime.live], [0, 0, 0]);
  folder[Symbol.dispose]();
});

const publish = (model: string, version: number, factor = version) =>
  folder.publish(model, version, Buffer.from(textModel(factor)));
const configure = (model: string, text: string) => writeFileSync(join(folder.basePath(model), "config.pbtxt"), text);

async function start(options: Partial<TritonRepositoryOptions> = {}): Promise<void> {
  const configs = new TritonConfigs();
  repository = createModelRepository(
    { fileSystemPollWaitSeconds: 0, fileQuietPeriodMs: 0, maxNumLoadRetries: 0, triton: configs },
    { runtime, clock, logger: log },
  );
  triton = new TritonRepository(
    { directories: [folder.path], controlMode: "none", loadModels: [], pollSeconds: 15, ...options },
    { configs, repository, clock, logger: log },
  );
  repository.start(await triton.firstConfig());
  triton.start();
  await repository.firstSettled(neverCancelled);
}

/** "m/1" for every version that answers. */
const served = () =>
  repository
    .listModels()
    .flatMap(({ name, versions }) =>
      versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => `${name}/${version}`),
    );

async function factorOf(name: string): Promise<number> {
  const tensor = floatTensor([1], 1);
  const source = { invalid: undefined, dtype: tensor.dtype, shape: tensor.shape, decode: () => tensor };
  const { outputs } = await predict(
    repository,
    { modelSpec: { name, signatureName: "" }, inputs: () => new Map([["x", source]]), outputFilter: [] },
    neverCancelled,
  );
  return (outputs.get("y")!.data as Float32Array)[0]!;
}

describe("a Triton repository without control", () => {
  it("serves every model that lies there, by its own version policy, and does not change", async () => {
    for (const version of [1, 2, 3]) publish("all", version);
    configure("all", "version_policy { all {} }");
    for (const version of [1, 2, 3]) publish("some", version);
    configure("some", "version_policy { specific { versions: [1, 3] } }");
    for (const version of [1, 2]) publish("latest", version);
    mkdirSync(join(folder.path, ".hidden"));
    writeFileSync(join(folder.path, "README.md"), "not a model");
    await start();
    await until(() => served().length === 6);
    assert.deepEqual(served(), ["all/3", "all/2", "all/1", "latest/2", "some/3", "some/1"]);
    publish("latest", 9);
    clock.advance(3_600_000);
    assert.deepEqual(
      served().filter((name) => name.startsWith("latest")),
      ["latest/2"],
    );
  });

  it("tells of a model it cannot serve, and serves the others", async () => {
    publish("good", 1);
    publish("bad", 1);
    configure("bad", "sequence_batching {}");
    publish("odd", 1);
    configure("odd", "max_batchsize: 4");
    folder.basePath("empty");
    await start();
    assert.deepEqual(served(), ["good/1"]);
    const errorOf = (name: string) => repository.getModel(name)?.versions[0]?.error?.message;
    assert.match(errorOf("bad")!, /^config.pbtxt: sequence_batching: stateful models are not served/);
    assert.match(errorOf("odd")!, /config.pbtxt': .* 1:1: .* no field named "max_batchsize"/);
    assert.match(repository.getModel("empty")!.sourceError, /No versions of servable empty/);
  });

  it("takes a model's first directory when two repositories have one of its name", async () => {
    publish("m", 1, 5);
    const second = join(folder.path, "m", "nested");
    mkdirSync(join(second, "m", "1"), { recursive: true });
    writeFileSync(join(second, "m", "1", "model.onnx"), textModel(7));
    await start({ directories: [folder.path, second] });
    assert.equal(await factorOf("m"), 5);
    assert.ok(log.lines.some(({ message }) => message.includes("two repositories")));
  });

  it("logs by field what has no effect, and uses what has", async () => {
    publish("m", 1);
    configure("m", "instance_group { count: 3 } response_cache { enable: true } max_batch_size: 8");
    await start();
    assert.equal(runtime.options.get("m/1")?.poolSize, 3);
    assert.ok(log.lines.some(({ message }) => message.includes("a field has no effect: response_cache")));
    using handle = repository.getServableHandle({ name: "m", signatureName: "" });
    assert.equal(handle.servable.triton?.maxBatchSize, 8);
  });

  it("batches as dynamic_batching says: what waits when a session is free, or after a delay", async () => {
    publish("now", 1, 2);
    configure("now", "max_batch_size: 8 dynamic_batching {}");
    publish("later", 1, 3);
    configure("later", "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 5000 }");
    publish("never", 1, 4);
    configure("never", "max_batch_size: 8");
    await start();
    const batching = (name: string) => repository.getModel(name)?.versions[0]?.loaded?.batching.enabled;
    assert.deepEqual(["now", "later", "never"].map(batching), [true, true, false]);
    assert.equal(await factorOf("now"), 2);
    let answered = 0;
    const calls = [factorOf("later"), factorOf("later")].map((call) => call.finally(() => answered++));
    await eventLoopTurns(20);
    clock.advance(4.9);
    await eventLoopTurns(20);
    assert.equal(answered, 0);
    clock.advance(0.1);
    assert.deepEqual(await Promise.all(calls), [3, 3]);
  });

  it("takes a model file of another name, or a directory in its place", async () => {
    const base = folder.basePath("named");
    mkdirSync(join(base, "1"));
    writeFileSync(join(base, "1", "net.bin"), textModel(3));
    writeFileSync(join(base, "1", "model.onnx"), textModel(4));
    configure("named", 'default_model_filename: "net.bin"');
    mkdirSync(join(folder.basePath("inside"), "1", "model.onnx"), { recursive: true });
    writeFileSync(join(folder.path, "inside", "1", "model.onnx", "model.onnx"), textModel(6));
    await start();
    assert.equal(await factorOf("named"), 3);
    assert.equal(await factorOf("inside"), 6);
  });
});

describe("a Triton repository under control by poll", () => {
  it("follows its directories: models, versions and configurations that come, change and go", async () => {
    publish("m", 1);
    await start({ controlMode: "poll" });
    assert.deepEqual(served(), ["m/1"]);
    publish("m", 2);
    publish("new", 1);
    clock.advance(14_999);
    assert.deepEqual(served(), ["m/1"]);
    clock.advance(1);
    await until(() => served().join() === "m/2,new/1");
    configure("m", "version_policy { all {} } max_batch_size: 4");
    rmSync(folder.basePath("new"), { recursive: true });
    await triton.poll();
    await until(() => served().join() === "m/2,m/1");
    const batchSize = () => {
      using handle = repository.getServableHandle({ name: "m", signatureName: "" });
      return handle.servable.triton?.maxBatchSize;
    };
    await until(() => batchSize() === 4);
  });

  it("loads anew what has changed however long ago it was loaded, and goes on when that fails", async () => {
    publish("m", 1, 5);
    await start({ controlMode: "poll" });
    clock.advance(3_600_000);
    await triton.poll();
    writeFileSync(join(folder.path, "m", "1", "model.onnx"), textModel(6));
    await triton.poll();
    await until(async () => (await factorOf("m")) === 6);
    writeFileSync(join(folder.path, "m", "1", "model.onnx"), "half a fi");
    await triton.poll();
    await until(() => log.lines.some(({ message }) => message.includes("failed")));
    assert.equal(await factorOf("m"), 6);
    assert.deepEqual(served(), ["m/1"]);
    writeFileSync(join(folder.path, "m", "1", "model.onnx"), textModel(7));
    await triton.poll();
    await until(async () => (await factorOf("m")) === 7);
  });

  it("survives a repository that cannot be read", async () => {
    publish("m", 1);
    await start({ controlMode: "poll" });
    rmSync(folder.path, { recursive: true });
    await triton.poll();
    assert.deepEqual(served(), ["m/1"]);
    assert.ok(log.lines.some(({ message }) => message === "the model repository was not polled"));
    assert.deepEqual(await triton.available(), []);
    mkdirSync(folder.path);
  });
});

describe("a Triton repository under explicit control", () => {
  it("begins with what it is told to, and knows what else there is", async () => {
    publish("a", 1);
    publish("b", 1);
    await start({ controlMode: "explicit", loadModels: ["b"] });
    assert.deepEqual(served(), ["b/1"]);
    assert.deepEqual(await triton.available(), ["a", "b"]);
  });

  it("begins with everything for *, and refuses to begin without what it is told to load", async () => {
    publish("a", 1);
    publish("b", 1);
    await start({ controlMode: "explicit", loadModels: ["*"] });
    assert.deepEqual(served(), ["a/1", "b/1"]);
    const other = new TritonRepository(
      { directories: [folder.path], controlMode: "explicit", loadModels: ["c"], pollSeconds: 15 },
      { configs: new TritonConfigs(), repository, clock, logger: log },
    );
    await rejectsWith("INTERNAL", /failed to load 'c', failed to poll from model repository/, () =>
      other.firstConfig(),
    );
  });

  it("loads and unloads as it is asked; asking twice changes nothing", async () => {
    publish("a", 1);
    publish("a", 2);
    await start({ controlMode: "explicit" });
    assert.deepEqual(served(), []);
    await triton.load("a", undefined, neverCancelled);
    assert.deepEqual(served(), ["a/2"]);
    await triton.load("a", undefined, neverCancelled);
    assert.deepEqual(runtime.attempts, ["a/2"]);
    await triton.unload("a");
    await triton.unload("a");
    await triton.unload("never");
    await until(() => served().length === 0);
    await triton.load("a", undefined, neverCancelled);
    assert.deepEqual(served(), ["a/2"]);
  });

  it("fails a load in Triton's words, with each version's reason, and leaves nothing half loaded", async () => {
    publish("bad", 1);
    writeFileSync(join(folder.path, "bad", "1", "model.onnx"), "half a fi");
    folder.basePath("empty");
    await start({ controlMode: "explicit" });
    await rejectsWith(
      "INVALID_ARGUMENT",
      /^load failed for model 'bad': version 1 is at UNAVAILABLE state: .* is truncated after 9 bytes;$/,
      () => triton.load("bad", undefined, neverCancelled),
    );
    await rejectsWith("INVALID_ARGUMENT", /^load failed for model 'empty': No versions of servable empty/, () =>
      triton.load("empty", undefined, neverCancelled),
    );
    await rejectsWith("INTERNAL", /^failed to load 'none', failed to poll from model repository$/, () =>
      triton.load("none", undefined, neverCancelled),
    );
    assert.equal(repository.getModel("bad")?.configured, false);
    publish("bad", 2);
    await triton.load("bad", undefined, neverCancelled);
    assert.deepEqual(served(), ["bad/2"]);
  });

  it("loads anew what has changed, the old one answering until the new one can, and for good when it cannot", async () => {
    publish("m", 1, 5);
    configure("m", "version_policy { all {} }");
    publish("m", 2, 6);
    await start({ controlMode: "explicit", loadModels: ["m"] });
    await until(() => served().length === 2);
    writeFileSync(join(folder.path, "m", "2", "model.onnx"), textModel(7));
    runtime.hold("m/2");
    const loading = triton.load("m", undefined, neverCancelled);
    await until(() => runtime.attempts.length === 3);
    assert.equal(await factorOf("m"), 6);
    runtime.free("m/2");
    await loading;
    assert.equal(await factorOf("m"), 7);
    writeFileSync(join(folder.path, "m", "2", "model.onnx"), "half a fi");
    await rejectsWith("INVALID_ARGUMENT", /version 2 is at UNAVAILABLE state/, () =>
      triton.load("m", undefined, neverCancelled),
    );
    assert.equal(await factorOf("m"), 7);
    assert.deepEqual(served(), ["m/2", "m/1"]);
  });

  it("takes a configuration that is sent in the place of the file, until the next load, or never when it does not fit", async () => {
    publish("m", 1);
    configure("m", "max_batch_size: 4");
    await start({ controlMode: "explicit", loadModels: ["m"] });
    const batchSize = () => {
      using handle = repository.getServableHandle({ name: "m", signatureName: "" });
      return handle.servable.triton?.maxBatchSize;
    };
    assert.equal(batchSize(), 4);
    await triton.load("m", '{"max_batch_size": 8}', neverCancelled);
    assert.equal(batchSize(), 8);
    const wrong = '{"input": [{"name": "q", "data_type": "TYPE_FP32", "dims": [1]}]}';
    await rejectsWith("INVALID_ARGUMENT", /"q" is none of the model's: x/, () =>
      triton.load("m", wrong, neverCancelled),
    );
    assert.equal(batchSize(), 8);
    await rejectsWith("INVALID_ARGUMENT", /failed to parse/, () => triton.load("m", "{", neverCancelled));
    await triton.load("m", undefined, neverCancelled);
    assert.equal(batchSize(), 4);
  });

  it("makes one change at a time, and ends in the state that was asked for last", async () => {
    publish("m", 1);
    await start({ controlMode: "explicit" });
    const load = () => triton.load("m", undefined, neverCancelled);
    await Promise.all([load(), triton.unload("m"), load(), triton.unload("m"), load()]);
    await until(() => served().join() === "m/1");
    await Promise.all([load(), triton.unload("m")]);
    await until(() => served().length === 0);
  });
});
