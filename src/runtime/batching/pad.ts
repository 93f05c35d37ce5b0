import { elementTypeInfo, isNumeric, type NumericData, type Shape, type Tensor } from "../../tensor/index.js";

/**
 * The tensor with its rows made larger, what is added being its own first element: TensorFlow Serving's rule.
 * @param shape of the same rank and rows, no size smaller; the tensor has at least one element
 */
export function padRows(tensor: Tensor, shape: Shape): Tensor {
  if (shape.every((size, axis) => size === tensor.shape[axis])) return tensor;
  let count = 1;
  for (const size of shape) count *= size;
  if (!isNumeric(tensor)) {
    const source = tensor.data as readonly string[];
    const data = new Array<string>(count).fill(source[0]!);
    copyRuns(tensor.shape, shape, (from, to, length) => {
      for (let i = 0; i < length; i++) data[to + i] = source[from + i]!;
    });
    return { dtype: tensor.dtype, shape, data };
  }
  const source = tensor.data as Float32Array;
  const data = new (elementTypeInfo(tensor.dtype).array!)(count) as Float32Array;
  data.fill(source[0]!);
  copyRuns(tensor.shape, shape, (from, to, length) => data.set(source.subarray(from, from + length), to));
  return { dtype: tensor.dtype, shape, data: data as NumericData };
}

/** The first row again, so many times over. */
export function repeatFirstRow(tensor: Tensor, times: number): Tensor {
  const width = tensor.data.length / tensor.shape[0]!;
  const shape = [times, ...tensor.shape.slice(1)];
  if (!isNumeric(tensor)) {
    const row = (tensor.data as readonly string[]).slice(0, width);
    return { dtype: tensor.dtype, shape, data: Array.from({ length: times }, () => row).flat() };
  }
  const row = (tensor.data as Float32Array).subarray(0, width);
  const data = new (elementTypeInfo(tensor.dtype).array!)(width * times) as Float32Array;
  for (let i = 0; i < times; i++) data.set(row, i * width);
  return { dtype: tensor.dtype, shape, data: data as NumericData };
}

/** Where each run of the innermost dimension lies in the small tensor and in the large one. */
function copyRuns(small: Shape, large: Shape, copy: (from: number, to: number, length: number) => void): void {
  const last = small.length - 1;
  /** @param from, to the indices of the rows above this axis, counted in either tensor */
  const walk = (axis: number, from: number, to: number): void => {
    if (axis === last) copy(from * small[last]!, to * large[last]!, small[last]!);
    else for (let i = 0; i < small[axis]!; i++) walk(axis + 1, from * small[axis]! + i, to * large[axis]! + i);
  };
  walk(0, 0, 0);
}
