// Rows of several calls in one tensor, and back. Both calls of this file touch every byte of a batch: joining copies
// each row once, splitting copies nothing.
import { elementTypeInfo, isNumeric, type NumericData, type Tensor } from "../../tensor/index.js";

/** The tensors one below the other: same type, same sizes beyond the first dimension, at least one of them. */
export function concatRows(tensors: readonly Tensor[]): Tensor {
  const first = tensors[0]!;
  let rows = 0;
  let elements = 0;
  for (const { shape, data } of tensors) {
    rows += shape[0]!;
    elements += data.length;
  }
  const shape = [rows, ...first.shape.slice(1)];
  if (!isNumeric(first)) {
    return { dtype: first.dtype, shape, data: tensors.flatMap(({ data }) => data as readonly string[]) };
  }
  const data = new (elementTypeInfo(first.dtype).array!)(elements);
  let offset = 0;
  for (const tensor of tensors) {
    copyInto(data, tensor.data as NumericData, offset);
    offset += tensor.data.length;
  }
  return { dtype: first.dtype, shape, data };
}

/** The rows of a batch as its calls' tensors: views of the batch, in the order and of the sizes given. */
export function splitRows(batch: Tensor, sizes: readonly number[]): Tensor[] {
  const rest = batch.shape.slice(1);
  let width = 1;
  for (const size of rest) width *= size;
  let row = 0;
  return sizes.map((rows) => {
    const [from, to] = [row * width, (row + rows) * width];
    row += rows;
    const data = isNumeric(batch) ? batch.data.subarray(from, to) : (batch.data as readonly string[]).slice(from, to);
    return { dtype: batch.dtype, shape: [rows, ...rest], data };
  });
}

/** One type's set() at a time: the union of all arrays has no common one. */
function copyInto(target: NumericData, source: NumericData, offset: number): void {
  (target as Float32Array).set(source as Float32Array, offset);
}
