import { requireInteger, requireNumber, requireOneOf } from "../options.js";
import { invalidArgument } from "../status.js";
import { type LossOptions, validateLossOptions } from "./losses.js";
import { type ScheduleOptions, validateScheduleOptions } from "./optimizers/learning-rate.js";
import { type OptimizerOptions, validateOptimizerOptions } from "./optimizers/optimizer.js";

export interface EarlyStoppingOptions {
  /** "loss", "val_loss" or a metric of the validation rows. Default val_loss. */
  readonly monitor: string;
  /** Default: min for losses and errors, max for all else. */
  readonly mode: "auto" | "min" | "max";
  /** Epochs without improvement that are waited for. Default 5. */
  readonly patience: number;
  /** What counts as an improvement, at least. Default 0. */
  readonly minDelta: number;
  /** Whether the weights of the best epoch are the result, not those of the last. Default true. */
  readonly restoreBest: boolean;
}

export interface TrainingOptions {
  readonly loss: LossOptions;
  readonly optimizer: OptimizerOptions;
  readonly schedule: ScheduleOptions;
  /** Passes over the rows. Default 10. */
  readonly epochs: number;
  /** Rows in a step. Default 32. */
  readonly batchSize: number;
  /** Steps, at most, over all epochs. Default 0: as many as the epochs have. */
  readonly maxSteps: number;
  /** Whether each epoch takes the rows in an order of its own. Default true. */
  readonly shuffle: boolean;
  /** Of initial weights, order and dropout. The same seed gives the same weights, bit for bit. Default 0. */
  readonly seed: number;
  /** By class number: what the rows of a class weigh, besides their own weights. Default: all 1. */
  readonly classWeights: ReadonlyMap<number, number>;
  readonly earlyStopping: EarlyStoppingOptions | undefined;
  /** multiclass: also the share of rows whose class is among so many of the likeliest. Default 5. */
  readonly topK: number;
  /** binary: from which probability on the answer is yes. Default 0.5. */
  readonly threshold: number;
}

export type GivenTrainingOptions = {
  readonly [Name in keyof Omit<
    TrainingOptions,
    "loss" | "optimizer" | "schedule" | "earlyStopping"
  >]?: TrainingOptions[Name];
} & {
  readonly loss?: Partial<LossOptions> | undefined;
  readonly optimizer?: Partial<OptimizerOptions>;
  readonly schedule?: Partial<ScheduleOptions>;
  readonly earlyStopping?: Partial<EarlyStoppingOptions>;
};

export function validateTrainingOptions(given: GivenTrainingOptions): TrainingOptions {
  const options: TrainingOptions = {
    epochs: 10,
    batchSize: 32,
    maxSteps: 0,
    shuffle: true,
    seed: 0,
    classWeights: new Map(),
    topK: 5,
    threshold: 0.5,
    ...given,
    loss: validateLossOptions(given.loss ?? {}),
    optimizer: validateOptimizerOptions(given.optimizer ?? {}),
    schedule: validateScheduleOptions(given.schedule ?? {}),
    earlyStopping: given.earlyStopping === undefined ? undefined : validateEarlyStopping(given.earlyStopping),
  };
  requireInteger("epochs", options.epochs, { min: 1, max: 1_000_000 });
  requireInteger("batch_size", options.batchSize, { min: 1, max: 1_000_000 });
  requireInteger("max_steps", options.maxSteps, { min: 0 });
  requireInteger("seed", options.seed, { min: 0 });
  requireInteger("top_k", options.topK, { min: 1 });
  requireNumber("threshold", options.threshold, { above: 0, below: 1 });
  for (const [label, weight] of options.classWeights) {
    requireInteger("class_weights: a class", label, { min: 0 });
    requireNumber(`class_weights: the weight of class ${label}`, weight, { min: 0 });
  }
  if (options.classWeights.size > 0 && !options.loss.kind.endsWith("crossentropy")) {
    throw invalidArgument(`class_weights belong to cross-entropies; the loss is ${options.loss.kind}`);
  }
  return Object.freeze(options);
}

function validateEarlyStopping(given: Partial<EarlyStoppingOptions>): EarlyStoppingOptions {
  const options: EarlyStoppingOptions = {
    monitor: "val_loss",
    mode: "auto",
    patience: 5,
    minDelta: 0,
    restoreBest: true,
    ...given,
  };
  requireOneOf("early_stopping.mode", options.mode, ["auto", "min", "max"]);
  requireInteger("early_stopping.patience", options.patience, { min: 0 });
  requireNumber("early_stopping.min_delta", options.minDelta, { min: 0 });
  return Object.freeze(options);
}
