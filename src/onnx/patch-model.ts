// Changes a few nodes of a model file and leaves every other byte as it is: unknown fields, their order, and the
// weights, which are copied once, into the new file.
import {
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  StringStringEntryProto,
  TensorProto,
  ValueInfoProto,
} from "../gen/onnx/onnx.js";
import { encodeHead, joinBytes, WireCursor } from "./wire.js";

export interface ModelPatch {
  /** By index in the main graph's nodes: what stands there instead. An empty list removes the node. */
  readonly nodes?: ReadonlyMap<number, readonly NodeProto[]>;
  /** By index in the main graph's outputs. */
  readonly outputs?: ReadonlyMap<number, ValueInfoProto>;
  /** Put behind the main graph's own. */
  readonly initializers?: readonly TensorProto[];
  /** By name: what stands in the place of one of the main graph's initializers. */
  readonly replacedInitializers?: ReadonlyMap<string, TensorProto>;
  /** Names of values whose declared types no longer hold, and are taken out. */
  readonly droppedValueInfos?: ReadonlySet<string>;
  /** Entries that replace those of the same keys, or are added. */
  readonly metadata?: ReadonlyMap<string, string>;
  /** All operator sets, when they change. */
  readonly operatorSets?: readonly OperatorSetIdProto[];
}

const graphField = 7;
const operatorSetField = 8;
const nodeField = 1;
const initializerField = 5;
const outputField = 12;
const valueInfoField = 13;
const metadataField = 14;
const rawDataField = 9;
/** Of a tensor, of a value's type, of an entry of the metadata. */
const tensorNameField = 8;
const valueNameField = 1;
const keyField = 1;

/** The file with the patch applied. The file must have been accepted by decodeModel(). */
export function patchModel(file: Uint8Array, patch: ModelPatch): Uint8Array {
  const pieces = new Pieces(file);
  const field = new WireCursor(file);
  while (field.next()) {
    if (field.number === graphField) pieces.addMessage(graphField, patchGraph(file, field, patch));
    else if (field.number === operatorSetField && patch.operatorSets !== undefined) continue;
    else if (field.number === metadataField && patch.metadata?.has(textWithin(file, field, keyField))) continue;
    else pieces.keep(field);
  }
  for (const [key, value] of patch.metadata ?? []) {
    pieces.addBytes(metadataField, StringStringEntryProto.encode({ key, value }).finish());
  }
  for (const set of patch.operatorSets ?? [])
    pieces.addBytes(operatorSetField, OperatorSetIdProto.encode(set).finish());
  return pieces.joined();
}

/** A model as the bytes of its file; the initializers' raw data is copied once. */
export function encodeModelProto(model: ModelProto): Uint8Array {
  const { graph } = model;
  if (graph === undefined) return ModelProto.encode(model).finish();
  const withoutWeights = { ...model, graph: { ...graph, initializer: [] } };
  return patchModel(ModelProto.encode(withoutWeights).finish(), { initializers: graph.initializer });
}

function patchGraph(file: Uint8Array, { valueStart, valueEnd }: WireCursor, patch: ModelPatch): Pieces {
  const pieces = new Pieces(file);
  const field = new WireCursor(file, valueStart, valueEnd);
  let nodeIndex = 0;
  let outputIndex = 0;
  while (field.next()) {
    const nodes = field.number === nodeField ? patch.nodes?.get(nodeIndex++) : undefined;
    const output = field.number === outputField ? patch.outputs?.get(outputIndex++) : undefined;
    const initializer =
      field.number === initializerField && patch.replacedInitializers !== undefined
        ? patch.replacedInitializers.get(textWithin(file, field, tensorNameField))
        : undefined;
    const dropped =
      field.number === valueInfoField && patch.droppedValueInfos?.has(textWithin(file, field, valueNameField));
    if (dropped) continue;
    if (nodes !== undefined) {
      for (const node of nodes) pieces.addBytes(nodeField, NodeProto.encode(node).finish());
    } else if (output !== undefined) {
      pieces.addBytes(outputField, ValueInfoProto.encode(output).finish());
    } else if (initializer !== undefined) {
      pieces.addMessage(initializerField, tensorPieces(initializer));
    } else {
      pieces.keep(field);
    }
  }
  for (const tensor of patch.initializers ?? []) pieces.addMessage(initializerField, tensorPieces(tensor));
  return pieces;
}

/** A field of text within a message. */
function textWithin(file: Uint8Array, { valueStart, valueEnd }: WireCursor, number: number): string {
  const field = new WireCursor(file, valueStart, valueEnd);
  while (field.next()) {
    if (field.number === number) return new TextDecoder().decode(file.subarray(field.valueStart, field.valueEnd));
  }
  return "";
}

function tensorPieces(tensor: TensorProto): Pieces {
  const pieces = new Pieces(TensorProto.encode({ ...tensor, rawData: new Uint8Array(0) }).finish());
  pieces.keepAll();
  if (tensor.rawData.length > 0) pieces.addBytes(rawDataField, tensor.rawData);
  return pieces;
}

/** A message in the making: stretches of an old one, and new bytes between them. */
class Pieces {
  readonly #source: Uint8Array;
  readonly #pieces: Uint8Array[] = [];
  // The stretch of the source that is being kept; neighbours grow together.
  #keptStart = 0;
  #keptEnd = 0;
  #byteLength = 0;

  constructor(source: Uint8Array) {
    this.#source = source;
  }

  keep({ tagStart, valueEnd }: WireCursor): void {
    if (tagStart !== this.#keptEnd) this.#flush(tagStart);
    this.#keptEnd = valueEnd;
  }

  keepAll(): void {
    this.#keptEnd = this.#source.length;
  }

  addBytes(number: number, value: Uint8Array): void {
    this.#flush(this.#keptEnd);
    this.#push(encodeHead(number, value.length));
    this.#push(value);
  }

  addMessage(number: number, message: Pieces): void {
    this.#flush(this.#keptEnd);
    message.#flush(message.#keptEnd);
    this.#push(encodeHead(number, message.#byteLength));
    for (const piece of message.#pieces) this.#push(piece);
  }

  joined(): Uint8Array {
    this.#flush(this.#keptEnd);
    return joinBytes(this.#pieces);
  }

  #flush(nextStart: number): void {
    if (this.#keptEnd > this.#keptStart) this.#push(this.#source.subarray(this.#keptStart, this.#keptEnd));
    this.#keptStart = nextStart;
    this.#keptEnd = nextStart;
  }

  #push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#byteLength += piece.length;
  }
}
