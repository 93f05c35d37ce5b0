// The body of a REST classify or regress call: {"signature_name": …, "context": {…}, "examples": [{…}, …]}, whose objects
// are tf.Examples by another name. Kinds come from the way values are written: 1 is int64, 1.0 is float, "a" is bytes.
import type { Example, ExampleInput, ExampleList, FeatureKind, FeatureValues } from "../../serving/index.js";
import { invalidArgument, type StatusError } from "../../status.js";
import { base64Text, bytesOfBase64 } from "./json-base64.js";
import { describeJson, describeKind, endOfScalar, skipBlanks } from "./json-describe.js";
import { JsonReader, type JsonSpan } from "./json-reader.js";
import { decodeJsonString, endOfJsonString } from "./json-string.js";
import { decodeString } from "./tensor-strings.js";

const wantedKeys = new Set(["signature_name", "context", "examples"]);

/** Examples in one body, and features in one example, at most: no model comes near. */
const maxExamples = 4 * 1024 * 1024;
const maxFeatures = 64 * 1024;

/** A classify or regress call's body. Everything in it is checked before the model is looked for, as TensorFlow Serving does. */
export class ExamplesBody {
  readonly #reader: JsonReader;
  #text: Buffer;
  #signatureName = "";
  #context: Example | undefined;
  /** Where the examples begin. All have been checked; each is read again when it is its turn. */
  readonly #starts: number[] = [];
  /** Where the next example begins; -1 before the first. */
  #next = -1;

  constructor(body: Buffer) {
    this.#reader = new JsonReader(body, wantedKeys);
    this.#text = body;
  }

  /** Reads on for about so many bytes; true when the whole body has been read. Throws INVALID_ARGUMENT. */
  advance(byteBudget: number): boolean {
    if (this.#next < 0) {
      if (!this.#reader.advance(byteBudget)) return false;
      this.#begin();
      return false;
    }
    return this.#readExamples(this.#next + byteBudget);
  }

  /** "" when the body names none. Only after advance has returned true. */
  get signatureName(): string {
    return this.#signatureName;
  }

  /** Only after advance has returned true. */
  get input(): ExampleInput {
    const text = this.#text;
    const starts = this.#starts;
    const examples: ExampleList = {
      count: starts.length,
      read: (index) => readExample(text, starts[index]!).example,
    };
    const context = this.#context;
    const all = { examples, integersMayBeFloats: true };
    return context === undefined ? all : { ...all, context: { read: () => context } };
  }

  #begin(): void {
    this.#text = this.#reader.text;
    const text = this.#text;
    if (text[this.#reader.rootStart] !== 0x7b) throw this.#fault("Is not object");
    const { members } = this.#reader;
    const name = members.get("signature_name");
    if (name !== undefined) {
      if (text[name.start] !== 0x22) {
        throw this.#fault("not formatted correctly. 'signature_name' key must be a string value.");
      }
      this.#signatureName = decodeJsonString(text, name.start, endOfJsonString(text, name.start));
    }
    const context = members.get("context");
    if (context !== undefined) this.#context = readExample(text, context.start).example;
    this.#next = this.#firstExample(members.get("examples"));
  }

  #firstExample(examples: JsonSpan | undefined): number {
    if (examples === undefined) {
      throw this.#fault("When method is classify, key 'examples' is expected and was not found");
    }
    if (this.#text[examples.start] !== 0x5b) throw this.#fault("Expecting 'examples' value to be an list/array");
    const first = skipBlanks(this.#text, examples.start + 1);
    if (this.#text[first] === 0x5d) throw this.#fault("'examples' value is an empty array");
    return first;
  }

  #readExamples(pause: number): boolean {
    while (this.#next < pause) {
      if (this.#starts.length === maxExamples) {
        throw invalidArgument(`a request may have ${maxExamples} examples at most`);
      }
      const { end } = readExample(this.#text, this.#next);
      this.#starts.push(this.#next);
      const separator = skipBlanks(this.#text, end);
      if (this.#text[separator] === 0x5d) return true;
      this.#next = skipBlanks(this.#text, separator + 1);
    }
    return false;
  }

  #fault(reason: string): StatusError {
    return invalidArgument(`JSON Value: ${describeJson(this.#text, this.#reader.rootStart)} ${reason}`);
  }
}

/** Reads the object at `start` of a checked text. What its features hold stays where it is until it is wanted. */
function readExample(text: Buffer, start: number): { readonly example: Example; readonly end: number } {
  if (text[start] !== 0x7b) {
    throw invalidArgument(`Example must be JSON object but got JSON ${describeKind(text, start)}`);
  }
  const example = new Map<string, FeatureValues | undefined>();
  let position = skipBlanks(text, start + 1);
  while (text[position] !== 0x7d) {
    if (example.size === maxFeatures) throw invalidArgument(`an example may have ${maxFeatures} features at most`);
    const keyEnd = endOfJsonString(text, position);
    const name = decodeJsonString(text, position, keyEnd);
    if (example.has(name)) throw invalidArgument(`Feature: ${name} is given twice`);
    const feature = new JsonFeature(name, text, skipBlanks(text, skipBlanks(text, keyEnd) + 1));
    const end = feature.check();
    // A list without elements has no kind.
    example.set(name, feature.count === 0 ? undefined : feature);
    position = skipBlanks(text, end);
    if (text[position] === 0x2c) position = skipBlanks(text, position + 1);
  }
  return { example, end: position + 1 };
}

const int64Limit = 2n ** 63n;

/** A scalar or a flat list in a checked text. */
class JsonFeature implements FeatureValues {
  readonly #name: string;
  readonly #text: Buffer;
  readonly #start: number;
  kind: FeatureKind = "int64";
  count = 0;

  constructor(name: string, text: Buffer, start: number) {
    this.#name = name;
    this.#text = text;
    this.#start = start;
  }

  /** Learns kind and count. @returns the end of the value */
  check(): number {
    return this.#each((start) => {
      const { kind, end } = this.#kindOf(start);
      if (this.count === 0) this.kind = kind;
      else if (kind !== this.kind) {
        throw invalidArgument(`Unexpected element type in feature: ${this.#name} expecting type: ${this.kind}`);
      }
      this.count += 1;
      return end;
    });
  }

  numbers(): Float64Array | BigInt64Array {
    const text = this.#text;
    let at = 0;
    if (this.kind === "float") {
      const floats = new Float64Array(this.count);
      this.#each((start) => {
        const end = endOfScalar(text, start);
        floats[at++] = numberOf(text.toString("latin1", start, end));
        return end;
      });
      return floats;
    }
    const integers = new BigInt64Array(this.count);
    this.#each((start) => {
      const end = endOfScalar(text, start);
      const literal = text.toString("latin1", start, end);
      integers[at++] = literal === "true" ? 1n : literal === "false" ? 0n : BigInt(literal);
      return end;
    });
    return integers;
  }

  texts(): readonly string[] {
    const text = this.#text;
    const texts: string[] = [];
    this.#each((start) => {
      const encoded = base64Text(text, start);
      const end = encoded?.end ?? endOfJsonString(text, start);
      const bytes =
        encoded === undefined ? Buffer.from(decodeJsonString(text, start, end)) : bytesOfBase64(encoded.text)!;
      texts.push(decodeString(bytes, 0, bytes.length, texts.length));
      return end;
    });
    return texts;
  }

  /** Calls with the start of each element, and takes its end. @returns the end of the value */
  #each(use: (start: number) => number): number {
    const text = this.#text;
    if (text[this.#start] !== 0x5b) return use(this.#start);
    let position = skipBlanks(text, this.#start + 1);
    while (text[position] !== 0x5d) {
      position = skipBlanks(text, use(position));
      if (text[position] === 0x2c) position = skipBlanks(text, position + 1);
    }
    return position + 1;
  }

  #kindOf(start: number): { readonly kind: FeatureKind; readonly end: number } {
    const text = this.#text;
    switch (text[start]) {
      case 0x22 /* " */:
        return { kind: "bytes", end: endOfJsonString(text, start) };
      case 0x74:
      case 0x66 /* true, false */:
        return { kind: "int64", end: endOfScalar(text, start) };
      case 0x7b:
      case 0x5b:
      case 0x6e /* {, [, null */:
        return { kind: "bytes", end: this.#endOfBase64(start) };
    }
    const end = endOfScalar(text, start);
    const literal = end - start > 20 ? "" : text.toString("latin1", start, end);
    if (!/^-?\d+$/.test(literal)) return { kind: "float", end };
    const integer = BigInt(literal);
    if (integer >= int64Limit && integer < 2n * int64Limit) {
      throw invalidArgument(`Feature: ${this.#name} has uint64_t element. Only int64_t is supported.`);
    }
    return { kind: integer >= -int64Limit && integer < int64Limit ? "int64" : "float", end };
  }

  #endOfBase64(start: number): number {
    const encoded = base64Text(this.#text, start);
    if (encoded === undefined) {
      throw invalidArgument(
        `Feature: ${this.#name} has element with unexpected JSON type: ${describeKind(this.#text, start)}`,
      );
    }
    if (bytesOfBase64(encoded.text) === undefined) {
      throw invalidArgument(`JSON Value: ${describeJson(this.#text, start)} Unable to base64 decode`);
    }
    return encoded.end;
  }
}

/** The words that RapidJSON takes for numbers, too. */
function numberOf(literal: string): number {
  const unsigned = literal.startsWith("-") ? literal.slice(1) : literal;
  if (unsigned === "NaN") return Number.NaN;
  if (unsigned.startsWith("Inf")) return literal === unsigned ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  return Number(literal);
}
