import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { discardBytes } from "../../src/tensor/index.js";
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
