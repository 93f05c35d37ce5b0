import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage, invalidArgument } from "../../status.js";
import type { TritonConfig } from "./config-schema.js";

/** Every label file that a configuration names, once. */
export function labelFiles({ output }: TritonConfig): ReadonlySet<string> {
  return new Set(output.map(({ label_filename: file }) => file).filter((file) => file !== ""));
}

/** One label a line. @throws INVALID_ARGUMENT for a name that is no file's; the file system's reason */
export async function readLabels(modelDirectory: string, file: string): Promise<readonly string[]> {
  if (/[/\\\0]/.test(file) || file.startsWith(".")) {
    throw invalidArgument(`config.pbtxt: label_filename: "${file}" is no file in the model's directory`);
  }
  try {
    const text = await readFile(join(modelDirectory, file), "utf8");
    return text.replace(/\r?\n$/, "").split(/\r?\n/);
  } catch (error) {
    throw invalidArgument(`config.pbtxt: label_filename: ${errorMessage(error)}`);
  }
}
