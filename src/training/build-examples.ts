import { byteLength, type NumericTensor, type Tensor } from "../tensor/index.js";
import type { AnsweredRows } from "./answered-rows.js";
import type { FittedTarget } from "./data/fit-target.js";
import { ExampleStore, type ExampleStoreOptions } from "./example-store.js";
import { type Field, targetField, weightField } from "./examples.js";
import type { FrozenPrefix } from "./frozen-prefix.js";

/** Runs every row through the frozen part of a model, once, and keeps what comes out beside the answers. */
export function buildExamples(
  rows: AnsweredRows,
  prefix: FrozenPrefix,
  options: ExampleStoreOptions = {},
): ExampleStore {
  const { target, weighted } = rows;
  const fields: Field[] = [...prefix.fields, { ...target, name: targetField }];
  if (weighted) fields.push({ name: weightField, dtype: "float32", shape: [] });
  const store = new ExampleStore(fields, options);
  for (const feeds of rows.rows.batches(rowsAtOnce(rows.rows.first(1)))) {
    const tensors: Map<string, NumericTensor> = prefix.run(feeds);
    const [count] = [...feeds.values()][0]!.shape as [number];
    const { targets, weights } = rows.answers(store.count, store.count + count);
    tensors.set(targetField, { dtype: target.dtype, shape: [count, ...target.shape], data: targets });
    if (weights !== undefined) tensors.set(weightField, { dtype: "float32", shape: [count], data: weights });
    store.append(tensors);
  }
  return store;
}

/** How many rows like one are run at once: few enough for what a model makes of them to stay small. */
export function rowsAtOnce(one: ReadonlyMap<string, Tensor>): number {
  const bytes = [...one.values()].reduce((sum, tensor) => sum + byteLength(tensor), 0);
  return Math.min(256, Math.max(1, Math.floor(atOnceBytes / bytes)));
}

const atOnceBytes = 16 * 1024 * 1024;

/** The field that a fitted target makes for a loss: a class number, a probability of the second class, a number. */
export function targetFieldOf(target: FittedTarget, sparse: boolean): Field {
  const dtype = target.kind === "classes" && sparse ? "int64" : "float32";
  return { name: targetField, dtype, shape: target.kind === "classes" && sparse ? [] : [1] };
}
