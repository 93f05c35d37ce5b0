import { floats, type Graph } from "../../onnx/index.js";
import { invalidArgument } from "../../status.js";
import { GraphEmitter } from "../graph-emitter.js";
import type { RowValue } from "../layers/build-layers.js";
import {
  type CategoryColumn,
  type FittedColumn,
  featureCount,
  type NumberColumn,
  type Preparation,
  type TextColumn,
} from "./preparation.js";
import { emitWords, noWord, spellings } from "./word-graph.js";

/**
 * Writes the preparation into a graph: an input a column, named after it, with one value a row; then what makes
 * features of them. Returns the features, [N, features], or a sequence of token numbers where the only column is one.
 */
export function emitPreparation(graph: Graph, { columns }: Preparation): RowValue {
  if (columns.length === 0) throw invalidArgument("no column has anything to learn from");
  const e = new GraphEmitter(graph);
  for (const column of columns) graph.input(column.name, inputType(column), ["batch"]);
  const [sequence] = columns.filter((column) => column.kind === "text" && column.encoding === "tokens");
  if (sequence !== undefined) {
    if (columns.length > 1) {
      throw invalidArgument(`column "${sequence.name}" makes token numbers, which cannot stand beside other features`);
    }
    return emitTokens(e, sequence as TextColumn);
  }
  const numbers = columns.filter((column) => column.kind === "number");
  const parts = numbers.length > 0 ? [emitNumbers(e, numbers)] : [];
  for (const column of columns) {
    if (column.kind === "boolean") parts.push(e.unsqueeze(e.cast(column.name, "float32"), [1]));
    if (column.kind === "category") parts.push(emitCategory(e, column));
    if (column.kind === "text") parts.push(emitTermWeights(e, column));
  }
  const size = columns.reduce((all, column) => all + featureCount(column), 0);
  return { name: e.concat(parts, 1), dtype: "float32", shape: [size] };
}

/** The element type of a column's input. */
export function inputType(column: FittedColumn): "float32" | "bool" | "string" | "int64" {
  switch (column.kind) {
    case "number":
      return "float32";
    case "boolean":
      return "bool";
    case "category":
      return column.valueType;
    case "text":
      return "string";
  }
}

/** All columns of numbers at once: missing ones (not a number) filled, then shifted and scaled. */
function emitNumbers(e: GraphEmitter, columns: readonly NumberColumn[]): string {
  const row = (values: readonly number[]) => e.constant("float32", [1, columns.length], values);
  const given = e.concat(
    columns.map(({ name }) => e.unsqueeze(name, [1])),
    1,
  );
  const fill = row(columns.map((column) => column.fill));
  const complete = e.where(e.op("IsNaN", [given]), fill, given);
  const shifted = e.sub(complete, row(columns.map(({ shift }) => shift)));
  return e.mul(shifted, row(columns.map(({ scale }) => (scale === 0 ? 0 : 1 / scale))));
}

function emitCategory(e: GraphEmitter, column: CategoryColumn): string {
  const ml = (opType: string, attributes: Parameters<Graph["node"]>[2]) =>
    e.graph.node(opType, [column.name], attributes, { domain: "ai.onnx.ml" })[0]!;
  const whole = column.valueType === "int64";
  const { categories } = column;
  switch (column.encoding) {
    case "one_hot": {
      // A category that was never seen is all zeros.
      const known = whole ? { cats_int64s: categories.map(Number) } : { cats_strings: categories };
      return ml("OneHotEncoder", { ...known, zeros: 1 });
    }
    case "ordinal": {
      // From 0 to 1 in the order of the categories; one that was never seen is in the middle.
      const keys = whole ? { keys_int64s: categories.map(Number) } : { keys_strings: categories };
      const places = categories.map((_, index) => index / (categories.length - 1));
      return e.unsqueeze(
        ml("LabelEncoder", { ...keys, values_floats: floats(places), default_float: floats(0.5) }),
        [1],
      );
    }
    case "hashing": {
      const [hash] = e.graph.node("MurmurHash3", [column.name], { positive: 1 }, { domain: "com.microsoft" });
      const bucket = e.op("Mod", [e.cast(hash!, "int64"), e.scalar(column.buckets, "int64")]);
      const onOff = e.constant("float32", [2], [0, 1]);
      return e.op("OneHot", [bucket, e.scalar(column.buckets, "int64"), onOff], { axis: -1 });
    }
  }
}

/** Each term's count times its weight, the row scaled to length 1. */
function emitTermWeights(e: GraphEmitter, { name, terms, weights }: TextColumn): string {
  const longest = Math.max(...terms.map((words) => words.length));
  const pool: string[] = [];
  const starts: number[] = [];
  const indexes: number[] = [];
  const poolWeights: number[] = [];
  for (let size = 1; size <= longest; size++) {
    starts.push(pool.length);
    terms.forEach((words, index) => {
      if (words.length !== size) return;
      // All spellings of a term count as it.
      for (const spelled of combinations(words.map(spellings))) {
        pool.push(...spelled);
        indexes.push(index);
        poolWeights.push(weights[index]!);
      }
    });
  }
  const shortest = Math.min(...terms.map((words) => words.length));
  const counted = e.op("TfIdfVectorizer", [emitWords(e.graph, name)], {
    mode: "TFIDF",
    min_gram_length: shortest,
    max_gram_length: longest,
    max_skip_count: 0,
    ngram_counts: starts,
    ngram_indexes: indexes,
    pool_strings: pool,
    weights: floats(poolWeights),
  });
  const length = e.op("ReduceL2", [counted, e.ints([1])]);
  return e.div(counted, e.op("Max", [length, e.scalar(1e-12, "float32")]));
}

/** The words' numbers, cut or filled to one length: 0 is none, 1 one that is not known. */
function emitTokens(e: GraphEmitter, { name, terms, length }: TextColumn): RowValue {
  const keys = [noWord];
  const values = [0];
  terms.forEach(([word], index) => {
    for (const spelling of spellings(word!)) {
      keys.push(spelling);
      values.push(index + firstToken);
    }
  });
  const attributes = { keys_strings: keys, values_int64s: values, default_int64: 1 };
  const [numbers] = e.graph.node("LabelEncoder", [emitWords(e.graph, name)], attributes, { domain: "ai.onnx.ml" });
  const filled = e.op("Pad", [numbers!, e.ints([0, 0, 0, length])]);
  return { name: e.slice(filled, [0], [length], [1]), dtype: "int64", shape: [length] };
}

const firstToken = 2;

/** How many token numbers an embedding must know. */
export const tokenCount = ({ terms }: TextColumn): number => terms.length + firstToken;

function combinations(choices: readonly (readonly string[])[]): string[][] {
  return choices.reduce<string[][]>((all, next) => all.flatMap((head) => next.map((word) => [...head, word])), [[]]);
}
