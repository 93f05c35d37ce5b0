// A line to paste that asks a freshly trained model about the first row it was trained on.

import { parseExactJson } from "../exact-json.js";
import type { SignatureDescription, TensorDescription } from "../model-client.js";
import { contentOf, type TrainingData } from "../training/training-data.js";

/** Cells by column. */
export type SampleRow = ReadonlyMap<string, unknown>;

/** The first row of what is to be sent; undefined where there is none, or it has no names. */
export async function readSampleRow(data: TrainingData): Promise<SampleRow | undefined> {
  for await (const content of contentOf(data)) {
    if (content.$case === "tensors") return undefined;
    const text = new TextDecoder().decode(content.value);
    if (content.$case === "csv") {
      const [names, cells] = firstRecords(text.replace(/^\uFEFF/, ""), 2);
      return cells && new Map(names!.map((name, index) => [name, cells[index] ?? ""]));
    }
    const row = parseExactJson("the first row", text.split("\n", 1)[0]!);
    return typeof row === "object" && row !== null ? new Map(Object.entries(row)) : undefined;
  }
  return undefined;
}

/** undefined when the model takes something that the row does not have. */
export function predictionLine(
  command: string,
  model: string,
  { inputs }: SignatureDescription,
  row: SampleRow,
): string | undefined {
  const values: string[] = [];
  for (const [name, description] of Object.entries(inputs)) {
    const value = row.has(name) ? cellText(row.get(name), description) : undefined;
    if (value === undefined) return undefined;
    const nested = (description.shape ?? [-1]).reduce((text) => `[${text}]`, value);
    values.push(`${JSON.stringify(name)}: ${nested}`);
  }
  return `${command} predict ${shellWord(model)} --input ${shellWord(`{${values.join(", ")}}`)}`;
}

/** The cell as the model's type takes it, in the form that --input reads; undefined when it has none there. */
function cellText(cell: unknown, { dtype }: TensorDescription): string | undefined {
  const missing = cell === null || cell === undefined || cell === "";
  switch (dtype) {
    case "string":
      return JSON.stringify(missing ? "" : String(cell));
    case "float32":
    case "float64":
      return missing || Number.isNaN(Number(cell)) ? "NaN" : String(Number(cell));
    case "int64":
    case "int32":
      return /^-?\d+$/.test(String(cell)) ? String(cell) : undefined;
    case "bool":
      return /^(true|1|yes)$/i.test(String(cell)) ? "true" : "false";
    default:
      return undefined;
  }
}

/** The first records of a CSV text: quoted fields may hold commas, quotes and line ends. */
function firstRecords(text: string, count: number): string[][] {
  const records: string[][] = [];
  let record: string[] = [];
  // A field, quoted or not, and what ends it.
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    record.push(quoted === undefined ? plain!.trim() : quoted.replaceAll('""', '"'));
    if (end === ",") continue;
    if (record.some((field) => field !== "")) records.push(record);
    if (records.length === count || end === "") break;
    record = [];
  }
  return records;
}

function shellWord(text: string): string {
  return /^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
