// ZipMap turns a matrix of scores into a sequence of maps from class label to score. scikit-learn's converters end their
// classifiers with one; onnxruntime-node cannot return it. The matrix underneath is served instead, with the labels kept.
import { type GraphProto, NodeProto, type ValueInfoProto } from "../../gen/onnx/onnx.js";
import { invalidArgument } from "../../status.js";
import { tensorValueInfo } from "../graph-builder.js";
import { declaredShapes } from "../graph-interface.js";
import { nodeLabel, nodesOfSubgraphs } from "../graph-walk.js";
import type { ClassLabels } from "../model-description.js";
import type { Dimension } from "../signature.js";

export interface RewrittenZipMaps {
  /** By index in the graph's nodes. */
  readonly nodes: ReadonlyMap<number, readonly NodeProto[]>;
  /** By index in the graph's outputs. */
  readonly outputs: ReadonlyMap<number, ValueInfoProto>;
  /** By the name of the output that was a sequence of maps. */
  readonly classLabels: ReadonlyMap<string, ClassLabels>;
  readonly sentences: readonly string[];
}

/**
 * Lets every ZipMap at the end of the graph pass its scores through. Throws INVALID_ARGUMENT naming the node for one
 * whose maps are used within the graph, since nothing else could take their place.
 */
export function rewriteZipMaps(graph: GraphProto): RewrittenZipMaps {
  const nodes = new Map<number, readonly NodeProto[]>();
  const outputs = new Map<number, ValueInfoProto>();
  const classLabels = new Map<string, ClassLabels>();
  const sentences: string[] = [];
  for (const inner of nodesOfSubgraphs(graph)) {
    if (isZipMap(inner)) throw refuse(inner, "stands in a subgraph");
  }
  graph.node.forEach((node, index) => {
    if (!isZipMap(node)) return;
    const [scores = ""] = node.input;
    const [output = ""] = node.output;
    const outputIndex = graph.output.findIndex(({ name }) => name === output);
    if (outputIndex < 0) throw refuse(node, "is not an output of the graph");
    if (isConsumed(graph, output)) throw refuse(node, "is used within the graph");
    const labels = classLabelsOf(node);
    if (labels === undefined) throw refuse(node, "has no class labels");
    // The same node, changed in what it does: its name and place stay for those who read the log.
    nodes.set(index, [NodeProto.create({ name: node.name, opType: "Identity", input: [scores], output: [output] })]);
    outputs.set(outputIndex, tensorValueInfo(output, "float32", scoresShape(graph, scores, labels.length)));
    classLabels.set(output, labels);
    sentences.push(
      `Output "${output}" is a tensor of scores, a column for each of ${labels.length} classes, instead of ZipMap's sequence of maps.`,
    );
  });
  return { nodes, outputs, classLabels, sentences };
}

const isZipMap = (node: NodeProto) => node.opType === "ZipMap" && node.domain === "ai.onnx.ml";

function isConsumed(graph: GraphProto, value: string): boolean {
  if (graph.node.some((node) => node.input.includes(value))) return true;
  for (const inner of nodesOfSubgraphs(graph)) if (inner.input.includes(value)) return true;
  return false;
}

function classLabelsOf(node: NodeProto): ClassLabels | undefined {
  const labels = (name: string) => node.attribute.find((attribute) => attribute.name === name);
  const ints = labels("classlabels_int64s")?.ints ?? [];
  if (ints.length > 0) return ints;
  const strings = labels("classlabels_strings")?.strings ?? [];
  return strings.length > 0 ? strings.map((bytes) => new TextDecoder().decode(bytes)) : undefined;
}

// These give a matrix whatever they take; what lies between them and a ZipMap keeps the shape.
const classifiers = new Set(["LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"]);
const shapeKeepers = new Set(["Normalizer", "Identity", "Cast"]);

/** Rows by classes; undefined where the scores could as well be one row without a batch axis. */
function scoresShape(graph: GraphProto, scores: string, classes: number): Dimension[] | undefined {
  const shapes = declaredShapes(graph);
  const declared = shapes.get(scores);
  if (declared !== undefined) return declared.length === 1 ? [classes] : [declared[0], classes];
  const producer = graph.node.find((node) => node.output.includes(scores));
  const [taken = ""] = producer?.input ?? [];
  if (producer === undefined || taken === scores) return undefined;
  if (classifiers.has(producer.opType)) return [shapes.get(taken)?.[0], classes];
  return shapeKeepers.has(producer.opType) ? scoresShape(graph, taken, classes) : undefined;
}

const refuse = (node: NodeProto, why: string) =>
  invalidArgument(
    `the sequence of maps that ${nodeLabel(node)} makes ${why}; only one that ends the graph can be served`,
  );
