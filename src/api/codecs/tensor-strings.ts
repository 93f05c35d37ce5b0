// String elements. ONNX's strings are text: onnxruntime cuts them at a NUL byte and mangles what is not UTF-8, so both are
// refused rather than answered wrongly.
import { isUtf8 } from "node:buffer";
import { invalidArgument } from "../../status.js";
import { WireFormatError, WireReader } from "./wire-reader.js";
import { varint32Size, writeVarint32 } from "./wire-writer.js";

/**
 * The text of one element.
 * @param index its place, for the error
 * @throws INVALID_ARGUMENT
 */
export function decodeString(bytes: Buffer, start: number, end: number, index: number): string {
  let seen = 0;
  for (let pos = start; pos < end; pos++) {
    const byte = bytes[pos]!;
    if (byte === 0) throw invalidArgument(`element ${index} holds a NUL byte, at which the runtime would cut it`);
    seen |= byte;
  }
  if (seen < 0x80) return bytes.toString("latin1", start, end);
  if (!isUtf8(bytes.subarray(start, end))) {
    throw invalidArgument(`element ${index} is not UTF-8, and the runtime's strings are`);
  }
  return bytes.toString("utf8", start, end);
}

/**
 * Strings in tensor_content: all lengths as varints, then all bytes.
 * @throws INVALID_ARGUMENT
 */
export function decodeContentStrings(bytes: Buffer, start: number, end: number, count: number): string[] {
  const texts: string[] = [];
  eachContentString(bytes, start, end, count, (from, to) => texts.push(decodeString(bytes, from, to, texts.length)));
  return texts;
}

/** Calls with where each of the strings lies. @throws INVALID_ARGUMENT before the first call */
export function eachContentString(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  use: (start: number, end: number) => void,
): void {
  const reader = new WireReader(bytes, start, end);
  const lengths = new Array<number>(count);
  let total = 0;
  try {
    for (let index = 0; index < count; index++) {
      const length = reader.uint32();
      lengths[index] = length;
      total += length;
    }
  } catch (error) {
    if (!(error instanceof WireFormatError)) throw error;
    throw invalidArgument(`tensor_content holds fewer than the lengths of ${count} strings`);
  }
  if (total !== end - reader.pos) {
    throw invalidArgument(`tensor_content holds ${end - reader.pos} bytes of strings; their lengths say ${total}`);
  }
  let pos = reader.pos;
  for (const length of lengths) {
    use(pos, pos + length);
    pos += length;
  }
}

/** Bytes of the strings as tensor_content. */
export function contentStringsSize(texts: readonly string[]): number {
  let size = 0;
  for (const text of texts) {
    const length = Buffer.byteLength(text);
    size += varint32Size(length) + length;
  }
  return size;
}

export function writeContentStrings(out: Buffer, start: number, texts: readonly string[]): number {
  let pos = start;
  for (const text of texts) pos = writeVarint32(out, pos, Buffer.byteLength(text));
  for (const text of texts) pos += out.write(text, pos);
  return pos;
}
