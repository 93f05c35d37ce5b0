// The classification extension: instead of a tensor, its best elements as strings "value:index" or "value:index:label".
import { invalidArgument } from "../../status.js";
import { elementTypeInfo, type NumericData, type Tensor } from "../../tensor/index.js";
import type { OutputView } from "./model-view.js";

/** Elements of a tensor that is sorted for a client, at most. */
const maxElements = 1_000_000;

/**
 * @param hasBatch whether the first dimension is the batch: each row is then classified on its own
 * @throws INVALID_ARGUMENT for tensors of a type without such an order, and for gigantic ones
 */
export function classify(tensor: Tensor, count: number, hasBatch: boolean, { labels }: OutputView): Tensor {
  const { dtype, data, shape } = tensor;
  if (dtype === "string" || dtype === "bool" || dtype === "float16" || dtype === "bfloat16") {
    const type = elementTypeInfo(dtype).openInference;
    throw invalidArgument(`class result not available for output due to unsupported type '${type}'`);
  }
  const rows = hasBatch ? (shape[0] ?? 1) : 1;
  const perRow = rows === 0 ? 0 : data.length / rows;
  if (perRow > maxElements) throw invalidArgument("classification output tensor too large");
  const kept = Math.min(count, perRow);
  const isFloat = dtype === "float32" || dtype === "float64";
  const texts: string[] = [];
  for (let row = 0; row < rows; row++) {
    const values = (data as NumericData).subarray(row * perRow, (row + 1) * perRow);
    for (const index of bestIndices(values, kept)) {
      const value = values[index]!;
      const label = labels?.[index];
      const text = isFloat ? sixDecimals(value as number) : String(value);
      texts.push(label === undefined ? `${text}:${index}` : `${text}:${index}:${label}`);
    }
  }
  return { dtype: "string", shape: hasBatch ? [rows, kept] : [kept], data: texts };
}

/** The highest value first, of equal ones the lower index; values that are not numbers come last. */
function bestIndices(values: NumericData, count: number): readonly number[] {
  const indices = Array.from({ length: values.length }, (_, index) => index);
  indices.sort((a, b) => {
    const [x, y] = [values[a]!, values[b]!];
    if (x > y) return -1;
    if (x < y) return 1;
    if (x === y) return a - b;
    return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
  });
  return indices.slice(0, count);
}

/** As C's %f. */
function sixDecimals(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  // Beyond 1e21 toFixed turns to exponents; such numbers are whole.
  return Math.abs(value) < 1e21 ? value.toFixed(6) : `${BigInt(value)}.000000`;
}
