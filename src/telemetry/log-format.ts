import { codeName, StatusError } from "../status.js";
import type { LogFields } from "./logger.js";

/** "json" for machines, one object a line; "text" for people. */
export type LogFormat = "json" | "text";
export type LogLevel = "debug" | "info" | "warn" | "error";

/** One line with its newline. A field named like one of the line's own (timestamp, level, message) gives way to it. */
export function formatLine(
  format: LogFormat,
  timestamp: string,
  level: LogLevel,
  message: string,
  fields: LogFields,
): string {
  return format === "json"
    ? `${stringify(Object.assign({ timestamp, level, message }, fields, { timestamp, level, message }))}\n`
    : formatText(timestamp, level, message, fields);
}

let lastMs = 0;
let lastTimestamp = "";
/** ISO 8601 in UTC. Kept for the millisecond: a busy server asks for the same one many times. */
export function timestampOf(wallTimeMs: number): string {
  if (wallTimeMs !== lastMs) {
    lastMs = wallTimeMs;
    lastTimestamp = new Date(wallTimeMs).toISOString();
  }
  return lastTimestamp;
}

function formatText(timestamp: string, level: LogLevel, message: string, fields: LogFields): string {
  let line = `${timestamp} ${level.padEnd(5)} ${escapeControls(message)}`;
  let stacks = "";
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (value instanceof Error) {
      line += ` ${name}=${quoteWhereNeeded(value.message)}`;
      if (!(value instanceof StatusError)) stacks += `\n    ${(value.stack ?? "").replaceAll("\n", "\n    ")}`;
    } else {
      line += ` ${name}=${quoteWhereNeeded(typeof value === "object" ? stringify(value) : String(value))}`;
    }
  }
  return `${line}${stacks}\n`;
}

/** JSON.stringify that neither throws (bigint, cycles) nor turns an Error into {}. */
function stringify(value: unknown): string {
  try {
    return JSON.stringify(value, plain) ?? "null";
  } catch (error) {
    // Only a cycle, or a toJSON of its own that throws, gets here; the line's own words are worth keeping.
    const { timestamp, level, message } = value as { timestamp?: string; level?: string; message?: string };
    return JSON.stringify({ timestamp, level, message, unprintable: String(error) });
  }
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof StatusError) return { code: codeName(value.code), message: value.message };
  if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack };
  return value;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach a terminal.
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

function escapeControls(text: string): string {
  return text.replace(controls, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function quoteWhereNeeded(text: string): string {
  return /^[^\s"=]+$/.test(text) && text.search(controls) === -1 ? text : escapeControls(JSON.stringify(text));
}
