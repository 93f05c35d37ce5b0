export { getModelMetadata, type ModelMetadata, type ModelMetadataRequest } from "./model-metadata.js";
export type { ModelRepository } from "./model-repository.js";
export type { ModelStatus, ServableState, VersionStatus } from "./model-status.js";
export {
  findSignature,
  missingModelSpec,
  type PredictOptions,
  type PredictRequest,
  type PredictResponse,
  type PredictResult,
  predict,
  runSignature,
  type SignatureCall,
  type TensorSource,
} from "./predict.js";
export type { ModelSpec, Servable, ServableHandle, ServableId } from "./servable.js";
