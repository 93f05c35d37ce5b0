// What the columns of features share: which list fills which type, how its numbers are written, and TensorFlow's words for
// what does not fit.
import { invalidArgument, type StatusError } from "../status.js";
import { type ElementType, elementTypeInfo, type NumericData, numberToFloat16 } from "../tensor/index.js";
import type { FeatureKind, FeatureValues } from "./example.js";

/** Elements of one tensor of strings, at most; each takes far more here than on the wire. */
const maxStrings = 4 * 1024 * 1024;
/** What one feature of one call may come to: 64 MiB of wire bytes, as int64 of one byte each. */
const maxColumnBytes = 512 * 1024 * 1024;

/** @throws INVALID_ARGUMENT when a column of so many elements would take too much memory */
export function requireRoom(feature: string, dtype: ElementType, elements: number): void {
  const { array } = elementTypeInfo(dtype);
  if (array === undefined) {
    if (elements > maxStrings) throw invalidArgument(`feature ${feature}: more than ${maxStrings} strings in a call`);
  } else if (elements * array.BYTES_PER_ELEMENT > maxColumnBytes) {
    throw invalidArgument(`feature ${feature}: more than ${maxColumnBytes} bytes in a call`);
  }
}

/** @throws INVALID_ARGUMENT for a list of another kind than the feature's */
export function requireKind(
  { kind }: FeatureValues,
  wanted: FeatureKind,
  integersMayBeFloats: boolean,
  where: string,
): void {
  if (kind === wanted || (integersMayBeFloats && kind === "int64" && wanted === "float")) return;
  throw invalidArgument(
    `${where}Data types don't match. Data type: ${dataTypeName(kind)} but expected type: ${dataTypeName(wanted)}`,
  );
}

/** How errors say which feature of which example is meant. */
export function whereIs(feature: string, index: number): string {
  return `Name: <unknown>, Key: ${feature}, Index: ${index}.  `;
}

export function doesNotFit(where: string, value: bigint, dtype: ElementType, input: string): StatusError {
  return invalidArgument(`${where}${value} does not fit into ${dtype}, the type of input ${input}`);
}

/** The list that fills an input of that type. */
export function featureKindOf(dtype: ElementType): FeatureKind {
  if (dtype === "string") return "bytes";
  return dtype.includes("float") ? "float" : "int64";
}

/** TensorFlow's name for a feature's type. */
export function dataTypeName(kind: FeatureKind): string {
  return kind === "bytes" ? "string" : kind;
}

/** Writes numbers from a position on. @returns the first that does not fit, if any */
export type NumberWriter = (
  target: NumericData,
  start: number,
  values: Float32Array | Float64Array | BigInt64Array,
) => bigint | undefined;

export function numberWriterOf(dtype: ElementType): NumberWriter {
  return numberWriters[dtype] ?? writePlain;
}

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
