// inference.ModelInferRequest, read in place: nothing is copied, and no element is looked at, before the model has been
// asked whether it takes what the request says it carries.
import { invalidArgument } from "../../status.js";
import type {
  InferContents,
  InferInput,
  InferParameter,
  InferRequest,
  RequestedOutput,
} from "../open-inference/infer-request.js";
import { faultyContents, noContents, RawContents } from "./oip-raw-contents.js";
import { TypedContents } from "./oip-typed-contents.js";
import { tagOf, WireReader, WireType } from "./wire-reader.js";

export interface DecodedInferRequest extends InferRequest {
  /** Whether any input came as typed contents: the answer's tensors then do too. */
  readonly typed: boolean;
  /** Of the message. */
  readonly byteLength: number;
}

/** Inputs, outputs or parameters that one request may have; no model comes near. */
const maxEntries = 16_384;
/** As many dimensions as TensorFlow's shapes have, at most. */
const maxDimensions = 254;

const modelNameTag = tagOf(1, WireType.bytes);
const modelVersionTag = tagOf(2, WireType.bytes);
const idTag = tagOf(3, WireType.bytes);
const parametersTag = tagOf(4, WireType.bytes);
const inputsTag = tagOf(5, WireType.bytes);
const outputsTag = tagOf(6, WireType.bytes);
const rawInputContentsTag = tagOf(7, WireType.bytes);

/**
 * The tensors are views of `bytes`, which must not change afterwards.
 * @throws WireFormatError for bytes that are no such message; INVALID_ARGUMENT for one with absurdly many entries
 */
export function decodeInferRequest(bytes: Uint8Array): DecodedInferRequest {
  const reader = new WireReader(bytes);
  let modelName = "";
  let modelVersion = "";
  let id = "";
  const parameters = new Map<string, InferParameter>();
  const inputs: InputDraft[] = [];
  const outputs: RequestedOutput[] = [];
  const raw: Uint8Array[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case modelNameTag:
        modelName = reader.string();
        break;
      case modelVersionTag:
        modelVersion = reader.string();
        break;
      case idTag:
        id = reader.string();
        break;
      case parametersTag:
        readParameter(reader, parameters);
        break;
      case inputsTag:
        inputs.push(readInput(reader));
        limitEntries("inputs", inputs.length);
        break;
      case outputsTag:
        outputs.push(readOutput(reader));
        limitEntries("outputs", outputs.length);
        break;
      case rawInputContentsTag:
        raw.push(reader.view());
        limitEntries("raw_input_contents", raw.length);
        break;
      default:
        reader.skip(tag);
    }
  }
  let nextRaw = 0;
  const take = () => raw[nextRaw++];
  return {
    modelName,
    modelVersion,
    id,
    parameters,
    inputs: inputs.map((draft) => ({ ...draft, contents: contentsOf(draft, raw.length > 0, take) })),
    outputs,
    typed: inputs.some(({ contents }) => contents !== undefined),
    byteLength: bytes.length,
  };
}

type InputDraft = Omit<InferInput, "contents"> & { readonly contents: TypedContents | undefined };

/** Raw entries belong, in their order, to the inputs without contents and without a region of shared memory. */
function contentsOf(draft: InputDraft, hasRaw: boolean, take: () => Uint8Array | undefined): InferContents {
  const { contents, parameters } = draft;
  if (contents !== undefined) return hasRaw ? typedBesideRaw : contents;
  if (parameters.has("shared_memory_region")) return noContents;
  const bytes = take();
  return bytes === undefined ? noContents : new RawContents(bytes);
}

const typedBesideRaw = faultyContents(
  (input, model) =>
    `contents field must not be specified when using raw_input_contents for '${input}' for model '${model}'`,
);

const nameTag = tagOf(1, WireType.bytes);
const datatypeTag = tagOf(2, WireType.bytes);
const packedShapeTag = tagOf(3, WireType.bytes);
const shapeTag = tagOf(3, WireType.varint);
const inputParametersTag = tagOf(4, WireType.bytes);
const contentsTag = tagOf(5, WireType.bytes);
const outputParametersTag = tagOf(2, WireType.bytes);

function readInput(reader: WireReader): InputDraft {
  const outer = reader.enter();
  let name = "";
  let datatype = "";
  const shape: number[] = [];
  let parameters: Map<string, InferParameter> | undefined;
  let contents: TypedContents | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case nameTag:
        name = reader.string();
        break;
      case datatypeTag:
        datatype = reader.string();
        break;
      case packedShapeTag: {
        const outerShape = reader.enter();
        while (reader.pos < reader.end) addDimension(shape, reader);
        reader.leave(outerShape);
        break;
      }
      case shapeTag:
        addDimension(shape, reader);
        break;
      case inputParametersTag:
        parameters ??= new Map();
        readParameter(reader, parameters);
        break;
      case contentsTag: {
        contents ??= new TypedContents(reader.bytes);
        const outerContents = reader.enter();
        contents.merge(reader);
        reader.leave(outerContents);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outer);
  contents?.setDatatype(datatype);
  return { name, datatype, shape, parameters: parameters ?? noParameters, contents };
}

const noParameters: ReadonlyMap<string, InferParameter> = new Map();

function addDimension(shape: number[], reader: WireReader): void {
  const size = reader.int64AsNumber();
  if (shape.length === maxDimensions) throw invalidArgument(`a shape may have ${maxDimensions} dimensions at most`);
  shape.push(size);
}

function readOutput(reader: WireReader): RequestedOutput {
  const outer = reader.enter();
  let name = "";
  let parameters: Map<string, InferParameter> | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === nameTag) name = reader.string();
    else if (tag === outputParametersTag) {
      parameters ??= new Map();
      readParameter(reader, parameters);
    } else reader.skip(tag);
  }
  reader.leave(outer);
  return { name, parameters: parameters ?? noParameters };
}

const keyTag = tagOf(1, WireType.bytes);
const valueTag = tagOf(2, WireType.bytes);
const boolTag = tagOf(1, WireType.varint);
const int64Tag = tagOf(2, WireType.varint);
const stringTag = tagOf(3, WireType.bytes);
const doubleTag = tagOf(4, WireType.fixed64);
const uint64Tag = tagOf(5, WireType.varint);

/** An entry of map<string, InferParameter>, the last of a key. One without a value says nothing. */
function readParameter(reader: WireReader, into: Map<string, InferParameter>): void {
  const outer = reader.enter();
  let key = "";
  let value: InferParameter | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === keyTag) key = reader.string();
    else if (tag === valueTag) {
      const outerValue = reader.enter();
      value = readParameterValue(reader, value);
      reader.leave(outerValue);
    } else reader.skip(tag);
  }
  reader.leave(outer);
  if (value === undefined) {
    into.delete(key);
    return;
  }
  into.set(key, value);
  limitEntries("parameters", into.size);
}

function readParameterValue(reader: WireReader, earlier: InferParameter | undefined): InferParameter | undefined {
  let value = earlier;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case boolTag:
        reader.varint64();
        value = reader.low !== 0 || reader.high !== 0;
        break;
      case int64Tag:
        value = reader.int64();
        break;
      case stringTag:
        value = reader.string();
        break;
      case doubleTag: {
        const start = reader.pos;
        reader.skip(tag);
        value = new DataView(reader.bytes.buffer, reader.bytes.byteOffset + start, 8).getFloat64(0, true);
        break;
      }
      case uint64Tag:
        value = BigInt.asUintN(64, reader.int64());
        break;
      default:
        reader.skip(tag);
    }
  }
  return value;
}

function limitEntries(what: string, count: number): void {
  if (count > maxEntries) throw invalidArgument(`a request may have ${maxEntries} ${what} at most`);
}
