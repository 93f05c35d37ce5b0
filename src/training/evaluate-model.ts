// Judging a file as it is, on rows with answers: what a gate asks before a version is published.
import { decodeGraphModel } from "../onnx/index.js";
import { StepSession } from "../runtime/index.js";
import { failedPrecondition, invalidArgument } from "../status.js";
import type { NumericTensor } from "../tensor/index.js";
import { prepareTable } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import { type Evaluation, Evaluator } from "./evaluator.js";
import { type Examples, MemoryExamples, targetField, weightField } from "./examples.js";
import { readTrainingRecord } from "./exported-model.js";
import { answersOf, chooseOutput, type ModelFile, requireInputs, type TensorData } from "./fine-tuning.js";
import { numbers } from "./graph-emitter.js";
import { computeMetrics, type Metrics, type Task } from "./metrics.js";
import { TableRows, TensorRows } from "./raw-rows.js";
import { type GivenTrainingOptions, validateTrainingOptions } from "./training-options.js";

/**
 * The metrics of a model that was trained here on a table, over the rows of another. It is asked as clients ask it,
 * with raw columns. Throws INVALID_ARGUMENT naming the row for labels it does not know, FAILED_PRECONDITION when the
 * file does not say what it was trained on.
 */
export function evaluateOnTable(
  file: Uint8Array,
  table: Table,
  { weight, topK = 5 }: { readonly weight?: string; readonly topK?: number } = {},
): Metrics & { readonly rows: number } {
  const record = readTrainingRecord(decodeGraphModel(file).metadata);
  if (record?.preparation === undefined || record.target === undefined || record.outputs === undefined) {
    throw failedPrecondition("the model was not trained on a table here; its file does not say what it predicts");
  }
  const { preparation, target, outputs, loss } = record;
  const { targets, weights } = prepareTable(table, {
    target: target.column,
    task: target.kind === "classes" ? "classification" : "regression",
    weight,
    validationSplit: 0,
    seed: 0,
    fitted: { preparation, target },
  });
  const output = outputs.kind === "classes" ? outputs.scores : outputs.prediction;
  const session = new StepSession(file);
  const given: number[] = [];
  try {
    for (const feeds of new TableRows(table, preparation).batches(256)) {
      for (const value of session.run(feeds, [output]).get(output)!.data) given.push(Number(value));
    }
  } finally {
    session.release();
  }
  const ones = weights ?? new Float32Array(targets.length).fill(1);
  if (target.kind === "number") {
    const numbersOfTable = targets.map((value) => value * target.scale + target.mean);
    const metrics = computeMetrics(
      { kind: "regression" },
      { predictions: given, targets: numbersOfTable, weights: ones },
    );
    return { ...metrics, rows: targets.length };
  }
  const classes = target.labels.length;
  const yesOrNo = loss.kind === "binary_crossentropy";
  const task: Task = yesOrNo ? { kind: "binary", threshold: record.threshold } : { kind: "multiclass", classes, topK };
  const predictions = yesOrNo ? given.filter((_, i) => i % 2 === 1) : given;
  return { ...computeMetrics(task, { predictions, targets, weights: ones }), rows: targets.length };
}

/** The loss and metrics of any model over tensors. Throws as FineTuning.start() does. */
export function evaluateOnTensors(
  { file, runnable = file, readExternal }: ModelFile,
  data: TensorData,
  given: { readonly output?: string; readonly training: GivenTrainingOptions },
): Evaluation {
  const { graph, operatorSets, metadata } = decodeGraphModel(runnable, readExternal);
  const options = validateTrainingOptions(given.training);
  const output = chooseOutput(graph, given.output, readTrainingRecord(metadata));
  const rows = new TensorRows(requireInputs(graph, data.inputs));
  const examples = examplesOf(data, rows, options);
  const inputs = graph.inputs.map(({ name }) => examples.fields.find((field) => field.name === name)!);
  const model = { graph, operatorSets, inputs, output, parameters: [], trainDropout: false, trainBatchNorm: false };
  const evaluator = new Evaluator(model, options, (count) => rows.first(count), new Map());
  try {
    return evaluator.evaluate(examples);
  } finally {
    evaluator.release();
  }
}

function examplesOf(data: TensorData, rows: TensorRows, options: ReturnType<typeof validateTrainingOptions>): Examples {
  const tensors = new Map<string, NumericTensor>();
  for (const [name, tensor] of data.inputs) {
    if (tensor.dtype === "string") throw invalidArgument(`input "${name}" takes strings; give its rows as a table`);
    tensors.set(name, tensor as NumericTensor);
  }
  const { targets, target, weights } = answersOf(data, rows.count, options);
  tensors.set(targetField, {
    dtype: target.dtype,
    shape: [rows.count, ...target.shape],
    data: numbers(target.dtype, Array.from(targets)),
  });
  if (weights !== undefined) tensors.set(weightField, { dtype: "float32", shape: [rows.count], data: weights });
  return new MemoryExamples(tensors);
}
