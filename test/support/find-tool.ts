import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of a program, or undefined when this machine has none: tests that need it are then skipped by name. */
export function findTool(name: string): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder !== "" && existsSync(path)) return path;
  }
  return undefined;
}
