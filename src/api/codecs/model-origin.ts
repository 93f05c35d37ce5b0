import type { Origin } from "../../gen/onnxd/v1/catalog.js";
import { metadataKeys } from "../../training/index.js";

/** Where a version came from, as its file's metadata tell. They are anybody's: what is not as we write it is left out. */
export function originOf(path: string, metadata: ReadonlyMap<string, string> = new Map()): Origin {
  const lineage = readObject(metadata.get(metadataKeys.lineage));
  if (lineage === undefined) return { ...disk, path };
  const { job, base_model: baseModel, base_version: baseVersion, data_sha256: sha256, data_rows: rows, seed } = lineage;
  return {
    kind: "trained",
    path,
    job: textOf(job),
    baseModel: textOf(baseModel),
    baseVersion: wholeOf(baseVersion),
    dataSha256: textOf(sha256),
    dataRows: wholeOf(rows) ?? 0n,
    seed: wholeOf(seed),
    metrics: mapOf(readObject(metadata.get(metadataKeys.metrics)), isNumber),
    tags: mapOf(lineage["tags"], isText),
  };
}

const disk: Origin = {
  ...{ kind: "disk", path: "", job: "", baseModel: "", baseVersion: undefined, dataSha256: "", dataRows: 0n },
  ...{ seed: undefined, metrics: new Map(), tags: new Map() },
};

function readObject(json: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (json === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function mapOf<T>(value: unknown, isItem: (item: unknown) => item is T): Map<string, T> {
  const entries = isObject(value) ? Object.entries(value) : [];
  return new Map(entries.filter((entry): entry is [string, T] => isItem(entry[1])));
}

/** Of a number, or of decimals, since JSON has no 64-bit integers; undefined for all else. */
function wholeOf(value: unknown): bigint | undefined {
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || !/^-?\d{1,19}$/.test(text)) return undefined;
  const whole = BigInt(text);
  return BigInt.asIntN(64, whole) === whole ? whole : undefined;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isNumber = (value: unknown): value is number => typeof value === "number";
const isText = (value: unknown): value is string => typeof value === "string";
const textOf = (value: unknown): string => (isText(value) ? value : "");
