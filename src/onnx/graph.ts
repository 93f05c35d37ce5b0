import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  GraphProto,
  ModelProto,
  NodeProto,
  ValueInfoProto,
} from "../gen/onnx/onnx.js";
import { invalidArgument } from "../status.js";
import { type ElementType, elementTypeOfOnnx, type Tensor } from "../tensor/index.js";
import { decodeModel } from "./decode-model.js";
import {
  type AttributeValue,
  attributeProto,
  type GraphBuilder,
  tensorProto,
  tensorValueInfo,
} from "./graph-builder.js";
import { dimensions } from "./graph-interface.js";
import { encodeModelProto } from "./patch-model.js";
import type { Dimension } from "./signature.js";
import { type ReadExternalData, readTensorProto } from "./tensor-data.js";

/**
 * A graph that can be read and changed: what training differentiates. For writing a graph once, from front to back,
 * GraphBuilder is the simpler tool; for changing a few bytes of a file, patchModel().
 */
export class Graph {
  /** In topological order. */
  nodes: GraphNode[] = [];
  readonly initializers = new Map<string, Tensor>();
  inputs: GraphValue[] = [];
  outputs: GraphValue[] = [];
  /** Names of this graph and the ones around it, since an inner name may not hide an outer one. */
  readonly #names: Set<string>;
  readonly #counts: Map<string, number>;

  constructor(outer?: Graph) {
    this.#names = outer === undefined ? new Set() : outer.#names;
    this.#counts = outer === undefined ? new Map() : outer.#counts;
  }

  /** A name that no value has yet, now taken. */
  fresh(stem: string): string {
    for (;;) {
      const count = (this.#counts.get(stem) ?? 0) + 1;
      this.#counts.set(stem, count);
      const name = `${stem}__${count}`;
      if (!this.#names.has(name)) return this.claim(name);
    }
  }

  /** The name itself where no value has it yet, else one like it; now taken. */
  claimLike(name: string): string {
    return this.#names.has(name) ? this.fresh(name) : this.claim(name);
  }

  /** Takes a name, so that fresh() does not give it away. */
  claim(name: string): string {
    this.#names.add(name);
    return name;
  }

  input(name: string, dtype: ElementType, shape: readonly Dimension[]): string {
    this.inputs.push({ name, dtype, shape });
    return this.claim(name);
  }

  /** Without dtype, onnxruntime infers it. */
  output(name: string, dtype?: ElementType, shape?: readonly Dimension[]): string {
    this.outputs.push({ name, dtype, shape });
    return name;
  }

  initializer(name: string, tensor: Tensor): string {
    this.initializers.set(name, tensor);
    return this.claim(name);
  }

  /** Adds a node at the end; its outputs get fresh names unless they are given. */
  node(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, GraphAttribute>> = {},
    { domain = "", name, outputs = [this.fresh(opType)] }: NewNodeOptions = {},
  ): readonly string[] {
    for (const output of outputs) if (output !== "") this.claim(output);
    this.nodes.push({
      opType,
      domain,
      name: name ?? outputs[0] ?? "",
      inputs: [...inputs],
      outputs: [...outputs],
      attributes: new Map(Object.entries(attributes)),
    });
    return outputs;
  }

  /** The same nodes and tensors in new lists, so that either can be changed without the other. Names are shared. */
  clone(): Graph {
    const copy = new Graph(this);
    copy.nodes = this.nodes.map((node) => ({
      ...node,
      inputs: [...node.inputs],
      outputs: [...node.outputs],
      attributes: new Map(
        [...node.attributes].map(([key, value]) => [key, value instanceof Graph ? value.clone() : value]),
      ),
    }));
    for (const [name, tensor] of this.initializers) copy.initializers.set(name, tensor);
    copy.inputs = [...this.inputs];
    copy.outputs = [...this.outputs];
    return copy;
  }
}

/** A number is an INT, a list of numbers INTS; floats() marks the others. */
export type GraphAttribute = Exclude<AttributeValue, GraphBuilder> | Graph;

export interface GraphNode {
  readonly opType: string;
  /** "" is ONNX's own. */
  readonly domain: string;
  readonly name: string;
  /** "" is an optional one left out. */
  readonly inputs: string[];
  readonly outputs: string[];
  readonly attributes: Map<string, GraphAttribute>;
}

export interface GraphValue {
  readonly name: string;
  readonly dtype: ElementType | undefined;
  readonly shape: readonly Dimension[] | undefined;
}

interface NewNodeOptions {
  readonly domain?: string;
  readonly name?: string;
  readonly outputs?: readonly string[];
}

/** A model whose graph can be changed. */
export interface GraphModel {
  readonly graph: Graph;
  /** By domain; "" is ONNX's own. */
  readonly operatorSets: ReadonlyMap<string, number>;
  readonly irVersion: number;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads a model file into a graph, weights included.
 * Throws INVALID_ARGUMENT naming what stands in the way: values that are not tensors, functions of the model's own.
 */
export function decodeGraphModel(file: Uint8Array, readExternal?: ReadExternalData): GraphModel {
  const model = decodeModel(file, { keepWeightBytes: Number.POSITIVE_INFINITY });
  if (model.graph === undefined) throw invalidArgument("not an ONNX model: the file holds no graph");
  if (model.functions.length > 0) {
    const names = model.functions.map(({ name }) => name).join(", ");
    throw invalidArgument(`the model calls functions of its own (${names}); export it with its functions inlined`);
  }
  return {
    graph: readGraph(model.graph, undefined, readExternal),
    operatorSets: new Map(
      model.opsetImport.map(({ domain, version }) => [domain === "ai.onnx" ? "" : domain, Number(version)]),
    ),
    irVersion: Number(model.irVersion),
    metadata: new Map(model.metadataProps.map(({ key, value }) => [key, value])),
  };
}

export interface EncodeGraphOptions {
  /** Default: ONNX's own at 21 and com.microsoft at 1. */
  readonly operatorSets?: ReadonlyMap<string, number>;
  /** Default 10. */
  readonly irVersion?: number;
  readonly metadata?: ReadonlyMap<string, string>;
}

/** The bytes of a model file; weights are copied once. */
export function encodeGraphModel(graph: Graph, options: EncodeGraphOptions = {}): Uint8Array {
  const { operatorSets = defaultOperatorSets, irVersion = 10, metadata = new Map() } = options;
  const model = ModelProto.create({
    irVersion: BigInt(irVersion),
    producerName: "onnxd",
    opsetImport: [...operatorSets].map(([domain, version]) => ({ domain, version: BigInt(version) })),
    metadataProps: [...metadata].map(([key, value]) => ({ key, value })),
  });
  // create() would copy the graph.
  model.graph = graphProto(graph);
  return encodeModelProto(model);
}

const defaultOperatorSets: ReadonlyMap<string, number> = new Map([
  ["", 21],
  ["com.microsoft", 1],
]);

function readGraph(proto: GraphProto, outer: Graph | undefined, readExternal: ReadExternalData | undefined): Graph {
  const graph = new Graph(outer);
  if (proto.sparseInitializer.length > 0) throw invalidArgument("sparse weights are not read");
  for (const tensor of proto.initializer) graph.initializer(tensor.name, readTensorProto(tensor, readExternal));
  // Files of IR version 3 and older list initializers among the inputs.
  graph.inputs = proto.input.filter(({ name }) => !graph.initializers.has(name)).map(readValue);
  graph.outputs = proto.output.map(readValue);
  for (const { name } of graph.inputs) graph.claim(name);
  for (const node of proto.node) {
    for (const output of node.output) graph.claim(output);
    graph.nodes.push({
      opType: node.opType,
      domain: node.domain === "ai.onnx" ? "" : node.domain,
      name: node.name !== "" ? node.name : (node.output.find((output) => output !== "") ?? ""),
      inputs: [...node.input],
      outputs: [...node.output],
      attributes: new Map(node.attribute.map((value) => [value.name, readAttribute(value, graph, readExternal)])),
    });
  }
  return graph;
}

function readValue({ name, type }: ValueInfoProto): GraphValue {
  if (type?.value === undefined) return { name, dtype: undefined, shape: undefined };
  if (type.value.$case !== "tensorType") throw invalidArgument(`value "${name}" is not a tensor`);
  const { elemType, shape } = type.value.value;
  return {
    name,
    dtype: elementTypeOfOnnx(elemType)?.name,
    shape: shape === undefined ? undefined : dimensions(shape),
  };
}

function readAttribute(
  attribute: AttributeProto,
  graph: Graph,
  readExternal: ReadExternalData | undefined,
): GraphAttribute {
  switch (attribute.type) {
    case AttributeType.FLOAT:
      return { floats: attribute.f };
    case AttributeType.FLOATS:
      return { floats: attribute.floats };
    case AttributeType.INT:
      return wholeNumber(attribute.i);
    case AttributeType.INTS:
      return attribute.ints.map(wholeNumber);
    case AttributeType.STRING:
      return text(attribute.s);
    case AttributeType.STRINGS:
      return attribute.strings.map(text);
    case AttributeType.TENSOR:
      return readTensorProto(attribute.t!, readExternal);
    case AttributeType.GRAPH:
      return readGraph(attribute.g!, graph, readExternal);
    default:
      throw invalidArgument(`attribute "${attribute.name}" is of a type (${attribute.type}) that is not read`);
  }
}

// Exporters write 2^63 - 1 for "to the end"; no dimension comes near the largest whole double.
const wholeNumber = (value: bigint) =>
  Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(value)));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function graphProto(graph: Graph): GraphProto {
  const proto = GraphProto.create({
    name: "graph",
    input: graph.inputs.map(valueInfo),
    output: graph.outputs.map(valueInfo),
  });
  proto.node = graph.nodes.map((node) => {
    const made = NodeProto.create({
      opType: node.opType,
      domain: node.domain,
      name: node.name,
      input: node.inputs,
      output: node.outputs,
    });
    made.attribute = [...node.attributes].map(([name, value]) => graphAttributeProto(name, value));
    return made;
  });
  proto.initializer = [...graph.initializers].map(([name, tensor]) => tensorProto(name, tensor));
  return proto;
}

function graphAttributeProto(name: string, value: GraphAttribute): AttributeProto {
  if (!(value instanceof Graph)) return attributeProto(name, value);
  const made = attributeProto(name, 0);
  made.type = AttributeType.GRAPH;
  made.g = graphProto(value);
  return made;
}

function valueInfo({ name, dtype, shape }: GraphValue): ValueInfoProto {
  return dtype === undefined ? ValueInfoProto.create({ name }) : tensorValueInfo(name, dtype, shape);
}

/** Values that the bodies in a node's attributes read from the graph around them. */
export function capturesOf(node: GraphNode): string[] {
  const captured = new Set<string>();
  for (const body of node.attributes.values()) {
    if (!(body instanceof Graph)) continue;
    const own = new Set([...body.initializers.keys(), ...body.inputs.map(({ name }) => name)]);
    for (const inner of body.nodes) {
      for (const value of [...inner.inputs, ...capturesOf(inner)]) {
        if (value !== "" && !own.has(value)) captured.add(value);
      }
      for (const output of inner.outputs) own.add(output);
    }
    for (const { name } of body.outputs) if (!own.has(name)) captured.add(name);
  }
  return [...captured];
}
