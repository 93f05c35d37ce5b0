import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type ConfigContext,
  type ConfiguredModel,
  compareConfigs,
  type ModelConfig,
  modelConfig,
  validateModelConfigs,
} from "../../src/serving/model-config.js";
import { codeName, StatusError } from "../../src/status.js";

const model = (more: Partial<ModelConfig> = {}) => modelConfig({ name: "m", basePath: "/models/m", ...more });
const labels = (entries: Record<string, bigint>) => new Map(Object.entries(entries));

interface Situation {
  readonly current?: readonly ModelConfig[];
  readonly available?: readonly string[];
  readonly allow?: boolean;
}
const none: ConfigContext = {
  current: new Map(),
  isAvailable: () => true,
  allowVersionLabelsForUnavailableModels: false,
};
const valid = (...models: readonly ModelConfig[]) => validateModelConfigs(models, none);

function judge(
  models: readonly ModelConfig[],
  { current = [], available = [], allow = false }: Situation = {},
): string {
  try {
    validateModelConfigs(models, {
      current: valid(...current),
      isAvailable: (name, version) => available.includes(`${name}/${version}`),
      allowVersionLabelsForUnavailableModels: allow,
    });
    return "OK";
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${codeName(error.code)} ${error.message}`;
  }
}

const unavailable = (version: number) =>
  `FAILED_PRECONDITION Request to assign label to version ${version} of model m, which is not currently available for inference`;

describe("validation of a model configuration", () => {
  const table: readonly [string, readonly ModelConfig[], string, Situation?][] = [
    ["an empty list", [], "OK"],
    ["two models", [model(), model({ name: "n" })], "OK"],
    ["two models in one place", [model(), model({ name: "n" })], "OK"],
    ["one name twice", [model(), model()], "INVALID_ARGUMENT Illegal to list model m multiple times in config list"],
    [
      "a relative path",
      [model({ basePath: "models/m" })],
      "INVALID_ARGUMENT Expected model m to have an absolute path or URI; got base_path()=models/m",
    ],
    [
      "an empty path",
      [model({ basePath: "" })],
      "INVALID_ARGUMENT Expected model m to have an absolute path or URI; got base_path()=",
    ],
    ["a file:// URI", [model({ basePath: "file:///models/m" })], "OK"],
    [
      "a file:// URI with another host",
      [model({ basePath: "file://elsewhere/models/m" })],
      "INVALID_ARGUMENT model m: base_path file://elsewhere/models/m is no path on this machine",
    ],
    [
      "another scheme",
      [model({ basePath: "gs://bucket/m" })],
      "INVALID_ARGUMENT model m: base_path gs://bucket/m cannot be read; only local paths and file:// URIs can",
    ],
    ["platform tensorflow", [model({ modelPlatform: "tensorflow" })], "OK"],
    ["platform onnx", [model({ modelPlatform: "onnx" })], "OK"],
    ["model_type TENSORFLOW", [model({ modelType: 1 })], "OK"],
    [
      "another platform",
      [model({ modelPlatform: "caffe" })],
      "INVALID_ARGUMENT Model m requests unsupported platform caffe",
    ],
    [
      "another model_type",
      [model({ modelType: 2 })],
      "INVALID_ARGUMENT ModelServerConfig::model_type choice 2 not supported.",
    ],
    [
      "type and platform both",
      [model({ modelType: 1, modelPlatform: "onnx" })],
      "INVALID_ARGUMENT Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is m",
    ],
    [
      "neither type nor platform",
      [model({ modelPlatform: "" })],
      "INVALID_ARGUMENT Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is m",
    ],
    [
      "another platform for a model that is there",
      [model({ modelPlatform: "caffe" })],
      "INVALID_ARGUMENT Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is caffe",
      { current: [model({ modelPlatform: "tensorflow" })] },
    ],
    [
      "the same platform by its other name",
      [model({ modelPlatform: "onnx" })],
      "OK",
      { current: [model({ modelPlatform: "tensorflow" })] },
    ],
    [
      "a label for an available version",
      [model({ versionLabels: labels({ stable: 1n }) })],
      "OK",
      { available: ["m/1"] },
    ],
    [
      "a label for a version that is not available",
      [model({ versionLabels: labels({ stable: 1n, canary: 2n }) })],
      unavailable(2),
      { available: ["m/1"] },
    ],
    [
      "a new label for such a version, where that is allowed",
      [model({ versionLabels: labels({ canary: 2n }) })],
      "OK",
      { allow: true },
    ],
    [
      "the same label for the same version, where that is allowed",
      [model({ versionLabels: labels({ canary: 2n }) })],
      "OK",
      { allow: true, current: [model({ versionLabels: labels({ canary: 2n }) })] },
    ],
    [
      "a label moved to such a version, even where it is allowed",
      [model({ versionLabels: labels({ canary: 3n }) })],
      unavailable(3),
      { allow: true, current: [model({ versionLabels: labels({ canary: 2n }) })] },
    ],
    [
      "a label moved to an available version",
      [model({ versionLabels: labels({ canary: 3n }) })],
      "OK",
      { available: ["m/3"], current: [model({ versionLabels: labels({ canary: 2n }) })] },
    ],
    [
      "several labels for one version",
      [model({ versionLabels: labels({ a: 1n, b: 1n }) })],
      "OK",
      { available: ["m/1"] },
    ],
  ];
  for (const [what, models, expected, situation] of table) {
    it(`${expected === "OK" ? "takes" : "refuses"} ${what}`, () => assert.equal(judge(models, situation), expected));
  }

  it("names the first fault in TensorFlow Serving's order, over all models", () => {
    const broken = (...faults: readonly string[]): ModelConfig[] => [
      model({
        name: "new",
        ...(faults.includes("path") && { basePath: "x" }),
        ...(faults.includes("label") && { versionLabels: labels({ l: 1n }) }),
        ...(faults.includes("platform") && { modelPlatform: "caffe" }),
      }),
      model({ ...(faults.includes("change") && { modelPlatform: "caffe" }) }),
      ...(faults.includes("twice") ? [model()] : []),
    ];
    const order = ["twice", "path", "change", "label", "platform"];
    const words = [
      /multiple times/,
      /absolute path/,
      /change a model's platform/,
      /assign label/,
      /unsupported platform/,
    ];
    for (const [i, word] of words.entries()) {
      assert.match(judge(broken(...order.slice(i)), { current: [model()] }), word);
    }
  });

  it("fills in what a repository needs", () => {
    const configured = valid(model({ basePath: "file:///models/with%20blank", modelType: 1, modelPlatform: "" })).get(
      "m",
    )!;
    assert.equal(configured.basePath, "/models/with blank");
    assert.equal(configured.platform, "tensorflow");
    assert.deepEqual(configured.versionPolicy, { kind: "latest", numVersions: 1 });
  });

  it("takes names such as __proto__", () => {
    assert.deepEqual(
      [...valid(model({ name: "__proto__" }), model({ name: "constructor" })).keys()],
      ["__proto__", "constructor"],
    );
  });
});

describe("the difference between two configurations", () => {
  const configured = (...models: ModelConfig[]): ReadonlyMap<string, ConfiguredModel> => valid(...models);
  const before = configured(model(), model({ name: "gone" }), model({ name: "same" }));

  it("names what is new, what is gone, and what is to be looked at again", () => {
    const after = configured(model({ basePath: "/elsewhere" }), model({ name: "same" }), model({ name: "new" }));
    assert.deepEqual(compareConfigs(before, after), { added: ["new"], changed: ["m"], removed: ["gone"] });
  });

  it("counts another version policy as a change, and the default one written out as none", () => {
    const policy = (versionPolicy: ModelConfig["versionPolicy"]) =>
      compareConfigs(configured(model()), configured(model({ versionPolicy }))).changed;
    assert.deepEqual(policy({ kind: "all" }), ["m"]);
    assert.deepEqual(policy({ kind: "latest", numVersions: 1 }), []);
  });

  it("counts other labels as no change: nothing is loaded for them", () => {
    assert.deepEqual(
      compareConfigs(configured(model()), configured(model({ versionLabels: labels({ a: 1n }) }))).changed,
      [],
    );
  });
});
