import type { NodeProto, OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import { nodeLabel, subgraphsOfNode } from "../graph-walk.js";
import { classicRules } from "./classic-rules.js";
import { elementwiseRules, elementwiseSizeRules } from "./elementwise-rules.js";
import { fixed, holdsBatchSize, type Layout } from "./layout.js";
import { movementRules, movementSizeRules } from "./movement-rules.js";
import { Operation, Refusal, type Rule } from "./operation.js";
import { productRules } from "./product-rules.js";
import { reductionRules } from "./reduction-rules.js";
import { sizeRules } from "./size-rules.js";
import { windowRules, windowSizeRules } from "./window-rules.js";

/** Adds what is known of a node's outputs to what is known of values before it. Throws a Refusal where rows may meet. */
export function inferOutputs(
  layouts: Map<string, Layout>,
  node: NodeProto,
  operatorSets: readonly OperatorSetIdProto[],
): void {
  const inputs = node.input.map((name) => (name === "" ? undefined : layouts.get(name)));
  const operation = new Operation(node, versionOf(operatorSets, node), inputs);
  node.input.forEach((name, i) => {
    if (name !== "" && inputs[i] === undefined) operation.refuse(`takes "${name}", which nothing before it makes`);
  });
  const outputs = outputsOf(operation);
  node.output.forEach((name, i) => {
    if (name === "") return;
    layouts.set(name, outputs[i] ?? operation.refuse(`has an output ${i} that no rule knows`));
  });
}

const domains: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  "": {
    ...elementwiseRules,
    ...movementRules,
    ...productRules,
    ...reductionRules,
    ...windowRules,
    ...elementwiseSizeRules,
    ...movementSizeRules,
    ...windowSizeRules,
    ...sizeRules,
  },
  "ai.onnx.ml": classicRules,
};

/** Operators of "" that take the batch size where a size belongs; any other would make a value of it. */
const takesSizes = new Set(
  [elementwiseSizeRules, movementSizeRules, windowSizeRules, sizeRules].flatMap((rules) => Object.keys(rules)),
);

const isRandom = (opType: string) => opType.startsWith("Random") || opType === "Bernoulli" || opType === "Multinomial";

function outputsOf(operation: Operation): readonly Layout[] {
  const { node } = operation;
  if (!subgraphsOfNode(node).next().done) operation.refuse("runs a graph of its own");
  const names = new Set(node.attribute.map(({ name }) => name));
  if (names.size !== node.attribute.length) operation.refuse("has an attribute twice");
  const domain = standardDomain(node.domain);
  const rule = domains[domain]?.[node.opType];
  const allFixed = operation.inputs.every((input) => input.axis === undefined && !holdsBatchSize(input));
  if (allFixed && domain in domains && !isRandom(node.opType)) {
    // The same inputs give the same outputs, whatever the operator does. A rule may tell more.
    return knownOr(rule, operation, () => node.output.map(() => fixed(undefined)));
  }
  if (rule === undefined) operation.refuse("is not known to keep rows apart");
  if (operation.inputs.some(holdsBatchSize) && !(domain === "" && takesSizes.has(node.opType))) {
    operation.refuse("computes with the batch size");
  }
  return rule!(operation);
}

function knownOr(rule: Rule | undefined, operation: Operation, otherwise: () => readonly Layout[]): readonly Layout[] {
  if (rule === undefined) return otherwise();
  try {
    const known = rule(operation);
    return known.length >= operation.node.output.length ? known : otherwise();
  } catch (error) {
    if (error instanceof Refusal) return otherwise();
    throw error;
  }
}

function versionOf(operatorSets: readonly OperatorSetIdProto[], node: NodeProto): number {
  const domain = standardDomain(node.domain);
  const set = operatorSets.find((candidate) => standardDomain(candidate.domain) === domain);
  if (set === undefined)
    throw new Refusal(`${nodeLabel(node)} is of a domain whose operator set the model does not import`);
  return Number(set.version);
}

/** ONNX's own domain has two names. */
const standardDomain = (domain: string) => (domain === "ai.onnx" ? "" : domain);
