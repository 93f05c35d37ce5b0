import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  ModelConfigFilePoller,
  type ModelServerConfig,
  parseModelServerConfig,
  readModelConfigFile,
} from "../../src/serving/index.js";
import { failedPrecondition } from "../../src/status.js";
import { eventLoopTurns } from "../support/event-loop-turns.js";
import { FakeClock } from "../support/fake-clock.js";
import { LogRecorder } from "../support/log-recorder.js";
import { rejectsWith } from "../support/rejects-with.js";

const parse = (text: string) => parseModelServerConfig(text, "/etc/onnxd/models.config");
const models = (config: ModelServerConfig) => {
  assert.equal(config.kind, "model_config_list");
  return (config as Extract<ModelServerConfig, { kind: "model_config_list" }>).models;
};

describe("a model config file", () => {
  it("reads all that TensorFlow Serving's may hold", () => {
    const [m, n] = models(
      parse(`
      # what TensorFlow Serving's documentation shows, in one file
      model_config_list {
        config {
          name: "m"  base_path: "/models/m"  model_platform: "tensorflow"
          model_version_policy { specific { versions: 42 versions: 43 } }
          version_labels { key: "stable" value: 42 }
          version_labels: { key: 'canary', value: 43 }
          logging_config {
            log_collector_config { type: "" filename_prefix: "/tmp/log" }
            sampling_config { sampling_rate: 0.1 per_task_sampling_configs { dc: "a" sampling_rate: 1 } }
          }
        },
        config: < name: 'n'; base_path: '/models/' "n"; model_type: TENSORFLOW; model_version_policy { latest { num_versions: 2 } } >
      }`),
    );
    assert.deepEqual(m, {
      name: "m",
      basePath: "/models/m",
      modelType: 0,
      modelPlatform: "tensorflow",
      versionPolicy: { kind: "specific", versions: [42n, 43n] },
      versionLabels: new Map([
        ["stable", 42n],
        ["canary", 43n],
      ]),
      loggingConfig: {
        logCollectorConfig: { type: "", filenamePrefix: "/tmp/log" },
        samplingConfig: {
          samplingRate: 0.1,
          attributes: 0,
          perTaskSamplingConfigs: [{ dc: "a", taskIndex: undefined, samplingRate: 1 }],
        },
      },
    });
    assert.deepEqual([n!.basePath, n!.modelType, n!.modelPlatform], ["/models/n", 1, ""]);
    assert.deepEqual(n!.versionPolicy, { kind: "latest", numVersions: 2 });
  });

  it("reads every version policy", () => {
    const policy = (text: string) =>
      models(parse(`model_config_list { config { model_version_policy { ${text} } } }`))[0]!.versionPolicy;
    assert.deepEqual(policy("all {}"), { kind: "all" });
    assert.deepEqual(policy("all: { }"), { kind: "all" });
    assert.deepEqual(policy("latest {}"), { kind: "latest", numVersions: 0 });
    assert.deepEqual(policy("specific { versions: [1, 2] }"), { kind: "specific", versions: [1n, 2n] });
    assert.deepEqual(policy("specific {}"), { kind: "specific", versions: [] });
    assert.equal(policy(""), undefined);
  });

  it("says nothing when it is empty, and no models when its list is", () => {
    assert.deepEqual(parse("# nothing\n"), { kind: "none" });
    assert.deepEqual(parse("model_config_list {}"), { kind: "model_config_list", models: [] });
  });

  it("is told apart when it has a custom_model_config", () => {
    assert.equal(parse('custom_model_config { type_url: "a/b" value: "\\001" }').kind, "custom_model_config");
  });

  it("takes base paths that begin with ./ or ../ from its own directory, and no others", () => {
    const path = (text: string) => models(parse(`model_config_list { config { base_path: "${text}" } }`))[0]!.basePath;
    assert.equal(path("./m"), "/etc/onnxd/m");
    assert.equal(path("../m/"), "/etc/m");
    assert.equal(path("m"), "m");
    assert.equal(path(".m"), ".m");
    assert.equal(path("/m/../n"), "/m/../n");
    assert.equal(path("gs://b/m"), "gs://b/m");
  });

  it("is refused with path, line and column for what is not in the schema", async () => {
    await rejectsWith(
      "INVALID_ARGUMENT",
      /^Invalid protobuf file: '\/etc\/onnxd\/models\.config': Error parsing text-format tensorflow\.serving\.ModelServerConfig: 2:12: Message type "tensorflow\.serving\.ModelConfig" has no field named "path"\.$/,
      () => parse("model_config_list {\n  config { path: 1 } }"),
    );
    await rejectsWith("INVALID_ARGUMENT", /another member of oneof "policy_choice"/, () =>
      parse("model_config_list { config { model_version_policy { all {} latest {} } } }"),
    );
    await rejectsWith("INVALID_ARGUMENT", /another member of oneof "config"/, () =>
      parse("model_config_list {} custom_model_config {}"),
    );
    await rejectsWith("INVALID_ARGUMENT", /Extensions and expanded Any/, () =>
      parse("custom_model_config { [type.googleapis.com/a.B] { x: 1 } }"),
    );
  });
});

describe("reading the file", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-config-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("takes relative base paths from where the file lies", async () => {
    writeFileSync(join(folder, "models.config"), 'model_config_list { config { name: "m" base_path: "./m" } }');
    assert.equal(models(await readModelConfigFile(join(folder, "models.config")))[0]!.basePath, join(folder, "m"));
  });

  it("names what stands in its way", async () => {
    mkdirSync(join(folder, "directory"));
    writeFileSync(join(folder, "binary"), Uint8Array.of(0xff, 0xfe, 0));
    await rejectsWith("NOT_FOUND", /model config file .*none is not there/, () =>
      readModelConfigFile(join(folder, "none")),
    );
    await rejectsWith("INVALID_ARGUMENT", /Invalid protobuf file: '.*directory': it is not a file/, () =>
      readModelConfigFile(join(folder, "directory")),
    );
    await rejectsWith("INVALID_ARGUMENT", /Invalid protobuf file: '.*binary': it is not UTF-8/, () =>
      readModelConfigFile(join(folder, "binary")),
    );
  });
});

describe("polling the file", () => {
  let folder: string;
  let path: string;
  const write = (name: string) => writeFileSync(path, `model_config_list { config { name: "${name}" } }`);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-config-"));
    path = join(folder, "models.config");
  });
  after(() => rmSync(folder, { recursive: true }));

  function poller(pollWaitSeconds: number, apply?: (config: ModelServerConfig) => Promise<void>) {
    const [clock, logger, applied] = [new FakeClock(), new LogRecorder(), [] as string[]];
    const remember = async (config: ModelServerConfig) => void applied.push(models(config)[0]!.name);
    const subject = new ModelConfigFilePoller({ path, pollWaitSeconds, apply: apply ?? remember, clock, logger });
    return { clock, logger, applied, subject };
  }

  it("reads at once, and again after each period", async () => {
    const { clock, applied, subject } = poller(5);
    write("a");
    subject.start();
    await subject.poll();
    write("b");
    clock.advance(4999);
    assert.deepEqual(applied, ["a"]);
    clock.advance(1);
    await subject.poll();
    assert.deepEqual(applied, ["a", "b"]);
    await subject.close();
    assert.equal(clock.pending, 0);
  });

  it("never reads when the period is 0 or less", async () => {
    write("a");
    for (const period of [0, -1]) {
      const { clock, applied, subject } = poller(period);
      subject.start();
      clock.advance(1_000_000);
      await eventLoopTurns();
      assert.deepEqual(applied, []);
      assert.equal(clock.pending, 0);
      await subject.close();
    }
  });

  it("logs what goes wrong, once as long as it lasts, and goes on", async () => {
    const { logger, applied, subject } = poller(5);
    writeFileSync(path, "oops");
    await subject.poll();
    await subject.poll();
    assert.equal(logger.of("error").length, 1);
    assert.match(String(logger.of("error")[0]!.fields["reason"]), /1:5: Expected ":"/);
    rmSync(path);
    await subject.poll();
    assert.match(String(logger.of("error")[1]!.fields["reason"]), /is not there/);
    write("a");
    await subject.poll();
    assert.deepEqual(applied, ["a"]);
    writeFileSync(path, "oops");
    await subject.poll();
    assert.equal(logger.of("error").length, 3);
  });

  it("offers a refused configuration again", async () => {
    write("a");
    let offers = 0;
    const { logger, subject } = poller(5, async () => {
      if (++offers < 3) throw failedPrecondition("label");
    });
    for (let i = 0; i < 3; i++) await subject.poll();
    assert.equal(offers, 3);
    assert.equal(logger.of("error").length, 1);
  });

  it("does not overtake itself", async () => {
    write("a");
    let running = 0;
    let finish = () => {};
    const { clock, subject } = poller(1, async () => {
      assert.equal(++running, 1);
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      running--;
    });
    subject.start();
    while (running === 0) await eventLoopTurns(1);
    clock.advance(10_000);
    await eventLoopTurns();
    finish();
    await subject.close();
  });
});
