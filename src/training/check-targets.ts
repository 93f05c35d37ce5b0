import { invalidArgument } from "../status.js";
import { elementTypeInfo, formatShape, type NumericData } from "../tensor/index.js";
import { sameRows } from "./batch-feeds.js";
import { type Examples, type Field, fieldOf, rowSize, targetField } from "./examples.js";
import type { Task } from "./metrics.js";
import type { TrainingOptions } from "./training-options.js";

/** Throws INVALID_ARGUMENT when rows have other targets than a model and its loss take. */
export function requireTargets(examples: Examples, target: Field, { loss }: TrainingOptions): void {
  if (sameRows(examples, targetField, target)) return;
  const given = fieldOf(examples, targetField);
  throw invalidArgument(
    `${loss.kind} wants targets of ${target.dtype} ${formatShape(target.shape)} a row for this model; ` +
      `the rows have ${given.dtype} ${formatShape(given.shape)}`,
  );
}

/**
 * Every target must be one that the model can give: an index beyond the end would be read from its other side.
 * Throws INVALID_ARGUMENT naming the row.
 */
export function requireClasses(examples: Examples, target: Field, task: Task): void {
  if (task.kind === "regression") return;
  const size = rowSize(target);
  const buffer = new (elementTypeInfo(target.dtype).array!)(checkedRows * size);
  const sparse = target.dtype === "int64";
  const highest = sparse && task.kind === "multiclass" ? task.classes - 1 : 1;
  for (let start = 0; start < examples.count; start += checkedRows) {
    const count = Math.min(checkedRows, examples.count - start);
    const rows = Uint32Array.from({ length: count }, (_, row) => start + row);
    examples.gather(targetField, rows, buffer.subarray(0, count * size) as NumericData);
    for (let i = 0; i < count * size; i++) {
      const value = Number(buffer[i]);
      if (value >= 0 && value <= highest) continue;
      const what = sparse
        ? `class ${value}; the model knows 0 to ${highest}`
        : `target ${value}; it must be from 0 to 1`;
      throw invalidArgument(`${examples.nameOf(start + Math.floor(i / size))} has ${what}`);
    }
  }
}

const checkedRows = 1024;
