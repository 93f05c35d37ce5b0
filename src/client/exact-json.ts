// JSON that keeps what JSON.parse and JSON.stringify lose: integers beyond 2^53, NaN and the infinities.
import { errorMessage, invalidArgument } from "../status.js";
import type { Nested } from "./ndarray.js";

/** As JSON.parse, but integers that a double cannot hold are bigints, and NaN, Infinity and -Infinity are numbers. */
export function parseExactJson(what: string, text: string): unknown {
  const marked = text.replace(token, (found) =>
    !found.startsWith('"') && (longInteger.test(found) || !/^-?\d/.test(found)) ? `{"${mark}":"${found}"}` : found,
  );
  try {
    return JSON.parse(marked, (_key, value) => {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, mark)) return value;
      return exactNumber(value[mark]);
    });
  } catch (thrown) {
    throw invalidArgument(`${what} is not JSON: ${errorMessage(thrown)}`, { cause: thrown });
  }
}

/** A whole string, a whole number, or one of the three words, so that nothing inside of strings is touched. */
const token = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|NaN|-?Infinity/g;
const longInteger = /^-?\d{16,}$/;
/** The key of objects that stand for numbers; requests have no such key. */
const mark = "$exact number";

function exactNumber(text: string): number | bigint {
  const number = Number(text);
  return longInteger.test(text) && !Number.isSafeInteger(number) ? BigInt(text) : number;
}

/** As JSON.stringify, but integers keep all their digits, and NaN and the infinities are strings, as in protobuf's JSON. */
export function formatExactJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return `"${value}"`;
  if (Array.isArray(value)) return `[${value.map(formatExactJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${formatExactJson(item)}`).join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** For people: innermost arrays on a line each, and the middle left out where there is much. */
export function formatNested(value: Nested, maxItems = 100): string {
  if (!Array.isArray(value)) return typeof value === "string" ? JSON.stringify(value) : String(value);
  const texts = value.slice(0, maxItems).map((item) => formatNested(item, maxItems));
  if (value.length > maxItems) texts.push(`… ${value.length - maxItems} more`);
  if (!value.some((item) => Array.isArray(item))) return `[${texts.join(", ")}]`;
  return `[${texts.join(",\n").replaceAll("\n", "\n ")}]`;
}
