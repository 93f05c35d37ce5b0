// Learning from the training rows of a column, one cell after another.
import { invalidArgument } from "../../status.js";
import { asBoolean, asCategory, asNumber, asText, isMissing } from "./cells.js";
import { type ColumnSpec, oneHotUpTo } from "./column-spec.js";
import type { BooleanColumn, CategoryColumn, FittedColumn, NumberColumn, TextColumn } from "./preparation.js";
import { type Cell, rowName } from "./table.js";
import { WordCutter } from "./word-graph.js";

export interface ColumnFitter {
  /** Throws INVALID_ARGUMENT naming row and column when the cell is not of the column's kind. */
  add(cell: Cell, row: number): void;
  /** undefined: the column says nothing; see the notice. */
  finish(): FittedColumn | undefined;
  /** What a person should know about the column, after finish(). */
  readonly notice: string | undefined;
}

export function columnFitter(spec: ColumnSpec, kind: "number" | "boolean" | "category" | "text"): ColumnFitter {
  switch (kind) {
    case "number":
      return new NumberFitter(spec);
    case "boolean":
      return new BooleanFitter(spec);
    case "category":
      return new CategoryFitter(spec);
    case "text":
      return new TextFitter(spec);
  }
}

export function requireNumberCell(cell: Cell, row: number, column: string): number | undefined {
  if (isMissing(cell)) return undefined;
  const value = asNumber(cell);
  if (value === undefined) {
    throw invalidArgument(`${rowName(row)}, column "${column}": ${JSON.stringify(cell)} is not a number`);
  }
  return value;
}

export function requireBooleanCell(cell: Cell, row: number, column: string): boolean {
  const value = asBoolean(cell);
  if (value === undefined) {
    throw invalidArgument(`${rowName(row)}, column "${column}": ${JSON.stringify(cell)} is neither true nor false`);
  }
  return value;
}

class NumberFitter implements ColumnFitter {
  notice: string | undefined;
  readonly #spec: ColumnSpec;
  #rows = 0;
  #missing = 0;
  #mean = 0;
  #squares = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  /** For the median: every so-many-th number, ever fewer of them as more come. */
  readonly #sample: number[] = [];
  #sampleEvery = 1;

  constructor(spec: ColumnSpec) {
    this.#spec = spec;
  }

  add(cell: Cell, row: number): void {
    this.#rows += 1;
    const value = requireNumberCell(cell, row, this.#spec.name);
    if (value === undefined) {
      this.#missing += 1;
      return;
    }
    const count = this.#rows - this.#missing;
    const distance = value - this.#mean;
    this.#mean += distance / count;
    this.#squares += distance * (value - this.#mean);
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
    if ((count - 1) % this.#sampleEvery === 0) this.#sample.push(value);
    if (this.#sample.length === maxSample) {
      for (let i = 0; i < maxSample / 2; i++) this.#sample[i] = this.#sample[2 * i]!;
      this.#sample.length = maxSample / 2;
      this.#sampleEvery *= 2;
    }
  }

  finish(): NumberColumn | undefined {
    const { name, impute = "mean", scale = "standard" } = this.#spec;
    const count = this.#rows - this.#missing;
    if (count === 0) {
      this.notice = `column "${name}" has no number in any row; it is left out`;
      return undefined;
    }
    // It keeps its place among the features, since a place may mean something, as in an image; but it says nothing.
    const constant = this.#min === this.#max;
    if (constant) this.notice = `column "${name}" is ${this.#min} in every row; it has no effect`;
    else if (this.#missing > 0) this.notice = `column "${name}" is missing in ${this.#missing} of ${this.#rows} rows`;
    const deviation = Math.sqrt(this.#squares / count);
    const [shift, divisor] = {
      standard: [this.#mean, deviation],
      min_max: [this.#min, this.#max - this.#min],
      none: [0, constant ? 0 : 1],
    }[scale] as [number, number];
    return {
      kind: "number",
      name,
      fill: impute === "mean" ? this.#mean : impute === "median" ? median(this.#sample) : (this.#spec.fill ?? 0),
      shift,
      scale: divisor,
      statistics: {
        rows: this.#rows,
        missing: this.#missing,
        mean: this.#mean,
        deviation,
        min: this.#min,
        max: this.#max,
      },
    };
  }
}

const maxSample = 100_000;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

class BooleanFitter implements ColumnFitter {
  notice: string | undefined;
  readonly #name: string;
  #rows = 0;
  #trues = 0;

  constructor({ name }: ColumnSpec) {
    this.#name = name;
  }

  add(cell: Cell, row: number): void {
    this.#rows += 1;
    this.#trues += Number(requireBooleanCell(cell, row, this.#name));
  }

  finish(): BooleanColumn | undefined {
    const name = this.#name;
    if (this.#trues === 0 || this.#trues === this.#rows) {
      this.notice = `column "${name}" is ${this.#trues > 0} in every row; it is left out`;
      return undefined;
    }
    return { kind: "boolean", name, statistics: { rows: this.#rows, trues: this.#trues } };
  }
}

class CategoryFitter implements ColumnFitter {
  notice: string | undefined;
  readonly #spec: ColumnSpec;
  readonly #counts = new Map<string, number>();
  #rows = 0;
  #wholeNumbers = true;

  constructor(spec: ColumnSpec) {
    this.#spec = spec;
  }

  add(cell: Cell, row: number): void {
    this.#rows += 1;
    const text = asCategory(cell, row, this.#spec.name);
    this.#wholeNumbers &&= isWholeNumber(text);
    const known = this.#counts.get(text);
    // Beyond what any encoding but hashing tells apart, there is no need to remember.
    if (known !== undefined || this.#counts.size < maxCategories) this.#counts.set(text, (known ?? 0) + 1);
  }

  finish(): CategoryColumn | undefined {
    const { name } = this.#spec;
    const encoding =
      (this.#spec.encoding as CategoryColumn["encoding"] | undefined) ??
      (this.#counts.size > oneHotUpTo ? "hashing" : "one_hot");
    if (this.#counts.size < 2) {
      this.notice = `column "${name}" is "${[...this.#counts.keys()][0] ?? ""}" in every row; it is left out`;
      return undefined;
    }
    if (encoding !== "hashing" && this.#counts.size >= maxCategories) {
      throw invalidArgument(`column "${name}" has ${maxCategories} categories or more; only hashing takes so many`);
    }
    const valueType = this.#wholeNumbers && encoding !== "hashing" ? "int64" : "string";
    const sorted = [...this.#counts].sort(([a], [b]) =>
      valueType === "int64" ? Number(a) - Number(b) : a < b ? -1 : 1,
    );
    const kept = encoding === "hashing" ? [] : sorted;
    if (encoding === "hashing") this.notice = `column "${name}" has ${this.#counts.size} categories; they are hashed`;
    return {
      kind: "category",
      name,
      valueType,
      encoding,
      categories: kept.map(([category]) => category),
      buckets: encoding === "hashing" ? (this.#spec.buckets ?? 256) : 0,
      statistics: { rows: this.#rows, counts: kept.map(([, count]) => count) },
    };
  }
}

const maxCategories = 100_000;

/** Whether a text is a whole number, in the one way such a number is written. */
export const isWholeNumber = (text: string): boolean =>
  /^(0|-?[1-9]\d*)$/.test(text) && Number.isSafeInteger(Number(text));

class TextFitter implements ColumnFitter {
  notice: string | undefined;
  readonly #spec: ColumnSpec;
  readonly #cutter = new WordCutter();
  #waiting: string[] = [];
  /** In how many texts a term is; terms are words joined by blanks. */
  readonly #texts = new Map<string, number>();
  #rows = 0;
  #words = 0;

  constructor(spec: ColumnSpec) {
    this.#spec = spec;
  }

  add(cell: Cell): void {
    this.#rows += 1;
    this.#waiting.push(asText(cell));
    if (this.#waiting.length === textsAtOnce) this.#count();
  }

  finish(): TextColumn | undefined {
    this.#count();
    this.#cutter.release();
    const { name, vocabulary = 1000, encoding = "tf_idf", length = 32 } = this.#spec;
    const sorted = [...this.#texts].sort(([a, timesA], [b, timesB]) => timesB - timesA || (a < b ? -1 : 1));
    const kept = sorted.slice(0, vocabulary);
    if (kept.length === 0) {
      this.notice = `column "${name}" has no word in any row; it is left out`;
      return undefined;
    }
    const total = sum(sorted.map(([, times]) => times));
    return {
      kind: "text",
      name,
      encoding: encoding as TextColumn["encoding"],
      terms: kept.map(([term]) => term.split(" ")),
      // The rarer, the more a term says; as in scikit-learn, no term weighs nothing.
      weights: kept.map(([, times]) => Math.log((1 + this.#rows) / (1 + times)) + 1),
      length: encoding === "tokens" ? length : 0,
      statistics: {
        rows: this.#rows,
        meanWords: this.#words / this.#rows,
        unknownShare: 1 - sum(kept.map(([, times]) => times)) / total,
      },
    };
  }

  #count(): void {
    if (this.#waiting.length === 0) return;
    const longest = this.#spec.encoding === "tokens" ? 1 : (this.#spec.ngrams ?? 1);
    for (const words of this.#cutter.cut(this.#waiting)) {
      this.#words += words.length;
      const seen = new Set<string>();
      for (let size = 1; size <= longest; size++) {
        for (let start = 0; start + size <= words.length; start++) seen.add(words.slice(start, start + size).join(" "));
      }
      for (const term of seen) this.#texts.set(term, (this.#texts.get(term) ?? 0) + 1);
    }
    this.#waiting = [];
    if (this.#texts.size > maxTerms) {
      // Terms seen once are most of them, and the last to be kept.
      for (const [term, times] of this.#texts) if (times === 1) this.#texts.delete(term);
    }
  }
}

const textsAtOnce = 256;
const maxTerms = 1_000_000;

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
