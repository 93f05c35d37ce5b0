import {
  GetModelStatusRequest,
  GetModelStatusResponse,
  ModelVersionStatus_State,
} from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { type ModelRepository, missingModelSpec } from "../../serving/index.js";
import { Code } from "../../status.js";
import { fromModelSpecMessage } from "../codecs/model-spec.js";
import type { Method, UnaryMethod } from "./service-table.js";

/** tensorflow.serving.ModelService: GetModelStatus. */
export function modelService(repository: ModelRepository): Method[] {
  return [getModelStatusMethod(repository)];
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
