import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { classify } from "../../../src/api/open-inference/classification.js";
import type { OutputView } from "../../../src/api/open-inference/model-view.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { rejectsWith } from "../../support/rejects-with.js";

const output = (labels?: readonly string[]): OutputView => ({
  dtype: "float32",
  dims: [3],
  reshape: undefined,
  optional: false,
  labels,
});
const floats = (shape: readonly number[], ...values: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

describe("classification", () => {
  it("gives the best elements of each row, highest first, floats with six decimals", () => {
    assert.deepEqual(classify(floats([2, 3], 0.1, 0.7, 0.2, 3.3, -1, 10), 2, true, output()), {
      dtype: "string",
      shape: [2, 2],
      data: ["0.700000:1", "0.200000:2", "10.000000:2", "3.300000:0"],
    });
  });

  it("takes the whole tensor for one row when there is no batch", () => {
    assert.deepEqual(classify(floats([2, 2], 4, 1, 3, 2), 3, false, output()), {
      dtype: "string",
      shape: [3],
      data: ["4.000000:0", "3.000000:2", "2.000000:3"],
    });
  });

  it("adds labels where there are some, and gives no more elements than there are", () => {
    const { shape, data } = classify(floats([1, 3], 1, 2, 3), 9, true, output(["cat", "dog"]));
    assert.deepEqual(shape, [1, 3]);
    assert.deepEqual(data, ["3.000000:2", "2.000000:1:dog", "1.000000:0:cat"]);
  });

  it("writes integers plainly, however wide", () => {
    const wide: Tensor = { dtype: "int64", shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) };
    assert.deepEqual(classify(wide, 2, false, output()).data, ["9223372036854775807:1", "-9223372036854775808:0"]);
  });

  it("puts equal values in the order of their index, and what is no number last", () => {
    const { data } = classify(floats([4], Number.NaN, 5, Infinity, 5), 4, false, output());
    assert.deepEqual(data, ["inf:2", "5.000000:1", "5.000000:3", "nan:0"]);
  });

  it("writes doubles beyond what toFixed writes in full", () => {
    const huge: Tensor = { dtype: "float64", shape: [1], data: Float64Array.of(1e22) };
    assert.deepEqual(classify(huge, 1, false, output()).data, ["10000000000000000000000.000000:0"]);
  });

  it("is refused for types without such an order and for gigantic tensors; no rows give no strings", async () => {
    const half: Tensor = { dtype: "float16", shape: [1], data: Uint16Array.of(1) };
    await rejectsWith("INVALID_ARGUMENT", /unsupported type 'FP16'/, () => classify(half, 1, false, output()));
    const text: Tensor = { dtype: "string", shape: [1], data: ["a"] };
    await rejectsWith("INVALID_ARGUMENT", /unsupported type 'BYTES'/, () => classify(text, 1, false, output()));
    const gigantic: Tensor = { dtype: "uint8", shape: [1_000_001], data: new Uint8Array(1_000_001) };
    await rejectsWith("INVALID_ARGUMENT", /too large/, () => classify(gigantic, 1, false, output()));
    assert.deepEqual(classify(floats([0, 3]), 2, true, output()).shape, [0, 0]);
  });
});
