// The wire format of protobuf, as far as reading over and patching a model file needs it.

/**
 * Steps over the fields of one protobuf message as they lie in the file, without decoding them. Stricter than the
 * generated decoders, which stop at a zero tag and let a field run past its message: what this cursor accepts, every
 * protobuf library reads alike.
 */
export class WireCursor {
  readonly bytes: Uint8Array;
  readonly end: number;
  /** The field stepped onto: its number and wire type, where its tag starts, where its value starts and ends. */
  number = 0;
  wireType = 0;
  tagStart = 0;
  valueStart = 0;
  valueEnd: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.end = end;
    this.valueEnd = start;
  }

  /** Steps onto the next field; false at the end. Throws an Error that says what is wrong with the bytes. */
  next(): boolean {
    this.tagStart = this.valueEnd;
    if (this.tagStart === this.end) return false;
    this.#position = this.tagStart;
    const tag = this.#varint();
    this.number = Math.floor(tag / 8);
    this.wireType = tag % 8;
    if (this.number === 0 || this.number >= 2 ** 29) throw new Error(`no field has the number ${this.number}`);
    this.valueStart = this.#position;
    this.valueEnd = this.#findValueEnd();
    if (this.valueEnd > this.end) throw new Error(`field ${this.number} runs past the end of its message`);
    return true;
  }

  #position = 0;

  #findValueEnd(): number {
    switch (this.wireType) {
      case 0:
        this.#varint();
        return this.#position;
      case 1:
        return this.valueStart + 8;
      case 2: {
        const length = this.#varint();
        // The value starts behind its length.
        this.valueStart = this.#position;
        return this.valueStart + length;
      }
      case 5:
        return this.valueStart + 4;
      default:
        throw new Error(`field ${this.number} has wire type ${this.wireType}, which ONNX files do not use`);
    }
  }

  /** Exact up to 2^53; larger values only matter to the decoders. */
  #varint(): number {
    let value = 0;
    for (let scale = 1, count = 0; count < 10; scale *= 128, count += 1) {
      if (this.#position >= this.end) throw new Error("the file ends within a number");
      const byte = this.bytes[this.#position++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new Error("a number has more than ten bytes");
  }
}

/** The tag and length before a message. */
export function encodeHead(number: number, length: number): Uint8Array {
  const bytes: number[] = [];
  for (let value of [number * 8 + 2, length]) {
    for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
    bytes.push(value);
  }
  return Uint8Array.from(bytes);
}

/** In memory of its own, so that it can be handed to another thread. */
export function joinBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let position = 0;
  for (const piece of pieces) {
    joined.set(piece, position);
    position += piece.length;
  }
  return joined;
}
