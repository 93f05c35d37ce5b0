// What the doors see of training.
import type { Cancellation } from "../../cancellation.js";
import type { NumericTensor, Tensor } from "../../tensor/index.js";
import type { LossOptions } from "../losses.js";
import type { Job, JobDrift, JobEvaluation, JobEvent, JobPlan, JobState } from "./job.js";
import type { JobSpec, ModelRef } from "./job-spec.js";

/** Some rows. The first piece of a set decides what the set is made of; bytes may be cut anywhere. */
export type DataPiece =
  | { readonly kind: "csv" | "json-lines"; readonly bytes: Uint8Array }
  | {
      readonly kind: "tensors";
      readonly inputs: ReadonlyMap<string, Tensor>;
      readonly targets: NumericTensor;
      readonly weights?: NumericTensor | undefined;
    }
  /** A file below --training_data_dir; it is the whole set. */
  | { readonly kind: "file"; readonly path: string };

export type DataSetRole = "train" | "validation";

/** Takes in a job's data, on disk, before there is a job. */
export interface DataIntake {
  /**
   * Resolves when there is room for more: wait for it before the next.
   * Errors: INVALID_ARGUMENT when the piece is not of its set's kind or a file cannot be had; RESOURCE_EXHAUSTED above
   * the server's limit or on a full disk.
   */
  add(role: DataSetRole, piece: DataPiece): Promise<void>;
  /** All data have come: the job is stored and queued. Errors: INVALID_ARGUMENT without data; RESOURCE_EXHAUSTED when the queue is full. */
  commit(): Promise<Job>;
  /** All data have come: what training on them would take, in a thread of its own. Nothing is stored. */
  plan(cancellation: Cancellation): Promise<JobPlan>;
  /** Removes what was taken in. May be called at any time, also after the others. */
  discard(): Promise<void>;
}

export interface JobRequest {
  readonly spec: JobSpec;
  /** At most 128 characters; "": none. */
  readonly idempotencyKey: string;
}

export interface JobFilter {
  /** "": of all. */
  readonly model: string;
  /** Empty: any. */
  readonly states: readonly JobState[];
}

export interface EvaluationRequest {
  readonly model: ModelRef & { readonly name: string };
  readonly weight?: string | undefined;
  /** For tensors. */
  readonly output?: string | undefined;
  readonly loss?: Partial<LossOptions> | undefined;
  readonly topK?: number | undefined;
  readonly threshold?: number | undefined;
}

export interface EvaluationReport {
  readonly model: string;
  readonly version: bigint;
  readonly evaluation: JobEvaluation;
  readonly drift: readonly JobDrift[];
}

/** Where a job stands among others, and in its own story. */
export interface JobPlace {
  /** Jobs before it in the queue. */
  readonly queuePosition: number;
  /** Sequence number of its newest event. */
  readonly lastEvent: number;
}

/** An answer that may have to come from another process. */
type Eventual<T> = T | Promise<T>;

/** Training as a service: jobs on disk, processes that train, and what comes of them. */
export interface TrainingService {
  /**
   * The job that this request has made before, by its idempotency key; its data need not be sent again.
   * Errors: ALREADY_EXISTS when the key is another spec's; INVALID_ARGUMENT for a spec that no data could fit.
   */
  existing(request: JobRequest): Eventual<Job | undefined>;
  /** Errors: INVALID_ARGUMENT for a spec that no data could fit; NOT_FOUND when its base is not served; FAILED_PRECONDITION when training is off. */
  receive(request: JobRequest): Promise<DataIntake>;
  /** NOT_FOUND when there is none. */
  get(id: string): Eventual<Job>;
  /** Newest first. */
  list(filter: JobFilter): Eventual<readonly Job[]>;
  /** Of jobs that there are; of one that is gone meanwhile, zeros. */
  places(ids: readonly string[]): Eventual<readonly JobPlace[]>;
  /** From an event on, to the end of the job. NOT_FOUND; OUT_OF_RANGE when there is no such event yet and never will be. */
  watch(id: string, from: number, cancellation: Cancellation): AsyncIterable<JobEvent>;
  /** Resolves when the job has stopped. */
  cancel(id: string, cancellation: Cancellation): Promise<Job>;
  delete(id: string): Promise<void>;
  /** Resolves when the version is AVAILABLE. */
  publish(id: string, cancellation: Cancellation): Promise<Job>;
  evaluate(
    request: EvaluationRequest,
    data: readonly DataPiece[],
    cancellation: Cancellation,
  ): Promise<EvaluationReport>;
}
