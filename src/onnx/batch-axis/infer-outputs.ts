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

// Maps, since a file may name an operator "constructor".
const onnxRules = new Map(
  [elementwiseRules, movementRules, productRules, reductionRules, windowRules].flatMap(Object.entries<Rule>),
);
/** Operators that take the batch size where a size belongs; any other would make a value of it. */
const onnxSizeRules = new Map(
  [elementwiseSizeRules, movementSizeRules, windowSizeRules, sizeRules].flatMap(Object.entries<Rule>),
);
const rulesByDomain = new Map([
  ["", new Map([...onnxRules, ...onnxSizeRules])],
  ["ai.onnx.ml", new Map(Object.entries(classicRules))],
]);

/** Those that do not give the same outputs for the same inputs, or need not. */
const mayBeRandom = /^(Bernoulli|Dropout|Multinomial|Random(Normal|Uniform)(Like)?)$/;

function outputsOf(operation: Operation): readonly Layout[] {
  const { node } = operation;
  if (!subgraphsOfNode(node).next().done) operation.refuse("runs a graph of its own");
  const names = new Set(node.attribute.map(({ name }) => name));
  if (names.size !== node.attribute.length) operation.refuse("has an attribute twice");
  const rules = rulesByDomain.get(standardDomain(node.domain));
  const rule = rules?.get(node.opType);
  const allFixed = operation.inputs.every((input) => input.axis === undefined && !holdsBatchSize(input));
  if (allFixed && rules !== undefined && !mayBeRandom.test(node.opType)) {
    // The same inputs give the same outputs, whatever the operator does. A rule may tell more.
    return knownOr(rule, operation, () => node.output.map(() => fixed(undefined)));
  }
  if (rule === undefined) return operation.refuse("is not known to keep rows apart");
  if (operation.inputs.some(holdsBatchSize) && rule !== onnxSizeRules.get(node.opType)) {
    operation.refuse("computes with the batch size");
  }
  return rule(operation);
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
