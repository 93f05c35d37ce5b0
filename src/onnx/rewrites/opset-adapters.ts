// onnxruntime has kernels from opset 7 on. Of opset 6, the last before it, most operators stayed as they were; those that
// changed are written anew here, each exactly, or the model is left alone and the runtime says why it refuses it.
import { type AttributeProto, type GraphProto, NodeProto, type OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import { tensorLayout } from "../batch-axis/constant.js";
import { inferOutputs } from "../batch-axis/infer-outputs.js";
import { fixed, type Layout } from "../batch-axis/layout.js";
import { Refusal } from "../batch-axis/operation.js";
import { attributeProto } from "../graph-builder.js";
import { declaredShapes } from "../graph-interface.js";
import { subgraphsOfNode } from "../graph-walk.js";

export interface AdaptedOperators {
  /** By index in the graph's nodes. */
  readonly nodes: ReadonlyMap<number, readonly NodeProto[]>;
  readonly operatorSets: readonly OperatorSetIdProto[];
  readonly sentences: readonly string[];
}

const oldVersion = 6n;
const newVersion = 7n;

/** Writes a graph of opset 6 as one of opset 7; undefined when it is of another one, needs nothing, or cannot be. */
export function adaptOperators(
  graph: GraphProto,
  operatorSets: readonly OperatorSetIdProto[],
): AdaptedOperators | undefined {
  const isOnnx = ({ domain }: { readonly domain: string }) => domain === "" || domain === "ai.onnx";
  if (operatorSets.find(isOnnx)?.version !== oldVersion) return undefined;
  const raised = operatorSets.map((set) => (isOnnx(set) ? { ...set, version: newVersion } : set));
  const values = new Values(graph, raised);
  const nodes = new Map<number, readonly NodeProto[]>();
  const names = new Set<string>();
  for (const [index, node] of graph.node.entries()) {
    // Bodies would have to be adapted too, each within the values it sees.
    if (!subgraphsOfNode(node).next().done) return undefined;
    const adapter = isOnnx(node) ? adapters.get(node.opType) : undefined;
    const adapted = adapter === undefined ? [node] : adapter(node, values);
    if (adapted === undefined) return undefined;
    if (adapter !== undefined) {
      nodes.set(index, adapted);
      names.add(node.opType);
    }
    for (const made of adapted) values.add(made);
  }
  if (nodes.size === 0) return undefined;
  const sentence = `Operators of opset 6, for which onnxruntime has no kernels, are written as those of opset 7: ${[...names].join(", ")}.`;
  return { nodes, operatorSets: raised, sentences: [sentence] };
}

/** What is known of the graph's values so far. */
class Values {
  readonly #layouts = new Map<string, Layout>();
  readonly #operatorSets: readonly OperatorSetIdProto[];
  readonly #taken: Set<string>;

  constructor(graph: GraphProto, operatorSets: readonly OperatorSetIdProto[]) {
    this.#operatorSets = operatorSets;
    this.#taken = new Set(graph.node.flatMap((node) => [...node.input, ...node.output]));
    for (const [name, shape] of declaredShapes(graph)) {
      this.#layouts.set(name, fixed(shape.map((size) => (typeof size === "number" ? size : undefined))));
    }
    for (const tensor of graph.initializer) this.#layouts.set(tensor.name, tensorLayout(tensor));
  }

  add(node: NodeProto): void {
    const declared = node.output.map((name) => this.#layouts.get(name));
    try {
      inferOutputs(this.#layouts, node, this.#operatorSets);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    // What the file declares stays where no rule tells more.
    node.output.forEach((name, i) => {
      const known = declared[i];
      if (known !== undefined && this.#layouts.get(name)?.shape === undefined) this.#layouts.set(name, known);
    });
  }

  rank(name: string | undefined): number | undefined {
    return this.#layouts.get(name ?? "")?.shape?.length;
  }

  /** A name that no value of the graph has. */
  fresh(like: string): string {
    let name = like;
    for (let count = 1; this.#taken.has(name); count += 1) name = `${like}_${count}`;
    this.#taken.add(name);
    return name;
  }
}

/** What stands for a node of opset 6 in opset 7; undefined when that cannot be told. */
type Adapter = (node: NodeProto, values: Values) => readonly NodeProto[] | undefined;

/**
 * With broadcast = 1, the second input's axes are those of the first from `axis` on, or its last ones; since opset 7
 * they are always its last ones. Without it both are of one shape, which opset 7 takes as well.
 */
const broadcasting: Adapter = (node, values) => {
  const axis = attribute(node, "axis");
  const plain = without(node, "broadcast", "axis");
  if (Number(attribute(node, "broadcast")?.i ?? 0) === 0 || axis === undefined) return [plain];
  const [left, right] = [values.rank(node.input[0]), values.rank(node.input[1])];
  if (left === undefined || right === undefined) return undefined;
  const behind = left - right - Number(axis.i);
  if (Number(axis.i) < 0 || behind < 0) return undefined;
  return withAxesBehind(plain, 1, right, behind, values);
};

/** One slope a channel, the second axis; since opset 7 it broadcasts from the back. */
const pRelu: Adapter = (node, values) => {
  const [left, right] = [values.rank(node.input[0]), values.rank(node.input[1])];
  if (left === undefined || right !== 1) return undefined;
  return withAxesBehind(node, 1, right, Math.max(0, left - 2), values);
};

/** The node with axes of size one behind those of one of its inputs. */
function withAxesBehind(node: NodeProto, input: number, rank: number, count: number, values: Values): NodeProto[] {
  if (count === 0) return [node];
  const taken = node.input[input]!;
  const output = values.fresh(`${taken}/unsqueezed`);
  const axes = attributeProto(
    "axes",
    Array.from({ length: count }, (_, i) => rank + i),
  );
  const unsqueeze = NodeProto.create({ name: output, opType: "Unsqueeze", input: [taken], output: [output] });
  unsqueeze.attribute.push(axes);
  return [unsqueeze, { ...node, input: node.input.with(input, output) }];
}

const dropping =
  (...names: readonly string[]): Adapter =>
  (node) => [without(node, ...names)];

/** Only what was marked as inference is what opset 7 does. */
const inferenceOnly: Adapter = (node) =>
  Number(attribute(node, "is_test")?.i ?? 0) === 0 ? undefined : [without(node, "is_test")];

const impossible: Adapter = () => undefined;

const binary = ["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"];
const newInSeven = ["Acos", "Asin", "Atan", "Cos", "Multinomial", "Sin", "Tan"];

/** The operators that opset 7 changed, but for AveragePool, whose old meaning is the new one's default. */
const adapters = new Map<string, Adapter>([
  ...binary.map((name): [string, Adapter] => [name, broadcasting]),
  // Both let a row of C stand for all.
  ["Gemm", dropping("broadcast")],
  ["PRelu", pRelu],
  ["BatchNormalization", inferenceOnly],
  ["Dropout", inferenceOnly],
  // It said whether to make the first output, which an output's name says already.
  ["GRU", dropping("output_sequence")],
  ["LSTM", dropping("output_sequence")],
  ["RNN", dropping("output_sequence")],
  ["Upsample", impossible],
  ...newInSeven.map((name): [string, Adapter] => [name, impossible]),
]);

function attribute(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((candidate) => candidate.name === name);
}

function without(node: NodeProto, ...names: readonly string[]): NodeProto {
  return { ...node, attribute: node.attribute.filter(({ name }) => !names.includes(name)) };
}
