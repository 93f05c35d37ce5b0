import { type ElementType, elementTypeInfo, type NumericData } from "./dtype.js";
import { copyBytes, readElements } from "./element-bytes.js";
import type { Shape, Tensor } from "./tensor.js";

/**
 * A tensor whose elements lie somewhere in other bytes: an input in its message, a call's rows in the output of a batch.
 * No array is made of them before somebody asks for its data; most are only copied on to where they are wanted.
 */
export class RawTensor implements Tensor {
  readonly dtype: ElementType;
  readonly shape: Shape;
  /** The bytes around it, which do not change any more. */
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #count: number;
  #data: NumericData | undefined;

  /** @param start of the first element, in bytes; at any address */
  constructor(dtype: ElementType, shape: Shape, bytes: Uint8Array, start: number, count: number) {
    this.dtype = dtype;
    this.shape = shape;
    this.#bytes = bytes;
    this.#start = start;
    this.#count = count;
  }

  /** Elements. */
  get length(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#count * elementTypeInfo(this.dtype).bytesPerElement;
  }

  /** A view where the elements lie aligned, a copy where they do not or are few. */
  get data(): NumericData {
    this.#data ??= readElements(elementTypeInfo(this.dtype), this.#bytes, this.#start, this.#count);
    return this.#data;
  }

  /** The elements lie where their type may: data is no copy. */
  get isAligned(): boolean {
    return (this.#bytes.byteOffset + this.#start) % elementTypeInfo(this.dtype).bytesPerElement === 0;
  }

  /** Another copy each time, with a buffer of its own, which the caller may do with as it likes. */
  copy(): NumericData {
    const { array } = elementTypeInfo(this.dtype);
    const copy = Buffer.allocUnsafeSlow(this.byteLength); // not zeroed first
    this.copyTo(copy, 0);
    return new array!(copy.buffer, copy.byteOffset, this.#count);
  }

  copyTo(target: Uint8Array, at: number): void {
    copyBytes(this.#bytes, this.#start, this.#start + this.byteLength, target, at);
  }
}
