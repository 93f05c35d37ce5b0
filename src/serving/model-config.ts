// What models there are to be: the configuration as plain values, its validation, and what sets two of them apart.
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { failedPrecondition, invalidArgument, notFound } from "../status.js";
import { latestVersion, samePolicy, type VersionPolicy } from "./lifecycle/version-policy.js";

/** One model, as tensorflow.serving.ModelConfig has it. */
export interface ModelConfig {
  readonly name: string;
  /** Absolute, or a file:// URI; holds one directory a version. */
  readonly basePath: string;
  /** tensorflow.serving.ModelType, deprecated: 0 unspecified, 1 TENSORFLOW. */
  readonly modelType: number;
  /** "onnx" or "tensorflow", which mean the same. */
  readonly modelPlatform: string;
  /** undefined: the latest version. */
  readonly versionPolicy: VersionPolicy | undefined;
  readonly versionLabels: ReadonlyMap<string, bigint>;
  readonly loggingConfig: LoggingConfig | undefined;
}

/** tensorflow.serving.LoggingConfig, without what an Any could hold. */
export interface LoggingConfig {
  readonly logCollectorConfig: { readonly type: string; readonly filenamePrefix: string } | undefined;
  readonly samplingConfig:
    | {
        readonly samplingRate: number;
        readonly attributes: number;
        readonly perTaskSamplingConfigs: readonly {
          readonly dc: string;
          readonly taskIndex: number | undefined;
          readonly samplingRate: number;
        }[];
      }
    | undefined;
}

/** tensorflow.serving.ModelServerConfig. */
export type ModelServerConfig =
  | { readonly kind: "model_config_list"; readonly models: readonly ModelConfig[] }
  | { readonly kind: "custom_model_config" }
  /** Neither: an empty file. */
  | { readonly kind: "none" };

/** The configuration of one model without a config file. */
export function singleModelConfig(name: string, basePath: string): ModelServerConfig {
  return { kind: "model_config_list", models: [modelConfig({ name, basePath })] };
}

/** A model's configuration with the defaults filled in. */
export function modelConfig(given: Pick<ModelConfig, "name" | "basePath"> & Partial<ModelConfig>): ModelConfig {
  return {
    modelType: 0,
    modelPlatform: given.modelType ? "" : "onnx",
    versionPolicy: undefined,
    versionLabels: new Map(),
    loggingConfig: undefined,
    ...given,
  };
}

/** A model as the repository runs it: checked, with nothing left to interpret. */
export interface ConfiguredModel {
  readonly name: string;
  /** A path of this machine. */
  readonly basePath: string;
  /** As the configuration words it. */
  readonly platform: string;
  readonly versionPolicy: VersionPolicy;
  readonly versionLabels: ReadonlyMap<string, bigint>;
  readonly loggingConfig: LoggingConfig | undefined;
}

/** What a new configuration is judged by. */
export interface ConfigContext {
  readonly current: ReadonlyMap<string, ConfiguredModel>;
  isAvailable(name: string, version: bigint): boolean;
  readonly allowVersionLabelsForUnavailableModels: boolean;
}

/** Two words for one platform: existing files say "tensorflow". */
const platformNames = new Set(["onnx", "tensorflow"]);

/**
 * Checks a whole list, in TensorFlow Serving's order: the first fault decides. Nothing is changed.
 * @throws INVALID_ARGUMENT; FAILED_PRECONDITION for a label whose version cannot answer now; NOT_FOUND for a log collector
 * that there is not
 */
export function validateModelConfigs(
  models: readonly ModelConfig[],
  context: ConfigContext,
): ReadonlyMap<string, ConfiguredModel> {
  const names = new Set<string>();
  for (const { name } of models) {
    if (names.has(name)) throw invalidArgument(`Illegal to list model ${name} multiple times in config list`);
    names.add(name);
  }
  const basePaths = models.map(localPath);
  for (const model of models) requireSamePlatform(model, context);
  for (const model of models) requireLabelsAvailable(model, context);
  const platforms = models.map(requirePlatform);
  for (const model of models) requireLogCollector(model);
  return new Map(
    models.map((model, i) => {
      const { name, versionPolicy = latestVersion, versionLabels, loggingConfig } = model;
      const [basePath, platform] = [basePaths[i]!, platforms[i]!];
      return [name, { name, basePath, platform, versionPolicy, versionLabels, loggingConfig }];
    }),
  );
}

function localPath({ name, basePath }: ModelConfig): string {
  if (isAbsolute(basePath)) return basePath;
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(basePath)?.[1];
  if (scheme === undefined) {
    throw invalidArgument(`Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`);
  }
  if (scheme.toLowerCase() === "file") {
    try {
      return fileURLToPath(basePath);
    } catch {
      throw invalidArgument(`model ${name}: base_path ${basePath} is no path on this machine`);
    }
  }
  throw invalidArgument(`model ${name}: base_path ${basePath} cannot be read; only local paths and file:// URIs can`);
}

function requireSamePlatform(model: ModelConfig, { current }: ConfigContext): void {
  // TensorFlow Serving looks at the platform only here for models that it has, and at all models' platforms last.
  const old = current.get(model.name)?.platform;
  if (old === undefined) return;
  const requested = requestedPlatform(model);
  if (!platformNames.has(requested)) {
    throw invalidArgument(
      `Illegal to change a model's platform. For model ${model.name} platform was ${old} ` +
        `and new platform requested is ${requested}`,
    );
  }
}

function requireLabelsAvailable({ name, versionLabels }: ModelConfig, context: ConfigContext): void {
  for (const [label, version] of versionLabels) {
    if (context.isAvailable(name, version)) continue;
    const assigned = context.current.get(name)?.versionLabels.get(label);
    const harmless = assigned === undefined || assigned === version;
    if (context.allowVersionLabelsForUnavailableModels && harmless) continue;
    throw failedPrecondition(
      `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`,
    );
  }
}

function requirePlatform(model: ModelConfig): string {
  const requested = requestedPlatform(model);
  if (!platformNames.has(requested)) {
    throw invalidArgument(`Model ${model.name} requests unsupported platform ${requested}`);
  }
  return requested;
}

const logCollectorTypes = ["", "file", "tfrecord"];

function requireLogCollector({ name, loggingConfig }: ModelConfig): void {
  if (loggingConfig === undefined) return;
  const { logCollectorConfig, samplingConfig } = loggingConfig;
  const { type, filenamePrefix } = logCollectorConfig ?? { type: "", filenamePrefix: "" };
  if (!logCollectorTypes.includes(type)) throw notFound(`Cannot find LogCollector::Factory for type: ${type}`);
  if (filenamePrefix === "" && (samplingConfig?.samplingRate ?? 0) <= 0) return;
  if (!isAbsolute(filenamePrefix)) {
    throw invalidArgument(
      `model ${name}: log_collector_config.filename_prefix must be an absolute path; got "${filenamePrefix}"`,
    );
  }
}

function requestedPlatform({ name, modelType, modelPlatform }: ModelConfig): string {
  const both = "ModelServerConfig::model_type (deprecated)";
  if (modelType !== 0 && modelPlatform !== "") {
    throw invalidArgument(`Illegal setting both ${both} and ModelServerConfig::model_platform, model name is ${name}`);
  }
  if (modelType === 0 && modelPlatform === "") {
    throw invalidArgument(
      `Illegal setting neither ${both} nor ModelServerConfig::model_platform, model name is ${name}`,
    );
  }
  if (modelType === 0) return modelPlatform;
  if (modelType !== 1) throw invalidArgument(`ModelServerConfig::model_type choice ${modelType} not supported.`);
  return "tensorflow";
}

export interface ConfigDifference {
  readonly added: readonly string[];
  /** Another base path or version policy: to be looked at again. */
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export function compareConfigs(
  before: ReadonlyMap<string, ConfiguredModel>,
  after: ReadonlyMap<string, ConfiguredModel>,
): ConfigDifference {
  const added: string[] = [];
  const changed: string[] = [];
  for (const model of after.values()) {
    const old = before.get(model.name);
    if (old === undefined) added.push(model.name);
    else if (old.basePath !== model.basePath || !samePolicy(old.versionPolicy, model.versionPolicy)) {
      changed.push(model.name);
    }
  }
  return { added, changed, removed: [...before.keys()].filter((name) => !after.has(name)) };
}
