// The Open Inference Protocol's raw form of strings: each element behind its length, four bytes little-endian.

/** The elements' UTF-8, one after the other. */
export function encodeLengthPrefixed(texts: readonly string[]): Uint8Array {
  let total = 0;
  for (const text of texts) total += 4 + Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(total);
  let position = 0;
  for (const text of texts) {
    const length = bytes.write(text, position + 4);
    bytes.writeUInt32LE(length, position);
    position += 4 + length;
  }
  return bytes;
}

/**
 * Views of the elements, of which there must be exactly `count`; otherwise a sentence that says what is wrong. Nothing
 * is allocated beyond what the bytes themselves show to be there.
 */
export function decodeLengthPrefixed(bytes: Uint8Array, count: number): Uint8Array[] | string {
  const elements: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = 0;
  while (position < bytes.length) {
    if (position + 4 > bytes.length) {
      return `element ${elements.length} has ${bytes.length - position} bytes of the 4 of its length`;
    }
    const length = view.getUint32(position, true);
    position += 4;
    if (length > bytes.length - position) {
      return `element ${elements.length} says ${length} bytes; ${bytes.length - position} are left`;
    }
    if (elements.length === count) return `more than ${count} elements`;
    elements.push(bytes.subarray(position, position + length));
    position += length;
  }
  return elements.length === count ? elements : `${elements.length} elements; expected ${count}`;
}
