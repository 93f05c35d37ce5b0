// The answer to a REST predict call: tensors as TensorFlow Serving writes them, laid out as it does for rows; columns
// keep their lists on one line, where it gives each element a line of its own.
//
// Text is written straight into bytes, a piece at a time: whoever sends a large answer can do other things in between.
import { invalidArgument } from "../../status.js";
import { bfloat16ToNumber, elementTypeInfo, float16ToNumber, type Tensor } from "../../tensor/index.js";
import { longestFloat, writeFloat32, writeFloat64, writeUint32 } from "./json-float.js";
import type { JsonForm } from "./json-inputs.js";
import { encodeJsonString } from "./json-string.js";

/** How much is written before it is handed over. */
const pieceBytes = 128 * 1024;

/**
 * The body of the answer, in pieces. Throws INVALID_ARGUMENT, before the first piece, when the outputs cannot be
 * written in that form.
 */
export function writePredictResponse(
  outputs: ReadonlyMap<string, Tensor>,
  form: JsonForm,
): Iterator<Buffer, undefined> {
  if (outputs.size === 0) throw invalidArgument("Cannot convert empty tensor map to JSON");
  let elements = 0;
  for (const { dtype, data } of outputs.values()) {
    if (dtype !== "string" && elementTypeInfo(dtype).array === undefined) {
      throw invalidArgument(`Failed to write JSON value for tensor type: ${elementTypeInfo(dtype).tensorflowName}`);
    }
    elements += data.length;
  }
  const out = new Output(Math.min(pieceBytes, 256 + elements * 16));
  return form === "column" ? columns(out, outputs) : rows(out, outputs, batchSizeOf(outputs));
}

/** A body in pieces: texts as they are, and in the place of each tensor its elements as one flat list. */
export function* writeWithFlatLists(parts: readonly (string | Tensor)[]): Generator<Buffer, undefined> {
  const out = new Output(pieceBytes);
  for (const part of parts) {
    if (typeof part === "string") yield* text(out, part);
    else yield* values(out, elementWriter("", part), [part.data.length], 0, "]");
  }
  yield out.take();
}

/** The first dimension, which rows of all outputs must share. */
function batchSizeOf(outputs: ReadonlyMap<string, Tensor>): number {
  let batchSize: number | undefined;
  for (const [name, { shape }] of outputs) {
    const [size] = shape;
    if (size === undefined) throw invalidArgument(`Tensor name: ${name} has no shape information `);
    if (batchSize !== undefined && batchSize !== size) {
      throw invalidArgument(`Tensor name: ${name} has inconsistent batch size: ${size} expecting: ${batchSize}`);
    }
    batchSize = size;
  }
  return batchSize ?? 0;
}

function* rows(out: Output, outputs: ReadonlyMap<string, Tensor>, batchSize: number): Generator<Buffer, undefined> {
  out.ascii('{\n    "predictions": ');
  if (batchSize === 0) out.ascii("[]");
  else if (outputs.size === 1) {
    const [[name, tensor]] = outputs as unknown as [[string, Tensor]];
    yield* values(out, elementWriter(name, tensor), tensor.shape, 0, "\n    ]");
  } else {
    const items = Array.from(outputs, ([name, tensor]) => {
      const shape = tensor.shape.slice(1);
      return {
        key: `\n            ${encodeJsonString(name)}: `,
        write: elementWriter(name, tensor),
        shape,
        size: shape.reduce((product, size) => product * size, 1),
      };
    });
    out.ascii("[");
    for (let row = 0; row < batchSize; row += 1) {
      let separator = row === 0 ? "\n        {" : ",\n        {";
      for (const { key, write, shape, size } of items) {
        yield* text(out, separator + key);
        yield* values(out, write, shape, row * size, "]");
        separator = ",";
      }
      yield* text(out, "\n        }");
    }
    yield* text(out, "\n    ]");
  }
  yield* text(out, "\n}");
  yield out.written();
}

function* columns(out: Output, outputs: ReadonlyMap<string, Tensor>): Generator<Buffer, undefined> {
  out.ascii('{\n    "outputs": ');
  const [[firstName, first], second] = outputs as unknown as [[string, Tensor], unknown];
  if (second === undefined) yield* values(out, elementWriter(firstName, first), first.shape, 0, "]");
  else {
    let separator = "{";
    for (const [name, tensor] of outputs) {
      yield* text(out, `${separator}\n        ${encodeJsonString(name)}: `);
      yield* values(out, elementWriter(name, tensor), tensor.shape, 0, "]");
      separator = ",";
    }
    yield* text(out, "\n    }");
  }
  yield* text(out, "\n}");
  yield out.written();
}

/** Writes the element at an index; false when there is no room for it. */
type ElementWriter = (out: Output, index: number) => boolean;

/**
 * Writes nested lists.
 * @param start index of the first element
 * @param close how the outermost list ends
 */
function* values(
  out: Output,
  write: ElementWriter,
  shape: readonly number[],
  start: number,
  close: string,
): Generator<Buffer, undefined> {
  if (shape.length === 0) {
    while (!write(out, start)) yield out.take();
    return;
  }
  // Below a list without elements there is nothing to write.
  const empty = shape.indexOf(0);
  const dims = empty === -1 ? shape : shape.slice(0, empty + 1);
  const rank = dims.length;
  const width = dims[rank - 1]!;
  /** Room for what stands between two elements. A rank is at most a few hundred, so any piece has it. */
  const brackets = 2 * rank + close.length;
  const passed = new Array<number>(rank).fill(0);
  let index = start;
  let opening = rank;
  for (;;) {
    if (!out.has(brackets)) yield out.take();
    for (; opening > 0; opening -= 1) out.byte(0x5b);
    for (let column = 0; column < width; column += 1) {
      if (!out.has(2)) yield out.take();
      if (column > 0) out.comma();
      while (!write(out, index)) yield out.take();
      index += 1;
    }
    // Behind the last list of a level ends the list that holds it.
    if (!out.has(brackets)) yield out.take();
    let level = rank - 1;
    while (level > 0) {
      out.byte(0x5d);
      opening += 1;
      passed[level - 1]! += 1;
      if (passed[level - 1]! < dims[level - 1]!) break;
      passed[level - 1] = 0;
      level -= 1;
    }
    if (level === 0) break;
    out.comma();
  }
  out.ascii(close);
}

function* text(out: Output, characters: string): Generator<Buffer, undefined> {
  while (!out.text(characters)) yield out.take();
}

function elementWriter(name: string, { dtype, data }: Tensor): ElementWriter {
  switch (dtype) {
    case "float32": {
      const floats = data as Float32Array;
      return (out, index) => out.has(longestFloat) && out.moveTo(writeFloat32(out.bytes, out.length, floats[index]!));
    }
    case "float64": {
      const floats = data as Float64Array;
      return (out, index) => out.has(longestFloat) && out.moveTo(writeFloat64(out.bytes, out.length, floats[index]!));
    }
    case "float16":
    case "bfloat16": {
      const patterns = data as Uint16Array;
      const read = dtype === "float16" ? float16ToNumber : bfloat16ToNumber;
      return (out, index) =>
        out.has(longestFloat) && out.moveTo(writeFloat32(out.bytes, out.length, read(patterns[index]!)));
    }
    case "int64":
    case "uint64": {
      const integers = data as BigInt64Array;
      const halves = new Int32Array(integers.buffer, integers.byteOffset, 2 * integers.length);
      return (out, index) => {
        if (!out.has(longestFloat)) return false;
        // Most need no BigInt.
        return halves[2 * index + 1] === 0
          ? out.integer(halves[2 * index]! >>> 0)
          : out.ascii(integers[index]!.toString());
      };
    }
    case "bool": {
      const flags = data as Uint8Array;
      return (out, index) => out.has(longestFloat) && out.ascii(flags[index] === 0 ? "false" : "true");
    }
    case "string": {
      const texts = data as readonly string[];
      // The name's ending is how a model says that its strings are bytes.
      return name.endsWith("_bytes")
        ? (out, index) => out.text(`{"b64": "${Buffer.from(texts[index]!).toString("base64")}"}`)
        : (out, index) => out.text(encodeJsonString(texts[index]!));
    }
    default: {
      const integers = data as Int32Array;
      return (out, index) => out.has(longestFloat) && out.integer(integers[index]!);
    }
  }
}

/** The piece that is being written. */
class Output {
  bytes: Buffer;
  length = 0;
  /** What the last text had needed that did not fit. */
  #wanted = 0;

  constructor(sizeBytes: number) {
    this.bytes = Buffer.allocUnsafe(sizeBytes);
  }

  has(roomBytes: number): boolean {
    return this.bytes.length - this.length >= roomBytes;
  }

  /** The piece as far as it has been written. */
  written(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** Begins the next piece, with room for what did not fit into this one, and hands this one over. */
  take(): Buffer {
    const piece = this.written();
    this.bytes = Buffer.allocUnsafe(Math.max(pieceBytes, this.#wanted));
    this.length = 0;
    this.#wanted = 0;
    return piece;
  }

  moveTo(length: number): true {
    this.length = length;
    return true;
  }

  byte(value: number): void {
    this.bytes[this.length++] = value;
  }

  comma(): void {
    this.byte(0x2c);
    this.byte(0x20);
  }

  /** There must be room. */
  ascii(characters: string): true {
    for (let i = 0; i < characters.length; i += 1) this.bytes[this.length++] = characters.charCodeAt(i);
    return true;
  }

  /** There must be room. */
  integer(value: number): true {
    if (value < 0) this.byte(0x2d);
    this.length = writeUint32(this.bytes, this.length, Math.abs(value));
    return true;
  }

  /** Text of any length; false when there is no room. */
  text(characters: string): boolean {
    if (!this.has(3 * characters.length)) {
      const size = Buffer.byteLength(characters);
      if (!this.has(size)) {
        this.#wanted = size;
        return false;
      }
    }
    this.length += this.bytes.write(characters, this.length, "utf8");
    return true;
  }
}
