// Small values of a checked JSON text (json-reader.ts): names, shapes, parameters. Integers keep all their digits.
import { invalidArgument } from "../../status.js";
import { endOfScalar, skipBlanks } from "./json-describe.js";
import { decodeJsonString, endOfJsonString } from "./json-string.js";

/** Integers are bigints, all other numbers are numbers, objects are maps in which the first of equal keys counts. */
export type JsonValue =
  | null
  | boolean
  | bigint
  | number
  | string
  | readonly JsonValue[]
  | ReadonlyMap<string, JsonValue>;

/** Triton's own limit on what it reads as values. */
const maxDepth = 100;

/** The value at `start`, and where it ends. @throws INVALID_ARGUMENT when it nests too deeply */
export function readJsonValue(
  text: Buffer,
  start: number,
  depth = 0,
): { readonly value: JsonValue; readonly end: number } {
  if (depth > maxDepth) throw invalidArgument(`JSON nests deeper than ${maxDepth} levels`);
  const position = skipBlanks(text, start);
  switch (text[position]) {
    case 0x7b: {
      const members = new Map<string, JsonValue>();
      let next = skipBlanks(text, position + 1);
      while (text[next] !== 0x7d) {
        const { key, valueStart } = readKey(text, next);
        const { value, end } = readJsonValue(text, valueStart, depth + 1);
        if (!members.has(key)) members.set(key, value);
        next = nextOf(text, end);
      }
      return { value: members, end: next + 1 };
    }
    case 0x5b: {
      const items: JsonValue[] = [];
      let next = skipBlanks(text, position + 1);
      while (text[next] !== 0x5d) {
        const { value, end } = readJsonValue(text, next, depth + 1);
        items.push(value);
        next = nextOf(text, end);
      }
      return { value: items, end: next + 1 };
    }
    default: {
      const end = endOfScalar(text, position);
      return { value: scalar(text, position, end), end };
    }
  }
}

/** The key at `start` of a checked text, and where its value begins. */
export function readKey(text: Buffer, start: number): { readonly key: string; readonly valueStart: number } {
  const end = endOfJsonString(text, start);
  return { key: decodeJsonString(text, start, end), valueStart: skipBlanks(text, skipBlanks(text, end) + 1) };
}

/** Steps over the value at `start`, however large, pausing after about so many bytes. Returns its end. */
export function* skipJsonValue(text: Buffer, start: number, stepBytes: number): Generator<void, number, undefined> {
  let position = start;
  let pause = start + stepBytes;
  let depth = 0;
  do {
    const byte = text[position]!;
    if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      position += 1;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth -= 1;
      position += 1;
    } else if (byte === 0x22 || depth === 0) position = endOfScalar(text, position);
    else position += 1;
    if (position >= pause) {
      yield;
      pause = position + stepBytes;
    }
  } while (depth > 0);
  return position;
}

/** Behind the comma after a value, or at the bracket that ends its list or object. */
export function nextOf(text: Buffer, valueEnd: number): number {
  const position = skipBlanks(text, valueEnd);
  return text[position] === 0x2c ? skipBlanks(text, position + 1) : position;
}

function scalar(text: Buffer, start: number, end: number): JsonValue {
  switch (text[start]) {
    case 0x22:
      return decodeJsonString(text, start, end);
    case 0x74:
      return true;
    case 0x66:
      return false;
    case 0x6e:
      return null;
    default: {
      const digits = text.toString("latin1", start, end);
      if (/^-?\d+$/.test(digits)) return digits.length > 40 ? Number(digits) : BigInt(digits);
      if (digits.endsWith("NaN")) return Number.NaN;
      if (/^-?Inf/.test(digits)) return digits.startsWith("-") ? -Infinity : Infinity;
      return Number(digits);
    }
  }
}
