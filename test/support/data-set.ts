// The data sets in test/data, as they are known from scikit-learn; see test/data/README.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { CsvTable } from "../../src/training/data/csv-table.js";
import { repositoryRoot } from "./repository-root.js";

export type DataSetName = "iris" | "wine" | "diabetes" | "breast_cancer" | "digits";

export function dataSet(name: DataSetName): CsvTable {
  const text = readDataSet(name);
  return new CsvTable(() => [text]);
}

export function readDataSet(name: DataSetName): string {
  const packed = name === "breast_cancer" || name === "digits";
  const bytes = readFileSync(join(repositoryRoot, "test", "data", `${name}.csv${packed ? ".gz" : ""}`));
  return (packed ? gunzipSync(bytes) : bytes).toString("utf8");
}
