// Writing protobuf's wire format into one buffer of the exact size: first the sizes, then the bytes.

/** Bytes of a varint of up to 32 bits, unsigned. */
export function varint32Size(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/** Bytes of a varint of 64 bits given in halves, both unsigned. */
export function varint64Size(low: number, high: number): number {
  if (high === 0) return varint32Size(low);
  if (high < 0x8) return 5;
  if (high < 0x400) return 6;
  if (high < 0x2_0000) return 7;
  if (high < 0x100_0000) return 8;
  return high < 0x8000_0000 ? 9 : 10;
}

/** Bytes of a whole number from 0 to 2^53 as a varint. */
export function sizeSize(value: number): number {
  return varint64Size(value >>> 0, Math.floor(value / 2 ** 32));
}

/** Bytes of a length-delimited field: its tag (of a field number below 16), its length, itself. */
export function fieldSize(length: number): number {
  return 1 + varint32Size(length) + length;
}

export function writeVarint32(out: Uint8Array, pos: number, value: number): number {
  let at = pos;
  let rest = value;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

export function writeVarint64(out: Uint8Array, pos: number, low: number, high: number): number {
  let at = pos;
  let lowRest = low;
  let highRest = high;
  while (highRest !== 0) {
    out[at++] = (lowRest & 0x7f) | 0x80;
    lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0;
    highRest >>>= 7;
  }
  return writeVarint32(out, at, lowRest);
}

/** Writes a whole number from 0 to 2^53. */
export function writeSize(out: Uint8Array, pos: number, value: number): number {
  return writeVarint64(out, pos, value >>> 0, Math.floor(value / 2 ** 32));
}
