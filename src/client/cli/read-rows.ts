import { type TrainingData, validateDataPath } from "../training/training-data.js";
import type { CommandIo, CommandLine } from "./command-line.js";

/** The data that a flag names: a file, or - for CSV on standard input. */
export function readRows(line: CommandLine, flag: string, io: CommandIo): TrainingData | undefined {
  if (line.text(flag) === "-") return { csv: io.readInput() };
  const path = line.file(flag);
  if (path === undefined) return undefined;
  validateDataPath(path);
  return { path };
}
