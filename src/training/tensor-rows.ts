// Rows of tensors against a model: what it takes, what its loss takes, and which row does not fit.
import type { Graph } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import { formatShape, type NumericData, type NumericTensor, type Tensor } from "../tensor/index.js";
import type { AnsweredRows, Answers } from "./answered-rows.js";
import { rowName } from "./data/table.js";
import { type Field, rowSize, targetField } from "./examples.js";
import { type LossKind, type LossOptions, targetDtype } from "./losses.js";
import { TensorRows } from "./raw-rows.js";
import type { TensorSet } from "./tensor-set.js";

/**
 * The rows of a set as a graph and a loss take them; each is looked at when it is read.
 * Throws INVALID_ARGUMENT naming the input that does not fit, or the row.
 */
export function tensorRows(graph: Graph, set: TensorSet, loss: LossKind): AnsweredTensors {
  requireInputs(graph, set.inputs);
  const tables = embeddingsOf(graph);
  const rows = new TensorRows(set, (inputs, firstRow) => {
    for (const [name, tensor] of inputs) {
      requireFinite(`input "${name}"`, tensor, firstRow);
      for (const table of tables) if (table.input === name) requireKnownRows(table, tensor, firstRow);
    }
  });
  return new AnsweredTensors(set, rows, loss);
}

/** What suits targets of that type: classes are whole numbers, or what one score is for; all else is numbers. */
export function lossOfTargets({ dtype }: Field, oneScore: boolean): LossKind {
  if (dtype === "float32" || dtype === "float64") return "mse";
  return oneScore ? "binary_crossentropy" : "sparse_categorical_crossentropy";
}

/** For one class a row, the sparse loss is the categorical one. */
export function withClassNumbers<Loss extends Partial<LossOptions>>(loss: Loss, target: Field): Loss {
  if (loss.kind !== "categorical_crossentropy" || rowSize(target) !== 1) return loss;
  return { ...loss, kind: "sparse_categorical_crossentropy" };
}

/** The class of each row, where there is one; read once, a number a row. */
export function classesOf(set: TensorSet, loss: LossKind): Float64Array | undefined {
  if (!loss.endsWith("crossentropy") || rowSize(set.target) !== 1) return undefined;
  const classes = new Float64Array(set.count);
  for (let first = 0; first < set.count; first += answersAtOnce) {
    const end = Math.min(first + answersAtOnce, set.count);
    const { data } = set.readTargets(first, end);
    for (let i = 0; i < data.length; i++) classes[first + i] = Number(data[i]);
  }
  return classes;
}

const answersAtOnce = 65_536;

/**
 * Throws INVALID_ARGUMENT when there is nothing to tell apart, or when a new model would have to tell apart what it
 * has seen once.
 */
export function requireSeveralClasses(classes: Float64Array | undefined, isNew: boolean): void {
  if (classes === undefined) return;
  const seen = new Set(classes);
  if (seen.size < 2)
    throw invalidArgument(`the target is class ${classes[0]} in every row; two classes are needed at least`);
  if (isNew && seen.size > 2 && seen.size > classes.length / 2) {
    throw invalidArgument(
      `the targets have ${seen.size} classes in ${classes.length} rows; to predict a number, ask for mse`,
    );
  }
}

export class AnsweredTensors implements AnsweredRows {
  readonly count: number;
  readonly rows: TensorRows;
  readonly target: Field;
  readonly #set: TensorSet;

  constructor(set: TensorSet, rows: TensorRows, loss: LossKind) {
    this.#set = set;
    this.rows = rows;
    this.count = set.count;
    this.target = { name: targetField, dtype: targetDtype(loss), shape: set.target.shape };
  }

  get weighted(): boolean {
    return this.#set.weighted;
  }

  answers(first: number, end: number): Answers {
    const targets = this.#set.readTargets(first, end);
    requireFinite("the targets", targets, first);
    const weights = this.#set.readWeights(first, end);
    const badWeight = weights?.findIndex((weight) => !(weight >= 0 && Number.isFinite(weight))) ?? -1;
    if (badWeight >= 0) {
      throw invalidArgument(
        `the weight of ${rowName(first + badWeight)} is ${weights![badWeight]}; it must be a number from 0 on`,
      );
    }
    return { targets: this.target.dtype === "int64" ? classNumbers(targets, first) : floatsOf(targets), weights };
  }
}

function floatsOf({ dtype, data }: NumericTensor): NumericData {
  return dtype === "float32" ? data : Float32Array.from(data as Float64Array, Number);
}

function classNumbers({ dtype, shape, data }: NumericTensor, first: number): NumericData {
  if (dtype === "int64") return data;
  const bad = (data as Float64Array).findIndex((value) => !Number.isInteger(Number(value)));
  if (bad >= 0) {
    const row = first + Math.floor(bad / (data.length / shape[0]!));
    throw invalidArgument(`the target of ${rowName(row)} is ${data[bad]}; a class is a whole number from 0 on`);
  }
  return BigInt64Array.from(data as Float64Array, BigInt);
}

function requireInputs(graph: Graph, given: readonly Field[]): void {
  for (const { name, dtype, shape } of graph.inputs) {
    const field = given.find((each) => each.name === name);
    if (field === undefined) {
      throw invalidArgument(`the data have no input "${name}"; they have ${given.map((each) => each.name).join(", ")}`);
    }
    if (dtype === "string") throw invalidArgument(`input "${name}" takes strings; give its rows as a table`);
    if (dtype !== undefined && field.dtype !== dtype) {
      throw invalidArgument(`input "${name}" is ${dtype}; the data are ${field.dtype}`);
    }
    const sizes = shape?.slice(1);
    const fits =
      sizes === undefined ||
      (shape!.length === field.shape.length + 1 &&
        sizes.every((size, axis) => typeof size !== "number" || size === field.shape[axis]));
    if (!fits) {
      throw invalidArgument(
        `input "${name}" is of shape ${formatShape(sizes!)} a row; the data are ${formatShape(field.shape)}`,
      );
    }
  }
  const unknown = given.find(({ name }) => !graph.inputs.some((input) => input.name === name));
  if (unknown !== undefined) {
    const known = graph.inputs.map(({ name }) => name).join(", ");
    throw invalidArgument(`the model has no input "${unknown.name}"; it has ${known}`);
  }
}

/** Stored tables of which an input picks rows. */
interface EmbeddingTable {
  readonly name: string;
  readonly input: string;
  readonly rows: number;
}

/** Tables whose row numbers are an input, as it is or as whole numbers. */
function embeddingsOf(graph: Graph): EmbeddingTable[] {
  const casts = new Map(
    graph.nodes.filter(({ opType }) => opType === "Cast").map(({ inputs, outputs }) => [outputs[0]!, inputs[0]!]),
  );
  return graph.nodes.flatMap(({ opType, inputs, attributes }) => {
    const table = opType === "Gather" ? graph.initializers.get(inputs[0]!) : undefined;
    if (table === undefined || (attributes.get("axis") ?? 0) !== 0) return [];
    const input = casts.get(inputs[1]!) ?? inputs[1]!;
    return graph.inputs.some(({ name }) => name === input) ? [{ name: inputs[0]!, input, rows: table.shape[0]! }] : [];
  });
}

/** Numbers that pick rows of an embedding must be numbers of its rows. */
function requireKnownRows({ name, input, rows }: EmbeddingTable, { data, shape }: Tensor, firstRow: number): void {
  const values = data as Float64Array;
  const bad = values.findIndex((value) => !(value >= 0 && value < rows && Number.isInteger(Number(value))));
  if (bad < 0) return;
  const row = firstRow + Math.floor(bad / (data.length / shape[0]!));
  throw invalidArgument(
    `${rowName(row)} of "${input}" holds ${data[bad]}; the embedding "${name}" has rows 0 to ${rows - 1}`,
  );
}

function requireFinite(what: string, { dtype, shape, data }: Tensor, firstRow: number): void {
  if (dtype !== "float32" && dtype !== "float64") return;
  const bad = (data as Float32Array).findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const size = data.length / shape[0]!;
  const place = size === 1 ? "" : ` at ${formatShape(indexOf(bad % size, shape.slice(1)))}`;
  throw invalidArgument(
    `${what}: ${rowName(firstRow + Math.floor(bad / size))} holds ${data[bad]}${place}; all must be finite numbers`,
  );
}

/** The place of an element within a row, axis by axis. */
function indexOf(element: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = element;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return index;
}
