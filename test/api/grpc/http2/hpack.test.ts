import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HpackDecoder } from "../../../../src/api/grpc/transport/http2/hpack/decoder.js";
import { HpackEncoder } from "../../../../src/api/grpc/transport/http2/hpack/encoder.js";
import { ConnectionError, ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { SeededRandom } from "../../../support/seeded-random.js";

function hex(text: string): Buffer {
  return Buffer.from(text.replace(/\s/g, ""), "hex");
}

function decode(decoder: HpackDecoder, block: Buffer): string[] {
  const { fields } = decoder.decode(block, 0, block.length);
  const lines: string[] = [];
  for (let index = 0; index < fields.length; index += 2) lines.push(`${fields[index]}: ${fields[index + 1]}`);
  return lines;
}

/** Blocks of one connection, in order, and what they say. */
type Exchange = readonly (readonly [block: string, fields: readonly string[]])[];

const request1 = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const request2 = [...request1, "cache-control: no-cache"];
const request3 = [
  ...[":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com"],
  "custom-key: custom-value",
];
const date1 = "date: Mon, 21 Oct 2013 20:13:21 GMT";
const location = "location: https://www.example.com";
const response1 = [":status: 302", "cache-control: private", date1, location];
const response2 = [":status: 307", "cache-control: private", date1, location];
const response3 = [
  ...[":status: 200", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:22 GMT", location],
  "content-encoding: gzip",
  "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];

describe("HPACK decoding, RFC 7541 appendix C", () => {
  const single: readonly (readonly [name: string, block: string, field: string])[] = [
    [
      "C.2.1 literal with indexing",
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      "custom-key: custom-header",
    ],
    ["C.2.2 literal without indexing", "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"],
    ["C.2.3 literal never indexed", "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"],
    ["C.2.4 indexed", "82", ":method: GET"],
  ];
  for (const [name, block, field] of single) {
    it(name, () => assert.deepEqual(decode(new HpackDecoder(4096, 4096), hex(block)), [field]));
  }

  it("C.2.1 to C.2.4: only indexing changes the table", () => {
    const versions = single.map(([, block]) => {
      const decoder = new HpackDecoder(4096, 4096);
      const bytes = hex(block);
      assert.equal(decoder.decode(bytes, 0, bytes.length).repeatable, decoder.tableVersion === 0);
      return decoder.tableVersion;
    });
    assert.deepEqual(versions, [1, 0, 0, 0]);
  });

  const exchanges: readonly (readonly [name: string, tableBytes: number, exchange: Exchange])[] = [
    [
      "C.3 requests without Huffman code",
      4096,
      [
        ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", request1],
        ["8286 84be 5808 6e6f 2d63 6163 6865", request2],
        ["8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", request3],
      ],
    ],
    [
      "C.4 requests with Huffman code",
      4096,
      [
        ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", request1],
        ["8286 84be 5886 a8eb 1064 9cbf", request2],
        ["8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", request3],
      ],
    ],
    [
      "C.5 responses without Huffman code, with evictions",
      256,
      [
        [
          "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
          response1,
        ],
        ["4803 3330 37c1 c0bf", response2],
        [
          "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
          response3,
        ],
      ],
    ],
    [
      "C.6 responses with Huffman code, with evictions",
      256,
      [
        [
          "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
          response1,
        ],
        ["4883 640e ffc1 c0bf", response2],
        [
          "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
          response3,
        ],
      ],
    ],
  ];
  for (const [name, tableBytes, exchange] of exchanges) {
    it(name, () => {
      const decoder = new HpackDecoder(tableBytes, 4096);
      for (const [block, fields] of exchange) assert.deepEqual(decode(decoder, hex(block)), fields);
    });
  }
});

describe("HPACK decoding, limits and errors", () => {
  const refused: readonly (readonly [name: string, block: string])[] = [
    ["index 0", "80"],
    ["an index that no table has", "be"],
    ["an index far beyond", "ffffffff07"],
    ["a name index that no table has", "7f00 0161"],
    ["a number without end", "ff8080808080808080"],
    ["a block that ends within a number", "ff80"],
    ["a block that ends before a string", "00"],
    ["a block that ends within a string", "0005 6162"],
    ["a block that ends before the value", "0001 61"],
    ["a table size over the limit", "3fe21f"],
    ["a table size after a field", "8220"],
    ["Huffman padding of a byte", "00 82 1fff 00"],
    ["Huffman padding with zeros", "00 81 18 00"],
    ["Huffman's end of string within a string", "00 84 ffff ffff 00"],
  ];
  for (const [name, block] of refused) {
    it(`refuses ${name}`, () => {
      const bytes = hex(block);
      assert.throws(
        () => new HpackDecoder(4096, 4096).decode(bytes, 0, bytes.length),
        (error) => error instanceof ConnectionError && error.code === ErrorCode.COMPRESSION_ERROR,
      );
    });
  }

  it("takes a smaller table size, forgets what no longer fits, and lets it grow again", () => {
    const decoder = new HpackDecoder(4096, 4096);
    decode(decoder, hex("4001 6101 62 4001 6301 64"));
    assert.deepEqual(decode(decoder, hex("be bf")), ["c: d", "a: b"]);
    assert.deepEqual(decode(decoder, hex("3f03 be")), ["c: d"]); // 34 bytes: one entry
    assert.throws(() => decode(decoder, hex("bf")));
    assert.deepEqual(decode(decoder, hex("20 3fe11f 4001 6501 66 be")), ["e: f", "e: f"]);
  });

  it("lets an entry that is larger than the table empty it", () => {
    const decoder = new HpackDecoder(64, 4096);
    decode(decoder, hex("4001 6101 62"));
    const long = Buffer.concat([hex("4001 7a 28"), Buffer.alloc(40, "y")]);
    assert.deepEqual(decode(decoder, long), [`z: ${"y".repeat(40)}`]);
    assert.throws(() => decode(decoder, hex("be")));
  });

  it("stops collecting when the list is too large, and keeps its table in step", () => {
    const decoder = new HpackDecoder(4096, 100);
    const big = Buffer.concat([hex("4001 6155"), Buffer.alloc(85, "v")]); // 1 + 85 + 32 bytes
    const first = decoder.decode(big, 0, big.length);
    assert.equal(first.truncated, true);
    assert.deepEqual(first.fields, []);
    const again = hex("be");
    assert.equal(decoder.decode(again, 0, 1).truncated, true);
  });

  it("gives a bomb of references no room", () => {
    const decoder = new HpackDecoder(4096, 64 * 1024);
    const value = Buffer.alloc(4000, "b");
    const seed = Buffer.concat([hex("4001 61 7fa11e"), value]);
    decoder.decode(seed, 0, seed.length);
    const bomb = Buffer.alloc(16_000, 0xbe); // 64 MB, were it unpacked
    const list = decoder.decode(bomb, 0, bomb.length);
    assert.equal(list.truncated, true);
    assert.ok(list.fields.length / 2 <= 16);
  });
});

describe("HPACK encoding", () => {
  const remembered = new Map<string, readonly string[] | "any">([
    ["content-type", ["application/grpc"]],
    ["grpc-status", ["0"]],
    ["x-request-id", "any"],
  ]);
  const head = [":status", "200", "content-type", "application/grpc"];
  const trailers = ["grpc-status", "0"];

  function encode(encoder: HpackEncoder, fields: readonly string[]): Buffer {
    const target = Buffer.alloc(encoder.boundBytes(fields));
    return target.subarray(0, encoder.encode(fields, target, 0));
  }

  it("sends what comes with every call as one byte, once it is known", () => {
    const encoder = new HpackEncoder(remembered, [head, trailers]);
    const decoder = new HpackDecoder(4096, 4096);
    for (let call = 0; call < 5; call++) {
      const blocks = [encode(encoder, head), encode(encoder, trailers)];
      assert.deepEqual(
        blocks.map((block) => decode(decoder, block)),
        [[":status: 200", "content-type: application/grpc"], ["grpc-status: 0"]],
      );
      if (call > 0)
        assert.deepEqual(
          blocks.map((block) => block.length),
          [2, 1],
        );
    }
  });

  it("keeps in step with its decoder over all kinds of lists and table sizes", () => {
    const random = new SeededRandom(11);
    const values = ["0", "5", "", "application/grpc", "x".repeat(70), "y".repeat(200)];
    const names = ["grpc-status", "content-type", "x-request-id", "grpc-message", ":status", "server", "x-other"];
    for (let connection = 0; connection < 50; connection++) {
      const encoder = new HpackEncoder(remembered, [head, trailers]);
      const decoder = new HpackDecoder(4096, 1 << 20);
      for (let block = 0; block < 20; block++) {
        if (random.below(8) === 0) encoder.peerAllows([0, 40, 60, 100, 4096, 65_536][random.below(6)]!);
        let fields: readonly string[] = [head, trailers][random.below(3)] ?? [];
        if (fields.length === 0) {
          fields = Array.from({ length: random.below(5) }, () => [
            names[random.below(7)]!,
            values[random.below(6)]!,
          ]).flat();
        }
        const bytes = encode(encoder, fields);
        assert.deepEqual(decoder.decode(bytes, 0, bytes.length).fields, fields);
      }
    }
  });

  it("announces a smaller table before it uses it", () => {
    const encoder = new HpackEncoder(remembered, [head]);
    encode(encoder, head);
    encoder.peerAllows(0);
    assert.deepEqual([...encode(encoder, [":status", "200"])], [0x20, 0x20, 0x88]);
    assert.deepEqual([...encode(encoder, [":status", "200"])], [0x88]);
  });
});
