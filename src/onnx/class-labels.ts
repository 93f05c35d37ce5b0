// Which outputs of a graph are scores of classes, and what the classes are called.
import type { GraphProto, NodeProto } from "../gen/onnx/onnx.js";
import type { ClassLabels } from "./model-description.js";
import type { TensorSpec } from "./signature.js";

/** What onnxd writes into models that it trains: labels by output. It says more than the graph, and goes before it. */
const trainedKey = "onnxd.class_labels";

/** Keys of a model's metadata under which exporters keep labels, in the order of the scores. */
const metadataKeys = ["class_labels", "labels"];

/** Of ai.onnx.ml: their second output is a matrix of scores, a column for each of the labels in their attributes. */
const classifiers = new Set(["LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"]);
/** What may lie between the scores and the output without changing which column is whose. */
const columnKeepers = new Set(["Identity", "Cast", "Normalizer"]);

/**
 * By the name of an output that is a matrix of scores: its classes' labels. Scores are those of a classifier of
 * ai.onnx.ml, whose labels stand in the graph, or those of a Softmax for whose columns the metadata names labels; a model
 * that was trained here says it of each output.
 */
export function classLabelsOfOutputs({
  graph,
  outputs,
  metadata,
}: {
  readonly graph: GraphProto;
  readonly outputs: readonly TensorSpec[];
  readonly metadata: ReadonlyMap<string, string>;
}): Map<string, ClassLabels> {
  const producers = new Map<string, NodeProto>();
  for (const node of graph.node) for (const name of node.output) producers.set(name, node);
  const named = metadataKeys.map((key) => parseLabels(metadata.get(key))).find((labels) => labels !== undefined);
  const found = new Map<string, ClassLabels>();
  const trained = parseLabelsByOutput(metadata.get(trainedKey));
  for (const { name, dtype, shape } of outputs) {
    if (dtype !== "float32" || (shape !== undefined && shape.length !== 2)) continue;
    const columns = shape?.[1];
    const fits = (labels: ClassLabels) => typeof columns !== "number" || columns === labels.length;
    const own = trained.get(name);
    if (own !== undefined) {
      if (fits(own)) found.set(name, own);
      continue;
    }
    const { node, value } = sourceOf(name, producers);
    if (node === undefined) continue;
    if (classifiers.has(node.opType) && node.output[1] === value) {
      const labels = labelsOfClassifier(node);
      if (labels !== undefined && fits(labels)) found.set(name, labels);
    } else if (node.opType === "Softmax" && shape !== undefined && named !== undefined && columns === named.length) {
      found.set(name, named);
    }
  }
  return found;
}

/** The node that made the scores, before they were passed on unchanged. */
function sourceOf(output: string, producers: ReadonlyMap<string, NodeProto>) {
  let value = output;
  let node = producers.get(value);
  while (node !== undefined && columnKeepers.has(node.opType)) {
    value = node.input[0] ?? "";
    node = producers.get(value);
  }
  return { node, value };
}

function labelsOfClassifier(node: NodeProto): ClassLabels | undefined {
  const attribute = (name: string) => node.attribute.find((each) => each.name === name);
  for (const name of ["classlabels_ints", "classlabels_int64s"]) {
    const ints = attribute(name)?.ints ?? [];
    if (ints.length > 0) return ints;
  }
  const strings = attribute("classlabels_strings")?.strings ?? [];
  return strings.length > 0 ? strings.map((bytes) => new TextDecoder().decode(bytes)) : undefined;
}

/** A JSON object: by output, its labels, all of them strings or all of them whole numbers. */
function parseLabelsByOutput(text: string | undefined): ReadonlyMap<string, ClassLabels> {
  const found = new Map<string, ClassLabels>();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text ?? "{}");
  } catch {
    return found;
  }
  if (parsed === null || typeof parsed !== "object") return found;
  for (const [output, labels] of Object.entries(parsed)) {
    if (!Array.isArray(labels)) continue;
    if (labels.every((label) => typeof label === "string")) found.set(output, labels);
    else if (labels.every((label) => Number.isSafeInteger(label))) found.set(output, labels.map(BigInt));
  }
  return found;
}

/** A JSON array of strings, or a line for each; undefined for what is neither. */
function parseLabels(text: string | undefined): readonly string[] | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  if (text.trimStart().startsWith("[")) {
    try {
      const labels: unknown = JSON.parse(text);
      return Array.isArray(labels) && labels.every((label) => typeof label === "string") ? labels : undefined;
    } catch {
      return undefined;
    }
  }
  return text.replace(/\r?\n$/, "").split(/\r?\n/);
}
