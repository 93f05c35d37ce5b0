// What a gradient rule is written with: a view of the node, an emitter that knows the forward values' shapes, and the
// two forms a rule has.

import type { Graph, GraphNode } from "../../onnx/index.js";
import { failedPrecondition, internal, type StatusError } from "../../status.js";
import { type ElementType, isNumeric, type Tensor } from "../../tensor/index.js";
import { GraphEmitter } from "../graph-emitter.js";
import { isStatic, type ValueInfo, type ValueInfos } from "./value-info.js";

/** Gradients of a node's inputs, in their order; undefined for those that want none. */
export type Gradients = readonly (string | undefined)[];

/** Writes the gradients of a node's inputs, given those of its outputs (undefined: that output is not used). */
export type GradientRule = (g: GradientEmitter, n: RuleNode, dYs: Gradients) => Gradients;

/** By operator of ONNX's own set. */
export type GradientRules = Readonly<Record<string, GradientRule>>;

/** A rule for operators of which only the first output carries a gradient. */
export type SingleRule = (g: GradientEmitter, n: RuleNode, dY: string) => Gradients;

export function singleRules(rules: Readonly<Record<string, SingleRule>>): GradientRules {
  return Object.fromEntries(Object.entries(rules).map(([opType, rule]) => [opType, firstOutputOnly(rule)]));
}

function firstOutputOnly(rule: SingleRule): GradientRule {
  return (g, n, dYs) => {
    const other = dYs.findIndex((dY, index) => index > 0 && dY !== undefined);
    if (other > 0) throw n.refuse(`no gradient flows through its output ${other}`);
    return rule(g, n, dYs[0]!);
  };
}

/** The common case: one input, one output, a formula between them. */
export const unary =
  (formula: (g: GradientEmitter, dY: string, x: string, y: string, n: RuleNode) => string): SingleRule =>
  (g, n, dY) => [formula(g, dY, n.x(0), n.y(), n)];

/** A node as its rule sees it. */
export class RuleNode {
  readonly node: GraphNode;
  readonly #infos: ValueInfos;
  readonly #wanted: (value: string) => boolean;

  constructor(node: GraphNode, infos: ValueInfos, wanted: (value: string) => boolean) {
    this.node = node;
    this.#infos = infos;
    this.#wanted = wanted;
  }

  /** The name of an input; "" where it is left out. */
  x(index: number): string {
    return this.node.inputs[index] ?? "";
  }
  y(index = 0): string {
    return this.node.outputs[index] ?? "";
  }
  has(index: number): boolean {
    return this.x(index) !== "";
  }
  /** Whether the input's gradient is asked for. */
  wants(index: number): boolean {
    return this.has(index) && this.#wanted(this.x(index));
  }
  wantsValue(name: string): boolean {
    return this.#wanted(name);
  }

  int(name: string, missing: number): number {
    const value = this.node.attributes.get(name);
    return typeof value === "number" ? value : missing;
  }
  float(name: string, missing: number): number {
    const value = this.node.attributes.get(name);
    return typeof value === "object" && "floats" in value && typeof value.floats === "number" ? value.floats : missing;
  }
  text(name: string, missing: string): string {
    const value = this.node.attributes.get(name);
    return typeof value === "string" ? value : missing;
  }
  ints(name: string): readonly number[] | undefined {
    const value = this.node.attributes.get(name);
    return Array.isArray(value) ? (value as readonly number[]) : undefined;
  }

  /** An input that must be known before any run, such as the axes of a reduction; undefined where it is left out. */
  constantInts(index: number): readonly number[] | undefined {
    if (!this.has(index)) return undefined;
    const tensor = this.#constant(index);
    return Array.from(tensor.data as BigInt64Array | Int32Array, Number);
  }
  constantFloats(index: number): readonly number[] | undefined {
    return this.has(index) ? Array.from(this.#constant(index).data as Float32Array) : undefined;
  }
  constantNumber(index: number): number | undefined {
    if (!this.has(index)) return undefined;
    const tensor = this.#constant(index);
    if (tensor.data.length !== 1) throw this.refuse(`its input "${this.x(index)}" must be a single number`);
    return Number(tensor.data[0]);
  }
  /** The number, when the input is a single constant one. */
  knownNumber(index: number): number | undefined {
    const tensor = this.#infos.get(this.x(index))?.known;
    return tensor?.data.length === 1 ? Number(tensor.data[0]) : undefined;
  }

  refuse(why: string): StatusError {
    return failedPrecondition(`cannot train through ${describeNode(this.node)}: ${why}`);
  }

  #constant(index: number): Tensor {
    const tensor = this.#infos.get(this.x(index))?.known;
    if (tensor === undefined || !isNumeric(tensor)) throw this.refuse(`its input "${this.x(index)}" must be constant`);
    return tensor;
  }
}

/** A Scan made ready for its gradient. */
export interface PreparedScan {
  /** Of the values within the body, and of those it reads from around it. */
  readonly infos: Map<string, ValueInfo>;
  /** By state: the Scan's output that holds the state each step came in with, one after another. */
  readonly incomingStates: readonly string[];
}

/** By scanKey(): a body is copied into its gradient's, and the Scans within must be known there too. */
export type PreparedScans = ReadonlyMap<string, PreparedScan>;
export const scanKey = (node: GraphNode): string => node.outputs.find((name) => name !== "") ?? "";

export interface GradientRequest {
  /** Forward nodes in topological order; the gradients' nodes are put behind them. */
  readonly graph: Graph;
  /** Of the forward values; those that rules make the forward graph keep besides are added. */
  readonly infos: Map<string, ValueInfo>;
  /** By differentiated value: its own gradient, the start of the walk. For a loss that is a one. */
  readonly seeds: ReadonlyMap<string, string>;
  /** Values whose gradients are wanted: weights, or inputs. */
  readonly parameters: readonly string[];
  readonly scans: PreparedScans;
}

/** The walk that a rule is part of. */
export interface GradientWalk {
  readonly scans: PreparedScans;
  contribute(value: string, gradient: string): void;
  differentiate(request: GradientRequest): Map<string, string>;
}

/** `node "layer4/pool" (operator MaxRoiPool)` */
export function describeNode({ name, domain, opType }: GraphNode): string {
  return `node "${name}" (operator ${domain === "" ? "" : `${domain}.`}${opType})`;
}

/** Writes gradients into the graph, with what the probe knows of the forward values. */
export class GradientEmitter extends GraphEmitter {
  readonly #infos: Map<string, ValueInfo>;
  readonly #runTimeShapes = new Map<string, string>();
  readonly #walk: GradientWalk;

  constructor(graph: Graph, infos: Map<string, ValueInfo>, walk: GradientWalk) {
    super(graph);
    this.#infos = infos;
    this.#walk = walk;
  }

  info(value: string): ValueInfo {
    const info = this.#infos.get(value);
    if (info === undefined) throw internal(`the shape of value "${value}" is not known`);
    return info;
  }
  /** Tells of a value that the forward graph is made to keep. */
  learn(value: string, info: ValueInfo): void {
    this.#infos.set(value, info);
  }
  dtype(value: string): ElementType {
    return this.info(value).dtype;
  }
  rank(value: string): number {
    return this.info(value).shape.length;
  }

  /** All sizes, which must not follow the batch. */
  sizes(value: string): readonly number[] {
    return this.info(value).shape.map((_, axis) => this.size(value, axis));
  }

  /** One size, which must not follow the batch: a constant made of it would be wrong at another batch size. */
  size(value: string, axis: number): number {
    const { shape, followsBatch } = this.info(value);
    if (followsBatch[axis]) {
      throw failedPrecondition(`axis ${axis} of value "${value}" follows the batch; it must be of one size to train`);
    }
    return shape[axis]!;
  }

  /** Contributes to the gradient of a value that the node reads from around its body, not through its inputs. */
  addCapturedGradient(value: string, gradient: string): void {
    this.#walk.contribute(value, gradient);
  }

  /** What preparing the forward graph has learned of a node with a body. */
  preparedScan(node: GraphNode): PreparedScan | undefined {
    return this.#walk.scans.get(scanKey(node));
  }

  /** Writes the gradients within a body; see buildGradients(). */
  differentiateBody(
    graph: Graph,
    infos: Map<string, ValueInfo>,
    seeds: ReadonlyMap<string, string>,
    parameters: readonly string[],
  ): Map<string, string> {
    return this.#walk.differentiate({ graph, infos, seeds, parameters, scans: this.#walk.scans });
  }

  /** A constant without dimensions, of the value's type. */
  number(value: number, like: string): string {
    return this.scalar(value, this.dtype(like));
  }

  /** The value's shape as an int64 vector: constant, or taken in the run where it follows the batch. */
  shapeOf(value: string): string {
    const info = this.info(value);
    if (isStatic(info)) return this.ints(info.shape);
    let name = this.#runTimeShapes.get(value);
    if (name === undefined) {
      name = this.op("Shape", [value]);
      this.#runTimeShapes.set(value, name);
    }
    return name;
  }

  reshapeLike(gradient: string, like: string): string {
    const { shape, followsBatch } = this.info(like);
    const open = followsBatch.filter(Boolean).length;
    if (open !== 1 || shape.includes(0)) return this.reshape(gradient, this.shapeOf(like));
    // One open size is what is left over: no need to ask the run for it.
    return this.reshape(
      gradient,
      shape.map((size, axis) => (followsBatch[axis] ? -1 : size)),
    );
  }

  expandLike(gradient: string, like: string): string {
    return this.expand(gradient, this.shapeOf(like));
  }

  zerosLike(like: string): string {
    return this.filled(this.shapeOf(like), 0, this.dtype(like));
  }

  castLike(value: string, like: string): string {
    return this.cast(value, this.dtype(like));
  }

  /** How many elements lie along these axes, as a number of the value's type. */
  countAlong(value: string, axes: readonly number[]): string {
    const { dtype, shape, followsBatch } = this.info(value);
    if (!axes.some((axis) => followsBatch[axis])) {
      return this.scalar(
        axes.reduce((count, axis) => count * shape[axis]!, 1),
        dtype,
      );
    }
    const sizes = this.op("Gather", [this.shapeOf(value), this.ints(axes)]);
    return this.cast(this.op("ReduceProd", [sizes], { keepdims: 0 }), dtype);
  }

  /**
   * Undoes a broadcast: sums a gradient of y's shape over the axes that were stretched, down to x's shape.
   * `inner` axes at the end are left alone, as those of matrices in a batched product are.
   */
  sumTo(gradient: string, y: string, x: string, inner = 0): string {
    const ySizes = this.info(y).shape;
    const xSizes = this.info(x).shape;
    const lead = ySizes.length - xSizes.length;
    const axes: number[] = [];
    for (let axis = 0; axis < ySizes.length - inner; axis++) {
      if (axis < lead || (xSizes[axis - lead] === 1 && ySizes[axis] !== 1)) axes.push(axis);
    }
    if (axes.length === 0) return gradient;
    const onlyLead = axes.every((axis) => axis < lead);
    const summed = this.sum(gradient, axes, !onlyLead);
    return onlyLead || lead === 0 ? summed : this.reshapeLike(summed, x);
  }
}

/** An axis counted from the front. */
export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
/** 0, 1, … count - 1, starting elsewhere if told. */
export const range = (count: number, start = 0): number[] => Array.from({ length: count }, (_, index) => start + index);
export const product = (values: readonly number[]): number => values.reduce((all, value) => all * value, 1);
