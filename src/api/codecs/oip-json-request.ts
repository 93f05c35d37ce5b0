// The body of a REST inference: JSON, and behind it the bytes of the inputs that are not in the JSON.
//
// Read in steps, so that a body of many megabytes does not hold up the thread that serves everyone else: JsonReader
// checks the text, then the inputs are walked, and the elements of each go straight into a typed array.
import { invalidArgument } from "../../status.js";
import type {
  InferContents,
  InferInput,
  InferParameter,
  InferParameters,
  InferRequest,
  RequestedOutput,
} from "../open-inference/infer-request.js";
import { skipBlanks } from "./json-describe.js";
import { JsonReader } from "./json-reader.js";
import { readJsonContents } from "./oip-json-contents.js";
import { type JsonValue, nextOf, readJsonValue, readKey, skipJsonValue } from "./oip-json-value.js";
import { noContents, RawContents } from "./oip-raw-contents.js";

export interface JsonInferRequest extends InferRequest {
  /** Whether an output travels as bytes behind the answer's JSON. */
  readonly isBinary: (output: string) => boolean;
}

/** How much of a body is read before others have their turn: about a millisecond's worth. */
const stepBytes = 256 * 1024;
/** Inputs and outputs that one request may have; no model comes near. */
const maxEntries = 16_384;

const wantedKeys = new Set(["id", "parameters", "inputs", "outputs"]);

export class JsonInferBody {
  readonly #reader: JsonReader;
  readonly #blobs: Buffer;
  readonly #model: string;
  readonly #steps: Generator<void, void, undefined>;
  readonly #inputs: InferInput[] = [];
  #blobPosition = 0;

  /**
   * @param headBytes of the JSON; undefined: all of it is
   * @param model what errors call the model
   */
  constructor(body: Buffer, headBytes: number | undefined, model: string) {
    const length = headBytes ?? body.length;
    this.#reader = new JsonReader(body.subarray(0, length), wantedKeys);
    this.#blobs = body.subarray(length);
    this.#model = model;
    this.#steps = this.#read();
  }

  /** Reads on a little; true when the whole body has been read. Throws INVALID_ARGUMENT. */
  advance(): boolean {
    return this.#steps.next().done === true;
  }

  /** Only after advance has returned true. */
  request(modelVersion: string): JsonInferRequest {
    const id = this.#member("id") ?? "";
    if (typeof id !== "string") throw invalidArgument("Unable to parse 'id': it must be a string");
    const parameters = toParameters(this.#member("parameters"));
    const outputs = toOutputs(this.#member("outputs"));
    const all = parameters.get("binary_data_output") === true;
    const binary = new Map(outputs.map((output) => [output.name, binaryData(output)]));
    return {
      modelName: this.#model,
      modelVersion,
      id,
      parameters,
      inputs: this.#inputs,
      outputs,
      isBinary: (output) => binary.get(output) ?? all,
    };
  }

  #member(key: string): JsonValue | undefined {
    const span = this.#reader.members.get(key);
    return span === undefined ? undefined : readJsonValue(this.#reader.text, span.start).value;
  }

  *#read(): Generator<void, void, undefined> {
    while (!this.#reader.advance(stepBytes)) yield;
    const { text, members, rootStart } = this.#reader;
    const inputs = members.get("inputs");
    if (text[rootStart] !== 0x7b || inputs === undefined || text[inputs.start] !== 0x5b) {
      throw invalidArgument("Unable to parse 'inputs': the body must be a JSON object with a list of that name");
    }
    let position = skipBlanks(text, inputs.start + 1);
    while (text[position] !== 0x5d) {
      if (text[position] !== 0x7b) throw invalidArgument("Unable to parse 'inputs': each must be an object");
      position = nextOf(text, yield* this.#readInput(text, position, inputs.commas + 1));
      if (this.#inputs.length > maxEntries) throw invalidArgument(`a request may have ${maxEntries} inputs at most`);
    }
    if (this.#blobPosition < this.#blobs.length) {
      throw invalidArgument(`unexpected additional input data for model '${this.#model}'`);
    }
  }

  /**
   * Reads the object of one input, and returns its end.
   * @param bound elements that the text can hold, at most
   */
  *#readInput(text: Buffer, start: number, bound: number): Generator<void, number, undefined> {
    const members = new Map<string, JsonValue>();
    let data: Buffer | undefined;
    let position = skipBlanks(text, start + 1);
    while (text[position] !== 0x7d) {
      const { key, valueStart } = readKey(text, position);
      let end: number;
      if (key === "data") {
        end = yield* skipJsonValue(text, valueStart, stepBytes);
        data ??= text.subarray(valueStart, end);
      } else {
        const read = readJsonValue(text, valueStart);
        if (!members.has(key)) members.set(key, read.value);
        end = read.end;
      }
      position = nextOf(text, end);
    }
    const name = members.get("name");
    const datatype = members.get("datatype");
    if (typeof name !== "string") throw invalidArgument("Unable to parse 'name' of an input: it must be a string");
    if (typeof datatype !== "string") {
      throw invalidArgument(`Unable to parse 'datatype' of input '${name}': it must be a string`);
    }
    const shape = toShape(name, members.get("shape"));
    const parameters = toParameters(members.get("parameters"));
    requireOneSource(parameters, data !== undefined);
    const contents =
      data === undefined
        ? this.#blobOf(name, parameters)
        : yield* readJsonContents(data, { name, datatype, shape }, bound, stepBytes);
    this.#inputs.push({ name, datatype, shape, parameters, contents });
    return position + 1;
  }

  #blobOf(name: string, parameters: InferParameters): InferContents {
    const size = parameters.get("binary_data_size");
    if (size === undefined) return noContents; // in a region of shared memory, which is refused later
    if (typeof size !== "bigint" || size < 0n) {
      throw invalidArgument(`Unable to parse 'binary_data_size' of input '${name}': it must be a number of bytes`);
    }
    const left = this.#blobs.length - this.#blobPosition;
    if (size > BigInt(left)) {
      throw invalidArgument(
        `unexpected size for input '${name}', expecting ${size - BigInt(left)} additional bytes for model '${this.#model}'`,
      );
    }
    const start = this.#blobPosition;
    this.#blobPosition += Number(size);
    return new RawContents(this.#blobs.subarray(start, this.#blobPosition));
  }
}

function requireOneSource(parameters: InferParameters, hasData: boolean): void {
  const set = [
    ...(hasData ? ["'data'"] : []),
    ...(parameters.has("binary_data_size") ? ["'binary_data_size'"] : []),
    ...(parameters.has("shared_memory_region") ? ["'shared_memory_region'"] : []),
  ];
  if (set.length === 1) return;
  throw invalidArgument(
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', " +
      `'shared_memory_region' in 'parameters'. But ${set.length === 0 ? "no field is set" : `set ${set.join(" ")}`}`,
  );
}

function toShape(input: string, value: JsonValue | undefined): number[] {
  const isShape = Array.isArray(value) && value.every((size) => typeof size === "bigint" && size >= 0n);
  if (!isShape || value.length > maxDimensions) {
    throw invalidArgument(
      `Unable to parse 'shape' of input '${input}': it must be a list of whole numbers of 0 or more`,
    );
  }
  return value.map(Number);
}

const maxDimensions = 254;

function toParameters(value: JsonValue | undefined): InferParameters {
  if (value === undefined) return noParameters;
  if (!(value instanceof Map)) throw invalidArgument("Unable to parse 'parameters': it must be an object");
  for (const [key, parameter] of value) {
    if (typeof parameter === "object") {
      throw invalidArgument(`parameter '${key}' must be a string, a number, or true or false`);
    }
  }
  return value as ReadonlyMap<string, InferParameter>;
}

const noParameters: InferParameters = new Map();

function toOutputs(value: JsonValue | undefined): readonly RequestedOutput[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > maxEntries) {
    throw invalidArgument(`Unable to parse 'outputs': it must be a list of ${maxEntries} objects at most`);
  }
  return value.map((output: JsonValue) => {
    const name = output instanceof Map ? output.get("name") : undefined;
    if (typeof name !== "string") throw invalidArgument("Unable to parse 'name' of an output: it must be a string");
    return { name, parameters: toParameters((output as ReadonlyMap<string, JsonValue>).get("parameters")) };
  });
}

function binaryData({ name, parameters }: RequestedOutput): boolean | undefined {
  const value = parameters.get("binary_data");
  if (value !== undefined && typeof value !== "boolean") {
    throw invalidArgument(`Unable to parse 'binary_data' of output '${name}': it must be true or false`);
  }
  return value;
}
