import { capturesOf, type Graph, type GraphNode } from "../../../onnx/index.js";
import { internal } from "../../../status.js";
import { GraphEmitter } from "../../graph-emitter.js";
import { type GradientRule, type GradientRules, type PreparedScan, type RuleNode, range } from "../gradient-rule.js";
import type { ValueInfo } from "../value-info.js";
import { keepForwardValues, ReverseLoop, sumOverSteps, turnAheadOfLoop } from "./reverse-loop.js";

// The steps run backwards. Each takes what it needs of the forward step, and sends gradients from its results to its
// inputs; what it reads from around the body collects a gradient over all steps.
const scan: GradientRule = (g, n, dYs) => {
  const prepared = g.preparedScan(n.node);
  if (prepared === undefined) throw internal(`${n.node.name} has not been prepared`);
  const forward = shapeOfScan(n, prepared);
  const { infos, incomingStates } = prepared;
  const { body, states, floatStates, captured } = forward;
  const info = (name: string): ValueInfo => infos.get(name)!;
  const loop = new ReverseLoop(g, body.clone());
  const inner = new GraphEmitter(loop.body);
  const seeds = new Map<string, string>();
  const seed = (value: string, gradient: string) => {
    const known = seeds.get(value);
    seeds.set(value, known === undefined ? gradient : inner.add(known, gradient));
  };
  // Carried: the gradient of each state. Scanned: the states each step came in with, the forward inputs, and the
  // gradients of the forward results.
  const carried = floatStates.map((state) => {
    const own = loop.state(info(body.inputs[state]!.name), dYs[state] ?? g.zerosLike(n.node.inputs[state]!));
    seed(body.outputs[state]!.name, own.input);
    return own;
  });
  const isBackwards = (scanned: number) => forward.inputDirections[scanned] ?? 0;
  body.inputs.forEach(({ name }, index) => {
    if (index < states) loop.scan(name, info(name), incomingStates[index]!, 1);
    else loop.scan(name, info(name), n.node.inputs[index]!, 1 - isBackwards(index - states));
  });
  for (let output = 0; output < forward.scanOutputs; output++) {
    const dY = dYs[states + output];
    if (dY === undefined) continue;
    const { name } = body.outputs[states + output]!;
    const direction = 1 - (forward.outputDirections[output] ?? 0);
    seed(name, loop.scan(loop.body.fresh("gradient"), info(name), dY, direction));
  }
  const forwardNodes = body.nodes.length;
  const graded = range(forward.scanInputs).filter((input) => n.wants(states + input));
  const stateNames = floatStates.map((state) => body.inputs[state]!.name);
  const inputNames = graded.map((input) => body.inputs[states + input]!.name);
  const gradients = g.differentiateBody(loop.body, infos, seeds, [...stateNames, ...captured, ...inputNames]);
  const gradientOf = (name: string) => gradients.get(name) ?? inner.sub(name, name);
  carried.forEach((state, i) => {
    state.next = gradientOf(stateNames[i]!);
  });
  const collected = graded.map((input, i) => loop.collect(gradientOf(inputNames[i]!), 1 - isBackwards(input)));
  const ofCaptured = captured.map(gradientOf);
  keepForwardValues(g, loop, n.node, infos, forwardNodes, ofCaptured);
  const sums = captured.map((value, i) => sumOverSteps(g, loop, value, ofCaptured[i]!));
  turnAheadOfLoop(g, loop);
  const names = loop.run();

  const result: (string | undefined)[] = n.node.inputs.map(() => undefined);
  floatStates.forEach((state, i) => {
    result[state] = names.get(carried[i]!);
  });
  graded.forEach((input, i) => {
    result[states + input] = names.get(collected[i]!);
  });
  captured.forEach((value, i) => {
    for (const sum of sums[i]!) g.addCapturedGradient(value, sum(names));
  });
  dropUnread(g.graph, n.node, incomingStates);
  return result;
};

/** Takes results that nothing reads from a Scan: each would be written at every step. */
function dropUnread(graph: Graph, scan: GraphNode, results: readonly string[]): void {
  const read = new Set(graph.nodes.flatMap((node) => [...node.inputs, ...capturesOf(node)]));
  const body = scan.attributes.get("body") as Graph;
  const states = scan.inputs.length - (scan.attributes.get("num_scan_inputs") as number);
  for (const result of results) {
    if (read.has(result)) continue;
    const index = scan.outputs.indexOf(result);
    scan.outputs.splice(index, 1);
    body.outputs.splice(index, 1);
    const directions = scan.attributes.get("scan_output_directions") as readonly number[] | undefined;
    if (directions !== undefined) {
      scan.attributes.set("scan_output_directions", directions.toSpliced(index - states, 1));
    }
  }
}

interface ScanShape {
  readonly body: Graph;
  readonly states: number;
  readonly scanInputs: number;
  readonly scanOutputs: number;
  /** States that carry a gradient: a counter does not. */
  readonly floatStates: readonly number[];
  /** Values read from around the body that want a gradient. */
  readonly captured: readonly string[];
  readonly inputDirections: readonly number[];
  readonly outputDirections: readonly number[];
}

function shapeOfScan(n: RuleNode, { incomingStates, infos }: PreparedScan): ScanShape {
  const body = n.node.attributes.get("body") as Graph;
  const scanInputs = n.int("num_scan_inputs", 0);
  const states = n.node.inputs.length - scanInputs;
  const scanOutputs = n.node.outputs.length - states - incomingStates.length;
  const isFloat = (name: string) => infos.get(name)!.dtype.startsWith("float");
  return {
    body,
    states,
    scanInputs,
    scanOutputs,
    floatStates: body.inputs.slice(0, states).flatMap(({ name }, index) => (isFloat(name) ? [index] : [])),
    captured: capturesOf(n.node).filter((value) => n.wantsValue(value)),
    inputDirections: n.ints("scan_input_directions") ?? [],
    outputDirections: n.ints("scan_output_directions") ?? [],
  };
}

export const scanRules: GradientRules = { Scan: scan };
