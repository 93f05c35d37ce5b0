// The tight loops between packed varints and typed arrays. A chunk is the payload of one packed field, or one unpacked
// value; its last byte ends a varint, which the caller has seen to, so that no loop looks for the chunk's end in a value.
import { invalidArgument } from "../../status.js";
import type { NumericData } from "../../tensor/index.js";
import { varint32Size, varint64Size, writeVarint32, writeVarint64 } from "./wire-writer.js";

/** Arrays whose elements are the low bits of a varint: storing narrows as TensorFlow does. */
export type NarrowArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

/** Values in a chunk. */
export function countVarints(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let pos = start; pos < end; pos++) if (bytes[pos]! < 0x80) count += 1;
  return count;
}

/**
 * Reads varints into out[from..to), as many as there are; the low 32 bits of each, narrowed by the array.
 * @returns the index after the last one written
 */
export function readNarrow(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: NarrowArray,
  from: number,
  to: number,
): number {
  let pos = start;
  let index = from;
  while (pos < end && index < to) {
    let byte = bytes[pos++]!;
    let value = byte & 0x7f;
    if (byte > 0x7f) {
      byte = bytes[pos++]!;
      value |= (byte & 0x7f) << 7;
      if (byte > 0x7f) {
        byte = bytes[pos++]!;
        value |= (byte & 0x7f) << 14;
        if (byte > 0x7f) {
          byte = bytes[pos++]!;
          value |= (byte & 0x7f) << 21;
          if (byte > 0x7f) {
            byte = bytes[pos++]!;
            value |= byte << 28;
            if (byte > 0x7f) pos = endOfVarint(bytes, pos);
          }
        }
      }
    }
    out[index++] = value;
  }
  return index;
}

/** As readNarrow, for 64-bit elements; `out` has two halves for each, the low one first. */
export function readWide(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint32Array,
  from: number,
  to: number,
): number {
  let pos = start;
  let index = from;
  while (pos < end && index < to) {
    let byte = bytes[pos++]!;
    let low = byte & 0x7f;
    let high = 0;
    if (byte > 0x7f) {
      let shift = 7;
      do {
        byte = bytes[pos++]!;
        const bits = byte & 0x7f;
        if (shift < 28) low |= bits << shift;
        else if (shift === 28) {
          low |= bits << 28;
          high = bits >> 4;
        } else if (shift < 70) high |= shift === 63 ? bits << 31 : bits << (shift - 32);
        else throw tooLong();
        shift += 7;
      } while (byte > 0x7f);
    }
    out[2 * index] = low;
    out[2 * index + 1] = high;
    index += 1;
  }
  return index;
}

/** As readNarrow, for bools: every varint that is not 0 is 1. */
export function readBools(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  from: number,
  to: number,
): number {
  let pos = start;
  let index = from;
  while (pos < end && index < to) {
    const first = pos;
    let byte = bytes[pos++]!;
    let bits = byte & 0x7f;
    while (byte > 0x7f) {
      if (pos - first === 10) throw tooLong();
      byte = bytes[pos++]!;
      bits |= byte & 0x7f;
    }
    out[index++] = bits === 0 ? 0 : 1;
  }
  return index;
}

/** Steps over what a 64-bit encoding of a negative number has beyond its low 32 bits. */
function endOfVarint(bytes: Uint8Array, from: number): number {
  let pos = from;
  for (let more = 5; more > 0; more--) if (bytes[pos++]! < 0x80) return pos;
  throw tooLong();
}

function tooLong() {
  return invalidArgument("a varint among the values has more than 10 bytes");
}

/** Bytes of the elements as packed varints, as int32, uint32 or bool fields have them: negative numbers take ten. */
export function narrowSize(data: NarrowArray): number {
  let size = 0;
  if (data instanceof Int8Array || data instanceof Int16Array || data instanceof Int32Array) {
    for (let i = 0; i < data.length; i++) {
      const value = data[i]!;
      size += value < 0 ? 10 : varint32Size(value);
    }
  } else {
    for (let i = 0; i < data.length; i++) size += varint32Size(data[i]!);
  }
  return size;
}

export function writeNarrow(out: Uint8Array, start: number, data: NarrowArray): number {
  let pos = start;
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (value >= 0 && value < 0x80) out[pos++] = value;
    else if (value >= 0) pos = writeVarint32(out, pos, value);
    else pos = writeVarint64(out, pos, value >>> 0, 0xffff_ffff);
  }
  return pos;
}

/** Bytes of the elements as packed varints, as int64 and uint64 fields have them. */
export function wideSize(data: BigInt64Array | BigUint64Array): number {
  const halves = halvesOf(data);
  let size = 0;
  for (let i = 0; i < halves.length; i += 2) size += varint64Size(halves[i]!, halves[i + 1]!);
  return size;
}

export function writeWide(out: Uint8Array, start: number, data: BigInt64Array | BigUint64Array): number {
  const halves = halvesOf(data);
  let pos = start;
  for (let i = 0; i < halves.length; i += 2) {
    const low = halves[i]!;
    const high = halves[i + 1]!;
    if (high === 0 && low < 0x80) out[pos++] = low;
    else pos = writeVarint64(out, pos, low, high);
  }
  return pos;
}

/** A 64-bit array as its 32-bit halves, the low ones first: no BigInt is made. */
export function halvesOf(data: NumericData): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}
