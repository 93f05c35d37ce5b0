import { invalidArgument } from "../../status.js";
import { asCategory, asNumber, isMissing } from "./cells.js";
import { isWholeNumber } from "./fit-column.js";
import { type Cell, rowName } from "./table.js";

/** What is to be predicted, as learned from the training rows. */
export type FittedTarget =
  | {
      readonly kind: "classes";
      readonly column: string;
      /** int64 where all labels are whole numbers. */
      readonly labelType: "string" | "int64";
      /** In the order of their scores. */
      readonly labels: readonly string[];
    }
  /** A model predicts (number - mean) / scale, and what is exported the number. */
  | { readonly kind: "number"; readonly column: string; readonly mean: number; readonly scale: number };

/** Reads the column to be predicted, whole; what each row is to be is a number from then on. */
export class TargetReader {
  readonly column: string;
  readonly #task: "classification" | "regression";
  readonly #cells: number[] = [];
  readonly #labels = new Map<string, number>();

  constructor(column: string, task: "classification" | "regression") {
    this.column = column;
    this.#task = task;
  }

  /** Throws INVALID_ARGUMENT naming the row when the cell is missing or not what it should be. */
  add(cell: Cell, row: number): void {
    const of = `${rowName(row)}, column "${this.column}"`;
    if (this.#task === "classification") {
      const label = asCategory(cell, row, this.column);
      if (label === "" || (typeof cell === "number" && Number.isNaN(cell)))
        throw invalidArgument(`${of}: the label is missing`);
      let number = this.#labels.get(label);
      if (number === undefined) {
        number = this.#labels.size;
        this.#labels.set(label, number);
      }
      this.#cells.push(number);
      return;
    }
    if (isMissing(cell)) throw invalidArgument(`${of}: the number to be predicted is missing`);
    const value = asNumber(cell);
    if (value === undefined) throw invalidArgument(`${of}: ${JSON.stringify(cell)} is not a number to be predicted`);
    this.#cells.push(value);
  }

  get count(): number {
    return this.#cells.length;
  }

  /** Of each row: its class number in the order of first appearance, for a stratified split. */
  get classes(): readonly number[] | undefined {
    return this.#task === "classification" ? this.#cells : undefined;
  }

  /** Throws INVALID_ARGUMENT when there are as many classes as rows, or nearly. */
  requireFewClasses(): void {
    const classes = this.#labels.size;
    if (classes > 2 && classes > this.count / 2) {
      throw invalidArgument(
        `column "${this.column}" has ${classes} classes in ${this.count} rows; to predict a number, ask for regression`,
      );
    }
  }

  /** Throws INVALID_ARGUMENT when there is nothing to learn: one class, one number. */
  fit(trainRows: Uint32Array): FittedTarget {
    return this.#task === "classification" ? this.#fitClasses(trainRows) : this.#fitNumbers(trainRows);
  }

  /** What each row is to be, as fitted: class numbers, or scaled numbers. */
  values(target: FittedTarget): Float64Array {
    if (target.kind === "number") {
      return Float64Array.from(this.#cells, (value) => (value - target.mean) / target.scale);
    }
    const places = new Map(target.labels.map((label, index) => [label, index]));
    const byAppearance = [...this.#labels.keys()].map((label) => places.get(label));
    return Float64Array.from(this.#cells, (number, row) => {
      const place = byAppearance[number];
      if (place === undefined) {
        const label = [...this.#labels.keys()][number];
        throw invalidArgument(
          `${rowName(row)}, column "${this.column}": "${label}" is none of the labels ${listed(target.labels)}`,
        );
      }
      return place;
    });
  }

  #fitClasses(trainRows: Uint32Array): FittedTarget {
    const { column } = this;
    const labels = [...this.#labels.keys()];
    const seen = new Set(Array.from(trainRows, (row) => this.#cells[row]!));
    if (seen.size < 2) {
      const only = labels[[...seen][0] ?? 0];
      throw invalidArgument(
        `column "${column}" is "${only}" in every row to train on; two classes are needed at least`,
      );
    }
    const labelType = labels.every(isWholeNumber) ? "int64" : "string";
    labels.sort((a, b) => (labelType === "int64" ? Number(a) - Number(b) : a < b ? -1 : 1));
    return { kind: "classes", column, labelType, labels };
  }

  #fitNumbers(trainRows: Uint32Array): FittedTarget {
    let [mean, squares] = [0, 0];
    trainRows.forEach((row, index) => {
      const distance = this.#cells[row]! - mean;
      mean += distance / (index + 1);
      squares += distance * (this.#cells[row]! - mean);
    });
    const scale = Math.sqrt(squares / trainRows.length);
    if (scale === 0) {
      throw invalidArgument(`column "${this.column}" is ${mean} in every row to train on; there is nothing to learn`);
    }
    return { kind: "number", column: this.column, mean, scale };
  }
}

const listed = (labels: readonly string[]): string =>
  labels.length > 10 ? `${labels.slice(0, 9).join(", ")} and ${labels.length - 9} more` : labels.join(", ");
