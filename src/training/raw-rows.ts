import { invalidArgument } from "../status.js";
import { elementTypeInfo, formatShape, isNumeric, type NumericData, type Tensor } from "../tensor/index.js";
import { encodeCells } from "./data/encode-cells.js";
import type { Preparation } from "./data/preparation.js";
import type { Cell, Table } from "./data/table.js";

/** Rows as a whole model takes them. */
export interface RawRows {
  /** All of them, some at a time, from the first to the last. */
  batches(size: number): Iterable<ReadonlyMap<string, Tensor>>;
  /** So many: the first ones, again and again where there are fewer. */
  first(count: number): Map<string, Tensor>;
}

/** The rows of a table, through the columns that a preparation knows. */
export class TableRows implements RawRows {
  readonly #table: Table;
  readonly #preparation: Preparation;

  constructor(table: Table, preparation: Preparation) {
    this.#table = table;
    this.#preparation = preparation;
  }

  *batches(size: number): Generator<Map<string, Tensor>> {
    let waiting: (readonly Cell[])[] = [];
    let first = 0;
    for (const cells of this.#table.rows()) {
      waiting.push(cells);
      if (waiting.length === size) {
        yield this.#encode(waiting, first);
        first += size;
        waiting = [];
      }
    }
    if (waiting.length > 0) yield this.#encode(waiting, first);
  }

  first(count: number): Map<string, Tensor> {
    for (const batch of this.batches(count)) return repeatRows(batch, count);
    throw invalidArgument("the table has no rows");
  }

  #encode(rows: readonly (readonly Cell[])[], first: number): Map<string, Tensor> {
    return new Map(
      this.#preparation.columns.map((column) => {
        const place = this.#table.columns.indexOf(column.name);
        const cells = rows.map((row) => row[place]!);
        return [column.name, encodeCells(column, cells, first)];
      }),
    );
  }
}

/** Rows that are in memory as tensors: one an input, its first axis the rows. */
export class TensorRows implements RawRows {
  readonly count: number;
  readonly #tensors: ReadonlyMap<string, Tensor>;

  /** Throws INVALID_ARGUMENT when the tensors have no rows, or not as many. */
  constructor(tensors: ReadonlyMap<string, Tensor>) {
    const [first] = tensors;
    if (first === undefined) throw invalidArgument("there are no inputs");
    this.count = first[1].shape[0] ?? 0;
    for (const [name, { shape }] of tensors) {
      if (shape.length === 0 || shape[0] !== this.count) {
        throw invalidArgument(`"${first[0]}" has ${this.count} rows; "${name}" is of shape ${formatShape(shape)}`);
      }
    }
    if (this.count === 0) throw invalidArgument("there are no rows");
    this.#tensors = tensors;
  }

  *batches(size: number): Generator<Map<string, Tensor>> {
    for (let start = 0; start < this.count; start += size)
      yield rowsOf(this.#tensors, start, Math.min(start + size, this.count));
  }

  first(count: number): Map<string, Tensor> {
    return repeatRows(rowsOf(this.#tensors, 0, Math.min(count, this.count)), count);
  }
}

function rowsOf(tensors: ReadonlyMap<string, Tensor>, start: number, end: number): Map<string, Tensor> {
  return new Map(
    [...tensors].map(([name, { dtype, shape, data }]) => {
      const size = shape.slice(1).reduce((all, axis) => all * axis, 1);
      return [name, { dtype, shape: [end - start, ...shape.slice(1)], data: data.slice(start * size, end * size) }];
    }),
  );
}

function repeatRows(tensors: ReadonlyMap<string, Tensor>, count: number): Map<string, Tensor> {
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const { dtype, shape } = tensor;
      const rows = shape[0]!;
      if (rows === count) return [name, tensor];
      const size = shape.slice(1).reduce((all, axis) => all * axis, 1);
      const place = (i: number) => (Math.floor(i / size) % rows) * size + (i % size);
      const repeated = [count, ...shape.slice(1)];
      if (!isNumeric(tensor)) {
        const words = tensor.data as readonly string[];
        return [
          name,
          { dtype, shape: repeated, data: Array.from({ length: count * size }, (_, i) => words[place(i)]!) },
        ];
      }
      const data: NumericData = new (elementTypeInfo(dtype).array!)(count * size);
      for (let i = 0; i < data.length; i++) data[i] = tensor.data[place(i)]!;
      return [name, { dtype, shape: repeated, data }];
    }),
  );
}
