import { invalidArgument } from "../status.js";
import { formatShape, type NumericTensor, type Tensor } from "../tensor/index.js";
import type { Field } from "./examples.js";

/** Rows as tensors: inputs, targets and weights, the first axis of each the rows, to be read some at a time. */
export interface TensorSet {
  readonly count: number;
  /** By graph input. */
  readonly inputs: readonly Field[];
  readonly target: Field;
  /** Whether each row says what it counts. */
  readonly weighted: boolean;
  /** The rows from `first` up to `end`, which is not among them. */
  readInputs(first: number, end: number): Map<string, Tensor>;
  readTargets(first: number, end: number): NumericTensor;
  /** One a row; undefined where all count the same. */
  readWeights(first: number, end: number): Float32Array | undefined;
}

/** Rows that are in memory. */
export interface TensorData {
  /** By graph input. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly targets: NumericTensor;
  /** One a row. */
  readonly weights?: Float32Array | undefined;
}

export class MemoryTensors implements TensorSet {
  readonly count: number;
  readonly inputs: readonly Field[];
  readonly target: Field;
  readonly #data: TensorData;

  /** Throws INVALID_ARGUMENT when the tensors have different numbers of rows. */
  constructor(data: TensorData) {
    const [first] = data.inputs;
    if (first === undefined) throw invalidArgument("there are no inputs");
    this.count = first[1].shape[0] ?? 0;
    for (const [name, { shape }] of data.inputs) {
      if (shape.length === 0 || shape[0] !== this.count) {
        throw invalidArgument(`"${first[0]}" has ${this.count} rows; "${name}" is of shape ${formatShape(shape)}`);
      }
    }
    const { targets, weights } = data;
    if (targets.shape[0] !== this.count) {
      throw invalidArgument(`there are ${this.count} rows of inputs and ${targets.shape[0] ?? "no"} of targets`);
    }
    if (weights !== undefined && weights.length !== this.count) {
      throw invalidArgument(`there are ${this.count} rows of inputs and ${weights.length} weights`);
    }
    const fieldOf = (name: string, { dtype, shape }: Tensor): Field => ({ name, dtype, shape: shape.slice(1) });
    this.inputs = [...data.inputs].map(([name, tensor]) => fieldOf(name, tensor));
    this.target = fieldOf("targets", targets);
    this.#data = data;
  }

  get weighted(): boolean {
    return this.#data.weights !== undefined;
  }

  readInputs(first: number, end: number): Map<string, Tensor> {
    return new Map([...this.#data.inputs].map(([name, tensor]) => [name, rowsOf(tensor, first, end)]));
  }

  readTargets(first: number, end: number): NumericTensor {
    return rowsOf(this.#data.targets, first, end) as NumericTensor;
  }

  readWeights(first: number, end: number): Float32Array | undefined {
    return this.#data.weights?.slice(first, end);
  }
}

function rowsOf({ dtype, shape, data }: Tensor, first: number, end: number): Tensor {
  const size = shape.slice(1).reduce((all, axis) => all * axis, 1);
  return { dtype, shape: [end - first, ...shape.slice(1)], data: data.slice(first * size, end * size) };
}
