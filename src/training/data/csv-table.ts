import { invalidArgument } from "../../status.js";
import { type Cell, requireCells, requireDistinctColumns, rowName, type Table } from "./table.js";

export interface CsvOptions {
  /** Default ",". */
  readonly delimiter?: string;
  /** Names of the columns, for text without a line of them. Default: the first line has them. */
  readonly columns?: readonly string[];
}

/** Text in comma-separated values (RFC 4180), of which only what is being read is in memory. Cells are strings. */
export class CsvTable implements Table {
  readonly columns: readonly string[];
  readonly #pieces: () => Iterable<string>;
  readonly #delimiter: string;
  readonly #hasHeader: boolean;

  /**
   * @param pieces the text from its start, cut anywhere; asked for at each reading
   * Throws INVALID_ARGUMENT when there is no line of names, or two are the same.
   */
  constructor(pieces: () => Iterable<string>, { delimiter = ",", columns }: CsvOptions = {}) {
    this.#pieces = pieces;
    this.#delimiter = delimiter;
    this.#hasHeader = columns === undefined;
    const [header] = columns === undefined ? firstOf(csvRecords(pieces(), delimiter)) : [columns];
    if (header === undefined) throw invalidArgument("the CSV is empty; its first line must name the columns");
    this.columns = header.map((name) => name.trim());
    requireDistinctColumns(this.columns);
  }

  *rows(): Iterable<readonly Cell[]> {
    let index = this.#hasHeader ? -1 : 0;
    for (const record of csvRecords(this.#pieces(), this.#delimiter)) {
      if (index >= 0) {
        requireCells(record.length, this.columns.length, rowName(index));
        yield record;
      }
      index += 1;
    }
  }
}

function firstOf<T>(values: Iterable<T>): T[] {
  for (const value of values) return [value];
  return [];
}

/** The records of a CSV text. Empty lines are no records; quotes may hold delimiters, line ends and doubled quotes. */
export function* csvRecords(pieces: Iterable<string>, delimiter: string): Generator<string[]> {
  const delimiterCode = delimiter.charCodeAt(0);
  let record: string[] = [];
  let cell = "";
  let state = "start" as "start" | "plain" | "quoted" | "quote in quotes";
  let line = 1;
  let first = true;
  for (const given of pieces) {
    const piece = first && given.startsWith("\uFEFF") ? given.slice(1) : given;
    first &&= given === "";
    // What has yet to be added to the cell begins here: whole stretches, since a character at a time is slow.
    let start = 0;
    for (let i = 0; i < piece.length; i++) {
      const code = piece.charCodeAt(i);
      if (code === newline) line += 1;
      if (state === "quoted") {
        if (code !== quote) continue;
        cell += piece.slice(start, i);
        state = "quote in quotes";
      } else if (code === quote) {
        if (state === "plain") {
          throw invalidArgument(`line ${line} of the CSV: a quote stands within a cell that does not start with one`);
        }
        if (state === "quote in quotes") cell += '"';
        state = "quoted";
      } else if (code === delimiterCode || code === newline) {
        const ended = state === "plain" ? cell + piece.slice(start, i) : cell;
        // An empty line is one cell that was never begun.
        if (code === delimiterCode) record.push(ended);
        else if (record.length > 0 || state !== "start") {
          record.push(ended);
          yield record;
          record = [];
        }
        cell = "";
        state = "start";
      } else if (code === carriageReturn) {
        if (state === "plain") cell += piece.slice(start, i);
      } else if (state === "quote in quotes") {
        throw invalidArgument(`line ${line} of the CSV: "${piece[i]}" follows a closing quote`);
      } else {
        if (state === "start") start = i;
        state = "plain";
        continue;
      }
      start = i + 1;
    }
    if (state === "plain" || state === "quoted") cell += piece.slice(start);
  }
  if (state === "quoted") throw invalidArgument("the CSV ends within a quoted cell");
  if (record.length > 0 || state !== "start") yield [...record, cell];
}

const [newline, carriageReturn, quote] = [0x0a, 0x0d, 0x22];
