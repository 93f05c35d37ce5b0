// Mangled conversations, the same in every run: whatever comes, the server neither throws nor hangs, and serves the next.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bytesOf, echo, Http2Server, slowSum, streamOf } from "../../../support/http2-server.js";
import {
  callFields,
  frame,
  literalBlock,
  message,
  preface,
  settingsPayload,
  uint32,
  wire,
} from "../../../support/raw-http2-connection.js";
import { SeededRandom } from "../../../support/seeded-random.js";

const rounds = 400;

describe("http2, fuzzed", () => {
  it("survives frames of all kinds in any order, with bytes changed, lost and repeated", async () => {
    await using server = await Http2Server.start({ maxReceiveMessageBytes: 100_000, maxHeaderListBytes: 4096 });
    server.letIn();
    const random = new SeededRandom(20_240_607);
    const defects: unknown[] = [];
    const note = (error: unknown) => defects.push(error);
    process.on("uncaughtException", note);
    process.on("unhandledRejection", note);
    try {
      for (let round = 0; round < rounds; round++) {
        const client = server.connect({ silent: true });
        const bytes = mangle(conversation(random), random);
        for (let at = 0; at < bytes.length; ) {
          const end = random.chance(0.3) ? at + 1 + random.below(200) : bytes.length;
          client.write(bytes.subarray(at, end));
          at = end;
        }
        client.socket.end(); // the server then closes its side too, however far the talk got
        await client.end();
        for (const each of client.frames) assert.ok(each.type <= wire.continuation, `frame of type ${each.type}`);
      }
    } finally {
      process.off("uncaughtException", note);
      process.off("unhandledRejection", note);
    }
    assert.deepEqual(defects, []);
    assert.deepEqual(server.log.of("error"), []);
    const client = server.connect();
    client.unary(1, echo, "still there");
    assert.equal((await client.response(1)).data.toString("latin1", 5), "still there");
  });

  it("survives bytes that are no frames at all", async () => {
    await using server = await Http2Server.start();
    const random = new SeededRandom(99);
    for (let round = 0; round < 100; round++) {
      const client = server.connect({ silent: true });
      const noise = Buffer.from(Array.from({ length: random.below(400) }, () => random.below(256)));
      client.write(random.chance(0.7) ? Buffer.concat([preface, frame(wire.settings, 0, 0), noise]) : noise);
      client.socket.end();
      await client.end();
    }
    const client = server.connect();
    client.unary(1, echo, "still there");
    assert.equal((await client.response(1)).data.toString("latin1", 5), "still there");
  });
});

function conversation(random: SeededRandom): Buffer {
  const parts = [
    preface,
    frame(wire.settings, 0, 0, settingsPayload(random.chance(0.5) ? [] : [[4, random.below(100_000)]])),
  ];
  let lastId = -1;
  for (let frames = random.below(30); frames > 0; frames--) {
    const id = lastId > 0 && random.chance(0.6) ? 1 + 2 * random.below((lastId + 1) / 2) : lastId + 2;
    switch (random.below(10)) {
      case 0:
      case 1:
      case 2: {
        lastId = Math.max(lastId + 2, 1);
        const path = random.pick([echo, bytesOf, streamOf, slowSum, "/no/such"]);
        const more: [string, string][] = random.chance(0.3)
          ? [
              ["grpc-encoding", "gzip"],
              ["grpc-timeout", "5S"],
            ]
          : [];
        const block = literalBlock(callFields(path, more));
        const cut = random.chance(0.2) ? random.below(block.length) : block.length;
        parts.push(frame(wire.headers, cut === block.length ? wire.endHeaders : 0, lastId, block.subarray(0, cut)));
        if (cut < block.length) parts.push(frame(wire.continuation, wire.endHeaders, lastId, block.subarray(cut)));
        break;
      }
      case 3:
      case 4:
      case 5: {
        const body = message(
          random.chance(0.5) ? String(random.below(5000)) : Buffer.alloc(random.below(3000)),
          random.chance(0.1),
        );
        parts.push(frame(wire.data, random.below(2), Math.max(id, 1), body.subarray(0, 1 + random.below(body.length))));
        break;
      }
      case 6:
        parts.push(frame(wire.rstStream, 0, Math.max(id, 1), uint32(random.below(14))));
        break;
      case 7:
        parts.push(frame(wire.windowUpdate, 0, random.chance(0.5) ? 0 : Math.max(id, 1), uint32(random.below(70_000))));
        break;
      case 8:
        parts.push(frame(wire.settings, 0, 0, settingsPayload([[1 + random.below(7), random.below(70_000)]])));
        break;
      default:
        parts.push(
          frame(
            random.below(12),
            random.below(256),
            random.below(8),
            Buffer.alloc(random.below(20), random.below(256)),
          ),
        );
    }
  }
  return Buffer.concat(parts);
}

/** Leaves a third as it is: those reach deeper. */
function mangle(bytes: Buffer, random: SeededRandom): Buffer {
  if (random.chance(0.33)) return bytes;
  let mangled = bytes;
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = preface.length + random.below(Math.max(mangled.length - preface.length, 1));
    const length = random.below(12);
    switch (random.below(3)) {
      case 0:
        mangled = Buffer.from(mangled);
        mangled[Math.min(at, mangled.length - 1)] = random.below(256);
        break;
      case 1:
        mangled = Buffer.concat([mangled.subarray(0, at), mangled.subarray(at + length)]);
        break;
      default:
        mangled = Buffer.concat([mangled.subarray(0, at + length), mangled.subarray(at)]);
    }
  }
  return mangled;
}
