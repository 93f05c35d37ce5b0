import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { writeFloat32, writeFloat64, writeUint32 } from "../../../src/api/codecs/json-float.js";
import { SeededRandom } from "../../support/seeded-random.js";

const bytes = Buffer.alloc(32);
const text = (write: typeof writeFloat32, value: number) => bytes.toString("latin1", 0, write(bytes, 0, value));
const single = (value: number) => text(writeFloat32, Math.fround(value));
const double = (value: number) => text(writeFloat64, value);

describe("writeFloat32", () => {
  const table: readonly (readonly [value: number, text: string])[] = [
    [0, "0.0"],
    [-0, "-0.0"],
    [1, "1.0"],
    [0.1, "0.1"],
    [2.5, "2.5"],
    [-3.25, "-3.25"],
    [999999, "999999.0"],
    [1e6, "1e+06"],
    [123456.7, "123456.703"],
    [1234567, "1234567.0"],
    [3e-5, "3e-05"],
    [0.0001, "0.0001"],
    [0.00012345678, "0.000123456775"],
    [16777216, "16777216.0"],
    [1e20, "1e+20"],
    [1 / 3, "0.333333343"],
    [Math.PI, "3.14159274"],
    [999999.9, "999999.875"],
    [9.999999, "9.99999905"],
    [0.99999994, "0.99999994"],
    [67451296, "6.74513e+07"], // half-way between two float32, and the even one
    [1024.015625, "1024.01562"], // half-way between two texts, and the even one
    [3.4028234663852886e38, "3.40282347e+38"],
    [1.1754943508222875e-38, "1.17549435e-38"],
    [1.401298464324817e-45, "1.4013e-45"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "Infinity"],
    [Number.NEGATIVE_INFINITY, "-Infinity"],
  ];
  for (const [value, expected] of table) {
    it(`writes ${value} as ${expected}`, () => assert.equal(single(value), expected));
  }

  it("writes text that reads back as the same float, in six digits exactly when those are enough", () => {
    const random = new SeededRandom(1);
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    for (let round = 0; round < 30_000; round += 1) {
      bits[0] = random.uint32();
      if (round % 3 === 1) float[0] = random.below(2e6) / 10 ** random.below(8);
      if (round % 3 === 2) float[0] = random.below(1e7) * 2 ** -random.below(20);
      const value = float[0]!;
      if (!Number.isFinite(value)) continue;
      const written = single(value);
      assert.ok(Object.is(Math.fround(Number(written)), value), `${value} became ${written}`);
      assert.match(written, /^-?\d+(\.\d+)?(e[+-]\d\d)?$/);
      assert.ok(/[.e]/.test(written));
      const digits = written.replace(/e.*|[-.]/g, "").replace(/^0+|(?<=\.\d*)0+$/g, "").length;
      if (Math.fround(Number(value.toPrecision(6))) === value) assert.ok(digits <= 8, `${value} became ${written}`);
    }
  });
});

describe("writeFloat64", () => {
  const table: readonly (readonly [value: number, text: string])[] = [
    [1 / 3, "0.33333333333333331"],
    [1e6, "1e+06"],
    [0.5, "0.5"],
    [0.1, "0.1"],
    [-1.5e300, "-1.5e+300"],
    [1.7976931348623157e308, "1.7976931348623157e+308"],
    [5e-324, "4.94066e-324"],
    [123456789, "123456789.0"],
    [2 ** 53, "9007199254740992.0"],
    [2 ** 53 + 2, "9007199254740994.0"],
    [1e17, "1e+17"],
    [2 ** 49 + 0.125, "562949953421312.12"], // half-way between two texts, and the even one
    [Math.fround(0.1), "0.10000000149011612"],
    [-0, "-0.0"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "-Infinity"],
  ];
  for (const [value, expected] of table) {
    it(`writes ${value} as ${expected}`, () => assert.equal(double(value), expected));
  }

  it("writes text that reads back as the same number", () => {
    const random = new SeededRandom(2);
    const bits = new Uint32Array(2);
    const float = new Float64Array(bits.buffer);
    for (let round = 0; round < 20_000; round += 1) {
      bits[0] = random.uint32();
      bits[1] = random.uint32();
      if (round % 2 === 1) float[0] = random.below(1e9) / 10 ** random.below(12);
      const value = float[0]!;
      if (Number.isFinite(value))
        assert.ok(Object.is(Number(double(value)), value), `${value} became ${double(value)}`);
    }
  });
});

describe("writeUint32", () => {
  for (const value of [0, 9, 10, 99, 100, 12345, 2147483648, 4294967295]) {
    it(`writes ${value}`, () => assert.equal(bytes.toString("latin1", 0, writeUint32(bytes, 0, value)), `${value}`));
  }
});
