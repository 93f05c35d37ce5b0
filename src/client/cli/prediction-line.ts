// A line to paste that asks a freshly trained model about the first row it was trained on.

import { formatExactJson, parseExactJson } from "../exact-json.js";
import type { SignatureDescription, TensorDescription } from "../model-client.js";
import { type Nested, toNested } from "../ndarray.js";
import { decodeTensorProto } from "../tensor-proto.js";
import { contentOf, type TrainingData } from "../training/training-data.js";

/** Cells by column. */
export type SampleRow = ReadonlyMap<string, unknown>;

/** The first row of what is to be sent; undefined where there is none. */
export async function readSampleRow(data: TrainingData): Promise<SampleRow | undefined> {
  for await (const content of contentOf(data)) {
    if (content.$case === "tensors") {
      const { inputs } = content.value;
      return new Map([...inputs].map(([name, proto]) => [name, firstRow(toNested(decodeTensorProto(name, proto)))]));
    }
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

function firstRow(rows: Nested): unknown {
  return Array.isArray(rows) ? rows[0] : rows;
}

/** undefined when the model takes something that the row does not have, or the line would be too long. */
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
    const axes = Array.isArray(row.get(name)) ? [-1] : (description.shape ?? [-1]);
    const nested = axes.reduce((text) => `[${text}]`, value);
    values.push(`${JSON.stringify(name)}: ${nested}`);
  }
  const line = `${command} predict ${shellWord(model)} --input ${shellWord(`{${values.join(", ")}}`)}`;
  return line.length <= longestLine ? line : undefined;
}

/** More than that nobody pastes. */
const longestLine = 4096;

/** The cell as the model's type takes it, in the form that --input reads; undefined when it has none there. */
function cellText(cell: unknown, { dtype }: TensorDescription): string | undefined {
  if (Array.isArray(cell)) return formatExactJson(cell);
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
