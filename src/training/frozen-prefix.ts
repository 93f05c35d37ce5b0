// What stands before the first weight that is trained gives the same for a row however often it is asked: it is run
// once, and training starts from what it gave.
import { capturesOf, encodeGraphModel, type Graph, type GraphNode, raiseOperatorSet } from "../onnx/index.js";
import { StepSession } from "../runtime/index.js";
import { failedPrecondition } from "../status.js";
import { isNumeric, type NumericTensor, type Tensor } from "../tensor/index.js";
import { valuesMovedBy } from "./autodiff/gradient-graph.js";
import { evaluate } from "./autodiff/probe.js";
import type { Field } from "./examples.js";
import type { SampleFeeds, TrainableModel } from "./step-graph.js";

/** A whole model, from what clients send to what they get. */
export interface WholeModel {
  readonly graph: Graph;
  readonly operatorSets: ReadonlyMap<string, number>;
}

export interface SplitModel {
  /** What to run over every row before training. */
  readonly prefix: FrozenPrefix;
  /** The part that is trained, its inputs what the prefix gives. */
  readonly model: TrainableModel;
}

/**
 * Cuts a model where its trained part begins.
 * @param sample feeds of the whole model
 * Throws FAILED_PRECONDITION when the output does not depend on the parameters, or strings reach the trained part.
 */
export function splitFrozenPrefix(
  { graph, operatorSets }: WholeModel,
  trained: Omit<TrainableModel, "graph" | "operatorSets" | "inputs">,
  sample: SampleFeeds,
): SplitModel {
  const suffixNodes = nodesToTrain(graph, trained);
  const [rows, otherRows] = [3, 2];
  const feeds = sample(rows);
  const otherFeeds = sample(otherRows);
  let inputs: Field[];
  for (;;) {
    const values = valuesInto(graph, suffixNodes);
    const first = evaluate(graph, feeds, values, operatorSets);
    const second = evaluate(graph, otherFeeds, values, operatorSets);
    const unfit = values.filter((name) => !isByRow(first.get(name)!, second.get(name)!, rows, otherRows));
    if (unfit.length === 0) {
      inputs = values.map((name) => {
        const { dtype, shape } = first.get(name)!;
        return { name, dtype, shape: shape.slice(1) };
      });
      break;
    }
    // Shapes and constants are not kept for each row; they are computed again in the trained part.
    for (const name of unfit) suffixNodes.add(producerOf(graph, name));
  }
  const suffix = partOf(graph, suffixNodes);
  suffix.inputs = inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape: ["N", ...shape] }));
  suffix.output(trained.output);
  const prefix = new FrozenPrefix(graph, operatorSets, inputs);
  return { prefix, model: { ...trained, ...raised(suffix, operatorSets, prefix.run(feeds)), inputs } };
}

/** Runs what stands before the trained part. */
export class FrozenPrefix {
  /** What it gives, by row. */
  readonly fields: readonly Field[];
  /** Whether there is anything to run. */
  readonly isEmpty: boolean;
  readonly #computed: readonly string[];
  readonly #session: StepSession | undefined;

  constructor(graph: Graph, operatorSets: ReadonlyMap<string, number>, fields: readonly Field[]) {
    this.fields = fields;
    const given = new Set(graph.inputs.map(({ name }) => name));
    this.#computed = fields.map(({ name }) => name).filter((name) => !given.has(name));
    this.isEmpty = this.#computed.length === 0;
    if (this.isEmpty) return;
    const prefix = partOf(graph, nodesBefore(graph, this.#computed));
    prefix.inputs = graph.inputs.filter(({ name }) => readsOf(prefix.nodes).has(name));
    for (const name of this.#computed) prefix.output(name);
    this.#session = new StepSession(encodeGraphModel(prefix, { operatorSets }));
    this.#inputs = prefix.inputs.map(({ name }) => name);
  }

  readonly #inputs: readonly string[] = [];

  /** The fields for the rows fed. Values that the model is fed with anyway come through as they are. */
  run(feeds: ReadonlyMap<string, Tensor>): Map<string, NumericTensor> {
    const own = new Map(this.#inputs.map((name) => [name, feeds.get(name)!]));
    const computed = this.#session?.run(own, this.#computed) ?? new Map<string, Tensor>();
    return new Map(this.fields.map(({ name }) => [name, (computed.get(name) ?? feeds.get(name)) as NumericTensor]));
  }

  release(): void {
    this.#session?.release();
  }
}

/** Nodes on the way from a parameter to the output. */
function nodesToTrain(graph: Graph, { parameters, output }: Pick<TrainableModel, "parameters" | "output">) {
  const reads = new Map(graph.nodes.map((node) => [node, [...node.inputs, ...capturesOf(node)]]));
  const moved = valuesMovedBy(
    parameters.map(({ name }) => name),
    graph.nodes,
    reads,
  );
  if (!moved.has(output)) throw failedPrecondition(`"${output}" does not depend on any of the weights to be trained`);
  const before = nodesBefore(graph, [output]);
  return new Set([...before].filter((node) => node.outputs.some((name) => moved.has(name))));
}

/** Nodes that some values depend on. */
function nodesBefore(graph: Graph, values: readonly string[]): Set<GraphNode> {
  const wanted = new Set(values);
  const found = new Set<GraphNode>();
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((name) => wanted.has(name))) continue;
    found.add(node);
    for (const name of [...node.inputs, ...capturesOf(node)]) wanted.add(name);
  }
  return found;
}

function readsOf(nodes: Iterable<GraphNode>): Set<string> {
  const reads = new Set<string>();
  for (const node of nodes) for (const name of [...node.inputs, ...capturesOf(node)]) reads.add(name);
  reads.delete("");
  return reads;
}

/** Values that nodes read and none of them makes, stored tensors aside. */
function valuesInto(graph: Graph, nodes: ReadonlySet<GraphNode>): string[] {
  const made = new Set([...nodes].flatMap(({ outputs }) => outputs));
  return [...readsOf(nodes)].filter((name) => !made.has(name) && !graph.initializers.has(name));
}

/** Whether a value holds numbers for each row. */
function isByRow(value: Tensor, other: Tensor, rows: number, otherRows: number): boolean {
  if (!isNumeric(value) || value.shape[0] !== rows || other.shape[0] !== otherRows) return false;
  return (
    value.shape.length === other.shape.length && value.shape.slice(1).every((size, i) => size === other.shape[i + 1])
  );
}

function producerOf(graph: Graph, value: string): GraphNode {
  const node = graph.nodes.find(({ outputs }) => outputs.includes(value));
  if (node === undefined) {
    throw failedPrecondition(`the part to be trained reads the input "${value}", which is not numbers by row`);
  }
  return node;
}

/** A graph of some of the nodes, with the stored tensors they read. */
function partOf(graph: Graph, nodes: ReadonlySet<GraphNode>): Graph {
  const part = graph.clone();
  part.nodes = part.nodes.filter((_, index) => nodes.has(graph.nodes[index]!));
  part.outputs = [];
  const reads = readsOf(part.nodes);
  for (const name of graph.initializers.keys()) if (!reads.has(name)) part.initializers.delete(name);
  return part;
}

/** The trained part in the form the gradient rules know. */
function raised(suffix: Graph, operatorSets: ReadonlyMap<string, number>, feeds: ReadonlyMap<string, Tensor>) {
  const from = operatorSets.get("") ?? 21;
  const names = suffix.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  const values = from < 21 ? evaluate(suffix, feeds, names, operatorSets) : new Map<string, Tensor>();
  const now = raiseOperatorSet(suffix, from, (name) => values.get(name)!.shape);
  return { graph: suffix, operatorSets: new Map([...operatorSets, ["", now]]) };
}
