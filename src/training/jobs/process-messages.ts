// All that crosses between the server and a process that trains. Data and weights do not: they lie in the job's folder.
import type { Code } from "../../status.js";
import type { JobDrift, JobEpoch, JobEvaluation, JobPlan, JobStep } from "./job.js";
import type { JobSpec } from "./job-spec.js";
import type { EvaluationRequest } from "./training-service.js";

interface TaskBase {
  readonly dataFolder: string;
  /** For what does not fit into memory; made by the process. */
  readonly scratchFolder: string;
  /** What weights, activations and rows may take. */
  readonly memoryBytes: number;
}

export interface TrainTask extends TaskBase {
  readonly kind: "train";
  readonly spec: JobSpec;
  /** The model file that is trained further. */
  readonly baseFile: string | undefined;
  readonly checkpointFile: string;
  readonly candidateFile: string;
  /** Of a core, at most. */
  readonly cpuShare: number;
  /** Infinity: without end. */
  readonly secondsLeft: number;
  readonly checkpointSeconds: number;
  /** Written into the candidate. */
  readonly lineage: Readonly<Record<string, unknown>>;
}
export interface PlanTask extends TaskBase {
  readonly kind: "plan";
  readonly spec: JobSpec;
  readonly baseFile: string | undefined;
}
export interface EvaluateTask extends TaskBase {
  readonly kind: "evaluate";
  readonly request: EvaluationRequest;
  readonly baseFile: string;
}
export type Task = TrainTask | PlanTask | EvaluateTask;

export type ToProcess =
  | { readonly kind: "task"; readonly task: Task }
  /** End between two steps, with a checkpoint. */
  | { readonly kind: "stop" };

export type FromProcess =
  /** Rows are read and the graphs built; training starts, at a step other than 0 from a checkpoint. */
  | {
      readonly kind: "prepared";
      readonly plan: JobPlan;
      readonly notices: readonly string[];
      readonly drift: readonly JobDrift[];
      readonly step: number;
    }
  | { readonly kind: "step"; readonly step: JobStep }
  | { readonly kind: "epoch"; readonly epoch: JobEpoch }
  /** @property seconds of training since the last one */
  | { readonly kind: "checkpoint"; readonly step: number; readonly seconds: number }
  | { readonly kind: "notice"; readonly text: string }
  /** Training is over; the candidate is being judged. */
  | { readonly kind: "trained"; readonly end: "completed" | "stopped early" | "diverged"; readonly reason: string }
  /** The last message of each task. */
  | {
      readonly kind: "evaluated";
      readonly evaluation: JobEvaluation | undefined;
      readonly baseEvaluation: JobEvaluation | undefined;
      /** Whether candidateFile has been written: not when no epoch gave finite weights. */
      readonly candidate: boolean;
    }
  | { readonly kind: "planned"; readonly plan: JobPlan }
  | { readonly kind: "report"; readonly evaluation: JobEvaluation; readonly drift: readonly JobDrift[] }
  | { readonly kind: "stopped" }
  | {
      readonly kind: "failed";
      readonly code: Code;
      readonly message: string;
      /** Of a defect of ours. */
      readonly stack?: string | undefined;
    };

export type LastMessage = Extract<
  FromProcess,
  { readonly kind: "evaluated" | "planned" | "report" | "stopped" | "failed" }
>;

export function isLast(message: FromProcess): message is LastMessage {
  const { kind } = message;
  return kind === "evaluated" || kind === "planned" || kind === "report" || kind === "stopped" || kind === "failed";
}
