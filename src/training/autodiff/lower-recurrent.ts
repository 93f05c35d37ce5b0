// RNN, GRU and LSTM as loops over their steps. The fused operators have no gradient; a Scan has, whatever is in it.
//
// Within the loop a row is a column: states and gates are [H, N], and a step computes R·h instead of h·Rᵀ. The runtime
// copies a product's right operand into its own order each time; here that is the state, not the larger matrix. For 32
// rows of 128 units the product then takes three quarters of the time. Below 8 rows it takes a little more.
import { capturesOf, Graph, type GraphAttribute, type GraphNode } from "../../onnx/index.js";
import { failedPrecondition } from "../../status.js";
import type { ElementType } from "../../tensor/index.js";
import { GraphEmitter } from "../graph-emitter.js";
import { describeNode } from "./gradient-rule.js";

/**
 * Replaces the recurrent nodes that pass the test by Scans with the same results, as far as a node reads them or they
 * are the graph's outputs; other nodes stay as fast as they are.
 * Throws FAILED_PRECONDITION for variants that have no such form here.
 */
export function lowerRecurrent(graph: Graph, wanted: (node: GraphNode) => boolean = () => true): void {
  const nodes = graph.nodes;
  const read = new Set(nodes.flatMap((node) => [...node.inputs, ...capturesOf(node)]));
  for (const { name } of graph.outputs) read.add(name);
  graph.nodes = [];
  const emitter = new GraphEmitter(graph);
  for (const node of nodes) {
    const cell = node.domain === "" ? cells[node.opType] : undefined;
    if (cell === undefined || !wanted(node)) graph.nodes.push(node);
    else lower(emitter, { ...node, outputs: node.outputs.map((name) => (read.has(name) ? name : "")) }, cell);
  }
}

/** One step, written into the body: from the input's share [gates·H, N] and the states to the new states, h first. */
interface Cell {
  readonly gates: number;
  readonly states: number;
  readonly activations: readonly string[];
  step(body: GraphEmitter, layer: Layer, fromInput: string, states: readonly string[]): readonly string[];
}

/** One direction of a recurrent node. */
interface Layer {
  readonly size: number;
  /** R [gates·H, H], in the graph around the body; or some of its rows. */
  readonly recurrent: (from?: number, to?: number) => string;
  /** The recurrent bias of the last gate [H, 1], where it must be added to the state's share alone. */
  readonly lateBias: string | undefined;
  /** Each [H, 1]. */
  readonly peepholes: readonly string[] | undefined;
  readonly linearBeforeReset: boolean;
  readonly activate: (body: GraphEmitter, index: number, value: string) => string;
}

const cells: Readonly<Record<string, Cell>> = {
  RNN: {
    gates: 1,
    states: 1,
    activations: ["Tanh"],
    step: (body, layer, fromInput, [h]) => [layer.activate(body, 0, recur(body, h!, layer.recurrent(), fromInput))],
  },
  // Gates z, r, h.
  GRU: { gates: 3, states: 1, activations: ["Sigmoid", "Tanh"], step: stepGru },
  // Gates i, o, f, c.
  LSTM: { gates: 4, states: 2, activations: ["Sigmoid", "Tanh", "Tanh"], step: stepLstm },
};

/** R·h, plus the input's share. */
function recur(body: GraphEmitter, h: string, r: string, fromInput?: string): string {
  return body.op("Gemm", fromInput === undefined ? [r, h] : [r, h, fromInput]);
}

function stepGru(body: GraphEmitter, layer: Layer, fromInput: string, [h]: readonly string[]): readonly string[] {
  const { size, recurrent, lateBias } = layer;
  const [inputGates, inputCandidate] = body.split(fromInput, [2 * size, size], 0);
  let gates: string;
  let candidate: string;
  if (layer.linearBeforeReset) {
    const [forGates, forCandidate] = body.split(recur(body, h!, recurrent()), [2 * size, size], 0);
    gates = layer.activate(body, 0, body.add(inputGates!, forGates!));
    const biased = lateBias === undefined ? forCandidate! : body.add(forCandidate!, lateBias);
    const [, reset] = body.split(gates, [size, size], 0);
    candidate = body.mul(reset!, biased);
  } else {
    gates = layer.activate(body, 0, recur(body, h!, recurrent(0, 2 * size), inputGates!));
    const [, reset] = body.split(gates, [size, size], 0);
    candidate = recur(body, body.mul(reset!, h!), recurrent(2 * size, 3 * size));
  }
  const [update] = body.split(gates, [size, size], 0);
  const proposed = layer.activate(body, 1, body.add(inputCandidate!, candidate));
  // (1 - z)·h' + z·h
  return [body.add(proposed, body.mul(update!, body.sub(h!, proposed)))];
}

function stepLstm(body: GraphEmitter, layer: Layer, fromInput: string, [h, c]: readonly string[]): readonly string[] {
  const { size, recurrent, peepholes } = layer;
  const gates = recur(body, h!, recurrent(), fromInput);
  const [i, o, f, g] = body.split(gates, [size, size, size, size], 0);
  const peep = (gate: string, weight: number, cell: string) =>
    peepholes === undefined ? gate : body.add(gate, body.mul(peepholes[weight]!, cell));
  const input = layer.activate(body, 0, peep(i!, 0, c!));
  const forget = layer.activate(body, 0, peep(f!, 2, c!));
  const cell = body.add(body.mul(forget, c!), body.mul(input, layer.activate(body, 1, g!)));
  const output = layer.activate(body, 0, peep(o!, 1, cell));
  return [body.mul(output, layer.activate(body, 2, cell)), cell];
}

function lower(g: GraphEmitter, node: GraphNode, cell: Cell): void {
  refuseVariants(node);
  const direction = (node.attributes.get("direction") as string | undefined) ?? "forward";
  const reversed = direction === "bidirectional" ? [false, true] : [direction === "reverse"];
  // By direction: all steps' outputs [T, N, H], then the last states [N, H].
  const results = reversed.map((backwards, index) => lowerDirection(g, node, cell, backwards, index, reversed.length));
  for (let output = 0; output <= cell.states; output++) {
    const name = node.outputs[output] ?? "";
    if (name === "") continue;
    const axis = output === 0 ? 1 : 0;
    const parts = results.map((values) => g.unsqueeze(values[output]!, [axis]));
    g.graph.node(parts.length === 1 ? "Identity" : "Concat", parts, parts.length === 1 ? {} : { axis }, {
      outputs: [name],
    });
  }
}

function refuseVariants(node: GraphNode): void {
  const { attributes, inputs } = node;
  const refuse = (what: string) => failedPrecondition(`cannot train through ${describeNode(node)}: it has ${what}`);
  if ((inputs[4] ?? "") !== "") throw refuse("sequence lengths");
  if (attributes.has("clip")) throw refuse("a clip");
  if ((attributes.get("input_forget") ?? 0) !== 0) throw refuse("input_forget");
  if ((attributes.get("layout") ?? 0) !== 0) throw refuse("layout 1");
}

function lowerDirection(
  g: GraphEmitter,
  node: GraphNode,
  cell: Cell,
  backwards: boolean,
  index: number,
  directions: number,
): readonly string[] {
  const [x, w, r, b, , , , p] = node.inputs;
  const dtype = dtypeOf(g.graph, w!);
  const size = node.attributes.get("hidden_size") as number;
  const width = cell.gates * size;
  const own = (value: string) => g.squeeze(directions === 1 ? value : g.slice(value, [index], [index + 1], [0]), [0]);
  const linearBeforeReset = (node.attributes.get("linear_before_reset") ?? 0) !== 0;

  let bias: string | undefined;
  let lateBias: string | undefined;
  if (b !== undefined && b !== "") {
    const [input, recurrent] = g.split(g.reshape(own(b), [-1, 1]), [width, width], 0);
    if (linearBeforeReset) {
      // The candidate's recurrent bias is under the reset gate.
      const [early, late] = g.split(recurrent!, [width - size, size], 0);
      const [inputEarly, inputLate] = g.split(input!, [width - size, size], 0);
      lateBias = late;
      bias = g.concat([g.add(inputEarly!, early!), inputLate!], 0);
    } else {
      bias = g.add(input!, recurrent!);
    }
  }
  const [weight, recurrent] = [own(w!), own(r!)];
  const layer: Layer = {
    size,
    recurrent: (from, to) => (from === undefined ? recurrent : g.slice(recurrent, [from], [to!], [0])),
    lateBias,
    peepholes: p === undefined || p === "" ? undefined : g.split(g.reshape(own(p), [-1, 1]), [size, size, size], 0),
    linearBeforeReset,
    activate: activations(node, cell, index),
  };
  const initial = Array.from({ length: cell.states }, (_, state) => {
    const given = node.inputs[5 + state] ?? "";
    return given !== "" ? g.transpose(own(given), [1, 0]) : zeroState(g, x!, size, dtype);
  });
  const ofSteps = (node.outputs[0] ?? "") !== "";

  const graph = new Graph(g.graph);
  const body = new GraphEmitter(graph);
  const states = initial.map(() => graph.input(graph.fresh("state"), dtype, [size, undefined]));
  const row = graph.input(graph.fresh("step"), dtype, [undefined, undefined]);
  // Within the loop: the shares of all steps, written first and read again later, do not stay in the caches.
  const fromInput = body.op("Gemm", bias === undefined ? [weight, row] : [weight, row, bias], { transB: 1 });
  const next = cell.step(body, layer, fromInput, states);
  for (const state of next) graph.output(state, dtype, [size, undefined]);
  if (ofSteps) graph.output(body.transpose(next[0]!, [1, 0]), dtype, [undefined, size]);

  const attributes: Record<string, GraphAttribute> = { body: graph, num_scan_inputs: 1 };
  if (backwards) attributes["scan_input_directions"] = [1];
  if (backwards && ofSteps) attributes["scan_output_directions"] = [1];
  const results = g.ops("Scan", [...initial, x!], cell.states + Number(ofSteps), attributes);
  const last = results.slice(0, cell.states).map((state) => g.transpose(state, [1, 0]));
  return [ofSteps ? results.at(-1)! : "", ...last];
}

function zeroState(g: GraphEmitter, x: string, size: number, dtype: ElementType): string {
  const rows = g.slice(g.op("Shape", [x]), [1], [2], [0]);
  return g.filled(g.concat([g.ints([size]), rows], 0), 0, dtype);
}

function activations(node: GraphNode, cell: Cell, direction: number): Layer["activate"] {
  const given = node.attributes.get("activations") as readonly string[] | undefined;
  const count = cell.activations.length;
  const names = given === undefined ? cell.activations : given.slice(direction * count, (direction + 1) * count);
  const operators = names.map((name) => {
    const operator = ["Sigmoid", "Tanh", "Relu"].find((known) => known.toLowerCase() === name.toLowerCase());
    if (operator === undefined) {
      throw failedPrecondition(`cannot train through ${describeNode(node)}: its activation is ${name}`);
    }
    return operator;
  });
  return (body, index, value) => body.op(operators[index]!, [value]);
}

function dtypeOf(graph: Graph, value: string): ElementType {
  const declared = graph.inputs.find(({ name }) => name === value)?.dtype;
  return graph.initializers.get(value)?.dtype ?? declared ?? "float32";
}
