import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FrameReader, type FrameSink } from "../../../../src/api/grpc/transport/http2/frame-reader.js";
import {
  goawayFrame,
  settingsFrame,
  windowUpdateFrame,
} from "../../../../src/api/grpc/transport/http2/frame-writer.js";
import { ConnectionError, ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { parseSettings } from "../../../../src/api/grpc/transport/http2/settings.js";
import { frame, settingsPayload, wire } from "../../../support/raw-http2-connection.js";
import { SeededRandom } from "../../../support/seeded-random.js";

/** Writes down what it is handed, pieces of DATA joined. */
class Listener implements FrameSink {
  readonly heard: string[] = [];
  #flowBytes = 0;
  #body = "";

  frame(type: number, flags: number, streamId: number, chunk: Buffer, start: number, end: number): void {
    this.heard.push(`${type}/${flags}@${streamId} ${chunk.toString("latin1", start, end)}`);
  }

  data(
    id: number,
    flags: number,
    flowBytes: number,
    chunk: Buffer,
    start: number,
    end: number,
    complete: boolean,
  ): void {
    this.#flowBytes += flowBytes;
    this.#body += chunk.toString("latin1", start, end);
    if (!complete) return;
    this.heard.push(`data/${flags}@${id} ${this.#flowBytes} ${this.#body}`);
    this.#flowBytes = 0;
    this.#body = "";
  }
}

function padded(body: string, padding: number): Buffer {
  return Buffer.concat([Buffer.from([padding]), Buffer.from(body), Buffer.alloc(padding, "P")]);
}

const sample = Buffer.concat([
  frame(wire.settings, 0, 0, Buffer.alloc(12, "s")),
  frame(wire.data, 0, 1, Buffer.from("hello")),
  frame(wire.data, wire.padded, 3, padded("padded", 7)),
  frame(wire.data, wire.padded | wire.endStream, 5, padded("", 0)),
  frame(wire.data, wire.padded, 5, padded("", 9)),
  frame(wire.data, wire.endStream, 7),
  frame(wire.headers, wire.endHeaders, 9, Buffer.from("block")),
  frame(99, 255, 0x7fff_ffff, Buffer.from("unknown")),
  frame(wire.settings, wire.ack, 0),
]);
const sampleHeard = [
  `4/0@0 ${"s".repeat(12)}`,
  "data/0@1 5 hello",
  "data/8@3 14 padded",
  "data/9@5 1 ",
  "data/8@5 10 ",
  "data/1@7 0 ",
  "1/4@9 block",
  "99/255@2147483647 unknown",
  "4/1@0 ",
];

describe("FrameReader", () => {
  it("hands on the frames of one chunk", () => {
    const listener = new Listener();
    new FrameReader(listener, 16_384).push(sample);
    assert.deepEqual(listener.heard, sampleHeard);
  });

  it("hands on the same frames wherever the bytes are cut", () => {
    for (let cut = 0; cut <= sample.length; cut++) {
      const listener = new Listener();
      const reader = new FrameReader(listener, 16_384);
      reader.push(sample.subarray(0, cut));
      reader.push(sample.subarray(cut));
      assert.deepEqual(listener.heard, sampleHeard, `cut at ${cut}`);
      assert.equal(reader.unfinished, undefined);
    }
  });

  it("hands on the same frames byte by byte, and in random pieces", () => {
    const random = new SeededRandom(3);
    for (let round = 0; round < 100; round++) {
      const listener = new Listener();
      const reader = new FrameReader(listener, 16_384);
      for (let at = 0; at < sample.length; ) {
        const end = at + (round === 0 ? 1 : 1 + random.below(20));
        reader.push(sample.subarray(at, end));
        at = end;
      }
      assert.deepEqual(listener.heard, sampleHeard);
    }
  });

  it("gives views of the chunk for DATA, not copies", () => {
    const chunk = frame(wire.data, 0, 1, Buffer.from("in place"));
    let seen: Buffer | undefined;
    const sink: FrameSink = { frame: () => {}, data: (_id, _flags, _flow, given) => (seen = given) };
    new FrameReader(sink, 16_384).push(chunk);
    assert.equal(seen, chunk);
  });

  it("ignores the reserved bit of stream ids", () => {
    const listener = new Listener();
    new FrameReader(listener, 16_384).push(frame(wire.headers, 0, 0x8000_0003, Buffer.from("x")));
    assert.deepEqual(listener.heard, ["1/0@3 x"]);
  });

  const wrong: readonly (readonly [name: string, bytes: Buffer, code: number])[] = [
    ["a frame over the limit", frame(wire.headers, 4, 1, Buffer.alloc(101)), ErrorCode.FRAME_SIZE_ERROR],
    ["a DATA frame over the limit", frame(wire.data, 0, 1, Buffer.alloc(101)), ErrorCode.FRAME_SIZE_ERROR],
    [
      "more padding than payload",
      frame(wire.data, wire.padded, 1, Buffer.from([4, 1, 1, 1])),
      ErrorCode.PROTOCOL_ERROR,
    ],
    ["a padded frame without its padding's length", frame(wire.data, wire.padded, 1), ErrorCode.FRAME_SIZE_ERROR],
  ];
  for (const [name, bytes, code] of wrong) {
    it(`refuses ${name}, in one chunk and byte by byte`, () => {
      const refusal = (error: unknown) => error instanceof ConnectionError && error.code === code;
      assert.throws(() => new FrameReader(new Listener(), 100).push(bytes), refusal);
      const reader = new FrameReader(new Listener(), 100);
      assert.throws(() => {
        for (const byte of bytes) reader.push(Buffer.from([byte]));
      }, refusal);
    });
  }

  it("hands on nothing more once it is stopped", () => {
    const listener = new Listener();
    const reader = new FrameReader(listener, 100);
    const stop = listener.frame.bind(listener);
    listener.frame = (...frame) => {
      stop(...frame);
      reader.stopped = true;
    };
    reader.push(sample);
    assert.equal(listener.heard.length, 1);
  });

  it("makes no more room for a claimed length than the limit, and none before the header is whole", () => {
    const reader = new FrameReader(new Listener(), 16_384);
    reader.push(Buffer.from([0, 0x3f, 0xff, wire.headers]));
    assert.equal((reader.unfinished as Buffer).length, 9);
    reader.push(Buffer.from([0, 0, 0, 0, 1, 7]));
    assert.equal((reader.unfinished as Buffer).length, 9 + 0x3fff);
  });
});

describe("frame writing", () => {
  it("writes settings, GOAWAY and WINDOW_UPDATE as RFC 9113 draws them", () => {
    assert.deepEqual(settingsFrame([[4, 65_536]]), frame(wire.settings, 0, 0, settingsPayload([[4, 65_536]])));
    assert.equal(windowUpdateFrame(5, 2 ** 31 - 1).toString("hex"), "000004080000000005" + "7fffffff");
    assert.equal(goawayFrame(3, 11, "calm").toString("hex"), "00000c0700000000000000000300" + "00000b63616c6d");
  });
});

describe("settings", () => {
  const parse = (settings: readonly (readonly [number, number])[]) => {
    const bytes = settingsPayload(settings);
    return parseSettings(bytes, 0, bytes.length);
  };

  it("takes what it acts upon, the last value of each, and ignores the rest", () => {
    assert.deepEqual(
      parse([
        [4, 1],
        [2, 0],
        [3, 5],
        [6, 7],
        [77, 88],
        [5, 20_000],
        [4, 2],
        [1, 100],
      ]),
      {
        initialWindowBytes: 2,
        maxFrameBytes: 20_000,
        headerTableBytes: 100,
      },
    );
  });

  it("keeps the smallest header table that was named: entries may be gone", () => {
    assert.deepEqual(
      parse([
        [1, 0],
        [1, 4096],
      ]),
      { headerTableBytes: 0 },
    );
  });

  const wrong: readonly (readonly [number, number, number])[] = [
    [2, 2, ErrorCode.PROTOCOL_ERROR],
    [4, 2 ** 31, ErrorCode.FLOW_CONTROL_ERROR],
    [5, 16_383, ErrorCode.PROTOCOL_ERROR],
    [5, 2 ** 24, ErrorCode.PROTOCOL_ERROR],
  ];
  for (const [id, value, code] of wrong) {
    it(`refuses ${value} for setting ${id}`, () => {
      assert.throws(
        () => parse([[id, value]]),
        (error) => error instanceof ConnectionError && error.code === code,
      );
    });
  }

  it("refuses a payload that is no whole number of settings", () => {
    assert.throws(
      () => parseSettings(Buffer.alloc(5), 0, 5),
      (error) => error instanceof ConnectionError && error.code === ErrorCode.FRAME_SIZE_ERROR,
    );
  });
});
