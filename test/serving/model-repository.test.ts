import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import {
  createModelRepository,
  type FileSystemModelRepository,
  type ModelConfig,
  type ModelRepositoryOptions,
  type ModelServerConfig,
  modelConfig,
  predict,
  singleModelConfig,
  startupError,
} from "../../src/serving/index.js";
import { codeName, deadlineExceeded, StatusError } from "../../src/status.js";
import { eventLoopTurns } from "../support/event-loop-turns.js";
import { FakeClock } from "../support/fake-clock.js";
import { LogRecorder } from "../support/log-recorder.js";
import { ModelFolder } from "../support/model-folder.js";
import { rejectsWith } from "../support/rejects-with.js";
import { floatTensor } from "../support/test-models.js";
import { TextModelRuntime, textModel } from "../support/text-model-runtime.js";
import { until } from "../support/until.js";

let folder: ModelFolder;
let runtime: TextModelRuntime;
let clock: FakeClock;
let log: LogRecorder;
let repository: FileSystemModelRepository;
/** "m/1 AVAILABLE", in order. */
let states: string[];

function makeRepository(options: Partial<ModelRepositoryOptions> = {}): void {
  repository = createModelRepository(
    { fileSystemPollWaitSeconds: 1, fileQuietPeriodMs: 0, maxNumLoadRetries: 0, ...options },
    { runtime, clock, logger: log },
  );
  repository.onStateChange((name, { version, state }) => states.push(`${name}/${version} ${state}`));
}
beforeEach(() => {
  folder = new ModelFolder();
  runtime = new TextModelRuntime();
  clock = new FakeClock();
  log = new LogRecorder();
  states = [];
  makeRepository();
});
afterEach(async () => {
  for (const name of runtime.attempts) runtime.free(name);
  await repository.close();
  assert.deepEqual([repository.openHandles, repository.liveVersions, runtime.live], [0, 0, 0]);
  folder[Symbol.dispose]();
});

const publish = (model: string, version: number, factor = version) =>
  folder.publish(model, version, Buffer.from(textModel(factor)));
const config = (name: string, more: Partial<ModelConfig> = {}) =>
  modelConfig({ name, basePath: join(folder.path, name), ...more });
const list = (...models: (string | ModelConfig)[]): ModelServerConfig => ({
  kind: "model_config_list",
  models: models.map((model) => (typeof model === "string" ? config(model) : model)),
});
const all: Partial<ModelConfig> = { versionPolicy: { kind: "all" } };
const labels = (entries: Record<string, bigint>): Partial<ModelConfig> => ({
  versionLabels: new Map(Object.entries(entries)),
});

const state = (name: string, version: bigint) => {
  try {
    return repository.getModelStatus(name, version)[0]!.state;
  } catch {
    return undefined;
  }
};
const reached = (name: string, version: bigint, wanted: string) => until(() => state(name, version) === wanted);
/** Starts, and waits until every model has come to an end. */
async function start(...models: (string | ModelConfig)[]): Promise<void> {
  repository.start(list(...models));
  await repository.firstSettled(neverCancelled);
}
/** Looks at all base paths, and lets what was found begin. */
async function poll(): Promise<void> {
  await repository.poll();
  await eventLoopTurns();
}

/** What a spec leads to: "m/2", or the error. */
function resolve(spec: { name: string; version?: bigint; versionLabel?: string }): string {
  try {
    const handle = repository.getServableHandle({ signatureName: "", ...spec });
    const { name, version } = handle.servable.id;
    handle[Symbol.dispose]();
    return `${name}/${version}`;
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${codeName(error.code)} ${error.message}`;
  }
}
async function failure(action: () => unknown): Promise<string> {
  try {
    await action();
    return "OK";
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${codeName(error.code)} ${error.message}`;
  }
}
const reload = (...models: (string | ModelConfig)[]) =>
  failure(() => repository.reloadConfig(list(...models), neverCancelled));

describe("a model repository", () => {
  it("serves what lies on disk", async () => {
    publish("m", 1, 3);
    await start("m");
    const { outputs, servableId } = await predict(
      repository,
      {
        modelSpec: { name: "m", signatureName: "" },
        inputs: () =>
          new Map([["x", { invalid: undefined, dtype: "float32", shape: [2], decode: () => floatTensor([2], 1, 2) }]]),
        outputFilter: [],
      },
      neverCancelled,
    );
    assert.deepEqual(servableId, { name: "m", version: 1n });
    assert.deepEqual(outputs.get("y"), floatTensor([2], 3, 6));
    assert.ok(log.lines.some(({ message }) => message === "Successfully loaded servable version {name: m version: 1}"));
  });

  it("finds a new version at the next look, and swaps without a gap", async () => {
    publish("m", 1);
    await start("m");
    publish("m", 2);
    clock.advance(1000);
    await reached("m", 1n, "END");
    assert.deepEqual(states.slice(3), ["m/2 START", "m/2 LOADING", "m/2 AVAILABLE", "m/1 UNLOADING", "m/1 END"]);
    assert.equal(resolve({ name: "m" }), "m/2");
  });

  it("goes back to the older version when the newer one is removed", async () => {
    publish("m", 1);
    publish("m", 2);
    await start("m");
    assert.equal(resolve({ name: "m" }), "m/2");
    folder.remove("m", 2);
    await poll();
    await reached("m", 2n, "END");
    assert.equal(resolve({ name: "m" }), "m/1");
  });

  it("answers every spec as TensorFlow Serving does", async () => {
    assert.equal(resolve({ name: "m", versionLabel: "stable" }), "UNAVAILABLE Model labels does not init yet.stable");
    publish("m", 1);
    publish("m", 2);
    await start(config("m", all));
    await reached("m", 1n, "AVAILABLE");
    assert.equal(await reload(config("m", { ...all, ...labels({ stable: 1n, "": 2n }) })), "OK");
    const table: readonly [Parameters<typeof resolve>[0], string][] = [
      [{ name: "" }, "INVALID_ARGUMENT ModelSpec has no name specified."],
      [{ name: "", versionLabel: "stable" }, "INVALID_ARGUMENT ModelSpec has no name specified."],
      [{ name: "m" }, "m/2"],
      [{ name: "m", version: 1n }, "m/1"],
      [{ name: "m", version: 0n }, "NOT_FOUND Servable not found for request: Specific(m, 0)"],
      [{ name: "m", version: 3n }, "NOT_FOUND Servable not found for request: Specific(m, 3)"],
      [{ name: "other" }, "NOT_FOUND Servable not found for request: Latest(other)"],
      [{ name: "__proto__" }, "NOT_FOUND Servable not found for request: Latest(__proto__)"],
      [{ name: "m", versionLabel: "stable" }, "m/1"],
      [{ name: "m", versionLabel: "" }, "m/2"],
      [{ name: "m", versionLabel: "canary" }, "INVALID_ARGUMENT Unrecognized servable version label: canary"],
      [{ name: "other", versionLabel: "stable" }, "INVALID_ARGUMENT Unrecognized servable version label: stable"],
    ];
    for (const [spec, expected] of table) assert.equal(resolve(spec), expected);
  });

  it("tells the state of one version, or of all from the largest down", async () => {
    publish("m", 1);
    publish("m", 10);
    publish("m", 9);
    await start(config("m", all));
    await reached("m", 1n, "AVAILABLE");
    assert.deepEqual(
      repository.getModelStatus("m").map(({ version }) => version),
      [10n, 9n, 1n],
    );
    assert.equal(repository.getModelStatus("m", 9n)[0]!.state, "AVAILABLE");
    await rejectsWith("NOT_FOUND", /^Could not find version 2 of model m$/, () => repository.getModelStatus("m", 2n));
    await rejectsWith("NOT_FOUND", /^Could not find any versions of model other$/, () =>
      repository.getModelStatus("other"),
    );
  });

  it("lists models by name: served, failed, without versions, and no longer configured", async () => {
    publish("served", 1);
    publish("served", 2);
    folder.publish("broken", 1, Buffer.from("y = "));
    publish("gone", 1);
    await start(config("served", all), "broken", "missing", "gone");
    await reached("served", 1n, "AVAILABLE");
    await reload(config("served", { ...all, ...labels({ stable: 1n }) }), "broken", "missing");
    await reached("gone", 1n, "END");
    const models = repository.listModels();
    assert.deepEqual(
      models.map(({ name, configured, defaultVersion, versions }) => [
        name,
        configured,
        defaultVersion,
        versions.map(({ state: each }) => each).join(),
      ]),
      [
        ["broken", true, undefined, "END"],
        ["gone", false, undefined, "END"],
        ["missing", true, undefined, ""],
        ["served", true, 2n, "AVAILABLE,AVAILABLE"],
      ],
    );
    const [broken, gone, missing, served] = models;
    assert.match(broken!.versions[0]!.error!.message, /truncated/);
    assert.equal(gone!.basePath, join(folder.path, "gone"));
    assert.match(missing!.sourceError, /^Could not find base path .*missing for servable missing with error NOT_FOUND/);
    assert.deepEqual([served!.sourceError, served!.basePath], ["", join(folder.path, "served")]);
    assert.deepEqual([...served!.labels], [["stable", 1n]]);
    assert.equal(served!.versions[0]!.loaded!.placement.kind, "inline");
    assert.equal(repository.getModel("nobody"), undefined);
  });

  it("keeps what is loaded when a base path vanishes, and follows it again when it returns", async () => {
    publish("m", 1);
    publish("n", 1);
    await start("m", "n");
    renameSync(join(folder.path, "m"), join(folder.path, "away"));
    publish("n", 2);
    await poll();
    await reached("n", 2n, "AVAILABLE");
    assert.equal(resolve({ name: "m" }), "m/1");
    assert.match(repository.getModel("m")!.sourceError, /^Could not find base path/);
    renameSync(join(folder.path, "away"), join(folder.path, "m"));
    publish("m", 2);
    await poll();
    await reached("m", 2n, "AVAILABLE");
    assert.equal(repository.getModel("m")!.sourceError, "");
  });

  it("unloads everything when a base path has no versions left", async () => {
    publish("m", 1);
    await start("m");
    folder.remove("m", 1);
    await poll();
    await reached("m", 1n, "END");
    assert.equal(resolve({ name: "m" }), "NOT_FOUND Servable not found for request: Latest(m)");
    assert.match(repository.getModel("m")!.sourceError, /^No versions of servable m found under base path/);
    publish("m", 1);
    await poll();
    await reached("m", 1n, "AVAILABLE");
  });

  it("keeps the old version when the new one is broken, and tells why", async () => {
    publish("m", 1);
    await start("m");
    folder.publish("m", 2, Buffer.from("y = 2"));
    await poll();
    await reached("m", 2n, "END");
    assert.equal(resolve({ name: "m" }), "m/1");
    assert.match(repository.getModelStatus("m", 2n)[0]!.error!.message, /is truncated after 5 bytes/);
  });

  it("loads a broken version once its file is replaced", async () => {
    folder.publish("m", 1, Buffer.from("y = "));
    await start("m");
    await poll();
    assert.deepEqual(runtime.attempts, ["m/1"]);
    writeFileSync(join(folder.path, "m", "1", "model.onnx"), textModel(1));
    // The first poll's look at the files may still be under way and older than this; the next one is joined to it.
    await until(async () => {
      await poll();
      return state("m", 1n) === "AVAILABLE";
    });
  });

  it("tries a broken version again that was removed and came back", async () => {
    folder.publish("m", 1, Buffer.from("y = "));
    await start("m");
    folder.remove("m", 1);
    await poll();
    publish("m", 1);
    await poll();
    await reached("m", 1n, "AVAILABLE");
  });

  it("never answers from a version whose bytes are still arriving, and does as soon as they are all there", async () => {
    makeRepository({ fileQuietPeriodMs: 500 });
    publish("m", 1);
    repository.start(list("m"));
    await until(() => clock.pending === 2); // the next look, and the end of the quiet period
    clock.advance(500);
    await reached("m", 1n, "AVAILABLE");

    const directory = join(folder.basePath("m"), "2");
    mkdirSync(directory);
    const bytes = textModel(2);
    for (let i = 0; i < bytes.length; i++) {
      await poll();
      appendFileSync(join(directory, "model.onnx"), bytes[i]!);
      clock.advance(400);
      await eventLoopTurns(20);
      assert.equal(resolve({ name: "m" }), "m/1");
      assert.notEqual(state("m", 2n), "AVAILABLE");
    }
    while (state("m", 2n) !== "AVAILABLE") {
      clock.advance(500);
      await poll();
    }
    assert.equal(resolve({ name: "m" }), "m/2");
    assert.equal(states.filter((each) => each === "m/2 AVAILABLE").length, 1);
  });

  it("does not answer from half a copy that paused for long, and loads it when the rest has come", async () => {
    makeRepository({ fileQuietPeriodMs: 500, maxNumLoadRetries: 5 });
    const directory = join(folder.basePath("m"), "1");
    mkdirSync(directory);
    writeFileSync(join(directory, "model.onnx"), textModel(1).slice(0, 5));
    repository.start(list("m"));
    await until(() => clock.pending === 2);
    clock.advance(500);
    await until(() => repository.getModelStatus("m")[0]!.lastFailure !== undefined);
    assert.match(repository.getModelStatus("m")[0]!.lastFailure!.message, /truncated after 5 bytes/);
    assert.equal(state("m", 1n), "LOADING");
    appendFileSync(join(directory, "model.onnx"), textModel(1).slice(5));
    while (state("m", 1n) !== "AVAILABLE") {
      clock.advance(500);
      await poll();
    }
    assert.ok(!states.includes("m/1 END"));
  });

  it("holds a version for as long as a request uses it", async () => {
    publish("m", 1);
    await start("m");
    const handle = repository.getServableHandle({ name: "m", signatureName: "" });
    publish("m", 2);
    await poll();
    await reached("m", 2n, "AVAILABLE");
    assert.equal(state("m", 1n), "UNLOADING");
    assert.equal(runtime.live, 2);
    await handle.servable.session.run(new Map([["x", floatTensor([1], 1)]]), ["y"], { cancellation: neverCancelled });
    handle[Symbol.dispose]();
    await reached("m", 1n, "END");
    assert.equal(runtime.live, 1);
  });

  it("has no sessions or handles left over after 200 versions on disk have come and gone", async () => {
    publish("m", 1);
    await start("m");
    for (let version = 2; version <= 200; version++) {
      const handle = repository.getServableHandle({ name: "m", signatureName: "" });
      publish("m", version);
      folder.remove("m", version - 1);
      await repository.poll();
      await reached("m", BigInt(version), "AVAILABLE");
      handle[Symbol.dispose]();
      await reached("m", BigInt(version - 1), "END");
    }
    assert.equal(runtime.live, 1);
    assert.equal(repository.liveVersions, 1);
    assert.equal(repository.getModelStatus("m").length, 101, "the last hundred ended versions are remembered");
  });
});

describe("the start", () => {
  it("waits for nothing, and is settled once every model has come to an end", async () => {
    publish("good", 1);
    folder.publish("broken", 1, Buffer.from("y = "));
    folder.basePath("empty");
    assert.equal(repository.settled(), false);
    runtime.hold("good/1");
    repository.start(list("good", "broken", "empty", "missing"));
    await reached("broken", 1n, "END");
    await until(
      () => repository.getModel("missing")!.sourceError !== "" && repository.getModel("empty")!.sourceError !== "",
    );
    assert.equal(repository.settled(), false);
    runtime.free("good/1");
    await reached("good", 1n, "AVAILABLE");
    assert.equal(repository.settled(), true);
  });

  it("is settled at once without models", () => {
    repository.start({ kind: "none" });
    assert.equal(repository.settled(), true);
  });

  it("counts a model as settled that has failed and is being retried", async () => {
    makeRepository({ maxNumLoadRetries: 5 });
    folder.publish("m", 1, Buffer.from("y = "));
    repository.start(list("m"));
    await until(() => repository.settled());
    assert.equal(state("m", 1n), "LOADING");
  });

  it("tells a strict starter which models failed or are missing, in TensorFlow Serving's words", async () => {
    publish("good", 1);
    folder.publish("broken", 1, Buffer.from("y = "));
    folder.publish("broken", 3, Buffer.from("y"));
    repository.start(list("good", config("broken", all), "missing"));
    const failed = await repository.firstSettled(neverCancelled);
    assert.deepEqual(
      failed.map(({ name, version }) => [name, version]),
      [
        ["broken", 3n],
        ["missing", undefined],
      ],
    );
    assert.equal(
      startupError(failed).message,
      "2 servable(s) did not become available: {" +
        `{{name: broken version: 3} due to error: INTERNAL: ${folder.path}/broken/3/model.onnx is truncated after 1 bytes}, ` +
        `{{name: missing} due to error: NOT_FOUND: ${repository.getModel("missing")!.sourceError}}, }`,
    );
    assert.equal(codeName(startupError(failed).code), "UNKNOWN");
  });

  it("lets a strict starter wait for retries, and go when it has waited enough", async () => {
    makeRepository({ maxNumLoadRetries: 1 });
    folder.publish("m", 1, Buffer.from("y = "));
    repository.start(list("m"));
    const patience = new CancellationSource();
    const impatient = rejectsWith("DEADLINE_EXCEEDED", /waited enough/, () => repository.firstSettled(patience));
    const patient = repository.firstSettled(neverCancelled);
    await until(() => repository.settled());
    patience.cancel(deadlineExceeded("waited enough"));
    await impatient;
    clock.advance(1000);
    assert.equal((await patient).length, 1);
  });

  it("refuses a configuration that cannot be, and a custom one", async () => {
    await rejectsWith("INVALID_ARGUMENT", /multiple times/, () => repository.start(list("m", "m")));
    await rejectsWith("INVALID_ARGUMENT", /custom_model_config is not supported/, () =>
      repository.start({ kind: "custom_model_config" }),
    );
    await rejectsWith("INVALID_ARGUMENT", /absolute path or URI; got base_path\(\)=relative/, () =>
      repository.start(singleModelConfig("default", "relative")),
    );
  });

  it("refuses labels for what is not loaded yet, unless told otherwise", async () => {
    publish("m", 1);
    const labelled = list(config("m", labels({ stable: 1n })));
    await rejectsWith("FAILED_PRECONDITION", /assign label to version 1 of model m/, () => repository.start(labelled));
    await repository.close();
    makeRepository({ allowVersionLabelsForUnavailableModels: true });
    repository.start(labelled);
    assert.equal(
      resolve({ name: "m", versionLabel: "stable" }),
      "NOT_FOUND Servable not found for request: Specific(m, 1)",
    );
    await reached("m", 1n, "AVAILABLE");
    assert.equal(resolve({ name: "m", versionLabel: "stable" }), "m/1");
  });
});

describe("reloading the configuration", () => {
  beforeEach(async () => {
    publish("m", 1);
    await start("m");
  });

  it("waits for new models, and unloads those that are not named any more", async () => {
    publish("n", 4);
    assert.equal(await reload("n"), "OK");
    assert.equal(resolve({ name: "n" }), "n/4");
    await reached("m", 1n, "END");
    assert.equal(resolve({ name: "m" }), "NOT_FOUND Servable not found for request: Latest(m)");
    assert.equal(repository.getModelStatus("m")[0]!.error, undefined);
  });

  it("unloads everything for an empty list", async () => {
    assert.equal(await reload(), "OK");
    await reached("m", 1n, "END");
    assert.equal(repository.liveVersions, 0);
  });

  it("changes nothing when it is refused", async () => {
    await reload(config("m", labels({ stable: 1n })));
    const refusals: readonly [readonly (string | ModelConfig)[], RegExp][] = [
      [["m", "m"], /^INVALID_ARGUMENT Illegal to list model m multiple times in config list$/],
      [
        [config("n", { basePath: "n" })],
        /^INVALID_ARGUMENT Expected model n to have an absolute path or URI; got base_path\(\)=n$/,
      ],
      [
        [config("m", { modelPlatform: "caffe" })],
        /^INVALID_ARGUMENT Illegal to change a model's platform\. For model m platform was onnx and new platform requested is caffe$/,
      ],
      [
        [config("m", labels({ stable: 2n }))],
        /^FAILED_PRECONDITION Request to assign label to version 2 of model m, which is not currently available for inference$/,
      ],
      [[config("n", { modelPlatform: "caffe" })], /^INVALID_ARGUMENT Model n requests unsupported platform caffe$/],
    ];
    for (const [models, expected] of refusals) assert.match(await reload(...models), expected);
    await eventLoopTurns();
    assert.equal(resolve({ name: "m", versionLabel: "stable" }), "m/1");
    assert.deepEqual(
      repository.listModels().map(({ name, configured }) => [name, configured]),
      [["m", true]],
    );
  });

  it("goes from one list to another only", async () => {
    const words =
      /^FAILED_PRECONDITION Cannot transition to requested config\. It is only legal to transition from one ModelConfigList to another\.$/;
    for (const kind of ["none", "custom_model_config"] as const) {
      assert.match(await failure(() => repository.reloadConfig({ kind }, neverCancelled)), words);
    }
    assert.equal(resolve({ name: "m" }), "m/1");
  });

  it("says which new models did not become available, and keeps the rest of what it asked for", async () => {
    publish("good", 1);
    folder.publish("broken", 7, Buffer.from("y = "));
    assert.equal(
      await reload("good", "broken", "missing"),
      "UNKNOWN 2 model(s) did not become available: {" +
        `{{name: broken version: 7} due to error: INTERNAL: ${folder.path}/broken/7/model.onnx is truncated after 4 bytes}, ` +
        `{{name: missing} due to error: NOT_FOUND: ${repository.getModel("missing")!.sourceError}}, }`,
    );
    assert.equal(resolve({ name: "good" }), "good/1");
    publish("missing", 1);
    await poll();
    await reached("missing", 1n, "AVAILABLE");
  });

  it("does not wait for models that were there before", async () => {
    publish("m", 2);
    runtime.hold("m/2");
    assert.equal(await reload(config("m", all)), "OK");
    assert.notEqual(state("m", 2n), "AVAILABLE");
  });

  it("judges a model that comes back by what happens now", async () => {
    folder.publish("broken", 1, Buffer.from("y = "));
    assert.match(await reload("broken"), /^UNKNOWN 1 model\(s\)/);
    await reload();
    folder.remove("broken", 1);
    publish("broken", 1);
    assert.equal(await reload("broken"), "OK");
    await reload();
    assert.equal(await reload("broken"), "OK");
  });

  it("moves a model to another base path without a gap", async () => {
    publish("elsewhere", 1, 5);
    const gaps: string[] = [];
    repository.onStateChange(() => {
      if (resolve({ name: "m" }) !== "m/1") gaps.push(resolve({ name: "m" }));
    });
    assert.equal(await reload(config("m", { basePath: join(folder.path, "elsewhere") })), "OK");
    await until(() => repository.getModelStatus("m")[0]!.path.includes("elsewhere"));
    await until(() => runtime.live === 1);
    assert.deepEqual(gaps, []);
    assert.equal(state("m", 1n), "AVAILABLE");
  });

  it("replaces labels as a whole, before the models change", async () => {
    publish("m", 2);
    await reload(config("m", all));
    await reached("m", 2n, "AVAILABLE");
    await reload(config("m", { ...all, ...labels({ stable: 1n, canary: 2n }) }));
    assert.equal(resolve({ name: "m", versionLabel: "canary" }), "m/2");
    await reload(config("m", { ...all, ...labels({ stable: 2n }) }));
    assert.equal(resolve({ name: "m", versionLabel: "stable" }), "m/2");
    assert.match(
      resolve({ name: "m", versionLabel: "canary" }),
      /^INVALID_ARGUMENT Unrecognized servable version label/,
    );
    assert.equal(
      await reload(config("m", { versionPolicy: { kind: "specific", versions: [1n] }, ...labels({ stable: 2n }) })),
      "OK",
    );
    await reached("m", 2n, "END");
    assert.equal(
      resolve({ name: "m", versionLabel: "stable" }),
      "NOT_FOUND Servable not found for request: Specific(m, 2)",
    );
  });

  it("happens one at a time, in the order asked", async () => {
    publish("a", 1);
    publish("b", 1);
    runtime.hold("a/1");
    const order: string[] = [];
    const first = reload("a").then(() => order.push("a"));
    const second = reload("b").then(() => order.push("b"));
    await until(() => runtime.attempts.includes("a/1"));
    await eventLoopTurns();
    assert.ok(!runtime.attempts.includes("b/1"));
    runtime.free("a/1");
    await Promise.all([first, second]);
    assert.deepEqual(order, ["a", "b"]);
    assert.equal(resolve({ name: "b" }), "b/1");
  });

  it("stops waiting when its caller does, in its turn or before, and lets others go on", async () => {
    publish("a", 1);
    publish("b", 1);
    runtime.hold("a/1");
    const [one, two] = [new CancellationSource(), new CancellationSource()];
    const first = failure(() => repository.reloadConfig(list("a"), one));
    const second = failure(() => repository.reloadConfig(list("m"), two));
    const third = reload("b");
    two.cancel(deadlineExceeded("two"));
    assert.equal(await second, "DEADLINE_EXCEEDED two");
    await eventLoopTurns();
    assert.ok(!runtime.attempts.includes("b/1"), "a turn given up does not let the next one overtake");
    one.cancel(deadlineExceeded("one"));
    assert.equal(await first, "DEADLINE_EXCEEDED one");
    assert.equal(await third, "OK");
    assert.deepEqual(
      repository
        .listModels()
        .filter(({ configured }) => configured)
        .map(({ name }) => name),
      ["b"],
    );
  });

  it("is refused once the repository closes, and ended when it waits", async () => {
    publish("a", 1);
    runtime.hold("a/1");
    const waiting = reload("a");
    await until(() => runtime.attempts.includes("a/1"));
    await repository.close();
    assert.equal(await waiting, "UNAVAILABLE the server is shutting down");
    assert.equal(await reload("m"), "UNAVAILABLE the server is shutting down");
  });

  it("refuses a logging_config that has nowhere to write to", async () => {
    const loggingConfig = (type: string, filenamePrefix: string, samplingRate = 1) => ({
      logCollectorConfig: { type, filenamePrefix },
      samplingConfig: { samplingRate, attributes: 0, perTaskSamplingConfigs: [] },
    });
    assert.equal(
      await reload(config("m", { loggingConfig: loggingConfig("kafka", "/tmp/x") })),
      "NOT_FOUND Cannot find LogCollector::Factory for type: kafka",
    );
    assert.match(
      (await reload(config("m", { loggingConfig: loggingConfig("", "log") }))) ?? "",
      /^INVALID_ARGUMENT model m: log_collector_config\.filename_prefix must be an absolute path; got "log"$/,
    );
    assert.match((await reload(config("m", { loggingConfig: loggingConfig("file", "") }))) ?? "", /got ""$/);
  });
});

describe("a listener to the repository", () => {
  it("hears of models that will not be served, and stops nobody when it throws", async () => {
    const seen: boolean[] = [];
    repository.onChange(() => {
      seen.push(repository.settled());
      throw new Error("listener's own");
    });
    publish("m", 1);
    await start("m", "missing");
    await reached("m", 1n, "AVAILABLE");
    await until(() => repository.settled());
    assert.equal(seen.at(-1), true);
    assert.equal(log.of("error")[0]!.message, "a listener to the repository failed");
  });
});

describe("closing the repository", () => {
  it("waits for handles, unless told not to", async () => {
    publish("m", 1);
    await start("m");
    const handle = repository.getServableHandle({ name: "m", signatureName: "" });
    const patience = new CancellationSource();
    const closing = rejectsWith("DEADLINE_EXCEEDED", /enough/, () => repository.close(patience));
    await eventLoopTurns();
    assert.equal(repository.openHandles, 1);
    patience.cancel(deadlineExceeded("enough"));
    await closing;
    handle[Symbol.dispose]();
    await repository.close();
    assert.equal(clock.pending, 0);
  });
});

describe("the options of a repository", () => {
  it("are refused by name when they are out of range", async () => {
    const wrong: readonly [Partial<ModelRepositoryOptions>, RegExp][] = [
      [{ fileSystemPollWaitSeconds: 0.5 }, /^fileSystemPollWaitSeconds must be a whole number/],
      [{ fileQuietPeriodMs: -1 }, /^fileQuietPeriodMs must be a whole number from 0 to 60000; got -1$/],
      [{ numLoadThreads: -1 }, /^numLoadThreads must be/],
      [{ maxNumLoadRetries: -1 }, /^maxNumLoadRetries must be/],
      [{ loadRetryIntervalMicros: Number.NaN }, /^loadRetryIntervalMicros must be/],
    ];
    for (const [options, message] of wrong) {
      await rejectsWith("INVALID_ARGUMENT", message, () => createModelRepository(options, { runtime }));
    }
  });
});
