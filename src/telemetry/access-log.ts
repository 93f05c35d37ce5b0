import type { Clock } from "../clock.js";
import { type Code, codeName } from "../status.js";
import type { CallRecord } from "./call-record.js";
import { formatLine, type LogFormat, timestampOf } from "./log-format.js";
import type { LogOutput } from "./log-output.js";

/** One line for each call, written when it has been answered. */
export interface AccessLog {
  /**
   * @param durationMs from the call's arrival to its answer
   * @param error what the client was told, when it was an error
   */
  write(record: CallRecord, code: Code, durationMs: number, error?: string): void;
}

export const silentAccessLog: AccessLog = { write: () => {} };

/**
 * Access lines are written beside winston, into the same output: at a hundred thousand calls a second its stream
 * costs more than the line. They are the lines to spare when the reader is slow.
 */
export function createAccessLog(output: LogOutput, format: LogFormat, clock: Clock): AccessLog {
  const line = format === "json" ? jsonLine : textLine;
  return {
    write(record, code, durationMs, error = "") {
      output.write(line(timestampOf(clock.wallTime()), record, code, durationMs, cut(error)), true);
    },
  };
}

function jsonLine(timestamp: string, record: CallRecord, code: Code, durationMs: number, error: string): string {
  let line = `{"timestamp":"${timestamp}","level":"info","message":"call","door":"${record.door}","method":${quote(record.method)},"code":"${codeName(code)}","duration_ms":${round(durationMs)}`;
  if (record.model !== undefined) line += `,"model":${quote(record.model)}`;
  if (record.version !== undefined) line += `,"version":"${record.version}"`;
  if (record.signature !== undefined) line += `,"signature":${quote(record.signature)}`;
  if (record.queueMs !== undefined) line += `,"queue_ms":${round(record.queueMs)}`;
  if (record.computeMs !== undefined) line += `,"compute_ms":${round(record.computeMs)}`;
  if (record.batchSize !== undefined) line += `,"batch_size":${record.batchSize}`;
  if (error !== "") line += `,"error":${quote(error)}`;
  return `${line},"request_id":${quote(record.requestId)},"peer":${quote(record.peer)}}\n`;
}

function textLine(timestamp: string, record: CallRecord, code: Code, durationMs: number, error: string): string {
  const { door, method, model, version, signature, queueMs, computeMs, batchSize, requestId, peer } = record;
  return formatLine("text", timestamp, "info", `${door} ${method} ${codeName(code)}`, {
    duration_ms: round(durationMs),
    model,
    version,
    signature,
    queue_ms: queueMs === undefined ? undefined : round(queueMs),
    compute_ms: computeMs === undefined ? undefined : round(computeMs),
    batch_size: batchSize,
    error: error === "" ? undefined : error,
    request_id: requestId,
    peer,
  });
}

/** A client's own words may be in it, any number of them. */
function cut(error: string): string {
  return error.length > 512 ? `${error.slice(0, 512)}…` : error;
}

/** Microseconds are as fine as anyone reads. */
function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

const plain = /^[\w /:.[\]-]*$/;
/** JSON text of a string; most need no escaping, and finding that out is cheaper than JSON.stringify. */
function quote(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}
