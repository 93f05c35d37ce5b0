// What TensorFlow's ParseExample does inside a graph, by its rules and in its words: features become tensors.
import type { Feature, TensorSpec } from "../onnx/index.js";
import { invalidArgument, type StatusError } from "../status.js";
import {
  elementCount,
  elementTypeInfo,
  formatShape,
  isNumeric,
  type NumericData,
  type Tensor,
} from "../tensor/index.js";
import type { Example, ExampleInput, FeatureKind, FeatureValues } from "./example.js";
import {
  dataTypeName,
  doesNotFit,
  featureKindOf,
  type NumberWriter,
  numberWriterOf,
  requireKind,
  requireRoom,
  whereIs,
} from "./feature-values.js";
import { VariableLengthColumn } from "./variable-length-column.js";

/** Bytes that defaults and the context may be multiplied to: an example of two bytes may stand for a large one. */
const maxRepeatedBytes = 64 * 1024 * 1024;
const noExample: Example = new Map();

/**
 * The tensors that feed the graph, by the names of its inputs, in the features' order.
 * @throws INVALID_ARGUMENT
 */
export function exampleFeeds(features: ReadonlyMap<string, Feature>, input: ExampleInput): Map<string, Tensor> {
  const { examples, integersMayBeFloats = false } = input;
  if (examples.count === 0) throw invalidArgument("Input is empty.");
  const wanted = new Set(features.keys());
  const context = input.context?.read(wanted) ?? noExample;
  const columns = [...features].map(
    ([name, feature]): Column =>
      feature.padding === undefined
        ? new FixedColumn(name, feature, examples.count, integersMayBeFloats)
        : new VariableLengthColumn(name, feature.spec, feature.padding, integersMayBeFloats),
  );
  let repeatedBytes = 0;
  const repeat = (bytes: number) => {
    repeatedBytes += bytes;
    if (repeatedBytes > maxRepeatedBytes) {
      throw invalidArgument(
        `the context and default values come to more than ${maxRepeatedBytes} bytes for ${examples.count} examples`,
      );
    }
  };
  for (let index = 0; index < examples.count; index++) {
    const example = examples.read(index, wanted);
    for (const column of columns) {
      const own = example.has(column.name);
      const values = own ? example.get(column.name) : context.get(column.name);
      const added = column.add(index, values);
      if (own && values !== undefined) continue;
      repeat(added);
    }
  }
  for (const column of columns) repeat(column.paddingBytes);
  return new Map(columns.map((column) => [column.spec.name, column.tensor()]));
}

/** One feature of all examples. */
interface Column {
  readonly name: string;
  readonly spec: TensorSpec;
  /** Adds one example's values; undefined stands for none. @returns the bytes they take */
  add(index: number, values: FeatureValues | undefined): number;
  /** What is added to all of them beyond their own values. */
  readonly paddingBytes: number;
  tensor(): Tensor;
}

/** Every example has the same number of values, or the default's. */
class FixedColumn implements Column {
  readonly name: string;
  readonly spec: TensorSpec;
  readonly paddingBytes = 0;
  readonly #kind: FeatureKind;
  readonly #defaultValue: Tensor | undefined;
  readonly #rows: number;
  readonly #integersMayBeFloats: boolean;
  readonly #write: NumberWriter;
  /** undefined until the first example says how long the open dimension is, where there is one. */
  #rowShape: readonly number[] | undefined;
  #rowSize = 0;
  #numbers: NumericData | undefined;
  #texts: string[] | undefined;

  constructor(name: string, { spec, defaultValue }: Feature, rows: number, integersMayBeFloats: boolean) {
    this.name = name;
    this.spec = spec;
    this.#kind = featureKindOf(spec.dtype);
    this.#defaultValue = defaultValue;
    this.#rows = rows;
    this.#integersMayBeFloats = integersMayBeFloats;
    this.#write = numberWriterOf(spec.dtype);
  }

  add(index: number, values: FeatureValues | undefined): number {
    if (values === undefined) return this.#addDefault(index);
    const { count } = values;
    requireKind(values, this.#kind, this.#integersMayBeFloats, whereIs(this.name, index));
    if (this.#rowShape === undefined) this.#open(index, count);
    if (count !== this.#rowSize) throw this.#wrongCount(index, count);
    if (this.#texts !== undefined) {
      const texts = values.texts();
      for (let i = 0; i < count; i++) this.#texts[index * count + i] = texts[i]!;
      return 8 * count;
    }
    const fault = this.#write(this.#numbers!, index * count, values.numbers());
    if (fault !== undefined) throw doesNotFit(whereIs(this.name, index), fault, this.spec.dtype, this.spec.name);
    return count * this.#numbers!.BYTES_PER_ELEMENT;
  }

  #addDefault(index: number): number {
    const value = this.#defaultValue;
    if (value === undefined) {
      throw invalidArgument(
        `Name: <unknown>, Feature: ${this.name} (data type: ${dataTypeName(this.#kind)}) ` +
          "is required but could not be found.",
      );
    }
    const { length } = value.data;
    if (this.#rowShape === undefined) this.#open(index, length);
    if (length !== this.#rowSize) throw this.#wrongCount(index, length);
    const start = index * length;
    if (isNumeric(value)) (this.#numbers as Float32Array).set(value.data as Float32Array, start);
    else for (let i = 0; i < length; i++) this.#texts![start + i] = value.data[i] as string;
    return length * (this.#numbers?.BYTES_PER_ELEMENT ?? 8);
  }

  /** The first example fixes how many values each has; only one dimension can be open then. */
  #open(index: number, count: number): void {
    const declared = this.spec.shape!.slice(1);
    const fixed = elementCount(declared.map((size) => (typeof size === "number" ? size : 1)))!;
    const isOpen = declared.some((size) => typeof size !== "number");
    if (isOpen ? fixed === 0 || count % fixed !== 0 : count !== fixed) throw this.#wrongCount(index, count);
    this.#rowShape = declared.map((size) => (typeof size === "number" ? size : count / fixed));
    this.#rowSize = count;
    const total = this.#rows * count;
    // No example has been seen beyond this one: that there is room for all is not to be taken from its word alone.
    requireRoom(this.name, this.spec.dtype, total);
    const { array } = elementTypeInfo(this.spec.dtype);
    if (array === undefined) this.#texts = new Array<string>(total);
    else this.#numbers = new array(total);
  }

  tensor(): Tensor {
    return {
      dtype: this.spec.dtype,
      shape: [this.#rows, ...this.#rowShape!],
      data: this.#texts ?? this.#numbers!,
    };
  }

  #wrongCount(index: number, count: number): StatusError {
    const declared = this.spec.shape!.slice(1);
    const isOpen = declared.some((size) => typeof size !== "number");
    return invalidArgument(
      `${whereIs(this.name, index)}Number of ${this.#kind} values != expected.  Values size: ${count} but output shape: ` +
        formatShape(this.#rowShape ?? declared) +
        (isOpen
          ? "; examples of different length are padded for signatures of signature_defs.pbtxt only, and only in the first dimension"
          : ""),
    );
  }
}
