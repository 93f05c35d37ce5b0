import { invalidArgument } from "../status.js";
import { elementTypeInfo, isNumeric, type NumericData, type Tensor } from "../tensor/index.js";
import { encodeCells } from "./data/encode-cells.js";
import type { FittedColumn, Preparation } from "./data/preparation.js";
import type { Cell, Table } from "./data/table.js";
import type { TensorSet } from "./tensor-set.js";

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
  readonly #columns: readonly { readonly column: FittedColumn; readonly place: number }[];

  constructor(table: Table, { columns }: Preparation) {
    this.#table = table;
    const places = new Map(table.columns.map((name, place) => [name, place]));
    this.#columns = columns.map((column) => ({ column, place: places.get(column.name)! }));
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
      this.#columns.map(({ column, place }) => {
        const cells = rows.map((row) => row[place]!);
        return [column.name, encodeCells(column, cells, first)];
      }),
    );
  }
}

/** Rows of a set of tensors. */
export class TensorRows implements RawRows {
  readonly #set: TensorSet;
  readonly #check: (inputs: ReadonlyMap<string, Tensor>, firstRow: number) => void;

  /** @param check throws when rows are not what the model takes; asked of all of them, as they are read */
  constructor(set: TensorSet, check: (inputs: ReadonlyMap<string, Tensor>, firstRow: number) => void) {
    if (set.count === 0) throw invalidArgument("there are no rows");
    this.#set = set;
    this.#check = check;
  }

  *batches(size: number): Generator<Map<string, Tensor>> {
    const { count } = this.#set;
    for (let first = 0; first < count; first += size) yield this.read(first, Math.min(first + size, count));
  }

  first(count: number): Map<string, Tensor> {
    return repeatRows(this.read(0, Math.min(count, this.#set.count)), count);
  }

  /** The rows from `first` up to `end`, which is not among them. */
  read(first: number, end: number): Map<string, Tensor> {
    const inputs = this.#set.readInputs(first, end);
    this.#check(inputs, first);
    return inputs;
  }
}

/** So many rows: the first ones, again and again where there are fewer. */
export function repeatRows(tensors: ReadonlyMap<string, Tensor>, count: number): Map<string, Tensor> {
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
