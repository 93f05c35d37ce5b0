import { invalidArgument } from "../../status.js";

/** A value as people write it; null and "" are missing. */
export type Cell = string | number | boolean | null;

/** Rows with named columns, to be read from the start as often as wanted. */
export interface Table {
  readonly columns: readonly string[];
  /** Each row's cells in the order of the columns. Throws INVALID_ARGUMENT naming the row that is wrong. */
  rows(): Iterable<readonly Cell[]>;
}

/** Rows that are in memory. */
export class MemoryTable implements Table {
  readonly columns: readonly string[];
  readonly #rows: readonly (readonly Cell[])[];

  /** Throws INVALID_ARGUMENT when columns repeat or a row has another number of cells. */
  constructor(columns: readonly string[], rows: readonly (readonly Cell[])[]) {
    requireDistinctColumns(columns);
    rows.forEach((row, index) => {
      requireCells(row.length, columns.length, rowName(index));
    });
    this.columns = columns;
    this.#rows = rows;
  }

  rows(): Iterable<readonly Cell[]> {
    return this.#rows;
  }
}

/** Rows as JSON has them, each with its own names: a column that a row lacks is missing there. */
export function tableOfObjects(objects: readonly Readonly<Record<string, unknown>>[]): MemoryTable {
  const columns: string[] = [];
  const places = new Map<string, number>();
  for (const object of objects) {
    for (const name of Object.keys(object)) {
      if (places.has(name)) continue;
      places.set(name, columns.length);
      columns.push(name);
    }
  }
  const rows = objects.map((object, index) =>
    columns.map((name) => requireCell(Object.hasOwn(object, name) ? object[name] : null, index, name)),
  );
  return new MemoryTable(columns, rows);
}

export function requireCell(value: unknown, index: number, column: string): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") {
    // Half a character, or one that ends strings in models, would come out as another text.
    if (!unfit.test(value)) return value;
    throw invalidArgument(
      `${rowName(index)}, column "${column}": the text holds a character that models do not carry: ${JSON.stringify(value)}`,
    );
  }
  throw invalidArgument(
    `${rowName(index)}, column "${column}": a cell holds a string, a number, true, false or null; got an ${Array.isArray(value) ? "array" : "object"}`,
  );
}

const unfit = /[\0\p{Surrogate}]/u;

/** "row 1" is the first row of data. */
export const rowName = (index: number): string => `row ${index + 1}`;

export function requireDistinctColumns(columns: readonly string[]): void {
  const seen = new Set<string>();
  columns.forEach((name, index) => {
    if (name === "") throw invalidArgument(`column ${index + 1} has no name`);
    if (seen.has(name)) throw invalidArgument(`there are two columns named "${name}"`);
    seen.add(name);
  });
}

export function requireCells(got: number, wanted: number, row: string): void {
  if (got !== wanted) throw invalidArgument(`${row} has ${got} cells; there are ${wanted} columns`);
}
