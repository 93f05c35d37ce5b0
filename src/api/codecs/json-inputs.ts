// The three ways to write the inputs of a predict call. Each reads its values straight into tensors, in steps.
import type { Signature } from "../../onnx/index.js";
import type { TensorSource } from "../../serving/index.js";
import { codeName, invalidArgument, type StatusError } from "../../status.js";
import type { ElementType, Tensor } from "../../tensor/index.js";
import { base64Text } from "./json-base64.js";
import { describeJson, endOfScalar, skipBlanks } from "./json-describe.js";
import type { JsonSpan } from "./json-reader.js";
import { decodeJsonString, encodeJsonString, endOfJsonString } from "./json-string.js";
import { faultOf, rowFaultOf } from "./json-tensor-fault.js";
import { maxRank, TensorFill } from "./json-tensor-fill.js";

/** How the inputs were written, and so how the outputs are to be. */
export type JsonForm = "row" | "column";

/** Reads the inputs of one call. */
export interface InputsReader {
  readonly form: JsonForm;
  /** Reads on for about so many bytes; true when all has been read. Throws INVALID_ARGUMENT or UNIMPLEMENTED. */
  advance(byteBudget: number): boolean;
  /** By alias, in the signature's order. Only after advance has returned true. */
  inputs(): ReadonlyMap<string, TensorSource>;
}

/** Rows of the only input: one list, whose first dimension is the batch. */
export class PlainRows implements InputsReader {
  readonly form = "row";
  readonly #name: string;
  readonly #fill: TensorFill;
  readonly #start: number;

  constructor(text: Buffer, { start, commas }: JsonSpan, name: string, dtype: ElementType) {
    this.#name = name;
    this.#fill = new TensorFill(dtype, text, commas + 1);
    this.#start = start;
    begin(this.#fill, start);
  }

  advance(byteBudget: number): boolean {
    const state = this.#fill.run(byteBudget);
    if (state === "misfit") throw this.#fault();
    return state === "done";
  }

  inputs(): ReadonlyMap<string, TensorSource> {
    return new Map([[this.#name, sourceOf(this.#fill, this.#fill.dims)]]);
  }

  #fault(): StatusError {
    const { bytes, dims, commas } = this.#fill;
    // The commas passed in the outer list number the row that does not fit.
    const row = commas[0]!;
    let start = skipBlanks(bytes, this.#start + 1);
    for (let before = 0; before < row; before += 1) start = skipBlanks(bytes, endOfValue(bytes, start) + 1);
    if (isNamed(bytes, start)) {
      return invalidArgument(`Expecting value/list but got object at item ${row} of input list`);
    }
    const { code, message } = rowFaultOf(this.#fill, start, dims.slice(1));
    return invalidArgument(
      `Failed to process element: ${row} of 'instances' list. Error: ${codeName(code)}: ${message}`,
    );
  }
}

/** Rows as objects, each with a value for every input. */
export class NamedRows implements InputsReader {
  readonly form = "row";
  readonly #text: Buffer;
  readonly #columns: readonly Column[];
  /** What stands at #position. */
  #next: "row" | "key" | "value" | "separator" = "row";
  #position: number;
  /** The row that is being read; after the last, how many there were. */
  #row = 0;
  #rowStart = 0;
  #keysInRow = 0;
  /** The column whose value is being read. */
  #column: Column;

  constructor(text: Buffer, { commas }: JsonSpan, firstRow: number, { inputs }: Signature) {
    this.#text = text;
    this.#position = firstRow;
    this.#columns = makeColumns(text, commas + 1, inputs);
    this.#column = this.#columns[0]!;
  }

  advance(byteBudget: number): boolean {
    const pause = this.#position + byteBudget;
    while (this.#position < pause) {
      switch (this.#next) {
        case "row":
          this.#beginRow();
          break;
        case "key":
          this.#readKey();
          break;
        case "value":
          if (!this.#readValue(pause - this.#position)) return false;
          break;
        case "separator":
          if (this.#pass()) return true;
      }
    }
    return false;
  }

  inputs(): ReadonlyMap<string, TensorSource> {
    return new Map(this.#columns.map(({ name, fill }) => [name, sourceOf(fill, [this.#row, ...fill.dims])]));
  }

  #beginRow(): void {
    if (!isNamed(this.#text, this.#position)) {
      throw invalidArgument(`Expecting object but got list at item ${this.#row} of input list`);
    }
    this.#rowStart = this.#position;
    this.#keysInRow = 0;
    this.#position = skipBlanks(this.#text, this.#position + 1);
    this.#next = this.#text[this.#position] === 0x7d ? "separator" : "key";
  }

  #readKey(): void {
    const { column, name, valueStart } = findColumn(this.#text, this.#position, this.#columns, this.#keysInRow);
    if (column === undefined) {
      throw this.#fault(name, invalidArgument(`JSON object: does not have named input: ${name}`));
    }
    if (column.row === this.#row)
      throw this.#fault(name, invalidArgument(`JSON object: has two members named: ${name}`));
    column.row = this.#row;
    column.start = valueStart;
    begin(column.fill, valueStart);
    this.#column = column;
    this.#keysInRow += 1;
    this.#position = valueStart;
    this.#next = "value";
  }

  #readValue(byteBudget: number): boolean {
    const { name, fill, start } = this.#column;
    const state = fill.run(byteBudget);
    this.#position = fill.position;
    if (state === "misfit")
      throw this.#fault(name, fill.items === 0 ? faultOf(fill) : rowFaultOf(fill, start, fill.dims));
    if (state === "paused") return false;
    this.#next = "separator";
    return true;
  }

  /** Passes what stands behind a value. True when it is the end of the list. */
  #pass(): boolean {
    const text = this.#text;
    this.#position = skipBlanks(text, this.#position);
    if (text[this.#position] === 0x2c) {
      this.#position = skipBlanks(text, this.#position + 1);
      this.#next = "key";
      return false;
    }
    this.#endRow();
    const behind = skipBlanks(text, this.#position + 1);
    this.#position = skipBlanks(text, behind + 1);
    this.#next = "row";
    return text[behind] === 0x5d;
  }

  #endRow(): void {
    if (this.#keysInRow < this.#columns.length) {
      const names = this.#columns.map(({ name }) => name).sort();
      throw invalidArgument(
        `Failed to process element: ${this.#row} of 'instances' list. JSON object: ${describeJson(this.#text, this.#rowStart)} keys must be equal to: ${names.join(",")}`,
      );
    }
    this.#row += 1;
  }

  #fault(key: string, { code, message }: StatusError): StatusError {
    return invalidArgument(
      `Failed to process element: ${this.#row} key: ${key} of 'instances' list. Error: ${codeName(code)}: ${message}`,
    );
  }
}

/** Whole tensors, batch dimension included: the value of the only input, or an object with one for each. */
export class Columns implements InputsReader {
  readonly form = "column";
  readonly #text: Buffer;
  readonly #columns: readonly Column[];
  #next: "key" | "value" | "separator";
  #position: number;
  #keys = 0;
  readonly #named: boolean;
  /** The column whose value is being read. */
  #column: Column;

  constructor(text: Buffer, { start, commas }: JsonSpan, { inputs }: Signature) {
    this.#text = text;
    this.#columns = makeColumns(text, commas + 1, inputs);
    this.#column = this.#columns[0]!;
    this.#named = isNamed(text, start);
    if (this.#named) {
      this.#position = skipBlanks(text, start + 1);
      this.#next = text[this.#position] === 0x7d ? "separator" : "key";
      return;
    }
    if (inputs.size > 1) {
      throw invalidArgument(
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
      );
    }
    begin(this.#column.fill, start);
    this.#position = start;
    this.#next = "value";
  }

  advance(byteBudget: number): boolean {
    const pause = this.#position + byteBudget;
    while (this.#position < pause) {
      if (this.#next === "key") this.#readKey();
      else if (this.#next === "value") {
        if (!this.#readValue(pause - this.#position)) return false;
        if (!this.#named) return true;
      } else if (this.#pass()) return true;
    }
    return false;
  }

  inputs(): ReadonlyMap<string, TensorSource> {
    return new Map(this.#columns.map(({ name, fill }) => [name, sourceOf(fill, fill.dims)]));
  }

  #readKey(): void {
    const { column, valueStart } = findColumn(this.#text, this.#position, this.#columns, this.#keys);
    this.#keys += 1;
    this.#position = valueStart;
    if (column === undefined || column.fill.items > 0) {
      // A name that is no input's, or one that was there before: not looked at.
      this.#position = endOfValue(this.#text, valueStart);
      this.#next = "separator";
      return;
    }
    begin(column.fill, valueStart);
    this.#column = column;
    this.#next = "value";
  }

  #readValue(byteBudget: number): boolean {
    const { fill } = this.#column;
    const state = fill.run(byteBudget);
    this.#position = fill.position;
    if (state === "misfit") throw faultOf(fill);
    if (state === "paused") return false;
    this.#next = "separator";
    return true;
  }

  /** Passes what stands behind a value. True when it is the end of the object. */
  #pass(): boolean {
    this.#position = skipBlanks(this.#text, this.#position);
    if (this.#text[this.#position] === 0x2c) {
      this.#position = skipBlanks(this.#text, this.#position + 1);
      this.#next = "key";
      return false;
    }
    const missing = this.#columns.find(({ fill }) => fill.items === 0);
    if (missing !== undefined) throw invalidArgument(`Missing named input: ${missing.name} in 'inputs' object.`);
    return true;
  }
}

/** One input among several. */
interface Column {
  readonly name: string;
  /** The name as JSON text, most likely as it stands in the body. */
  readonly key: Buffer;
  readonly fill: TensorFill;
  /** The last row that had it. */
  row: number;
  /** Where its value in that row begins. */
  start: number;
}

function makeColumns(text: Buffer, bound: number, inputs: Signature["inputs"]): Column[] {
  // The only one has room for all elements at once; of several nobody knows how they share, so they begin small.
  const capacity = inputs.size === 1 ? bound : 256;
  return Array.from(inputs, ([name, { dtype }]) => ({
    name,
    key: Buffer.from(encodeJsonString(name)),
    fill: new TensorFill(dtype, text, bound, capacity),
    row: -1,
    start: 0,
  }));
}

/** Whose the key at `start` is, and where its value begins. Keys come in the signature's order nearly always. */
function findColumn(
  text: Buffer,
  start: number,
  columns: readonly Column[],
  likely: number,
): { readonly column: Column | undefined; readonly name: string; readonly valueStart: number } {
  let column = columns[likely];
  let name = column?.name ?? "";
  let end = start + (column?.key.length ?? 0);
  if (column === undefined || !startsWith(text, start, column.key)) {
    end = endOfJsonString(text, start);
    name = decodeJsonString(text, start, end);
    column = columns.find((other) => other.name === name);
  }
  // A checked text has a colon behind each key.
  return { column, name, valueStart: skipBlanks(text, skipBlanks(text, end) + 1) };
}

function startsWith(text: Buffer, start: number, wanted: Buffer): boolean {
  for (let i = 0; i < wanted.length; i += 1) if (text[start + i] !== wanted[i]) return false;
  return true;
}

function begin(fill: TensorFill, start: number): void {
  fill.begin(start);
  if (fill.dims.length > maxRank) {
    throw invalidArgument(`JSON lists are nested deeper than ${maxRank}, the most dimensions that a tensor can have`);
  }
}

/** An object that is not the form of a base64 string: it names things. */
export function isNamed(text: Buffer, start: number): boolean {
  return text[start] === 0x7b && base64Text(text, start) === undefined;
}

/** Behind the value at `start` of a checked text, blanks included. */
function endOfValue(text: Buffer, start: number): number {
  let position = start;
  let depth = 0;
  do {
    const byte = text[position];
    if (byte === 0x5b || byte === 0x7b) depth += 1;
    else if (byte === 0x5d || byte === 0x7d) depth -= 1;
    else if (byte === 0x22) {
      position = endOfJsonString(text, position);
      continue;
    } else if (depth === 0) {
      position = endOfScalar(text, position);
      continue;
    }
    position += 1;
  } while (depth > 0);
  return skipBlanks(text, position);
}

function sourceOf(fill: TensorFill, shape: readonly number[]): TensorSource {
  const tensor: Tensor = { dtype: fill.dtype, shape, data: fill.data() };
  return { invalid: undefined, dtype: tensor.dtype, shape, decode: () => tensor };
}
