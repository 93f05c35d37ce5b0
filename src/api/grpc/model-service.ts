import {
  GetModelStatusRequest,
  GetModelStatusResponse,
  ModelVersionStatus_State,
} from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { ReloadConfigRequest, ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { type ConfigurableModelRepository, type ModelRepository, missingModelSpec } from "../../serving/index.js";
import { Code, invalidArgument } from "../../status.js";
import { type ManagementPolicy, requireManagement } from "../auth/management.js";
import { fromModelServerConfigMessage } from "../codecs/model-server-config.js";
import { fromModelSpecMessage } from "../codecs/model-spec.js";
import type { Method, UnaryMethod } from "./service-table.js";

export interface ReloadConfigOptions {
  /** Who may reload. */
  readonly management: ManagementPolicy;
  /** A counter's value by TensorFlow Serving's internal name ("/tensorflow/serving/request_count"); 0 for one we do not have. */
  readonly readCounter: (internalName: string) => number | Promise<number>;
}

/** tensorflow.serving.ModelService: GetModelStatus and HandleReloadConfigRequest. */
export function modelService(
  repository: ModelRepository & Pick<ConfigurableModelRepository, "reloadConfig">,
  options: ReloadConfigOptions,
): Method[] {
  return [getModelStatusMethod(repository), reloadConfigMethod(repository, options)];
}

function getModelStatusMethod(repository: ModelRepository): UnaryMethod<GetModelStatusRequest, GetModelStatusResponse> {
  return {
    kind: "unary",
    path: "/tensorflow.serving.ModelService/GetModelStatus",
    decode: (bytes) => GetModelStatusRequest.decode(bytes),
    encode: (response) => GetModelStatusResponse.encode(response).finish(),
    handle({ modelSpec: message }, { record }) {
      const modelSpec = fromModelSpecMessage(message);
      if (modelSpec === undefined) throw missingModelSpec();
      record.model = modelSpec.name;
      if (modelSpec.version !== undefined) record.version = modelSpec.version;
      // A label is not looked at: TensorFlow Serving answers with all versions then.
      const versions = repository.getModelStatus(modelSpec.name, modelSpec.version);
      return {
        modelVersionStatus: versions.map(({ version, state, error }) => ({
          version,
          state: ModelVersionStatus_State[state],
          status: { errorCode: error?.code ?? Code.OK, errorMessage: error?.message ?? "" },
        })),
      };
    },
  };
}

function reloadConfigMethod(
  repository: Pick<ConfigurableModelRepository, "reloadConfig">,
  { management, readCounter }: ReloadConfigOptions,
): UnaryMethod<ReloadConfigRequest, ReloadConfigResponse> {
  return {
    kind: "unary",
    path: "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    decode: (bytes) => ReloadConfigRequest.decode(bytes),
    encode: (response) => ReloadConfigResponse.encode(response).finish(),
    async handle({ config: message, metricNames }, { peer, cancellation }) {
      requireManagement(management, peer, "HandleReloadConfigRequest");
      const config = fromModelServerConfigMessage(message);
      if (config.kind !== "model_config_list") {
        throw invalidArgument(
          "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
        );
      }
      const read = async () => await Promise.all(metricNames.map(readCounter));
      const before = await read();
      await repository.reloadConfig(config, cancellation);
      const after = await read();
      const metric = new Map(metricNames.map((name, index) => [name, after[index]! - before[index]!]));
      return {
        status: { errorCode: Code.OK, errorMessage: "" },
        metric: [...metric].map(([name, increase]) => ({
          name,
          valueIncrease: { $case: "int64ValueIncrease" as const, value: BigInt(increase) },
        })),
      };
    },
  };
}
