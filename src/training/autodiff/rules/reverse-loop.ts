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
  readonly #g: GradientEmitter;

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
    this.body.nodes = this.body.nodes
      .toReversed()
      .filter((node) => {
        if (!node.outputs.some((name) => wanted.has(name))) return false;
        for (const name of [...node.inputs, ...capturesOf(node)]) wanted.add(name);
        return true;
      })
      .toReversed();
    this.scanned = this.scanned.filter(({ name }) => wanted.has(name));
    for (const name of this.body.initializers.keys()) if (!wanted.has(name)) this.body.initializers.delete(name);
  }
}

/**
 * What the reverse step needs of the forward step is kept from it instead of computed again: memory for time.
 * `forwardNodes` is how many of the loop's first nodes are the forward step's.
 */
export function keepForwardValues(
  g: GradientEmitter,
  loop: ReverseLoop,
  scan: GraphNode,
  infos: ValueInfos,
  forwardNodes: number,
): void {
  const nodes = loop.body.nodes;
  const forward = nodes.slice(0, forwardNodes);
  // The body of a loop within has been given more outputs here than it has in the forward step.
  if (forward.some((node) => [...node.attributes.values()].some((value) => value instanceof Graph))) return;
  const body = scan.attributes.get("body") as Graph;
  const moving = new Set(body.inputs.map(({ name }) => name));
  const again: GraphNode[] = [];
  const makers = new Set<string>();
  for (const node of forward) {
    if (!node.inputs.some((name) => moving.has(name))) {
      again.push(node);
      continue;
    }
    for (const name of node.outputs) {
      moving.add(name);
      makers.add(name);
    }
  }
  const backward = nodes.slice(forwardNodes);
  const read = [
    ...backward.flatMap(({ inputs }) => inputs),
    ...loop.states.map(({ next }) => next),
    ...loop.results.map(({ value }) => value),
  ];
  const directions = scan.attributes.get("scan_output_directions") as readonly number[] | undefined;
  const kept = [...new Set(read)].filter((name) => makers.has(name));
  for (const name of kept) {
    const info = infos.get(name)!;
    // An output is named once.
    const own = body.outputs.some((output) => output.name === name) ? body.node("Identity", [name])[0]! : name;
    body.output(own);
    const sequence = g.graph.fresh("kept");
    scan.outputs.push(sequence);
    loop.scan(name, info, sequence, 1);
    g.learn(sequence, sequenceOf(g, scan, info));
  }
  if (directions !== undefined) {
    scan.attributes.set("scan_output_directions", [...directions, ...kept.map(() => 0)]);
  }
  loop.body.nodes = [...again, ...backward];
}

/** As many of these as the Scan has steps. */
function sequenceOf(g: GradientEmitter, scan: GraphNode, { dtype, shape, followsBatch }: ValueInfo): ValueInfo {
  const steps = g.info(scan.inputs.at(-1)!);
  return { dtype, shape: [steps.shape[0]!, ...shape], followsBatch: [steps.followsBatch[0]!, ...followsBatch] };
}

/** Something that a value from around the loop collects over all steps, to be written when the loop stands. */
export type Collected = (names: ReadonlyMap<LoopState | LoopResult, string>) => string;

/**
 * How a captured value's gradient, the sum of what each step gives, is had: a matrix that takes part in products gets
 * one large product Σ aᵀ·b of all steps at once; all else is added up in the loop.
 */
export function sumOverSteps(g: GradientEmitter, loop: ReverseLoop, captured: string, gradient: string): Collected[] {
  const makerOf = (value: string) => loop.body.nodes.find(({ outputs }) => outputs.includes(value));
  const maker = makerOf(gradient);
  const parts = maker?.opType === "Sum" ? maker.inputs : [gradient];
  const products = parts.map((part) => productOf(makerOf(part)));
  if (products.every((pair) => pair !== undefined)) {
    const sizes = g.sizes(captured);
    return products.map(([a, b]) => {
      const rows = sequence(loop, a!);
      const columns = sequence(loop, b!);
      return (names) => {
        const flat = (value: string, width: number) => g.reshape(value, [-1, width]);
        return g.op("Gemm", [flat(rows(names), sizes[0]!), flat(columns(names), sizes[1]!)], { transA: 1 });
      };
    });
  }
  const state = loop.state(g.info(captured), g.zerosLike(captured));
  state.next = loop.body.node("Add", [state.input, gradient])[0]!;
  return [(names) => names.get(state)!];
}

/** The operands of aᵀ·b, the gradient of a matrix in a product. */
function productOf(node: GraphNode | undefined): readonly string[] | undefined {
  if (node === undefined || node.opType !== "Gemm" || node.inputs.length !== 2) return undefined;
  const { attributes, inputs } = node;
  const alpha = attributes.get("alpha") as { readonly floats: number } | undefined;
  const plain = (attributes.get("transB") ?? 0) === 0 && (alpha?.floats ?? 1) === 1;
  return plain && attributes.get("transA") === 1 ? inputs : undefined;
}

/** All of a body value, in the order of the forward steps: the sequence it is scanned from, or collected. */
function sequence(loop: ReverseLoop, value: string): Collected {
  const scanned = loop.scanned.find(({ name, direction }) => name === value && direction === 1);
  if (scanned !== undefined) return () => scanned.sequence;
  const result = loop.collect(value, 1);
  return (names) => names.get(result)!;
}

/** Elementwise nodes that wait for no gradient are run once over all steps, and their results scanned. */
export function runAheadOfLoop(g: GradientEmitter, loop: ReverseLoop): void {
  const ahead = new Ahead(g, loop);
  const stay: GraphNode[] = [];
  for (const node of loop.body.nodes) {
    if (!ahead.take(node)) stay.push(ahead.shorten(node, stay));
  }
  loop.body.nodes = stay;
  // Those that only lead to others are pruned.
  loop.scanned.push(...ahead.values.values());
}

class Ahead {
  readonly values = new Map<string, ScannedValue>();
  readonly #g: GradientEmitter;
  readonly #loop: ReverseLoop;

  constructor(g: GradientEmitter, loop: ReverseLoop) {
    this.#g = g;
    this.#loop = loop;
  }

  /** Runs the node ahead, if it can be. */
  take({ opType, inputs, outputs }: GraphNode): boolean {
    const sources = inputs.map((name) => this.#source(name));
    const [first, ...others] = sources.filter((each) => each !== undefined);
    if (first === undefined || !elementwise.has(opType) || !others.every((other) => alike(first, other))) return false;
    if (!inputs.every((name, index) => sources[index] !== undefined || isNumber(this.#loop.body, name))) return false;
    const around = inputs.map((name, index) => {
      if (sources[index] !== undefined) return sources[index].sequence;
      const { dtype, data } = this.#loop.body.initializers.get(name)!;
      return this.#g.scalar(Number(data[0]), dtype);
    });
    this.#add(outputs[0]!, first, this.#g.op(opType, around));
    return true;
  }

  /** (x·s)·t with s and t scanned becomes x·(s·t), where s·t is run ahead. The product x·s stays for others to read. */
  shorten(node: GraphNode, before: readonly GraphNode[]): GraphNode {
    const outer = this.#factors(node);
    const inner = outer && before.find(({ outputs }) => outputs[0] === outer.waiting);
    const factors = inner && this.#factors(inner);
    if (outer === undefined || factors === undefined || !alike(outer.known, factors.known)) return node;
    const product = this.#g.mul(factors.known.sequence, outer.known.sequence);
    const name = this.#add(this.#loop.body.fresh("factor"), outer.known, product);
    return { ...node, inputs: [factors.waiting, name] };
  }

  /** Of a product of which one factor is scanned. */
  #factors({ opType, inputs }: GraphNode): { readonly known: ScannedValue; readonly waiting: string } | undefined {
    if (opType !== "Mul") return undefined;
    const [a, b] = inputs as [string, string];
    const [knownA, knownB] = [this.#source(a), this.#source(b)];
    if ((knownA === undefined) === (knownB === undefined)) return undefined;
    return knownA === undefined ? { known: knownB!, waiting: a } : { known: knownA, waiting: b };
  }

  #source(name: string): ScannedValue | undefined {
    return this.values.get(name) ?? this.#loop.scanned.find((scanned) => scanned.name === name);
  }

  #add(name: string, { info, direction }: ScannedValue, sequence: string): string {
    this.values.set(name, { name, info, direction, sequence });
    return name;
  }
}

// Of the gradient rules' own: results of the operands' type and, but for a single number, of their shape.
const elementwise: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div", "Neg", "Sign", "Exp", "Sqrt"]);

const alike = (a: ScannedValue, b: ScannedValue): boolean =>
  a.direction === b.direction &&
  a.info.dtype === b.info.dtype &&
  a.info.shape.length === b.info.shape.length &&
  a.info.shape.every((size, axis) => size === b.info.shape[axis]);

function isNumber(body: Graph, name: string): boolean {
  const tensor = body.initializers.get(name);
  return tensor !== undefined && tensor.shape.length === 0;
}
