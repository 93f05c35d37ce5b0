import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type TensorProtoLimits, TensorProtoSource } from "../../../src/api/codecs/tensor-proto-source.js";
import { WireReader } from "../../../src/api/codecs/wire-reader.js";
import { Code, StatusError } from "../../../src/status.js";
import { elementTypes, type NumericData } from "../../../src/tensor/index.js";
import { bytesField, doubleBytes, floatBytes, shape, varint, varintField } from "../../support/wire-message.js";

const DT = { float: 1, double: 2, int32: 3, uint8: 4, int16: 5, int8: 6, string: 7, int64: 9, bool: 10 } as const;
const DT2 = { bfloat16: 14, uint16: 17, half: 19, uint32: 22, uint64: 23 } as const;

const dtype = (number: number) => varintField(1, number);
const dims = (...sizes: (number | bigint)[]) => bytesField(2, shape(...sizes));
const content = (bytes: Iterable<number> | string) => bytesField(4, bytes);
const floats = (...values: number[]) => bytesField(5, values.flatMap(floatBytes));
const packed = (field: number, ...values: (number | bigint)[]) => bytesField(field, values.flatMap(varint));

function read(fields: number[][], limits?: TensorProtoLimits): TensorProtoSource {
  const bytes = Uint8Array.from(fields.flat());
  const source = new TensorProtoSource(bytes, limits);
  source.merge(new WireReader(bytes));
  source.finish();
  return source;
}

function values(...fields: number[][]): readonly (number | bigint | string)[] {
  const source = read(fields);
  assert.equal(source.invalid, undefined);
  return [...(source.decode().data as NumericData)] as number[];
}

const invalid = (...fields: number[][]) => read(fields).invalid ?? "";

describe("TensorProtoSource: shapes", () => {
  it("takes a missing shape for a scalar, of unknown rank too", () => {
    assert.deepEqual(read([dtype(DT.float), floats(5)]).shape, []);
    const unknownRank = read([dtype(DT.float), bytesField(2, varintField(3, 1)), floats(5)]);
    assert.equal(unknownRank.invalid, undefined);
    assert.deepEqual(unknownRank.decode(), { dtype: "float32", shape: [], data: Float32Array.of(5) });
  });

  it("takes a dimension without a size for 0, and ignores names", () => {
    assert.deepEqual(values(dtype(DT.float), bytesField(2, bytesField(2, bytesField(2, "batch"))), floats(5)), []);
  });

  it("refuses negative dimensions, more than 254 of them, and products that cannot be counted", () => {
    assert.match(invalid(dtype(DT.float), dims(-1)), /shape \[-1\] has a negative dimension/);
    assert.match(invalid(dtype(DT.float), dims(2, -(2n ** 63n))), /negative dimension/);
    assert.equal(invalid(dtype(DT.float), dims(...Array(254).fill(1)), floats(1)), "");
    assert.match(invalid(dtype(DT.float), dims(...Array(255).fill(1)), floats(1)), /more than 254 dimensions/);
    assert.match(invalid(dtype(DT.float), dims(...Array(10_000).fill(1)), floats(1)), /more than 254 dimensions/);
    assert.match(invalid(dtype(DT.float), dims(2n ** 62n, 2n ** 62n)), /more elements than can be counted/);
    assert.match(invalid(dtype(DT.float), dims(2n ** 63n - 1n)), /more elements than can be counted/);
  });

  it("merges shapes sent in parts", () => {
    assert.deepEqual(read([dtype(DT.float), dims(2), dims(3), floats(1)]).shape, [2, 3]);
  });
});

describe("TensorProtoSource: types", () => {
  it("refuses no type, unknown types and references, by number", () => {
    assert.match(invalid(floats(1)), /dtype is not set/);
    assert.match(invalid(dtype(0), floats(1)), /dtype is not set/);
    assert.match(invalid(dtype(101), floats(1)), /dtype 101 is a reference type/);
    for (const number of [11, 12, 13, 15, 16, 20, 21, 27, 33, 99, 1000]) {
      assert.match(invalid(dtype(number)), new RegExp(`dtype ${number} is no type of an ONNX tensor`));
    }
    assert.match(invalid(dtype(-1)), /no type/);
  });

  it("knows every type of the table by its TensorFlow number", () => {
    for (const { name, tensorflow } of elementTypes) {
      const source = read([dtype(tensorflow), dims(0)]);
      assert.equal(source.invalid, undefined, name);
      assert.equal(source.dtype, name);
    }
  });

  it("takes the last dtype given", () => {
    assert.equal(read([dtype(DT.float), dtype(DT.int32)]).dtype, "int32");
  });
});

describe("TensorProtoSource: tensor_content", () => {
  it("wins over typed values, and must have exactly the size", () => {
    assert.deepEqual(values(dtype(DT.float), dims(1), floats(5), content(floatBytes(7))), [7]);
    const want = "tensor_content holds 3 bytes; float [1] takes 4";
    assert.equal(invalid(dtype(DT.float), dims(1), content([1, 2, 3])), want);
    assert.match(invalid(dtype(DT.float), content([1, 2, 3, 4, 5])), /holds 5 bytes; float \[\] takes 4/);
    assert.match(invalid(dtype(DT.int64), dims(2), content(Array(15).fill(0))), /holds 15 bytes; int64 \[2\] takes 16/);
  });

  it("counts for nothing when it is empty", () => {
    assert.deepEqual(values(dtype(DT.float), content([]), floats(5)), [5]);
    assert.deepEqual(values(dtype(DT.float), content(floatBytes(7)), content([]), floats(5)), [5]);
  });

  it("holds bools as bytes of 0 and 1, and nothing else", () => {
    assert.deepEqual(values(dtype(DT.bool), dims(3), content([1, 0, 1])), [1, 0, 1]);
    assert.throws(
      () => read([dtype(DT.bool), dims(3), content([1, 0, 2])]).decode(),
      (error) =>
        error instanceof StatusError &&
        error.code === Code.INVALID_ARGUMENT &&
        error.message === "element 2 of a bool tensor is 2; expected 0 or 1",
    );
  });

  it("holds strings as all lengths, then all bytes", () => {
    assert.deepEqual(values(dtype(DT.string), dims(3), content([2, 0, 3, ...Buffer.from("abcde")])), ["ab", "", "cde"]);
    const long = "z".repeat(300);
    assert.deepEqual(values(dtype(DT.string), content([...varint(300), ...Buffer.from(long)])), [long]);
    const throwing = (bytes: number[], count: number) => () =>
      read([dtype(DT.string), dims(count), content(bytes)]).decode();
    assert.throws(throwing([2, 97], 1), /holds 1 bytes of strings; their lengths say 2/);
    assert.throws(throwing([1, 97, 97], 1), /holds 2 bytes of strings; their lengths say 1/);
    assert.throws(throwing([0x80, 0x80], 2), /fewer than the lengths of 2 strings/);
    assert.match(
      invalid(dtype(DT.string), dims(1_000_000), content([0])),
      /holds 1 bytes; string \[1000000\] takes more/,
    );
  });

  it("is not looked at when the shape is empty", () => {
    assert.deepEqual(values(dtype(DT.float), dims(0, 5), content([1, 2, 3]), floats(1, 2)), []);
    assert.deepEqual(values(dtype(DT.string), dims(2, 0), content([9])), []);
  });
});

describe("TensorProtoSource: typed values", () => {
  it("ignores a surplus, repeats the last value, and takes none for zeros", () => {
    assert.deepEqual(values(dtype(DT.float), dims(2), floats(1, 2, 3)), [1, 2]);
    assert.deepEqual(values(dtype(DT.float), dims(4), floats(1, 2)), [1, 2, 2, 2]);
    assert.deepEqual(values(dtype(DT.float), dims(3)), [0, 0, 0]);
    assert.deepEqual(values(dtype(DT.int64), dims(3), packed(10, 5n)), [5n, 5n, 5n]);
    assert.deepEqual(values(dtype(DT.bool), dims(3), packed(11, 1)), [1, 1, 1]);
    assert.deepEqual(values(dtype(DT.string), dims(3), bytesField(8, "a"), bytesField(8, "b")), ["a", "b", "b"]);
    assert.deepEqual(values(dtype(DT.string), dims(2)), ["", ""]);
  });

  it("looks only at the field of the type", () => {
    assert.deepEqual(values(dtype(DT.float), dims(2), packed(7, 1, 2), bytesField(6, doubleBytes(3))), [0, 0]);
    assert.deepEqual(values(dtype(DT2.uint32), packed(7, 1), packed(16, 2), packed(17, 3)), [2]);
  });

  it("narrows integers as TensorFlow does: the low bits count", () => {
    assert.deepEqual(values(dtype(DT.uint8), dims(4), packed(7, 255, 256, 300, -1)), [255, 0, 44, 255]);
    assert.deepEqual(values(dtype(DT.int8), dims(4), packed(7, 127, 128, -128, -129)), [127, -128, -128, 127]);
    assert.deepEqual(values(dtype(DT.int16), dims(2), packed(7, 32_768, -32_769)), [-32_768, 32_767]);
    assert.deepEqual(values(dtype(DT2.uint16), dims(2), packed(7, 65_535, 65_536)), [65_535, 0]);
    assert.deepEqual(
      values(dtype(DT.int32), dims(3), packed(7, -1, 2n ** 31n - 1n, 2n ** 32n + 5n)),
      [-1, 2147483647, 5],
    );
  });

  it("is exact over all of int64 and uint64", () => {
    const signed = [0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
    assert.deepEqual(values(dtype(DT.int64), dims(6), packed(10, ...signed)), signed);
    const unsigned = [0n, 127n, 128n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];
    assert.deepEqual(values(dtype(DT2.uint64), dims(6), packed(17, ...unsigned)), unsigned);
    assert.deepEqual(values(dtype(DT2.uint32), dims(2), packed(16, 2 ** 32 - 1, 2 ** 31)), [2 ** 32 - 1, 2 ** 31]);
  });

  it("takes half and bfloat16 for bit patterns, never for numbers", () => {
    assert.deepEqual(values(dtype(DT2.half), dims(3), packed(13, 15_360, 65_535, 65_536 + 7)), [15_360, 65_535, 7]);
    assert.deepEqual(values(dtype(DT2.bfloat16), packed(13, 16_256)), [16_256]);
  });

  it("takes every bool varint that is not 0 for true", () => {
    assert.deepEqual(values(dtype(DT.bool), dims(4), packed(11, 0, 1, 2, 2n ** 40n)), [0, 1, 1, 1]);
    assert.deepEqual(values(dtype(DT.bool), bytesField(11, [0x80, 0x80, 0])), [0]);
  });

  it("keeps floats bit by bit: NaN payloads, -0, infinities, the smallest", () => {
    const patterns = Uint32Array.of(0x7fc00001, 0xffc12345, 0x80000000, 0x7f800000, 1);
    const source = read([dtype(DT.float), dims(5), bytesField(5, new Uint8Array(patterns.buffer))]);
    const data = source.decode().data as Float32Array;
    assert.deepEqual(new Uint32Array(data.slice().buffer), patterns);
  });

  it("refuses varints of more than ten bytes", () => {
    const endless = [...Array(12).fill(0x80), 1];
    for (const [number, field] of [
      [DT.int32, 7],
      [DT.int64, 10],
      [DT.bool, 11],
    ] as const) {
      assert.throws(() => read([dtype(number), bytesField(field, endless)]).decode(), /more than 10 bytes/);
    }
  });
});

describe("TensorProtoSource: strings", () => {
  it("are text: what the runtime would cut or mangle is refused, with its place", () => {
    const strings = (...texts: (string | number[])[]) => [
      dtype(DT.string),
      dims(texts.length),
      ...texts.map((text) => bytesField(8, text)),
    ];
    assert.deepEqual(values(...strings("naïve 日本 😀", "\ufeffbom")), ["naïve 日本 😀", "\ufeffbom"]);
    const refused = (texts: (string | number[])[], words: RegExp) =>
      assert.throws(
        () => read(strings(...texts)).decode(),
        (error) => error instanceof StatusError && error.code === Code.INVALID_ARGUMENT && words.test(error.message),
      );
    refused(["ok", "a\0b"], /^element 1 holds a NUL byte/);
    refused(["é\0"], /^element 0 holds a NUL byte/);
    refused(["ok", "ok", [0xff]], /^element 2 is not UTF-8/);
    refused([[0xc3]], /not UTF-8/);
    refused([[0xed, 0xa0, 0x80]], /not UTF-8/); // a surrogate on its own
    refused([[0xc0, 0x80]], /not UTF-8/); // NUL in too many bytes
    assert.throws(
      () => read([dtype(DT.string), dims(2), content([1, 1, 97, 0])]).decode(),
      /^StatusError: element 1 holds a NUL/,
    );
  });
});

describe("TensorProtoSource: what a small message may ask for", () => {
  const limits = { maxFillBytes: 1000 };

  it("fills up to a bound, and refuses beyond it before anything is allocated", () => {
    assert.equal(read([dtype(DT.float), dims(250), floats(1)], limits).invalid, undefined);
    assert.equal(
      read([dtype(DT.float), dims(251), floats(1)], limits).invalid,
      "float [251] takes 1004 bytes and only 1 of its 251 values are given; " +
        "no more than 1000 bytes are filled with the last value",
    );
    assert.match(read([dtype(DT.float), dims(2n ** 40n)], limits).invalid ?? "", /only 0 of its 1099511627776 values/);
    assert.match(read([dtype(DT.string), dims(126)], limits).invalid ?? "", /takes 1008 bytes/);
  });

  it("has no bound for values that are all there", () => {
    const all = Array.from({ length: 2000 }, (_, index) => index);
    for (const [number, field] of [
      [DT.int32, 7],
      [DT.int64, 10],
      [DT2.uint64, 17],
    ] as const) {
      const source = read([dtype(number), dims(2000), packed(field, ...all)], limits);
      assert.equal(source.invalid, undefined);
      assert.equal(Number((source.decode().data as NumericData)[1999]), 1999);
    }
    const unpacked = all.flatMap((value) => varintField(7, value));
    assert.equal(read([dtype(DT.int32), dims(2000), unpacked], limits).invalid, undefined);
    assert.equal(read([dtype(DT.float), dims(2000), floats(...all)], limits).invalid, undefined);
    assert.match(read([dtype(DT.float), dims(2001), floats(...all)], limits).invalid ?? "", /only 2000 of its 2001/);
  });

  it("has a bound for strings, whatever they take on the wire", () => {
    assert.match(invalid(dtype(DT.string), dims(4_194_305)), /has more than 4194304 elements/);
  });
});
