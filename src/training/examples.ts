import { internal, invalidArgument } from "../status.js";
import { type ElementType, elementTypeInfo, type NumericData, type NumericTensor } from "../tensor/index.js";
import { rowName } from "./data/table.js";

/** One value of every row: an input of the trained graph, the targets, or the weights. */
export interface Field {
  readonly name: string;
  readonly dtype: ElementType;
  /** Of one row. */
  readonly shape: readonly number[];
}

/** The names of the fields beside the inputs; they cannot be those of graph values that a user names. */
export const targetField = "onnxd:target";
export const weightField = "onnxd:weight";

/** Rows ready to be trained on: numbers only, each row alike, to be read in any order. */
export interface Examples {
  readonly count: number;
  readonly fields: readonly Field[];
  /** Copies a field of some rows, one after another, to the start of a buffer. */
  gather(field: string, rows: Uint32Array, into: NumericData): void;
  /** What a person calls a row: "row 12", by its place in the data that were given. */
  nameOf(row: number): string;
}

export const rowSize = ({ shape }: Field): number => shape.reduce((all, size) => all * size, 1);

export function fieldOf(examples: Examples, name: string): Field {
  const field = examples.fields.find((known) => known.name === name);
  if (field === undefined) throw internal(`the examples have no field "${name}"`);
  return field;
}

/** Examples held in memory: a tensor a field, its first axis the rows. */
export class MemoryExamples implements Examples {
  readonly count: number;
  readonly fields: readonly Field[];
  readonly #data = new Map<string, NumericData>();

  /** Throws INVALID_ARGUMENT when the fields have different numbers of rows. */
  constructor(tensors: ReadonlyMap<string, NumericTensor>) {
    const [first] = tensors;
    if (first === undefined) throw internal("examples need a field");
    this.count = first[1].shape[0] ?? 0;
    this.fields = [...tensors].map(([name, { dtype, shape, data }]) => {
      if (shape[0] !== this.count) {
        throw invalidArgument(`"${first[0]}" has ${this.count} rows, "${name}" has ${shape[0] ?? "none"}`);
      }
      this.#data.set(name, data);
      return { name, dtype, shape: shape.slice(1) };
    });
  }

  nameOf(row: number): string {
    return rowName(row);
  }

  gather(field: string, rows: Uint32Array, into: NumericData): void {
    const size = rowSize(fieldOf(this, field));
    gatherRows(this.#data.get(field) as Float32Array, size, rows, into as Float32Array);
  }
}

/** Some of the rows of other examples, such as a split. */
export class ExampleSubset implements Examples {
  readonly #all: Examples;
  readonly #rows: Uint32Array;

  constructor(all: Examples, rows: Uint32Array) {
    this.#all = all;
    this.#rows = rows;
  }

  get count(): number {
    return this.#rows.length;
  }
  get fields(): readonly Field[] {
    return this.#all.fields;
  }

  nameOf(row: number): string {
    return this.#all.nameOf(this.#rows[row]!);
  }

  gather(field: string, rows: Uint32Array, into: NumericData): void {
    this.#all.gather(
      field,
      rows.map((row) => this.#rows[row]!),
      into,
    );
  }
}

/** The whole of a field, as a tensor. */
export function wholeField(examples: Examples, name: string): NumericTensor {
  const { dtype, shape } = fieldOf(examples, name);
  const rows = Uint32Array.from({ length: examples.count }, (_, row) => row);
  const data = new (elementTypeInfo(dtype).array!)(examples.count * rowSize({ name, dtype, shape }));
  examples.gather(name, rows, data);
  return { dtype, shape: [examples.count, ...shape], data };
}

/** A model's inputs for so many rows: the first ones, again and again where there are fewer. */
export function sampleFeeds(
  { inputs }: { readonly inputs: readonly Field[] },
  examples: Examples,
  count: number,
): Map<string, NumericTensor> {
  const have = Math.min(count, examples.count);
  const rows = Uint32Array.from({ length: have }, (_, row) => row);
  return new Map(
    inputs.map((field) => {
      const size = rowSize(field);
      const data = new (elementTypeInfo(field.dtype).array!)(count * size);
      examples.gather(field.name, rows, data);
      for (let row = have; row < count; row++) {
        const from = (row % have) * size;
        data.copyWithin(row * size, from, from + size);
      }
      return [field.name, { dtype: field.dtype, shape: [count, ...field.shape], data }];
    }),
  );
}

function gatherRows(from: Float32Array, size: number, rows: Uint32Array, into: Float32Array): void {
  if (size === 1) {
    for (let i = 0; i < rows.length; i++) into[i] = from[rows[i]!]!;
    return;
  }
  for (let i = 0; i < rows.length; i++) {
    const start = rows[i]! * size;
    into.set(from.subarray(start, start + size), i * size);
  }
}
