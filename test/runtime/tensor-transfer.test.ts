import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { shipTensors } from "../../src/runtime/placement/tensor-transfer.js";
import { RawTensor, type Tensor } from "../../src/tensor/index.js";

const floats = (data: Float32Array): Tensor => ({ dtype: "float32", shape: [data.length], data });
const named = (...tensors: Tensor[]) => new Map(tensors.map((tensor, i) => [`t${i}`, tensor]));

describe("shipTensors", () => {
  it("sends small arrays that own their buffer, and strings, as they are", () => {
    const tensors = named(floats(new Float32Array(10)), { dtype: "string", shape: [1], data: ["a"] });
    for (const mayTake of [false, true]) {
      const shipped = shipTensors(tensors, mayTake);
      assert.equal(shipped.tensors, tensors);
      assert.deepEqual(shipped.transfer, []);
    }
  });

  it("moves a large array that owns its buffer when it may take it, and a copy when it may not", () => {
    const data = new Float32Array(10_000).fill(1);
    const taken = shipTensors(named(floats(data)), true);
    assert.equal(taken.tensors.get("t0")!.data, data);
    assert.deepEqual(taken.transfer, [data.buffer]);
    const copied = shipTensors(named(floats(data)), false);
    assert.notEqual(copied.tensors.get("t0")!.data, data);
    assert.deepEqual(copied.tensors.get("t0")!.data, data);
    assert.equal(copied.transfer.length, 1);
    assert.notEqual(copied.transfer[0], data.buffer);
  });

  it("sends the elements of a tensor that was not copied yet, and nothing of the message that they lie in", () => {
    for (const count of [5, 50_000]) {
      const message = new Uint8Array(count * 4 + 1);
      message.set(new Uint8Array(new Float32Array(count).fill(3).buffer), 1);
      for (const mayTake of [false, true]) {
        const { tensors, transfer } = shipTensors(named(new RawTensor("float32", [count], message, 1, count)), mayTake);
        const sent = structuredClone(tensors, { transfer });
        assert.deepEqual(sent.get("t0"), floats(new Float32Array(count).fill(3)));
      }
      assert.equal(message.length, count * 4 + 1);
    }
  });

  it("never sends or moves the buffer under a view, whatever it may take", () => {
    const request = new Float32Array(100_000).fill(2);
    for (const length of [5, 50_000]) {
      const { tensors, transfer } = shipTensors(named(floats(request.subarray(10, 10 + length))), true);
      const { data } = tensors.get("t0")! as { data: Float32Array };
      assert.equal(data.length, length);
      assert.equal(data.byteLength, data.buffer.byteLength);
      assert.ok(!transfer.includes(request.buffer));
    }
  });

  it("moves a buffer once that two tensors share", () => {
    const data = new Float32Array(10_000);
    const { transfer } = shipTensors(named(floats(data), floats(data)), true);
    assert.deepEqual(transfer, [data.buffer]);
  });
});
