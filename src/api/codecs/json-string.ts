// Strings in JSON text: checked, decoded, encoded.
import { isUtf8 } from "node:buffer";
import { parseError } from "./json-parse-error.js";

/** The letters that may follow a backslash, u apart. */
const escapeLetters = new Set(Buffer.from('"\\\\/bfnrt'));

/**
 * Checks the string whose opening quote is at `start`, and returns the position after its closing quote. Halves of
 * surrogate pairs are refused, since no text can hold them; bytes that are not UTF-8 are left to decodeJsonString.
 */
export function skipJsonString(bytes: Buffer, start: number): number {
  let position = start + 1;
  for (;;) {
    let byte = bytes[position]!;
    while (byte >= 0x20 && byte !== 0x22 && byte !== 0x5c) byte = bytes[++position]!;
    if (byte === 0x22) return position + 1;
    if (byte === 0x5c) position = skipEscape(bytes, position);
    else if (byte > 0) throw parseError("Invalid escape character in string.", position);
    else throw parseError("Missing a closing quotation mark in string.", position);
  }
}

/**
 * The text of a checked string, quotes at `start` and before `end`. Throws INVALID_ARGUMENT when its bytes are not
 * UTF-8: as text they could not come back as they were.
 */
export function decodeJsonString(bytes: Buffer, start: number, end: number): string {
  let plain = true;
  let ascii = true;
  for (let position = start + 1; position < end - 1; position += 1) {
    const byte = bytes[position]!;
    if (byte === 0x5c) plain = false;
    if (byte >= 0x80) ascii = false;
  }
  if (!ascii && !isUtf8(bytes.subarray(start + 1, end - 1))) throw parseError("Invalid encoding in string.", start);
  // JSON.parse and RapidJSON read the same strings, once these are known to be well-formed.
  if (!plain) return JSON.parse(bytes.toString("utf8", start, end));
  return ascii ? bytes.toString("latin1", start + 1, end - 1) : bytes.toString("utf8", start + 1, end - 1);
}

/** The position after a string known to be well-formed. */
export function endOfJsonString(bytes: Buffer, start: number): number {
  let position = start + 1;
  let byte = bytes[position];
  while (byte !== 0x22) {
    position += byte === 0x5c ? 2 : 1;
    byte = bytes[position];
  }
  return position + 1;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what has to be escaped.
const special = /["\\\u0000-\u001f]/g;
const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** The text as a JSON string, quotes included, escaped as RapidJSON does it. */
export function encodeJsonString(text: string): string {
  if (text.search(special) === -1) return `"${text}"`;
  const escaped = text.replace(
    special,
    (character) =>
      shortEscapes[character] ?? `\\u00${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}

/** @param start at the backslash */
function skipEscape(bytes: Buffer, start: number): number {
  const letter = bytes[start + 1]!;
  if (escapeLetters.has(letter)) return start + 2;
  if (letter !== 0x75 /* u */) throw parseError("Invalid escape character in string.", start);
  const unit = readHex(bytes, start + 2, start);
  if (unit < 0xd800 || unit > 0xdfff) return start + 6;
  if (unit > 0xdbff || bytes[start + 6] !== 0x5c || bytes[start + 7] !== 0x75) {
    throw parseError("The surrogate pair in string is invalid.", start);
  }
  const low = readHex(bytes, start + 8, start);
  if (low < 0xdc00 || low > 0xdfff) throw parseError("The surrogate pair in string is invalid.", start);
  return start + 12;
}

function readHex(bytes: Buffer, start: number, escapeStart: number): number {
  const digits = bytes.toString("latin1", start, start + 4);
  if (!/^[0-9a-fA-F]{4}$/.test(digits)) {
    throw parseError("Incorrect hex digit after \\u escape in string.", escapeStart);
  }
  return Number.parseInt(digits, 16);
}
