import { invalidArgument } from "../../status.js";
import { JsonArraySplitter } from "./json-array-splitter.js";
import { type Cell, requireCell, rowName, type Table } from "./table.js";

/** Rows as JSON objects, an object a line or all in one array, of which only what is being read is in memory. */
export class JsonTable implements Table {
  readonly columns: readonly string[];
  readonly #objects: () => Iterable<Readonly<Record<string, unknown>>>;

  /**
   * Reads all of it once, for the names of the columns.
   * @param pieces the text from its start, cut anywhere; asked for at each reading
   * Throws INVALID_ARGUMENT naming the row that is no object.
   */
  constructor(pieces: () => Iterable<string>, form: "lines" | "array") {
    this.#objects = () => objectsOf(form === "lines" ? linesOf(pieces()) : elementsOf(pieces()));
    const columns = new Set<string>();
    for (const object of this.#objects()) {
      for (const name of Object.keys(object)) columns.add(name);
      if (columns.size > maxColumns) throw invalidArgument(`the rows have more than ${maxColumns} columns`);
    }
    if (columns.has("")) throw invalidArgument('the rows have a column named ""');
    this.columns = [...columns];
  }

  *rows(): Iterable<readonly Cell[]> {
    let index = 0;
    for (const object of this.#objects()) {
      const row = index;
      yield this.columns.map((name) => requireCell(Object.hasOwn(object, name) ? object[name] : null, row, name));
      index += 1;
    }
  }
}

/** A table has columns for people; a mistake may make one of each value. */
const maxColumns = 100_000;

function* objectsOf(texts: Iterable<string>): Generator<Readonly<Record<string, unknown>>> {
  let index = 0;
  for (const text of texts) {
    const object = parse(text, index);
    if (object === null || typeof object !== "object" || Array.isArray(object)) {
      throw invalidArgument(`${rowName(index)} is not a JSON object: ${beginningOf(text)}`);
    }
    yield object as Readonly<Record<string, unknown>>;
    index += 1;
  }
}

function parse(text: string, index: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalidArgument(`${rowName(index)} is not JSON: ${beginningOf(text)}`, { cause: error });
  }
}

const beginningOf = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text.trim());

/** Blank lines are no rows. */
function* linesOf(pieces: Iterable<string>): Generator<string> {
  let begun = "";
  let first = true;
  for (const given of pieces) {
    const piece = first && given.startsWith("\uFEFF") ? given.slice(1) : given;
    first &&= given === "";
    const lines = piece.split("\n");
    lines[0] = begun + lines[0]!;
    begun = lines.pop()!;
    for (const line of lines) if (line.trim() !== "") yield line;
  }
  if (begun.trim() !== "") yield begun;
}

function* elementsOf(pieces: Iterable<string>): Generator<string> {
  const splitter = new JsonArraySplitter();
  for (const piece of pieces) yield* splitter.push(piece);
  splitter.end();
}
