// Rows of several calls in one tensor, and back. Both calls of this file touch every byte of a batch: joining copies
// each row once, splitting copies nothing.
import { bytesOf, elementTypeInfo, isNumeric, type NumericData, RawTensor, type Tensor } from "../../tensor/index.js";

/** Bytes that concatRows() of these tensors fills; 0 for strings. */
export function concatBytes(tensors: readonly Tensor[]): number {
  const { bytesPerElement } = elementTypeInfo(tensors[0]!.dtype);
  let elements = 0;
  for (const tensor of tensors) elements += lengthOf(tensor);
  return elements * bytesPerElement;
}

/**
 * The tensors one below the other: same type, same sizes beyond the first dimension, at least one of them.
 * @param memory at least concatBytes(), for the elements to go to; undefined: memory of their own
 */
export function concatRows(tensors: readonly Tensor[], memory?: ArrayBuffer): Tensor {
  const first = tensors[0]!;
  let rows = 0;
  for (const { shape } of tensors) rows += shape[0]!;
  const shape = [rows, ...first.shape.slice(1)];
  if (!isNumeric(first)) {
    return { dtype: first.dtype, shape, data: tensors.flatMap(({ data }) => data as readonly string[]) };
  }
  const { array, bytesPerElement } = elementTypeInfo(first.dtype);
  const bytes = concatBytes(tensors);
  const buffer = memory ?? Buffer.allocUnsafeSlow(bytes).buffer;
  const data = new array!(buffer, 0, bytes / bytesPerElement);
  const raw = new Uint8Array(buffer, 0, bytes);
  let offset = 0;
  for (const tensor of tensors) {
    if (tensor instanceof RawTensor) tensor.copyTo(raw, offset * bytesPerElement);
    else copyInto(data, tensor.data as NumericData, offset);
    offset += lengthOf(tensor);
  }
  return { dtype: first.dtype, shape, data };
}

/** Elements of a tensor, without asking a raw one for its data. */
function lengthOf(tensor: Tensor): number {
  return tensor instanceof RawTensor ? tensor.length : tensor.data.length;
}

/** The rows of a batch as its calls' tensors: views of the batch, in the order and of the sizes given. */
export function splitRows(batch: Tensor, sizes: readonly number[]): Tensor[] {
  const rest = batch.shape.slice(1);
  let width = 1;
  for (const size of rest) width *= size;
  const { dtype } = batch;
  const bytes = isNumeric(batch) ? bytesOf(batch.data) : undefined;
  const rowBytes = width * elementTypeInfo(dtype).bytesPerElement;
  // Most calls ask for one row, and shapes are not written to.
  const ofOne = [1, ...rest];
  const tensors = new Array<Tensor>(sizes.length);
  let row = 0;
  for (let index = 0; index < sizes.length; index++) {
    const rows = sizes[index]!;
    const shape = rows === 1 ? ofOne : [rows, ...rest];
    tensors[index] =
      bytes === undefined
        ? { dtype, shape, data: (batch.data as readonly string[]).slice(row * width, (row + rows) * width) }
        : new RawTensor(dtype, shape, bytes, row * rowBytes, rows * width);
    row += rows;
  }
  return tensors;
}

/** One type's set() at a time: the union of all arrays has no common one. */
function copyInto(target: NumericData, source: NumericData, offset: number): void {
  (target as Float32Array).set(source as Float32Array, offset);
}
