import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MessageReader } from "../../../../src/api/grpc/transport/http2/message-reader.js";
import { Code, StatusError } from "../../../../src/status.js";
import { message } from "../../../support/raw-http2-connection.js";
import { SeededRandom } from "../../../support/seeded-random.js";
import { takeMessage } from "../../../support/take-message.js";

function read(reader: MessageReader, chunk: Buffer, messages: string[]): void {
  for (let at = 0; at < chunk.length; ) {
    at = reader.next(chunk, at, chunk.length);
    const message = takeMessage(reader);
    if (message !== undefined) messages.push(`${reader.compressed ? "compressed " : ""}${message}`);
  }
}

const sample = Buffer.concat([
  message("one"),
  message(""),
  message("three", true),
  message("x".repeat(50)),
  message(""),
]);
const sampleMessages = ["one", "", "compressed three", "x".repeat(50), ""];

describe("MessageReader", () => {
  it("reads messages wherever the bytes are cut", () => {
    for (let cut = 0; cut <= sample.length; cut++) {
      const reader = new MessageReader(100);
      const messages: string[] = [];
      read(reader, sample.subarray(0, cut), messages);
      read(reader, sample.subarray(cut), messages);
      assert.deepEqual(messages, sampleMessages, `cut at ${cut}`);
      assert.equal(reader.midMessage, false);
    }
  });

  it("reads messages byte by byte, and large ones in random pieces", () => {
    const random = new SeededRandom(5);
    const large = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index * 31));
    const bytes = Buffer.concat([sample, message(large), sample]);
    for (let round = 0; round < 4; round++) {
      const reader = new MessageReader(1 << 20);
      const messages: Uint8Array[] = [];
      for (let from = 0; from < bytes.length; ) {
        const end = Math.min(from + (round === 0 ? 1 : 1 + random.below(40_000)), bytes.length);
        for (let at = from; at < end; ) {
          at = reader.next(bytes, at, end);
          const message = takeMessage(reader);
          if (message !== undefined) messages.push(message);
        }
        from = end;
      }
      assert.equal(messages.length, 11);
      assert.ok(large.equals(messages[5]!));
    }
  });

  it("puts a message that comes in pieces where its end is a multiple of eight, for the elements at its end", () => {
    for (let length = 70; length < 90; length++) {
      const reader = new MessageReader(100);
      const bytes = message("e".repeat(length));
      reader.next(bytes, reader.next(bytes, 0, 30), bytes.length);
      assert.equal(reader.end % 8, 0);
      assert.equal(takeMessage(reader)?.toString(), "e".repeat(length));
    }
  });

  it("gives a view of the chunk when all of the message lies in it", () => {
    const reader = new MessageReader(100);
    const chunk = message("in place");
    reader.next(chunk, 0, chunk.length);
    assert.equal(takeMessage(reader)?.buffer, chunk.buffer);
  });

  it("says how much has come and how much is missing", () => {
    const reader = new MessageReader(1000);
    const bytes = message("y".repeat(200));
    reader.next(bytes, 0, 3);
    assert.deepEqual([reader.midMessage, reader.partialBytes, reader.missingBytes], [true, 3, 0]);
    reader.next(bytes, 3, 105);
    assert.deepEqual([reader.midMessage, reader.partialBytes, reader.missingBytes], [true, 105, 100]);
    reader.next(bytes, 105, 205);
    assert.deepEqual([reader.midMessage, reader.partialBytes, reader.missingBytes], [false, 0, 0]);
  });

  it("makes room for what has come, not for what was claimed", () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 50 }, () => new MessageReader(2 ** 31 - 1));
    const claim = Buffer.concat([Buffer.from([0, 0x40, 0, 0, 0]), Buffer.alloc(10)]);
    for (const reader of readers) reader.next(claim, 0, claim.length);
    assert.ok(process.memoryUsage().arrayBuffers - before < 10_000_000);
    assert.equal(readers[49]?.missingBytes, 2 ** 30 - 10);
  });

  const wrong: readonly (readonly [name: string, bytes: Buffer, code: Code, words: RegExp])[] = [
    ["a message over the limit", message("z".repeat(101)), Code.RESOURCE_EXHAUSTED, /\(101 vs 100\).*--max_receive/],
    ["a length of 4 GiB", Buffer.from("00ffffffff", "hex"), Code.RESOURCE_EXHAUSTED, /4294967295 vs 100/],
    ["a compressed flag that is neither 0 nor 1", Buffer.from("0200000000", "hex"), Code.INTERNAL, /flag of 2/],
  ];
  for (const [name, bytes, code, words] of wrong) {
    it(`refuses ${name}, in one chunk and byte by byte`, () => {
      const refusal = (error: unknown) =>
        error instanceof StatusError && error.code === code && words.test(error.message);
      assert.throws(() => new MessageReader(100).next(bytes, 0, bytes.length), refusal);
      const reader = new MessageReader(100);
      assert.throws(() => {
        for (let at = 0; at < bytes.length; at++) reader.next(bytes, at, at + 1);
      }, refusal);
    });
  }
});
