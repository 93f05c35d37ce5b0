// Which of a model's tensors can be trained.
import { capturesOf, type Graph, type GraphNode } from "../onnx/index.js";
import type { Parameter } from "./optimizers/parameter-memory.js";

/** By operator: inputs that are weights, which penalties touch, and inputs that are biases and scales, which they spare. */
const slots: Readonly<Record<string, { readonly weights?: readonly number[]; readonly biases?: readonly number[] }>> = {
  Gemm: { weights: [0, 1], biases: [2] },
  MatMul: { weights: [0, 1] },
  Einsum: { weights: [0, 1, 2, 3] },
  Conv: { weights: [1], biases: [2] },
  ConvTranspose: { weights: [1], biases: [2] },
  RNN: { weights: [1, 2], biases: [3] },
  GRU: { weights: [1, 2], biases: [3] },
  LSTM: { weights: [1, 2], biases: [3, 7] },
  Gather: { weights: [0] },
  BatchNormalization: { biases: [1, 2] },
  LayerNormalization: { biases: [1, 2] },
  InstanceNormalization: { biases: [1, 2] },
  GroupNormalization: { biases: [1, 2] },
  RMSNormalization: { biases: [1] },
  SimplifiedLayerNormalization: { biases: [1] },
  PRelu: { biases: [1] },
};

/** Constants of these are weights only behind other weights: in front of them, they prepare the input. */
const elementwise: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div"]);

/** Operators between a stored tensor and its slot that only change its form. */
const reshaping: ReadonlySet<string> = new Set([
  "Identity",
  "Transpose",
  "Reshape",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Expand",
]);

/** Float tensors with dimensions that stand where weights do, in the order of their use. */
export function trainableTensors(graph: Graph): Parameter[] {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const found = new Map<string, Parameter>();
  const behindWeights = new Set<string>();
  const take = (value: string, penalized: boolean, atLeast: number) => {
    const name = storedTensor(value, producers);
    const tensor = graph.initializers.get(name);
    if (tensor?.dtype !== "float32" || tensor.shape.length === 0 || tensor.data.length < atLeast) return;
    if (!found.has(name)) found.set(name, { name, shape: tensor.shape, penalized, learningRateScale: 1 });
  };
  for (const node of graph.nodes) {
    const { opType, domain, inputs } = node;
    const known = domain === "" ? slots[opType] : undefined;
    for (const index of known?.weights ?? []) take(inputs[index] ?? "", true, 1);
    for (const index of known?.biases ?? []) take(inputs[index] ?? "", false, 1);
    if (domain === "" && elementwise.has(opType) && inputs.some((name) => behindWeights.has(name))) {
      // A bias may be a single number; a single factor is a constant of the formula.
      for (const name of inputs) take(name, false, opType === "Add" ? 1 : 2);
    }
    const reads = [...inputs, ...capturesOf(node)];
    if (reads.some((name) => found.has(name) || behindWeights.has(name))) {
      for (const output of node.outputs) behindWeights.add(output);
    }
  }
  return [...found.values()];
}

function storedTensor(value: string, producers: ReadonlyMap<string, GraphNode>): string {
  let name = value;
  for (let node = producers.get(name); node !== undefined && reshaping.has(node.opType); node = producers.get(name)) {
    name = node.inputs[0]!;
  }
  return name;
}

/** Whether a name matches one of the patterns, in which * stands for anything. */
export function matchesAny(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    const expression = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${expression.join(".*")}$`).test(name);
  });
}
