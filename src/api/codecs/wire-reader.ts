// Reading protobuf's wire format in place, for the messages that are too hot for generated codecs.
// https://protobuf.dev/programming-guides/encoding/

/** The bytes are no protobuf message at all. */
export class WireFormatError extends Error {
  override readonly name = "WireFormatError";
}

/** The low three bits of a tag. */
export const WireType = { varint: 0, fixed64: 1, bytes: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** A field's tag, as the wire has it. */
export function tagOf(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

const maxGroupDepth = 100;

/** A cursor over one message; `end` moves in and out as sub-messages are entered. Every step throws WireFormatError. */
export class WireReader {
  readonly bytes: Uint8Array;
  pos: number;
  end: number;
  /** Where varint64() leaves its halves, both unsigned. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length) {
    this.bytes = bytes;
    this.pos = pos;
    this.end = end;
  }

  /** The next field's tag; 0 at the end of the message. */
  tag(): number {
    if (this.pos >= this.end) return 0;
    const first = this.bytes[this.pos]!;
    if (first < 0x80) {
      this.pos += 1;
      if (first < 8) throw new WireFormatError("a field has number 0");
      return first;
    }
    this.varint64();
    if (this.high !== 0 || this.low < 8) throw new WireFormatError("a field has no valid number");
    return this.low;
  }

  /** The low 32 bits of a varint, unsigned; protobuf's own narrowing of longer ones. */
  uint32(): number {
    const first = this.bytes[this.pos]!;
    if (first < 0x80 && this.pos < this.end) {
      this.pos += 1;
      return first;
    }
    this.varint64();
    return this.low;
  }

  /** A varint as int64; exact within 53 bits, and of the right sign and magnitude beyond. */
  int64AsNumber(): number {
    const first = this.bytes[this.pos]!;
    if (first < 0x80 && this.pos < this.end) {
      this.pos += 1;
      return first;
    }
    this.varint64();
    return (this.high | 0) * 2 ** 32 + this.low;
  }

  int64(): bigint {
    this.varint64();
    return BigInt.asIntN(64, (BigInt(this.high) << 32n) | BigInt(this.low));
  }

  /** Reads a varint into `low` and `high`. */
  varint64(): void {
    const { bytes, end } = this;
    let { pos } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) throw new WireFormatError("a varint goes on past the end");
      const byte = bytes[pos++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else high |= (bits & 1) << 31;
      if (byte < 0x80) {
        this.pos = pos;
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    throw new WireFormatError("a varint has more than 10 bytes");
  }

  /** The length of the bytes that follow, which are there. */
  length(): number {
    const length = this.#uint32Length();
    if (length > this.end - this.pos) throw new WireFormatError("a length goes past the end");
    return length;
  }

  #uint32Length(): number {
    const first = this.bytes[this.pos]!;
    if (first < 0x80 && this.pos < this.end) {
      this.pos += 1;
      return first;
    }
    this.varint64();
    return this.high === 0 ? this.low : Number.POSITIVE_INFINITY;
  }

  /** Goes into a sub-message; `leave` takes what this returns. */
  enter(): number {
    const length = this.length();
    const outer = this.end;
    this.end = this.pos + length;
    return outer;
  }

  leave(outer: number): void {
    this.pos = this.end;
    this.end = outer;
  }

  /** A view of length-delimited bytes. */
  view(): Uint8Array {
    const length = this.length();
    const start = this.pos;
    this.pos += length;
    return this.bytes.subarray(start, this.pos);
  }

  /** Text; what is not UTF-8 becomes U+FFFD. */
  string(): string {
    const length = this.length();
    const start = this.pos;
    this.pos += length;
    return recurringText(this.bytes, start, this.pos);
  }

  /** Steps over the value of a field that nobody asked for. */
  skip(tag: number): void {
    switch (tag & 7) {
      case WireType.varint:
        this.varint64();
        return;
      case WireType.fixed64:
        this.#advance(8);
        return;
      case WireType.bytes: {
        const length = this.length();
        this.pos += length;
        return;
      }
      case WireType.startGroup:
        this.#skipGroup(tag >>> 3);
        return;
      case WireType.fixed32:
        this.#advance(4);
        return;
      default:
        throw new WireFormatError(`a field has wire type ${tag & 7}, which is none here`);
    }
  }

  #advance(length: number): void {
    if (length > this.end - this.pos) throw new WireFormatError("a field goes past the end");
    this.pos += length;
  }

  /** Groups are gone from proto3, but an old client's unknown fields may be groups. */
  #skipGroup(field: number): void {
    const open = [field];
    while (open.length > 0) {
      const tag = this.tag();
      if (tag === 0) throw new WireFormatError("a group does not end");
      const wireType = tag & 7;
      if (wireType === WireType.startGroup) {
        if (open.length === maxGroupDepth)
          throw new WireFormatError(`groups are nested more than ${maxGroupDepth} deep`);
        open.push(tag >>> 3);
      } else if (wireType === WireType.endGroup) {
        if (open.pop() !== tag >>> 3) throw new WireFormatError("a group ends that did not begin");
      } else {
        this.skip(tag);
      }
    }
  }
}

/**
 * Model names and aliases recur with every call: short ones are kept in a table of fixed size, so that no new string is
 * made, and the kept one has its hash for the look-ups that follow.
 */
function recurringText(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return "";
  if (length > maxRecurringBytes) return decodeText(bytes, start, end);
  let hash = length;
  for (let pos = start; pos < end; pos++) hash = (Math.imul(hash, 31) + bytes[pos]!) | 0;
  const slot = (hash ^ (hash >>> 15)) & (slots - 1);
  const kept = keptBytes[slot];
  if (kept !== undefined && kept.length === length) {
    let same = 0;
    while (same < length && kept[same] === bytes[start + same]) same += 1;
    if (same === length) return keptTexts[slot]!;
  }
  keptBytes[slot] = bytes.slice(start, end);
  const text = decodeText(bytes, start, end);
  keptTexts[slot] = text;
  return text;
}

const maxRecurringBytes = 64;
const slots = 512;
const keptBytes: (Uint8Array | undefined)[] = new Array(slots).fill(undefined);
const keptTexts: string[] = new Array(slots).fill("");

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString();
}
