import { resourceExhausted } from "../../status.js";
import type { NumericTensor, Shape } from "../../tensor/index.js";

/** A weight to be trained. */
export interface Parameter {
  readonly name: string;
  readonly shape: Shape;
  /** Whether L1 and L2 penalties and weight decay touch it: weights yes, biases and scales no. */
  readonly penalized: boolean;
  /** Multiplies the learning rate for this one. */
  readonly learningRateScale: number;
}

/** Neighbours in memory that are updated alike, in one call. */
export interface Segment {
  /** In floats. */
  readonly start: number;
  readonly count: number;
  readonly penalized: boolean;
  readonly learningRateScale: number;
}

/**
 * Weights, gradients and the optimizer's two running averages, each one flat stretch of one WebAssembly memory with
 * the same layout. onnxruntime reads the weights and writes the gradients where they lie; the kernel updates them
 * there. It never grows, since that would detach all views.
 */
export class ParameterMemory {
  readonly memory: WebAssembly.Memory;
  readonly parameters: readonly Parameter[];
  readonly segments: readonly Segment[];
  readonly weights: Float32Array;
  readonly gradients: Float32Array;
  readonly first: Float32Array;
  readonly second: Float32Array;
  readonly #starts = new Map<string, number>();

  /** Throws RESOURCE_EXHAUSTED when they do not fit into 4 GiB. */
  constructor(parameters: readonly Parameter[]) {
    // Those updated alike lie together. Sorting is stable, so that the layout follows the model's order.
    const sorted = parameters.toSorted(
      (a, b) => Number(b.penalized) - Number(a.penalized) || a.learningRateScale - b.learningRateScale,
    );
    let count = 0;
    const segments: Segment[] = [];
    for (const parameter of sorted) {
      this.#starts.set(parameter.name, count);
      const padded = Math.ceil(sizeOf(parameter) / floatsPerLine) * floatsPerLine;
      const { penalized, learningRateScale } = parameter;
      const last = segments.at(-1);
      if (last?.penalized === penalized && last.learningRateScale === learningRateScale) {
        segments[segments.length - 1] = { ...last, count: last.count + padded };
      } else {
        segments.push({ start: count, count: padded, penalized, learningRateScale });
      }
      count += padded;
    }
    const bytes = parameterMemoryBytes(count);
    const pages = Math.ceil(bytes / pageBytes);
    if (pages > maxPages) throw resourceExhausted(`${count} weights take ${bytes} bytes to train; at most 4 GiB fit`);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.parameters = parameters;
    this.segments = segments;
    const stretch = (index: number) =>
      new Float32Array(this.memory.buffer, firstByte + index * count * Float32Array.BYTES_PER_ELEMENT, count);
    this.weights = stretch(0);
    this.gradients = stretch(1);
    this.first = stretch(2);
    this.second = stretch(3);
  }

  /** One parameter's stretch of weights, gradients or averages, without a copy. */
  view(of: Float32Array, name: string): NumericTensor {
    const parameter = this.parameters.find((known) => known.name === name)!;
    const start = this.#starts.get(name)!;
    return { dtype: "float32", shape: parameter.shape, data: of.subarray(start, start + sizeOf(parameter)) };
  }
}

/** What a number of weights (padding included) takes. */
export function parameterMemoryBytes(count: number): number {
  return firstByte + 4 * Float32Array.BYTES_PER_ELEMENT * count;
}

// A cache line, and what the widest vector instructions like to be aligned to.
const lineBytes = 64;
const floatsPerLine = lineBytes / Float32Array.BYTES_PER_ELEMENT;
/** Offset 0 stays free: a null pointer would be a valid address. */
const firstByte = lineBytes;
const pageBytes = 65_536;
const maxPages = 65_536;

const sizeOf = ({ shape }: Parameter): number => shape.reduce((all, size) => all * size, 1);
