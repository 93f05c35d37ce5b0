// What TensorFlow's ParseExample does inside a graph, by its rules and in its words: features become tensors.
import type { Feature, TensorSpec } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import {
  type ElementType,
  elementCount,
  elementTypeInfo,
  formatShape,
  isNumeric,
  type NumericData,
  numberToFloat16,
  type Tensor,
} from "../tensor/index.js";
import type { Example, ExampleInput, FeatureKind, FeatureValues } from "./example.js";

/** Bytes that defaults and the context may be multiplied to: an example of two bytes may stand for a large one. */
const maxRepeatedBytes = 64 * 1024 * 1024;
/** Elements of one tensor of strings, at most; each takes far more here than on the wire. */
const maxStrings = 4 * 1024 * 1024;
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
    ([name, feature]) => new Column(name, feature, examples.count, integersMayBeFloats),
  );
  let repeatedBytes = 0;
  for (let index = 0; index < examples.count; index++) {
    const example = examples.read(index, wanted);
    for (const column of columns) {
      const own = example.has(column.name);
      const values = own ? example.get(column.name) : context.get(column.name);
      const added = column.add(index, values);
      if (own && values !== undefined) continue;
      repeatedBytes += added;
      if (repeatedBytes > maxRepeatedBytes) {
        throw invalidArgument(
          `the context and default values come to more than ${maxRepeatedBytes} bytes for ${examples.count} examples`,
        );
      }
    }
  }
  return new Map(columns.map((column) => [column.spec.name, column.tensor()]));
}

/** One feature of all examples. */
class Column {
  readonly name: string;
  readonly spec: TensorSpec;
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
    this.#write = numberWriters[spec.dtype] ?? writePlain;
  }

  /** Adds one example's values; undefined stands for none. @returns the bytes they take */
  add(index: number, values: FeatureValues | undefined): number {
    if (values === undefined) return this.#addDefault(index);
    const { kind, count } = values;
    if (kind !== this.#kind && !(this.#integersMayBeFloats && kind === "int64" && this.#kind === "float")) {
      throw invalidArgument(
        `${this.#where(index)}Data types don't match. ` +
          `Data type: ${dataTypeName(kind)} but expected type: ${dataTypeName(this.#kind)}`,
      );
    }
    if (this.#rowShape === undefined) this.#open(index, count);
    if (count !== this.#rowSize) throw this.#wrongCount(index, count);
    if (this.#texts !== undefined) {
      const texts = values.texts();
      for (let i = 0; i < count; i++) this.#texts[index * count + i] = texts[i]!;
      return 8 * count;
    }
    const fault = this.#write(this.#numbers!, index * count, values.numbers());
    if (fault !== undefined) {
      throw invalidArgument(
        `${this.#where(index)}${fault} does not fit into ${this.spec.dtype}, the type of input ${this.spec.name}`,
      );
    }
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
    const { array } = elementTypeInfo(this.spec.dtype);
    if (array === undefined) {
      if (total > maxStrings) throw invalidArgument(`feature ${this.name}: more than ${maxStrings} strings in a call`);
      this.#texts = new Array<string>(total);
      return;
    }
    // No example has been seen beyond this one: that there is room for all is not to be taken from its word alone.
    const bytes = total * array.BYTES_PER_ELEMENT;
    if (bytes > maxColumnBytes)
      throw invalidArgument(`feature ${this.name}: more than ${maxColumnBytes} bytes in a call`);
    this.#numbers = new array(total);
  }

  tensor(): Tensor {
    return {
      dtype: this.spec.dtype,
      shape: [this.#rows, ...this.#rowShape!],
      data: this.#texts ?? this.#numbers!,
    };
  }

  #where(index: number): string {
    return `Name: <unknown>, Key: ${this.name}, Index: ${index}.  `;
  }

  #wrongCount(index: number, count: number): Error {
    const shape = this.#rowShape ?? this.spec.shape!.slice(1);
    return invalidArgument(
      `${this.#where(index)}Number of ${this.#kind} values != expected.  ` +
        `Values size: ${count} but output shape: ${formatShape(shape)}`,
    );
  }
}

/** What one feature of one call may come to: 64 MiB of wire bytes, as int64 of one byte each. */
const maxColumnBytes = 512 * 1024 * 1024;

/** The list that fills an input of that type. */
export function featureKindOf(dtype: ElementType): FeatureKind {
  if (dtype === "string") return "bytes";
  return dtype.includes("float") ? "float" : "int64";
}

/** TensorFlow's name for a feature's type. */
function dataTypeName(kind: FeatureKind): string {
  return kind === "bytes" ? "string" : kind;
}

/** Writes numbers from a position on. @returns the first that does not fit, if any */
type NumberWriter = (
  target: NumericData,
  start: number,
  values: Float32Array | Float64Array | BigInt64Array,
) => bigint | undefined;

const writePlain: NumberWriter = (target, start, values) => {
  const to = target as Float64Array;
  if (values instanceof BigInt64Array) for (let i = 0; i < values.length; i++) to[start + i] = Number(values[i]);
  else to.set(values, start);
  return undefined;
};

const writeHalf: NumberWriter = (target, start, values) => {
  for (let i = 0; i < values.length; i++) (target as Uint16Array)[start + i] = numberToFloat16(Number(values[i]));
  return undefined;
};

const integersBetween =
  (min: bigint, max: bigint): NumberWriter =>
  (target, start, values) => {
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as bigint;
      if (value < min || value > max) return value;
      (target as Int32Array)[start + i] = Number(value);
    }
    return undefined;
  };

const numberWriters: Readonly<Partial<Record<ElementType, NumberWriter>>> = {
  float16: writeHalf,
  bool: integersBetween(0n, 1n),
  int8: integersBetween(-(2n ** 7n), 2n ** 7n - 1n),
  int16: integersBetween(-(2n ** 15n), 2n ** 15n - 1n),
  int32: integersBetween(-(2n ** 31n), 2n ** 31n - 1n),
  uint8: integersBetween(0n, 2n ** 8n - 1n),
  uint16: integersBetween(0n, 2n ** 16n - 1n),
  uint32: integersBetween(0n, 2n ** 32n - 1n),
  int64(target, start, values) {
    (target as BigInt64Array).set(values as BigInt64Array, start);
    return undefined;
  },
  uint64(target, start, values) {
    for (const value of values as BigInt64Array) if (value < 0n) return value;
    (target as BigUint64Array).set(new BigUint64Array((values as BigInt64Array).slice().buffer), start);
    return undefined;
  },
};
