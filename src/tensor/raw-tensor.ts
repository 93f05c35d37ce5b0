import { type ElementType, elementTypeInfo, type NumericData } from "./dtype.js";
import type { Shape, Tensor } from "./tensor.js";

/**
 * A tensor whose elements lie somewhere in a message, at an address that is none for their type. It is copied once: by
 * whoever first asks for its data, or straight to where they are wanted.
 */
export class RawTensor implements Tensor {
  readonly dtype: ElementType;
  readonly shape: Shape;
  /** The message, which does not change any more. */
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #count: number;
  #data: NumericData | undefined;

  constructor(dtype: ElementType, shape: Shape, bytes: Uint8Array, start: number, count: number) {
    this.dtype = dtype;
    this.shape = shape;
    this.#bytes = bytes;
    this.#start = start;
    this.#count = count;
  }

  get length(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#count * elementTypeInfo(this.dtype).bytesPerElement;
  }

  get data(): NumericData {
    this.#data ??= this.copy();
    return this.#data;
  }

  /** Another copy each time, with a buffer of its own, which the caller may do with as it likes. */
  copy(): NumericData {
    const { array } = elementTypeInfo(this.dtype);
    const copy = Buffer.allocUnsafeSlow(this.byteLength); // not zeroed first
    this.copyTo(copy, 0);
    return new array!(copy.buffer, copy.byteOffset, this.#count);
  }

  copyTo(target: Uint8Array, at: number): void {
    target.set(this.#bytes.subarray(this.#start, this.#start + this.byteLength), at);
  }
}
