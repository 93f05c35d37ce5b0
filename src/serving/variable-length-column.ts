import type { TensorSpec } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import {
  elementCount,
  elementTypeInfo,
  formatShape,
  isNumeric,
  type NumericData,
  type Tensor,
} from "../tensor/index.js";
import type { FeatureKind, FeatureValues } from "./example.js";
import {
  doesNotFit,
  featureKindOf,
  type NumberWriter,
  numberWriterOf,
  requireKind,
  requireRoom,
  whereIs,
} from "./feature-values.js";

/**
 * One feature of all examples, of which each may have another number of values: TensorFlow's variable-length dense feature.
 * Rows are filled up at their end to the longest with the padding value; an example without the feature has a row of none.
 *
 *     [1 2] [] [3 4 5 6], padded with 0, two values a step  ──►  [[1 2][0 0]] [[0 0][0 0]] [[3 4][5 6]]
 */
export class VariableLengthColumn {
  readonly name: string;
  readonly spec: TensorSpec;
  readonly #padding: Tensor;
  readonly #kind: FeatureKind;
  readonly #integersMayBeFloats: boolean;
  readonly #write: NumberWriter;
  /** Sizes behind the open dimension. */
  readonly #step: readonly number[];
  /** Values that one more place in the open dimension takes. */
  readonly #stepSize: number;
  /** How many values each example has. */
  readonly #counts: number[] = [];
  /** The values of all examples, one behind the other, with room for more. */
  #numbers: NumericData | undefined;
  readonly #texts: string[] = [];
  #length = 0;

  constructor(name: string, spec: TensorSpec, padding: Tensor, integersMayBeFloats: boolean) {
    this.name = name;
    this.spec = spec;
    this.#padding = padding;
    this.#kind = featureKindOf(spec.dtype);
    this.#integersMayBeFloats = integersMayBeFloats;
    this.#write = numberWriterOf(spec.dtype);
    this.#step = spec.shape!.slice(2) as number[];
    this.#stepSize = elementCount(this.#step)!;
  }

  add(index: number, values: FeatureValues | undefined): number {
    const count = values?.count ?? 0;
    if (values !== undefined) {
      const where = whereIs(this.name, index);
      requireKind(values, this.#kind, this.#integersMayBeFloats, where);
      if (this.#stepSize === 0 ? count > 0 : count % this.#stepSize !== 0) {
        throw invalidArgument(
          `${where}Number of ${this.#kind} values is not a multiple of stride length. Saw ${count} values but ` +
            `output shape is: ${formatShape([undefined, ...this.#step])}`,
        );
      }
      this.#append(values, where);
    }
    this.#counts.push(count);
    return count * this.#elementBytes;
  }

  #append(values: FeatureValues, where: string): void {
    requireRoom(this.name, this.spec.dtype, this.#length + values.count);
    const { array } = elementTypeInfo(this.spec.dtype);
    if (array === undefined) {
      for (const text of values.texts()) this.#texts.push(text);
    } else {
      const capacity = this.#numbers?.length ?? 0;
      if (this.#length + values.count > capacity) {
        const larger = new array(Math.max(this.#length + values.count, 2 * capacity)) as Float64Array;
        if (this.#numbers !== undefined) larger.set(this.#numbers as Float64Array);
        this.#numbers = larger as NumericData;
      }
      const fault = this.#write(this.#numbers!, this.#length, values.numbers());
      if (fault !== undefined) throw doesNotFit(where, fault, this.spec.dtype, this.spec.name);
    }
    this.#length += values.count;
  }

  get paddingBytes(): number {
    return (this.#rowSize * this.#counts.length - this.#length) * this.#elementBytes;
  }

  tensor(): Tensor {
    const rows = this.#counts.length;
    const rowSize = this.#rowSize;
    requireRoom(this.name, this.spec.dtype, rows * rowSize);
    const steps = this.#stepSize === 0 ? 0 : rowSize / this.#stepSize;
    return {
      dtype: this.spec.dtype,
      shape: [rows, steps, ...this.#step],
      data: isNumeric(this.#padding) ? this.#padNumbers(rows * rowSize) : this.#padTexts(rows * rowSize),
    };
  }

  #padNumbers(elements: number): NumericData {
    const { array } = elementTypeInfo(this.spec.dtype);
    const data = new array!(elements) as Float64Array;
    data.fill((this.#padding.data as Float64Array)[0]!);
    this.#eachRow((from, to, count) => data.set((this.#numbers as Float64Array).subarray(from, from + count), to));
    return data as NumericData;
  }

  #padTexts(elements: number): string[] {
    const data = new Array<string>(elements).fill(this.#padding.data[0] as string);
    this.#eachRow((from, to, count) => {
      for (let i = 0; i < count; i++) data[to + i] = this.#texts[from + i]!;
    });
    return data;
  }

  /** Where each example's values lie, and where they go. */
  #eachRow(copy: (from: number, to: number, count: number) => void): void {
    const rowSize = this.#rowSize;
    let from = 0;
    for (const [row, count] of this.#counts.entries()) {
      if (count > 0) copy(from, row * rowSize, count);
      from += count;
    }
  }

  /** Of the longest example. */
  get #rowSize(): number {
    let largest = 0;
    for (const count of this.#counts) if (count > largest) largest = count;
    return largest;
  }

  get #elementBytes(): number {
    return elementTypeInfo(this.spec.dtype).array?.BYTES_PER_ELEMENT ?? 8;
  }
}
