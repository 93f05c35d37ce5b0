// A model's last layer, made anew for other classes.
import type { Graph, GraphNode } from "../onnx/index.js";
import { failedPrecondition } from "../status.js";
import type { NumericTensor } from "../tensor/index.js";
import { describeNode } from "./autodiff/gradient-rule.js";
import { InitialWeights } from "./layers/initial-weights.js";

export interface NewHead {
  /** By initializer: fresh weights, of the new size. */
  readonly weights: ReadonlyMap<string, NumericTensor>;
  /** Values from the layer on, whose declared shapes no longer hold. */
  readonly reshapedValues: ReadonlySet<string>;
  readonly classes: number;
  /** The layer's size before. */
  readonly classesBefore: number;
}

/**
 * Finds the last layer with weights in front of an output and draws new ones for so many classes; the graph is changed
 * in place. Throws FAILED_PRECONDITION naming the node at which the search ended.
 */
export function drawNewHead(graph: Graph, output: string, classes: number, seed: number): NewHead {
  const { node, bias } = findHead(graph, output);
  const weights = new Map<string, NumericTensor>();
  const random = new InitialWeights(seed);
  const name = node.inputs[1]!;
  const { shape } = graph.initializers.get(name)!;
  // Units are the rows of a convolution's weights, or of a Gemm's with transB; else the columns.
  const unitsFirst = node.opType === "Conv" || node.attributes.get("transB") === 1;
  const axis = unitsFirst ? 0 : shape.length - 1;
  const classesBefore = shape[axis]!;
  const resized = shape.map((size, each) => (each === axis ? classes : size));
  const count = resized.reduce((all, size) => all * size, 1);
  const fanIn = count / classes;
  const data = random.draw("glorot_uniform", count, fanIn, classes);
  weights.set(name, { dtype: "float32", shape: resized, data });
  if (bias !== undefined) {
    const old = graph.initializers.get(bias)!.shape;
    const shapeOfBias = old.map((size) => (size === classesBefore ? classes : size));
    weights.set(bias, { dtype: "float32", shape: shapeOfBias, data: new Float32Array(classes) });
  }
  for (const [each, tensor] of weights) graph.initializers.set(each, tensor);
  const reshapedValues = valuesAfter(graph, node);
  for (const { inputs, opType, name: place } of graph.nodes) {
    const fixed = opType === "Reshape" ? graph.initializers.get(inputs[1] ?? "") : undefined;
    if (
      fixed !== undefined &&
      reshapedValues.has(inputs[0]!) &&
      Array.from(fixed.data, Number).includes(classesBefore)
    ) {
      throw failedPrecondition(
        `node "${place}" (operator Reshape) expects ${classesBefore} classes; a new head cannot change that`,
      );
    }
  }
  return { weights, reshapedValues, classes, classesBefore };
}

/** Operators that may stand between the last layer and the output. */
const passing: ReadonlySet<string> = new Set([
  "Identity",
  "Softmax",
  "LogSoftmax",
  "Sigmoid",
  "Reshape",
  "Flatten",
  "Squeeze",
  "GlobalAveragePool",
  "AveragePool",
  "Relu",
  "Dropout",
]);

function findHead(graph: Graph, output: string): { readonly node: GraphNode; readonly bias: string | undefined } {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const isStored = (name: string | undefined) =>
    name !== undefined && graph.initializers.get(name)?.dtype === "float32";
  let bias: string | undefined;
  let value = output;
  for (;;) {
    const node = producers.get(value);
    if (node === undefined) throw failedPrecondition(`no layer with weights stands before the output "${output}"`);
    const { opType, inputs } = node;
    if (
      ["Gemm", "MatMul", "Conv"].includes(opType) &&
      isStored(inputs[1]) &&
      (node.attributes.get("group") ?? 1) === 1
    ) {
      return { node, bias: inputs[2] ?? bias };
    }
    const added = opType === "Add" ? inputs.find(isStored) : undefined;
    if (added !== undefined && bias === undefined) {
      bias = added;
      value = inputs.find((name) => name !== added)!;
    } else if (passing.has(opType)) {
      value = inputs[0]!;
    } else {
      throw failedPrecondition(
        `the last layer cannot be told: ${describeNode(node)} stands before the output "${output}"`,
      );
    }
  }
}

function valuesAfter(graph: Graph, head: GraphNode): Set<string> {
  const after = new Set(head.outputs);
  for (const { inputs, outputs } of graph.nodes) {
    if (inputs.some((name) => after.has(name))) for (const name of outputs) after.add(name);
  }
  return after;
}
