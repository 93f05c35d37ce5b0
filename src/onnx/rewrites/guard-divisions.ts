// Dividing the smallest int32 or int64 by -1 overflows, for which x86 raises a signal that ends the process: in
// onnxruntime's Div as in its Mod. Where a client may send both operands, each such node is written so that it never
// divides by -1. Division by zero needs no guard there, since onnxruntime refuses it with an error, but it does in STFT,
// which divides by the length of its frames.
import {
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  NodeProto,
  type OperatorSetIdProto,
  type TensorProto,
} from "../../gen/onnx/onnx.js";
import type { Tensor } from "../../tensor/index.js";
import { tensorLayout } from "../batch-axis/constant.js";
import { inferOutputs } from "../batch-axis/infer-outputs.js";
import { fixed, type Layout, type Size } from "../batch-axis/layout.js";
import { Refusal } from "../batch-axis/operation.js";
import { type AttributeValue, attributeProto } from "../graph-builder.js";
import { dimensions } from "../graph-interface.js";
import { nodeLabel, subgraphsOfNode } from "../graph-walk.js";
import type { NodesPatch } from "../patch-model.js";
import { readTensorProto } from "../tensor-data.js";
import {
  constantOf,
  declaredTypes,
  intAttribute,
  type OnnxElementType,
  onnxBool,
  onnxFloat64,
  onnxInt32,
  onnxInt64,
  outputTypes,
  typesDeclaredBy,
} from "./element-types.js";

export interface GuardedDivisions {
  readonly graph: NodesPatch;
  /** By index in the model's functions. */
  readonly functions: ReadonlyMap<number, NodesPatch>;
  readonly sentences: readonly string[];
}

/**
 * Guards the divisions of the graph, of the graphs within it and of the model's functions.
 * @param replaced what other rewrites put in the place of a node of the graph
 * @returns undefined when there is nothing to guard; otherwise its graph patch holds `replaced` too
 */
export function guardDivisions(
  model: ModelProto,
  graph: GraphProto,
  replaced: ReadonlyMap<number, readonly NodeProto[]>,
  operatorSets: readonly OperatorSetIdProto[],
): GuardedDivisions | undefined {
  if (!holdsDivision(graph) && !model.functions.some(holdsDivision)) return undefined;
  const names = new Names(model);
  const guard = (nodes: readonly NodeProto[], scope: Scope, others: ReadonlyMap<number, readonly NodeProto[]>) =>
    new BodyGuard(scope, names).guard(nodes, others);
  const main = guard(graph.node, scopeOfGraph(graph, operatorSets), replaced);
  const functions = new Map<number, NodesPatch>();
  model.functions.forEach((body, index) => {
    const patch = guard(body.node, scopeOfFunction(body), new Map());
    if (patch !== undefined) functions.set(index, patch);
  });
  if (names.count === 0) return undefined;
  return { graph: main ?? { nodes: replaced }, functions, sentences: sentences(names) };
}

const namedAtMost = 5;

function sentences({ divisions, framed }: Names): string[] {
  const said: string[] = [];
  if (divisions.length > 0) {
    const which = enumerate(divisions);
    said.push(
      "Divisions of integers are guarded: the smallest one divided by -1, which would end the process, wraps around to " +
        `itself with the remainder 0: ${which}.`,
    );
  }
  if (framed.length > 0) {
    said.push(`Frames of length 0, which would end the process, are refused by the runtime: ${enumerate(framed)}.`);
  }
  return said;
}

function enumerate(names: readonly string[]): string {
  const more = names.length > namedAtMost ? ` and ${names.length - namedAtMost} more` : "";
  return names.slice(0, namedAtMost).join(", ") + more;
}

const isOnnx = ({ domain }: { readonly domain: string }) => domain === "" || domain === "ai.onnx";
// With fmod, onnxruntime computes in floating point, where nothing overflows.
const isDivision = (node: NodeProto) =>
  isOnnx(node) && (node.opType === "Div" || (node.opType === "Mod" && intAttribute(node, "fmod") !== 1));
const frameLengthInput = 3;
const isFramed = (node: NodeProto) =>
  isOnnx(node) && node.opType === "STFT" && (node.input[frameLengthInput] ?? "") !== "";

function holdsDivision({ node }: Pick<GraphProto, "node">): boolean {
  return node.some((candidate) => {
    if (isDivision(candidate) || isFramed(candidate)) return true;
    for (const body of subgraphsOfNode(candidate)) if (holdsDivision(body)) return true;
    return false;
  });
}

/** New names for values, and the names of the nodes guarded so far. */
class Names {
  readonly divisions: string[] = [];
  readonly framed: string[] = [];
  readonly #taken = new Set<string>();

  constructor({ graph, functions }: ModelProto) {
    for (const body of [...(graph === undefined ? [] : [graph]), ...functions]) this.#take(body.node);
    for (const { input, initializer } of graph === undefined ? [] : [graph]) {
      for (const { name } of [...input, ...initializer]) this.#taken.add(name);
    }
    for (const { input } of functions) for (const name of input) this.#taken.add(name);
  }

  #take(nodes: readonly NodeProto[]): void {
    for (const node of nodes) {
      for (const name of [...node.input, ...node.output]) this.#taken.add(name);
      for (const { input, initializer, node: inner } of subgraphsOfNode(node)) {
        for (const { name } of [...input, ...initializer]) this.#taken.add(name);
        this.#take(inner);
      }
    }
  }

  /** Of nodes guarded so far. */
  get count(): number {
    return this.divisions.length + this.framed.length;
  }

  fresh(like: string): string {
    let name = like;
    for (let count = 1; this.#taken.has(name); count += 1) name = `${like}_${count}`;
    this.#taken.add(name);
    return name;
  }
}

/** By name, with the values of the graphs around it behind its own. */
class ScopedMap<V> extends Map<string, V> {
  readonly #outer: ReadonlyMap<string, V> | undefined;

  constructor(outer?: ReadonlyMap<string, V>) {
    super();
    this.#outer = outer;
  }

  override get(name: string): V | undefined {
    return super.has(name) ? super.get(name) : this.#outer?.get(name);
  }

  own(name: string): V | undefined {
    return super.get(name);
  }
}

/** What is known of the values that a list of nodes sees. */
class Scope {
  readonly operatorSets: readonly OperatorSetIdProto[];
  readonly types: ScopedMap<OnnxElementType>;
  readonly constants: ScopedMap<TensorProto | undefined>;
  readonly layouts: ScopedMap<Layout>;

  constructor(operatorSets: readonly OperatorSetIdProto[], outer?: Scope) {
    this.operatorSets = operatorSets;
    this.types = new ScopedMap(outer?.types);
    this.constants = new ScopedMap(outer?.constants);
    this.layouts = new ScopedMap(outer?.layouts);
  }

  type(name: string): OnnxElementType {
    return this.types.get(name) || undefined;
  }

  /** A value of which only the type may be known: it hides one of the same name around it. */
  declare(name: string, type: OnnxElementType): void {
    this.types.set(name, type);
    this.constants.set(name, undefined);
    this.layouts.set(name, fixed(undefined));
  }

  store(tensor: TensorProto): void {
    this.types.set(tensor.name, tensor.dataType);
    this.constants.set(tensor.name, tensor);
    this.layouts.set(tensor.name, tensorLayout(tensor));
  }

  /** The outputs of a node, after those of all before it. */
  add(node: NodeProto): void {
    const typeOf = outputTypes(node, (name) => this.type(name));
    const constant = constantOf(node);
    node.output.forEach((name, i) => {
      if (name === "") return;
      this.declare(name, this.types.own(name) || typeOf(i));
      if (i === 0 && constant !== undefined) this.constants.set(name, constant);
    });
    try {
      inferOutputs(this.layouts, node, this.operatorSets);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
}

function scopeOfGraph(graph: GraphProto, operatorSets: readonly OperatorSetIdProto[]): Scope {
  const scope = new Scope(operatorSets);
  for (const { name, type } of graph.input) {
    scope.declare(name, undefined);
    if (type?.value?.$case !== "tensorType" || type.value.value.shape === undefined) continue;
    // The runtime holds a call to the sizes that are numbers; the others are sizes, whatever they are.
    const sizes = dimensions(type.value.value.shape).map((size, axis): Size => {
      return typeof size === "number" ? size : `?${name}:${axis}`;
    });
    scope.layouts.set(name, fixed(sizes));
  }
  return withStored(scope, graph);
}

function scopeOfFunction(body: FunctionProto): Scope {
  const scope = new Scope(body.opsetImport);
  for (const name of body.input) scope.declare(name, undefined);
  for (const [name, type] of typesDeclaredBy(body.valueInfo)) scope.types.set(name, type);
  return scope;
}

function scopeOfSubgraph(body: GraphProto, holder: NodeProto, outer: Scope): Scope {
  const scope = new Scope(outer.operatorSets, outer);
  for (const [i, { name }] of body.input.entries()) scope.declare(name, bodyInputType(holder, i, outer));
  return withStored(scope, body);
}

/** The inputs of a loop's body stand where those of its node do. */
function bodyInputType({ domain, opType, input }: NodeProto, index: number, outer: Scope): OnnxElementType {
  if (!isOnnx({ domain })) return undefined;
  if (opType === "Loop" && index < 2) return index === 0 ? onnxInt64 : onnxBool;
  return opType === "Loop" || opType === "Scan" ? outer.type(input[index] ?? "") : undefined;
}

function withStored(scope: Scope, graph: GraphProto): Scope {
  for (const [name, type] of declaredTypes(graph)) if (type !== 0) scope.types.set(name, type);
  for (const tensor of graph.initializer) scope.store(tensor);
  return scope;
}

/** Goes through a list of nodes in order, learning of the values as it goes. */
class BodyGuard {
  readonly #scope: Scope;
  readonly #names: Names;

  constructor(scope: Scope, names: Names) {
    this.#scope = scope;
    this.#names = names;
  }

  /** undefined when nothing within has to be guarded. */
  guard(
    nodes: readonly NodeProto[],
    replaced: ReadonlyMap<number, readonly NodeProto[]> = new Map(),
  ): NodesPatch | undefined {
    const before = this.#names.count;
    const patched = new Map(replaced);
    const subgraphs = new Map<number, readonly (NodesPatch | undefined)[]>();
    nodes.forEach((node, index) => {
      const standing = replaced.get(index) ?? [node];
      const guarded = standing.map((each) => this.#guarded(each));
      if (guarded.some((form) => form !== undefined)) {
        patched.set(
          index,
          standing.flatMap((each, i) => guarded[i] ?? [each]),
        );
      }
      const bodies = [...subgraphsOfNode(node)].map((body) => this.#guardSubgraph(body, node));
      if (bodies.some((patch) => patch !== undefined)) subgraphs.set(index, bodies);
      for (const each of standing) this.#scope.add(each);
    });
    return this.#names.count === before ? undefined : { nodes: patched, subgraphs };
  }

  #guardSubgraph(body: GraphProto, holder: NodeProto): NodesPatch | undefined {
    return new BodyGuard(scopeOfSubgraph(body, holder, this.#scope), this.#names).guard(body.node);
  }

  #guarded(node: NodeProto): readonly NodeProto[] | undefined {
    if (!isFramed(node)) return this.#guardedDivision(node);
    const known = this.#scope.layouts.get(node.input[frameLengthInput]!)?.elements ?? [];
    if (known.length === 1 && typeof known[0] === "number" && known[0] !== 0) return undefined;
    this.#names.framed.push(nodeLabel(node));
    const form = new Form(node, this.#names);
    guardFrameLength(form, node);
    return form.nodes;
  }

  #guardedDivision(node: NodeProto): readonly NodeProto[] | undefined {
    const [dividend = "", divisor = ""] = node.input;
    const [output = ""] = node.output;
    if (!isDivision(node) || dividend === "" || divisor === "" || output === "") return undefined;
    const scope = this.#scope;
    const type = scope.type(dividend) ?? scope.type(divisor) ?? scope.type(output);
    if (type !== undefined && type !== onnxInt32 && type !== onnxInt64) return undefined;
    if (isNeverMinusOne(scope, divisor, type)) return undefined;
    const version = Number(scope.operatorSets.find(isOnnx)?.version ?? 0);
    // Without Where there is no form for a type that is not known; then the node stays as it is.
    if (type === undefined && version < whereSince) return undefined;
    this.#names.divisions.push(nodeLabel(node));
    const form = new Form(node, this.#names);
    if (type === undefined) guardAnyType(form, node);
    else guardInteger(form, node, type);
    return form.nodes;
  }
}

const whereSince = 9;

function isNeverMinusOne(scope: Scope, divisor: string, type: OnnxElementType): boolean {
  const constant = scope.constants.get(divisor);
  if (constant !== undefined) return isFreeOfMinusOne(constant);
  const elements = scope.layouts.get(divisor)?.elements;
  if (elements === undefined) return false;
  return elements.every((size) => {
    if (typeof size === "number") return size !== -1 && (type === onnxInt64 || Math.abs(size) < 2 ** 31);
    // A size is never negative; cast to int32 it might be.
    return size !== undefined && type === onnxInt64;
  });
}

function isFreeOfMinusOne(constant: TensorProto): boolean {
  let data: Tensor["data"];
  try {
    ({ data } = readTensorProto(constant));
  } catch {
    return false; // kept elsewhere, or too large to have been read
  }
  if (data instanceof BigInt64Array) return !data.includes(-1n);
  return data instanceof Int32Array && !data.includes(-1);
}

/** Nodes in the making, which stand for one; their values are named after its output. */
class Form {
  readonly nodes: NodeProto[] = [];
  readonly #origin: NodeProto;
  readonly #names: Names;

  constructor(origin: NodeProto, names: Names) {
    this.#origin = origin;
    this.#names = names;
  }

  /** Returns the name of the value it makes. */
  node(
    opType: string,
    input: readonly string[],
    called: string,
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    const name = this.#names.fresh(`${this.#origin.output[0]}/${called}`);
    const attribute = Object.entries(attributes).map(([key, value]) => attributeProto(key, value));
    this.nodes.push(NodeProto.create({ name, opType, input: [...input], output: [name], attribute }));
    return name;
  }

  /** The node itself, under its own name so that errors tell of it, with another divisor. */
  division(divisor: string): string {
    const output = this.#names.fresh(`${this.#origin.output[0]}/quotient`);
    this.nodes.push({ ...this.#origin, input: [this.#origin.input[0]!, divisor], output: [output] });
    return output;
  }

  /** Lets the last node make the value that the replaced one made. */
  end(): void {
    const last = this.nodes.pop()!;
    this.nodes.push({ ...last, output: [this.#origin.output[0]!] });
  }
}

// twice = 2 where b = -1, else 0;  safe = b + twice, which is 1 where b was -1
// a / b = q - twice q  with  q = a / safe;  a mod b = a mod safe, for both are 0 where b = -1
function guardInteger(form: Form, { opType, input }: NodeProto, type: number): void {
  const divisor = input[1]!;
  const value: Tensor = {
    dtype: type === onnxInt32 ? "int32" : "int64",
    shape: [],
    data: type === onnxInt32 ? Int32Array.of(-1) : BigInt64Array.of(-1n),
  };
  const minusOne = form.node("Constant", [], "minus_one", { value });
  const found = form.node("Equal", [divisor, minusOne], "is_minus_one");
  const once = form.node("Cast", [found], "once", { to: type });
  const twice = form.node("Add", [once, once], "twice");
  const quotient = form.division(form.node("Add", [divisor, twice], "safe"));
  if (opType === "Div") form.node("Sub", [quotient, form.node("Mul", [quotient, twice], "overshoot")], "quotient");
  form.end();
}

// found = (float64(b) + 1 = 0), exact for any type of b: no other number is rounded to -1 or away from it
// safe = b b where found, else b;  a / b = q b where found, else q  with  q = a / safe;  a mod b = a mod safe
function guardAnyType(form: Form, { opType, input }: NodeProto): void {
  const divisor = input[1]!;
  const real = form.node("Cast", [divisor], "real", { to: onnxFloat64 });
  const value: Tensor = { dtype: "float64", shape: [], data: Float64Array.of(1) };
  const sum = form.node("Add", [real, form.node("Constant", [], "one", { value })], "sum");
  const found = form.node("Not", [form.node("Cast", [sum], "is_other", { to: onnxBool })], "is_minus_one");
  const square = form.node("Mul", [divisor, divisor], "square");
  const quotient = form.division(form.node("Where", [found, square, divisor], "safe"));
  if (opType === "Div") {
    form.node("Where", [found, form.node("Mul", [quotient, divisor], "negative"), quotient], "quotient");
  }
  form.end();
}

// length where it is not 0, else -1, which the runtime refuses
function guardFrameLength(form: Form, origin: NodeProto): void {
  const length = origin.input[frameLengthInput]!;
  const value: Tensor = { dtype: "int64", shape: [], data: BigInt64Array.of(-1n) };
  const refused = form.node("CastLike", [form.node("Constant", [], "minus_one", { value }), length], "refused");
  const some = form.node("Cast", [length], "some", { to: onnxBool });
  const safe = form.node("Where", [some, length, refused], "safe_length");
  form.nodes.push({ ...origin, input: origin.input.with(frameLengthInput, safe) });
}
