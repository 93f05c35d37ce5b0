// What RFC 9113 asks of a server beyond the limits: whose fault ends what, and how a connection begins and ends. h2spec says
// much of this too, where it can be installed.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants } from "node:http2";
import { describe, it } from "node:test";
import { ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { Code } from "../../../../src/status.js";
import { echo, Http2Server, never, slowSum, streamOf } from "../../../support/http2-server.js";
import { RawGrpcClient } from "../../../support/raw-grpc-client.js";
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
import { until } from "../../../support/until.js";

const block = literalBlock(callFields(echo));
const request = (id: number, flags = 0) => frame(wire.headers, wire.endHeaders | flags, id, block);
const call = (id: number) => Buffer.concat([request(id), frame(wire.data, wire.endStream, id, message("x"))]);

describe("http2 protocol: faults that end the connection", () => {
  const { PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR } = ErrorCode;
  const faults: readonly (readonly [name: string, bytes: Buffer, code: number])[] = [
    ["HEADERS on stream 0", request(0), PROTOCOL_ERROR],
    ["a stream with an even id", request(2), PROTOCOL_ERROR],
    ["a stream below the last one", Buffer.concat([call(5), request(3)]), PROTOCOL_ERROR],
    ["a stream that was closed, opened again", Buffer.concat([call(1), request(1)]), STREAM_CLOSED],
    ["DATA on stream 0", frame(wire.data, 0, 0, Buffer.from("x")), PROTOCOL_ERROR],
    ["DATA on an idle stream", frame(wire.data, 0, 1, Buffer.from("x")), PROTOCOL_ERROR],
    [
      "DATA on a stream that has ended",
      Buffer.concat([call(1), frame(wire.data, 0, 1, Buffer.from("x"))]),
      STREAM_CLOSED,
    ],
    ["RST_STREAM on an idle stream", frame(wire.rstStream, 0, 1, uint32(8)), PROTOCOL_ERROR],
    ["RST_STREAM on stream 0", frame(wire.rstStream, 0, 0, uint32(8)), PROTOCOL_ERROR],
    [
      "RST_STREAM of three bytes",
      Buffer.concat([request(1), frame(wire.rstStream, 0, 1, Buffer.alloc(3))]),
      FRAME_SIZE_ERROR,
    ],
    ["WINDOW_UPDATE on an idle stream", frame(wire.windowUpdate, 0, 1, uint32(1)), PROTOCOL_ERROR],
    ["WINDOW_UPDATE by 0", frame(wire.windowUpdate, 0, 0, uint32(0)), PROTOCOL_ERROR],
    ["a connection window over 2^31 - 1", frame(wire.windowUpdate, 0, 0, uint32(2 ** 31 - 1)), FLOW_CONTROL_ERROR],
    ["PING of seven bytes", frame(wire.ping, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
    ["PING on a stream", frame(wire.ping, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
    ["SETTINGS on a stream", frame(wire.settings, 0, 1), PROTOCOL_ERROR],
    ["SETTINGS with ACK and payload", frame(wire.settings, wire.ack, 0, Buffer.alloc(6)), FRAME_SIZE_ERROR],
    ["SETTINGS of five bytes", frame(wire.settings, 0, 0, Buffer.alloc(5)), FRAME_SIZE_ERROR],
    [
      "a window of more than 2^31 - 1 in SETTINGS",
      frame(wire.settings, 0, 0, settingsPayload([[4, 2 ** 31]])),
      FLOW_CONTROL_ERROR,
    ],
    ["GOAWAY on a stream", frame(wire.goaway, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
    ["GOAWAY of seven bytes", frame(wire.goaway, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
    ["PUSH_PROMISE", frame(wire.pushPromise, wire.endHeaders, 1, Buffer.concat([uint32(2), block])), PROTOCOL_ERROR],
    ["PRIORITY of four bytes", frame(wire.priority, 0, 1, Buffer.alloc(4)), FRAME_SIZE_ERROR],
    ["PRIORITY on stream 0", frame(wire.priority, 0, 0, Buffer.alloc(5)), PROTOCOL_ERROR],
    ["a stream that depends on itself", frame(wire.priority, 0, 1, Buffer.from([0, 0, 0, 1, 16])), PROTOCOL_ERROR],
    ["CONTINUATION of nothing", frame(wire.continuation, wire.endHeaders, 1, block), PROTOCOL_ERROR],
    [
      "CONTINUATION of another stream",
      Buffer.concat([frame(wire.headers, 0, 1, block), frame(wire.continuation, wire.endHeaders, 3)]),
      PROTOCOL_ERROR,
    ],
    [
      "PING within a header block",
      Buffer.concat([frame(wire.headers, 0, 1, block), frame(wire.ping, 0, 0, Buffer.alloc(8))]),
      PROTOCOL_ERROR,
    ],
    [
      "DATA within a header block",
      Buffer.concat([frame(wire.headers, 0, 1, block), frame(wire.data, 0, 1)]),
      PROTOCOL_ERROR,
    ],
    [
      "an unknown frame within a header block",
      Buffer.concat([frame(wire.headers, 0, 1, block), frame(99, 0, 0)]),
      PROTOCOL_ERROR,
    ],
    [
      "padding longer than a header block",
      frame(wire.headers, wire.padded | wire.endHeaders, 1, Buffer.from([9, 0x82])),
      PROTOCOL_ERROR,
    ],
    [
      "HEADERS too short for its priority",
      frame(wire.headers, wire.prioritized | wire.endHeaders, 1, Buffer.alloc(4)),
      FRAME_SIZE_ERROR,
    ],
    [
      "a header block that is no HPACK",
      frame(wire.headers, wire.endHeaders, 1, Buffer.from([0x80])),
      COMPRESSION_ERROR,
    ],
  ];
  for (const [name, bytes, code] of faults) {
    it(name, async () => {
      await using server = await Http2Server.start();
      const client = server.connect();
      await client.roundTrip();
      client.write(bytes);
      assert.equal(await client.end(), code);
    });
  }
});

describe("http2 protocol: faults that end a stream only", () => {
  const { PROTOCOL_ERROR, STREAM_CLOSED, FLOW_CONTROL_ERROR } = ErrorCode;
  const open = frame(wire.headers, wire.endHeaders, 1, literalBlock(callFields(slowSum)));
  const unanswered = Buffer.concat([
    frame(wire.headers, wire.endHeaders, 1, literalBlock(callFields(never))),
    frame(wire.data, wire.endStream, 1, message("x")),
  ]);
  const trailers = literalBlock([["x-trailer", "t"]]);
  const promised = literalBlock(callFields(slowSum, [["content-length", "3"]]));
  const faults: readonly (readonly [name: string, bytes: Buffer, code: number])[] = [
    ["WINDOW_UPDATE by 0", Buffer.concat([open, frame(wire.windowUpdate, 0, 1, uint32(0))]), PROTOCOL_ERROR],
    [
      "a window over 2^31 - 1",
      Buffer.concat([open, frame(wire.windowUpdate, 0, 1, uint32(2 ** 31 - 1))]),
      FLOW_CONTROL_ERROR,
    ],
    [
      "trailers that do not end the stream",
      Buffer.concat([open, frame(wire.headers, wire.endHeaders, 1, trailers)]),
      PROTOCOL_ERROR,
    ],
    [
      "trailers with a pseudo-header field",
      Buffer.concat([open, frame(wire.headers, wire.endHeaders | wire.endStream, 1, literalBlock([[":path", "/"]]))]),
      PROTOCOL_ERROR,
    ],
    [
      "DATA after the request's end",
      Buffer.concat([unanswered, frame(wire.data, 0, 1, Buffer.from("x"))]),
      STREAM_CLOSED,
    ],
    [
      "HEADERS after the request's end",
      Buffer.concat([unanswered, frame(wire.headers, 5, 1, trailers)]),
      STREAM_CLOSED,
    ],
    [
      "less DATA than content-length",
      Buffer.concat([
        frame(wire.headers, wire.endHeaders, 1, promised),
        frame(wire.data, wire.endStream, 1, Buffer.alloc(2)),
      ]),
      PROTOCOL_ERROR,
    ],
    [
      "no DATA where content-length promised some",
      frame(wire.headers, wire.endHeaders | wire.endStream, 1, promised),
      PROTOCOL_ERROR,
    ],
    [
      "a malformed request",
      frame(wire.headers, wire.endHeaders, 1, literalBlock([[":method", "POST"]])),
      PROTOCOL_ERROR,
    ],
  ];
  for (const [name, bytes, code] of faults) {
    it(name, async () => {
      await using server = await Http2Server.start();
      const client = server.connect();
      client.write(bytes);
      const reset = await client.type(wire.rstStream, 1);
      assert.equal(reset.payload.readUInt32BE(), code);
      client.write(frame(wire.data, wire.endStream, 1, message("was on its way")));
      client.unary(3, echo, "next");
      assert.equal((await client.response(3)).data.toString("latin1", 5), "next");
      // Whatever had begun has ended.
      assert.equal(
        server.ended.filter(({ path }) => path !== echo).every((end) => end.code === Code.CANCELLED),
        true,
      );
    });
  }

  it("serves the last stream there can be, remembers nothing of those that were passed over, and none after it", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    const last = 2 ** 31 - 1;
    client.unary(1, echo, "first");
    client.unary(last, echo, "last");
    assert.deepEqual((await client.response(last)).data, message("last"));
    client.send(wire.windowUpdate, 0, 5, uint32(1)); // passed over, hence closed: allowed to be late
    client.send(wire.data, 0, 7, message("late"));
    assert.equal((await client.type(wire.rstStream, 7)).payload.readUInt32BE(), ErrorCode.STREAM_CLOSED);
    client.unary(last - 2, echo, "backwards");
    assert.equal(await client.end(), ErrorCode.PROTOCOL_ERROR);
  });

  it("ignores frames that are allowed and mean nothing: priorities, unknown frames and settings, late resets", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[0x4242, 7]] });
    client.send(wire.priority, 0, 9, Buffer.from([0x80, 0, 0, 3, 255]));
    client.send(99, 0xff, 5, Buffer.from("unknown"));
    client.send(wire.ping, wire.ack, 0, Buffer.alloc(8));
    client.send(wire.goaway, 0, 0, Buffer.alloc(8));
    const prioritized = Buffer.concat([Buffer.from([2, 0, 0, 0, 3, 16]), block, Buffer.alloc(2)]);
    client.send(wire.headers, wire.endHeaders | wire.prioritized | wire.padded, 1, prioritized);
    client.send(wire.data, wire.padded, 1, Buffer.concat([Buffer.from([3]), message("padded"), Buffer.alloc(3)]));
    client.send(wire.headers, wire.endHeaders | wire.endStream, 1, literalBlock([["x-trailer", "t"]]));
    assert.equal((await client.response(1)).data.toString("latin1", 5), "padded");
    client.send(wire.rstStream, 0, 1, uint32(8));
    client.send(wire.windowUpdate, 0, 1, uint32(5));
    client.unary(3, echo, "next");
    assert.equal((await client.response(3)).data.toString("latin1", 5), "next");
  });
});

describe("http2 protocol: beginnings", () => {
  it("begins with its settings, and acknowledges the client's", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    await client.roundTrip();
    assert.deepEqual([client.frames[0]!.type, client.frames[0]!.flags], [wire.settings, 0]);
    assert.ok(client.frames.some((each) => each.type === wire.settings && each.flags === wire.ack));
  });

  it("takes a preface that comes byte by byte, and calls that come with it", async () => {
    await using server = await Http2Server.start();
    const slow = server.connect({ silent: true });
    const all = Buffer.concat([preface, frame(wire.settings, 0, 0), call(1)]);
    for (const byte of all) {
      slow.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await slow.response(1)).fields.get("grpc-status"), "0");
    const fast = server.connect({ silent: true });
    fast.write(all);
    assert.equal((await fast.response(1)).fields.get("grpc-status"), "0");
  });

  it("answers HTTP/1.1 in words that its client can read", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ silent: true });
    client.write(Buffer.from("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    await client.end();
    assert.match(client.received.toString(), /^HTTP\/1\.1 505 .*connection: close.*speaks gRPC over HTTP\/2/s);
  });

  for (const [name, bytes] of [
    ["garbage", Buffer.from("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello to a plain port")],
    ["a preface with a wrong end", Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")],
    ["a frame before SETTINGS", Buffer.concat([preface, frame(wire.ping, 0, 0, Buffer.alloc(8))])],
    ["DATA before SETTINGS", Buffer.concat([preface, frame(wire.data, 0, 1, Buffer.alloc(8))])],
  ] as const) {
    it(`ends the connection on ${name}`, async () => {
      await using server = await Http2Server.start();
      const client = server.connect({ silent: true });
      client.write(bytes);
      assert.equal(await client.end(), ErrorCode.PROTOCOL_ERROR);
    });
  }

  it("answers requests that are no gRPC calls as HTTP", async () => {
    await using server = await Http2Server.start();
    const session = connect(`http://127.0.0.1:${server.port}`);
    const fetch = (headers: Record<string, string>, body?: Buffer) =>
      new Promise<{ status: unknown; body: string }>((resolve, reject) => {
        const stream = session.request(headers, { endStream: body === undefined });
        let text = "";
        let status: unknown;
        stream.on("response", (fields) => (status = fields[constants.HTTP2_HEADER_STATUS]));
        stream.on("data", (part) => (text += part));
        stream.on("error", reject);
        stream.on("end", () => resolve({ status, body: text }));
        if (body !== undefined) stream.end(body);
      });
    const get = await fetch({ ":path": "/" });
    assert.equal(get.status, 415);
    assert.match(get.body, /speaks gRPC/);
    const post = await fetch(
      { ":path": "/", ":method": "POST", "content-type": "application/json" },
      Buffer.from("{}"),
    );
    assert.equal(post.status, 415);
    const large = await fetch({ ":path": "/", ":method": "POST" }, Buffer.alloc(1_000_000));
    assert.equal(large.status, 415);
    const head = await fetch({ ":path": "/", ":method": "HEAD" });
    assert.deepEqual(head, { status: 415, body: "" });
    const wrong = await fetch({ ":path": echo, ":method": "PUT", "content-type": "application/grpc" }, Buffer.alloc(5));
    assert.equal(wrong.status, 405);
    session.close();
  });

  it("understands the Huffman code of another implementation, for every byte a field may carry", async () => {
    await using server = await Http2Server.start();
    const session = connect(`http://127.0.0.1:${server.port}`);
    const values: string[] = [];
    for (let byte = 0x20; byte < 0x100; byte++) {
      // So many short codes beside it that Huffman code is the shorter one, and is used.
      if (byte !== 0x7f) values.push(`${"a".repeat(40)}${String.fromCharCode(byte)}${"e".repeat(40)}`);
    }
    await Promise.all(
      values.map(async (value) => {
        const fields = { ":path": echo, ":method": "POST", "content-type": "application/grpc", "x-value": value };
        const stream = session.request(fields);
        stream.end(message("x"));
        stream.resume();
        await once(stream, "close");
      }),
    );
    assert.deepEqual(
      server.metadata.map((metadata) => metadata.get("x-value")),
      values,
    );
    session.close();
  });
});

describe("http2 protocol: compression of messages", () => {
  it("refuses a compressed message in a call that named no encoding", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, echo);
    client.send(wire.data, wire.endStream, 1, message("x", true));
    const { fields } = await client.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.INTERNAL));
    assert.match(fields.get("grpc-message") ?? "", /without grpc-encoding/);
  });

  it("refuses what is not compressed as it says", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    for (const [id, encoding] of [
      [1, "gzip"],
      [3, "deflate"],
    ] as const) {
      client.call(id, echo, [["grpc-encoding", encoding]]);
      client.send(wire.data, wire.endStream, id, message("not compressed", true));
      const { fields } = await client.response(id);
      assert.equal(fields.get("grpc-status"), String(Code.INTERNAL));
      assert.match(fields.get("grpc-message") ?? "", new RegExp(`not valid ${encoding}`));
    }
  });

  it("refuses unknown encodings, and says which it takes", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, echo, [["grpc-encoding", "br"]]);
    const { fields } = await client.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.UNIMPLEMENTED));
    assert.equal(fields.get("grpc-accept-encoding"), "identity,deflate,gzip");
  });

  it("refuses a request that ends in the middle of a message", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, echo);
    client.send(wire.data, wire.endStream, 1, message("whole").subarray(0, 7));
    const { fields } = await client.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.INTERNAL));
    assert.match(fields.get("grpc-message") ?? "", /middle of a message/);
  });
});

describe("http2 protocol: endings", () => {
  it("says first that it goes, then which call was the last, and serves what came between", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, slowSum);
    client.send(wire.data, 0, 1, message("12345"));
    await until(() => server.begun.length === 1);
    const closed = server.transport.close(30_000);
    const first = await client.type(wire.goaway);
    assert.equal(first.payload.readUInt32BE(0), 2 ** 31 - 1);
    const ping = await client.frame((each) => each.type === wire.ping && each.flags === 0);
    client.unary(3, echo, "sent before the word came");
    assert.equal((await client.response(3)).data.toString("latin1", 5), "sent before the word came");
    client.send(wire.ping, wire.ack, 0, ping.payload);
    const last = await client.type(wire.goaway, 0, client.frames.indexOf(first) + 1);
    assert.equal(last.payload.readUInt32BE(0), 3);
    client.unary(5, echo, "too late"); // the client knows: it was above the last stream
    server.letIn();
    client.send(wire.data, wire.endStream, 1, message("67"));
    assert.equal((await client.response(1)).data.toString("latin1", 5), "7");
    await client.end();
    await closed;
    assert.deepEqual(
      server.ended.map(({ path, code }) => [path, code]),
      [
        [echo, Code.OK],
        [slowSum, Code.OK],
      ],
    );
    assert.equal(
      client.frames.some((each) => each.streamId === 5),
      false,
    );
  });

  it("does not wait for ever for the answer to its PING", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    await client.roundTrip();
    const closed = server.transport.close(30_000);
    await client.type(wire.goaway);
    await server.pass(2000);
    assert.equal(await client.end(), ErrorCode.NO_ERROR);
    await closed;
  });

  it("ends what is still open when the grace is over, and tells the client", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.unary(1, never, "");
    client.unary(3, streamOf, "1000000"); // its client gives it no window
    await until(() => server.begun.length === 2);
    const closed = server.transport.close(3000);
    await server.pass(3000);
    assert.equal((await client.response(1)).fields.get("grpc-status"), String(Code.UNAVAILABLE));
    await server.pass(1000);
    await client.end();
    await closed;
    assert.deepEqual(
      server.ended.map(({ code }) => code),
      [Code.UNAVAILABLE, Code.UNAVAILABLE],
    );
  });

  it("tells handlers when the connection goes, in all states a call can be in", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 100]] });
    client.unary(1, never, "");
    client.call(3, slowSum);
    client.unary(5, streamOf, "1000");
    await until(() => server.begun.length === 3);
    client.socket.destroy();
    await until(() => server.ended.length === 3);
    assert.deepEqual(new Set(server.ended.map(({ code }) => code)), new Set([Code.CANCELLED]));
    assert.deepEqual(server.log.of("error"), []);
  });

  it("leaves no call and no timer behind", async () => {
    const server = await Http2Server.start();
    using grpc = new RawGrpcClient(`127.0.0.1:${server.port}`);
    for (let calls = 0; calls < 20; calls++) await grpc.unary(echo, "x");
    grpc.close();
    await server.transport.close(1000);
    assert.equal(server.clock.pending, 0);
    assert.equal(server.ended.length, 20);
  });
});
