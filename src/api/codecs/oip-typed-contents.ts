// inference.InferTensorContents, read in place: elements in the one field that suits the datatype.
import { invalidArgument } from "../../status.js";
import {
  bytesOf,
  type ElementTypeInfo,
  elementTypeOfOpenInference,
  type NumericData,
  type Tensor,
  viewAs,
} from "../../tensor/index.js";
import type { InferContents } from "../open-inference/infer-request.js";
import { countVarints, halvesOf, readBools, readNarrow, readWide } from "./packed-values.js";
import { decodeString } from "./tensor-strings.js";
import { WireFormatError, type WireReader, WireType } from "./wire-reader.js";

/** Runs of values, and single ones, that one input may come in. */
const maxChunks = 4 * 1024 * 1024;

interface ContentsField {
  /** The datatype that the field is named for, when nothing else fits. */
  readonly named: string;
  readonly datatypes: readonly string[];
  /** Of one value in a packed run. */
  readonly wireType: number;
}

/** By field number. */
const fields: readonly (ContentsField | undefined)[] = [
  undefined,
  { named: "BOOL", datatypes: ["BOOL"], wireType: WireType.varint },
  { named: "INT32", datatypes: ["INT8", "INT16", "INT32"], wireType: WireType.varint },
  { named: "INT64", datatypes: ["INT64"], wireType: WireType.varint },
  { named: "UINT32", datatypes: ["UINT8", "UINT16", "UINT32"], wireType: WireType.varint },
  { named: "UINT64", datatypes: ["UINT64"], wireType: WireType.varint },
  { named: "FP32", datatypes: ["FP32"], wireType: WireType.fixed32 },
  { named: "FP64", datatypes: ["FP64"], wireType: WireType.fixed64 },
  { named: "BYTES", datatypes: ["BYTES"], wireType: WireType.bytes },
];

/** The number of the field that holds elements of a datatype; undefined for those that travel raw only. */
export function contentsFieldOf(datatype: string): number | undefined {
  const number = fields.findIndex((field) => field?.datatypes.includes(datatype) === true);
  return number < 0 ? undefined : number;
}

export class TypedContents implements InferContents {
  readonly #bytes: Uint8Array;
  /** Starts and ends of the runs of values of each field that has any, in turn. */
  readonly #chunks = new Map<number, number[]>();
  #datatype = "";

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Reads the message, or one more part of it, from the reader's position to its end. Throws WireFormatError. */
  merge(reader: WireReader): void {
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      const number = tag >>> 3;
      const field = fields[number];
      const start = reader.pos;
      reader.skip(tag);
      if (field === undefined) continue;
      const delimited = (tag & 7) === WireType.bytes;
      if (!delimited && (tag & 7) !== field.wireType) continue;
      const from = delimited ? payloadStart(this.#bytes, start) : start;
      if (delimited && !isWhole(this.#bytes, from, reader.pos, field.wireType)) {
        throw new WireFormatError(`the values of field ${number} do not end where the field does`);
      }
      // An empty run of numbers holds nothing; an empty string is one.
      if (from === reader.pos && field.wireType !== WireType.bytes) continue;
      const chunks = this.#chunks.get(number);
      if (chunks === undefined) this.#chunks.set(number, [from, reader.pos]);
      else if (chunks.length === 2 * maxChunks) throw invalidArgument(`contents come in more than ${maxChunks} parts`);
      else chunks.push(from, reader.pos);
    }
  }

  /** What the input says its elements are; known only when all of the input has been read. */
  setDatatype(datatype: string): void {
    this.#datatype = datatype;
  }

  fault(input: string, model: string): string | undefined {
    for (const number of this.#chunks.keys()) {
      const { named, datatypes } = fields[number]!;
      if (datatypes.includes(this.#datatype)) continue;
      const expected = elementTypeOfOpenInference(this.#datatype) === undefined ? "<invalid>" : this.#datatype;
      return `unexpected explicit tensor data for input tensor '${input}' for model '${model}' of type '${named}', expected datatype '${expected}'`;
    }
    return undefined;
  }

  byteLength(type: ElementTypeInfo): number {
    return this.#count() * type.bytesPerElement;
  }

  #count(): number {
    let count = 0;
    this.#eachChunk((start, end, wireType) => {
      if (wireType === WireType.fixed32) count += (end - start) / 4;
      else if (wireType === WireType.fixed64) count += (end - start) / 8;
      else if (wireType === WireType.varint) count += countVarints(this.#bytes, start, end);
      else count += 1;
    });
    return count;
  }

  decode(type: ElementTypeInfo, count: number, input: string, model: string): Tensor["data"] {
    if (type.name !== "string") return this.#decodeNumbers(type, count);
    const given = this.#count();
    if (given !== count) {
      throw invalidArgument(
        `expected ${count} string elements for inference input '${input}' for model '${model}', got ${given}`,
      );
    }
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    const texts: string[] = [];
    this.#eachChunk((start, end) => texts.push(decodeString(bytes, start, end, texts.length)));
    return texts;
  }

  /** Values that their type cannot hold are refused, where Triton would cut them to their low bytes. */
  #decodeNumbers(type: ElementTypeInfo, count: number): NumericData {
    const only = this.#onlyChunk();
    if (only !== undefined && (type.name === "float32" || type.name === "float64")) return viewAs(type.name, only);
    const wire = wireArrayOf(type, count);
    let index = 0;
    this.#eachChunk((start, end) => {
      index = readValues(this.#bytes, start, end, type, wire, index);
    });
    const { array } = type;
    if (array === undefined || wire instanceof array) return wire;
    const data = new array(count);
    for (let i = 0; i < count; i++) {
      data[i] = wire[i] as never;
      if (data[i] !== wire[i])
        throw invalidArgument(`element ${i} is ${wire[i]}, which ${type.openInference} cannot hold`);
    }
    return data;
  }

  /** All values, when they came in one run. */
  #onlyChunk(): Uint8Array | undefined {
    const [chunks, ...others] = this.#chunks.values();
    if (chunks?.length !== 2 || others.length > 0) return undefined;
    return this.#bytes.subarray(chunks[0]!, chunks[1]!);
  }

  #eachChunk(use: (start: number, end: number, wireType: number) => void): void {
    // No more than one field has values, or fault() would have said so.
    for (const [number, chunks] of this.#chunks) {
      const { wireType } = fields[number]!;
      for (let i = 0; i < chunks.length; i += 2) use(chunks[i]!, chunks[i + 1]!, wireType);
    }
  }
}

/** What the field's own values need: small integers travel as 32 bits. */
function wireArrayOf(type: ElementTypeInfo, count: number): NumericData {
  switch (type.name) {
    case "int8":
    case "int16":
      return new Int32Array(count);
    case "uint8":
    case "uint16":
      return new Uint32Array(count);
    default:
      return new type.array!(count);
  }
}

function readValues(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: ElementTypeInfo,
  out: NumericData,
  index: number,
): number {
  switch (type.name) {
    case "float32":
    case "float64":
      bytesOf(out).set(bytes.subarray(start, end), index * type.bytesPerElement);
      return index + (end - start) / type.bytesPerElement;
    case "int64":
    case "uint64":
      return readWide(bytes, start, end, halvesOf(out), index, out.length);
    case "bool":
      return readBools(bytes, start, end, out as Uint8Array, index, out.length);
    default:
      return readNarrow(bytes, start, end, out as Int32Array, index, out.length);
  }
}

/** Where the payload of a length-delimited field begins that has been stepped over. */
function payloadStart(bytes: Uint8Array, lengthStart: number): number {
  let pos = lengthStart;
  while (bytes[pos]! > 0x7f) pos += 1;
  return pos + 1;
}

function isWhole(bytes: Uint8Array, start: number, end: number, wireType: number): boolean {
  switch (wireType) {
    case WireType.fixed32:
      return (end - start) % 4 === 0;
    case WireType.fixed64:
      return (end - start) % 8 === 0;
    case WireType.varint:
      return end === start || bytes[end - 1]! < 0x80;
    default:
      return true;
  }
}
