import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument } from "../../status.js";
import {
  bytesOf,
  type ElementType,
  elementTypeInfo,
  formatShape,
  isNumeric,
  type NumericTensor,
  type Tensor,
} from "../../tensor/index.js";
import type { StoredTensor, StoredTensors } from "./data-files.js";
import type { DataPiece, DataSetRole } from "./training-service.js";

type TensorsPiece = Extract<DataPiece, { kind: "tensors" }>;

/** A tensor of the set: what its rows are, and the file they are appended to. */
interface Column {
  readonly stored: StoredTensor;
  readonly tensorOf: (piece: TensorsPiece) => NumericTensor;
  file: FileHandle | undefined;
}

/** Each has a file that is open while rows come. */
const maxInputs = 256;

/** Rows as tensors, appended to a file an input, one for the targets and one for the weights. */
export class TensorSetWriter {
  readonly kind = "tensors";
  readonly #folder: string;
  readonly #role: DataSetRole;
  #columns: readonly Column[] = [];
  #rows = 0;

  constructor(folder: string, role: DataSetRole) {
    this.#folder = folder;
    this.#role = role;
  }

  get files(): readonly string[] {
    return this.#columns.map(({ stored }) => stored.file);
  }

  /**
   * Checks a piece against those before it and tells its bytes.
   * Throws INVALID_ARGUMENT naming the tensor that differs in type, shape or number of rows.
   */
  measure(piece: TensorsPiece): number {
    const columns = this.#columnsOf(piece);
    if (this.#columns.length === 0) this.#columns = columns;
    requireSameColumns(this.#columns, columns);
    const rows = piece.targets.shape[0]!;
    let bytes = 0;
    for (const { stored, tensorOf } of columns) {
      const { shape, data } = tensorOf(piece);
      if (shape[0] !== rows) {
        throw invalidArgument(`${titleOf(stored)} has ${shape[0]} rows; the targets with it have ${rows}`);
      }
      bytes += data.byteLength;
    }
    return bytes;
  }

  /** After measure(). */
  async write(piece: TensorsPiece): Promise<void> {
    for (const column of this.#columns) {
      column.file ??= await open(join(this.#folder, column.stored.file), "wx");
      await column.file.writeFile(bytesOf(column.tensorOf(piece).data));
    }
    this.#rows += piece.targets.shape[0]!;
  }

  async finish(): Promise<StoredTensors> {
    for (const { file } of this.#columns) await file?.sync();
    await this.close();
    const [targets, ...others] = this.#columns.map(({ stored }) => stored);
    const weights = others.find(({ file }) => file === this.#fileOf("weights"));
    return {
      kind: "tensors",
      rows: this.#rows,
      inputs: others.filter((each) => each !== weights),
      targets: targets!,
      weights,
    };
  }

  async close(): Promise<void> {
    for (const column of this.#columns) {
      const { file } = column;
      column.file = undefined;
      await file?.close();
    }
  }

  /** Targets first, inputs by name, weights last: the same order however the client sent them. */
  #columnsOf({ inputs, targets, weights }: TensorsPiece): Column[] {
    if (inputs.size === 0) throw invalidArgument("the tensors have no inputs");
    if (inputs.size > maxInputs) {
      throw invalidArgument(`the tensors have ${inputs.size} inputs; ${maxInputs} are allowed`);
    }
    if (inputs.has("__proto__")) throw invalidArgument('an input cannot be named "__proto__"');
    const column = (what: string, name: string, tensor: Tensor, tensorOf: Column["tensorOf"]): Column => {
      const { dtype, shape } = tensor;
      const stored = { name, dtype, shape: shape.slice(1), file: this.#fileOf(what) };
      requireRows(titleOf(stored), tensor);
      return { stored, tensorOf, file: undefined };
    };
    requireAnswers("targets", targets);
    const columns = [column("targets", "targets", targets, (piece) => piece.targets)];
    const names = [...inputs.keys()].sort();
    names.forEach((name, index) => {
      const of = (piece: TensorsPiece) => piece.inputs.get(name) as NumericTensor;
      const tensor = inputs.get(name)!;
      if (!isNumeric(tensor)) throw invalidArgument(`input "${name}" holds strings; give its rows as a table`);
      columns.push(column(`input-${index}`, name, tensor, of));
    });
    if (weights === undefined) return columns;
    requireAnswers("weights", weights);
    if (weights.shape.length !== 1) {
      throw invalidArgument(`weights are one a row; they are of shape ${formatShape(weights.shape)}`);
    }
    columns.push(column("weights", "weights", asFloats(weights), (piece) => asFloats(piece.weights!)));
    return columns;
  }

  #fileOf(what: string): string {
    return `${this.#role}.${what}.bin`;
  }
}

function requireRows(title: string, { dtype, shape }: Tensor): void {
  if (elementTypeInfo(dtype).array === undefined) throw invalidArgument(`${title} is ${dtype}, which is not read here`);
  if (shape.length === 0) throw invalidArgument(`${title} has no axis; its first axis is the rows`);
  if (shape.slice(1).includes(0))
    throw invalidArgument(`${title} has rows of shape ${formatShape(shape.slice(1))}, which hold nothing`);
}

const answerTypes: ReadonlySet<ElementType> = new Set<ElementType>([
  "float32",
  "float64",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "bool",
]);

function requireAnswers(what: string, { dtype }: Tensor): void {
  if (!answerTypes.has(dtype))
    throw invalidArgument(`${what} are numbers in one of ${[...answerTypes].join(", ")}; got ${dtype}`);
}

function requireSameColumns(first: readonly Column[], now: readonly Column[]): void {
  for (const { stored } of first) {
    const same = now.find(({ stored: { name, file } }) => name === stored.name && file === stored.file)?.stored;
    if (same === undefined) throw invalidArgument(`${titleOf(stored)} is missing from some of the rows`);
    if (same.dtype !== stored.dtype || formatShape(same.shape) !== formatShape(stored.shape)) {
      throw invalidArgument(
        `${titleOf(stored)} began as ${stored.dtype} ${formatShape(stored.shape)} a row; now it is ${same.dtype} ${formatShape(same.shape)}`,
      );
    }
  }
  const added = now.find(
    ({ stored }) => !first.some(({ stored: known }) => known.name === stored.name && known.file === stored.file),
  );
  if (added !== undefined) throw invalidArgument(`${titleOf(added.stored)} was not given with the first rows`);
}

const titleOf = ({ name, file }: StoredTensor): string =>
  file.endsWith(`.${name}.bin`) ? `the tensor of ${name}` : `input "${name}"`;

function asFloats(tensor: NumericTensor): NumericTensor {
  if (tensor.dtype === "float32") return tensor;
  return { dtype: "float32", shape: tensor.shape, data: Float32Array.from(tensor.data as Float64Array, Number) };
}
