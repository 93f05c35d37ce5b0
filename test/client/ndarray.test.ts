import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isUntyped, type TensorInput, toNested, toTensor } from "../../src/client/ndarray.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";

const refused = (message: RegExp, input: TensorInput, declared?: ElementType) =>
  rejectsWith("INVALID_ARGUMENT", message, () => toTensor("x", input, declared));

describe("an input", () => {
  it("of a typed array has its element type and one dimension", () => {
    const cases: readonly [TensorInput, ElementType][] = [
      [new Float32Array([1, 2]), "float32"],
      [new Float64Array(2), "float64"],
      [new Int8Array(2), "int8"],
      [new Int16Array(2), "int16"],
      [new Int32Array(2), "int32"],
      [new BigInt64Array(2), "int64"],
      [new Uint8Array(2), "uint8"],
      [Buffer.from([1, 2]), "uint8"],
      [new Uint16Array(2), "uint16"],
      [new Uint32Array(2), "uint32"],
      [new BigUint64Array(2), "uint64"],
    ];
    for (const [input, dtype] of cases) {
      assert.equal(isUntyped(input), false);
      const tensor = toTensor("x", input, undefined);
      assert.equal(tensor.dtype, dtype);
      assert.deepEqual(tensor.shape, [2]);
      assert.equal(tensor.data, input);
    }
  });

  it("of shape and typed data is taken as it is, and reread as float16 or bool when dtype says so", () => {
    const halves = toTensor("x", { shape: [1, 2], data: new Uint16Array([0x3c00, 0]), dtype: "float16" }, undefined);
    assert.deepEqual(toNested(halves), [[1, 0]]);
    const bools = toTensor("x", { shape: [2], data: new Uint8Array([1, 0]), dtype: "bool" }, undefined);
    assert.deepEqual(toNested(bools), [true, false]);
  });

  it("of nested values takes the declared element type and its own shape", () => {
    assert.deepEqual(toTensor("x", [[1, 2, 3]], "int32"), {
      dtype: "int32",
      shape: [1, 3],
      data: new Int32Array([1, 2, 3]),
    });
    assert.deepEqual(toTensor("x", 5, "float64"), { dtype: "float64", shape: [], data: new Float64Array([5]) });
    assert.deepEqual(toTensor("x", [], "float32"), { dtype: "float32", shape: [0], data: new Float32Array() });
    assert.deepEqual(toTensor("x", [[], []], "float32").shape, [2, 0]);
    assert.deepEqual(toTensor("x", ["a", ""], "string"), { dtype: "string", shape: [2], data: ["a", ""] });
    assert.deepEqual(toTensor("x", [true, false], "bool").data, new Uint8Array([1, 0]));
    assert.deepEqual(toTensor("x", [1, 2n ** 63n - 1n], "int64").data, new BigInt64Array([1n, 2n ** 63n - 1n]));
    assert.deepEqual(toTensor("x", [0.5, Infinity], "float16").data, new Uint16Array([0x3800, 0x7c00]));
    assert.deepEqual(toTensor("x", { shape: [2, 1], data: [1, 2] }, "uint8").data, new Uint8Array([1, 2]));
  });

  it("is refused where its array would quietly hold another value", async () => {
    await refused(/number 256 is not a uint8/, [256], "uint8");
    await refused(/number -1 is not a uint64/, [-1], "uint64");
    await refused(/number 1.5 is not a int32/, [1.5], "int32");
    await refused(/bigint 9223372036854775808 is not a int64/, [2n ** 63n], "int64");
    await refused(/number 9007199254740992 is not a int64/, [2 ** 53], "int64");
    await refused(/number 1e\+300 is not a float32/, [1e300], "float32");
    await refused(/number 65520 is not a float16/, [65520], "float16");
    await refused(/number 1 is not a bool/, [1], "bool");
    await refused(/string "1" is not a float32/, ["1"], "float32");
    await refused(/number 1 is not a string/, [1], "string");
    await refused(/boolean true is not a float32/, [true], "float32");
    assert.deepEqual(toTensor("x", [Number.NaN, -Infinity], "float32").data, new Float32Array([Number.NaN, -Infinity]));
  });

  it("is refused when it nests unevenly, is too deep, or its shape does not take its data", async () => {
    await refused(/1 elements where others have 2, at depth 1/, [[1, 2], [3]], "float32");
    await refused(/a value where others have 2/, [[1, 2], 3], "float32");
    await refused(/an array where others have a value/, [1, [2]], "float32");
    await refused(/does not take 2 elements/, { shape: [3], data: new Float32Array(2) });
    await refused(/does not take 1 elements/, { shape: [-1], data: [1] }, "float32");
    let deep: TensorInput = 1;
    for (let i = 0; i < 40; i++) deep = [deep];
    await refused(/deeper than 32 levels/, deep, "float32");
    await refused(/element type is not known/, [1]);
    await refused(/takes a Uint16Array; got a Float32Array/, {
      shape: [1],
      data: new Float32Array(1),
      dtype: "float16",
    });
  });
});

describe("toNested", () => {
  it("gives bigints for 64-bit integers and rebuilds the shape, empty dimensions included", () => {
    const tensor: Tensor = { dtype: "int64", shape: [2, 1, 2], data: new BigInt64Array([1n, 2n, 3n, 4n]) };
    assert.deepEqual(toNested(tensor), [[[1n, 2n]], [[3n, 4n]]]);
    assert.deepEqual(toNested({ dtype: "float32", shape: [2, 0], data: new Float32Array() }), [[], []]);
    assert.equal(toNested({ dtype: "string", shape: [], data: ["a"] }), "a");
  });
});
