// Judging a file as it is, on rows with answers: what a gate asks before a version is published.
import { decodeGraphModel, Graph, rewriteForRuntime } from "../onnx/index.js";
import { StepSession } from "../runtime/index.js";
import { failedPrecondition } from "../status.js";
import { elementTypeInfo, formatShape, type NumericTensor } from "../tensor/index.js";
import type { AnsweredRows } from "./answered-rows.js";
import { rowsAtOnce } from "./build-examples.js";
import { requireClasses, requireTargets } from "./check-targets.js";
import { type ColumnDrift, measureDrift } from "./data/drift.js";
import { prepareTable } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import { type Evaluation, Evaluator, joined } from "./evaluator.js";
import { type Examples, MemoryExamples, rowSize, sampleFeeds, targetField, weightField } from "./examples.js";
import { readTrainingRecord, requireTableRecord, withOutput } from "./exported-model.js";
import { chooseOutput, defaultLoss } from "./fine-tuning.js";
import { findLogits, type LossOptions, type Predictions, validateLossOptions } from "./losses.js";
import { fixedRows } from "./open-batch.js";
import { type RawRows, repeatRows, TableRows } from "./raw-rows.js";
import type { TrainableModel } from "./step-graph.js";
import { answeredRows } from "./tabular-training.js";
import { tensorRows, withClassNumbers } from "./tensor-rows.js";
import type { TensorSet } from "./tensor-set.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface TableEvaluationOptions {
  /** A column of numbers that says what each row counts. */
  readonly weight?: string | undefined;
  readonly topK?: number;
  /** Default: the one it was trained with. */
  readonly threshold?: number;
}

export interface TableEvaluation extends Evaluation {
  /** Of the confusion's rows and columns. */
  readonly classLabels: readonly string[] | undefined;
  /** Of the rows against those that the model was trained on. */
  readonly drift: readonly ColumnDrift[];
}

/**
 * The loss and metrics of a model that was trained here on a table, over the rows of another. It is asked as clients
 * ask it, with raw columns. Throws INVALID_ARGUMENT naming the row for labels it does not know, FAILED_PRECONDITION
 * when the file does not say what it was trained on.
 */
export function evaluateOnTable(
  file: Uint8Array,
  table: Table,
  { weight, ...given }: TableEvaluationOptions = {},
): TableEvaluation {
  const runnable = rewriteForRuntime(file);
  const { graph, metadata } = decodeGraphModel(runnable);
  const { preparation, target, output, loss, threshold } = requireTableRecord(metadata);
  const task = target.kind === "classes" ? "classification" : "regression";
  const fitted = { preparation, target };
  const prepared = prepareTable(table, { target: target.column, task, weight, validationSplit: 0, seed: 0, fitted });
  // Where the loss was attached: in front of a final Softmax, say, which rounds.
  const { value, areLogits } = findLogits(graph, output, loss, () => 2);
  const predicted = valuesOf(withOutput(runnable, value), value, new TableRows(table, preparation));
  const options = validateTrainingOptions({
    threshold,
    ...given,
    loss: { ...loss, fromLogits: areLogits ? "yes" : "no" },
  });
  const answered = answeredRows(table, prepared, loss.kind === "sparse_categorical_crossentropy");
  const rescale = target.kind === "number" ? { mean: target.mean, scale: target.scale } : undefined;
  const model = { ...passingOn(value, predicted), rescale };
  const evaluation = judge(model, options, answeredExamples(value, predicted, answered));
  const classLabels = target.kind === "classes" ? target.labels : undefined;
  return { ...evaluation, classLabels, drift: measureDrift(preparation, table) };
}

/**
 * What a model gives for all rows, [rows, ...].
 * @param fixed how many it takes at a time; the last batch is filled up
 */
function valuesOf(file: Uint8Array, name: string, rows: RawRows, fixed?: number): NumericTensor {
  const session = new StepSession(file);
  const parts: Float32Array[] = [];
  let shape: readonly number[] = [];
  try {
    for (const feeds of rows.batches(fixed ?? rowsAtOnce(rows.first(1)))) {
      const count = [...feeds.values()][0]!.shape[0]!;
      const full = fixed === undefined ? feeds : repeatRows(feeds, fixed);
      const part = session.run(full, [name]).get(name)!;
      if (part.dtype !== "float32" || part.shape[0] !== (fixed ?? count)) {
        throw failedPrecondition(
          `"${name}" is ${part.dtype} of shape ${formatShape(part.shape)} for ${count} rows; float32, rows first, is judged`,
        );
      }
      shape = part.shape.slice(1);
      parts.push((part.data as Float32Array).subarray(0, (part.data.length / part.shape[0]!) * count));
    }
  } finally {
    session.release();
  }
  const data = joined(parts);
  return { dtype: "float32", shape: [data.length / shape.reduce((all, size) => all * size, 1), ...shape], data };
}

/** A model that gives what it is given: predictions that have been made, to be judged. */
function passingOn(name: string, { dtype, shape }: NumericTensor): TrainableModel {
  const graph = new Graph();
  graph.input(name, dtype, ["N", ...shape.slice(1)]);
  const [output] = graph.node("Identity", [name]);
  return {
    graph,
    operatorSets: new Map([["", 21]]),
    inputs: [{ name, dtype, shape: shape.slice(1) }],
    output: output!,
    parameters: [],
    trainDropout: false,
    trainBatchNorm: false,
  };
}

function judge(model: TrainableModel, options: TrainingOptions, examples: Examples): Evaluation {
  const evaluator = new Evaluator(model, options, (rows) => sampleFeeds(model, examples, rows), new Map());
  try {
    requireTargets(examples, evaluator.target, options);
    requireClasses(examples, evaluator.target, evaluator.task);
    return evaluator.evaluate(examples);
  } finally {
    evaluator.release();
  }
}

/**
 * The loss and metrics of any model over tensors; a loss that is not given is the one it was trained on here, or what
 * suits the targets. The model runs as it is served, whatever it is made of. Throws as FineTuning.start() does.
 */
export function evaluateOnTensors(
  file: Uint8Array,
  data: TensorSet,
  given: { readonly output?: string | undefined; readonly training: GivenTrainingOptions },
): Evaluation {
  const runnable = rewriteForRuntime(file);
  const { graph, operatorSets, metadata } = decodeGraphModel(runnable);
  const past = readTrainingRecord(metadata);
  const output = chooseOutput(graph, given.output, past);
  const usual = defaultLoss(graph, output, past, data.target);
  const loss = validateLossOptions(withClassNumbers({ ...usual, ...given.training.loss }, data.target));
  const rows = tensorRows(graph, data, loss.kind);
  const { value, areLogits } = siteOfLoss(graph, operatorSets, output, loss);
  const predicted = valuesOf(withOutput(runnable, value), value, rows.rows, fixedRows(graph));
  const options = validateTrainingOptions({
    ...given.training,
    loss: { ...loss, fromLogits: areLogits ? "yes" : "no" },
  });
  return judge(passingOn(value, predicted), options, answeredExamples(value, predicted, rows));
}

/** Where the loss attaches; behind a Softmax of older operator sets, which has an axis of another meaning. */
function siteOfLoss(
  graph: Graph,
  operatorSets: ReadonlyMap<string, number>,
  output: string,
  loss: LossOptions,
): Predictions {
  const rank = graph.outputs.find(({ name }) => name === output)?.shape?.length ?? 2;
  const site = findLogits(graph, output, loss, () => rank);
  return (operatorSets.get("") ?? 21) >= 13 || site.value === output ? site : { value: output, areLogits: false };
}

function answeredExamples(name: string, predicted: NumericTensor, rows: AnsweredRows): MemoryExamples {
  const { count, target, weighted } = rows;
  const size = rowSize(target);
  const targets = new (elementTypeInfo(target.dtype).array!)(count * size) as Float32Array;
  const weights = new Float32Array(count).fill(1);
  for (let first = 0; first < count; first += answersAtOnce) {
    const answers = rows.answers(first, Math.min(first + answersAtOnce, count));
    targets.set(answers.targets as Float32Array, first * size);
    if (answers.weights !== undefined) weights.set(answers.weights, first);
  }
  const tensors = new Map<string, NumericTensor>([
    [name, predicted],
    [targetField, { dtype: target.dtype, shape: [count, ...target.shape], data: targets }],
  ]);
  if (weighted) tensors.set(weightField, { dtype: "float32", shape: [count], data: weights });
  return new MemoryExamples(tensors);
}

const answersAtOnce = 4096;
