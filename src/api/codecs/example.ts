// tf.Example and tensorflow.serving.Input, read in place: a feature's values are looked for only when its kind and count
// are known to fit the signature, and features that nobody asked for are stepped over.
import type { Example, ExampleInput, ExampleList, FeatureKind, FeatureValues } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { bytesOf } from "../../tensor/index.js";
import { countVarints, halvesOf, readWide } from "./packed-values.js";
import { decodeString } from "./tensor-strings.js";
import { tagOf, WireFormatError, WireReader, WireType } from "./wire-reader.js";

/** Examples that one request may have. */
const maxExamples = 4 * 1024 * 1024;
/** Parts that one list of values may come in: a value each, for writers that do not pack. */
const maxParts = 4 * 1024 * 1024;

// Input, ExampleList, ExampleListWithContext; Example; Features; its entries; Feature; the lists.
const exampleListTag = tagOf(1, WireType.bytes);
const exampleListWithContextTag = tagOf(2, WireType.bytes);
const examplesTag = tagOf(1, WireType.bytes);
const contextTag = tagOf(2, WireType.bytes);
const featuresTag = tagOf(1, WireType.bytes);
const featureTag = tagOf(1, WireType.bytes);
const keyTag = tagOf(1, WireType.bytes);
const valueTag = tagOf(2, WireType.bytes);
const listTags: Readonly<Record<number, FeatureKind>> = {
  [tagOf(1, WireType.bytes)]: "bytes",
  [tagOf(2, WireType.bytes)]: "float",
  [tagOf(3, WireType.bytes)]: "int64",
};

/** Gathers what an Input field says; protobuf merges the field when it is sent twice. */
export class InputReader implements ExampleInput {
  #kind = 0;
  #examples: WireExamples;
  #context: WireExamples | undefined;

  constructor(bytes: Uint8Array) {
    this.#examples = new WireExamples(bytes);
  }

  get examples(): ExampleList {
    return this.#examples;
  }

  get context(): NonNullable<ExampleInput["context"]> {
    const context = this.#context;
    return { read: (wanted) => context?.readMerged(wanted) ?? new Map() };
  }

  /** Reads the field at the reader's position. */
  merge(reader: WireReader): void {
    const outer = reader.enter();
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      if (tag !== exampleListTag && tag !== exampleListWithContextTag) {
        reader.skip(tag);
        continue;
      }
      if (this.#kind !== tag) {
        // Of two kinds the last one counts.
        this.#kind = tag;
        this.#examples = new WireExamples(reader.bytes);
        this.#context = undefined;
      }
      this.#mergeList(reader);
    }
    reader.leave(outer);
  }

  #mergeList(reader: WireReader): void {
    const outer = reader.enter();
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      if (tag === examplesTag) this.#examples.add(reader);
      else if (tag === contextTag && this.#kind === exampleListWithContextTag) {
        this.#context ??= new WireExamples(reader.bytes);
        this.#context.add(reader);
      } else reader.skip(tag);
    }
    reader.leave(outer);
  }
}

/** Where serialized Examples lie in a message. */
export class WireExamples implements ExampleList {
  readonly #bytes: Uint8Array;
  /** Starts and ends in turn. */
  readonly #spans: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get count(): number {
    return this.#spans.length / 2;
  }

  /** Notes the length-delimited field at the reader's position, and steps over it. */
  add(reader: WireReader): void {
    const length = reader.length();
    this.addSpan(reader.pos, reader.pos + length);
    reader.pos += length;
  }

  addSpan(start: number, end: number): void {
    if (this.count === maxExamples) throw invalidArgument(`a request may have ${maxExamples} examples at most`);
    this.#spans.push(start, end);
  }

  read(index: number, wanted: ReadonlySet<string>): Example {
    return this.#read(index, wanted, new Map());
  }

  /** All of them as the parts of one message. */
  readMerged(wanted: ReadonlySet<string>): Example {
    const merged = new Map<string, FeatureValues | undefined>();
    for (let index = 0; index < this.count; index++) this.#read(index, wanted, merged);
    return merged;
  }

  #read(index: number, wanted: ReadonlySet<string>, into: Map<string, FeatureValues | undefined>): Example {
    const [start, end] = [this.#spans[2 * index]!, this.#spans[2 * index + 1]!];
    try {
      readExample(new WireReader(this.#bytes, start, end), wanted, into);
    } catch (error) {
      if (!(error instanceof WireFormatError)) throw error;
      const raw = Buffer.from(this.#bytes.subarray(start, Math.min(end, start + 256))).toString("latin1");
      throw invalidArgument(`Could not parse example input, value: '${raw}'`);
    }
    return into;
  }
}

function readExample(
  reader: WireReader,
  wanted: ReadonlySet<string>,
  into: Map<string, FeatureValues | undefined>,
): void {
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag !== featuresTag) {
      reader.skip(tag);
      continue;
    }
    const outer = reader.enter();
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      if (field === featureTag) readEntry(reader, wanted, into);
      else reader.skip(field);
    }
    reader.leave(outer);
  }
}

/** Of two entries with one key the last one counts. */
function readEntry(
  reader: WireReader,
  wanted: ReadonlySet<string>,
  into: Map<string, FeatureValues | undefined>,
): void {
  const outer = reader.enter();
  let key = "";
  const feature = new WireFeature(reader.bytes);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === keyTag) key = reader.string();
    else if (tag === valueTag) feature.merge(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
  if (wanted.has(key)) into.set(key, feature.isSet ? feature : undefined);
}

/** One feature's list, in the parts that it came in. */
class WireFeature implements FeatureValues {
  kind: FeatureKind = "bytes";
  isSet = false;
  count = 0;
  readonly #bytes: Uint8Array;
  /** Starts and ends of runs of packed values, of single ones, or of texts. */
  #parts: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  merge(reader: WireReader): void {
    const outer = reader.enter();
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      const kind = listTags[tag];
      if (kind === undefined) {
        reader.skip(tag);
        continue;
      }
      if (!this.isSet || kind !== this.kind) {
        this.isSet = true;
        this.kind = kind;
        this.count = 0;
        this.#parts = [];
      }
      const outerList = reader.enter();
      for (let field = reader.tag(); field !== 0; field = reader.tag()) this.#meet(reader, field);
      reader.leave(outerList);
    }
    reader.leave(outer);
  }

  #meet(reader: WireReader, tag: number): void {
    if (tag >>> 3 !== 1) {
      reader.skip(tag);
      return;
    }
    if (this.#parts.length === 2 * maxParts) throw invalidArgument(`a feature comes in more than ${maxParts} parts`);
    const wireType = tag & 7;
    if (wireType === WireType.bytes) {
      const length = reader.length();
      const [start, end] = [reader.pos, reader.pos + length];
      reader.pos = end;
      if (this.kind === "bytes") this.count += 1;
      else if (this.kind === "float") {
        if (length % 4 !== 0) throw new WireFormatError("packed floats do not end where their field does");
        this.count += length / 4;
      } else {
        if (length > 0 && this.#bytes[end - 1]! >= 0x80) {
          throw new WireFormatError("packed integers do not end where their field does");
        }
        this.count += countVarints(this.#bytes, start, end);
      }
      this.#parts.push(start, end);
      return;
    }
    const start = reader.pos;
    reader.skip(tag);
    const expected = this.kind === "float" ? WireType.fixed32 : WireType.varint;
    // A field of another type than the list's is unknown, and stepped over.
    if (this.kind === "bytes" || wireType !== expected) return;
    this.count += 1;
    this.#parts.push(start, reader.pos);
  }

  numbers(): Float32Array | BigInt64Array {
    return this.kind === "float" ? this.#floats() : this.#integers();
  }

  #floats(): Float32Array {
    const values = new Float32Array(this.count);
    const target = bytesOf(values);
    let at = 0;
    for (let i = 0; i < this.#parts.length; i += 2) {
      const part = this.#bytes.subarray(this.#parts[i]!, this.#parts[i + 1]!);
      target.set(part, at);
      at += part.length;
    }
    return values;
  }

  #integers(): BigInt64Array {
    const values = new BigInt64Array(this.count);
    const halves = halvesOf(values);
    let at = 0;
    for (let i = 0; i < this.#parts.length; i += 2) {
      at = readWide(this.#bytes, this.#parts[i]!, this.#parts[i + 1]!, halves, at, this.count);
    }
    return values;
  }

  texts(): readonly string[] {
    const { buffer, byteOffset, byteLength } = this.#bytes;
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    const texts = new Array<string>(this.count);
    for (let i = 0; i < this.count; i++) {
      texts[i] = decodeString(bytes, this.#parts[2 * i]!, this.#parts[2 * i + 1]!, i);
    }
    return texts;
  }
}
