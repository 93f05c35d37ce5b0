// Between elements and the bytes of a message, which lie at any address. Making a view costs more than moving a few
// elements one by one, so small tensors take another way than large ones.
import { bytesOf, type ElementType, type ElementTypeInfo, elementTypes, type NumericData } from "../../tensor/index.js";

const smallBytes = 64;
const scratch = new ArrayBuffer(smallBytes);
const scratchBytes = new Uint8Array(scratch);
/** The scratch memory as each type sees it. */
const scratchViews = new Map<ElementType, NumericData>();
for (const { name, array } of elementTypes) if (array !== undefined) scratchViews.set(name, new array(scratch));

/** Elements from their bytes, bit by bit: a view of them where they lie aligned, a copy where they do not or are few. */
export function readElements(info: ElementTypeInfo, bytes: Uint8Array, start: number, count: number): NumericData {
  const { array, bytesPerElement } = info;
  const size = count * bytesPerElement;
  if (size <= smallBytes) {
    for (let i = 0; i < size; i++) scratchBytes[i] = bytes[start + i]!;
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
    for (let i = 0; i < size; i++) out[pos + i] = scratchBytes[i]!;
  }
  return pos + size;
}
