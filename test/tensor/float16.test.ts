import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bfloat16ToNumber, float16ToNumber, numberToFloat16 } from "../../src/tensor/index.js";

describe("float16", () => {
  it("returns every one of the 65536 bit patterns to itself, but for the payload of NaN", () => {
    for (let pattern = 0; pattern < 65_536; pattern++) {
      const value = float16ToNumber(pattern);
      if (Number.isNaN(value)) assert.ok(Number.isNaN(float16ToNumber(numberToFloat16(value))));
      else assert.equal(numberToFloat16(value), pattern);
    }
  });

  it("knows the landmarks of binary16", () => {
    assert.equal(float16ToNumber(0x3c00), 1);
    assert.equal(float16ToNumber(0x7bff), 65_504);
    assert.equal(float16ToNumber(0x0001), 2 ** -24);
    assert.equal(float16ToNumber(0x0400), 2 ** -14);
    assert.ok(Object.is(float16ToNumber(0x8000), -0));
    assert.equal(float16ToNumber(0xfc00), -Infinity);
  });

  it("rounds once, to the nearest, ties to even", () => {
    assert.equal(float16ToNumber(numberToFloat16(2049)), 2048); // half-way, 2048 is even
    assert.equal(float16ToNumber(numberToFloat16(2051)), 2052);
    assert.equal(numberToFloat16(65_519.99), 0x7bff);
    assert.equal(numberToFloat16(65_520), 0x7c00);
    assert.equal(numberToFloat16(2 ** -25), 0); // half-way to the smallest subnormal
    assert.equal(numberToFloat16(2 ** -25 * 1.0000001), 1);
    // 1 + 2^-11 + 2^-26: through float32 it would round to the tie and then down to 1.
    assert.equal(float16ToNumber(numberToFloat16(1 + 2 ** -11 + 2 ** -26)), 1 + 2 ** -10);
  });
});

describe("bfloat16", () => {
  it("is the upper half of a float32", () => {
    assert.equal(bfloat16ToNumber(0x3f80), 1);
    assert.equal(bfloat16ToNumber(0xff80), -Infinity);
    assert.equal(bfloat16ToNumber(0x0001), 2 ** -133);
  });
});
