// Values as users hold them, and tensors as the wire needs them.
import { invalidArgument } from "../status.js";
import {
  type ElementType,
  elementCount,
  elementTypeInfo,
  float16ToNumber,
  formatShape,
  type NumericData,
  numberToFloat16,
  type Shape,
  type Tensor,
} from "../tensor/index.js";

export type Scalar = number | bigint | boolean | string;
/** Arrays in arrays, as deep as the tensor has dimensions; a bare value is a scalar. */
export type Nested = Scalar | readonly Nested[];

/**
 * What can be given for an input:
 * - a typed array: one dimension, of its own element type;
 * - `{ shape, data }` with a typed array, or with a flat list and, if it is known, `dtype`. float16 and bfloat16 are bit
 *   patterns in a Uint16Array and bool is a Uint8Array of 0 and 1, when dtype says so;
 * - plain numbers, strings and booleans, nested: the element type is the one that the model declares.
 */
export type TensorInput = NumericData | NdArray | Nested;

export interface NdArray {
  readonly shape: Shape;
  readonly data: NumericData | readonly Scalar[];
  readonly dtype?: ElementType;
}

/** Whether the model has to be asked for the element type. */
export function isUntyped(input: TensorInput): boolean {
  if (isTypedArray(input)) return false;
  if (isNdArray(input)) return input.dtype === undefined && !isTypedArray(input.data);
  return true;
}

/**
 * @param declared the element type that the model declares for this input, where one is needed
 * @throws INVALID_ARGUMENT when the value is not a tensor, or does not fit the element type exactly
 */
export function toTensor(name: string, input: TensorInput, declared: ElementType | undefined): Tensor {
  if (isTypedArray(input)) return { dtype: dtypeOf(input), shape: [input.length], data: bitsOf(input) };
  if (isNdArray(input)) {
    const count = elementCount(input.shape);
    if (count === undefined || count !== input.data.length) {
      throw invalidArgument(
        `input "${name}": shape ${formatShape(input.shape)} does not take ${input.data.length} elements`,
      );
    }
    if (isTypedArray(input.data)) return typedTensor(name, input.shape, input.data, input.dtype);
    return { shape: input.shape, ...elements(name, input.data, input.dtype ?? declared) };
  }
  const shape: number[] = [];
  for (let level: Nested = input; Array.isArray(level); level = level[0]) {
    if (shape.length === maxRank) throw invalidArgument(`input "${name}" nests deeper than ${maxRank} levels`);
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat: Scalar[] = [];
  flatten(name, input, shape, 0, flat);
  return { shape, ...elements(name, flat, declared) };
}

const maxRank = 32;

/** A tensor's values as arrays in arrays: numbers, bigints for 64-bit integers, booleans, strings. */
export function toNested(tensor: Tensor): Nested {
  const value = reader(tensor);
  let next = 0;
  const build = (axis: number): Nested => {
    if (axis === tensor.shape.length) return value(next++);
    return Array.from({ length: tensor.shape[axis]! }, () => build(axis + 1));
  };
  return build(0);
}

function reader({ dtype, data }: Tensor): (index: number) => Scalar {
  switch (dtype) {
    case "float16":
      return (index) => float16ToNumber(data[index] as number);
    case "bool":
      return (index) => data[index] !== 0;
    default:
      return (index) => data[index]!;
  }
}

function typedTensor(name: string, shape: Shape, data: NumericData, dtype: ElementType = dtypeOf(data)): Tensor {
  const bits = bitsOf(data);
  const { array } = elementTypeInfo(dtype);
  if (array === undefined || !(bits instanceof array)) {
    throw invalidArgument(
      `input "${name}": dtype ${dtype} takes ${array === undefined ? "strings" : `a ${array.name}`}; got a ${data.constructor.name}`,
    );
  }
  return { dtype, shape, data: bits };
}

function flatten(name: string, value: Nested, shape: readonly number[], axis: number, into: Scalar[]): void {
  if (axis === shape.length) {
    if (typeof value === "object") {
      throw invalidArgument(`input "${name}" nests unevenly: an array where others have a value, at depth ${axis}`);
    }
    into.push(value);
    return;
  }
  if (!Array.isArray(value) || value.length !== shape[axis]) {
    const got = Array.isArray(value) ? `${value.length} elements` : "a value";
    throw invalidArgument(`input "${name}" nests unevenly: ${got} where others have ${shape[axis]}, at depth ${axis}`);
  }
  for (const item of value) flatten(name, item, shape, axis + 1, into);
}

function elements(
  name: string,
  values: readonly Scalar[],
  dtype: ElementType | undefined,
): { readonly dtype: ElementType; readonly data: Tensor["data"] } {
  if (dtype === undefined) throw invalidArgument(`input "${name}": its element type is not known; give dtype`);
  if (dtype === "string") {
    for (const value of values) if (typeof value !== "string") throw misfit(name, value, dtype);
    return { dtype, data: values as readonly string[] };
  }
  const { array } = elementTypeInfo(dtype);
  if (array === undefined) throw invalidArgument(`input "${name}": element type ${dtype} has no array form`);
  const data = new array(values.length);
  for (let i = 0; i < values.length; i++) data[i] = element(name, values[i]!, dtype) as never;
  return { dtype, data };
}

/** The value as its array takes it; refused where the array would quietly hold another. */
function element(name: string, value: Scalar, dtype: ElementType): number | bigint {
  switch (dtype) {
    case "bool":
      if (typeof value === "boolean") return value ? 1 : 0;
      break;
    case "float32":
    case "float64":
    case "float16": {
      if (typeof value !== "number") break;
      const held = dtype === "float16" ? numberToFloat16(value) : value;
      const nearest = dtype === "float16" ? float16ToNumber(held) : dtype === "float32" ? Math.fround(value) : value;
      if (Number.isFinite(value) && !Number.isFinite(nearest)) break;
      return held;
    }
    case "int64":
    case "uint64": {
      if (typeof value !== "bigint" && !(typeof value === "number" && Number.isSafeInteger(value))) break;
      const wide = BigInt(value);
      if (wide === (dtype === "int64" ? BigInt.asIntN(64, wide) : BigInt.asUintN(64, wide))) return wide;
      break;
    }
    default: {
      const { array } = elementTypeInfo(dtype);
      const number = typeof value === "bigint" ? Number(value) : value;
      if (dtype === "bfloat16" || typeof number !== "number") break;
      const held = new array!(1);
      held[0] = number as never;
      if (held[0] === number) return number;
    }
  }
  throw misfit(name, value, dtype);
}

function misfit(name: string, value: Scalar, dtype: ElementType) {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 64)) : String(value);
  return invalidArgument(`input "${name}": ${typeof value} ${shown} is not a ${dtype}`);
}

const dtypes: Readonly<Record<string, ElementType>> = {
  Float16Array: "float16",
  Float32Array: "float32",
  Float64Array: "float64",
  Int8Array: "int8",
  Int16Array: "int16",
  Int32Array: "int32",
  BigInt64Array: "int64",
  Uint8Array: "uint8",
  Uint16Array: "uint16",
  Uint32Array: "uint32",
  BigUint64Array: "uint64",
};

function tagOf(data: NumericData): string {
  return data[Symbol.toStringTag];
}

function isTypedArray(value: TensorInput | readonly Scalar[]): value is NumericData {
  return ArrayBuffer.isView(value) && tagOf(value as NumericData) in dtypes;
}

function isNdArray(value: TensorInput): value is NdArray {
  return typeof value === "object" && "shape" in value && "data" in value;
}

function dtypeOf(data: NumericData): ElementType {
  return dtypes[tagOf(data)]!;
}

/** A Float16Array, which newer runtimes have, as the bit patterns that travel; anything else as it is. */
function bitsOf(data: NumericData): NumericData {
  return tagOf(data) === "Float16Array" ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
}
