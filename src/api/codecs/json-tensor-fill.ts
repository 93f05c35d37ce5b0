// From nested JSON lists straight into a typed array, in one pass over the bytes.
//
// The text is known to be well-formed (json-reader.ts), the element type is known from the signature, and the shape
// shows itself on the way: the first list of each level says how long all lists of that level must be. So nothing is
// built in between, and what is allocated is bounded by what was sent.
//
// The loop only ever says "this does not fit". What exactly does not fit, in TensorFlow Serving's words and in the order
// in which it would have noticed (a list's length before its elements), is worked out afterwards by json-tensor-fault.ts.
import { type ElementType, elementTypeInfo, type NumericData, numberToFloat16 } from "../../tensor/index.js";
import { base64Text, textOfBase64 } from "./json-base64.js";
import { endOfScalar, skipBlanks } from "./json-describe.js";
import { decodeJsonString } from "./json-string.js";

/** TensorFlow's own limit on the dimensions of a tensor. */
export const maxRank = 254;

/** What the elements must be, and how they are read. */
const singles = 0; // numbers of any kind, kept as float32 or smaller
const doubles = 1;
const integers = 2; // integer literals within a range
const longs = 3; // 64-bit integer literals
const booleans = 4;
const strings = 5;
const refused = 6; // element types that no JSON value can stand for

interface ElementRule {
  readonly kind: number;
  readonly min: number;
  readonly max: number;
}

const rules = new Map<ElementType, ElementRule>([
  ["float32", { kind: singles, min: 0, max: 0 }],
  ["float16", { kind: doubles, min: 0, max: 0 }],
  ["float64", { kind: doubles, min: 0, max: 0 }],
  ["int8", { kind: integers, min: -128, max: 127 }],
  ["int16", { kind: integers, min: -32768, max: 32767 }],
  ["int32", { kind: integers, min: -2147483648, max: 2147483647 }],
  ["uint8", { kind: integers, min: 0, max: 255 }],
  ["uint16", { kind: integers, min: 0, max: 65535 }],
  ["uint32", { kind: integers, min: 0, max: 4294967295 }],
  ["int64", { kind: longs, min: -(2 ** 63), max: 2 ** 63 }],
  ["uint64", { kind: longs, min: 0, max: 2 ** 64 }],
  ["bool", { kind: booleans, min: 0, max: 0 }],
  ["string", { kind: strings, min: 0, max: 0 }],
]);
const noRule: ElementRule = { kind: refused, min: 0, max: 0 };

export type FillState =
  /** The value ended; `position` is behind it. */
  | "done"
  /** There is more; call run again. */
  | "paused"
  /** Something does not fit; `position` is at it. */
  | "misfit";

/** Numbers gather here before they go to their array as a block: one store to one kind of array in the loop. */
const scratch = new Float64Array(4096);
/** 64-bit integers as two halves each, lower first. */
const longScratch = new Int32Array(8192);

/** Exact as doubles up to 10^22; beyond that good to half a unit, which only `singles` rely on. */
const powersOfTen = Float64Array.from({ length: 65 }, (_, power) => Number(`1e${power}`));

/** Reads one value, or one value after another of the same shape (the rows of one input), into one tensor's data. */
export class TensorFill {
  readonly dtype: ElementType;
  readonly bytes: Buffer;
  /** Sizes of the lists of each level, -1 while not known. */
  dims: number[] = [];
  /** Commas passed so far in the open list of each level; -1 for an empty list. */
  readonly commas: number[] = [];
  /** Lists open. */
  level = 0;
  position = 0;
  /** Values read completely. */
  items = 0;

  readonly #rule: ElementRule;
  /** The most elements that the text can hold. */
  readonly #bound: number;
  #data: NumericData;
  /** The same memory as 32-bit halves, for 64-bit integers. */
  #halves: Int32Array;
  #texts: string[] = [];
  #length = 0;

  /**
   * @param bound elements, at most
   * @param capacity elements to make room for at once
   */
  constructor(dtype: ElementType, bytes: Buffer, bound: number, capacity = bound) {
    this.dtype = dtype;
    this.bytes = bytes;
    this.#rule = rules.get(dtype) ?? noRule;
    this.#bound = bound;
    const { array = Uint8Array } = elementTypeInfo(dtype);
    this.#data = new array(this.#rule.kind < strings ? Math.min(capacity, bound) : 0);
    this.#halves = this.#view();
  }

  /** Elements read so far. */
  get length(): number {
    return this.#length;
  }

  /** Begins with the value at `start`. The first one says what shape all others must have. */
  begin(start: number): void {
    this.position = skipBlanks(this.bytes, start);
    this.level = 0;
    if (this.items === 0) this.dims = new Array(leadingLists(this.bytes, this.position)).fill(-1);
  }

  /** The elements, once all values have been read. */
  data(): NumericData | readonly string[] {
    if (this.#rule.kind === strings) return this.#texts;
    return this.#data.length === this.#length ? this.#data : this.#data.slice(0, this.#length);
  }

  /** Reads on, for about so many bytes. */
  run(byteBudget: number): FillState {
    const bytes = this.bytes;
    const pause = this.position + byteBudget;
    const { kind, min, max } = this.#rule;
    const { dims, commas } = this;
    const rank = dims.length;
    let { position, level } = this;
    let used = 0;

    reading: for (;;) {
      let byte = bytes[position]!;
      while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position]!;

      if (byte === 0x5b /* [ */) {
        if (level === rank) return this.#stop("misfit", position, level, used);
        commas[level] = 0;
        level += 1;
        position = skipBlanks(bytes, position + 1);
        if (bytes[position] !== 0x5d) continue;
        commas[level - 1] = -1;
      } else {
        if (level !== rank) return this.#stop("misfit", position, level, used);
        const start = position;

        if (kind <= integers) {
          let negative = false;
          if (byte === 0x2d /* - */) {
            negative = true;
            byte = bytes[++position]!;
          }
          let digit = byte - 0x30;
          let value = digit;
          if (digit >= 0 && digit <= 9) {
            position += 1;
            for (;;) {
              digit = bytes[position]! - 0x30;
              if (!(digit >= 0 && digit <= 9)) break;
              value = value * 10 + digit;
              position += 1;
            }
            let scale = 0;
            let integer = true;
            if (digit === -2 /* . */) {
              integer = false;
              const fraction = ++position;
              for (;;) {
                digit = bytes[position]! - 0x30;
                if (!(digit >= 0 && digit <= 9)) break;
                value = value * 10 + digit;
                position += 1;
              }
              scale = fraction - position;
            }
            if (digit === 0x15 || digit === 0x35 /* E, e */) {
              integer = false;
              const sign = bytes[position + 1];
              position += sign === 0x2b || sign === 0x2d ? 2 : 1;
              let exponent = 0;
              for (;;) {
                digit = bytes[position]! - 0x30;
                if (!(digit >= 0 && digit <= 9)) break;
                if (exponent < 100_000) exponent = exponent * 10 + digit;
                position += 1;
              }
              scale += sign === 0x2d ? -exponent : exponent;
            }
            if (kind === integers) {
              if (negative) value = -value;
              if (!integer || value < min || value > max) return this.#stop("misfit", start, level, used);
            } else {
              // Digits up to 2^53 and a power of ten that is exact make one rounding, the right one.
              if (value <= 9007199254740991 && scale >= -22 && scale <= 22) {
                if (scale !== 0) value = scale < 0 ? value / powersOfTen[-scale]! : value * powersOfTen[scale]!;
              } else {
                value = hardNumber(bytes, start, position, negative, value, scale, kind === singles);
              }
              // As an integer literal -0 is the integer 0.
              if (negative && !(integer && value === 0)) value = -value;
            }
          } else {
            // NaN, Inf, Infinity, or no number at all.
            if (kind === integers || (byte !== 0x4e && byte !== 0x49)) {
              return this.#stop("misfit", start, level, used);
            }
            value = byte === 0x4e ? Number.NaN : negative ? -Infinity : Infinity;
            position = endOfScalar(bytes, position);
          }
          scratch[used] = value;
        } else if (kind === longs) {
          const end = endOfScalar(bytes, start);
          if (!readLong(bytes, start, end, min, max, used)) return this.#stop("misfit", start, level, used);
          position = end;
        } else if (kind === booleans) {
          if (byte !== 0x74 && byte !== 0x66) return this.#stop("misfit", start, level, used);
          scratch[used] = byte === 0x74 ? 1 : 0;
          position += byte === 0x74 ? 4 : 5;
        } else {
          const end = kind === strings ? this.#readText(start) : undefined;
          if (end === undefined) return this.#stop("misfit", start, level, used);
          position = end;
        }

        used += 1;
        if (used === scratch.length) {
          this.#flush(used);
          used = 0;
        }
      }

      // Behind a value: close the lists that end here, until a comma announces the next value.
      for (;;) {
        if (level === 0) {
          this.items += 1;
          return this.#stop("done", position, level, used);
        }
        byte = bytes[position]!;
        while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position]!;
        if (byte === 0x2c /* , */) {
          commas[level - 1]! += 1;
          position += 1;
          if (position >= pause) return this.#stop("paused", position, level, used);
          continue reading;
        }
        const size = commas[level - 1]! + 1;
        if (dims[level - 1] === -1) dims[level - 1] = size;
        else if (dims[level - 1] !== size) return this.#stop("misfit", position, level, used);
        level -= 1;
        position += 1;
      }
    }
  }

  #stop(state: FillState, position: number, level: number, used: number): FillState {
    this.#flush(used);
    this.position = position;
    this.level = level;
    return state;
  }

  /** Moves what has gathered to the tensor's own array. */
  #flush(used: number): void {
    const { kind } = this.#rule;
    const length = this.#length;
    this.#length += used;
    if (kind >= strings || used === 0) return;
    if (this.#length > this.#data.length) this.#grow();
    if (kind === longs) {
      if (used < 16) for (let i = 0; i < 2 * used; i += 1) this.#halves[2 * length + i] = longScratch[i]!;
      else this.#halves.set(longScratch.subarray(0, 2 * used), 2 * length);
    } else if (this.dtype === "float16") {
      for (let i = 0; i < used; i += 1) this.#data[length + i] = numberToFloat16(scratch[i]!);
    } else if (used < 16) {
      for (let i = 0; i < used; i += 1) this.#data[length + i] = scratch[i]!;
    } else (this.#data as Float32Array).set(scratch.subarray(0, used), length);
  }

  #grow(): void {
    const { array } = elementTypeInfo(this.dtype);
    const larger = new array!(Math.min(this.#bound, Math.max(this.#length, 2 * this.#data.length)));
    (larger as Float32Array).set(this.#data as Float32Array);
    this.#data = larger;
    this.#halves = this.#view();
  }

  #view(): Int32Array {
    return this.#rule.kind === longs ? new Int32Array(this.#data.buffer) : longScratch;
  }

  /** Reads a string, or an object that stands for one. Returns its end; undefined when it cannot be an element. */
  #readText(start: number): number | undefined {
    const bytes = this.bytes;
    let text: string | undefined;
    let end: number;
    if (bytes[start] === 0x22) {
      end = endOfScalar(bytes, start);
      text = decodeJsonString(bytes, start, end);
    } else {
      const found = base64Text(bytes, start);
      if (found === undefined) return undefined;
      end = found.end;
      text = textOfBase64(found.text);
    }
    // A NUL is where onnxruntime would end the string.
    if (text === undefined || text.includes("\0")) return undefined;
    this.#texts.push(text);
    return end;
  }
}

/** How many lists open one in another at `start`: the rank of a tensor that begins so. Beyond the limit it is not counted. */
function leadingLists(bytes: Buffer, start: number): number {
  let position = start;
  let depth = 0;
  while (bytes[position] === 0x5b && depth <= maxRank) {
    depth += 1;
    position = skipBlanks(bytes, position + 1);
  }
  return depth;
}

/**
 * A number without its sign whose digits or exponent are too many for one exact operation. For a float32 an estimate
 * serves, as long as everything within its error is the same float32: nearly always. Else the library's exact parser.
 */
function hardNumber(
  bytes: Buffer,
  start: number,
  end: number,
  negative: boolean,
  digits: number,
  scale: number,
  single: boolean,
): number {
  const textStart = negative ? start + 1 : start;
  if (single && scale >= -64 && scale <= 64 && end - start < 40) {
    const estimate = scale < 0 ? digits / powersOfTen[-scale]! : digits * powersOfTen[scale]!;
    const error = estimate * 2 ** -47;
    const low = Math.fround(estimate - error);
    if (low === Math.fround(estimate + error)) return low;
  }
  return Number(bytes.toString("latin1", textStart, end));
}

/** Puts a 64-bit integer literal at `index` of longScratch; false when it is none, or outside of its type. */
function readLong(bytes: Buffer, start: number, end: number, min: number, max: number, index: number): boolean {
  const negative = bytes[start] === 0x2d;
  let position = negative ? start + 1 : start;
  let value = 0;
  for (; position < end; position += 1) {
    const digit = bytes[position]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) return false;
    value = value * 10 + digit;
  }
  if (position === start || (negative && position === start + 1)) return false;
  if (negative) value = -value;
  if (value >= -9007199254740991 && value <= 9007199254740991) {
    if (value < min) return false;
    longScratch[2 * index] = value; // modulo 2^32
    longScratch[2 * index + 1] = Math.floor(value / 4294967296);
    return true;
  }
  if (end - start > 20) return false;
  const exact = BigInt(bytes.toString("latin1", start, end));
  if (exact < BigInt(min) || exact >= BigInt(max)) return false;
  longScratch[2 * index] = Number(BigInt.asIntN(32, exact));
  longScratch[2 * index + 1] = Number(BigInt.asIntN(32, exact >> 32n));
  return true;
}
