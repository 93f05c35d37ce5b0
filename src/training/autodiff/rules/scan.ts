import type { Graph, GraphAttribute } from "../../../onnx/index.js";
import { capturesOf } from "../../../onnx/index.js";
import { internal } from "../../../status.js";
import type { ElementType } from "../../../tensor/index.js";
import { GraphEmitter } from "../../graph-emitter.js";
import type { GradientEmitter, GradientRule, GradientRules, PreparedScan, RuleNode } from "../gradient-rule.js";
import type { ValueInfo } from "../value-info.js";

// The steps run backwards. Each takes the state it came in with, does the forward step again, and sends gradients from
// its results to its inputs; what it reads from around the body collects a gradient in a state of its own.
const scan: GradientRule = (g, n, dYs) => {
  const prepared = g.preparedScan(n.node);
  if (prepared === undefined) throw internal(`${n.node.name} has not been prepared`);
  const forward = shapeOfScan(n, prepared);
  const reverse = new ReverseBody(g, n, forward, prepared, dYs);
  const inputs = [...reverse.stateFeeds, ...reverse.scanFeeds];
  const attributes: Record<string, GraphAttribute> = {
    body: reverse.graph,
    num_scan_inputs: reverse.scanFeeds.length,
    scan_input_directions: reverse.scanDirections,
  };
  if (reverse.resultDirections.length > 0) attributes["scan_output_directions"] = reverse.resultDirections;
  const results = g.ops("Scan", inputs, reverse.stateFeeds.length + reverse.resultDirections.length, attributes);

  const gradients: (string | undefined)[] = n.node.inputs.map(() => undefined);
  forward.floatStates.forEach((state, i) => {
    gradients[state] = results[i]!;
  });
  forward.captured.forEach((value, i) => {
    g.addCapturedGradient(value, results[forward.floatStates.length + i]!);
  });
  reverse.gradedInputs.forEach((input, i) => {
    gradients[forward.states + input] = results[reverse.stateFeeds.length + i]!;
  });
  return gradients;
};

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

/** The body of the Scan that runs backwards, with what is fed to it. */
class ReverseBody {
  readonly graph: Graph;
  /** The outer values that its states start from, and those it scans, in the order of the body's inputs. */
  readonly stateFeeds: string[] = [];
  readonly scanFeeds: string[] = [];
  readonly scanDirections: number[] = [];
  readonly resultDirections: number[] = [];
  /** Forward scan inputs that get a gradient, in the order of the results. */
  readonly gradedInputs: number[] = [];

  constructor(
    g: GradientEmitter,
    n: RuleNode,
    forward: ScanShape,
    { infos, incomingStates }: PreparedScan,
    dYs: readonly (string | undefined)[],
  ) {
    const { body, states, floatStates, captured } = forward;
    const info = (name: string): ValueInfo => infos.get(name)!;
    this.graph = body.clone();
    this.graph.inputs = [];
    this.graph.outputs = [];
    const inner = new GraphEmitter(this.graph);
    const seeds = new Map<string, string>();
    const seed = (value: string, gradient: string) => {
      const known = seeds.get(value);
      seeds.set(value, known === undefined ? gradient : inner.add(known, gradient));
    };
    // States: the gradient of each state as it comes back, then what the captured values have collected so far.
    for (const state of floatStates) {
      seed(body.outputs[state]!.name, this.#input(info(body.inputs[state]!.name)));
      this.stateFeeds.push(dYs[state] ?? g.zerosLike(n.node.inputs[state]!));
    }
    const collected = captured.map((value) => {
      this.stateFeeds.push(g.zerosLike(value));
      return this.#input(g.info(value));
    });
    // Scanned: the states each step came in with, the forward inputs, and the gradients of the forward results.
    body.inputs.forEach(({ name }, index) => {
      const isState = index < states;
      this.graph.inputs.push({ name, dtype: info(name).dtype, shape: openShape(info(name)) });
      this.scanFeeds.push(isState ? incomingStates[index]! : n.node.inputs[index]!);
      this.scanDirections.push(isState ? 1 : 1 - (forward.inputDirections[index - states] ?? 0));
    });
    for (let output = 0; output < forward.scanOutputs; output++) {
      const dY = dYs[states + output];
      if (dY === undefined) continue;
      const name = body.outputs[states + output]!.name;
      seed(name, this.#input(info(name)));
      this.scanFeeds.push(dY);
      this.scanDirections.push(1 - (forward.outputDirections[output] ?? 0));
    }
    for (let input = 0; input < forward.scanInputs; input++) {
      if (n.wants(states + input)) this.gradedInputs.push(input);
    }
    const parameters = [
      ...floatStates.map((state) => body.inputs[state]!.name),
      ...captured,
      ...this.gradedInputs.map((input) => body.inputs[states + input]!.name),
    ];
    const gradients = g.differentiateBody(this.graph, infos, seeds, parameters);
    const result = (name: string) => {
      const gradient = gradients.get(name) ?? inner.sub(name, name);
      this.#output(inner.op("Identity", [gradient]), info(name));
    };
    for (const state of floatStates) result(body.inputs[state]!.name);
    captured.forEach((value, i) => {
      const gradient = gradients.get(value);
      const sum = gradient === undefined ? inner.op("Identity", [collected[i]!]) : inner.add(collected[i]!, gradient);
      this.#output(sum, g.info(value));
    });
    for (const input of this.gradedInputs) {
      result(body.inputs[states + input]!.name);
      this.resultDirections.push(1 - (forward.inputDirections[input] ?? 0));
    }
  }

  #input({ dtype, shape, followsBatch }: { dtype: ElementType } & ValueInfo): string {
    const name = this.graph.fresh("gradient");
    this.graph.inputs.push({ name, dtype, shape: openShape({ dtype, shape, followsBatch }) });
    return name;
  }

  #output(name: string, info: ValueInfo): void {
    this.graph.outputs.push({ name, dtype: info.dtype, shape: openShape(info) });
  }
}

const openShape = ({ shape, followsBatch }: ValueInfo): (number | undefined)[] =>
  shape.map((size, axis) => (followsBatch[axis] ? undefined : size));

export const scanRules: GradientRules = { Scan: scan };
