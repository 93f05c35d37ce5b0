import { closeSync, openSync, readSync } from "node:fs";
import { TextDecoder } from "node:util";
import { invalidArgument } from "../../status.js";

/**
 * A text file in pieces, to be read without holding all of it. Throws INVALID_ARGUMENT saying where when it is not
 * UTF-8: a letter read as another would be learned as another.
 */
export function* piecesOfFile(path: string): Generator<string> {
  const file = openSync(path, "r");
  try {
    const buffer = new Uint8Array(64 * 1024);
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let position = 0;
    for (let bytes = readSync(file, buffer); bytes > 0; bytes = readSync(file, buffer)) {
      yield decode(decoder, buffer.subarray(0, bytes), position);
      position += bytes;
    }
    yield decode(decoder, undefined, position);
  } finally {
    closeSync(file);
  }
}

function decode(decoder: TextDecoder, bytes: Uint8Array | undefined, position: number): string {
  let text: string;
  try {
    text = bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
  } catch (error) {
    throw refuse("is not UTF-8", bytes, position, error);
  }
  // Strings of models end where such a character stands.
  if (text.includes("\0")) throw refuse("holds a NUL character", bytes, position);
  return text;
}

function refuse(what: string, bytes: Uint8Array | undefined, position: number, cause?: unknown) {
  const end = position + (bytes?.length ?? 0);
  return invalidArgument(`the text ${what}, between bytes ${position} and ${end}; save it as UTF-8`, { cause });
}
