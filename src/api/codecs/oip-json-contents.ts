// The elements of an input as JSON has them: a list, flat or nested in any way. Only their number counts.
import { invalidArgument } from "../../status.js";
import {
  type ElementTypeInfo,
  elementCount,
  elementTypeOfOpenInference,
  type Shape,
  type Tensor,
} from "../../tensor/index.js";
import type { InferContents } from "../open-inference/infer-request.js";
import { endOfScalar, skipBlanks } from "./json-describe.js";
import { faultOf } from "./json-tensor-fault.js";
import { maxRank, TensorFill } from "./json-tensor-fill.js";

interface DescribedInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: Shape;
}

/**
 * Reads the elements out of a checked text, pausing after about so many bytes.
 * @param text the value of "data" alone
 * @param bound elements, at most
 * @throws INVALID_ARGUMENT for elements that are not of the datatype, and when they do not fill the shape
 */
export function* readJsonContents(
  text: Buffer,
  { name, datatype, shape }: DescribedInput,
  bound: number,
  stepBytes: number,
): Generator<void, InferContents, undefined> {
  if (datatype === "FP16" || datatype === "BF16") {
    throw invalidArgument(
      `receiving ${datatype} data via JSON is not supported. Please use the binary data format for input ${name}`,
    );
  }
  if (text[0] !== 0x5b) throw invalidArgument(`Unable to parse 'data' of input '${name}': it must be a list`);
  const type = elementTypeOfOpenInference(datatype);
  // What is no datatype is no model's either: refused as such when the model is known.
  if (type === undefined) return new ReadContents([]);
  const count = elementCount(shape);
  const newFill = (list: Buffer) => beginFill(new TensorFill(type.name, list, bound, Math.min(bound, count ?? 0)));
  const data = yield* readElements(text, newFill, name, stepBytes);
  if (data.length !== count) {
    throw invalidArgument(
      `Unable to parse 'data': Shape does not match true shape of 'data' field: input '${name}' of shape ` +
        `[${shape.join(",")}] has ${data.length} elements`,
    );
  }
  return new ReadContents(data);
}

function* readElements(
  text: Buffer,
  newFill: (list: Buffer) => TensorFill,
  name: string,
  stepBytes: number,
): Generator<void, Tensor["data"], undefined> {
  let fill = newFill(text);
  let state = fill.run(stepBytes);
  while (state === "paused") {
    yield;
    state = fill.run(stepBytes);
  }
  if (state === "misfit") {
    // It may only be nested unevenly. Seldom: read once more as one flat list, at one go.
    fill = newFill(flattened(text, name));
    if (fill.run(Number.POSITIVE_INFINITY) === "misfit") {
      throw invalidArgument(`Unable to parse 'data' of input '${name}': ${faultOf(fill).message}`);
    }
  }
  return fill.data();
}

function beginFill(fill: TensorFill): TensorFill {
  fill.begin(0);
  if (fill.dims.length > maxRank) throw invalidArgument(`JSON lists are nested deeper than ${maxRank}`);
  return fill;
}

/** The same elements in one list: every bracket but the outermost two is made a blank. */
function flattened(list: Buffer, name: string): Buffer {
  const flat = Buffer.from(list);
  let position = 1;
  while (position < flat.length - 1) {
    const byte = flat[position]!;
    if (byte === 0x22) {
      position = endOfScalar(flat, position);
      continue;
    }
    if (byte === 0x7b) throw invalidArgument(`Unable to parse 'data' of input '${name}': it holds an object`);
    if (byte === 0x5b && flat[skipBlanks(flat, position + 1)] === 0x5d) {
      throw invalidArgument(`Unable to parse 'data' of input '${name}': it nests unevenly and holds empty lists`);
    }
    if (byte === 0x5b || byte === 0x5d) flat[position] = 0x20;
    position += 1;
  }
  return flat;
}

/** Elements that have been read already, as many as their shape takes. */
class ReadContents implements InferContents {
  readonly #data: Tensor["data"];

  constructor(data: Tensor["data"]) {
    this.#data = data;
  }

  fault(): undefined {
    return undefined;
  }

  byteLength(type: ElementTypeInfo): number {
    return this.#data.length * type.bytesPerElement;
  }

  decode(): Tensor["data"] {
    return this.#data;
  }
}
