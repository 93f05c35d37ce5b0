import type { NumericTensor } from "../tensor/index.js";
import type { FittedTarget } from "./data/fit-target.js";
import { ExampleStore, type ExampleStoreOptions } from "./example-store.js";
import { type Field, targetField, weightField } from "./examples.js";
import type { FrozenPrefix } from "./frozen-prefix.js";
import { numbers } from "./graph-emitter.js";
import type { RawRows } from "./raw-rows.js";

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
