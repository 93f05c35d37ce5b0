import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JsonForm } from "../../../src/api/codecs/json-inputs.js";
import { PredictBody } from "../../../src/api/codecs/json-tensor.js";
import { writePredictResponse } from "../../../src/api/codecs/json-writer.js";
import { type ElementType, numberToFloat16, type Tensor } from "../../../src/tensor/index.js";
import { signatureOf } from "../../support/fake-repository.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { SeededRandom } from "../../support/seeded-random.js";

type Outputs = Readonly<Record<string, Tensor>>;

const tensor = (dtype: ElementType, shape: readonly number[], data: Tensor["data"]): Tensor => ({ dtype, shape, data });
const floats = (shape: readonly number[], values: readonly number[]) =>
  tensor("float32", shape, Float32Array.from(values));

function pieces(outputs: Outputs, form: JsonForm): Buffer[] {
  const iterator = writePredictResponse(new Map(Object.entries(outputs)), form);
  const all: Buffer[] = [];
  for (let step = iterator.next(); step.done !== true; step = iterator.next()) all.push(step.value);
  return all;
}

const write = (outputs: Outputs, form: JsonForm) => Buffer.concat(pieces(outputs, form)).toString();

describe("writePredictResponse", () => {
  const layouts: readonly (readonly [name: string, outputs: Outputs, form: JsonForm, text: string])[] = [
    ["rows of scalars", { y: floats([3], [2.5, 3, 4.5]) }, "row", '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'],
    [
      "rows of lists",
      { y: floats([2, 2], [2.5, 3, 2.5, 3]) },
      "row",
      '{\n    "predictions": [[2.5, 3.0], [2.5, 3.0]\n    ]\n}',
    ],
    ["no rows", { y: floats([0, 2], []) }, "row", '{\n    "predictions": []\n}'],
    ["rows without elements", { y: floats([2, 0], []) }, "row", '{\n    "predictions": [[], []\n    ]\n}'],
    [
      "rows of several outputs",
      { y: floats([2, 1], [1, 2]), 'n"': tensor("int32", [2], Int32Array.of(-3, 4)) },
      "row",
      '{\n    "predictions": [\n        {\n            "y": [1.0],\n            "n\\"": -3\n        },\n        {\n            "y": [2.0],\n            "n\\"": 4\n        }\n    ]\n}',
    ],
    ["no rows of several outputs", { y: floats([0], []), z: floats([0], []) }, "row", '{\n    "predictions": []\n}'],
    ["a column", { y: floats([2, 1], [1, 2]) }, "column", '{\n    "outputs": [[1.0], [2.0]]\n}'],
    ["a scalar", { y: floats([], [2.5]) }, "column", '{\n    "outputs": 2.5\n}'],
    [
      "columns",
      { y: floats([1], [1]), z: floats([], [2]) },
      "column",
      '{\n    "outputs": {\n        "y": [1.0],\n        "z": 2.0\n    }\n}',
    ],
    ["an empty column", { y: floats([2, 0, 3], []) }, "column", '{\n    "outputs": [[], []]\n}'],
    [
      "three dimensions",
      { y: floats([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]) },
      "column",
      '{\n    "outputs": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]\n}',
    ],
  ];
  for (const [name, outputs, form, text] of layouts) {
    it(`lays out ${name}`, () => assert.equal(write(outputs, form), text));
  }

  const values: readonly (readonly [dtype: ElementType, data: Tensor["data"], text: string])[] = [
    [
      "float32",
      Float32Array.of(0.1, Number.NaN, Infinity, -Infinity, -0, 1e6),
      "[0.1, NaN, Infinity, -Infinity, -0.0, 1e+06]",
    ],
    ["float64", Float64Array.of(1 / 3, 1e20), "[0.33333333333333331, 1e+20]"],
    ["float16", Uint16Array.from([1.5, 0.1, 65504].map(numberToFloat16)), "[1.5, 0.0999755859, 65504.0]"],
    ["bfloat16", Uint16Array.of(0x3fc0, 0x7f80), "[1.5, Infinity]"],
    ["int8", Int8Array.of(-128, 127), "[-128, 127]"],
    ["int16", Int16Array.of(-32768, 0), "[-32768, 0]"],
    ["int32", Int32Array.of(-2147483648, 2147483647), "[-2147483648, 2147483647]"],
    ["uint8", Uint8Array.of(255, 10), "[255, 10]"],
    ["uint16", Uint16Array.of(65535), "[65535]"],
    ["uint32", Uint32Array.of(4294967295), "[4294967295]"],
    [
      "int64",
      BigInt64Array.of(-(2n ** 63n), -1n, 0n, 4294967295n, 4294967296n, 9007199254740993n),
      "[-9223372036854775808, -1, 0, 4294967295, 4294967296, 9007199254740993]",
    ],
    ["uint64", BigUint64Array.of(2n ** 64n - 1n, 7n), "[18446744073709551615, 7]"],
    ["bool", Uint8Array.of(1, 0), "[true, false]"],
    ["string", ["a", 'q"\\', "é😀", "\u0000\u001f\n\u007f"], '["a", "q\\"\\\\", "é😀", "\\u0000\\u001F\\n\u007f"]'],
  ];
  for (const [dtype, data, text] of values) {
    it(`writes ${dtype}`, () => {
      assert.equal(write({ y: tensor(dtype, [data.length], data) }, "column"), `{\n    "outputs": ${text}\n}`);
    });
  }

  it("reads 64-bit integers that do not begin their buffer", () => {
    const data = BigInt64Array.of(1n, 2n, -3n).subarray(1);
    assert.match(write({ y: tensor("int64", [2], data) }, "column"), /\[2, -3\]/);
  });

  it("writes strings of outputs named …_bytes in base64", () => {
    const text = write({ image_bytes: tensor("string", [2], ["hi", "é"]), n_bytes: floats([2], [1, 2]) }, "row");
    const { predictions } = JSON.parse(text);
    assert.deepEqual(predictions, [
      { image_bytes: { b64: "aGk=" }, n_bytes: 1 },
      { image_bytes: { b64: "w6k=" }, n_bytes: 2 },
    ]);
  });

  it("refuses what cannot be written so", async () => {
    const row = (outputs: Outputs) => () => write(outputs, "row");
    await rejectsWith("INVALID_ARGUMENT", /^Cannot convert empty tensor map to JSON$/, row({}));
    await rejectsWith("INVALID_ARGUMENT", /^Tensor name: y has no shape information $/, row({ y: floats([], [1]) }));
    await rejectsWith(
      "INVALID_ARGUMENT",
      /^Tensor name: z has inconsistent batch size: 2 expecting: 1$/,
      row({ y: floats([1], [1]), z: floats([2], [1, 2]) }),
    );
    await rejectsWith(
      "INVALID_ARGUMENT",
      /^Failed to write JSON value for tensor type: complex64$/,
      row({ y: tensor("complex64", [1], new Float32Array(2)) }),
    );
  });

  it("comes in pieces, none of them large, that join to what one piece would be", () => {
    const values = Array.from({ length: 40_000 }, (_, index) => index / 7);
    const outputs = { y: floats([10_000, 4], values), n: tensor("int64", [10_000], new BigInt64Array(10_000)) };
    for (const form of ["row", "column"] as const) {
      const all = pieces(outputs, form);
      assert.ok(all.length > 3);
      assert.ok(all.every((piece) => piece.length <= 128 * 1024));
      const { predictions, outputs: columns } = JSON.parse(Buffer.concat(all).toString());
      const y = form === "row" ? predictions.map((row: { y: number[] }) => row.y) : columns.y;
      assert.deepEqual(
        y.flat(),
        Array.from(Float32Array.from(values), (value) => Number(value.toPrecision(9))),
      );
    }
  });

  it("writes strings and names that are larger than a piece", () => {
    const long = "é".repeat(300_000);
    const text = write({ [long]: tensor("string", [3], [long, "b", `${long}c`]), y: floats([3], [1, 2, 3]) }, "row");
    assert.deepEqual(
      JSON.parse(text).predictions.map((row: Record<string, string>) => row[long]),
      [long, "b", `${long}c`],
    );
  });
});

describe("an answer read back as a request", () => {
  const random = new SeededRandom(3);
  const anything: Readonly<Record<string, (length: number) => Tensor["data"]>> = {
    float32: (length) => new Float32Array(Uint32Array.from({ length }, () => random.uint32()).buffer),
    float64: (length) => new Float64Array(BigUint64Array.from({ length }, () => random.uint64()).buffer),
    int64: (length) => BigInt64Array.from({ length }, () => BigInt.asIntN(64, random.uint64())),
    uint64: (length) => BigUint64Array.from({ length }, () => random.uint64()),
    int32: (length) => Int32Array.from({ length }, () => random.uint32()),
    uint8: (length) => Uint8Array.from({ length }, () => random.uint32()),
    bool: (length) => Uint8Array.from({ length }, () => random.below(2)),
    string: (length) =>
      Array.from({ length }, () => String.fromCodePoint(1 + random.below(0xd7ff), 0x10000 + random.below(0x100000))),
  };
  for (const [name, make] of Object.entries(anything)) {
    it(`gives the same ${name} values`, () => {
      const dtype = name as ElementType;
      const data = make(3000);
      const text = write({ x: tensor(dtype, [1000, 3], data) }, "row");
      const body = new PredictBody(Buffer.from(text.replace("predictions", "instances")));
      body.advance(Number.POSITIVE_INFINITY);
      const reader = body.readInputs(signatureOf({ x: [dtype, undefined] }, {}));
      reader.advance(Number.POSITIVE_INFINITY);
      const read = reader.inputs().get("x")!.decode();
      assert.deepEqual(read.shape, [1000, 3]);
      assert.deepEqual(Array.from<unknown>(read.data), Array.from<unknown>(data));
    });
  }
});
