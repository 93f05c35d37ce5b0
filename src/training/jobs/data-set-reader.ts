import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { dataLoss, errorMessage } from "../../status.js";
import { type NumericTensor, type Tensor, viewAs } from "../../tensor/index.js";
import { CsvTable } from "../data/csv-table.js";
import { JsonTable } from "../data/json-table.js";
import { piecesOfFile } from "../data/pieces-of-file.js";
import type { Table } from "../data/table.js";
import type { Field } from "../examples.js";
import { ofValidation } from "../of-validation.js";
import type { TensorSet } from "../tensor-set.js";
import {
  type DataManifest,
  manifestName,
  rowBytes,
  type StoredSet,
  type StoredTensor,
  type StoredTensors,
  type StoredText,
} from "./data-files.js";

/** A set of rows on disk, read as it is used: nothing of it stays in memory. */
export type DataSet =
  | { readonly kind: "table"; readonly rows: number; readonly table: Table }
  | { readonly kind: "tensors"; readonly rows: number; readonly tensors: TensorSet };

export interface DataSets {
  readonly train: DataSet;
  readonly validation?: DataSet | undefined;
}

/**
 * What DataSetWriter laid down in a folder. Blocks: to be called in a thread that trains.
 * Throws INVALID_ARGUMENT naming the row when rows of text cannot be read, DATA_LOSS when the folder is not whole.
 */
export function openDataSets(folder: string): DataSets {
  let manifest: DataManifest;
  try {
    manifest = JSON.parse(readFileSync(join(folder, manifestName), "utf8")) as DataManifest;
  } catch (error) {
    throw dataLoss(`the job's data cannot be read: ${errorMessage(error)}`, { cause: error });
  }
  const train = openSet(folder, manifest.train);
  const { validation } = manifest;
  return { train, validation: validation === undefined ? undefined : ofValidation(() => openSet(folder, validation)) };
}

function openSet(folder: string, stored: StoredSet): DataSet {
  if (stored.kind === "tensors")
    return { kind: "tensors", rows: stored.rows, tensors: new TensorFiles(folder, stored) };
  return { kind: "table", rows: stored.rows, table: openTable(folder, stored) };
}

function openTable(folder: string, { form, file }: StoredText): Table {
  const pieces = () => piecesOfFile(join(folder, file));
  switch (form) {
    case "csv":
      return new CsvTable(pieces);
    case "tsv":
      return new CsvTable(pieces, { delimiter: "\t" });
    case "json-lines":
      return new JsonTable(pieces, "lines");
    case "json-array":
      return new JsonTable(pieces, "array");
  }
}

/** Rows as tensors, each tensor in a file of its own. */
class TensorFiles implements TensorSet {
  readonly count: number;
  readonly inputs: readonly Field[];
  readonly target: Field;
  readonly #folder: string;
  readonly #stored: StoredTensors;

  constructor(folder: string, stored: StoredTensors) {
    const { rows, inputs, targets, weights } = stored;
    this.count = rows;
    this.inputs = inputs;
    this.target = targets;
    this.#folder = folder;
    this.#stored = stored;
    for (const tensor of [...inputs, targets, ...(weights === undefined ? [] : [weights])]) {
      const size = statSync(join(folder, tensor.file), { throwIfNoEntry: false })?.size;
      if (size !== rows * rowBytes(tensor)) {
        throw dataLoss(`${tensor.file} has ${size ?? "no"} bytes; ${rows} rows take ${rows * rowBytes(tensor)}`);
      }
    }
  }

  get weighted(): boolean {
    return this.#stored.weights !== undefined;
  }

  readInputs(first: number, end: number): Map<string, Tensor> {
    return new Map(this.#stored.inputs.map((tensor) => [tensor.name, this.#read(tensor, first, end)]));
  }

  readTargets(first: number, end: number): NumericTensor {
    return this.#read(this.#stored.targets, first, end);
  }

  readWeights(first: number, end: number): Float32Array | undefined {
    const { weights } = this.#stored;
    return weights === undefined ? undefined : (this.#read(weights, first, end).data as Float32Array);
  }

  #read(tensor: StoredTensor, first: number, end: number): NumericTensor {
    const { dtype, shape, file } = tensor;
    const size = rowBytes(tensor);
    const bytes = new Uint8Array((end - first) * size);
    const handle = openSync(join(this.#folder, file), "r");
    try {
      for (let done = 0; done < bytes.length; ) {
        const read = readSync(handle, bytes, done, bytes.length - done, first * size + done);
        if (read === 0) throw dataLoss(`${file} ends before row ${end}`);
        done += read;
      }
    } finally {
      closeSync(handle);
    }
    return { dtype, shape: [end - first, ...shape], data: viewAs(dtype, bytes) };
  }
}
