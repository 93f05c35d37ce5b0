// The loop that carries gradients back through a Scan, before it becomes a Scan itself. As it is first written, each
// step does the forward step again and adds up what the weights collect. Three passes then take out of the loop what
// needs no loop: a step over small matrices costs less than the operators that are called in it.
import { capturesOf, Graph, type GraphNode } from "../../../onnx/index.js";
import type { GradientEmitter } from "../gradient-rule.js";
import type { ValueInfo, ValueInfos } from "../value-info.js";

/** Carried from step to step: starts as a value from around the loop, and leaves each step as a value of the body. */
interface LoopState {
  readonly input: string;
  readonly info: ValueInfo;
  readonly start: string;
  next: string;
}

/** One element a step, of a sequence from around the loop. */
interface ScannedValue {
  readonly name: string;
  readonly info: ValueInfo;
  readonly sequence: string;
  /** 1: from the sequence's end. The forward steps are then in its order. */
  readonly direction: number;
}

/** A value of the body, collected over the steps. */
interface LoopResult {
  readonly value: string;
  readonly direction: number;
}

export class ReverseLoop {
  /** Its inputs and outputs are declared by run(). */
  readonly body: Graph;
  states: LoopState[] = [];
  scanned: ScannedValue[] = [];
  readonly results: LoopResult[] = [];
  /** The step it goes back over, where that can be given more to do. */
  forward: ForwardStep | undefined;
  readonly #g: GradientEmitter;
  readonly #turned = new Map<string, string>();

  constructor(g: GradientEmitter, body: Graph) {
    this.#g = g;
    this.body = body;
    body.inputs = [];
    body.outputs = [];
  }

  state(info: ValueInfo, start: string): LoopState {
    const state = { input: this.body.fresh("gradient"), info, start, next: "" };
    this.states.push(state);
    return state;
  }

  scan(name: string, info: ValueInfo, sequence: string, direction: number): string {
    this.scanned.push({ name, info, sequence, direction });
    return name;
  }

  /** Collects a value of the body; the same one in the same order is collected once. */
  collect(value: string, direction: number): LoopResult {
    const known = this.results.find((result) => result.value === value && result.direction === direction);
    if (known !== undefined) return known;
    const result = { value, direction };
    this.results.push(result);
    return result;
  }

  /** A matrix of the body turned around, as it is collected for a product. */
  turned(value: string): string {
    let name = this.#turned.get(value);
    if (name === undefined) {
      name = this.body.node("Transpose", [value], { perm: [1, 0] })[0]!;
      this.#turned.set(value, name);
    }
    return name;
  }

  /** Writes the Scan, and returns the name around it of each state's end and of each result. */
  run(): Map<LoopState | LoopResult, string> {
    const { body, states, results } = this;
    this.#prune();
    const declare = (name: string, { dtype, shape, followsBatch }: ValueInfo) =>
      body.inputs.push({ name, dtype, shape: shape.map((size, axis) => (followsBatch[axis] ? undefined : size)) });
    for (const { input, info } of states) declare(input, info);
    for (const { name, info } of this.scanned) declare(name, info);
    const made = new Set(body.nodes.flatMap(({ outputs }) => outputs));
    const output = (value: string) => {
      // An output is a node's, and is named once.
      const own = made.delete(value) ? value : body.node("Identity", [value])[0]!;
      body.output(own);
    };
    for (const { next } of states) output(next);
    for (const { value } of results) output(value);
    const attributes = {
      body,
      num_scan_inputs: this.scanned.length,
      scan_input_directions: this.scanned.map(({ direction }) => direction),
      ...(results.length > 0 ? { scan_output_directions: results.map(({ direction }) => direction) } : {}),
    };
    const inputs = [...states.map(({ start }) => start), ...this.scanned.map(({ sequence }) => sequence)];
    const names = this.#g.ops("Scan", inputs, states.length + results.length, attributes);
    return new Map([...states, ...results].map((each, index) => [each, names[index]!]));
  }

  /** Nodes that nothing reads, and what only they read. */
  #prune(): void {
    const wanted = new Set([...this.states.map(({ next }) => next), ...this.results.map(({ value }) => value)]);
    this.body.nodes = nodesFor(wanted, this.body.nodes);
    this.scanned = this.scanned.filter(({ name }) => wanted.has(name));
    for (const name of this.body.initializers.keys()) if (!wanted.has(name)) this.body.initializers.delete(name);
  }
}

/**
 * What the reverse step needs of the forward step is kept from it instead of computed again: memory for time. Elementwise
 * nodes that wait for no gradient, such as the derivatives of activations, are moved to the forward step and their
 * results kept: there the operands are still in the caches.
 * `forwardNodes` is how many of the loop's first nodes are the forward step's, `ends` what is read of it besides its
 * states and results.
 */
export function keepForwardValues(
  g: GradientEmitter,
  loop: ReverseLoop,
  scan: GraphNode,
  infos: ValueInfos,
  forwardNodes: number,
  ends: readonly string[],
): void {
  const nodes = loop.body.nodes;
  const forward = nodes.slice(0, forwardNodes);
  // The body of a loop within has been given more outputs here than it has in the forward step.
  if (forward.some((node) => [...node.attributes.values()].some((value) => value instanceof Graph))) return;
  const step = new ForwardStep(g, scan, loop.body, infos);
  const again = forward.filter((node) => !step.makes(node));
  const backward: GraphNode[] = [];
  for (const node of nodes.slice(forwardNodes)) {
    if (!step.take(node)) backward.push(step.shorten(node, backward));
  }
  const wanted = new Set([...ends, ...loop.states.map(({ next }) => next), ...loop.results.map(({ value }) => value)]);
  loop.body.nodes = [...again, ...nodesFor(wanted, backward)];
  for (const [name, info] of step.made) if (wanted.has(name)) loop.scan(name, info, step.keep(name, info), 1);
  loop.forward = step;
}

/** The nodes that lead to what is wanted; what they read is then wanted too. */
function nodesFor(wanted: Set<string>, nodes: readonly GraphNode[]): GraphNode[] {
  return nodes
    .toReversed()
    .filter((node) => {
      if (!node.outputs.some((name) => wanted.has(name))) return false;
      for (const name of [...node.inputs, ...capturesOf(node)]) wanted.add(name);
      return true;
    })
    .toReversed();
}

/** The forward step, which gets more to do and to give. */
class ForwardStep {
  /** What it computes from its inputs. */
  readonly made = new Map<string, ValueInfo>();
  readonly #g: GradientEmitter;
  readonly #scan: GraphNode;
  readonly #body: Graph;
  readonly #reverse: Graph;
  readonly #infos: ValueInfos;
  readonly #inputs: ReadonlySet<string>;
  readonly #keptTurned = new Map<string, string>();

  constructor(g: GradientEmitter, scan: GraphNode, reverse: Graph, infos: ValueInfos) {
    this.#g = g;
    this.#scan = scan;
    this.#body = scan.attributes.get("body") as Graph;
    this.#reverse = reverse;
    this.#infos = infos;
    this.#inputs = new Set(this.#body.inputs.map(({ name }) => name));
  }

  /** Collects a value of the step, and returns the sequence's name around it. */
  keep(name: string, { dtype, shape, followsBatch }: ValueInfo): string {
    const body = this.#body;
    // An output is named once.
    body.output(body.outputs.some((output) => output.name === name) ? body.node("Identity", [name])[0]! : name);
    const sequence = this.#g.graph.fresh("kept");
    this.#scan.outputs.push(sequence);
    const directions = this.#scan.attributes.get("scan_output_directions") as readonly number[] | undefined;
    if (directions !== undefined) this.#scan.attributes.set("scan_output_directions", [...directions, 0]);
    // As many as the Scan has steps.
    const steps = this.#g.info(this.#scan.inputs.at(-1)!);
    this.#g.learn(sequence, {
      dtype,
      shape: [steps.shape[0]!, ...shape],
      followsBatch: [steps.followsBatch[0]!, ...followsBatch],
    });
    return sequence;
  }

  /** The same of a matrix, each turned around; undefined where it is none of the step's. */
  keepTurned(name: string): string | undefined {
    const info = this.#known(name);
    if (info === undefined) return undefined;
    let sequence = this.#keptTurned.get(name);
    if (sequence === undefined) {
      const [turned] = this.#body.node("Transpose", [name], { perm: [1, 0] });
      const { dtype, shape, followsBatch } = info;
      sequence = this.keep(turned!, { dtype, shape: shape.toReversed(), followsBatch: followsBatch.toReversed() });
      this.#keptTurned.set(name, sequence);
    }
    return sequence;
  }

  /** Whether the node's results change from step to step. */
  makes({ inputs, outputs }: GraphNode): boolean {
    const moving = inputs.some((name) => this.#inputs.has(name) || this.made.has(name));
    if (moving) for (const name of outputs) if (name !== "") this.made.set(name, this.#infos.get(name)!);
    return moving;
  }

  /** Moves a node of the reverse step here, if it can be. */
  take(node: GraphNode): boolean {
    const { opType, inputs, outputs } = node;
    const [first, ...others] = inputs.map((name) => this.#known(name)).filter((info) => info !== undefined);
    if (first === undefined || !elementwise.has(opType) || !others.every((other) => alike(first, other))) return false;
    const numbers = inputs.filter((name) => this.#known(name) === undefined);
    if (!numbers.every((name) => isNumber(this.#reverse, name))) return false;
    for (const name of numbers) this.#body.initializers.set(name, this.#reverse.initializers.get(name)!);
    this.#body.nodes.push(node);
    this.made.set(outputs[0]!, first);
    return true;
  }

  /** (x·s)·t with s and t known here becomes x·(s·t). The product x·s stays for others to read. */
  shorten(node: GraphNode, before: readonly GraphNode[]): GraphNode {
    const outer = this.#factors(node);
    const inner = outer && before.find(({ outputs }) => outputs[0] === outer.waiting);
    const factors = inner && this.#factors(inner);
    if (outer === undefined || factors === undefined) return node;
    const info = this.#known(factors.known)!;
    if (!alike(this.#known(outer.known)!, info)) return node;
    return { ...node, inputs: [factors.waiting, this.#product(factors.known, outer.known, info)] };
  }

  /** The product, which a gate's derivative shares with the step itself: (dh·tanh c)·o is dh·h. */
  #product(a: string, b: string, info: ValueInfo): string {
    const known = this.#body.nodes.find(
      ({ opType, inputs: [c, d] }) => opType === "Mul" && ((c === a && d === b) || (c === b && d === a)),
    );
    if (known !== undefined) return known.outputs[0]!;
    const product = this.#body.node("Mul", [a, b])[0]!;
    this.made.set(product, info);
    return product;
  }

  /** Of a product of which one factor is known here. */
  #factors({ opType, inputs }: GraphNode): { readonly known: string; readonly waiting: string } | undefined {
    if (opType !== "Mul") return undefined;
    const [a, b] = inputs as [string, string];
    const [knownA, knownB] = [this.#known(a) !== undefined, this.#known(b) !== undefined];
    if (knownA === knownB) return undefined;
    return knownA ? { known: a, waiting: b } : { known: b, waiting: a };
  }

  #known(name: string): ValueInfo | undefined {
    return this.#inputs.has(name) ? this.#infos.get(name) : this.made.get(name);
  }
}

/** Something that a value from around the loop collects over all steps, to be written when the loop stands. */
export type Collected = (names: ReadonlyMap<LoopState | LoopResult, string>) => string;

/**
 * How a captured value's gradient, the sum of what each step gives, is had: a matrix that takes part in products gets
 * one large product Σ a·b of all steps at once, and what is added to rows or columns one sum; all else is added up in
 * the loop.
 */
export function sumOverSteps(g: GradientEmitter, loop: ReverseLoop, captured: string, gradient: string): Collected[] {
  const makerOf = (value: string) => loop.body.nodes.find(({ outputs }) => outputs.includes(value));
  const maker = makerOf(gradient);
  const parts = maker?.opType === "Sum" ? maker.inputs : [gradient];
  const sums = parts.map((part) => sumAfterLoop(g, loop, captured, makerOf(part)));
  if (sums.every((sum) => sum !== undefined)) return sums.map((sum) => sum!());
  const state = loop.state(g.info(captured), g.zerosLike(captured));
  state.next = loop.body.node("Add", [state.input, gradient])[0]!;
  return [(names) => names.get(state)!];
}

/** What collects the step's values for a sum after the loop, where there is one. */
function sumAfterLoop(
  g: GradientEmitter,
  loop: ReverseLoop,
  captured: string,
  node: GraphNode | undefined,
): (() => Collected) | undefined {
  const { shape } = g.info(captured);
  if (node === undefined || shape.length !== 2) return undefined;
  const { opType, attributes, inputs } = node;
  const flag = (name: string) => (attributes.get(name) ?? 0) === 1;
  const flat = (value: string, width: number) => g.reshape(value, [-1, width]);
  if (opType === "Gemm") {
    const alpha = attributes.get("alpha") as { readonly floats: number } | undefined;
    if (inputs.length !== 2 || (alpha?.floats ?? 1) !== 1) return undefined;
    const [rows, columns] = g.sizes(captured);
    // Steps lie behind each other along the axis that the product sums over: it must be the first of either operand.
    return () => {
      const a = sequence(g, loop, inputs[0]!, !flag("transA"));
      const b = sequence(g, loop, inputs[1]!, flag("transB"));
      return (names) => g.op("Gemm", [flat(a(names), rows!), flat(b(names), columns!)], { transA: 1 });
    };
  }
  if (opType === "ReduceSum" && isSumAlong(loop.body, node, 1)) {
    return () => {
      const all = sequence(g, loop, inputs[0]!, true);
      return (names) => g.reshape(g.sum(all(names), [0, 1], false), [-1, 1]);
    };
  }
  return undefined;
}

/** Whether a node sums along one axis, and leaves it with one element. */
function isSumAlong(body: Graph, { inputs, attributes }: GraphNode, axis: number): boolean {
  const axes = body.initializers.get(inputs[1] ?? "")?.data;
  return (attributes.get("keepdims") ?? 1) === 1 && axes?.length === 1 && Number(axes[0]) === axis;
}

/** All of a body value, in the order of the forward steps: the sequence it is scanned from, or collected. */
function sequence(g: GradientEmitter, loop: ReverseLoop, value: string, turned: boolean): Collected {
  const scanned = loop.scanned.find(({ name, direction }) => name === value && direction === 1);
  if (scanned !== undefined) {
    if (!turned) return () => scanned.sequence;
    const kept = loop.forward?.keepTurned(value);
    return () => kept ?? g.transpose(scanned.sequence, [0, 2, 1]);
  }
  const result = loop.collect(turned ? loop.turned(value) : value, 1);
  return (names) => names.get(result)!;
}

/** A matrix from around the loop that the steps read turned around is turned once, ahead of it. */
export function turnAheadOfLoop(g: GradientEmitter, loop: ReverseLoop): void {
  const own = new Set([...loop.body.initializers.keys(), ...loop.body.nodes.flatMap(({ outputs }) => outputs)]);
  for (const { name } of loop.scanned) own.add(name);
  for (const { input } of loop.states) own.add(input);
  for (const { opType, inputs, attributes } of loop.body.nodes) {
    if (opType !== "Gemm" || attributes.get("transA") !== 1 || own.has(inputs[0]!)) continue;
    inputs[0] = g.transpose(inputs[0]!, [1, 0]);
    attributes.set("transA", 0);
  }
}

// Of the gradient rules' own: results of the operands' type and, but for a single number, of their shape.
const elementwise: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div", "Neg", "Sign", "Exp", "Sqrt"]);

const alike = (a: ValueInfo, b: ValueInfo): boolean =>
  a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((size, axis) => size === b.shape[axis]);

function isNumber(body: Graph, name: string): boolean {
  const tensor = body.initializers.get(name);
  return tensor !== undefined && tensor.shape.length === 0;
}
