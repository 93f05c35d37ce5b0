// Trace and log settings: what they are can be asked, and nothing of them can be changed.
import { invalidArgument, unavailable } from "../../status.js";

/** Triton's names, with what tracing that is off looks like. */
export const traceSettings: ReadonlyMap<string, readonly string[]> = new Map([
  ["trace_level", ["OFF"]],
  ["trace_rate", ["1000"]],
  ["trace_count", ["-1"]],
  ["log_frequency", ["0"]],
  ["trace_file", [""]],
  ["trace_mode", ["triton"]],
]);

export type LogSetting = boolean | number | string;

/** Triton's names, as far as they have a meaning here. */
export const logSettings: ReadonlyMap<string, LogSetting> = new Map<string, LogSetting>([
  ["log_file", ""],
  ["log_info", true],
  ["log_warning", true],
  ["log_error", true],
  ["log_verbose_level", 0],
  ["log_format", "default"],
]);

/** @throws for a setting that is not known, or that asks for something else than there is */
export function refuseTraceChanges(changes: ReadonlyMap<string, readonly string[]>): void {
  for (const [key, wanted] of changes) {
    const current = traceSettings.get(key);
    if (current === undefined) throw invalidArgument(`Unexpected trace setting ${key}`);
    // An empty value asks for the default, which is in force.
    if (wanted.length > 0 && wanted.join() !== current.join()) {
      throw unavailable(`tracing is not built into onnxd: trace setting '${key}' cannot become ${wanted.join(", ")}`);
    }
  }
}

/** @throws for a setting that is not known, or that asks for something else than there is */
export function refuseLogChanges(changes: ReadonlyMap<string, LogSetting | undefined>): void {
  for (const [key, wanted] of changes) {
    const current = logSettings.get(key);
    if (current === undefined) throw invalidArgument(`Unexpected log setting ${key}`);
    if (wanted === undefined || wanted === current) continue;
    if (typeof wanted !== typeof current) {
      throw invalidArgument(`log setting '${key}' expects a ${typeof current}, got ${typeof wanted} ${wanted}`);
    }
    throw unavailable(`log setting '${key}' is fixed when onnxd starts: see --log_level and --log_format`);
  }
}
