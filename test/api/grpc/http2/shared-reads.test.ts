import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { describe, it } from "node:test";
import { MessageReader } from "../../../../src/api/grpc/transport/http2/message-reader.js";
import { type OwnBytes, ownBytes, receiveFrom } from "../../../../src/api/grpc/transport/http2/shared-reads.js";
import { takeMessage } from "../../../support/take-message.js";

describe("reads into a shared buffer", () => {
  it("lands the reads of all accepted sockets in the same memory", async () => {
    await using pair = await Pair.open();
    await using other = await Pair.open();
    const buffers = new Set<ArrayBufferLike>();
    for (const { client, served } of [pair, other]) {
      const come = new Promise<string>((resolve) => {
        receiveFrom(served, (chunk) => {
          buffers.add(chunk.buffer);
          resolve(chunk.toString("latin1"));
        });
      });
      client.write("hello");
      assert.equal(await come, "hello");
    }
    assert.equal(buffers.size, 1);
  });

  it("leaves messages alone that were taken out, whatever comes after them", async () => {
    await using pair = await Pair.open();
    const lengths = Array.from({ length: 140 }, (_, index) => [3, 40, 900, 0, 17_000, 70_000, 200_001][index % 7]!);
    const messages: Uint8Array[] = [];
    const reader = new MessageReader(1 << 20);
    const whole = new Promise<void>((resolve) => {
      receiveFrom(pair.served, (chunk) => {
        for (let at = 0; at < chunk.length; ) {
          at = reader.next(chunk, at, chunk.length);
          const message = takeMessage(reader);
          if (message !== undefined) messages.push(message);
        }
        chunk.fill(0xee); // what the next read does to it
        if (messages.length === lengths.length) resolve();
      });
    });
    lengths.forEach((length, index) => {
      const framed = Buffer.alloc(5 + length, index & 0xff);
      framed[0] = 0;
      framed.writeUInt32BE(length, 1);
      pair.client.write(framed);
    });
    await whole;
    messages.forEach((message, index) => {
      assert.equal(message.length, lengths[index]);
      assert.ok(
        message.every((byte) => byte === (index & 0xff)),
        `message ${index} was written over`,
      );
    });
  });

  it("keeps no large buffer for a small message", async () => {
    await using pair = await Pair.open();
    const kept: OwnBytes = { bytes: Buffer.alloc(0), start: 0, end: 0, block: undefined };
    const come = new Promise<void>((resolve) => {
      receiveFrom(pair.served, (chunk) => {
        ownBytes(chunk, 1, 4, kept);
        resolve();
      });
    });
    pair.client.write("small");
    await come;
    assert.equal(kept.bytes.toString("latin1", kept.start, kept.end), "mal");
    assert.equal(kept.bytes.buffer.byteLength, 256);
  });

  it("tells of the client's end, and the server's count goes back", async () => {
    await using pair = await Pair.open();
    receiveFrom(pair.served, () => {});
    const ended = once(pair.served, "end");
    const closed = once(pair.served, "close");
    pair.client.end("bye");
    await ended;
    await closed;
    assert.equal(await pair.connections(), 0);
  });

  it("tells of a connection that was cut", async () => {
    await using pair = await Pair.open();
    receiveFrom(pair.served, () => {});
    const failed = once(pair.served, "error");
    pair.client.resetAndDestroy();
    const [error] = await failed;
    assert.equal(error.code, "ECONNRESET");
  });

  it("hands nothing on while the socket is paused, nor after it was destroyed", async () => {
    await using pair = await Pair.open();
    let bytes = 0;
    let first: (() => void) | undefined;
    receiveFrom(pair.served, (chunk) => {
      bytes += chunk.length;
      pair.served.pause();
      first?.();
    });
    const paused = new Promise<void>((resolve) => {
      first = resolve;
    });
    pair.client.write(Buffer.alloc(500_000));
    await paused;
    const before = bytes;
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.equal(bytes, before);
    const resumed = new Promise<void>((resolve) => {
      first = () => {
        pair.served.destroy();
        resolve();
      };
    });
    pair.served.resume();
    await resumed;
    assert.ok(bytes > before);
    const after = bytes;
    await once(pair.served, "close");
    assert.equal(bytes, after);
  });

  it("takes what a socket holds already from its events", async () => {
    await using pair = await Pair.open();
    pair.client.write("early ");
    await once(pair.served, "readable");
    let text = "";
    const whole = new Promise<void>((resolve) => {
      receiveFrom(pair.served, (chunk) => {
        text += chunk.toString("latin1");
        if (text === "early late") resolve();
      });
    });
    pair.served.resume();
    pair.client.write("late");
    await whole;
  });

  it("takes a socket of another make by its events", () => {
    const socket = new Socket();
    const chunks: Buffer[] = [];
    receiveFrom(socket, (chunk) => chunks.push(chunk));
    socket.emit("data", Buffer.from("as ever"));
    assert.deepEqual(chunks, [Buffer.from("as ever")]);
    socket.destroy();
  });
});

/** A connection over TCP, both ends of it. */
class Pair {
  readonly client: Socket;
  readonly served: Socket;
  readonly #server: Server;

  static async open(): Promise<Pair> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const accepted = once(server, "connection");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    client.on("error", () => {});
    const [served] = await accepted;
    return new Pair(client, served, server);
  }

  private constructor(client: Socket, served: Socket, server: Server) {
    this.client = client;
    this.served = served;
    this.#server = server;
    served.on("error", () => {});
  }

  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    this.served.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
