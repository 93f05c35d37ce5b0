import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { discardBytes, discardTensors, RawTensor, type Tensor } from "../../src/tensor/index.js";
import { until } from "../support/until.js";

describe("discardBytes", () => {
  it("gives the memory back without waiting for the garbage collector", async () => {
    const size = 64 * 1024 * 1024;
    const bytes = new Uint8Array(size);
    const before = process.memoryUsage().arrayBuffers;
    discardBytes(bytes);
    assert.equal(bytes.length, 0);
    await until(() => process.memoryUsage().arrayBuffers <= before - size);
  });

  it("leaves alone what is part of something larger, or shared", () => {
    const whole = new Uint8Array(16);
    discardBytes(whole.subarray(4));
    assert.equal(whole.length, 16);
    const shared = new Uint8Array(new SharedArrayBuffer(16));
    discardBytes(shared);
    assert.equal(shared.length, 16);
  });
});

describe("discardTensors", () => {
  it("gives back what is large and has its memory for itself, however often it is there", () => {
    const data = new Float32Array(2000);
    const tensor: Tensor = { dtype: "float32", shape: [2000], data };
    discardTensors(
      new Map([
        ["a", tensor],
        ["b", tensor],
      ]),
    );
    assert.equal(data.length, 0);
    discardTensors(new Map([["a", tensor]]));
  });

  it("leaves alone what is small, empty, a view, text, or still in its message", () => {
    const kept: Tensor[] = [
      { dtype: "float32", shape: [10], data: new Float32Array(10) },
      { dtype: "float32", shape: [0], data: new Float32Array(0) },
      { dtype: "float32", shape: [2000], data: new Float32Array(2001).subarray(1) },
      { dtype: "string", shape: [1], data: ["x".repeat(10_000)] },
      new RawTensor("float32", [2000], new Uint8Array(8000), 0, 2000),
    ];
    const lengths = kept.map(({ data }) => data.length);
    discardTensors(new Map(kept.map((tensor, index) => [`t${index}`, tensor])));
    assert.deepEqual(
      kept.map(({ data }) => data.length),
      lengths,
    );
  });
});
