// Rows to train on and to judge by, as users hold them, and as they travel.
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip, gunzipSync } from "node:zlib";
import { Data, type DataChunk, type TensorRows } from "../../gen/onnxd/v1/training.js";
import { errorMessage, invalidArgument } from "../../status.js";
import { bytesOf, formatShape, isNumeric, type Tensor } from "../../tensor/index.js";
import { parseExactJson } from "../exact-json.js";
import { type TensorInput, toTensor } from "../ndarray.js";
import { encodeTensorProto } from "../tensor-proto.js";

/** A row by the names of its columns; null is a missing cell. */
export type Row = Readonly<Record<string, string | number | bigint | boolean | null>>;
/** Text or bytes in UTF-8, in one or in pieces that are cut anywhere. */
export type ByteSource = string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Rows, in one of these forms. */
export type TrainingData =
  /** Comma-separated values; the first line names the columns. */
  | { readonly csv: ByteSource }
  /** A JSON object a line. */
  | { readonly jsonLines: ByteSource }
  | { readonly rows: Iterable<Row> | AsyncIterable<Row> }
  /**
   * A file of the client's: .csv, .jsonl or .ndjson, .json (an array of rows, or one object that is TensorData); with
   * .gz behind it, compressed.
   */
  | { readonly path: string }
  | { readonly tensors: TensorData };

/** A file below the server's --training_data_dir, as a relative path. */
export interface ServerFile {
  readonly serverFile: string;
}

/** Rows as tensors: the first axis of each is the rows. Plain numbers are float32. */
export interface TensorData {
  /** By graph input; one, for a new model. */
  readonly inputs: Readonly<Record<string, TensorInput>>;
  readonly targets: TensorInput;
  /** What each row counts, [rows]. Default: all 1. */
  readonly weights?: TensorInput;
}

type Content = NonNullable<DataChunk["content"]>;

/** Bytes of a message of data, about: small enough to be taken in turn with others, large enough to cost little. */
const pieceBytes = 256 * 1024;

/** Whether the data can be read a second time, as a retry needs. */
export function isRepeatable(data: TrainingData): boolean {
  if ("path" in data || "tensors" in data) return true;
  if ("rows" in data) return Array.isArray(data.rows);
  const source = "csv" in data ? data.csv : data.jsonLines;
  return typeof source === "string" || source instanceof Uint8Array || Array.isArray(source);
}

/** The data in messages. Throws INVALID_ARGUMENT for what is not data, and what reading a file throws. */
export async function* contentOf(data: TrainingData): AsyncGenerator<Content, void, undefined> {
  if ("tensors" in data) {
    for (const value of tensorPieces(data.tensors)) yield { $case: "tensors", value };
  } else if ("rows" in data) {
    for await (const value of piecesOf(linesOf(data.rows))) yield { $case: "jsonLines", value };
  } else if ("path" in data) {
    yield* fileContent(data.path);
  } else {
    const $case = "csv" in data ? "csv" : "jsonLines";
    for await (const value of piecesOf("csv" in data ? data.csv : data.jsonLines)) yield { $case, value };
  }
}

/** The data in one message, for calls that take no stream. */
export async function dataMessage(data: TrainingData | ServerFile): Promise<Data> {
  if ("serverFile" in data) return Data.create({ file: data.serverFile });
  if ("tensors" in data) return Data.create({ tensors: tensorRows(tensorsOf(data.tensors)) });
  if ("path" in data && formOf(data.path) === "json") return await dataMessage(await readJson(data.path));
  let form: "csv" | "jsonLines" = "csv";
  const pieces: Uint8Array[] = [];
  for await (const content of contentOf(data)) {
    if (content.$case === "tensors") continue;
    form = content.$case;
    pieces.push(content.value);
  }
  const text = decodeUtf8(Buffer.concat(pieces));
  if (form === "csv") return Data.create({ csv: text });
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Data.create({ rows: lines.map((line, index) => structRow(parseExactJson(`row ${index + 1}`, line), index)) });
}

type FileForm = "csv" | "jsonLines" | "json";

async function* fileContent(path: string): AsyncGenerator<Content, void, undefined> {
  const form = formOf(path);
  if (form === "json") yield* contentOf(await readJson(path));
  else for await (const value of piecesOf(readBytes(path))) yield { $case: form, value };
}

async function readJson(path: string): Promise<TrainingData> {
  const bytes = await readFile(path);
  const content = parseExactJson(path, decodeUtf8(path.endsWith(".gz") ? gunzipSync(bytes) : bytes));
  if (Array.isArray(content)) return { rows: content };
  if (typeof content === "object" && content !== null && "inputs" in content && "targets" in content) {
    return { tensors: content as TensorData };
  }
  throw invalidArgument(`${path} must hold an array of rows, or an object of inputs and targets; got something else`);
}

/** Throws INVALID_ARGUMENT unless the file's name says what is in it. */
export function validateDataPath(path: string): void {
  formOf(path);
}

function formOf(path: string): FileForm {
  const ending = /\.([a-z]+)(\.gz)?$/i.exec(path)?.[1]?.toLowerCase();
  if (ending === "csv") return "csv";
  if (ending === "jsonl" || ending === "ndjson") return "jsonLines";
  if (ending === "json") return "json";
  throw invalidArgument(`data files end in .csv, .jsonl, .ndjson or .json, with or without .gz; got "${path}"`);
}

function readBytes(path: string): AsyncIterable<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: pieceBytes });
  if (!path.endsWith(".gz")) return file;
  const unpacked = createGunzip({ chunkSize: pieceBytes });
  // Whoever reads hears of a failure through the stream itself.
  pipeline(file, unpacked, () => {});
  return unpacked;
}

/** In pieces of one size, whatever the source's are: a message for each line would be a hundred times slower. */
async function* piecesOf(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = typeof source === "string" || source instanceof Uint8Array ? [source] : source;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  for await (const piece of pieces) {
    let bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
    while (waitingBytes + bytes.length >= pieceBytes) {
      const taken = pieceBytes - waitingBytes;
      yield Buffer.concat([...waiting, bytes.subarray(0, taken)]);
      bytes = bytes.subarray(taken);
      waiting = [];
      waitingBytes = 0;
    }
    // A copy: the source may write over its buffer for the next piece.
    if (bytes.length > 0) waiting.push(Uint8Array.from(bytes));
    waitingBytes += bytes.length;
  }
  if (waitingBytes > 0) yield Buffer.concat(waiting);
}

/** Rows as lines of JSON, some of them in a piece. */
async function* linesOf(rows: Iterable<Row> | AsyncIterable<Row>): AsyncGenerator<string, void, undefined> {
  let waiting = "";
  let count = 0;
  for await (const row of rows) {
    waiting += `${jsonLine(row, count++)}\n`;
    if (waiting.length >= pieceBytes) {
      yield waiting;
      waiting = "";
    }
  }
  if (waiting !== "") yield waiting;
}

function jsonLine(row: unknown, index: number): string {
  const cells = cellsOf(row, index).map(([column, cell]) => {
    return `${JSON.stringify(column)}:${typeof cell === "bigint" ? cell : JSON.stringify(cell)}`;
  });
  return `{${cells.join(",")}}`;
}

/** A row for google.protobuf.Struct, whose numbers are doubles. */
function structRow(row: unknown, index: number): Record<string, unknown> {
  const cells = cellsOf(row, index);
  for (const [column, cell] of cells) {
    if (typeof cell === "bigint" && BigInt(Number(cell)) !== cell) {
      throw invalidArgument(
        `row ${index + 1}, column "${column}": ${cell} is more than a double holds; send it as CSV`,
      );
    }
  }
  return Object.fromEntries(cells.map(([column, cell]) => [column, typeof cell === "bigint" ? Number(cell) : cell]));
}

function cellsOf(row: unknown, index: number): [string, Row[string]][] {
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw invalidArgument(`row ${index + 1} must be an object of cells by column; got ${JSON.stringify(row)}`);
  }
  const cells = Object.entries(row).filter(([, cell]) => cell !== undefined);
  for (const [column, cell] of cells) {
    const fits =
      typeof cell === "number" ? Number.isFinite(cell) : cell === null || /^(string|bigint|boolean)$/.test(typeof cell);
    if (!fits) {
      const got = typeof cell === "number" ? String(cell) : JSON.stringify(cell);
      throw invalidArgument(
        `row ${index + 1}, column "${column}": a cell is a finite number, a string, true, false or null; got ${got}`,
      );
    }
  }
  return cells;
}

interface Tensors {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly targets: Tensor;
  readonly weights: Tensor | undefined;
}

function tensorsOf({ inputs, targets, weights }: TensorData): Tensors {
  const tensors = {
    inputs: new Map(Object.entries(inputs).map(([name, input]) => [name, toTensor(name, input, "float32")])),
    targets: toTensor("targets", targets, "float32"),
    weights: weights === undefined ? undefined : toTensor("weights", weights, "float32"),
  };
  const rows = tensors.targets.shape[0];
  for (const [name, { shape }] of [...tensors.inputs, ["weights", tensors.weights ?? tensors.targets] as const]) {
    if (rows === undefined || shape[0] !== rows) {
      throw invalidArgument(
        `the first axis is the rows: targets are ${formatShape(tensors.targets.shape)}, "${name}" is ${formatShape(shape)}`,
      );
    }
  }
  return tensors;
}

function* tensorPieces(data: TensorData): Generator<TensorRows, void, undefined> {
  const { inputs, targets, weights } = tensorsOf(data);
  const rows = targets.shape[0]!;
  const all = [...inputs.values(), targets, ...(weights === undefined ? [] : [weights])];
  const bytes = all.reduce((sum, tensor) => sum + (isNumeric(tensor) ? bytesOf(tensor.data).length : 64 * rows), 0);
  const rowsAtOnce = Math.max(1, Math.floor((pieceBytes * rows) / Math.max(1, bytes)));
  for (let start = 0; start < rows; start += rowsAtOnce) {
    const some = (tensor: Tensor) => rowsOf(tensor, start, Math.min(rows, start + rowsAtOnce));
    yield tensorRows({
      inputs: new Map([...inputs].map(([name, tensor]) => [name, some(tensor)])),
      targets: some(targets),
      weights: weights && some(weights),
    });
  }
}

function rowsOf(tensor: Tensor, start: number, end: number): Tensor {
  const { shape, data } = tensor;
  const size = data.length / shape[0]!;
  const some = isNumeric(tensor)
    ? tensor.data.subarray(start * size, end * size)
    : data.slice(start * size, end * size);
  return { ...tensor, shape: [end - start, ...shape.slice(1)], data: some } as Tensor;
}

function tensorRows({ inputs, targets, weights }: Tensors): TensorRows {
  return {
    inputs: new Map([...inputs].map(([name, tensor]) => [name, encodeTensorProto(tensor)])),
    targets: encodeTensorProto(targets),
    weights: weights && encodeTensorProto(weights),
  };
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw invalidArgument(`the data are not UTF-8: ${errorMessage(thrown)}`, { cause: thrown });
  }
}
