import { invalidArgument } from "../status.js";
import { type ElementType, elementTypeInfo, type NumericData } from "./dtype.js";
import { RawTensor } from "./raw-tensor.js";

/** Sizes of the dimensions, outermost first; [] is a scalar. */
export type Shape = readonly number[];

/**
 * A value: elements in row-major order. `data` holds exactly the product of `shape` elements. Strings are well-formed
 * text without NUL, the only strings that onnxruntime carries unchanged; the doors refuse all others.
 * Nobody writes to a tensor's data once it has been handed on.
 */
export interface Tensor {
  readonly dtype: ElementType;
  readonly shape: Shape;
  readonly data: NumericData | readonly string[];
}

export type NumericTensor = Tensor & { readonly data: NumericData };

export function isNumeric(tensor: Tensor): tensor is NumericTensor {
  return tensor.dtype !== "string";
}

/** Elements in a tensor of that shape, or undefined when a size is negative or the product is not a safe integer. */
export function elementCount(shape: Shape): number | undefined {
  let count = 1;
  let empty = false;
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0) return undefined;
    if (size === 0) empty = true;
    else count *= size;
  }
  if (empty) return 0;
  return count > Number.MAX_SAFE_INTEGER ? undefined : count;
}

/** Bytes of the elements; for strings, two a UTF-16 unit: what they weigh here, not on the wire. */
export function byteLength(tensor: Tensor): number {
  if (tensor instanceof RawTensor) return tensor.byteLength;
  if (isNumeric(tensor)) return tensor.data.byteLength;
  let bytes = 0;
  for (const text of tensor.data as readonly string[]) bytes += 2 * text.length;
  return bytes;
}

/**
 * The bytes as an array of their type: a view where they lie aligned, one copy where they do not.
 * The length must be a whole number of elements.
 */
export function viewAs(dtype: ElementType, bytes: Uint8Array): NumericData {
  const { array, bytesPerElement } = elementTypeInfo(dtype);
  if (array === undefined) throw invalidArgument(`tensors of type ${dtype} have no memory form here`);
  const aligned = bytes.byteOffset % bytesPerElement === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer, aligned.byteOffset, aligned.byteLength / bytesPerElement);
}

/** "[2,3]", as TensorFlow writes shapes. */
export function formatShape(shape: readonly (number | string | undefined)[]): string {
  return `[${shape.map((size) => size ?? "?").join(",")}]`;
}
