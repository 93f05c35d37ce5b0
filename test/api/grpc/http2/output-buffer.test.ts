import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { MessageMemory } from "../../../../src/api/grpc/transport/http2/message-memory.js";
import { OutputBuffer, SlabPool } from "../../../../src/api/grpc/transport/http2/output-buffer.js";

/** A socket whose kernel takes bytes when the test says so. */
class SlowSocket extends Writable {
  readonly #taken: ((error?: Error | null) => void)[] = [];

  override _write(_chunk: Buffer, _encoding: string, taken: (error?: Error | null) => void): void {
    this.#taken.push(taken);
  }

  override _writev(_chunks: unknown, taken: (error?: Error | null) => void): void {
    this.#taken.push(taken);
  }

  async take(error?: Error): Promise<void> {
    this.#taken.shift()!(error);
    await turn();
  }
}

describe("OutputBuffer", () => {
  const large = 40_000;

  function open() {
    const memory = new MessageMemory();
    const socket = new SlowSocket();
    const output = new OutputBuffer(new SlabPool());
    const send = () => {
      const block = memory.take(large);
      output.append(block.bytes.subarray(0, large));
      output.releaseWhenSent(block);
      output.flush(socket as unknown as Socket);
      return block;
    };
    return { memory, socket, send };
  }

  it("gives the memory of a message back when the socket has sent it, and no sooner, though it is never empty", async () => {
    const { memory, socket, send } = open();
    const first = send();
    for (let message = 0; message < 5; message++) {
      send();
      assert.ok(socket.writableLength > 0);
      const before = memory.idleBytes;
      await socket.take();
      assert.equal(memory.idleBytes, before + first.bytes.length);
    }
  });

  it("leaves what a broken socket may still hold to the garbage collector", async () => {
    const { memory, socket, send } = open();
    socket.on("error", () => {});
    send();
    await socket.take(new Error("reset"));
    assert.equal(memory.idleBytes, 0);
  });
});
