// Between elements and bytes that lie at any address. Making a view, or calling set(), costs more than moving a few bytes
// one by one, so what is small takes another way than what is large.
import { type ElementType, type ElementTypeInfo, elementTypes, type NumericData } from "./dtype.js";

const smallBytes = 64;
const scratch = new ArrayBuffer(smallBytes);
const scratchBytes = new Uint8Array(scratch);
/** The scratch memory as each type sees it. */
const scratchViews = new Map<ElementType, NumericData>();
for (const { name, array } of elementTypes) if (array !== undefined) scratchViews.set(name, new array(scratch));

/** The bytes under the elements, without a copy. */
export function bytesOf(data: NumericData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Copies source[start, end) to the target. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  if (end - start > smallBytes) {
    target.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
    return;
  }
  for (let from = start, to = at; from < end; from++, to++) target[to] = source[from]!;
}

/** Elements from their bytes, bit by bit: a view of them where they lie aligned, a copy where they do not or are few. */
export function readElements(info: ElementTypeInfo, bytes: Uint8Array, start: number, count: number): NumericData {
  const { array, bytesPerElement } = info;
  const size = count * bytesPerElement;
  if (size <= smallBytes) {
    copyBytes(bytes, start, start + size, scratchBytes, 0);
    return scratchViews.get(info.name)!.slice(0, count);
  }
  const offset = bytes.byteOffset + start;
  if (offset % bytesPerElement === 0) return new array!(bytes.buffer, offset, count);
  const copy = Buffer.allocUnsafeSlow(size); // a buffer of its own, and not zeroed first
  copy.set(bytes.subarray(start, start + size));
  return new array!(copy.buffer, copy.byteOffset, count);
}

/** Writes the elements' bytes, and returns the position after them. */
export function writeElements(out: Uint8Array, pos: number, dtype: ElementType, data: NumericData): number {
  const size = data.byteLength;
  if (size > smallBytes) {
    out.set(bytesOf(data), pos);
  } else {
    (scratchViews.get(dtype) as Float32Array).set(data as Float32Array);
    copyBytes(scratchBytes, 0, size, out, pos);
  }
  return pos + size;
}
