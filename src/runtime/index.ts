export type { BatchingOptions } from "./batching/batching-options.js";
export {
  type BatchingParameters,
  type ValidBatchingParameters,
  validateBatchingParameters,
} from "./batching/batching-parameters.js";
export { BatchingSession } from "./batching/batching-session.js";
export { type BatchReport, ScheduledBatchingSession } from "./batching/scheduled-batching-session.js";
export { SharedBatchScheduler } from "./batching/shared-batch-scheduler.js";
export { availableCpus } from "./cpu-quota.js";
export {
  type CountedModelRuntime,
  createModelRuntime,
  type ModelStats,
  type RuntimeEnvironment,
  type RuntimeObserver,
  type RuntimeStats,
  type ThreadStats,
} from "./create-model-runtime.js";
export type { LoadedModel, ModelRuntime } from "./model-runtime.js";
export { StepSession, type StepSessionOptions } from "./placement/step-session.js";
export { RunError } from "./run-error.js";
export { type RuntimeOptions, validateRuntimeOptions } from "./runtime-options.js";
export { type PlacementInfo, type RunOptions, type RunResult, type Session, startRun } from "./session.js";
export { type SessionOptions, validateSessionOptions } from "./session-options.js";
