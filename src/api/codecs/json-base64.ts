// {"b64": "…"}: how JSON carries bytes where a string may stand.
import { isUtf8 } from "node:buffer";
import { skipBlanks } from "./json-describe.js";
import { decodeJsonString, endOfJsonString } from "./json-string.js";

/**
 * The encoded text of the value at `start` and where that value ends; undefined unless it is an object with the one key
 * b64 and a string behind it.
 */
export function base64Text(bytes: Buffer, start: number): { readonly text: string; readonly end: number } | undefined {
  if (bytes[start] !== 0x7b /* { */) return undefined;
  const keyStart = skipBlanks(bytes, start + 1);
  if (bytes[keyStart] !== 0x22) return undefined;
  const keyEnd = endOfJsonString(bytes, keyStart);
  // "b64" takes 5 bytes, and 20 with each character escaped.
  if (keyEnd - keyStart > 20 || decodeJsonString(bytes, keyStart, keyEnd) !== "b64") return undefined;
  const valueStart = skipBlanks(bytes, skipBlanks(bytes, keyEnd) + 1);
  if (bytes[valueStart] !== 0x22) return undefined;
  const valueEnd = endOfJsonString(bytes, valueStart);
  const close = skipBlanks(bytes, valueEnd);
  if (bytes[close] !== 0x7d) return undefined;
  return { text: decodeJsonString(bytes, valueStart, valueEnd), end: close + 1 };
}

/** Bytes of a base64 text as Abseil reads it: the standard alphabet, white space anywhere, padding optional. */
export function bytesOfBase64(text: string): Buffer | undefined {
  const digits = text.replace(/[ \t\n\v\f\r]+/g, "");
  const match = /^([A-Za-z0-9+/]*)(={0,2})$/.exec(digits);
  if (match === null || match[1]!.length % 4 === 1) return undefined;
  if (match[2] !== "" && digits.length % 4 !== 0) return undefined;
  return Buffer.from(digits, "base64");
}

/** The decoded bytes as text; undefined when they are none, or when the text is not base64. */
export function textOfBase64(text: string): string | undefined {
  const bytes = bytesOfBase64(text);
  return bytes !== undefined && isUtf8(bytes) ? bytes.toString("utf8") : undefined;
}
