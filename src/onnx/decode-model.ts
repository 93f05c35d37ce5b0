// From the bytes of a model file to its ModelProto, with every cost bounded by the size of the graph.
import { ModelProto } from "../gen/onnx/onnx.js";
import { errorMessage, invalidArgument } from "../status.js";
import { encodeHead, joinBytes, WireCursor } from "./wire.js";

export interface DecodeLimits {
  /** Weights of more bytes than this are left out of the decoded model. Default 64 KiB. */
  readonly keepWeightBytes: number;
  /** Messages (nodes, attributes, tensors …) in the file, at most. Default 4 million. */
  readonly maxMessages: number;
  /** Fields, and bytes in lists of numbers such as the thresholds of a tree ensemble, at most. Default 256 million. */
  readonly maxElements: number;
  /** Messages within messages, at most. Default 90; the generated decoders and onnxruntime's stop at 100. */
  readonly maxDepth: number;
}

const defaultLimits: DecodeLimits = {
  keepWeightBytes: 64 * 1024,
  maxMessages: 4_000_000,
  maxElements: 256_000_000,
  maxDepth: 90,
};

/**
 * The model as a ModelProto, without its large weights: those tensors keep name, type and dims but have no data. Bytes
 * are views of the file. Throws INVALID_ARGUMENT when the bytes are not a well-formed ModelProto.
 */
export function decodeModel(file: Uint8Array, limits: Partial<DecodeLimits> = {}): ModelProto {
  try {
    const scan = new WireScan(file, { ...defaultLimits, ...limits });
    scan.message("ModelProto", 0, file.length, 0);
    return ModelProto.decode(scan.withoutWeights());
  } catch (error) {
    throw invalidArgument(`not an ONNX model: ${errorMessage(error)}`, { cause: error });
  }
}

type MessageName =
  | "ModelProto"
  | "GraphProto"
  | "NodeProto"
  | "AttributeProto"
  | "TensorProto"
  | "SparseTensorProto"
  | "ValueInfoProto"
  | "TypeProto"
  | "TensorTypeProto"
  | "ElementTypeProto"
  | "MapTypeProto"
  | "TensorShapeProto"
  | "TensorAnnotation"
  | "TrainingInfoProto"
  | "FunctionProto"
  | "Leaf";

/** once: a second one of the field in the same message is refused. raw, numbers: data of a tensor. list: other numbers. */
type FieldRule = { readonly message: MessageName; readonly once: boolean } | "raw" | "numbers" | "list";

const once = (message: MessageName): FieldRule => ({ message, once: true });
const many = (message: MessageName): FieldRule => ({ message, once: false });

// The fields of onnx.proto that are messages or data, by number; all others are numbers and text.
const fieldRules: Readonly<Record<MessageName, Readonly<Record<number, FieldRule>>>> = {
  ModelProto: {
    7: once("GraphProto"),
    8: many("Leaf"),
    14: many("Leaf"),
    20: many("TrainingInfoProto"),
    25: many("FunctionProto"),
  },
  GraphProto: {
    1: many("NodeProto"),
    5: many("TensorProto"),
    11: many("ValueInfoProto"),
    12: many("ValueInfoProto"),
    13: many("ValueInfoProto"),
    14: many("TensorAnnotation"),
    15: many("SparseTensorProto"),
    16: many("Leaf"),
  },
  NodeProto: { 5: many("AttributeProto"), 9: many("Leaf") },
  AttributeProto: {
    5: once("TensorProto"),
    6: once("GraphProto"),
    7: "list",
    8: "list",
    10: many("TensorProto"),
    11: many("GraphProto"),
    14: once("TypeProto"),
    15: many("TypeProto"),
    22: once("SparseTensorProto"),
    23: many("SparseTensorProto"),
  },
  TensorProto: {
    1: "list",
    3: once("Leaf"),
    4: "numbers",
    5: "numbers",
    7: "numbers",
    9: "raw",
    10: "numbers",
    11: "numbers",
    13: many("Leaf"),
    16: many("Leaf"),
  },
  SparseTensorProto: { 1: once("TensorProto"), 2: once("TensorProto"), 3: "list" },
  ValueInfoProto: { 2: once("TypeProto"), 4: many("Leaf") },
  TypeProto: {
    1: once("TensorTypeProto"),
    4: once("ElementTypeProto"),
    5: once("MapTypeProto"),
    7: once("Leaf"),
    8: once("TensorTypeProto"),
    9: once("ElementTypeProto"),
  },
  TensorTypeProto: { 2: once("TensorShapeProto") },
  ElementTypeProto: { 1: once("TypeProto") },
  MapTypeProto: { 2: once("TypeProto") },
  TensorShapeProto: { 1: many("Leaf") },
  TensorAnnotation: { 2: many("Leaf") },
  TrainingInfoProto: { 1: once("GraphProto"), 2: once("GraphProto"), 3: many("Leaf"), 4: many("Leaf") },
  FunctionProto: {
    7: many("NodeProto"),
    9: many("Leaf"),
    11: many("AttributeProto"),
    12: many("ValueInfoProto"),
    14: many("Leaf"),
  },
  Leaf: {},
};

/** A stretch of the file and what stands there instead in the copy without weights. */
interface Replacement {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

const nothing = new Uint8Array(0);

class WireScan {
  readonly #file: Uint8Array;
  readonly #limits: DecodeLimits;
  readonly #replacements: Replacement[] = [];
  #messages = 0;
  #elements = 0;

  constructor(file: Uint8Array, limits: DecodeLimits) {
    this.#file = file;
    this.#limits = limits;
  }

  /** Checks one message and all within; returns how many bytes of weights it sheds. */
  message(name: MessageName, start: number, end: number, depth: number): number {
    if (depth > this.#limits.maxDepth) throw new Error(`messages are nested deeper than ${this.#limits.maxDepth}`);
    this.#messages += 1;
    if (this.#messages > this.#limits.maxMessages) throw new Error(`more than ${this.#limits.maxMessages} parts`);
    const rules = fieldRules[name];
    const seen = new Set<number>();
    const field = new WireCursor(this.#file, start, end);
    let shed = 0;
    while (field.next()) {
      this.#count(1);
      const rule = rules[field.number];
      if (rule === undefined || field.wireType !== 2) continue;
      if (typeof rule === "string") {
        shed += this.#data(rule, field);
        continue;
      }
      // Protobuf merges a repeated singular message into the first, the generated decoders keep the last: two readings
      // of one file, and only one of them would be checked.
      if (rule.once && seen.has(field.number)) throw new Error(`field ${field.number} of a ${name} is given twice`);
      seen.add(field.number);
      shed += this.#nested(rule.message, field, depth);
    }
    return shed;
  }

  #nested(name: MessageName, field: WireCursor, depth: number): number {
    const { tagStart, valueStart, valueEnd } = field;
    const position = this.#replacements.length;
    const shed = this.message(name, valueStart, valueEnd, depth + 1);
    if (shed === 0) return 0;
    // The message's length stands before its weights.
    const head = encodeHead(field.number, valueEnd - valueStart - shed);
    this.#replacements.splice(position, 0, { start: tagStart, end: valueStart, bytes: head });
    return shed + (valueStart - tagStart - head.length);
  }

  #data(rule: "raw" | "numbers" | "list", { tagStart, valueStart, valueEnd }: WireCursor): number {
    if (rule !== "list" && valueEnd - valueStart > this.#limits.keepWeightBytes) {
      this.#replacements.push({ start: tagStart, end: valueEnd, bytes: nothing });
      return valueEnd - tagStart;
    }
    // Raw data becomes a view, whatever its length; a number in a list takes a byte at least.
    if (rule !== "raw") this.#count(valueEnd - valueStart);
    return 0;
  }

  #count(elements: number): void {
    this.#elements += elements;
    if (this.#elements > this.#limits.maxElements) throw new Error(`more than ${this.#limits.maxElements} elements`);
  }

  /** The file as it came, or a copy of what is left of it. */
  withoutWeights(): Uint8Array {
    if (this.#replacements.length === 0) return this.#file;
    const pieces: Uint8Array[] = [];
    let position = 0;
    for (const { start, end, bytes } of this.#replacements) {
      pieces.push(this.#file.subarray(position, start), bytes);
      position = end;
    }
    pieces.push(this.#file.subarray(position));
    return joinBytes(pieces);
  }
}
