import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  elementCount,
  elementTypeInfo,
  elementTypeOfOnnx,
  elementTypeOfTensorflow,
  elementTypes,
  viewAs,
} from "../../src/tensor/index.js";

describe("elementTypeInfo", () => {
  it("knows types after it was asked for what is none, as untyped callers do", () => {
    assert.equal(elementTypeInfo("float" as "float32"), undefined);
    assert.equal(elementTypeInfo("int64").bytesPerElement, 8);
    assert.equal(elementTypeInfo("float32").bytesPerElement, 4);
  });
});

describe("elementCount", () => {
  it("multiplies the sizes, a scalar being one element", () => {
    assert.equal(elementCount([]), 1);
    assert.equal(elementCount([2, 3]), 6);
  });
  it("is 0 as soon as one size is 0, however large the others", () => {
    assert.equal(elementCount([2 ** 50, 0, 2 ** 50]), 0);
  });
  it("is undefined for negative sizes, fractions and products that a double cannot hold", () => {
    for (const shape of [[-1], [0, -1], [1.5], [2 ** 30, 2 ** 30], [Number.NaN], [Infinity]]) {
      assert.equal(elementCount(shape), undefined, `[${shape}]`);
    }
  });
});

describe("viewAs", () => {
  it("shares memory where the bytes lie aligned, and copies once where they do not", () => {
    const buffer = new Uint8Array(new Float32Array([1, 2, 3]).buffer);
    assert.equal(viewAs("float32", buffer).buffer, buffer.buffer);
    const shifted = new Uint8Array(13);
    shifted.set(buffer, 1);
    const copied = viewAs("float32", shifted.subarray(1));
    assert.notEqual(copied.buffer, shifted.buffer);
    assert.deepEqual([...copied], [1, 2, 3]);
  });
});

describe("the table of element types", () => {
  it("gives each number of ONNX and of TensorFlow to one type", () => {
    for (const info of elementTypes) {
      assert.equal(elementTypeOfOnnx(info.onnx), info);
      assert.equal(elementTypeOfTensorflow(info.tensorflow), info);
      if (info.array !== undefined) assert.equal(info.array.BYTES_PER_ELEMENT, info.bytesPerElement);
    }
  });
});
