import { internal } from "../status.js";
import {
  type ElementType,
  elementTypeInfo,
  type NumericData,
  type NumericTensor,
  type Tensor,
} from "../tensor/index.js";
import { CounterRandom, randomStreams } from "./counter-random.js";
import { type Examples, type Field, fieldOf, rowSize, targetField, weightField } from "./examples.js";
import { type DropoutMask, lossInputs, maskShape } from "./step-graph.js";

/** The buffers that a step's rows are copied into: inputs, targets, weights and dropout masks. */
export class BatchFeeds {
  readonly batchSize: number;
  readonly #inputs: readonly Field[];
  readonly #target: Field;
  readonly #masks: readonly DropoutMask[];
  readonly #buffers = new Map<string, NumericData>();

  constructor(inputs: readonly Field[], target: Field, masks: readonly DropoutMask[], batchSize: number) {
    this.batchSize = batchSize;
    this.#inputs = inputs;
    this.#target = target;
    this.#masks = masks;
    for (const field of inputs) this.#allocate(field.name, field.dtype, batchSize * rowSize(field));
    this.#allocate(lossInputs.targets, target.dtype, batchSize * rowSize(target));
    this.#allocate(lossInputs.weights, "float32", batchSize);
    for (const { input, shape } of masks) this.#allocate(input, "float32", product(shape));
  }

  /** The buffers as tensors of so many rows. */
  tensors(rows: number): Map<string, Tensor> {
    const feeds = new Map<string, NumericTensor>();
    const add = (name: string, dtype: ElementType, shape: readonly number[]) => {
      feeds.set(name, { dtype, shape, data: this.#buffer(name).subarray(0, product(shape)) as NumericData });
    };
    for (const { name, dtype, shape } of this.#inputs) add(name, dtype, [rows, ...shape]);
    add(lossInputs.targets, this.#target.dtype, [rows, ...this.#target.shape]);
    add(lossInputs.weights, "float32", [rows]);
    for (const mask of this.#masks) add(mask.input, "float32", maskShape(mask, rows, this.batchSize));
    return feeds;
  }

  /** The weights of the rows in the buffers. */
  get weights(): Float32Array {
    return this.#buffer(lossInputs.weights) as Float32Array;
  }

  /**
   * Copies rows in. Places that are left over get the first row again, with weight 0: real values, since 0 times an
   * infinity would not be 0. Returns the sum of the weights.
   */
  fill(examples: Examples, rows: Uint32Array, classWeights: ReadonlyMap<number, number>): number {
    for (const { name } of this.#inputs) this.#gather(examples, name, name, rows);
    this.#gather(examples, targetField, lossInputs.targets, rows);
    const { weights } = this;
    if (examples.fields.some(({ name }) => name === weightField)) examples.gather(weightField, rows, weights);
    else weights.fill(1, 0, rows.length);
    weights.fill(0, rows.length);
    if (classWeights.size > 0) this.#weighClasses(rows.length, classWeights);
    return weights.reduce((sum, weight) => sum + weight, 0);
  }

  /** Draws the masks of one step: the same for the same seed and step, whatever happened before. */
  drawMasks(seed: number, step: number): void {
    this.#masks.forEach(({ input, rate }, index) => {
      const random = new CounterRandom(seed, randomStreams.dropout, index, step);
      fillMask(this.#buffer(input) as Float32Array, random, rate);
    });
  }

  #gather(examples: Examples, field: string, into: string, rows: Uint32Array): void {
    const buffer = this.#buffer(into);
    examples.gather(field, rows, buffer);
    const size = buffer.length / this.batchSize;
    for (let row = rows.length; row < this.batchSize; row++) buffer.copyWithin(row * size, 0, size);
  }

  #weighClasses(rows: number, classWeights: ReadonlyMap<number, number>): void {
    const targets = this.#buffer(lossInputs.targets);
    const size = targets.length / this.batchSize;
    for (let row = 0; row < rows; row++) {
      const label = classOf(targets, row * size, size);
      this.weights[row]! *= classWeights.get(label) ?? 1;
    }
  }

  #buffer(name: string): NumericData {
    const buffer = this.#buffers.get(name);
    if (buffer === undefined) throw internal(`there is no buffer "${name}"`);
    return buffer;
  }

  #allocate(name: string, dtype: ElementType, count: number): void {
    this.#buffers.set(name, new (elementTypeInfo(dtype).array!)(count));
  }
}

/** The class of a row: its number, or the place of its one among several. */
function classOf(targets: NumericData, start: number, size: number): number {
  if (size === 1) return Math.round(Number(targets[start]));
  let best = 0;
  for (let k = 1; k < size; k++) if (targets[start + k]! > targets[start + best]!) best = k;
  return best;
}

function fillMask(mask: Float32Array, random: CounterRandom, rate: number): void {
  const kept = 1 / (1 - rate);
  const threshold = rate * 2 ** 32;
  for (let i = 0; i < mask.length; i++) mask[i] = random.bits(i) >= threshold ? kept : 0;
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** Whether examples have what a graph wants, row for row. */
export function sameRows(examples: Examples, name: string, wanted: Field): boolean {
  const field = fieldOf(examples, name);
  return field.dtype === wanted.dtype && rowSize(field) === rowSize(wanted);
}
