// Reverse-mode differentiation: one walk from the loss back to the parameters, which writes the gradients into the
// graph they belong to, as ordinary operators.
import { capturesOf, type GraphNode } from "../../onnx/index.js";
import { failedPrecondition } from "../../status.js";
import { describeNode, GradientEmitter, type GradientRequest, RuleNode } from "./gradient-rule.js";
import { gradientRules, withoutDerivative } from "./gradient-rules.js";

/**
 * Writes the gradients and returns their names by parameter; a parameter that does not reach the seeds has none.
 * Throws FAILED_PRECONDITION naming the node and its operator when the way leads through one without a gradient.
 */
export function buildGradients({ graph, infos, seeds, parameters, scans }: GradientRequest): Map<string, string> {
  const nodes = [...graph.nodes];
  const readsOf = new Map(nodes.map((node) => [node, [...node.inputs, ...capturesOf(node)]]));
  const moved = valuesMovedBy(parameters, nodes, readsOf);
  const reaching = valuesReaching(seeds.keys(), nodes, readsOf);
  const wanted = (value: string) => moved.has(value) && reaching.has(value);

  const contributions = new Map<string, string[]>([...seeds].map(([value, gradient]) => [value, [gradient]]));
  const contribute = (value: string, gradient: string) => {
    const known = contributions.get(value);
    if (known === undefined) contributions.set(value, [gradient]);
    else known.push(gradient);
  };
  const emitter = new GradientEmitter(graph, infos, { scans, contribute, differentiate: buildGradients });
  // A value read in several places gets the sum of what comes back from each.
  const total = (value: string): string | undefined => {
    const parts = contributions.get(value);
    if (parts === undefined || parts.length === 1) return parts?.[0];
    const sum = emitter.op("Sum", parts);
    contributions.set(value, [sum]);
    return sum;
  };

  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((output) => contributions.has(output) && wanted(output))) continue;
    if (!readsOf.get(node)!.some(wanted)) continue;
    const rule = node.domain === "" ? gradientRules[node.opType] : undefined;
    if (rule === undefined) throw noGradient(node, moved, readsOf.get(node)!, parameters, nodes, readsOf);
    const ruleNode = new RuleNode(node, infos, wanted);
    const gradients = rule(
      emitter,
      ruleNode,
      node.outputs.map((output) => (output === "" ? undefined : total(output))),
    );
    gradients.forEach((gradient, index) => {
      if (gradient !== undefined && ruleNode.wants(index)) contribute(node.inputs[index]!, gradient);
    });
  }
  const found = new Map<string, string>();
  for (const parameter of parameters) {
    const gradient = total(parameter);
    if (gradient !== undefined) found.set(parameter, gradient);
  }
  return found;
}

type Reads = ReadonlyMap<GraphNode, readonly string[]>;

/** Values that change when a parameter does. */
export function valuesMovedBy(parameters: Iterable<string>, nodes: readonly GraphNode[], readsOf: Reads): Set<string> {
  const moved = new Set(parameters);
  for (const node of nodes) {
    if (node.domain === "" && withoutDerivative.has(node.opType)) continue;
    if (!readsOf.get(node)!.some((value) => moved.has(value))) continue;
    for (const output of node.outputs) if (output !== "") moved.add(output);
  }
  return moved;
}

/** Values that the seeds depend on. */
function valuesReaching(seeds: Iterable<string>, nodes: readonly GraphNode[], readsOf: Reads): Set<string> {
  const reaching = new Set(seeds);
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((output) => reaching.has(output))) continue;
    for (const value of readsOf.get(node)!) if (value !== "") reaching.add(value);
  }
  return reaching;
}

function noGradient(
  node: GraphNode,
  moved: ReadonlySet<string>,
  reads: readonly string[],
  parameters: readonly string[],
  nodes: readonly GraphNode[],
  readsOf: Reads,
) {
  const before = valuesReaching(
    reads.filter((value) => moved.has(value)),
    nodes,
    readsOf,
  );
  const names = parameters.filter((parameter) => before.has(parameter));
  const listed = names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
  return failedPrecondition(
    `cannot train through ${describeNode(node)}: the operator has no gradient. ` +
      `Freeze the model up to this node: the parameters before it are ${listed}`,
  );
}
