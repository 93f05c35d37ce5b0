import { codeName, type StatusError, unknown } from "../status.js";

/** Why one model cannot answer. */
export interface UnavailableModel {
  readonly name: string;
  /** undefined: there was none to load. */
  readonly version: bigint | undefined;
  readonly error: StatusError;
}

/** What TensorFlow Serving exits with when models fail at start. */
export function startupError(failed: readonly UnavailableModel[]): StatusError {
  return didNotBecomeAvailable("servable(s)", failed);
}

/** @param what how a sentence calls them: "model(s)" */
export function didNotBecomeAvailable(what: string, failed: readonly UnavailableModel[]): StatusError {
  const each = failed.map(({ name, version, error }) => {
    const id = version === undefined ? `{name: ${name}}` : `{name: ${name} version: ${version}}`;
    return `{${id} due to error: ${codeName(error.code)}: ${error.message}}, `;
  });
  return unknown(`${failed.length} ${what} did not become available: {${each.join("")}}`);
}
