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

/** What changes in a list of nodes: those of a graph, or of a function. */
export interface NodesPatch {
  /** By a node's index: what stands there instead. An empty list removes the node. */
  readonly nodes?: ReadonlyMap<number, readonly NodeProto[]>;
  /** By the index of a node that stays: what changes in the graphs it holds, in the order of subgraphsOfNode(). */
  readonly subgraphs?: ReadonlyMap<number, readonly (NodesPatch | undefined)[]>;
}

export interface ModelPatch extends NodesPatch {
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
  /** By index in the model's functions. */
  readonly functions?: ReadonlyMap<number, NodesPatch>;
}

const graphField = 7;
const operatorSetField = 8;
const functionField = 25;
const nodeOfFunctionField = 7;
const attributeField = 5;
const graphOfAttributeField = 6;
const graphsOfAttributeField = 11;
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
  let functionIndex = 0;
  while (field.next()) {
    const body = isMessage(field, functionField) ? patch.functions?.get(functionIndex++) : undefined;
    if (field.number === graphField) pieces.addMessage(graphField, patchGraph(file, field, patch));
    else if (body !== undefined) pieces.addMessage(functionField, patchNodes(file, field, body, nodeOfFunctionField));
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

function patchGraph(file: Uint8Array, graph: WireCursor, patch: ModelPatch): Pieces {
  let outputIndex = 0;
  const pieces = patchNodes(file, graph, patch, nodeField, (field, made) => {
    const output = field.number === outputField ? patch.outputs?.get(outputIndex++) : undefined;
    const initializer =
      field.number === initializerField && patch.replacedInitializers !== undefined
        ? patch.replacedInitializers.get(textWithin(file, field, tensorNameField))
        : undefined;
    const dropped =
      field.number === valueInfoField && patch.droppedValueInfos?.has(textWithin(file, field, valueNameField));
    if (dropped) return;
    if (output !== undefined) made.addBytes(outputField, ValueInfoProto.encode(output).finish());
    else if (initializer !== undefined) made.addMessage(initializerField, tensorPieces(initializer));
    else made.keep(field);
  });
  for (const tensor of patch.initializers ?? []) pieces.addMessage(initializerField, tensorPieces(tensor));
  return pieces;
}

/**
 * A message with nodes: a graph, or a function.
 * @param addOther adds what becomes of a field that is no node
 */
function patchNodes(
  file: Uint8Array,
  { valueStart, valueEnd }: WireCursor,
  patch: NodesPatch,
  numberOfNodes: number,
  addOther: (field: WireCursor, made: Pieces) => void = (field, made) => made.keep(field),
): Pieces {
  const pieces = new Pieces(file);
  const field = new WireCursor(file, valueStart, valueEnd);
  for (let index = 0; field.next(); ) {
    if (!isMessage(field, numberOfNodes)) {
      addOther(field, pieces);
      continue;
    }
    const nodes = patch.nodes?.get(index);
    const subgraphs = patch.subgraphs?.get(index);
    index += 1;
    if (nodes !== undefined) {
      for (const node of nodes) pieces.addBytes(numberOfNodes, NodeProto.encode(node).finish());
    } else if (subgraphs !== undefined) {
      pieces.addMessage(numberOfNodes, patchSubgraphs(file, field, subgraphs));
    } else {
      pieces.keep(field);
    }
  }
  return pieces;
}

/** A node, with its attributes' graphs changed. */
function patchSubgraphs(
  file: Uint8Array,
  { valueStart, valueEnd }: WireCursor,
  patches: readonly (NodesPatch | undefined)[],
): Pieces {
  const pieces = new Pieces(file);
  const field = new WireCursor(file, valueStart, valueEnd);
  let index = 0;
  while (field.next()) {
    if (!isMessage(field, attributeField)) {
      pieces.keep(field);
      continue;
    }
    const { single, listed } = countGraphs(file, field);
    const own = patches.slice(index, index + single + listed);
    index += own.length;
    if (own.some((patch) => patch !== undefined))
      pieces.addMessage(attributeField, patchAttribute(file, field, own, single));
    else pieces.keep(field);
  }
  return pieces;
}

function countGraphs(file: Uint8Array, { valueStart, valueEnd }: WireCursor): { single: number; listed: number } {
  const field = new WireCursor(file, valueStart, valueEnd);
  const count = { single: 0, listed: 0 };
  while (field.next()) {
    if (isMessage(field, graphOfAttributeField)) count.single += 1;
    if (isMessage(field, graphsOfAttributeField)) count.listed += 1;
  }
  return count;
}

/** @param patches of the single graph, where there is one, and of those in the list */
function patchAttribute(
  file: Uint8Array,
  { valueStart, valueEnd }: WireCursor,
  patches: readonly (NodesPatch | undefined)[],
  firstListed: number,
): Pieces {
  const pieces = new Pieces(file);
  const field = new WireCursor(file, valueStart, valueEnd);
  let listed = firstListed;
  while (field.next()) {
    let patch: NodesPatch | undefined;
    if (isMessage(field, graphOfAttributeField)) patch = patches[0];
    else if (isMessage(field, graphsOfAttributeField)) patch = patches[listed++];
    if (patch === undefined) pieces.keep(field);
    else pieces.addMessage(field.number, patchNodes(file, field, patch, nodeField));
  }
  return pieces;
}

const isMessage = (field: WireCursor, number: number) => field.number === number && field.wireType === 2;

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
