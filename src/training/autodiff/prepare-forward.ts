// What a forward graph must have before it can be differentiated: constants where rules look for them, and the second
// outputs that some rules read. And what makes its gradient cheaper.
import { capturesOf, Graph, type GraphNode } from "../../onnx/index.js";
import { failedPrecondition } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import { numbers } from "../graph-emitter.js";
import { describeNode, type PreparedScan, scanKey } from "./gradient-rule.js";
import { evaluate, type Feeds, probe } from "./probe.js";
import { poolsInTiles } from "./rules/pooling.js";

/** Changes the graph in place. */
export function prepareForward(graph: Graph): void {
  graph.nodes = graph.nodes.filter((node) => !foldConstant(graph, node));
  poolBeforeRelu(graph);
  for (const node of graph.nodes) {
    if (node.domain !== "") continue;
    const wantsIndices = node.opType === "MaxPool" && !poolsInTiles(node);
    if (wantsIndices || node.opType === "Dropout") addOutput(graph, node, 1);
    for (const body of node.attributes.values()) if (body instanceof Graph) prepareForward(body);
  }
}

function addOutput(graph: Graph, { outputs }: GraphNode, index: number): void {
  if ((outputs[index] ?? "") === "") outputs[index] = graph.fresh("second");
}

/**
 * The largest of what a Relu lets through is what it lets through of the largest: between the two, a Relu over the pooled
 * image has a fraction of the elements to look at, and zeros do not tie.
 */
function poolBeforeRelu(graph: Graph): void {
  for (const pool of graph.nodes) {
    if (pool.opType !== "MaxPool" || pool.domain !== "" || (pool.outputs[1] ?? "") !== "") continue;
    const [image] = pool.inputs;
    const relu = graph.nodes.find((node) => node.opType === "Relu" && node.domain === "" && node.outputs[0] === image);
    if (relu === undefined || isReadElsewhere(graph, image!, pool)) continue;
    const pooled = graph.fresh("pooled");
    const replacements = new Map([
      [relu, { ...pool, inputs: [relu.inputs[0]!], outputs: [pooled] }],
      [pool, { ...relu, inputs: [pooled], outputs: [pool.outputs[0]!] }],
    ]);
    graph.nodes = graph.nodes.map((node) => replacements.get(node) ?? node);
  }
}

function isReadElsewhere(graph: Graph, value: string, reader: GraphNode): boolean {
  const reads = (node: GraphNode) => node.inputs.includes(value) || capturesOf(node).includes(value);
  return graph.outputs.some(({ name }) => name === value) || graph.nodes.some((node) => node !== reader && reads(node));
}

function foldConstant(graph: Graph, { opType, domain, attributes, outputs }: GraphNode): boolean {
  if (opType !== "Constant" || domain !== "") return false;
  const [entry] = attributes;
  const tensor = entry === undefined ? undefined : constantOf(entry[0], entry[1]);
  if (tensor === undefined) return false;
  graph.initializer(outputs[0]!, tensor);
  return true;
}

function constantOf(name: string, value: unknown): Tensor | undefined {
  const list = (entry: unknown) => (Array.isArray(entry) ? (entry as number[]) : [entry as number]);
  const shape = name.endsWith("s") ? [(value as readonly unknown[]).length] : [];
  switch (name) {
    case "value":
      return value as Tensor;
    case "value_int":
    case "value_ints":
      return { dtype: "int64", shape, data: numbers("int64", list(value)) };
    case "value_float":
      return { dtype: "float32", shape, data: numbers("float32", list((value as { floats: number }).floats)) };
    case "value_floats": {
      const { floats } = value as { readonly floats: readonly number[] };
      return { dtype: "float32", shape: [floats.length], data: numbers("float32", floats) };
    }
    default:
      return undefined;
  }
}

/**
 * Makes every Scan also give out the states its steps came in with, and learns the shapes within its body. The feeds
 * are rows of the data, and the same with another number of rows where the batch may change.
 */
export function prepareScans(
  graph: Graph,
  feeds: Feeds,
  otherFeeds?: Feeds,
  scans = new Map<string, PreparedScan>(),
): Map<string, PreparedScan> {
  for (const node of graph.nodes) {
    if (node.opType !== "Scan" || node.domain !== "") continue;
    requireFirstAxes(node);
    const body = node.attributes.get("body") as Graph;
    const states = node.inputs.length - (node.attributes.get("num_scan_inputs") as number);
    const inner = bodyFeeds(graph, node, body, states, feeds);
    const otherInner = otherFeeds === undefined ? undefined : bodyFeeds(graph, node, body, states, otherFeeds);
    const alone = standAlone(body, inner);
    prepareScans(alone, inner, otherInner, scans);
    const infos = probe(alone, inner, { otherFeeds: otherInner });
    if (scans.has(scanKey(node))) throw failedPrecondition(`two bodies have a value named "${scanKey(node)}"`);
    scans.set(scanKey(node), { infos, incomingStates: exposeStates(graph, node, body, states) });
  }
  return scans;
}

function requireFirstAxes(node: GraphNode): void {
  for (const name of ["scan_input_axes", "scan_output_axes"]) {
    const axes = (node.attributes.get(name) ?? []) as readonly number[];
    if (axes.some((axis) => axis !== 0)) {
      throw failedPrecondition(`cannot train through ${describeNode(node)}: it does not scan along the first axis`);
    }
  }
}

/** What the body sees in the first step. */
function bodyFeeds(graph: Graph, node: GraphNode, body: Graph, states: number, feeds: Feeds): Map<string, Tensor> {
  const captured = capturesOf(node);
  const outer = evaluate(graph, feeds, [...node.inputs, ...captured]);
  const inner = new Map(captured.map((name) => [name, outer.get(name)!]));
  body.inputs.forEach(({ name }, index) => {
    const value = outer.get(node.inputs[index]!)!;
    inner.set(name, index < states ? value : firstRow(value));
  });
  return inner;
}

function firstRow({ dtype, shape, data }: Tensor): Tensor {
  const rest = shape.slice(1);
  const count = rest.reduce((all, size) => all * size, 1);
  return { dtype, shape: rest, data: data.slice(0, count) };
}

/** The body as a graph of its own; what it reads from around it becomes inputs. */
function standAlone(body: Graph, feeds: Feeds): Graph {
  const alone = body.clone();
  alone.inputs = [...feeds].map(([name, { dtype, shape }]) => ({ name, dtype, shape: shape.map(() => undefined) }));
  // Scans within are changed as they are prepared: those of the body itself, not of a copy.
  alone.nodes = body.nodes;
  return alone;
}

function exposeStates(graph: Graph, node: GraphNode, body: Graph, states: number): string[] {
  const directions = node.attributes.get("scan_output_directions") as readonly number[] | undefined;
  if (directions !== undefined) {
    node.attributes.set("scan_output_directions", [...directions, ...Array.from({ length: states }, () => 0)]);
  }
  return body.inputs.slice(0, states).map(({ name, dtype, shape }) => {
    const [copy] = body.node("Identity", [name]);
    body.outputs.push({ name: copy!, dtype, shape });
    const output = graph.fresh("states");
    node.outputs.push(output);
    return output;
  });
}
