// How far rows to come have moved from those a model was trained on.
import { asText } from "./cells.js";
import { requireBooleanCell, requireNumberCell } from "./fit-column.js";
import type {
  BooleanColumn,
  CategoryColumn,
  FittedColumn,
  NumberColumn,
  Preparation,
  TextColumn,
} from "./preparation.js";
import type { Cell, Table } from "./table.js";
import { WordCutter } from "./word-graph.js";

export interface ColumnDrift {
  readonly column: string;
  /** By name; see the measures of each kind below. */
  readonly measures: ReadonlyMap<string, number>;
  /** What a person should look into; empty when the rows are much like those before. */
  readonly warnings: readonly string[];
}

/** Reads the table once. Throws INVALID_ARGUMENT naming row and column when a cell is not of its column's kind. */
export function measureDrift({ columns }: Preparation, table: Table): ColumnDrift[] {
  const watches = columns.map((column) => ({ place: table.columns.indexOf(column.name), watch: watchOf(column) }));
  let row = 0;
  for (const cells of table.rows()) {
    for (const { place, watch } of watches) watch.add(cells[place] ?? null, row);
    row += 1;
  }
  return watches.map(({ watch }) => watch.finish(row));
}

interface Watch {
  add(cell: Cell, row: number): void;
  finish(rows: number): ColumnDrift;
}

function watchOf(column: FittedColumn): Watch {
  switch (column.kind) {
    case "number":
      return new NumberWatch(column);
    case "boolean":
      return new BooleanWatch(column);
    case "category":
      return new CategoryWatch(column);
    case "text":
      return new TextWatch(column);
  }
}

/** Beyond these, rows are not what a model was trained on. */
const limits = {
  /** Of the mean, in deviations of the training rows. */
  meanShift: 0.5,
  /** More missing than before, as a share of all rows. */
  missing: 0.1,
  /** Numbers below the least or above the greatest one before. */
  outside: 0.05,
  /** Of the population stability index, by the usual reading: above 0.2 a shift that matters. */
  stabilityIndex: 0.2,
  unknown: 0.1,
} as const;

/** mean_shift, missing_share, outside_share */
class NumberWatch implements Watch {
  readonly #column: NumberColumn;
  #missing = 0;
  #outside = 0;
  #sum = 0;

  constructor(column: NumberColumn) {
    this.#column = column;
  }

  add(cell: Cell, row: number): void {
    const value = requireNumberCell(cell, row, this.#column.name);
    if (value === undefined) {
      this.#missing += 1;
      return;
    }
    const { min, max } = this.#column.statistics;
    this.#sum += value;
    if (value < min || value > max) this.#outside += 1;
  }

  finish(rows: number): ColumnDrift {
    const { name, statistics } = this.#column;
    const present = rows - this.#missing;
    const mean = present === 0 ? statistics.mean : this.#sum / present;
    const distance = Math.abs(mean - statistics.mean);
    // Where all numbers were the same, any other is beyond measure.
    const meanShift = distance === 0 ? 0 : distance / statistics.deviation;
    const missing = share(this.#missing, rows);
    const outside = share(this.#outside, present);
    const before = share(statistics.missing, statistics.rows);
    return report(name, { mean_shift: meanShift, missing_share: missing, outside_share: outside }, [
      meanShift > limits.meanShift && `its mean is ${short(mean)}; it was ${short(statistics.mean)}`,
      missing - before > limits.missing && `${percent(missing)} are missing; it was ${percent(before)}`,
      outside > limits.outside &&
        `${percent(outside)} are not between ${short(statistics.min)} and ${short(statistics.max)}, as all were`,
    ]);
  }
}

/** stability_index */
class BooleanWatch implements Watch {
  readonly #column: BooleanColumn;
  #trues = 0;

  constructor(column: BooleanColumn) {
    this.#column = column;
  }

  add(cell: Cell, row: number): void {
    this.#trues += Number(requireBooleanCell(cell, row, this.#column.name));
  }

  finish(rows: number): ColumnDrift {
    const { name, statistics } = this.#column;
    const [now, before] = [share(this.#trues, rows), share(statistics.trues, statistics.rows)];
    const index = stabilityIndex([before, 1 - before], [now, 1 - now]);
    return report(name, { stability_index: index }, [
      index > limits.stabilityIndex && `${percent(now)} are true; it was ${percent(before)}`,
    ]);
  }
}

/** stability_index and unknown_share; hashed categories are not told apart, and have neither. */
class CategoryWatch implements Watch {
  readonly #column: CategoryColumn;
  readonly #counts: number[];
  readonly #places: ReadonlyMap<string, number>;
  #unknown = 0;

  constructor(column: CategoryColumn) {
    this.#column = column;
    this.#counts = column.categories.map(() => 0);
    this.#places = new Map(column.categories.map((category, place) => [category, place]));
  }

  add(cell: Cell): void {
    const place = this.#places.get(asText(cell));
    if (place === undefined) this.#unknown += 1;
    else this.#counts[place]! += 1;
  }

  finish(rows: number): ColumnDrift {
    const { name, encoding, categories, statistics } = this.#column;
    if (encoding === "hashing") return report(name, {}, []);
    const unknown = share(this.#unknown, rows);
    const now = this.#counts.map((count) => share(count, rows));
    const before = statistics.counts.map((count) => share(count, statistics.rows));
    const index = stabilityIndex(before, now);
    const largest = now
      .map((value, place) => ({ place, change: Math.abs(value - before[place]!) }))
      .reduce((a, b) => (b.change > a.change ? b : a)).place;
    return report(name, { stability_index: index, unknown_share: unknown }, [
      index > limits.stabilityIndex &&
        `${percent(now[largest]!)} are "${categories[largest]}"; it was ${percent(before[largest]!)}`,
      unknown > limits.unknown && `${percent(unknown)} are categories that it never was`,
    ]);
  }
}

/** unknown_share: of the words of each text, counted once a text. */
class TextWatch implements Watch {
  readonly #column: TextColumn;
  readonly #known: ReadonlySet<string>;
  readonly #cutter = new WordCutter();
  #waiting: string[] = [];
  #words = 0;
  #unknown = 0;

  constructor(column: TextColumn) {
    this.#column = column;
    this.#known = new Set(column.terms.filter((words) => words.length === 1).map(([word]) => word!));
  }

  add(cell: Cell): void {
    this.#waiting.push(asText(cell));
    if (this.#waiting.length === 256) this.#count();
  }

  finish(): ColumnDrift {
    this.#count();
    this.#cutter.release();
    const unknown = share(this.#unknown, this.#words);
    const before = this.#column.statistics.unknownShare;
    return report(this.#column.name, { unknown_share: unknown }, [
      unknown - before > limits.unknown && `${percent(unknown)} of its words are unknown; it was ${percent(before)}`,
    ]);
  }

  #count(): void {
    if (this.#waiting.length === 0) return;
    for (const words of this.#cutter.cut(this.#waiting)) {
      for (const word of new Set(words)) {
        this.#words += 1;
        if (!this.#known.has(word)) this.#unknown += 1;
      }
    }
    this.#waiting = [];
  }
}

/** Σ (now - before)·ln(now/before), with no share below one in ten thousand. */
function stabilityIndex(before: readonly number[], now: readonly number[]): number {
  const atLeast = (value: number) => Math.max(value, 1e-4);
  return before.reduce((sum, share, place) => {
    const [a, b] = [atLeast(share), atLeast(now[place]!)];
    return sum + (b - a) * Math.log(b / a);
  }, 0);
}

function report(
  column: string,
  measures: Readonly<Record<string, number>>,
  warnings: readonly (string | false)[],
): ColumnDrift {
  return {
    column,
    measures: new Map(Object.entries(measures)),
    warnings: warnings.filter((warning) => warning !== false).map((warning) => `column "${column}": ${warning}`),
  };
}

const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
const percent = (value: number): string => `${Math.round(1000 * value) / 10} %`;
const short = (value: number): string => String(Number(value.toPrecision(4)));
