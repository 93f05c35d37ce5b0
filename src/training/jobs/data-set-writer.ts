import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage, internal, invalidArgument, resourceExhausted, StatusError } from "../../status.js";
import { recordCounter } from "./count-records.js";
import { type DataManifest, manifestName, type StoredSet, type StoredText, type TextForm } from "./data-files.js";
import type { JobDataSummary } from "./job.js";
import { TensorSetWriter } from "./tensor-set-writer.js";
import { findTrainingDataFile } from "./training-data-file.js";
import type { DataPiece, DataSetRole } from "./training-service.js";

export interface DataSetWriterOptions {
  /** Where the data are laid down: a folder that exists and is the writer's alone. */
  readonly folder: string;
  /** The value of --training_data_dir; undefined: clients can name no files. */
  readonly trainingDataDir: string | undefined;
  /** The value of --training_max_data_bytes, over both sets. */
  readonly maxBytes: number;
}

/** A set that is being written. */
interface SetInTheMaking {
  readonly kind: DataPiece["kind"];
  /** Files that it has written, in the order in which they are hashed. */
  readonly files: readonly string[];
  /** Everything is on disk from then on. */
  finish(): Promise<StoredSet>;
  close(): Promise<void>;
}

/** Takes in a job's data piece by piece, with nothing of them in memory but the piece at hand. */
export class DataSetWriter {
  readonly #options: DataSetWriterOptions;
  readonly #sets = new Map<DataSetRole, SetInTheMaking>();
  #bytes = 0;
  #failure: unknown;

  constructor(options: DataSetWriterOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the piece has been handed to the disk: to be waited for before the next, which is the flow control.
   * Errors: INVALID_ARGUMENT when the piece does not belong to its set or a file cannot be had; RESOURCE_EXHAUSTED
   * above the limit or on a full disk. After an error there is nothing but close().
   */
  async add(role: DataSetRole, piece: DataPiece): Promise<void> {
    await this.#guarded(async () => {
      const set = this.#sets.get(role);
      this.#requireSameKind(role, set, piece);
      switch (piece.kind) {
        case "csv":
        case "json-lines": {
          this.#reserve(piece.bytes.byteLength);
          const text = (set as TextSetWriter | undefined) ?? (await this.#open(role, piece.kind));
          await text.write(piece.bytes);
          return;
        }
        case "tensors": {
          const tensors = (set as TensorSetWriter | undefined) ?? new TensorSetWriter(this.#options.folder, role);
          this.#sets.set(role, tensors);
          this.#reserve(tensors.measure(piece));
          await tensors.write(piece);
          return;
        }
        case "file":
          await this.#copy(role, piece.path);
      }
    });
  }

  /** Errors: INVALID_ARGUMENT without rows to train on; those of add(). Everything is on disk when it resolves. */
  async finish(): Promise<JobDataSummary> {
    return await this.#guarded(async () => {
      const train = this.#sets.get("train");
      if (train === undefined) throw invalidArgument("there are no data to train on");
      const stored = await train.finish();
      if (stored.rows === 0) throw invalidArgument("the data to train on have no rows");
      const validation = await this.#sets.get("validation")?.finish();
      if (validation?.rows === 0) throw invalidArgument("the data to validate on have no rows");
      const hash = createHash("sha256");
      await this.#hash(hash, stored, train);
      if (validation !== undefined) await this.#hash(hash, validation, this.#sets.get("validation")!);
      const rows = stored.rows + (validation?.rows ?? 0);
      const summary = { rows, bytes: this.#bytes, sha256: hash.digest("hex") };
      await this.#writeManifest({ train: stored, validation, summary });
      return summary;
    });
  }

  /** Closes the files. What was written stays: the folder is the caller's. */
  async close(): Promise<void> {
    this.#failure ??= internal("the writer of a data set has been closed");
    await Promise.all([...this.#sets.values()].map((set) => set.close()));
  }

  #requireSameKind(role: DataSetRole, set: SetInTheMaking | undefined, { kind }: DataPiece): void {
    const what = role === "train" ? "the data to train on" : "the data to validate on";
    if (set?.kind === "file") throw invalidArgument(`${what} are a file, and nothing can be added to it`);
    if (set !== undefined && set.kind !== kind) {
      throw invalidArgument(`${what} began as ${describe(set.kind)}; ${describe(kind)} cannot be mixed in`);
    }
    const other = this.#sets.get(role === "train" ? "validation" : "train");
    if (other !== undefined && (other.kind === "tensors") !== (kind === "tensors")) {
      throw invalidArgument(
        "data to train on and to validate on must both be rows with named columns, or both tensors",
      );
    }
  }

  #reserve(bytes: number): void {
    const { maxBytes } = this.#options;
    if (this.#bytes + bytes > maxBytes) {
      throw resourceExhausted(`the data have more than ${maxBytes} bytes, the server's --training_max_data_bytes`);
    }
    this.#bytes += bytes;
  }

  async #open(role: DataSetRole, kind: "csv" | "json-lines"): Promise<TextSetWriter> {
    const file = `${role}.${extensions[kind]}`;
    const set = new TextSetWriter(
      this.#options.folder,
      file,
      kind,
      kind,
      await open(join(this.#options.folder, file), "wx"),
    );
    this.#sets.set(role, set);
    return set;
  }

  async #copy(role: DataSetRole, path: string): Promise<void> {
    const { folder, trainingDataDir } = this.#options;
    const found = await findTrainingDataFile(trainingDataDir, path);
    this.#reserve(found.bytes);
    const file = `${role}.${extensions[found.form]}`;
    // Copied, without moving a byte where the file system can, so that a job taken up again sees the same data.
    await copyFile(found.path, join(folder, file), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const copied = await stat(join(folder, file));
    this.#reserve(Math.max(0, copied.size - found.bytes));
    this.#sets.set(role, new TextSetWriter(folder, file, "file", found.form, await open(join(folder, file), "r+")));
  }

  /** Of text, the bytes as they came; of tensors, what they are and then their rows, an input after another. */
  async #hash(hash: Hash, stored: StoredSet, { files }: SetInTheMaking): Promise<void> {
    if (stored.kind === "tensors") hash.update(JSON.stringify(stored));
    for (const file of files) await eachPiece(join(this.#options.folder, file), (bytes) => hash.update(bytes));
  }

  async #writeManifest(manifest: DataManifest): Promise<void> {
    const { folder } = this.#options;
    const file = await open(join(folder, manifestName), "wx");
    try {
      await file.writeFile(JSON.stringify(manifest));
      await file.sync();
    } finally {
      await file.close();
    }
    const entries = await open(folder, "r");
    try {
      await entries.sync();
    } finally {
      await entries.close();
    }
  }

  async #guarded<T>(action: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await action();
    } catch (error) {
      this.#failure = explained(error);
      throw this.#failure;
    }
  }
}

/** Bytes as they come, one file. */
class TextSetWriter implements SetInTheMaking {
  readonly kind: DataPiece["kind"];
  readonly files: readonly string[];
  readonly #folder: string;
  readonly #form: TextForm;
  readonly #file: FileHandle;
  #open = true;

  constructor(folder: string, name: string, kind: DataPiece["kind"], form: TextForm, file: FileHandle) {
    this.#folder = folder;
    this.files = [name];
    this.kind = kind;
    this.#form = form;
    this.#file = file;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#file.writeFile(bytes);
  }

  async finish(): Promise<StoredText> {
    await this.#file.sync();
    await this.close();
    const file = this.files[0]!;
    const counter = recordCounter(this.#form);
    await eachPiece(join(this.#folder, file), (bytes) => counter.add(bytes));
    return { kind: "text", form: this.#form, file, rows: counter.finish() };
  }

  async close(): Promise<void> {
    if (this.#open) await this.#file.close();
    this.#open = false;
  }
}

/** Reads a file from its start, with a turn of the event loop between any two pieces. */
async function eachPiece(path: string, use: (bytes: Uint8Array) => void): Promise<void> {
  const file = await open(path, "r");
  try {
    const buffer = new Uint8Array(256 * 1024);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return;
      use(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

const extensions: Readonly<Record<TextForm, string>> = {
  csv: "csv",
  tsv: "tsv",
  "json-lines": "jsonl",
  "json-array": "json",
};

function describe(kind: DataPiece["kind"]): string {
  const names = { csv: "CSV", "json-lines": "JSON lines", tensors: "tensors", file: "a file" } as const;
  return names[kind];
}

function explained(error: unknown): unknown {
  if (error instanceof StatusError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return resourceExhausted("the disk has no room for the data", { cause: error });
  }
  return internal(`the data could not be stored: ${errorMessage(error)}`, { cause: error });
}
