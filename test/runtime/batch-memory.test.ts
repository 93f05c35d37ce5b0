import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes, concatRows, splitRows } from "../../src/runtime/batching/batch.js";
import { BatchMemory } from "../../src/runtime/batching/batch-memory.js";
import { RawTensor, type Tensor } from "../../src/tensor/index.js";

const MiB = 1024 * 1024;

describe("BatchMemory", () => {
  it("uses a buffer again that was given back, and no buffer twice at a time", () => {
    const memory = new BatchMemory();
    const first = memory.take(100);
    assert.ok(first.byteLength >= 100);
    assert.notEqual(memory.take(100), first);
    memory.give(first);
    assert.equal(memory.take(80), first);
    assert.notEqual(memory.take(80), first);
  });

  it("keeps no buffer that was moved away, none that is very large, and not many", () => {
    const memory = new BatchMemory();
    const moved = memory.take(100);
    structuredClone(moved, { transfer: [moved] });
    memory.give(moved);
    assert.ok(memory.take(1).byteLength > 0);
    const large = memory.take(5 * MiB);
    memory.give(large);
    assert.notEqual(memory.take(5 * MiB), large);
    const buffers = Array.from({ length: 6 }, () => memory.take(100));
    for (const buffer of buffers) memory.give(buffer);
    const again = Array.from({ length: 6 }, () => memory.take(100));
    assert.equal(again.filter((buffer) => buffers.includes(buffer)).length, 4);
  });
});

describe("a batch of tensors that were not copied yet", () => {
  /** The values at an address where no float may lie. */
  function raw(values: readonly number[], width: number): RawTensor {
    const bytes = new Uint8Array(values.length * 4 + 1);
    bytes.set(new Uint8Array(Float32Array.from(values).buffer), 1);
    return new RawTensor("float32", [values.length / width, width], bytes, 1, values.length);
  }
  const plain = (values: readonly number[], width: number): Tensor => ({
    dtype: "float32",
    shape: [values.length / width, width],
    data: Float32Array.from(values),
  });

  it("is what it is with copies, in memory of its own or in any given", () => {
    const tensors = [raw([1, 2, 3, 4], 2), plain([5, 6], 2), raw([7, 8], 2)];
    assert.equal(concatBytes(tensors), 32);
    for (const memory of [undefined, new ArrayBuffer(32), new Uint8Array(100).fill(255).buffer]) {
      const batch = concatRows(tensors, memory);
      assert.deepEqual(batch, { dtype: "float32", shape: [4, 2], data: Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]) });
      assert.deepEqual(
        splitRows(batch, [2, 1, 1]).map(({ shape, data }) => [shape, [...(data as Float32Array)]]),
        [
          [
            [2, 2],
            [1, 2, 3, 4],
          ],
          [
            [1, 2],
            [5, 6],
          ],
          [
            [1, 2],
            [7, 8],
          ],
        ],
      );
    }
  });

  it("shows each tensor's data to whoever asks", () => {
    const tensor = raw([1, 2, 3], 3);
    assert.deepEqual(tensor.data, Float32Array.from([1, 2, 3]));
    assert.equal(tensor.data, tensor.data);
    assert.equal(tensor.length, 3);
  });
});
