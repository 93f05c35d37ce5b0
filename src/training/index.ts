export type { ColumnSpec } from "./data/column-spec.js";
export { metadataKeys } from "./exported-model.js";
export {
  hasEnded,
  type Job,
  type JobDataSummary,
  type JobDrift,
  type JobEpoch,
  type JobEvaluation,
  type JobEvent,
  type JobEventKind,
  type JobPlan,
  type JobState,
  type JobStep,
} from "./jobs/job.js";
export { trainedModelsFolder } from "./jobs/job-folder.js";
export type {
  GateSpec,
  JobLimits,
  JobSpec,
  JobStart,
  ModelRef,
  TableSpec,
  TrainingSpec,
} from "./jobs/job-spec.js";
export { TrainingJobs } from "./jobs/training-jobs.js";
export type { TrainingJobsOptions } from "./jobs/training-jobs-options.js";
export { TrainingOff } from "./jobs/training-off.js";
export type {
  DataIntake,
  DataPiece,
  DataSetRole,
  EvaluationReport,
  EvaluationRequest,
  JobFilter,
  JobPlace,
  JobRequest,
  TrainingService,
} from "./jobs/training-service.js";
export type { ConvolutionSpec, LayerSpec, PoolingSpec, Sizes } from "./layers/layer-spec.js";
export type { LossOptions } from "./losses.js";
