// Losses as operators of the graph: one number a row, then the mean weighted by sample weights.
import type { Graph, GraphNode } from "../onnx/index.js";
import { requireNumber, requireOneOf } from "../options.js";
import { invalidArgument } from "../status.js";
import type { ElementType } from "../tensor/index.js";
import type { GraphEmitter } from "./graph-emitter.js";

export const lossKinds = [
  "mse",
  "mae",
  "huber",
  "binary_crossentropy",
  "categorical_crossentropy",
  "sparse_categorical_crossentropy",
] as const;
export type LossKind = (typeof lossKinds)[number];

export interface LossOptions {
  readonly kind: LossKind;
  /** huber: where the square turns into a line. Default 1. */
  readonly delta: number;
  /** Cross-entropies: the share of certainty that is spread over all classes. Default 0. */
  readonly labelSmoothing: number;
  /** Cross-entropies: whether the model gives logits. Default auto: unless it ends in Sigmoid or Softmax. */
  readonly fromLogits: "auto" | "yes" | "no";
}

export function validateLossOptions(given: Partial<LossOptions>): LossOptions {
  const kind = given.kind ?? "mse";
  requireOneOf("loss", kind, lossKinds);
  const options: LossOptions = { kind, delta: 1, labelSmoothing: 0, fromLogits: "auto", ...given };
  requireOneOf("from_logits", options.fromLogits, ["auto", "yes", "no"]);
  requireNumber("delta", options.delta, { above: 0 });
  requireNumber("label_smoothing", options.labelSmoothing, { min: 0, below: 1 });
  if (options.labelSmoothing > 0 && !isCrossEntropy(kind)) {
    throw invalidArgument(`label_smoothing belongs to cross-entropies; the loss is ${kind}`);
  }
  return Object.freeze(options);
}

const isCrossEntropy = (kind: LossKind): boolean => kind.endsWith("crossentropy");

/** The type of the targets a loss takes: class numbers for the sparse one, numbers like the predictions' otherwise. */
export const targetDtype = (kind: LossKind): ElementType =>
  kind === "sparse_categorical_crossentropy" ? "int64" : "float32";

/** What the loss is attached to. */
export interface Predictions {
  /** [N, ...]; classes along the last axis. */
  readonly value: string;
  /** Whether the value has yet to go through Sigmoid or Softmax. */
  readonly areLogits: boolean;
}

/**
 * Finds where a loss attaches best: in front of the model's final Sigmoid or Softmax, since the logarithm of a rounded
 * probability has lost what the logits still know.
 */
export function findLogits(
  graph: Graph,
  output: string,
  { kind, fromLogits }: Pick<LossOptions, "kind" | "fromLogits">,
  rankOf: (value: string) => number,
): Predictions {
  if (!isCrossEntropy(kind)) return { value: output, areLogits: false };
  if (fromLogits !== "auto") return { value: output, areLogits: fromLogits === "yes" };
  const producer = (value: string) => graph.nodes.find((node) => node.domain === "" && node.outputs.includes(value));
  let node = producer(output);
  while (node?.opType === "Identity") node = producer(node.inputs[0]!);
  if (node !== undefined && (kind === "binary_crossentropy" ? isSigmoid(node) : isSoftmax(node, rankOf))) {
    return { value: node.inputs[0]!, areLogits: true };
  }
  // Behind a change of shape, the loss stays where the model's output is; but probabilities are known as such.
  while (node !== undefined && keepingValues.has(node.opType)) node = producer(node.inputs[0]!);
  const squashed = ["Sigmoid", "Softmax", "LogSoftmax"].includes(node?.opType ?? "");
  return { value: output, areLogits: !squashed };
}

const keepingValues: ReadonlySet<string> = new Set([
  "Identity",
  "Reshape",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Transpose",
]);
const isSigmoid = ({ opType }: GraphNode): boolean => opType === "Sigmoid";

function isSoftmax({ opType, attributes, inputs }: GraphNode, rankOf: (value: string) => number): boolean {
  if (opType !== "Softmax" && opType !== "LogSoftmax") return false;
  const axis = (attributes.get("axis") as number | undefined) ?? -1;
  return axis === -1 || axis === rankOf(inputs[0]!) - 1;
}

/** A graph ready for a loss. */
export interface LossSite {
  readonly predictions: Predictions;
  readonly shape: readonly number[];
  readonly dtype: ElementType;
  /** [N, ...] like the predictions; for the sparse loss without the axis of classes. */
  readonly targets: string;
  /** [N] */
  readonly sampleWeights: string;
}

/** Writes the loss and returns its name: Σ weight·loss / Σ weight. Rows of weight 0 change nothing, not even a bit. */
export function buildLoss(e: GraphEmitter, options: LossOptions, site: LossSite): string {
  const perRow = e.mul(lossPerRow(e, options, site), site.sampleWeights);
  const sum = (value: string) => e.op("ReduceSum", [value], { keepdims: 0 });
  return e.div(sum(perRow), sum(site.sampleWeights));
}

function lossPerRow(e: GraphEmitter, options: LossOptions, site: LossSite): string {
  const elements = lossPerElement(e, options, site);
  const categorical = options.kind.endsWith("categorical_crossentropy");
  const rank = site.shape.length - Number(categorical);
  const rest = Array.from({ length: rank - 1 }, (_, index) => index + 1);
  return rest.length === 0 ? elements : e.op("ReduceMean", [elements, e.ints(rest)], { keepdims: 0 });
}

function lossPerElement(e: GraphEmitter, { kind, delta, labelSmoothing }: LossOptions, site: LossSite): string {
  const { predictions, shape, dtype, targets } = site;
  const { value, areLogits } = predictions;
  const k = (number: number) => e.scalar(number, dtype);
  const error = () => e.sub(value, targets);
  const smoothed = (target: string, classes: number) =>
    labelSmoothing === 0 ? target : e.add(e.mul(target, k(1 - labelSmoothing)), k(labelSmoothing / classes));
  switch (kind) {
    case "mse": {
      const difference = error();
      return e.mul(difference, difference);
    }
    case "mae":
      return e.op("Abs", [error()]);
    case "huber": {
      // q = min(|d|, δ): below δ q(|d| - q/2) is d²/2, above it δ|d| - δ²/2.
      const distance = e.op("Abs", [error()]);
      const near = e.op("Min", [distance, k(delta)]);
      return e.mul(near, e.sub(distance, e.mul(near, k(0.5))));
    }
    case "binary_crossentropy": {
      const target = smoothed(targets, 2);
      if (!areLogits) return binaryOfProbabilities(e, value, target, dtype);
      // max(z, 0) - z·t + ln(1 + e^-|z|), which no z overflows.
      const tail = e.op("Log", [e.add(k(1), e.exp(e.neg(e.op("Abs", [value]))))]);
      return e.add(e.sub(e.op("Relu", [value]), e.mul(value, target)), tail);
    }
    case "categorical_crossentropy": {
      const target = smoothed(targets, shape.at(-1)!);
      return e.neg(overClasses(e, e.mul(target, logProbabilities(e, site)), shape));
    }
    case "sparse_categorical_crossentropy": {
      const logs = logProbabilities(e, site);
      const last = shape.length - 1;
      const own = e.op("GatherElements", [logs, e.unsqueeze(targets, [last])], { axis: last });
      const certain = e.neg(e.squeeze(own, [last]));
      if (labelSmoothing === 0) return certain;
      const uniform = e.neg(overClasses(e, logs, shape));
      return e.add(e.mul(certain, k(1 - labelSmoothing)), e.mul(uniform, k(labelSmoothing / shape.at(-1)!)));
    }
  }
}

function logProbabilities(e: GraphEmitter, { predictions, dtype }: LossSite): string {
  const { value, areLogits } = predictions;
  return areLogits ? e.op("LogSoftmax", [value], { axis: -1 }) : e.op("Log", [keptInside(e, value, dtype)]);
}

function binaryOfProbabilities(e: GraphEmitter, value: string, target: string, dtype: ElementType): string {
  const one = e.scalar(1, dtype);
  const probability = keptInside(e, value, dtype);
  const ifOne = e.mul(target, e.op("Log", [probability]));
  const ifZero = e.mul(e.sub(one, target), e.op("Log", [e.sub(one, probability)]));
  return e.neg(e.add(ifOne, ifZero));
}

const overClasses = (e: GraphEmitter, value: string, shape: readonly number[]): string =>
  e.op("ReduceSum", [value, e.ints([shape.length - 1])], { keepdims: 0 });

/** A probability away from 0 and 1, whose logarithms are infinite. */
function keptInside(e: GraphEmitter, value: string, dtype: ElementType): string {
  const edge = dtype === "float64" ? 1e-12 : 1e-7;
  return e.op("Clip", [value, e.scalar(edge, dtype), e.scalar(1 - edge, dtype)]);
}
