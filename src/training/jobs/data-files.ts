// How a job's data lie in its folder: what DataSetWriter writes and openDataSets() reads.
import { elementTypeInfo } from "../../tensor/index.js";
import { type Field, rowSize } from "../examples.js";
import type { JobDataSummary } from "./job.js";

/** Names the files and says what is in them; it is written last, so that a folder with it is complete. */
export const manifestName = "data.json";

export interface DataManifest {
  readonly train: StoredSet;
  readonly validation?: StoredSet | undefined;
  readonly summary: JobDataSummary;
}

export type StoredSet = StoredText | StoredTensors;

export type TextForm = "csv" | "tsv" | "json-lines" | "json-array";

export interface StoredText {
  readonly kind: "text";
  readonly form: TextForm;
  readonly file: string;
  readonly rows: number;
}

/** A file a tensor, its rows behind each other. */
export interface StoredTensors {
  readonly kind: "tensors";
  readonly rows: number;
  readonly inputs: readonly StoredTensor[];
  readonly targets: StoredTensor;
  /** float32, one a row. */
  readonly weights?: StoredTensor | undefined;
}

export interface StoredTensor extends Field {
  readonly file: string;
}

export const rowBytes = (field: Field): number => rowSize(field) * elementTypeInfo(field.dtype).bytesPerElement;
