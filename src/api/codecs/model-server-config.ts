import type { FileSystemStoragePathSourceConfig_ServableVersionPolicy as VersionPolicyMessage } from "../../gen/tensorflow_serving/config/file_system_storage_path_source.js";
import type { LoggingConfig as LoggingConfigMessage } from "../../gen/tensorflow_serving/config/logging_config.js";
import type {
  ModelConfig as ModelConfigMessage,
  ModelServerConfig as ModelServerConfigMessage,
} from "../../gen/tensorflow_serving/config/model_server_config.js";
import type { LoggingConfig, ModelConfig, ModelServerConfig, VersionPolicy } from "../../serving/index.js";

/** What a configuration on the wire says, as the repository takes it. Paths are not interpreted: a client's directory is not ours. */
export function fromModelServerConfigMessage(message: ModelServerConfigMessage | undefined): ModelServerConfig {
  switch (message?.config?.$case) {
    case "modelConfigList":
      return { kind: "model_config_list", models: message.config.value.config.map(toModel) };
    case "customModelConfig":
      return { kind: "custom_model_config" };
    default:
      return { kind: "none" };
  }
}

function toModel(message: ModelConfigMessage): ModelConfig {
  return {
    name: message.name,
    basePath: message.basePath,
    modelType: message.modelType,
    modelPlatform: message.modelPlatform,
    versionPolicy: message.modelVersionPolicy && toPolicy(message.modelVersionPolicy),
    versionLabels: message.versionLabels,
    loggingConfig: message.loggingConfig && toLogging(message.loggingConfig),
  };
}

function toPolicy({ policyChoice }: VersionPolicyMessage): VersionPolicy | undefined {
  switch (policyChoice?.$case) {
    case "latest":
      return { kind: "latest", numVersions: policyChoice.value.numVersions };
    case "all":
      return { kind: "all" };
    case "specific":
      return { kind: "specific", versions: policyChoice.value.versions };
    default:
      return undefined;
  }
}

function toLogging({ logCollectorConfig, samplingConfig }: LoggingConfigMessage): LoggingConfig {
  return {
    logCollectorConfig: logCollectorConfig && {
      type: logCollectorConfig.type,
      filenamePrefix: logCollectorConfig.filenamePrefix,
    },
    samplingConfig: samplingConfig && {
      samplingRate: samplingConfig.samplingRate,
      attributes: samplingConfig.attributes,
      perTaskSamplingConfigs: samplingConfig.perTaskSamplingConfigs.map(({ dc, taskIndex, samplingRate }) => ({
        dc,
        taskIndex,
        samplingRate,
      })),
    },
  };
}
