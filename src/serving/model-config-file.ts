// The file behind --model_config_file: a ModelServerConfig in text form, read at start and, when asked to, again and again.
import { dirname, resolve } from "node:path";
import type { Clock, Timer } from "../clock.js";
import { errorMessage, notFound } from "../status.js";
import type { Logger } from "../telemetry/index.js";
import type { VersionPolicy } from "./lifecycle/version-policy.js";
import type { LoggingConfig, ModelConfig, ModelServerConfig } from "./model-config.js";
import { readTextProtoFile } from "./text-proto/text-file.js";
import {
  bytes,
  double,
  enumeration,
  int32,
  int64,
  mapOf,
  message,
  optional,
  readTextProto,
  repeated,
  singular,
  string,
  type TypeOf,
  uint32,
} from "./text-proto/text-schema.js";

/**
 * Reads the file. A base_path that begins with "./" or "../" is taken from the file's own directory (our one extension).
 * @throws NOT_FOUND; INVALID_ARGUMENT `Invalid protobuf file: '{path}': …` with line and column
 */
export async function readModelConfigFile(path: string): Promise<ModelServerConfig> {
  const read = await readTextProtoFile(path, modelServerConfigType);
  if (read === undefined) throw notFound(`model config file ${path} is not there`);
  return toConfig(read, dirname(resolve(path)));
}

/**
 * Reads the same from a text.
 * @param directory what relative base paths are relative to
 */
export function parseModelServerConfig(
  text: string,
  path: string,
  directory = dirname(resolve(path)),
): ModelServerConfig {
  return toConfig(readTextProto(text, modelServerConfigType, path), directory);
}

const samplingConfigType = message("tensorflow.serving.SamplingConfig", {
  sampling_rate: singular(double),
  attributes: singular(int32),
  per_task_sampling_configs: repeated(
    message("tensorflow.serving.PerTaskSamplingConfig", {
      dc: singular(string),
      task_index: optional(int32),
      sampling_rate: singular(double),
    }),
  ),
});
const anyType = message("google.protobuf.Any", { type_url: singular(string), value: singular(bytes) });
const loggingConfigType = message("tensorflow.serving.LoggingConfig", {
  log_collector_config: optional(
    message("tensorflow.serving.LogCollectorConfig", { type: singular(string), filename_prefix: singular(string) }),
  ),
  sampling_config: optional(samplingConfigType),
  custom_logging_config: optional(anyType),
});
const policyName = "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy";
const versionPolicyType = message(
  policyName,
  {
    latest: optional(message(`${policyName}.Latest`, { num_versions: singular(uint32) })),
    all: optional(message(`${policyName}.All`, {})),
    specific: optional(message(`${policyName}.Specific`, { versions: repeated(int64) })),
  },
  { policy_choice: ["latest", "all", "specific"] },
);
const modelConfigType = message("tensorflow.serving.ModelConfig", {
  name: singular(string),
  base_path: singular(string),
  model_type: singular(
    enumeration("tensorflow.serving.ModelType", { MODEL_TYPE_UNSPECIFIED: 0, TENSORFLOW: 1, OTHER: 2 }),
  ),
  model_platform: singular(string),
  logging_config: optional(loggingConfigType),
  model_version_policy: optional(versionPolicyType),
  version_labels: mapOf("tensorflow.serving.ModelConfig.VersionLabelsEntry", string, int64),
});
const modelServerConfigType = message(
  "tensorflow.serving.ModelServerConfig",
  {
    model_config_list: optional(message("tensorflow.serving.ModelConfigList", { config: repeated(modelConfigType) })),
    custom_model_config: optional(anyType),
  },
  { config: ["model_config_list", "custom_model_config"] },
);

function toConfig(read: TypeOf<typeof modelServerConfigType>, directory: string): ModelServerConfig {
  if (read.custom_model_config !== undefined) return { kind: "custom_model_config" };
  if (read.model_config_list === undefined) return { kind: "none" };
  return { kind: "model_config_list", models: read.model_config_list.config.map((model) => toModel(model, directory)) };
}

function toModel(read: TypeOf<typeof modelConfigType>, directory: string): ModelConfig {
  return {
    name: read.name,
    basePath: /^\.\.?\//.test(read.base_path) ? resolve(directory, read.base_path) : read.base_path,
    modelType: read.model_type,
    modelPlatform: read.model_platform,
    versionPolicy: read.model_version_policy && toPolicy(read.model_version_policy),
    versionLabels: read.version_labels,
    loggingConfig: read.logging_config && toLogging(read.logging_config),
  };
}

function toPolicy({ latest, all, specific }: TypeOf<typeof versionPolicyType>): VersionPolicy | undefined {
  if (latest !== undefined) return { kind: "latest", numVersions: latest.num_versions };
  if (all !== undefined) return { kind: "all" };
  if (specific !== undefined) return { kind: "specific", versions: specific.versions };
  return undefined;
}

function toLogging(read: TypeOf<typeof loggingConfigType>): LoggingConfig {
  const { log_collector_config: collector, sampling_config: sampling } = read;
  return {
    logCollectorConfig: collector && { type: collector.type, filenamePrefix: collector.filename_prefix },
    samplingConfig: sampling && {
      samplingRate: sampling.sampling_rate,
      attributes: sampling.attributes,
      perTaskSamplingConfigs: sampling.per_task_sampling_configs.map((task) => ({
        dc: task.dc,
        taskIndex: task.task_index,
        samplingRate: task.sampling_rate,
      })),
    },
  };
}

export interface ModelConfigFilePollerOptions {
  readonly path: string;
  /** From one reading to the next; 0 or less: never again. */
  readonly pollWaitSeconds: number;
  /** Applies what was read. Its errors are logged, and the next reading tries again. */
  readonly apply: (config: ModelServerConfig) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Node's timers fire at once when asked for more. */
const maxTimerMs = 2 ** 31 - 1;

/** Reads the config file again and again, and hands over what it says. Whatever goes wrong is logged; nothing stops. */
export class ModelConfigFilePoller {
  readonly #options: ModelConfigFilePollerOptions;
  #timer: Timer | undefined;
  #polling: Promise<void> | undefined;
  #closed = false;
  /** What the last reading failed with, so that a lasting fault is one line in the log and not one a second. */
  #lastError = "";

  constructor(options: ModelConfigFilePollerOptions) {
    this.#options = options;
  }

  /** The first reading is at once, as in TensorFlow Serving. */
  start(): void {
    if (this.#options.pollWaitSeconds > 0) this.#tick();
  }

  /** One reading; joins the one that is under way. */
  poll(): Promise<void> {
    this.#polling ??= this.#read().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  /** Resolves when the reading that is under way, if any, has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#polling;
  }

  #tick(): void {
    if (this.#closed) return;
    void this.poll();
    const waitMs = Math.min(this.#options.pollWaitSeconds * 1000, maxTimerMs);
    this.#timer = this.#options.clock.setTimer(waitMs, () => this.#tick());
  }

  async #read(): Promise<void> {
    const { path, apply, logger } = this.#options;
    try {
      const config = await readModelConfigFile(path);
      if (!this.#closed) await apply(config);
      this.#lastError = "";
    } catch (error) {
      const reason = errorMessage(error);
      if (reason !== this.#lastError) logger.error("the model config file was not applied", { path, reason });
      this.#lastError = reason;
    }
  }
}
