// A JSON reader over bytes that keeps what JSON.parse loses: which of two equal keys came first, whether a number was
// written as an integer, all digits of a 64-bit integer, NaN and Infinity.
//
// It builds no tree. JsonReader checks the whole text once, as RapidJSON would (its rules, its words, its byte offsets,
// since TensorFlow Serving's clients know them), and notes only where the values of a few wanted keys lie. Whoever
// needs a value then reads it from its bytes, which are known to be well-formed: a nested list of numbers goes straight
// into a typed array (json-tensor-fill.ts).
//
// The stack is a byte for each open list or object, so depth costs no more than the text itself.
import { invalidArgument } from "../../status.js";
import { parseError } from "./json-parse-error.js";
import { decodeJsonString, skipJsonString } from "./json-string.js";

/** Where a value lies in a checked text. */
export interface JsonSpan {
  readonly start: number;
  readonly end: number;
  /** Commas between start and end outside of strings: one less than the most elements that can be in there. */
  readonly commas: number;
}

// Named as what the reader waits for.
const rootValue = 0;
const firstElement = 1;
const nextElement = 2;
const firstKey = 3;
const nextKey = 4;
const colon = 5;
const memberValue = 6;
/** A comma or the end of the list or object. */
const separator = 7;
const finished = 8;

const list = 0;
const object = 1;

/** Checks a text, in as many steps as one likes: a large one need not hold up the thread. */
export class JsonReader {
  readonly #bytes: Buffer;
  readonly #wanted: ReadonlySet<string>;
  readonly #longestWanted: number;
  #position = 0;
  #waitsFor = rootValue;
  #stack = new Uint8Array(64);
  #depth = 0;
  #commas = 0;
  #rootStart = 0;
  readonly #members = new Map<string, JsonSpan>();
  /** The wanted key whose value is being read. */
  #key: string | undefined;
  #valueStart = 0;
  #commasBefore = 0;

  constructor(bytes: Buffer, wanted: ReadonlySet<string>) {
    this.#bytes = bytes;
    this.#wanted = wanted;
    // Written with escapes alone, a key is six times as long.
    this.#longestWanted = 6 * Math.max(0, ...Array.from(wanted, (key) => key.length)) + 2;
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#position = 3;
  }

  /**
   * Reads on for about so many bytes. True when the root value has been read; what follows it is ignored.
   * Throws INVALID_ARGUMENT where the text is not JSON.
   */
  advance(byteBudget: number): boolean {
    if (this.#bytes.length === 0) throw invalidArgument("JSON Parse error: The document is empty");
    const bytes = this.#bytes;
    const pause = this.#position + byteBudget;
    let position = this.#position;
    let waitsFor = this.#waitsFor;
    let depth = this.#depth;
    let stack = this.#stack;
    let commas = this.#commas;

    while (position < pause && waitsFor !== finished) {
      let byte = bytes[position];
      while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position];

      switch (waitsFor) {
        case separator: {
          const inList = stack[depth - 1] === list;
          if (depth === 1) this.#noteMember(position, commas);
          if (byte === 0x2c /* , */) {
            commas += 1;
            position += 1;
            waitsFor = inList ? nextElement : nextKey;
          } else if (byte === (inList ? 0x5d : 0x7d)) {
            depth -= 1;
            position += 1;
            waitsFor = depth === 0 ? finished : separator;
          } else if (inList) {
            throw parseError("Missing a comma or ']' after an array element.", position);
          } else {
            throw parseError("Missing a comma or '}' after an object member.", position);
          }
          break;
        }

        case firstKey:
        case nextKey:
          if (byte === 0x22 /* " */) {
            const end = skipJsonString(bytes, position);
            if (depth === 1) this.#noteKey(position, end);
            position = end;
            waitsFor = colon;
          } else if (byte === 0x7d /* } */ && waitsFor === firstKey) {
            depth -= 1;
            position += 1;
            waitsFor = depth === 0 ? finished : separator;
          } else {
            throw parseError("Missing a name for object member.", position);
          }
          break;

        case colon:
          if (byte !== 0x3a) throw parseError("Missing a colon after a name of object member.", position);
          position += 1;
          waitsFor = memberValue;
          break;

        default: {
          // A value is due.
          if (depth === 0) this.#rootStart = position;
          else if (depth === 1 && waitsFor === memberValue) {
            this.#valueStart = position;
            this.#commasBefore = commas;
          }
          if (byte === 0x5b /* [ */ || byte === 0x7b /* { */) {
            if (depth === stack.length) {
              const larger = new Uint8Array(2 * depth);
              larger.set(stack);
              stack = larger;
              this.#stack = larger;
            }
            stack[depth] = byte === 0x5b ? list : object;
            depth += 1;
            position += 1;
            waitsFor = byte === 0x5b ? firstElement : firstKey;
          } else if (byte === 0x5d && waitsFor === firstElement) {
            depth -= 1;
            position += 1;
            waitsFor = depth === 0 ? finished : separator;
          } else {
            if (waitsFor === rootValue && isNoValue(byte)) throw parseError("The document is empty.", position);
            if (byte === 0x22) position = skipJsonString(bytes, position);
            else if (byte === 0x74) position = skipWord(bytes, position, "true");
            else if (byte === 0x66) position = skipWord(bytes, position, "false");
            else if (byte === 0x6e) position = skipWord(bytes, position, "null");
            else position = skipNumber(bytes, position);
            waitsFor = depth === 0 ? finished : separator;
          }
        }
      }
    }

    this.#position = position;
    this.#waitsFor = waitsFor;
    this.#depth = depth;
    this.#commas = commas;
    return waitsFor === finished;
  }

  /** Where the root value begins. Only after advance has returned true. */
  get rootStart(): number {
    return this.#rootStart;
  }

  /** The text up to the end of the root value. Only after advance has returned true. */
  get text(): Buffer {
    return this.#bytes.subarray(0, this.#position);
  }

  /** The wanted members of the root, when it is an object. Only after advance has returned true. */
  get members(): ReadonlyMap<string, JsonSpan> {
    return this.#members;
  }

  #noteKey(start: number, end: number): void {
    this.#key = undefined;
    if (end - start > this.#longestWanted) return;
    const key = decodeJsonString(this.#bytes, start, end);
    if (this.#wanted.has(key) && !this.#members.has(key)) this.#key = key;
  }

  #noteMember(end: number, commas: number): void {
    if (this.#key === undefined) return;
    this.#members.set(this.#key, { start: this.#valueStart, end, commas: commas - this.#commasBefore });
    this.#key = undefined;
  }
}

/** What cannot begin a value: punctuation, or the end (which a NUL byte is, too). */
function isNoValue(byte: number | undefined): boolean {
  return byte === undefined || byte === 0 || byte === 0x5d || byte === 0x7d || byte === 0x2c || byte === 0x3a;
}

function skipWord(bytes: Buffer, start: number, word: string): number {
  for (let i = 1; i < word.length; i += 1) {
    if (bytes[start + i] !== word.charCodeAt(i)) throw parseError("Invalid value.", start + i);
  }
  return start + word.length;
}

/** Checks a number and returns its end. */
function skipNumber(bytes: Buffer, start: number): number {
  let position = start;
  if (bytes[position] === 0x2d /* - */) position += 1;
  const first = bytes[position]!;
  const integerStart = position;
  if (first === 0x30) position += 1;
  else if (first > 0x30 && first <= 0x39) position = skipDigits(bytes, position);
  else if (first === 0x4e /* N */) return skipWord(bytes, position, "NaN");
  else if (first === 0x49 /* I */) {
    const end = skipWord(bytes, position, "Inf");
    return bytes[end] === 0x69 /* i */ ? skipWord(bytes, position, "Infinity") : end;
  } else throw parseError("Invalid value.", position);

  // Up to 200 digits and an exponent of two are far from the limit; only what is longer is worked out.
  let mayOverflow = position - integerStart > 200;
  if (bytes[position] === 0x2e /* . */) {
    const fractionStart = position + 1;
    position = skipDigits(bytes, fractionStart);
    if (position === fractionStart) throw parseError("Miss fraction part in number.", position);
  }
  if (bytes[position] === 0x65 || bytes[position] === 0x45 /* e, E */) {
    const sign = bytes[position + 1];
    const exponentStart = sign === 0x2b || sign === 0x2d ? position + 2 : position + 1;
    position = skipDigits(bytes, exponentStart);
    if (position === exponentStart) throw parseError("Miss exponent in number.", position);
    if (position - exponentStart > 2) mayOverflow = true;
  }
  if (mayOverflow && !Number.isFinite(Number(bytes.toString("latin1", start, position)))) {
    throw parseError("Number too big to be stored in double.", start);
  }
  return position;
}

function skipDigits(bytes: Buffer, start: number): number {
  let position = start;
  let byte = bytes[position]!;
  while (byte >= 0x30 && byte <= 0x39) byte = bytes[++position]!;
  return position;
}
