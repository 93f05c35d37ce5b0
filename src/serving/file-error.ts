import { Code, errorMessage, StatusError } from "../status.js";

const codes: ReadonlyMap<string | undefined, Code> = new Map<string | undefined, Code>([
  ["ENOENT", Code.NOT_FOUND],
  ["ENOTDIR", Code.NOT_FOUND],
  ["EACCES", Code.PERMISSION_DENIED],
  ["EPERM", Code.PERMISSION_DENIED],
  ["EEXIST", Code.ALREADY_EXISTS],
  ["ENOTEMPTY", Code.ALREADY_EXISTS],
  ["ENOSPC", Code.RESOURCE_EXHAUSTED],
  ["EDQUOT", Code.RESOURCE_EXHAUSTED],
  ["EMFILE", Code.RESOURCE_EXHAUSTED],
]);

/** What the system said of a file, as a status; its sentence names the path already. A StatusError stays what it is. */
export function fileError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new StatusError(codes.get(code) ?? Code.UNKNOWN, errorMessage(error), { cause: error });
}

export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}
