// The messages of onnxd.v1 that carry rows, read in place: bytes of tables stay views of the message, and tensors are
// read as Predict's are.
import { Struct } from "../../gen/google/protobuf/struct.js";
import { EvaluateRequest, TrainHeader, TrainingSpec } from "../../gen/onnxd/v1/training.js";
import { errorMessage, invalidArgument, StatusError } from "../../status.js";
import { isNumeric, type NumericTensor, type Tensor } from "../../tensor/index.js";
import type { DataPiece, DataSetRole } from "../../training/index.js";
import { noTensors, readNamedTensor } from "./predict-request.js";
import { defaultTensorProtoLimits, TensorProtoSource } from "./tensor-proto-source.js";
import { tagOf, WireReader, WireType } from "./wire-reader.js";

/** One message of Train. */
export type TrainPart =
  | { readonly kind: "header"; readonly header: TrainHeader }
  | { readonly kind: "data"; readonly role: DataSetRole; readonly piece: DataPiece };

/** Rows as objects. They are turned into text only as they are taken. */
export interface GivenRows {
  readonly count: number;
  /** A JSON object each, without a line break. Throws INVALID_ARGUMENT naming the row. @param place what holds them: "data" */
  lines(place: string): Iterable<string>;
}

/** onnxd.v1.Data as it came. */
export interface GivenData {
  /** Without bytes: not given. */
  readonly csv: Uint8Array;
  /** "": not given. */
  readonly file: string;
  readonly rows: GivenRows;
  readonly tensors: GivenTensors | undefined;
}

interface GivenTensors {
  readonly inputs: ReadonlyMap<string, TensorProtoSource>;
  readonly targets: TensorProtoSource | undefined;
  readonly weights: TensorProtoSource | undefined;
}

/** onnxd.v1.StartJobRequest. */
export interface GivenStart {
  readonly spec: TrainingSpec | undefined;
  readonly data: GivenData | undefined;
  readonly validationData: GivenData | undefined;
  readonly idempotencyKey: string;
  readonly dryRun: boolean;
}

/** onnxd.v1.EvaluateRequest. */
export interface GivenEvaluation {
  readonly request: Omit<EvaluateRequest, "data">;
  readonly data: GivenData | undefined;
}

/** All pieces are views of `bytes`. @throws INVALID_ARGUMENT for data that are none, WireFormatError */
export function decodeTrainRequest(bytes: Uint8Array): TrainPart {
  const reader = new WireReader(bytes);
  let part: TrainPart | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) part = { kind: "header", header: TrainHeader.decode(reader.view()) };
    else if (tag === secondTag) part = readDataChunk(reader);
    else reader.skip(tag);
  }
  if (part === undefined) throw invalidArgument("a TrainRequest holds either a header or data; got neither");
  return part;
}

export function decodeStartJobRequest(bytes: Uint8Array): GivenStart {
  const reader = new WireReader(bytes);
  let spec: TrainingSpec | undefined;
  let data: GivenData | undefined;
  let validationData: GivenData | undefined;
  let idempotencyKey = "";
  let dryRun = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) spec = TrainingSpec.decode(reader.view());
    else if (tag === secondTag) data = readData(reader);
    else if (tag === thirdTag) validationData = readData(reader);
    else if (tag === fourthTag) idempotencyKey = reader.string();
    else if (tag === dryRunTag) dryRun = reader.uint32() !== 0;
    else reader.skip(tag);
  }
  return { spec, data, validationData, idempotencyKey, dryRun };
}

export function decodeEvaluateRequest(bytes: Uint8Array): GivenEvaluation {
  const reader = new WireReader(bytes);
  const others: Uint8Array[] = [];
  let data: GivenData | undefined;
  for (let start = 0, tag = reader.tag(); tag !== 0; start = reader.pos, tag = reader.tag()) {
    if (tag === secondTag) {
      data = readData(reader);
    } else {
      reader.skip(tag);
      others.push(bytes.subarray(start, reader.pos));
    }
  }
  return { request: EvaluateRequest.decode(Buffer.concat(others)), data };
}

/** Bytes of rows in a piece, about. */
const pieceBytes = 256 * 1024;

/**
 * The rows in pieces, made as they are asked for.
 * @param place what refusals call the data: "data"
 * @throws INVALID_ARGUMENT for none, or several forms
 */
export function* dataPieces(data: GivenData | undefined, place: string): Generator<DataPiece, void, undefined> {
  const { csv, file, rows, tensors } = data ?? noData;
  const given = [
    csv.length > 0 && "csv",
    file !== "" && "file",
    rows.count > 0 && "rows",
    tensors !== undefined && "tensors",
  ].filter((name) => name !== false);
  if (given.length !== 1) {
    const got = given.length === 0 ? "none" : given.join(" and ");
    throw invalidArgument(`${place} takes exactly one of csv, file, rows and tensors; got ${got}`);
  }
  if (csv.length > 0) {
    for (let start = 0; start < csv.length; start += pieceBytes) {
      yield { kind: "csv", bytes: csv.subarray(start, start + pieceBytes) };
    }
  } else if (file !== "") {
    yield { kind: "file", path: file };
  } else if (tensors !== undefined) {
    yield tensorPiece(tensors, `${place}.tensors`);
  } else {
    let text = "";
    for (const line of rows.lines(place)) {
      text += `${line}\n`;
      if (text.length < pieceBytes) continue;
      yield { kind: "json-lines", bytes: Buffer.from(text) };
      text = "";
    }
    if (text !== "") yield { kind: "json-lines", bytes: Buffer.from(text) };
  }
}

const firstTag = tagOf(1, WireType.bytes);
const secondTag = tagOf(2, WireType.bytes);
const thirdTag = tagOf(3, WireType.bytes);
const fourthTag = tagOf(4, WireType.bytes);
const validationTag = tagOf(1, WireType.varint);
const dryRunTag = tagOf(5, WireType.varint);

function readDataChunk(reader: WireReader): TrainPart {
  const outer = reader.enter();
  let validation = false;
  let piece: DataPiece | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === validationTag) validation = reader.uint32() !== 0;
    else if (tag === secondTag) piece = { kind: "csv", bytes: reader.view() };
    else if (tag === thirdTag) piece = { kind: "json-lines", bytes: reader.view() };
    else if (tag === fourthTag) piece = tensorPiece(readTensorRows(reader), "data.tensors");
    else reader.skip(tag);
  }
  reader.leave(outer);
  if (piece === undefined) throw invalidArgument("data takes one of csv, json_lines and tensors; got none");
  return { kind: "data", role: validation ? "validation" : "train", piece };
}

function readData(reader: WireReader): GivenData {
  const outer = reader.enter();
  const rows: Uint8Array[] = [];
  let csv: Uint8Array = noBytes;
  let file = "";
  let tensors: GivenTensors | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) csv = reader.view();
    else if (tag === secondTag) file = reader.string();
    else if (tag === thirdTag) rows.push(reader.view());
    else if (tag === fourthTag) tensors = readTensorRows(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { csv, file, rows: structRows(rows), tensors };
}

const noBytes = new Uint8Array(0);
const noData: GivenData = { csv: noBytes, file: "", rows: { count: 0, lines: () => [] }, tensors: undefined };

function structRows(structs: readonly Uint8Array[]): GivenRows {
  return {
    count: structs.length,
    *lines(place) {
      for (const [index, bytes] of structs.entries())
        yield JSON.stringify(readStruct(bytes, `${place}.rows[${index}]`));
    },
  };
}

function readStruct(bytes: Uint8Array, place: string): Record<string, unknown> {
  let fields: Struct["fields"];
  try {
    ({ fields } = Struct.decode(bytes));
  } catch (thrown) {
    throw invalidArgument(`${place} is no google.protobuf.Struct: ${errorMessage(thrown)}`);
  }
  for (const [name, value] of fields) {
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw invalidArgument(`${place}.${name} is ${value}, which no row can hold; leave out what is missing`);
    }
  }
  return Object.fromEntries(fields);
}

function readTensorRows(reader: WireReader): GivenTensors {
  const outer = reader.enter();
  let inputs: ReadonlyMap<string, TensorProtoSource> = noTensors;
  let targets: TensorProtoSource | undefined;
  let weights: TensorProtoSource | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === firstTag) inputs = readNamedTensor(reader, inputs, defaultTensorProtoLimits);
    else if (tag === secondTag) targets = readTensor(reader);
    else if (tag === thirdTag) weights = readTensor(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { inputs, targets, weights };
}

function readTensor(reader: WireReader): TensorProtoSource {
  const outer = reader.enter();
  const tensor = new TensorProtoSource(reader.bytes);
  tensor.merge(reader);
  reader.leave(outer);
  tensor.finish();
  return tensor;
}

function tensorPiece({ inputs, targets, weights }: GivenTensors, place: string): DataPiece {
  if (inputs.size === 0) throw invalidArgument(`${place}.inputs is empty`);
  if (targets === undefined) throw invalidArgument(`${place}.targets is missing`);
  return {
    kind: "tensors",
    inputs: new Map([...inputs].map(([name, source]) => [name, decodeTensor(source, `${place}.inputs["${name}"]`)])),
    targets: decodeNumbers(targets, `${place}.targets`),
    ...(weights !== undefined && { weights: decodeNumbers(weights, `${place}.weights`) }),
  };
}

function decodeTensor(source: TensorProtoSource, place: string): Tensor {
  if (source.invalid !== undefined) throw invalidArgument(`${place}: ${source.invalid}`);
  try {
    return source.decode();
  } catch (thrown) {
    if (!(thrown instanceof StatusError)) throw thrown;
    throw new StatusError(thrown.code, `${place}: ${thrown.message}`, { cause: thrown });
  }
}

function decodeNumbers(source: TensorProtoSource, place: string): NumericTensor {
  const tensor = decodeTensor(source, place);
  if (isNumeric(tensor)) return tensor;
  throw invalidArgument(`${place} must hold numbers; got strings`);
}
