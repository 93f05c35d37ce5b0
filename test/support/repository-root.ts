import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json, wherever the compiled test lies below it. */
export const repositoryRoot = find(dirname(fileURLToPath(import.meta.url)));

function find(folder: string): string {
  return existsSync(join(folder, "package.json")) ? folder : find(dirname(folder));
}
