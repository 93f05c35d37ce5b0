import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MessageMemory } from "../../../../src/api/grpc/transport/http2/message-memory.js";

const MiB = 1024 * 1024;

describe("MessageMemory", () => {
  it("gives a block again that was released by all who held it, and not before", () => {
    const memory = new MessageMemory();
    const block = memory.take(1000);
    block.hold();
    block.release();
    assert.notEqual(memory.take(1000), block);
    block.release();
    assert.equal(memory.take(1000), block);
    assert.notEqual(memory.take(1000), block);
  });

  it("has as much room as was asked for, and not much more", () => {
    const memory = new MessageMemory();
    for (const bytes of [0, 1, 255, 256, 257, 4097, 65_536, 65_537, 602_168, MiB, MiB + 1, 15 * MiB]) {
      const { length } = memory.take(bytes).bytes;
      assert.ok(length >= bytes, `${length} for ${bytes}`);
      assert.ok(length <= Math.max(256, bytes > 65_536 ? bytes * 1.25 : bytes * 2), `${length} for ${bytes}`);
    }
  });

  it("keeps no more than 64 MiB, and nothing larger than 16 MiB", () => {
    const memory = new MessageMemory();
    const blocks = Array.from({ length: 10 }, () => memory.take(10 * MiB));
    for (const block of blocks) block.release();
    assert.ok(memory.idleBytes <= 64 * MiB && memory.idleBytes > 50 * MiB, String(memory.idleBytes));
    const before = memory.idleBytes;
    memory.take(17 * MiB).release();
    assert.equal(memory.idleBytes, before);
  });

  it("lets go of what is not needed any more, little by little", () => {
    const memory = new MessageMemory();
    const blocks = Array.from({ length: 8 }, () => memory.take(MiB));
    for (const block of blocks) block.release();
    memory.trim();
    assert.equal(memory.idleBytes, 8 * MiB, "they were needed since the last time");
    const inUse = memory.take(MiB);
    memory.trim();
    assert.equal(memory.idleBytes, 3 * MiB);
    inUse.release();
    for (let seconds = 0; seconds < 5; seconds++) memory.trim();
    assert.equal(memory.idleBytes, 0);
  });
});
