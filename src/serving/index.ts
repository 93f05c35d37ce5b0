export type { ModelRepository } from "./model-repository.js";
export type { ModelStatus, ServableState, VersionStatus } from "./model-status.js";
export type { PredictRequest, PredictResponse, TensorSource } from "./predict.js";
export type { ModelSpec, Servable, ServableHandle, ServableId } from "./servable.js";
