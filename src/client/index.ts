// onnxd/client: see docs/client.md.
export { Code, StatusError } from "../status.js";
export type { ElementType, Shape, Tensor } from "../tensor/index.js";
export type { CallOptions, ClientOptions, TlsOptions } from "./client-options.js";
export { connect, type Protocol } from "./connect.js";
export type {
  Inputs,
  ModelClient,
  ModelMetadata,
  ModelSummary,
  Prediction,
  PredictOptions,
  SignatureDescription,
  TensorDescription,
  VersionOptions,
  VersionStatus,
} from "./model-client.js";
export { type NdArray, type Nested, type Scalar, type TensorInput, toNested } from "./ndarray.js";
export {
  type InferOptions,
  OpenInferenceClient,
  type Parameter,
  type StreamRequest,
  type StreamResult,
} from "./open-inference-client.js";
export { OpenInferenceRestClient } from "./open-inference-rest-client.js";
export type { RetryPolicy } from "./retry.js";
export { type CatalogModel, type CatalogModelVersion, TensorFlowServingClient } from "./tensorflow-serving-client.js";
export type { JobEvents } from "./training/job-events.js";
export type { ProtoJson } from "./training/proto-json.js";
export {
  type AnyData,
  type EvaluateOptions,
  type FollowOptions,
  type JobFilter,
  TrainingClient,
  type TrainOptions,
  type WatchOptions,
} from "./training/training-client.js";
export type { ByteSource, Row, ServerFile, TensorData, TrainingData } from "./training/training-data.js";
export type { JobStateName, TrainingEvent, TrainingJob, TrainingSpecJson } from "./training/training-messages.js";
