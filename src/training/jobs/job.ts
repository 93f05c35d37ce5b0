// A job as it is stored and as clients see it: plain data throughout.
import type { Code } from "../../status.js";
import type { JobSpec } from "./job-spec.js";

/**
 *   PENDING ──► RUNNING ──► EVALUATING ──► PUBLISHING ──► SUCCEEDED
 *      │           │             │ (held back) ────────────►│
 *      └───────────┴─────────────┴──────► FAILED, CANCELLED
 */
export type JobState = "PENDING" | "RUNNING" | "EVALUATING" | "PUBLISHING" | "SUCCEEDED" | "FAILED" | "CANCELLED";

export const hasEnded = (state: JobState): boolean =>
  state === "SUCCEEDED" || state === "FAILED" || state === "CANCELLED";

export interface JobPlan {
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly unused: readonly string[];
  readonly parameterCount: number;
  readonly parameterBytes: number;
  readonly activationBytes: number;
  readonly exampleBytes: number;
  readonly batchSize: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  readonly trainRows: number;
  readonly validationRows: number;
  /** Of a dry run only. */
  readonly secondsPerStep?: number | undefined;
}

export interface JobStep {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
}

export interface JobEvaluation {
  /** By name, the loss among them. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly rows: number;
  readonly confusion?: readonly (readonly number[])[] | undefined;
  /** Of the confusion's rows and columns. */
  readonly classLabels?: readonly string[] | undefined;
}

export interface JobEpoch {
  readonly epoch: number;
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly validation?: JobEvaluation | undefined;
}

export interface JobDrift {
  readonly column: string;
  readonly measures: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

export interface JobDataSummary {
  readonly rows: number;
  readonly bytes: number;
  /** Hexadecimal, over the data as they came, validation data after training data. */
  readonly sha256: string;
}

export interface Job {
  readonly id: string;
  readonly state: JobState;
  readonly spec: JobSpec;
  readonly idempotencyKey: string;
  /** Milliseconds since 1970, as are all times here. */
  readonly created: number;
  readonly started?: number | undefined;
  readonly ended?: number | undefined;
  readonly error?: { readonly code: Code; readonly message: string } | undefined;
  readonly plan?: JobPlan | undefined;
  readonly step?: JobStep | undefined;
  readonly epoch?: JobEpoch | undefined;
  readonly evaluation?: JobEvaluation | undefined;
  readonly baseEvaluation?: JobEvaluation | undefined;
  readonly drift: readonly JobDrift[];
  readonly notices: readonly string[];
  readonly data: JobDataSummary;
  /** The version that is trained further; its file is copied beside the job. */
  readonly base?: { readonly model: string; readonly version: string } | undefined;
  /** Whether a candidate waits to be published. */
  readonly candidate: boolean;
  readonly publishedVersion?: string | undefined;
  /** How often it was taken up again after the server had stopped. */
  readonly resumptions: number;
  readonly end?: "completed" | "stopped early" | "diverged" | undefined;
}

export type JobEventKind =
  | { readonly kind: "state"; readonly job: Job }
  | { readonly kind: "planned"; readonly plan: JobPlan }
  | { readonly kind: "step"; readonly step: JobStep }
  | { readonly kind: "epoch"; readonly epoch: JobEpoch }
  | { readonly kind: "checkpoint"; readonly step: number }
  | { readonly kind: "notice"; readonly text: string };

export type JobEvent = JobEventKind & {
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly time: number;
};
