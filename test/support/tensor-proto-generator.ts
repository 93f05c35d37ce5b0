// Random TensorProtos and PredictRequests, and random ways to write them down.
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import type { DataType } from "../gen/tensorflow/core/framework/types.js";
import type { SeededRandom } from "./seeded-random.js";
import {
  bytesField,
  doubleBytes,
  entry,
  fixed32Field,
  fixed64Field,
  floatBytes,
  group,
  varint,
  varintField,
} from "./wire-message.js";

const dtypes = [1, 2, 3, 4, 5, 6, 7, 9, 10, 14, 17, 19, 22, 23];
const oddDtypes = [0, 8, 11, 18, 20, 21, 24, 29, 101, 107, 999];

/** A tensor of any type and a small shape; most are valid. */
export function randomTensor(random: SeededRandom): TensorProto {
  const message = TensorProto.create();
  message.dtype = (random.chance(0.05) ? random.pick(oddDtypes) : random.pick(dtypes)) as DataType;
  const rank = random.below(4);
  const dims = Array.from({ length: rank }, () => (random.chance(0.03) ? -1 : random.below(5)));
  if (rank > 0 || random.chance(0.5)) {
    message.tensorShape = {
      dim: dims.map((size) => ({ size: BigInt(size), name: random.chance(0.1) ? "batch" : "" })),
      unknownRank: random.chance(0.05),
    };
  }
  message.versionNumber = random.chance(0.1) ? random.below(1000) : 0;
  const count = dims.reduce((product, size) => product * Math.max(size, 0), 1);
  if (random.chance(0.35)) {
    message.tensorContent = randomContent(random, message.dtype, count);
    if (random.chance(0.7)) return message;
  }
  // Too few, just enough, or too many values, and now and then some in a field that is not the dtype's.
  const given = random.pick([0, 1, count, count, count, Math.floor(count / 2), count + 3]);
  giveValues(random, message, message.dtype, given);
  if (random.chance(0.2)) giveValues(random, message, random.pick(dtypes), random.below(4));
  return message;
}

const elementBytes: Readonly<Record<number, number>> = {
  1: 4,
  2: 8,
  3: 4,
  9: 8,
  22: 4,
  23: 8,
  5: 2,
  14: 2,
  17: 2,
  19: 2,
  8: 8,
};

function randomContent(random: SeededRandom, dtype: number, count: number): Buffer {
  if (dtype === 7) {
    const texts = Array.from({ length: count }, () => Buffer.from(randomText(random)));
    return Buffer.concat([Buffer.from(texts.flatMap((text) => varint(text.length))), ...texts]);
  }
  const length = count * (elementBytes[dtype] ?? 1) + (random.chance(0.1) ? random.below(5) - 2 : 0);
  const bound = dtype === 10 && random.chance(0.9) ? 2 : 256;
  return Buffer.from(Array.from({ length: Math.max(length, 0) }, () => random.below(bound)));
}

function giveValues(random: SeededRandom, message: TensorProto, dtype: number, count: number): void {
  for (let i = 0; i < count; i++) {
    if (dtype === 1) message.floatVal.push(Math.fround(randomDouble(random)));
    else if (dtype === 2) message.doubleVal.push(randomDouble(random));
    else if (dtype === 7) message.stringVal.push(Buffer.from(randomText(random)));
    else if (dtype === 8) message.scomplexVal.push(1.5);
    else if (dtype === 18) message.dcomplexVal.push(1.5);
    else if (dtype === 9) message.int64Val.push(BigInt.asIntN(64, randomWide(random)));
    else if (dtype === 10) message.boolVal.push(random.chance(0.5));
    else if (dtype === 14 || dtype === 19) message.halfVal.push(random.below(65_536));
    else if (dtype === 22) message.uint32Val.push(random.uint32());
    else if (dtype === 23) message.uint64Val.push(randomWide(random));
    else message.intVal.push(random.chance(0.5) ? random.below(300) - 150 : random.uint32() | 0);
  }
}

function randomDouble(random: SeededRandom): number {
  return random.pick([0, -0, 1, Number.POSITIVE_INFINITY, Number.NaN, random.next() * 1e10, -random.next(), 5e-324]);
}

function randomWide(random: SeededRandom): bigint {
  const value = random.uint64();
  return random.pick([0n, 1n, 127n, 128n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 64n - 1n, value, value >> 40n]);
}

export function randomText(random: SeededRandom): string {
  return random.pick(["", "a", "hello", "naïve", "日本", "😀", "x".repeat(random.below(300)), "\ufeffbom", "tab\t"]);
}

/** The message's bytes: fields in any order, packed, unpacked and in pieces, with fields nobody knows in between. */
export function writeTensorOddly(random: SeededRandom, message: TensorProto): number[] {
  const fields: number[][] = [];
  if (message.dtype !== 0 || random.chance(0.5)) fields.push(varintField(1, message.dtype));
  if (message.tensorShape !== undefined) {
    const dims = message.tensorShape.dim.flatMap(({ size, name }) =>
      bytesField(2, [
        ...(name === "" ? [] : bytesField(2, name)),
        ...(size === 0n && random.chance(0.5) ? [] : varintField(1, size)),
        ...unknown(random, [3, 4]),
      ]),
    );
    fields.push(bytesField(2, [...(message.tensorShape.unknownRank ? varintField(3, 1) : []), ...dims]));
  }
  if (message.versionNumber !== 0) fields.push(varintField(3, message.versionNumber));
  if (message.tensorContent.length > 0) fields.push(bytesField(4, message.tensorContent));
  const pieces = <T>(values: readonly T[], field: number, encode: (value: T) => number[], single: SingleField) => {
    const out = writeInPieces(random, values, field, encode, single);
    if (out.length > 0) fields.push(out);
  };
  const single = singleVarint;
  pieces(message.floatVal, 5, floatBytes, fixed32Field);
  pieces(message.doubleVal, 6, doubleBytes, fixed64Field);
  pieces(message.intVal, 7, varint, single);
  fields.push(message.stringVal.flatMap((bytes) => bytesField(8, bytes)));
  pieces(message.scomplexVal, 9, floatBytes, fixed32Field);
  pieces(message.int64Val, 10, varint, single);
  pieces(message.boolVal, 11, (value) => [value ? 1 : 0], single);
  pieces(message.dcomplexVal, 12, doubleBytes, fixed64Field);
  pieces(message.halfVal, 13, varint, single);
  pieces(message.uint32Val, 16, varint, single);
  pieces(message.uint64Val, 17, varint, single);
  if (random.chance(0.5)) fields.sort(() => random.next() - 0.5);
  return fields.flatMap((field) => [...field, ...unknown(random, [19, 20, 5000])]);
}

type SingleField = (field: number, payload: Iterable<number>) => number[];

/** A varint that stands alone. */
export const singleVarint: SingleField = (field, payload) => [...varint(field << 3), ...payload];

/**
 * A repeated field of numbers in runs and single values. Order within a field matters, so that its pieces stay in order;
 * unknown fields may stand between them.
 */
export function writeInPieces<T>(
  random: SeededRandom,
  values: readonly T[],
  field: number,
  encode: (value: T) => number[],
  single: SingleField,
): number[] {
  const out: number[] = [];
  for (let at = 0; at < values.length; ) {
    const length = random.chance(0.6) ? values.length - at : 1 + random.below(values.length - at);
    const run = values.slice(at, at + length);
    if (random.chance(0.3)) for (const value of run) out.push(...single(field, encode(value)));
    else out.push(...bytesField(field, run.flatMap(encode)));
    out.push(...unknown(random, [19, 500]));
    at += length;
  }
  return out;
}

/** Now and then a field of each wire type that no message here has. */
export function unknown(random: SeededRandom, numbers: readonly number[]): number[] {
  if (random.chance(0.85)) return [];
  const number = random.pick(numbers);
  switch (random.below(5)) {
    case 0:
      return varintField(number, random.uint64());
    case 1:
      return fixed64Field(number, [1, 2, 3, 4, 5, 6, 7, 8]);
    case 2:
      return bytesField(number, [8, 1, 255]);
    case 3:
      return group(number, [...varintField(1, 5), ...group(2, bytesField(3, "deep"))]);
    default:
      return fixed32Field(number, [255, 255, 255, 255]);
  }
}

/** A PredictRequest written oddly, one alias possibly twice. */
export function randomPredictRequest(random: SeededRandom): Uint8Array {
  const fields: number[][] = [];
  if (random.chance(0.9)) {
    const version = random.pick([[], varintField(1, random.below(1e6)), varintField(1, -5n)]);
    const choice = random.pick([[], bytesField(2, version), bytesField(4, random.pick(["", "stable"]))]);
    const spec = [...bytesField(1, "model"), ...choice, ...bytesField(3, random.pick(["", "serving_default"]))];
    fields.push(bytesField(1, [...spec, ...unknown(random, [9, 77])]));
  }
  const aliases = ["x", "y", "images", "__proto__", "constructor", "ключ", "a".repeat(100), ""];
  for (let count = random.below(5); count > 0; count--) {
    fields.push(entry(2, random.pick(aliases), writeTensorOddly(random, randomTensor(random))));
  }
  for (let count = random.below(3); count > 0; count--) fields.push(bytesField(3, random.pick(aliases)));
  if (random.chance(0.1)) fields.push(bytesField(5, varintField(1, 2)));
  if (random.chance(0.1)) fields.push(bytesField(6, "client"));
  if (random.chance(0.1)) fields.push(bytesField(7, [...varintField(4, 7), ...bytesField(4, [1, 2, 3])]));
  return Uint8Array.from(fields.flatMap((field) => [...field, ...unknown(random, [4, 100, 70_000])]));
}
