// What a client asks for, as plain data: it is written to job.json and read by the thread that trains.
import type { ColumnSpec } from "../data/column-spec.js";
import type { LayerSpec } from "../layers/layer-spec.js";
import type { ShortFormName, ShortFormOptions } from "../layers/short-forms.js";
import type { LossOptions } from "../losses.js";
import type { ScheduleOptions } from "../optimizers/learning-rate.js";
import type { OptimizerOptions } from "../optimizers/optimizer.js";
import type { EarlyStoppingOptions } from "../training-options.js";

/** A version of a served model. Without version and label: the one that a request without either gets. */
export interface ModelRef {
  /** Default: the model that is trained. */
  readonly name?: string | undefined;
  /** In decimals, since JSON has no 64-bit integers. */
  readonly version?: string | undefined;
  readonly label?: string | undefined;
}

/** Where weights come from. */
export type JobStart =
  | { readonly kind: "layers"; readonly layers: readonly LayerSpec[] }
  | {
      readonly kind: "classic";
      readonly form: ShortFormName;
      readonly options: Pick<ShortFormOptions, "alpha" | "l1Ratio">;
    }
  | {
      readonly kind: "fine-tune";
      readonly base: ModelRef;
      readonly output?: string | undefined;
      /** Names of weights, * standing for anything; empty: all. */
      readonly train: readonly string[];
      readonly freeze: readonly string[];
      readonly headClasses?: number | undefined;
      readonly trainDropout: boolean;
      readonly trainBatchNorm: boolean;
      readonly learningRateScales: readonly { readonly names: string; readonly scale: number }[];
    }
  | { readonly kind: "update"; readonly base: ModelRef };

/** How rows with named columns are used. */
export interface TableSpec {
  readonly target: string;
  readonly task?: "classification" | "regression" | undefined;
  readonly columns: readonly ColumnSpec[];
  readonly numbers?: Pick<ColumnSpec, "impute" | "fill" | "scale"> | undefined;
  readonly onlyNamed: boolean;
  readonly weight?: string | undefined;
}

/** As TrainingOptions, before defaults. */
export interface TrainingSpec {
  /** Default: by the target. */
  readonly loss?: Partial<LossOptions> | undefined;
  readonly optimizer: Partial<OptimizerOptions>;
  readonly schedule: Partial<ScheduleOptions>;
  readonly epochs?: number | undefined;
  readonly batchSize?: number | undefined;
  readonly maxSteps?: number | undefined;
  readonly shuffle?: boolean | undefined;
  readonly seed: number;
  /** By label, or by class number where classes have no labels. */
  readonly classWeights: Readonly<Record<string, number>>;
  readonly earlyStopping?: Partial<EarlyStoppingOptions> | undefined;
  readonly topK?: number | undefined;
  readonly threshold?: number | undefined;
  /** Default 0.2, or 0 where validation data are given. */
  readonly validationSplit?: number | undefined;
}

export interface GateSpec {
  readonly conditions: readonly {
    readonly metric: string;
    readonly min?: number | undefined;
    readonly max?: number | undefined;
  }[];
  /** Whether an update or fine-tune may be worse than its base. */
  readonly allowWorse: boolean;
}

export interface JobLimits {
  readonly maxSeconds?: number | undefined;
  readonly maxMemoryBytes?: number | undefined;
  readonly checkpointSeconds?: number | undefined;
}

export interface JobSpec {
  readonly model: string;
  /** In decimals; default: one more than the largest. */
  readonly version?: string | undefined;
  readonly start: JobStart;
  readonly table?: TableSpec | undefined;
  /** For a new model on tensors. */
  readonly classLabels: readonly string[];
  readonly training: TrainingSpec;
  readonly gate: GateSpec;
  /** Whether the candidate waits for Publish. */
  readonly hold: boolean;
  readonly limits: JobLimits;
  readonly tags: Readonly<Record<string, string>>;
}
