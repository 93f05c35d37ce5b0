import type { GraphProto, NodeProto, OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import { nodeLabel, subgraphsOfNode } from "../graph-walk.js";
import type { BatchingVerdict } from "../model-description.js";
import type { Dimension, TensorSpec } from "../signature.js";
import { classicRules } from "./classic-rules.js";
import { tensorLayout } from "./constant.js";
import { elementwiseRules, elementwiseSizeRules } from "./elementwise-rules.js";
import { batch, fixed, holdsBatchSize, type Layout, type Size } from "./layout.js";
import { movementRules, movementSizeRules } from "./movement-rules.js";
import { Operation, Refusal, type Rule } from "./operation.js";
import { productRules } from "./product-rules.js";
import { reductionRules } from "./reduction-rules.js";
import { sizeRules } from "./size-rules.js";
import { windowRules, windowSizeRules } from "./window-rules.js";

/** A graph as it will run, with what it takes and gives. */
export interface ProvenGraph {
  readonly graph: GraphProto;
  readonly operatorSets: readonly OperatorSetIdProto[];
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/**
 * Whether row i of every output depends on row i of the inputs alone, for any number of rows, so that several calls'
 * rows may run as one. "The batch is axis k" is carried from the inputs through every node; a node without a rule, or
 * whose rows may meet, ends the proof, and its reason is the verdict's.
 *
 * What is proven is about values: a run that fails for one row fails for all rows of it, and sums may differ in their
 * last bits, since the runtime adds up in another order for another number of rows.
 */
export function proveBatchAxis(given: ProvenGraph): BatchingVerdict {
  try {
    const layouts = inputLayouts(given.inputs);
    for (const tensor of given.graph.initializer) layouts.set(tensor.name, tensorLayout(tensor));
    for (const { values } of given.graph.sparseInitializer) layouts.set(values?.name ?? "", fixed(undefined));
    for (const node of given.graph.node) addOutputs(layouts, node, versionOf(given.operatorSets, node));
    for (const output of given.outputs) requireRows(output, layouts.get(output.name));
    return { provenSafe: true, reason: `rows stay apart through every node (${given.graph.node.length})` };
  } catch (error) {
    if (error instanceof Refusal) return { provenSafe: false, reason: error.message };
    throw error;
  }
}

function inputLayouts(inputs: readonly TensorSpec[]): Map<string, Layout> {
  const [first] = inputs;
  if (first === undefined) throw new Refusal("the graph has no inputs");
  const layouts = new Map<string, Layout>();
  for (const { name, shape } of inputs) {
    const label = `input "${name}"`;
    if (shape === undefined) throw new Refusal(`${label} may have any rank`);
    if (shape.length === 0) throw new Refusal(`${label} is a scalar, without a batch axis`);
    const [rows] = shape;
    if (typeof rows === "number") throw new Refusal(`${label} has the fixed size ${rows} on axis 0`);
    if (rows !== first.shape?.[0]) throw new Refusal(`${label} names axis 0 differently than input "${first.name}"`);
    if (rows !== undefined && shape.includes(rows, 1)) throw new Refusal(`${label} has two axes named "${rows}"`);
    layouts.set(name, { ...fixed(shape.map((size, axis) => sizeOf(name, size, axis))), axis: 0 });
  }
  return layouts;
}

/** Open sizes get a name for each place, since nobody holds a request to sizes of one name being equal. */
function sizeOf(input: string, size: Dimension, axis: number): Size {
  if (axis === 0) return batch;
  return typeof size === "number" ? size : `?${input}:${axis}`;
}

function requireRows({ name, shape }: TensorSpec, layout: Layout | undefined): void {
  const label = `output "${name}"`;
  if (layout === undefined) throw new Refusal(`${label} is made by no node`);
  if (layout.axis === undefined) throw new Refusal(`${label} does not follow the rows`);
  if (layout.axis !== 0) throw new Refusal(`${label} has the batch on axis ${layout.axis}`);
  const declared = shape?.[0];
  if (typeof declared === "number") throw new Refusal(`${label} has the fixed size ${declared} on axis 0`);
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

function addOutputs(layouts: Map<string, Layout>, node: NodeProto, version: number): void {
  const inputs = node.input.map((name) => (name === "" ? undefined : layouts.get(name)));
  const operation = new Operation(node, version, inputs);
  node.input.forEach((name, i) => {
    if (name !== "" && inputs[i] === undefined) operation.refuse(`takes "${name}", which nothing before it makes`);
  });
  const outputs = outputsOf(operation);
  node.output.forEach((name, i) => {
    if (name === "") return;
    layouts.set(name, outputs[i] ?? operation.refuse(`has an output ${i} that no rule knows`));
  });
}

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
