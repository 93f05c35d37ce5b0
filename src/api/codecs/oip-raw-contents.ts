// The elements of a tensor as the protocol's raw bytes: little-endian, row-major, strings behind their lengths.
import { invalidArgument } from "../../status.js";
import { decodeLengthPrefixed, type ElementTypeInfo, type Tensor, viewAs } from "../../tensor/index.js";
import type { InferContents } from "../open-inference/infer-request.js";
import { requireBools } from "./oip-bools.js";
import { decodeString } from "./tensor-strings.js";

/** Raw bytes of an input, from gRPC's raw_input_contents or behind a REST request's JSON. */
export class RawContents implements InferContents {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  fault(): undefined {
    return undefined;
  }

  byteLength(): number {
    return this.#bytes.length;
  }

  decode(type: ElementTypeInfo, count: number, input: string, model: string): Tensor["data"] {
    const bytes = this.#bytes;
    if (type.name === "string") {
      const elements = decodeLengthPrefixed(bytes, count);
      if (typeof elements === "string") {
        throw invalidArgument(`inference input '${input}' for model '${model}': ${elements}`);
      }
      return elements.map((element, index) => {
        const buffer = Buffer.from(element.buffer, element.byteOffset, element.length);
        return decodeString(buffer, 0, buffer.length, index);
      });
    }
    if (type.name === "bool") requireBools(bytes);
    return viewAs(type.name, bytes);
  }
}

/** Contents that no input may have: the request is refused before they are looked at. */
export function faultyContents(fault: InferContents["fault"]): InferContents {
  const unreachable = () => {
    throw new Error("contents with a fault are not read");
  };
  return { fault, byteLength: unreachable, decode: unreachable };
}

export const noContents = faultyContents(
  (input, model) => `unable to find data for input tensor '${input}' for model '${model}' in request.`,
);
