// inference.ModelInferResponse, written once, into one buffer of the exact size.
import { codeName, internal, type StatusError } from "../../status.js";
import { bytesOf, elementTypeInfo, type NumericData, type Tensor } from "../../tensor/index.js";
import type { InferOutput, InferResponse } from "../open-inference/infer-request.js";
import { contentsFieldOf } from "./oip-typed-contents.js";
import { type NarrowArray, narrowSize, wideSize, writeNarrow, writeWide } from "./packed-values.js";
import { tagOf, WireType } from "./wire-reader.js";
import { fieldSize, sizeSize, writeSize, writeVarint32 } from "./wire-writer.js";

/** An answer, and the form its tensors travel in. */
export interface InferAnswer {
  readonly response: InferResponse;
  /**
   * Elements in typed contents instead of raw_output_contents. A response with a tensor of a type that has no such field
   * (FP16) is raw all the same.
   */
  readonly typed: boolean;
}

/** One answer of a stream: an inference's, or the error in its place. */
export type StreamAnswer =
  | InferAnswer
  | { readonly error: StatusError; readonly id: string; readonly modelName: string };

export function encodeInferResponse({ response, typed }: InferAnswer): Buffer {
  const measured = measureResponse(response, typed, noParameters);
  const out = Buffer.allocUnsafe(measured.size);
  writeResponse(out, 0, measured);
  return out;
}

/** inference.ModelStreamInferResponse. */
export function encodeStreamAnswer(answer: StreamAnswer): Buffer {
  if ("response" in answer) {
    const measured = measureResponse(answer.response, answer.typed, finalResponse);
    const out = Buffer.allocUnsafe(fieldSize(measured.size));
    let pos = writeTag(out, 0, inferResponseTag, measured.size);
    pos = writeResponse(out, pos, measured);
    return out;
  }
  const inner = Buffer.concat([
    textField(modelNameTag, answer.modelName),
    textField(idTag, answer.id),
    finalResponse,
    int64Parameter(errorCodeParameter, answer.error.code),
  ]);
  return Buffer.concat([
    textField(errorMessageTag, answer.error.message || codeName(answer.error.code)),
    bytesField(inferResponseTag, inner),
  ]);
}

/** Where a stream's failed request says its status code, which Triton's message has no field for. */
const errorCodeParameter = "onnxd_error_code";

const modelNameTag = tagOf(1, WireType.bytes);
const modelVersionTag = tagOf(2, WireType.bytes);
const idTag = tagOf(3, WireType.bytes);
const parametersTag = tagOf(4, WireType.bytes);
const outputsTag = tagOf(5, WireType.bytes);
const rawOutputContentsTag = tagOf(6, WireType.bytes);
const errorMessageTag = tagOf(1, WireType.bytes);
const inferResponseTag = tagOf(2, WireType.bytes);

const nameTag = tagOf(1, WireType.bytes);
const datatypeTag = tagOf(2, WireType.bytes);
const shapeTag = tagOf(3, WireType.bytes);
const contentsTag = tagOf(5, WireType.bytes);

function textField(tag: number, text: string): Buffer {
  return text === "" ? Buffer.alloc(0) : bytesField(tag, Buffer.from(text));
}

function bytesField(tag: number, bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(fieldSize(bytes.length));
  out.set(bytes, writeTag(out, 0, tag, bytes.length));
  return out;
}

const noParameters = Buffer.alloc(0);
/** parameters: {"triton_final_response": true}. An ONNX model gives one response, which is the last. */
const finalResponse = parameterField("triton_final_response", Buffer.from([tagOf(1, WireType.varint), 1]));

function int64Parameter(key: string, value: number): Buffer {
  const choice = Buffer.alloc(1 + sizeSize(value), tagOf(2, WireType.varint));
  writeSize(choice, 1, value);
  return parameterField(key, choice);
}

function parameterField(key: string, choice: Uint8Array): Buffer {
  const entry = Buffer.concat([textField(tagOf(1, WireType.bytes), key), bytesField(tagOf(2, WireType.bytes), choice)]);
  return bytesField(parametersTag, entry);
}

interface MeasuredResponse {
  readonly size: number;
  readonly modelName: string;
  readonly version: string;
  readonly id: string;
  readonly parameters: Uint8Array;
  readonly outputs: readonly MeasuredOutput[];
  readonly raw: boolean;
}

interface MeasuredOutput {
  readonly name: string;
  readonly datatype: string;
  readonly tensor: Tensor;
  /** Of the InferOutputTensor. */
  readonly size: number;
  readonly shapeSize: number;
  /** The number of the typed field. */
  readonly field: number;
  /** Of the raw contents, of the payload of the packed field, or of all fields of strings. */
  readonly valuesSize: number;
}

function measureResponse(response: InferResponse, typed: boolean, parameters: Uint8Array): MeasuredResponse {
  const { servableId, id, outputs: given } = response;
  const raw = !typed || given.some(({ tensor }) => contentsFieldOf(datatypeOf(tensor)) === undefined);
  const outputs = given.map((output) => measureOutput(output, raw));
  const version = servableId.version.toString();
  let size = fieldSize(Buffer.byteLength(servableId.name)) + fieldSize(version.length) + parameters.length;
  if (id !== "") size += fieldSize(Buffer.byteLength(id));
  for (const output of outputs) {
    size += fieldSize(output.size);
    if (raw) size += fieldSize(output.valuesSize);
  }
  return { size, modelName: servableId.name, version, id, parameters, outputs, raw };
}

function measureOutput({ name, tensor }: InferOutput, raw: boolean): MeasuredOutput {
  const datatype = datatypeOf(tensor);
  let shapeSize = 0;
  for (const size of tensor.shape) shapeSize += sizeSize(size);
  const field = raw ? 0 : contentsFieldOf(datatype)!;
  const valuesSize = raw ? rawSize(tensor) : typedSize(tensor);
  let size = fieldSize(Buffer.byteLength(name)) + fieldSize(datatype.length);
  if (shapeSize > 0) size += fieldSize(shapeSize);
  if (!raw) size += fieldSize(contentsSize(tensor, valuesSize));
  return { name, datatype, tensor, size, shapeSize, field, valuesSize };
}

function datatypeOf({ dtype }: Tensor): string {
  const { openInference } = elementTypeInfo(dtype);
  if (openInference === undefined)
    throw internal(`the model returned a tensor of type ${dtype}, which has no datatype`);
  return openInference;
}

function rawSize({ dtype, data }: Tensor): number {
  if (dtype !== "string") return (data as NumericData).byteLength;
  let size = 0;
  for (const text of data as readonly string[]) size += 4 + Buffer.byteLength(text);
  return size;
}

function typedSize({ dtype, data }: Tensor): number {
  switch (dtype) {
    case "string": {
      let size = 0;
      for (const text of data as readonly string[]) size += fieldSize(Buffer.byteLength(text));
      return size;
    }
    case "int64":
    case "uint64":
      return wideSize(data as BigInt64Array);
    case "bool": // a bool's byte is its varint, and floats lie in memory as on the wire
    case "float32":
    case "float64":
      return (data as NumericData).byteLength;
    default:
      return narrowSize(data as NarrowArray);
  }
}

/** Of the InferTensorContents: strings are fields of their own, numbers one packed field, nothing at all when empty. */
function contentsSize({ dtype }: Tensor, valuesSize: number): number {
  return dtype === "string" || valuesSize === 0 ? valuesSize : fieldSize(valuesSize);
}

function writeResponse(out: Buffer, start: number, measured: MeasuredResponse): number {
  const { modelName, version, id, parameters, outputs, raw } = measured;
  let pos = writeText(out, start, modelNameTag, modelName);
  pos = writeText(out, pos, modelVersionTag, version);
  if (id !== "") pos = writeText(out, pos, idTag, id);
  out.set(parameters, pos);
  pos += parameters.length;
  for (const output of outputs) pos = writeOutput(out, pos, output, raw);
  if (!raw) return pos;
  for (const { tensor, valuesSize } of outputs) {
    pos = writeRaw(out, writeTag(out, pos, rawOutputContentsTag, valuesSize), tensor);
  }
  return pos;
}

function writeOutput(out: Buffer, start: number, output: MeasuredOutput, raw: boolean): number {
  const { name, datatype, tensor, size, shapeSize, valuesSize } = output;
  let pos = writeTag(out, start, outputsTag, size);
  pos = writeText(out, pos, nameTag, name);
  pos = writeText(out, pos, datatypeTag, datatype);
  if (shapeSize > 0) {
    pos = writeTag(out, pos, shapeTag, shapeSize);
    for (const dimension of tensor.shape) pos = writeSize(out, pos, dimension);
  }
  if (raw) return pos;
  pos = writeTag(out, pos, contentsTag, contentsSize(tensor, valuesSize));
  return writeTyped(out, pos, output);
}

function writeRaw(out: Buffer, start: number, { dtype, data }: Tensor): number {
  if (dtype !== "string") {
    out.set(bytesOf(data as NumericData), start);
    return start + (data as NumericData).byteLength;
  }
  let pos = start;
  for (const text of data as readonly string[]) {
    const length = out.write(text, pos + 4);
    out.writeUInt32LE(length, pos);
    pos += 4 + length;
  }
  return pos;
}

function writeTyped(out: Buffer, start: number, { tensor, field, valuesSize }: MeasuredOutput): number {
  const { dtype, data } = tensor;
  const tag = tagOf(field, WireType.bytes);
  if (dtype === "string") {
    let pos = start;
    for (const text of data as readonly string[]) pos = writeText(out, pos, tag, text);
    return pos;
  }
  if (valuesSize === 0) return start;
  const pos = writeTag(out, start, tag, valuesSize);
  switch (dtype) {
    case "int64":
    case "uint64":
      return writeWide(out, pos, data as BigInt64Array);
    case "bool":
    case "float32":
    case "float64":
      out.set(bytesOf(data as NumericData), pos);
      return pos + valuesSize;
    default:
      return writeNarrow(out, pos, data as NarrowArray);
  }
}

function writeTag(out: Buffer, start: number, tag: number, length: number): number {
  out[start] = tag;
  return writeVarint32(out, start + 1, length);
}

function writeText(out: Buffer, start: number, tag: number, text: string): number {
  const pos = writeTag(out, start, tag, Buffer.byteLength(text));
  return pos + out.write(text, pos);
}
