import { requireNumber, requireOneOf } from "../../options.js";
import type { LossOptions } from "../losses.js";
import type { OptimizerOptions } from "../optimizers/optimizer.js";
import type { LayerSpec } from "./layer-spec.js";

export const shortFormNames = ["linear", "ridge", "lasso", "elastic_net", "logistic", "softmax"] as const;
export type ShortFormName = (typeof shortFormNames)[number];

export interface ShortFormOptions {
  /** ridge, lasso, elastic_net: how much the penalty counts, as in scikit-learn. Default 1. */
  readonly alpha?: number;
  /** elastic_net: the share of the penalty on absolute values. Default 0.5. */
  readonly l1Ratio?: number;
  /** softmax: how many classes; ridge: how many rows there are to train on. */
  readonly classes?: number;
  readonly rows?: number;
}

/** A classic model as what it is in layers, loss and penalties. */
export interface ShortForm {
  readonly layers: readonly LayerSpec[];
  readonly loss: Partial<LossOptions>;
  readonly optimizer: Partial<OptimizerOptions>;
}

/**
 * Penalties are scikit-learn's for the same alpha. Ours are added to the mean of squares; there
 *   ridge        Σ(y - ŷ)² + α·Σw²                               is divided by the number of rows,
 *   lasso        Σ(y - ŷ)²/(2·rows) + α·Σ|w|                     is doubled,
 *   elastic net  Σ(y - ŷ)²/(2·rows) + α·r·Σ|w| + α·(1 - r)/2·Σw²   too.
 */
export function shortForm(name: ShortFormName, options: ShortFormOptions = {}): ShortForm {
  requireOneOf("model", name, shortFormNames);
  const { alpha = 1, l1Ratio = 0.5, classes = 2, rows = 1 } = options;
  requireNumber("alpha", alpha, { min: 0 });
  requireNumber("l1_ratio", l1Ratio, { min: 0, max: 1 });
  switch (name) {
    case "linear":
      return regression({});
    case "ridge":
      return regression({ l2: alpha / rows });
    case "lasso":
      return regression({ l1: 2 * alpha });
    case "elastic_net":
      return regression({ l1: 2 * alpha * l1Ratio, l2: alpha * (1 - l1Ratio) });
    case "logistic":
      return {
        layers: [{ type: "dense", units: 1, activation: "sigmoid" }],
        loss: { kind: "binary_crossentropy" },
        optimizer: {},
      };
    case "softmax":
      return {
        layers: [{ type: "dense", units: classes, activation: "softmax" }],
        loss: { kind: "sparse_categorical_crossentropy" },
        optimizer: {},
      };
  }
}

const regression = (optimizer: Partial<OptimizerOptions>): ShortForm => ({
  layers: [{ type: "dense", units: 1 }],
  loss: { kind: "mse" },
  optimizer,
});
