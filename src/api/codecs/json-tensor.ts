// The body of a REST predict call: TensorFlow Serving's row form ("instances") and column form ("inputs").
//
// A call is read in two passes over its bytes: PredictBody checks the text and finds the signature's name; then, with
// the signature known, an InputsReader reads the values into tensors. Both can be taken in steps, so that a body of
// many megabytes does not hold up the thread that serves everyone else.
import type { Signature } from "../../onnx/index.js";
import { invalidArgument, type StatusError } from "../../status.js";
import { describeJson, skipBlanks } from "./json-describe.js";
import { Columns, type InputsReader, isNamed, NamedRows, PlainRows } from "./json-inputs.js";
import { JsonReader } from "./json-reader.js";
import { decodeJsonString, endOfJsonString } from "./json-string.js";

const wantedKeys = new Set(["signature_name", "instances", "inputs"]);

/** A predict call's body. */
export class PredictBody {
  readonly #reader: JsonReader;
  #text: Buffer;
  #signatureName = "";

  constructor(body: Buffer) {
    this.#reader = new JsonReader(body, wantedKeys);
    this.#text = body;
  }

  /** Reads on for about so many bytes; true when the whole body has been read. Throws INVALID_ARGUMENT. */
  advance(byteBudget: number): boolean {
    if (!this.#reader.advance(byteBudget)) return false;
    this.#text = this.#reader.text;
    if (this.#text[this.#reader.rootStart] !== 0x7b) throw this.#fault("Is not object");
    const name = this.#reader.members.get("signature_name");
    if (name === undefined) return true;
    if (this.#text[name.start] !== 0x22) {
      throw this.#fault("not formatted correctly. 'signature_name' key must be a string value.");
    }
    this.#signatureName = decodeJsonString(this.#text, name.start, endOfJsonString(this.#text, name.start));
    return true;
  }

  /** "" when the body names none. Only after advance has returned true. */
  get signatureName(): string {
    return this.#signatureName;
  }

  /** Begins to read the inputs. Throws INVALID_ARGUMENT when the body has not the form that the signature asks for. */
  readInputs(signature: Signature): InputsReader {
    const { inputs } = signature;
    if (inputs.size === 0) {
      throw invalidArgument(`Failed to get input map for signature: ${this.#signatureName || "DEFAULT"}`);
    }
    const instances = this.#reader.members.get("instances");
    const columns = this.#reader.members.get("inputs");
    if (instances === undefined) {
      if (columns === undefined) throw invalidArgument("Missing 'inputs' or 'instances' key");
      return new Columns(this.#text, columns, signature);
    }
    if (columns !== undefined) {
      throw this.#fault("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ");
    }
    if (this.#text[instances.start] !== 0x5b) throw this.#fault("Expecting 'instances' to be an list/array");
    const first = skipBlanks(this.#text, instances.start + 1);
    if (this.#text[first] === 0x5d) throw this.#fault("No values in 'instances' array");
    if (isNamed(this.#text, first)) return new NamedRows(this.#text, instances, first, signature);
    const [only, ...others] = inputs;
    if (only === undefined || others.length > 0) {
      throw invalidArgument(
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
      );
    }
    return new PlainRows(this.#text, instances, only[0], only[1].dtype);
  }

  #fault(reason: string): StatusError {
    return invalidArgument(`JSON Value: ${describeJson(this.#text, this.#reader.rootStart)} ${reason}`);
  }
}
