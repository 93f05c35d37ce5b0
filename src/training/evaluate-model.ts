// Judging a file as it is, on rows with answers: what a gate asks before a version is published.
import { decodeGraphModel, Graph, rewriteForRuntime } from "../onnx/index.js";
import { StepSession } from "../runtime/index.js";
import type { NumericTensor } from "../tensor/index.js";
import { targetFieldOf } from "./build-examples.js";
import { requireClasses, requireTargets } from "./check-targets.js";
import { type ColumnDrift, measureDrift } from "./data/drift.js";
import { prepareTable } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import { type Evaluation, Evaluator } from "./evaluator.js";
import { type Examples, fieldOf, MemoryExamples, sampleFeeds, targetField, weightField } from "./examples.js";
import { readTrainingRecord, requireTableRecord, withOutput } from "./exported-model.js";
import { chooseOutput, defaultLoss } from "./fine-tuning.js";
import { numbers } from "./graph-emitter.js";
import { findLogits } from "./losses.js";
import { type RawRows, TableRows } from "./raw-rows.js";
import type { TrainableModel } from "./step-graph.js";
import { TensorExamples } from "./tensor-examples.js";
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
  const { graph, metadata } = decodeGraphModel(file);
  const { preparation, target, output, loss, threshold } = requireTableRecord(metadata);
  const task = target.kind === "classes" ? "classification" : "regression";
  const fitted = { preparation, target };
  const prepared = prepareTable(table, { target: target.column, task, weight, validationSplit: 0, seed: 0, fitted });
  // Where the loss was attached: in front of a final Softmax, say, which rounds.
  const { value, areLogits } = findLogits(graph, output, loss, () => 2);
  const predicted = valuesOf(withOutput(file, value), value, new TableRows(table, preparation));
  const options = validateTrainingOptions({
    threshold,
    ...given,
    loss: { ...loss, fromLogits: areLogits ? "yes" : "no" },
  });
  const field = targetFieldOf(target, loss.kind === "sparse_categorical_crossentropy");
  const rows = predicted.shape[0]!;
  const targets = numbers(field.dtype, Array.from(prepared.targets));
  const tensors = new Map<string, NumericTensor>([
    [value, predicted],
    [targetField, { dtype: field.dtype, shape: [rows, ...field.shape], data: targets }],
  ]);
  if (prepared.weights !== undefined) {
    tensors.set(weightField, { dtype: "float32", shape: [rows], data: prepared.weights });
  }
  const rescale = target.kind === "number" ? { mean: target.mean, scale: target.scale } : undefined;
  const evaluation = judge({ ...passingOn(value, predicted), rescale }, options, new MemoryExamples(tensors));
  const classLabels = target.kind === "classes" ? target.labels : undefined;
  return { ...evaluation, classLabels, drift: measureDrift(preparation, table) };
}

function valuesOf(file: Uint8Array, name: string, rows: RawRows): NumericTensor {
  const session = new StepSession(file);
  const parts: Float32Array[] = [];
  let shape: readonly number[] = [];
  try {
    for (const feeds of rows.batches(256)) {
      const part = session.run(feeds, [name]).get(name)!;
      shape = part.shape.slice(1);
      parts.push(part.data as Float32Array);
    }
  } finally {
    session.release();
  }
  const data = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    data.set(part, end);
    end += part.length;
  }
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
 * suits the targets. Throws as FineTuning.start() does.
 */
export function evaluateOnTensors(
  file: Uint8Array,
  data: TensorSet,
  given: { readonly output?: string | undefined; readonly training: GivenTrainingOptions },
): Evaluation {
  const { graph, operatorSets, metadata } = decodeGraphModel(rewriteForRuntime(file));
  const past = readTrainingRecord(metadata);
  const output = chooseOutput(graph, given.output, past);
  const usual = defaultLoss(graph, output, past, data.target);
  const loss = withClassNumbers({ ...usual, ...given.training.loss }, data.target);
  const options = validateTrainingOptions({ ...given.training, loss });
  const answered = tensorRows(graph, data, options.loss.kind);
  const examples = new TensorExamples(data, answered);
  const inputs = graph.inputs.map(({ name }) => fieldOf(examples, name));
  const model = { graph, operatorSets, inputs, output, parameters: [], trainDropout: false, trainBatchNorm: false };
  return judge(model, options, examples);
}
