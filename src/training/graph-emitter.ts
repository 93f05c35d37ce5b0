import type { Graph, GraphAttribute } from "../onnx/index.js";
import { type ElementType, elementTypeInfo, type NumericData, type Tensor } from "../tensor/index.js";

/** Writes arithmetic into a graph: each method adds a node and returns its output's name. Constants are shared. */
export class GraphEmitter {
  readonly graph: Graph;
  readonly #constants = new Map<string, string>();

  constructor(graph: Graph) {
    this.graph = graph;
  }

  op(opType: string, inputs: readonly string[], attributes?: Readonly<Record<string, GraphAttribute>>): string {
    return this.graph.node(opType, inputs, attributes)[0]!;
  }

  /** An operator with several outputs. */
  ops(
    opType: string,
    inputs: readonly string[],
    count: number,
    attributes?: Readonly<Record<string, GraphAttribute>>,
  ): readonly string[] {
    const outputs = Array.from({ length: count }, () => this.graph.fresh(opType));
    return this.graph.node(opType, inputs, attributes, { outputs });
  }

  add(a: string, b: string): string {
    return this.op("Add", [a, b]);
  }
  sub(a: string, b: string): string {
    return this.op("Sub", [a, b]);
  }
  mul(a: string, b: string): string {
    return this.op("Mul", [a, b]);
  }
  div(a: string, b: string): string {
    return this.op("Div", [a, b]);
  }
  neg(a: string): string {
    return this.op("Neg", [a]);
  }
  exp(a: string): string {
    return this.op("Exp", [a]);
  }
  where(condition: string, a: string, b: string): string {
    return this.op("Where", [condition, a, b]);
  }
  greater(a: string, b: string): string {
    return this.op("Greater", [a, b]);
  }
  matMul(a: string, b: string): string {
    return this.op("MatMul", [a, b]);
  }
  cast(value: string, dtype: ElementType): string {
    return this.op("Cast", [value], { to: elementTypeInfo(dtype).onnx });
  }
  /** Sums over axes; no axes, no sum. */
  sum(value: string, axes: readonly number[], keepDims = true): string {
    return axes.length === 0 ? value : this.op("ReduceSum", [value, this.ints(axes)], { keepdims: Number(keepDims) });
  }
  mean(value: string, axes: readonly number[]): string {
    return this.op("ReduceMean", [value, this.ints(axes)]);
  }
  reshape(value: string, shape: readonly number[] | string): string {
    return this.op("Reshape", [value, typeof shape === "string" ? shape : this.ints(shape)]);
  }
  squeeze(value: string, axes: readonly number[]): string {
    return this.op("Squeeze", [value, this.ints(axes)]);
  }
  unsqueeze(value: string, axes: readonly number[]): string {
    return this.op("Unsqueeze", [value, this.ints(axes)]);
  }
  transpose(value: string, perm: readonly number[]): string {
    return perm.every((axis, index) => axis === index) ? value : this.op("Transpose", [value], { perm: [...perm] });
  }
  expand(value: string, shape: string): string {
    return this.op("Expand", [value, shape]);
  }
  concat(values: readonly string[], axis: number): string {
    return values.length === 1 ? values[0]! : this.op("Concat", values, { axis });
  }
  split(value: string, sizes: readonly number[], axis: number): readonly string[] {
    return this.ops("Split", [value, this.ints(sizes)], sizes.length, { axis });
  }
  slice(
    value: string,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): string {
    const inputs = [value, this.ints(starts), this.ints(ends), this.ints(axes)];
    return this.op("Slice", steps === undefined ? inputs : [...inputs, this.ints(steps)]);
  }
  /** pads: the starts of all axes, then the ends; negative ones cut off. */
  pad(value: string, pads: readonly number[]): string {
    return pads.every((size) => size === 0) ? value : this.op("Pad", [value, this.ints(pads)]);
  }
  /** A tensor of one number, its shape an int64 value of the graph. */
  filled(shape: string, value: number, dtype: ElementType): string {
    return this.op("ConstantOfShape", [shape], { value: { dtype, shape: [1], data: numbers(dtype, [value]) } });
  }

  /** A constant int64 vector. */
  ints(values: readonly number[]): string {
    return this.constant("int64", [values.length], values);
  }

  /** A constant without dimensions. */
  scalar(value: number, dtype: ElementType): string {
    return this.constant(dtype, [], [value]);
  }

  /** A constant; the same one is stored once. */
  constant(dtype: ElementType, shape: readonly number[], values: readonly number[]): string {
    const key = `${dtype}[${shape.join()}]${values.map((value) => (Object.is(value, -0) ? "-0" : value)).join()}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = this.graph.initializer(this.graph.fresh("const"), { dtype, shape, data: numbers(dtype, values) });
      this.#constants.set(key, name);
    }
    return name;
  }
}

/** Numbers as the data of a tensor. */
export function numbers(dtype: ElementType, values: ArrayLike<number>): NumericData {
  if (dtype === "int64") return BigInt64Array.from(values, BigInt);
  if (dtype === "uint64") return BigUint64Array.from(values, BigInt);
  const data = new (elementTypeInfo(dtype).array!)(values.length);
  (data as Float64Array).set(values);
  return data;
}

/** A tensor of numbers. */
export function tensorOf(dtype: ElementType, shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype, shape, data: numbers(dtype, values) };
}
