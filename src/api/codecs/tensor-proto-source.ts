// tensorflow.TensorProto, read in place. A first pass over its fields learns the type and the shape and checks the wire
// format; values are looked for again when the tensor is decoded, since their field is known only then.

import type { ExampleList, TensorSource } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import {
  bytesOf,
  type ElementType,
  type ElementTypeInfo,
  elementCount,
  elementTypeOfTensorflow,
  formatShape,
  type NumericData,
  RawTensor,
  readElements,
  type Shape,
  type Tensor,
} from "../../tensor/index.js";
import { WireExamples } from "./example.js";
import { countVarints, halvesOf, type NarrowArray, readBools, readNarrow, readWide } from "./packed-values.js";
import { decodeContentStrings, decodeString, eachContentString } from "./tensor-strings.js";
import { tagOf, WireFormatError, WireReader, WireType } from "./wire-reader.js";

export interface TensorProtoLimits {
  /**
   * Bytes that a tensor may take beyond what its own message carries: a single value fills any shape, so a message of
   * twenty bytes can ask for terabytes. Default 64 MiB, the receive limit's.
   */
  readonly maxFillBytes: number;
}

export const defaultTensorProtoLimits: TensorProtoLimits = { maxFillBytes: 64 * 1024 * 1024 };

/** As many dimensions as TensorFlow's shapes have, at most. */
const maxDimensions = 254;
/** Strings in one tensor, at most: each costs far more here than the two bytes it may take on the wire. */
const maxStrings = 4 * 1024 * 1024;
/** Parts that one tensor may come in; protobuf merges a sub-message that is sent twice. */
const maxSegments = 1024;

/** Numbers of the fields that hold values, and how each is packed. */
const valueFields = {
  float_val: 5,
  double_val: 6,
  int_val: 7,
  string_val: 8,
  int64_val: 10,
  bool_val: 11,
  half_val: 13,
  uint32_val: 16,
  uint64_val: 17,
} as const;

const valueFieldOf: Readonly<Partial<Record<ElementType, number>>> = {
  float32: valueFields.float_val,
  float64: valueFields.double_val,
  int8: valueFields.int_val,
  int16: valueFields.int_val,
  int32: valueFields.int_val,
  uint8: valueFields.int_val,
  uint16: valueFields.int_val,
  string: valueFields.string_val,
  int64: valueFields.int64_val,
  bool: valueFields.bool_val,
  float16: valueFields.half_val,
  bfloat16: valueFields.half_val,
  uint32: valueFields.uint32_val,
  uint64: valueFields.uint64_val,
};

/** The wire type of one value of a repeated field; undefined for fields that are not repeated numbers. */
function scalarWireType(field: number): number | undefined {
  switch (field) {
    case 5: // float_val
    case 9: // scomplex_val
      return WireType.fixed32;
    case 6: // double_val
    case 12: // dcomplex_val
      return WireType.fixed64;
    case 7: // int_val
    case 10: // int64_val
    case 11: // bool_val
    case 13: // half_val
    case 16: // uint32_val
    case 17: // uint64_val
      return WireType.varint;
    default:
      return undefined;
  }
}

export class TensorProtoSource implements TensorSource {
  invalid: string | undefined;
  dtype: ElementType = "float32";
  shape: Shape = scalar;
  readonly #bytes: Uint8Array;
  /** The first part of the message, which almost always is all of it. */
  #firstStart = 0;
  #firstEnd = 0;
  /** Starts and ends of the other parts, in turn. */
  #otherSegments: number[] | undefined;
  readonly #limits: TensorProtoLimits;
  #dtypeNumber = 0;
  #info: ElementTypeInfo | undefined;
  #count = 0;
  #contentStart = 0;
  #contentEnd = 0;
  /** The first chunk of values met: when it was the only one, it need not be looked for again. */
  #chunks = 0;
  #chunkTag = 0;
  #chunkStart = 0;
  #chunkEnd = 0;

  constructor(bytes: Uint8Array, limits: TensorProtoLimits = defaultTensorProtoLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  /** Reads the message, or one more part of it, from the reader's position to its end. Throws WireFormatError. */
  merge(reader: WireReader): void {
    if (reader.pos === reader.end) return;
    if (this.#firstEnd === 0) {
      this.#firstStart = reader.pos;
      this.#firstEnd = reader.end;
    } else {
      this.#otherSegments ??= [];
      if (this.#otherSegments.length === 2 * (maxSegments - 1)) {
        throw invalidArgument(`a tensor comes in more than ${maxSegments} parts`);
      }
      this.#otherSegments.push(reader.pos, reader.end);
    }
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      switch (tag) {
        case dtypeTag:
          this.#dtypeNumber = reader.uint32();
          break;
        case shapeTag:
          this.#mergeShape(reader);
          break;
        case contentTag: {
          const length = reader.length();
          this.#contentStart = reader.pos;
          reader.pos += length;
          this.#contentEnd = reader.pos;
          break;
        }
        default:
          this.#meetValues(reader, tag);
      }
    }
  }

  #mergeShape(reader: WireReader): void {
    const outer = reader.enter();
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      if (tag !== dimTag) {
        reader.skip(tag);
        continue;
      }
      const outerDim = reader.enter();
      let size = 0;
      for (let dimField = reader.tag(); dimField !== 0; dimField = reader.tag()) {
        if (dimField === sizeTag) size = reader.int64AsNumber();
        else reader.skip(dimField);
      }
      reader.leave(outerDim);
      // An empty array that is pushed to takes room for seventeen; most tensors here have one or two dimensions.
      if (this.shape.length === 0) this.shape = [size];
      // One more than allowed is enough to know.
      else if (this.shape.length <= maxDimensions) (this.shape as number[]).push(size);
    }
    reader.leave(outer);
  }

  /** Steps over a field of values, or any other, looking only whether it is well-formed. */
  #meetValues(reader: WireReader, tag: number): void {
    const start = reader.pos;
    reader.skip(tag);
    const wireType = scalarWireType(tag >>> 3);
    let chunkStart = start;
    if (wireType !== undefined && (tag & 7) === WireType.bytes) {
      chunkStart = payloadStart(this.#bytes, start);
      if (!isWholeChunk(this.#bytes, chunkStart, reader.pos, wireType)) {
        throw new WireFormatError(`the values of field ${tag >>> 3} do not end where the field does`);
      }
    }
    this.#chunks += 1;
    if (this.#chunks === 1) {
      this.#chunkTag = tag;
      this.#chunkStart = chunkStart;
      this.#chunkEnd = reader.pos;
    }
  }

  /** Says what the tensor is, or why it is none; once, after all parts have been read. */
  finish(): void {
    this.#info = elementTypeOfTensorflow(this.#dtypeNumber);
    if (this.#info !== undefined) this.dtype = this.#info.name;
    this.invalid = this.#fault();
  }

  #fault(): string | undefined {
    const info = this.#info;
    if (info === undefined) return dtypeFault(this.#dtypeNumber);
    const { shape } = this;
    if (shape.length > maxDimensions) return `the shape has more than ${maxDimensions} dimensions`;
    const count = elementCount(shape);
    if (count === undefined) return shapeFault(shape);
    this.#count = count;
    if (count === 0) return undefined;
    const described = () => `${info.tensorflowName} ${formatShape(shape)}`;
    const contentBytes = this.#contentEnd - this.#contentStart;
    if (info.name === "string" && count > maxStrings) return `${described()} has more than ${maxStrings} elements`;
    if (contentBytes > 0) {
      if (info.name === "string") {
        return contentBytes >= count
          ? undefined
          : `tensor_content holds ${contentBytes} bytes; ${described()} takes more`;
      }
      const takes = count * info.bytesPerElement;
      return contentBytes === takes
        ? undefined
        : `tensor_content holds ${contentBytes} bytes; ${described()} takes ${takes}`;
    }
    const takes = count * (info.bytesPerElement || stringSlotBytes);
    if (takes <= this.#limits.maxFillBytes) return undefined;
    const given = this.#countValues();
    if (given >= count) return undefined;
    return (
      `${described()} takes ${takes} bytes and only ${given} of its ${count} values are given; ` +
      `no more than ${this.#limits.maxFillBytes} bytes are filled with the last value`
    );
  }

  /** @throws INVALID_ARGUMENT for strings that are none and bools that are neither 0 nor 1 */
  decode(): Tensor {
    const { dtype, shape } = this;
    const data = dtype === "string" ? this.#decodeStrings() : this.#decodeNumbers();
    return { dtype, shape, data };
  }

  /** Elements that need neither a look nor another form are copied only once it is known where to. */
  decodeLate(): RawTensor | undefined {
    const { name, bytesPerElement, array } = this.#info!;
    const count = this.#count;
    const size = count * bytesPerElement;
    if (size === 0 || name === "bool" || array === undefined) return undefined;
    const start = this.#elementsStart(size);
    if (start < 0) return undefined;
    return new RawTensor(name, this.shape, this.#bytes, start, count);
  }

  /** Where all elements lie in one piece as they lie in memory; -1 when they do not. */
  #elementsStart(size: number): number {
    if (this.#contentEnd > this.#contentStart) return this.#contentStart;
    const field = valueFieldOf[this.dtype]!;
    const asInMemory = field === valueFields.float_val || field === valueFields.double_val;
    return asInMemory && this.#onlyChunk(field) && this.#chunkEnd - this.#chunkStart >= size ? this.#chunkStart : -1;
  }

  /** @throws INVALID_ARGUMENT when tensor_content is no list of strings */
  examples(): ExampleList {
    const examples = new WireExamples(this.#bytes);
    const count = this.#count;
    if (count > 0 && this.#contentEnd > this.#contentStart) {
      eachContentString(this.#bytes, this.#contentStart, this.#contentEnd, count, (start, end) =>
        examples.addSpan(start, end),
      );
      return examples;
    }
    let [lastStart, lastEnd] = [0, 0];
    this.#eachChunk(valueFields.string_val, (start, end) => {
      if (examples.count < count) examples.addSpan(start, end);
      [lastStart, lastEnd] = [start, end];
      return examples.count < count;
    });
    while (examples.count < count) examples.addSpan(lastStart, lastEnd);
    return examples;
  }

  #decodeNumbers(): NumericData {
    const info = this.#info!;
    const { array } = info;
    if (array === undefined) throw invalidArgument(`tensors of type ${info.tensorflowName} cannot be read`);
    const count = this.#count;
    if (count === 0) return new array(0);
    if (this.#contentEnd > this.#contentStart) {
      if (info.name === "bool") requireBools(this.#bytes, this.#contentStart, this.#contentEnd);
      return readElements(info, this.#bytes, this.#contentStart, count);
    }
    const field = valueFieldOf[info.name]!;
    const single = this.#onlyChunk(field);
    if (single && (field === valueFields.float_val || field === valueFields.double_val)) {
      // All there, in one piece.
      if (this.#chunkEnd - this.#chunkStart >= count * info.bytesPerElement) {
        return readElements(info, this.#bytes, this.#chunkStart, count);
      }
    }
    const data = new array(count);
    const given = single
      ? readChunk(this.#bytes, this.#chunkStart, this.#chunkEnd, field, data, 0)
      : this.#readChunks(field, data);
    // The last value given stands for all that follow; none at all leaves zeros.
    if (given > 0 && given < count) (data as Float32Array).fill(data[given - 1] as number, given);
    return data;
  }

  #onlyChunk(field: number): boolean {
    return this.#chunks === 1 && this.#chunkTag === tagOf(field, WireType.bytes);
  }

  #readChunks(field: number, data: NumericData): number {
    let index = 0;
    this.#eachChunk(field, (start, end) => {
      index = readChunk(this.#bytes, start, end, field, data, index);
      return index < data.length;
    });
    return index;
  }

  #decodeStrings(): readonly string[] {
    const count = this.#count;
    if (count === 0) return [];
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    if (this.#contentEnd > this.#contentStart) {
      return decodeContentStrings(bytes, this.#contentStart, this.#contentEnd, count);
    }
    const texts: string[] = [];
    this.#eachChunk(valueFields.string_val, (start, end) => {
      texts.push(decodeString(bytes, start, end, texts.length));
      return texts.length < count;
    });
    const last = texts.at(-1) ?? "";
    while (texts.length < count) texts.push(last);
    return texts;
  }

  #countValues(): number {
    const field = valueFieldOf[this.dtype];
    if (field === undefined) return 0;
    const wireType = scalarWireType(field);
    let count = 0;
    this.#eachChunk(field, (start, end) => {
      if (wireType === WireType.fixed32) count += (end - start) / 4;
      else if (wireType === WireType.fixed64) count += (end - start) / 8;
      else if (wireType === WireType.varint) count += countVarints(this.#bytes, start, end);
      else count += 1;
      return true;
    });
    return count;
  }

  /** Calls with each chunk of a field: a packed run, a single value, a string. Ends when told false. */
  #eachChunk(field: number, use: (start: number, end: number) => boolean): void {
    const scalarTag = tagOf(field, scalarWireType(field) ?? WireType.bytes);
    const packedTag = tagOf(field, WireType.bytes);
    const segments = [this.#firstStart, this.#firstEnd, ...(this.#otherSegments ?? [])];
    for (let part = 0; part < segments.length; part += 2) {
      const reader = new WireReader(this.#bytes, segments[part]!, segments[part + 1]!);
      for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
        const start = reader.pos;
        reader.skip(tag);
        if (tag === packedTag) {
          if (!use(payloadStart(this.#bytes, start), reader.pos)) return;
        } else if (tag === scalarTag) {
          if (!use(start, reader.pos)) return;
        }
      }
    }
  }
}

const scalar: Shape = [];

const dtypeTag = tagOf(1, WireType.varint);
const shapeTag = tagOf(2, WireType.bytes);
const contentTag = tagOf(4, WireType.bytes);
const dimTag = tagOf(2, WireType.bytes);
const sizeTag = tagOf(1, WireType.varint);

/** What an element of an array of strings takes, without its text. */
const stringSlotBytes = 8;

/** Where the payload of a length-delimited field begins that has been stepped over. */
function payloadStart(bytes: Uint8Array, lengthStart: number): number {
  let pos = lengthStart;
  while (bytes[pos]! > 0x7f) pos += 1;
  return pos + 1;
}

function isWholeChunk(bytes: Uint8Array, start: number, end: number, wireType: number): boolean {
  switch (wireType) {
    case WireType.fixed32:
      return (end - start) % 4 === 0;
    case WireType.fixed64:
      return (end - start) % 8 === 0;
    default:
      return end === start || bytes[end - 1]! < 0x80;
  }
}

/** Reads one chunk into the array from that index on, and returns the index after it. */
function readChunk(
  bytes: Uint8Array,
  start: number,
  end: number,
  field: number,
  data: NumericData,
  index: number,
): number {
  switch (field) {
    case valueFields.float_val:
    case valueFields.double_val: {
      const size = data.BYTES_PER_ELEMENT;
      const count = Math.min((end - start) / size, data.length - index);
      bytesOf(data).set(bytes.subarray(start, start + count * size), index * size);
      return index + count;
    }
    case valueFields.int64_val:
    case valueFields.uint64_val:
      return readWide(bytes, start, end, halvesOf(data), index, data.length);
    case valueFields.bool_val:
      return readBools(bytes, start, end, data as Uint8Array, index, data.length);
    default:
      return readNarrow(bytes, start, end, data as NarrowArray, index, data.length);
  }
}

function requireBools(bytes: Uint8Array, start: number, end: number): void {
  for (let pos = start; pos < end; pos++) {
    if (bytes[pos]! > 1) {
      throw invalidArgument(`element ${pos - start} of a bool tensor is ${bytes[pos]}; expected 0 or 1`);
    }
  }
}

function dtypeFault(number: number): string {
  if (number === 0) return "dtype is not set";
  if (number > 100 && number < 200) return `dtype ${number} is a reference type, which no request can carry`;
  return `dtype ${number} is no type of an ONNX tensor`;
}

function shapeFault(shape: Shape): string {
  const negative = shape.find((size) => size < 0);
  return negative === undefined
    ? `shape ${formatShape(shape)} has more elements than can be counted`
    : `shape ${formatShape(shape)} has a negative dimension`;
}
