import type { NumericTensor, Tensor } from "../tensor/index.js";
import { encodeCells } from "./data/encode-cells.js";
import type { FittedTarget } from "./data/fit-target.js";
import type { Preparation } from "./data/preparation.js";
import type { Cell, Table } from "./data/table.js";
import { ExampleStore, type ExampleStoreOptions } from "./example-store.js";
import { type Field, targetField, weightField } from "./examples.js";
import type { FrozenPrefix } from "./frozen-prefix.js";
import { numbers } from "./graph-emitter.js";

/** Rows as a model takes them, some at a time, from the first to the last. */
export interface RawRows {
  batches(size: number): Iterable<ReadonlyMap<string, Tensor>>;
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

  #encode(rows: readonly (readonly Cell[])[], first: number): Map<string, Tensor> {
    return new Map(
      this.#preparation.columns.map((column) => {
        const place = this.#table.columns.indexOf(column.name);
        return [
          column.name,
          encodeCells(
            column,
            rows.map((cells) => cells[place]!),
            first,
          ),
        ];
      }),
    );
  }
}

/** What belongs to each row besides what the model takes. */
export interface RowAnswers {
  /** Row by row. */
  readonly targets: Float64Array;
  readonly target: Field;
  readonly weights: Float32Array | undefined;
}

/** Runs every row through the frozen part of a model, once, and keeps what comes out beside the answers. */
export function buildExamples(
  rows: RawRows,
  prefix: FrozenPrefix,
  { targets, target, weights }: RowAnswers,
  options: ExampleStoreOptions = {},
): ExampleStore {
  const fields: Field[] = [...prefix.fields, target];
  if (weights !== undefined) fields.push({ name: weightField, dtype: "float32", shape: [] });
  const store = new ExampleStore(fields, options);
  const targetSize = target.shape.reduce((all, size) => all * size, 1);
  for (const feeds of rows.batches(rowsAtOnce)) {
    const tensors = prefix.run(feeds);
    const [count] = [...feeds.values()][0]!.shape as [number];
    const first = store.count;
    const own = targets.subarray(first * targetSize, (first + count) * targetSize);
    tensors.set(targetField, {
      dtype: target.dtype,
      shape: [count, ...target.shape],
      data: numbers(target.dtype, Array.from(own)),
    });
    if (weights !== undefined) {
      const some: NumericTensor = { dtype: "float32", shape: [count], data: weights.subarray(first, first + count) };
      tensors.set(weightField, some);
    }
    store.append(tensors);
  }
  return store;
}

const rowsAtOnce = 256;

/** The field that a fitted target makes for a loss: a class number, a probability of the second class, a number. */
export function targetFieldOf(target: FittedTarget, sparse: boolean): Field {
  const dtype = target.kind === "classes" && sparse ? "int64" : "float32";
  return { name: targetField, dtype, shape: target.kind === "classes" && sparse ? [] : [1] };
}
