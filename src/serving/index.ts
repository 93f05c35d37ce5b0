export {
  type BatchingParametersFile,
  batchingParametersFileName,
  readBatchingParametersFile,
} from "./batching-parameters-file.js";
export {
  type Classifications,
  classify,
  type ExampleOptions,
  type ExampleRequest,
  type ExampleResult,
  regress,
} from "./classify.js";
export type { Example, ExampleInput, ExampleList, FeatureKind, FeatureValues } from "./example.js";
export { featureKindOf } from "./feature-values.js";
export type { LoadAttempt } from "./lifecycle/loader-harness.js";
export type { VersionPolicy } from "./lifecycle/version-policy.js";
export {
  type LoggingConfig,
  type ModelConfig,
  type ModelServerConfig,
  modelConfig,
  singleModelConfig,
} from "./model-config.js";
export {
  ModelConfigFilePoller,
  type ModelConfigFilePollerOptions,
  parseModelServerConfig,
  readModelConfigFile,
} from "./model-config-file.js";
export { getModelMetadata, type ModelMetadata, type ModelMetadataRequest } from "./model-metadata.js";
export {
  type ConfigurableModelRepository,
  createModelRepository,
  FileSystemModelRepository,
  type ModelRepository,
  type ModelRepositoryContext,
  type ServedRepository,
} from "./model-repository.js";
export type { ModelRepositoryOptions, ScheduledBatching } from "./model-repository-options.js";
export type { ModelStatus, ServableState, VersionStatus } from "./model-status.js";
export {
  type InferenceTask,
  type InferenceValue,
  type MultiInferenceRequest,
  type MultiInferenceResult,
  multiInference,
} from "./multi-inference.js";
export {
  checkMethodName,
  findSignature,
  missingModelSpec,
  type PredictOptions,
  type PredictRequest,
  type PredictResponse,
  type PredictResult,
  predict,
  runSignature,
  type SignatureCall,
  startPredict,
  type TensorSource,
} from "./predict.js";
export type { ReplicaLink, ReplicaLoad, ReplicaLoaded, ReplicaNews } from "./replication/replica-link.js";
export { ReplicaRepository } from "./replication/replica-repository.js";
export { ReplicaSet } from "./replication/replica-set.js";
export type { RequestLog, RequestLogRecord, RequestSampler } from "./request-log.js";
export type { RunFigures } from "./run-examples.js";
export {
  formatServableId,
  type ModelSpec,
  type Servable,
  type ServableHandle,
  type ServableId,
  type ServableLender,
} from "./servable.js";
export { sessionOptionsFileName } from "./session-options.js";
export { signatureDefsFileName } from "./signature-defs.js";
/** Protobuf's text format, for other configuration files: a schema is a value, and the type read follows from it. */
export * as textProto from "./text-proto/index.js";
export type { TritonConfig } from "./triton/config-schema.js";
export { viewedSignature } from "./triton/loading.js";
export { TritonConfigs } from "./triton/triton-configs.js";
export type { TritonModel } from "./triton/triton-model.js";
export {
  type TritonControlMode,
  TritonRepository,
  type TritonRepositoryOptions,
  tritonControlModes,
} from "./triton/triton-repository.js";
export { startupError, type UnavailableModel } from "./unavailable-model.js";
export {
  listVersions,
  nextVersion,
  type PublishedVersion,
  publishVersion,
  type VersionEntry,
} from "./version-directory.js";
export { type WarmupRecord, warmupFileName } from "./warmup.js";
