// A new model for a table: raw columns in, labels with scores or numbers out, and layers in between.
import { Graph } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import { formatShape } from "../tensor/index.js";
import { emitPreparation, tokenCount } from "./data/emit-preparation.js";
import type { FittedTarget } from "./data/fit-target.js";
import type { Preparation } from "./data/preparation.js";
import { preparationOperatorSets } from "./data/word-graph.js";
import type { WholeModel } from "./frozen-prefix.js";
import { GraphEmitter } from "./graph-emitter.js";
import { buildLayers, type RowValue } from "./layers/build-layers.js";
import type { LayerRoom } from "./layers/layer-room.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import { findLogits, type LossOptions } from "./losses.js";
import { trainableTensors } from "./parameter-slots.js";
import type { TrainableModel } from "./step-graph.js";

export interface TabularModel extends WholeModel {
  readonly trained: Omit<TrainableModel, "graph" | "operatorSets" | "inputs">;
  /** The names of the graph's outputs: label and scores, or prediction. */
  readonly outputs: TabularOutputs;
}

export type TabularOutputs =
  | { readonly kind: "classes"; readonly label: string; readonly scores: string }
  | { readonly kind: "number"; readonly prediction: string };

export interface TabularModelOptions {
  readonly layers: readonly LayerSpec[];
  readonly loss: LossOptions;
  readonly seed: number;
  /** Two classes with one score: from which probability on it is the second. */
  readonly threshold: number;
  readonly room?: LayerRoom | undefined;
}

/** Throws INVALID_ARGUMENT when the layers do not end in what the target wants. */
export function tabularModel(
  preparation: Preparation,
  target: FittedTarget,
  options: TabularModelOptions,
): TabularModel {
  const graph = new Graph();
  const features = emitPreparation(graph, preparation);
  const stored = new Set(graph.initializers.keys());
  requireKnownTokens(preparation, options.layers);
  const end = buildLayers(graph, features, options.layers, options.seed, options.room);
  requireEnd(end, target, options.loss);
  const parameters = trainableTensors(graph).filter(({ name }) => !stored.has(name));
  const outputs = target.kind === "classes" ? emitClasses(graph, end, target, options) : emitNumber(graph, end, target);
  return {
    graph,
    operatorSets: preparationOperatorSets,
    trained: { output: end.name, parameters, trainDropout: true, trainBatchNorm: true },
    outputs,
  };
}

/** An embedding reads what lies beside it when a number is none of its rows'. */
function requireKnownTokens({ columns }: Preparation, [first]: readonly LayerSpec[]): void {
  const [column] = columns;
  if (column?.kind !== "text" || column.encoding !== "tokens" || first?.type !== "embedding") return;
  const tokens = tokenCount(column);
  if (first.vocabulary < tokens) {
    throw invalidArgument(
      `layer 1 (embedding): column "${column.name}" has ${tokens} token numbers; vocabulary must be ${tokens} at least, not ${first.vocabulary}`,
    );
  }
}

function requireEnd({ shape }: RowValue, target: FittedTarget, { kind }: LossOptions): void {
  const refuse = (wanted: string) => invalidArgument(`the layers end in ${formatShape(shape)} a row; ${wanted}`);
  if (target.kind === "number") {
    if (kind.endsWith("crossentropy")) {
      throw invalidArgument(`column "${target.column}" is to be predicted as a number; ${kind} is for classes`);
    }
    if (formatShape(shape) !== "[1]") throw refuse("one number is to be predicted, so the last layer must have 1 unit");
    return;
  }
  const classes = target.labels.length;
  switch (kind) {
    case "binary_crossentropy":
      if (classes !== 2) {
        throw invalidArgument(`column "${target.column}" has ${classes} classes; binary_crossentropy is for two`);
      }
      if (formatShape(shape) !== "[1]") throw refuse("binary_crossentropy wants a last layer of 1 unit");
      return;
    case "sparse_categorical_crossentropy":
    case "categorical_crossentropy":
      if (formatShape(shape) !== `[${classes}]`) {
        throw refuse(`column "${target.column}" has ${classes} classes, so the last layer must have ${classes} units`);
      }
      return;
    default:
      throw invalidArgument(`column "${target.column}" holds classes; ${kind} is for numbers`);
  }
}

/** Scores [N, classes], and the label of the highest [N]. */
function emitClasses(
  graph: Graph,
  end: RowValue,
  target: Extract<FittedTarget, { kind: "classes" }>,
  { loss, threshold }: TabularModelOptions,
): TabularOutputs {
  const e = new GraphEmitter(graph);
  const { probabilities, second } = emitProbabilities(e, end, loss);
  const count = target.labels.length;
  const place =
    second === undefined
      ? e.op("ArgMax", [probabilities], { axis: 1, keepdims: 0 })
      : e.squeeze(e.cast(e.op("GreaterOrEqual", [second, e.scalar(threshold, "float32")]), "int64"), [1]);
  const labels = graph.initializer(graph.fresh("labels"), {
    dtype: target.labelType,
    shape: [count],
    data: target.labelType === "int64" ? BigInt64Array.from(target.labels, BigInt) : target.labels,
  });
  const [label, scores] = [graph.claimLike("label"), graph.claimLike("scores")];
  graph.node("Gather", [labels, place], {}, { outputs: [label] });
  graph.node("Identity", [probabilities], {}, { outputs: [scores] });
  graph.output(label, target.labelType, ["batch"]);
  graph.output(scores, "float32", ["batch", count]);
  return { kind: "classes", label, scores };
}

/** A probability a class, [N, classes]; and where one score tells two classes apart, that of the second, [N, 1]. */
export function emitProbabilities(
  e: GraphEmitter,
  end: RowValue,
  loss: LossOptions,
): { readonly probabilities: string; readonly second: string | undefined } {
  const { areLogits, value } = findLogits(e.graph, end.name, loss, () => end.shape.length + 1);
  const bare = areLogits && value === end.name;
  if (loss.kind !== "binary_crossentropy") {
    return { probabilities: bare ? e.op("Softmax", [end.name], { axis: -1 }) : end.name, second: undefined };
  }
  const second = bare ? e.op("Sigmoid", [end.name]) : end.name;
  return { probabilities: e.concat([e.sub(e.scalar(1, "float32"), second), second], 1), second };
}

/** What the probabilities of the second class say of both, row by row. */
export function bothProbabilities(second: Float32Array): Float32Array {
  return Float32Array.from({ length: 2 * second.length }, (_, i) =>
    i % 2 === 0 ? 1 - second[i >> 1]! : second[i >> 1]!,
  );
}

/** The number as it is in the table, [N]. */
function emitNumber(
  graph: Graph,
  end: RowValue,
  { mean, scale }: Extract<FittedTarget, { kind: "number" }>,
): TabularOutputs {
  const e = new GraphEmitter(graph);
  const scaled = e.add(e.mul(end.name, e.scalar(scale, "float32")), e.scalar(mean, "float32"));
  const prediction = graph.claimLike("prediction");
  graph.node("Squeeze", [scaled, e.ints([1])], {}, { outputs: [prediction] });
  graph.output(prediction, "float32", ["batch"]);
  return { kind: "number", prediction };
}
