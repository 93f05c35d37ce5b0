// How an error message shows the value it is about: written out again as RapidJSON's pretty writer does (lists on one
// line, objects indented by four), and cut.
import { decodeJsonString, encodeJsonString, endOfJsonString } from "./json-string.js";

/** No token is begun beyond this length; the last one may reach over it, a string by this much. */
const limitBytes = 256;
const overhangBytes = 64;

/** The value at `start` of a checked text, cut at about 256 bytes. */
export function describeJson(bytes: Buffer, start: number): string {
  const open: ("[" | "{")[] = [];
  let text = "";
  let position = start;
  /** Whether something stands before the next token in its list or object. */
  let filled = false;
  let isKey = false;
  const lead = () => {
    if (open.length === 0) return "";
    if (open.at(-1) === "[") return filled ? ", " : "";
    return isKey ? `${filled ? "," : ""}\n${"    ".repeat(open.length)}` : ": ";
  };

  do {
    position = skipBlanks(bytes, position);
    const byte = bytes[position];
    if (byte === 0x2c || byte === 0x3a /* , : */) {
      isKey = byte === 0x2c && open.at(-1) === "{";
      position += 1;
      continue;
    }
    if (byte === 0x5d || byte === 0x7d /* ] } */) {
      open.pop();
      text += byte === 0x5d ? "]" : filled ? `\n${"    ".repeat(open.length)}}` : "}";
      position += 1;
      filled = true;
    } else if (byte === 0x5b || byte === 0x7b /* [ { */) {
      text += lead() + String.fromCharCode(byte);
      open.push(byte === 0x5b ? "[" : "{");
      position += 1;
      filled = false;
      isKey = byte === 0x7b;
    } else {
      const end = endOfScalar(bytes, position);
      const before = text + lead();
      text =
        before + describeScalar(bytes, position, end, Math.max(overhangBytes, limitBytes - Buffer.byteLength(before)));
      position = end;
      filled = true;
    }
    if (open.at(-1) === "{" && byte === 0x22 && isKey) isKey = false;
  } while (open.length > 0 && Buffer.byteLength(text) < limitBytes);
  return text;
}

/** RapidJSON's name for the kind of the value at `start`. */
export function describeKind(bytes: Buffer, start: number): string {
  switch (bytes[start]) {
    case 0x6e:
      return "Null";
    case 0x66:
      return "False";
    case 0x74:
      return "True";
    case 0x7b:
      return "Object";
    case 0x5b:
      return "Array";
    case 0x22:
      return "String";
    default:
      return "Number";
  }
}

export function skipBlanks(bytes: Buffer, start: number): number {
  let position = start;
  let byte = bytes[position];
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position];
  return position;
}

/** The end of a string, number or word of a checked text. */
export function endOfScalar(bytes: Buffer, start: number): number {
  if (bytes[start] === 0x22) return endOfJsonString(bytes, start);
  let position = start + 1;
  // Letters, digits, sign and point: what numbers and words are made of.
  for (;;) {
    const byte = bytes[position]!;
    const letter = byte | 0x20;
    const inside =
      (byte >= 0x30 && byte <= 0x39) ||
      (letter >= 0x61 && letter <= 0x7a) ||
      byte === 0x2b ||
      byte === 0x2d ||
      byte === 0x2e;
    if (!inside) return position;
    position += 1;
  }
}

function describeScalar(bytes: Buffer, start: number, end: number, roomBytes: number): string {
  if (bytes[start] === 0x22) return describeString(bytes, start, end, roomBytes);
  const text = bytes.toString("latin1", start, end);
  return /^-?\d/.test(text) ? describeNumber(text) : text;
}

function describeString(bytes: Buffer, start: number, end: number, roomBytes: number): string {
  // A long one need not be decoded to be cut: what is shown takes no more bytes than it took in the text.
  if (end - start > 8 * limitBytes) return bytes.toString("utf8", start, start + roomBytes);
  let text: string;
  try {
    text = encodeJsonString(decodeJsonString(bytes, start, end));
  } catch {
    text = bytes.toString("utf8", start, end); // not UTF-8: shown with marks where it is not
  }
  return Buffer.byteLength(text) <= roomBytes ? text : Buffer.from(text).toString("utf8", 0, roomBytes);
}

/** Integers as they are, within 64 bits; all others as the shortest decimal that gives the same double. */
function describeNumber(text: string): string {
  if (/^-?\d{1,20}$/.test(text)) {
    const integer = BigInt(text);
    if (integer >= -(2n ** 63n) && integer < 2n ** 64n) return integer.toString();
  }
  const value = Number(text);
  const shortest = Object.is(value, -0) ? "-0" : String(value).replace("e+", "e");
  return /[.e]/.test(shortest) ? shortest : `${shortest}.0`;
}
