import { invalidArgument, type StatusError } from "../../status.js";

/** @param reason in RapidJSON's words */
export function parseError(reason: string, byteOffset: number): StatusError {
  return invalidArgument(`JSON Parse error: ${reason} at offset: ${byteOffset}`);
}
