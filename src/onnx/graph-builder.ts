import {
  AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  TensorProto_DataLocation,
  TypeProto,
  ValueInfoProto,
} from "../gen/onnx/onnx.js";
import { internal } from "../status.js";
import {
  bytesOf,
  type ElementType,
  elementCount,
  elementTypeInfo,
  formatShape,
  isNumeric,
  type Tensor,
} from "../tensor/index.js";
import { encodeModelProto } from "./patch-model.js";
import type { Dimension } from "./signature.js";

/** An attribute's value. A number or bigint is an INT; a float must say so, since 1 could be either. */
export type AttributeValue =
  | number
  | bigint
  | string
  | readonly number[]
  | readonly bigint[]
  | readonly string[]
  | Tensor
  | GraphBuilder
  | Floats;

/** A FLOAT or FLOATS attribute. */
export interface Floats {
  readonly floats: number | readonly number[];
}
export const floats = (value: number | readonly number[]): Floats => ({ floats: value });

export interface NodeOptions {
  /** "" is ONNX's own. */
  readonly domain?: string;
  /** For profiles and error messages. Default: the first output's name. */
  readonly name?: string;
  /** Names of the outputs; "" leaves an optional one out. Default: one output, named after the operator. */
  readonly outputs?: readonly string[];
}

export interface ModelOptions {
  /** By domain. Default: "" at 21, which onnxruntime has known since 1.18. */
  readonly operatorSets?: Readonly<Record<string, number>>;
  /** Default 10. */
  readonly irVersion?: number;
  readonly producer?: { readonly name: string; readonly version: string };
  readonly metadata?: Readonly<Record<string, string>>;
  /** Functions that nodes of their domain call; each one's inputs and outputs are names alone. */
  readonly functions?: readonly { readonly domain: string; readonly body: GraphBuilder }[];
}

/**
 * Builds a graph node by node. Values are known by their names, which every method returns:
 *
 *     const graph = new GraphBuilder("half_plus_two");
 *     const x = graph.input("x", "float32", ["batch"]);
 *     const half = graph.node("Mul", [x, graph.initializer("half", scalar(0.5))]);
 *     graph.node("Add", [half, graph.initializer("two", scalar(2))], {}, { outputs: ["y"] });
 *     graph.output("y", "float32", ["batch"]);
 *     await writeFile("model.onnx", encodeModel(graph));
 *
 * A name used twice is a defect of the caller and throws INTERNAL.
 */
export class GraphBuilder {
  readonly #graph: GraphProto;
  readonly #prefix: string;
  /** Names of this graph and the ones it lies in, since an inner name may not hide an outer one. */
  readonly #names: Set<string>;
  readonly #counts = new Map<string, number>();

  constructor(name: string, outer?: GraphBuilder) {
    this.#graph = GraphProto.create({ name });
    this.#prefix = outer === undefined ? "" : `${name}/`;
    this.#names = outer === undefined ? new Set() : outer.#names;
  }

  /** A graph for a GRAPH attribute, such as the body of a Loop. It sees the values of this one. */
  subgraph(name: string): GraphBuilder {
    return new GraphBuilder(this.#prefix + name, this);
  }

  input(name: string, dtype: ElementType, shape: readonly Dimension[] | undefined): string {
    this.#graph.input.push(tensorValueInfo(name, dtype, shape));
    return this.#claim(name);
  }

  /** An input of any type, for what tensorValueInfo() cannot say. */
  inputOfType(name: string, type: TypeProto): string {
    this.#graph.input.push(ValueInfoProto.create({ name, type }));
    return this.#claim(name);
  }

  /** Declares a value that the graph has, or will have, as one of its outputs. */
  output(name: string, dtype: ElementType, shape: readonly Dimension[] | undefined): void {
    this.#graph.output.push(tensorValueInfo(name, dtype, shape));
  }

  outputOfType(name: string, type: TypeProto): void {
    this.#graph.output.push(ValueInfoProto.create({ name, type }));
  }

  /** Notes dtype and shape of a value within the graph, for readers of the file. */
  valueInfo(name: string, dtype: ElementType, shape: readonly Dimension[] | undefined): void {
    this.#graph.valueInfo.push(tensorValueInfo(name, dtype, shape));
  }

  /** A weight or constant. Its data is not copied until the model is encoded. */
  initializer(name: string, tensor: Tensor): string {
    this.#graph.initializer.push(tensorProto(name, tensor));
    return this.#claim(name);
  }

  /** A weight whose bytes lie in a file beside the model. */
  externalInitializer(
    name: string,
    dtype: ElementType,
    shape: readonly number[],
    entries: { readonly location: string; readonly offset?: string; readonly length?: string },
  ): string {
    this.#graph.initializer.push(
      TensorProto.create({
        name,
        dims: shape.map(BigInt),
        dataType: elementTypeInfo(dtype).onnx,
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
      }),
    );
    return this.#claim(name);
  }

  /** Adds a node and returns the name of its first output. Nodes must come after those whose outputs they take. */
  node(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    { domain = "", name, outputs = [this.#fresh(opType)] }: NodeOptions = {},
  ): string {
    for (const output of outputs) if (output !== "") this.#claim(output);
    this.#graph.node.push(
      NodeProto.create({
        opType,
        domain,
        name: name ?? outputs[0] ?? "",
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([key, value]) => attributeProto(key, value)),
      }),
    );
    return outputs[0] ?? "";
  }

  /** The graph so far. Shares the builder's arrays: build first, then read. */
  toProto(): GraphProto {
    return this.#graph;
  }

  #fresh(opType: string): string {
    for (;;) {
      const count = (this.#counts.get(opType) ?? 0) + 1;
      this.#counts.set(opType, count);
      const name = `${this.#prefix}${opType}_${count}`;
      if (!this.#names.has(name)) return name;
    }
  }

  #claim(name: string): string {
    if (this.#names.has(name)) throw internal(`graph "${this.#graph.name}" has two values named "${name}"`);
    this.#names.add(name);
    return name;
  }
}

/** The bytes of a model file. Weights are copied once. */
export function encodeModel(graph: GraphBuilder, options: ModelOptions = {}): Uint8Array {
  return encodeModelProto(buildModel(graph, options));
}

export function buildModel(graph: GraphBuilder, options: ModelOptions = {}): ModelProto {
  const { operatorSets = { "": 21 }, irVersion = 10, producer, metadata = {}, functions = [] } = options;
  const opsetImport = Object.entries(operatorSets).map(([domain, version]) => ({ domain, version: BigInt(version) }));
  const model = ModelProto.create({
    irVersion: BigInt(irVersion),
    producerName: producer?.name ?? "onnxd",
    producerVersion: producer?.version ?? "",
    opsetImport,
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    functions: functions.map(({ domain, body }) => {
      const { name, input, output, node } = body.toProto();
      return {
        name,
        domain,
        input: input.map((value) => value.name),
        output: output.map((value) => value.name),
        node,
        opsetImport,
      };
    }),
  });
  // create() would copy the graph.
  model.graph = graph.toProto();
  return model;
}

export function tensorProto(name: string, tensor: Tensor): TensorProto {
  const { dtype, shape } = tensor;
  if (tensor.data.length !== elementCount(shape)) {
    throw internal(`tensor "${name}" of shape ${formatShape(shape)} has ${tensor.data.length} elements`);
  }
  const proto = TensorProto.create({ name, dataType: elementTypeInfo(dtype).onnx, dims: shape.map(BigInt) });
  if (isNumeric(tensor)) proto.rawData = bytesOf(tensor.data);
  else proto.stringData = (tensor.data as readonly string[]).map(utf8);
  return proto;
}

export function tensorValueInfo(
  name: string,
  dtype: ElementType,
  shape: readonly Dimension[] | undefined,
): ValueInfoProto {
  return ValueInfoProto.create({ name, type: tensorType(dtype, shape) });
}

export function tensorType(dtype: ElementType, shape: readonly Dimension[] | undefined): TypeProto {
  const dim = shape?.map((size) => {
    if (size === undefined) return {};
    if (typeof size === "string") return { value: { $case: "dimParam" as const, value: size } };
    return { value: { $case: "dimValue" as const, value: BigInt(size) } };
  });
  const value = { elemType: elementTypeInfo(dtype).onnx, shape: dim === undefined ? undefined : { dim } };
  return TypeProto.create({ value: { $case: "tensorType", value } });
}

export function attributeProto(name: string, value: AttributeValue): AttributeProto {
  const made = AttributeProto.create({ name });
  if (typeof value === "string") return Object.assign(made, { type: AttributeType.STRING, s: utf8(value) });
  if (typeof value === "number" || typeof value === "bigint") {
    return Object.assign(made, { type: AttributeType.INT, i: BigInt(value) });
  }
  if (value instanceof GraphBuilder) return Object.assign(made, { type: AttributeType.GRAPH, g: value.toProto() });
  if ("floats" in value) {
    if (typeof value.floats === "number") return Object.assign(made, { type: AttributeType.FLOAT, f: value.floats });
    return Object.assign(made, { type: AttributeType.FLOATS, floats: [...value.floats] });
  }
  if ("dtype" in value) return Object.assign(made, { type: AttributeType.TENSOR, t: tensorProto("", value) });
  if (value.length > 0 && typeof value[0] === "string") {
    return Object.assign(made, { type: AttributeType.STRINGS, strings: (value as readonly string[]).map(utf8) });
  }
  return Object.assign(made, { type: AttributeType.INTS, ints: (value as readonly (number | bigint)[]).map(BigInt) });
}

const utf8 = (text: string) => new TextEncoder().encode(text);
