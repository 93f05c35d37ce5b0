import assert from "node:assert/strict";
import type { Tensor } from "../../src/tensor/index.js";

/** Same type and shape, and elements that differ by no more than the tolerance, relative for those above one. */
export function assertTensorClose(actual: Tensor | undefined, expected: Tensor, tolerance = 1e-5): void {
  assert.deepEqual([actual?.dtype, actual?.shape], [expected.dtype, expected.shape]);
  for (let i = 0; i < expected.data.length; i += 1) {
    const [a, b] = [actual!.data[i], expected.data[i]];
    if (Object.is(a, b)) continue;
    const close =
      typeof a === "number" && typeof b === "number" && Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));
    assert.ok(close, `element ${i} is ${a}, not ${b}`);
  }
}
