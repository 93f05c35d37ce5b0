// Examples as they come in: in memory as long as they are small, on disk from then on, so that memory does not grow
// with the data.
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { internal, resourceExhausted } from "../status.js";
import { bytesOf, elementTypeInfo, type NumericData, type NumericTensor } from "../tensor/index.js";
import { rowName } from "./data/table.js";
import { type Examples, type Field, rowSize } from "./examples.js";

export interface ExampleStoreOptions {
  /** What rows are called, where their place among all does not say it. */
  readonly nameOf?: ((row: number) => string) | undefined;
  /** Where the file is made when there is need; without it, all stays in memory. */
  readonly folder?: string | undefined;
  /** What may be held in memory. Default 256 MiB. */
  readonly memoryBytes?: number;
}

/** A row's fields lie behind each other in a record of fixed length. */
export class ExampleStore implements Examples {
  readonly fields: readonly Field[];
  count = 0;
  readonly #options: ExampleStoreOptions;
  readonly #layout: ReadonlyMap<string, { readonly offset: number; readonly bytes: number }>;
  readonly #recordBytes: number;
  #memory: Uint8Array = new Uint8Array(0);
  #file: { readonly handle: number; readonly path: string } | undefined;
  /** The records of the rows gathered last: fields of one batch are asked for one after another. */
  #gathered: Uint8Array = new Uint8Array(0);
  #gatheredRows = new Uint32Array(0);

  constructor(fields: readonly Field[], options: ExampleStoreOptions = {}) {
    this.fields = fields;
    this.#options = options;
    let offset = 0;
    const layout = new Map<string, { offset: number; bytes: number }>();
    for (const field of fields) {
      const bytes = rowSize(field) * elementTypeInfo(field.dtype).bytesPerElement;
      layout.set(field.name, { offset, bytes });
      offset += bytes;
    }
    this.#layout = layout;
    this.#recordBytes = offset;
  }

  /** Adds rows: a tensor a field, all with as many. */
  append(tensors: ReadonlyMap<string, NumericTensor>): void {
    const rows = tensors.get(this.fields[0]!.name)!.shape[0]!;
    const records = new Uint8Array(rows * this.#recordBytes);
    for (const { name } of this.fields) {
      const { offset, bytes } = this.#layout.get(name)!;
      const from = bytesOf(tensors.get(name)!.data);
      if (from.length !== rows * bytes) throw internal(`field "${name}" has ${from.length} bytes for ${rows} rows`);
      for (let row = 0; row < rows; row++) {
        records.set(from.subarray(row * bytes, (row + 1) * bytes), row * this.#recordBytes + offset);
      }
    }
    this.#write(records);
    this.count += rows;
    this.#gatheredRows = new Uint32Array(0);
  }

  /** What the rows take of memory. */
  get memoryBytes(): number {
    return this.#file === undefined ? this.count * this.#recordBytes : 0;
  }

  nameOf(row: number): string {
    return (this.#options.nameOf ?? rowName)(row);
  }

  gather(field: string, rows: Uint32Array, into: NumericData): void {
    const place = this.#layout.get(field);
    if (place === undefined) throw internal(`the examples have no field "${field}"`);
    const target = bytesOf(into);
    const records = this.#recordsOf(rows);
    for (let i = 0; i < rows.length; i++) {
      const start = i * this.#recordBytes + place.offset;
      target.set(records.subarray(start, start + place.bytes), i * place.bytes);
    }
  }

  /** Gives memory and disk back. */
  close(): void {
    this.#memory = new Uint8Array(0);
    if (this.#file === undefined) return;
    closeSync(this.#file.handle);
    rmSync(this.#file.path, { force: true });
    this.#file = undefined;
  }

  #write(records: Uint8Array): void {
    const used = this.count * this.#recordBytes;
    const { folder, memoryBytes = defaultMemoryBytes } = this.#options;
    if (this.#file === undefined && folder !== undefined && used + records.length > memoryBytes)
      this.#moveToDisk(folder);
    if (this.#file !== undefined) {
      writeAll(this.#file.handle, records, used);
      return;
    }
    if (used + records.length > this.#memory.length) {
      const larger = new Uint8Array(Math.max(used + records.length, 2 * this.#memory.length));
      larger.set(this.#memory.subarray(0, used));
      this.#memory = larger;
    }
    this.#memory.set(records, used);
  }

  #moveToDisk(folder: string): void {
    const path = join(folder, "examples.bin");
    const handle = openSync(path, "w+");
    writeAll(handle, this.#memory.subarray(0, this.count * this.#recordBytes), 0);
    this.#memory = new Uint8Array(0);
    this.#file = { handle, path };
  }

  #recordsOf(rows: Uint32Array): Uint8Array {
    if (sameRows(rows, this.#gatheredRows)) return this.#gathered;
    const bytes = this.#recordBytes;
    if (this.#gathered.length < rows.length * bytes) this.#gathered = new Uint8Array(rows.length * bytes);
    for (let i = 0; i < rows.length; i++) {
      const start = rows[i]! * bytes;
      if (this.#file === undefined) this.#gathered.set(this.#memory.subarray(start, start + bytes), i * bytes);
      else readAll(this.#file.handle, this.#gathered.subarray(i * bytes, (i + 1) * bytes), start);
    }
    this.#gatheredRows = rows.slice();
    return this.#gathered;
  }
}

const defaultMemoryBytes = 256 * 1024 * 1024;

function sameRows(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length || a.length === 0) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function writeAll(handle: number, bytes: Uint8Array, position: number): void {
  try {
    for (let done = 0; done < bytes.length; )
      done += writeSync(handle, bytes, done, bytes.length - done, position + done);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw resourceExhausted("the disk has no room for the rows that are made ready", { cause: error });
  }
}

function readAll(handle: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.length; ) {
    const read = readSync(handle, into, done, into.length - done, position + done);
    if (read === 0) throw internal("the file of examples is shorter than what was written to it");
    done += read;
  }
}
