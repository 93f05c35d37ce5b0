import { isNumeric, type NumericData, type NumericTensor, type Tensor } from "../tensor/index.js";
import { describeNode } from "./autodiff/gradient-rule.js";
import { evaluate } from "./autodiff/probe.js";
import type { TrainableModel } from "./step-graph.js";

/** Says where numbers stopped being finite: the first node on the way forward, or else on the way back. */
export function findFault(
  model: TrainableModel,
  weights: ReadonlyMap<string, NumericTensor>,
  feeds: ReadonlyMap<string, Tensor>,
  loss: number,
  gradients: ReadonlyMap<string, NumericTensor>,
): string {
  for (const { name } of model.inputs) {
    if (!allFinite(feeds.get(name)!)) return `the input "${name}" of the batch was not finite`;
  }
  const graph = model.graph.clone();
  for (const [name, tensor] of weights) graph.initializers.set(name, tensor);
  graph.inputs = model.inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape: [undefined, ...shape] }));
  const inputs = new Map(model.inputs.map(({ name }) => [name, feeds.get(name)!]));
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter((output) => output !== ""));
  const values = evaluate(graph, inputs, names, model.operatorSets);
  for (const node of graph.nodes) {
    if (node.outputs.some((output) => output !== "" && !allFinite(values.get(output)!))) {
      return `what ${describeNode(node)} gives was not finite`;
    }
  }
  if (!Number.isFinite(loss)) return `the loss was ${loss}, though what the model gives was finite`;
  for (const [name, gradient] of gradients) {
    if (!allFinite(gradient)) return `the gradient of "${name}" was not finite`;
  }
  return "the norm of the gradients was beyond what a double holds";
}

function allFinite(tensor: Tensor): boolean {
  if (!isNumeric(tensor) || !tensor.dtype.startsWith("float") || tensor.dtype === "float16") return true;
  return (tensor.data as Exclude<NumericData, BigInt64Array | BigUint64Array>).every(Number.isFinite);
}
