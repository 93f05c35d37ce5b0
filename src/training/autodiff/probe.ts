import { encodeGraphModel, Graph, type GraphNode } from "../../onnx/index.js";
import { StepSession } from "../../runtime/index.js";
import { failedPrecondition } from "../../status.js";
import { formatShape, type Tensor } from "../../tensor/index.js";
import type { ValueInfo } from "./value-info.js";

export type Feeds = ReadonlyMap<string, Tensor>;

export interface ProbeOptions {
  /** The same inputs with another number of rows: sizes that differ follow the batch. */
  readonly otherFeeds?: Feeds | undefined;
  readonly operatorSets?: ReadonlyMap<string, number> | undefined;
}

/**
 * Learns dtype and shape of every value by running the graph once with all of them exposed: no inference of our own
 * that could disagree with the runtime's.
 */
export function probe(
  graph: Graph,
  feeds: Feeds,
  { otherFeeds, operatorSets }: ProbeOptions = {},
): Map<string, ValueInfo> {
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  const first = evaluate(graph, feeds, names, operatorSets);
  const second = otherFeeds === undefined ? first : evaluate(graph, otherFeeds, names, operatorSets);
  const constants = valuesOfShapesAlone(graph);
  const infos = new Map<string, ValueInfo>();
  for (const [name, { dtype, shape, data }] of first) {
    const other = second.get(name)!;
    if (other.shape.length !== shape.length) {
      throw failedPrecondition(
        `the rank of value "${name}" follows the batch: ${formatShape(shape)}, then ${formatShape(other.shape)}`,
      );
    }
    const followsBatch = shape.map((size, axis) => size !== other.shape[axis]);
    const known = constants.has(name) && data.length <= knownElements && sameElements(data, other.data);
    infos.set(name, { dtype, shape, followsBatch, known: known ? { dtype, shape, data } : undefined });
  }
  return infos;
}

// Shapes, axes, pads: nothing that a rule reads is longer.
const knownElements = 1024;

/** Runs a graph once; the values asked for, and beside them its inputs and initializers. */
export function evaluate(
  graph: Graph,
  feeds: Feeds,
  names: readonly string[],
  operatorSets?: ReadonlyMap<string, number>,
): Map<string, Tensor> {
  const values = new Map<string, Tensor>(graph.initializers);
  for (const { name } of graph.inputs) if (feeds.has(name)) values.set(name, feeds.get(name)!);
  const wanted = [...new Set(names)].filter((name) => !values.has(name));
  if (wanted.length === 0) return values;
  const exposed = graph.clone();
  exposed.outputs = wanted.map((name) => ({ name, dtype: undefined, shape: undefined }));
  const model = encodeGraphModel(exposed, operatorSets === undefined ? {} : { operatorSets });
  const session = new StepSession(model, { optimize: false });
  try {
    for (const [name, value] of session.run(feeds, wanted)) values.set(name, value);
  } finally {
    session.release();
  }
  return values;
}

/** Values computed from constants and from sizes of others, never from what the others hold. */
function valuesOfShapesAlone(graph: Graph): Set<string> {
  const found = new Set(graph.initializers.keys());
  for (const node of graph.nodes) {
    if (!isShapeAlone(node, found)) continue;
    for (const output of node.outputs) found.add(output);
  }
  return found;
}

function isShapeAlone({ opType, inputs, attributes }: GraphNode, found: ReadonlySet<string>): boolean {
  if (opType === "Shape" || opType === "Size") return true;
  if (opType.startsWith("Random") || opType === "Multinomial" || opType === "Bernoulli") return false;
  if ([...attributes.values()].some((value) => value instanceof Graph)) return false;
  return inputs.every((name) => name === "" || found.has(name));
}

function sameElements(a: Tensor["data"], b: Tensor["data"]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}
