// Files that a client names and the operator lays open with --training_data_dir: what lies below it, and nothing else.
import { realpath, stat } from "node:fs/promises";
import { extname, isAbsolute, join, sep, win32 } from "node:path";
import { invalidArgument, type StatusError } from "../../status.js";
import type { TextForm } from "./data-files.js";

export interface TrainingDataFile {
  /** Without links. */
  readonly path: string;
  readonly form: TextForm;
  readonly bytes: number;
}

/**
 * @param folder the value of --training_data_dir; undefined: there is none
 * @param path as the client gives it, relative to the folder
 * Throws INVALID_ARGUMENT when the path leads out of the folder, or to what is not a file of a known kind.
 */
export async function findTrainingDataFile(folder: string | undefined, path: string): Promise<TrainingDataFile> {
  const refuse = (why: string): StatusError => invalidArgument(`data file "${path}": ${why}`);
  if (folder === undefined) throw refuse("the server was started without --training_data_dir; send the data instead");
  if (path === "" || path.includes("\0")) throw refuse("give a path below --training_data_dir");
  if (isAbsolute(path) || win32.isAbsolute(path) || /^[A-Za-z]:/.test(path)) {
    throw refuse("the path must be relative to --training_data_dir");
  }
  if (path.split(/[\\/]/).includes("..")) throw refuse("the path may not hold ..: it stays below --training_data_dir");
  const form = formsByExtension.get(extname(path).toLowerCase());
  if (form === undefined) throw refuse(`its name must end in one of ${[...formsByExtension.keys()].join(", ")}`);
  const root = await resolved(folder);
  const target = root === undefined ? undefined : await resolved(join(root, path));
  if (root === undefined || target === undefined) throw refuse("there is no such file below --training_data_dir");
  // A folder that is the root of the file system ends in its separator already.
  if (!target.startsWith(root.endsWith(sep) ? root : root + sep)) throw refuse("it leads out of --training_data_dir");
  const info = await stat(target);
  if (!info.isFile()) throw refuse("it is not a file below --training_data_dir");
  return { path: target, form, bytes: info.size };
}

const formsByExtension: ReadonlyMap<string, TextForm> = new Map([
  [".csv", "csv"],
  [".tsv", "tsv"],
  [".jsonl", "json-lines"],
  [".ndjson", "json-lines"],
  [".json", "json-array"],
]);

async function resolved(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch {
    return undefined;
  }
}
