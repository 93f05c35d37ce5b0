// Every limit of the http2 transport, reached on purpose by a client that says what it likes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { validateHttp2Options } from "../../../../src/api/grpc/transport/http2/http2-options.js";
import { ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { validateGrpcTransportOptions } from "../../../../src/api/grpc/transport/transport-options.js";
import { Code } from "../../../../src/status.js";
import { bytesOf, echo, Http2Server, never, slowSum, streamOf } from "../../../support/http2-server.js";
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
import { repositoryRoot } from "../../../support/repository-root.js";
import { until } from "../../../support/until.js";

describe("http2 limits: connections", () => {
  it("maxConnections: one more is closed at once, and there is room again when one has gone", async () => {
    await using server = await Http2Server.start({ maxConnections: 1 });
    const first = server.connect();
    await first.roundTrip();
    assert.equal(await server.connect().end(), undefined);
    assert.match(server.log.of("warn")[0]?.message ?? "", /Refused a connection: 1 are open/);
    first.socket.destroy();
    for (;;) {
      const next = server.connect();
      next.unary(1, echo, "x");
      const answered = await next.response(1).then(
        () => true,
        () => false,
      );
      if (answered) break; // the first one's end takes a turn or two to be noticed
    }
  });

  it("handshakeTimeoutMs: a client that says nothing, or begins and stops, is cut", async () => {
    await using server = await Http2Server.start({ handshakeTimeoutMs: 5000 });
    const silent = server.connect({ silent: true });
    const hesitant = server.connect({ silent: true });
    hesitant.write(preface.subarray(0, 10));
    const unsettled = server.connect({ silent: true });
    unsettled.write(preface);
    await unsettled.type(wire.settings);
    const proper = server.connect();
    await proper.roundTrip();
    await server.pass(4000);
    assert.deepEqual([silent.closed, hesitant.closed, unsettled.closed], [false, false, false]);
    await server.pass(1000);
    assert.equal(await unsettled.end(), ErrorCode.SETTINGS_TIMEOUT);
    await Promise.all([silent.end(), hesitant.end()]);
    await proper.roundTrip();
  });

  it("handshakeTimeoutMs: a header block or a frame that does not end is cut too", async () => {
    await using server = await Http2Server.start({ handshakeTimeoutMs: 5000 });
    const block = server.connect();
    const half = server.connect();
    await Promise.all([block.roundTrip(), half.roundTrip()]);
    block.send(wire.headers, 0, 1, literalBlock(callFields(echo)));
    half.write(frame(wire.headers, wire.endHeaders, 1, literalBlock(callFields(echo))).subarray(0, 20));
    while (!block.closed || !half.closed) await server.pass(1000);
    assert.equal(await block.end(), ErrorCode.ENHANCE_YOUR_CALM);
    assert.equal(await half.end(), ErrorCode.ENHANCE_YOUR_CALM);
  });

  it("maxConnectionIdleMs: a connection without calls is asked to close", async () => {
    await using server = await Http2Server.start({ maxConnectionIdleMs: 10_000 });
    const idle = server.connect();
    const busy = server.connect();
    busy.unary(1, never, "");
    await Promise.all([idle.roundTrip(), busy.roundTrip()]);
    await server.pass(20_000);
    assert.equal(await idle.end(), ErrorCode.NO_ERROR);
    assert.equal(busy.goawayCode(), undefined);
  });

  it("keepaliveTimeMs, keepaliveTimeoutMs: a quiet client is asked for a sign of life, and lost without one", async () => {
    await using server = await Http2Server.start({ keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 3000 });
    const alive = server.connect();
    const dead = server.connect();
    dead.unary(1, never, "");
    await Promise.all([alive.roundTrip(), dead.roundTrip()]);
    const from = alive.frames.length;
    await server.pass(11_000);
    const { payload } = await alive.frame((each) => each.type === wire.ping && each.flags === 0, from);
    alive.send(wire.ping, wire.ack, 0, payload);
    await alive.roundTrip();
    await dead.frame((each) => each.type === wire.ping && each.flags === 0);
    await server.pass(3000);
    await dead.end();
    assert.deepEqual(server.ended, [{ path: never, code: Code.CANCELLED, message: "Cancelled by the client" }]);
    await alive.roundTrip();
  });

  it("maxConnectionAgeMs, maxConnectionAgeGraceMs: an old connection is asked to close, and its calls then ended", async () => {
    await using server = await Http2Server.start({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 5000 });
    const old = server.connect();
    old.unary(1, never, "");
    await old.roundTrip();
    await server.pass(8000);
    assert.equal(old.goawayCode(), undefined);
    await server.pass(5000);
    await old.type(wire.goaway);
    assert.deepEqual(server.ended, []);
    await server.pass(5000);
    const { fields } = await old.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.UNAVAILABLE));
    await old.end();
  });
});

describe("http2 limits: requests", () => {
  it("maxConcurrentStreams: one more is refused, so that clients try it again", async () => {
    await using server = await Http2Server.start({ maxConcurrentStreams: 2 });
    const client = server.connect();
    for (const id of [1, 3, 5]) client.unary(id, never, "");
    const refusal = await client.type(wire.rstStream);
    assert.deepEqual([refusal.streamId, refusal.payload.readUInt32BE()], [5, ErrorCode.REFUSED_STREAM]);
    client.send(wire.rstStream, 0, 1, uint32(8));
    client.unary(7, echo, "room again");
    assert.equal((await client.response(7)).data.toString("latin1", 5), "room again");
  });

  it("maxFrameBytes: a larger frame ends the connection", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, echo);
    client.send(wire.data, 0, 1, Buffer.alloc(16_385));
    assert.equal(await client.end(), ErrorCode.FRAME_SIZE_ERROR);
  });

  it("maxFrameBytes: larger ones are taken when the server says so", async () => {
    await using server = await Http2Server.start({ maxFrameBytes: 100_000 });
    const client = server.connect();
    client.call(1, echo);
    client.send(wire.data, wire.endStream, 1, message(Buffer.alloc(50_000)));
    client.send(wire.windowUpdate, 0, 0, uint32(1_000_000));
    assert.equal((await client.response(1)).fields.get("grpc-status"), "0");
  });

  it("streamWindowBytes: more than the window ends the call, and no more than it is held for a handler", async () => {
    await using server = await Http2Server.start({ streamWindowBytes: 65_535 });
    const client = server.connect();
    client.call(1, slowSum);
    for (let sent = 0; sent < 64_000; sent += 1000) client.send(wire.data, 0, 1, message(Buffer.alloc(995)));
    await client.roundTrip();
    assert.equal(
      client.frames.some((each) => each.type === wire.windowUpdate && each.streamId === 1),
      false,
    );
    client.send(wire.data, 0, 1, Buffer.alloc(2000));
    const reset = await client.type(wire.rstStream, 1);
    assert.equal(reset.payload.readUInt32BE(), ErrorCode.FLOW_CONTROL_ERROR);
    await client.roundTrip();
    assert.deepEqual(
      server.ended.map(({ code }) => code),
      [Code.CANCELLED],
    );
  });

  it("maxBufferedRequestBytes: large messages come one after the other", async () => {
    await using server = await Http2Server.start({ streamWindowBytes: 65_535, maxBufferedRequestBytes: 250_000 });
    const client = server.connect({ settings: [[4, 2 ** 31 - 1]] });
    client.send(wire.windowUpdate, 0, 0, uint32(2 ** 30));
    const body = message(Buffer.alloc(200_000, "r"));
    for (const id of [1, 3]) {
      client.call(id, echo);
      client.send(wire.data, 0, id, body.subarray(0, 10_000));
    }
    await client.roundTrip();
    const granted = (id: number) =>
      client.frames.filter((each) => each.type === wire.windowUpdate && each.streamId === id);
    assert.equal(granted(1).length, 1);
    assert.ok(granted(1)[0]!.payload.readUInt32BE() + 65_535 >= body.length);
    assert.equal(granted(3).length, 0);
    const rest = (id: number) => {
      for (let at = 10_000; at < body.length; at += 10_000) {
        const end = at + 10_000 >= body.length;
        client.send(wire.data, end ? wire.endStream : 0, id, body.subarray(at, at + 10_000));
      }
    };
    rest(1);
    assert.equal((await client.response(1)).data.length, body.length);
    await client.type(wire.windowUpdate, 3);
    rest(3);
    assert.equal((await client.response(3)).data.length, body.length);
  });

  it("requestStallTimeoutMs: a message that is begun and not ended ends its call, and makes room for the next", async () => {
    const options = { requestStallTimeoutMs: 5000, streamWindowBytes: 65_535, maxBufferedRequestBytes: 150_000 };
    await using server = await Http2Server.start(options);
    const client = server.connect({ settings: [[4, 2 ** 31 - 1]] });
    client.send(wire.windowUpdate, 0, 0, uint32(2 ** 30));
    const body = message(Buffer.alloc(100_000, "r"));
    for (const id of [1, 3]) {
      client.call(id, echo);
      client.send(wire.data, 0, id, body.subarray(0, 10_000));
    }
    await client.type(wire.windowUpdate, 1);
    await server.pass(4000);
    client.send(wire.data, 0, 1, body.subarray(10_000, 10_001)); // it goes on: the time begins anew
    client.send(wire.data, 0, 3, body.subarray(10_000, 10_001));
    await client.roundTrip();
    await server.pass(5000);
    assert.deepEqual(server.ended, []);
    assert.ok(!client.frames.some((each) => each.type === wire.windowUpdate && each.streamId === 3));
    client.send(wire.data, 0, 3, body.subarray(10_001, 10_002));
    await client.roundTrip();
    await server.pass(1000);
    const { fields } = await client.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.DEADLINE_EXCEEDED));
    assert.equal(fields.get("grpc-message"), "A message was begun, and nothing more of it came for 5000 ms");
    await client.type(wire.windowUpdate, 3);
    for (let at = 10_002; at < body.length; at += 10_000) {
      const end = at + 10_000 >= body.length;
      client.send(wire.data, end ? wire.endStream : 0, 3, body.subarray(at, at + 10_000));
    }
    assert.equal((await client.response(3)).data.length, body.length);
  });

  it("requestStallTimeoutMs: a client may wait for ever between messages, for its window, and for the handler", async () => {
    await using server = await Http2Server.start({ requestStallTimeoutMs: 5000, streamWindowBytes: 65_535 });
    const client = server.connect();
    client.call(1, slowSum); // takes nothing until it is let in
    client.send(wire.data, 0, 1, message("between"));
    client.call(3, slowSum);
    client.send(wire.data, 0, 3, message(Buffer.alloc(1000)).subarray(0, 500));
    client.call(5, slowSum);
    for (let sent = 0; sent < 60_000; sent += 10_000) client.send(wire.data, 0, 5, message(Buffer.alloc(9995)));
    client.send(wire.data, 0, 5, message(Buffer.alloc(9995)).subarray(0, 5535));
    await client.roundTrip();
    await server.pass(60_000);
    assert.deepEqual(server.ended, []);
    server.letIn();
    client.send(wire.data, wire.endStream, 1, message("the end"));
    assert.deepEqual((await client.response(1)).data, message("14"));
    await until(() => server.ended.length === 1);
    await server.pass(6000);
    const { fields } = await client.response(3); // now it is wanted
    assert.equal(fields.get("grpc-status"), String(Code.DEADLINE_EXCEEDED));
  });

  it("maxReceiveMessageBytes: a message over the limit ends its call by the flag's name, and only that", async () => {
    await using server = await Http2Server.start({ maxReceiveMessageBytes: 1000 });
    const client = server.connect();
    client.call(1, echo);
    client.send(wire.data, 0, 1, Buffer.from("00000003e9", "hex"));
    const { fields } = await client.response(1);
    assert.equal(fields.get("grpc-status"), String(Code.RESOURCE_EXHAUSTED));
    assert.match(fields.get("grpc-message") ?? "", /larger than max \(1001 vs 1000\).*--max_receive_message_bytes/);
    const reset = await client.type(wire.rstStream, 1);
    assert.equal(reset.payload.readUInt32BE(), ErrorCode.NO_ERROR);
    for (let sent = 0; sent < 10; sent++) client.send(wire.data, 0, 1, Buffer.alloc(10_000)); // was on its way
    client.unary(3, echo, "next");
    assert.equal((await client.response(3)).data.toString("latin1", 5), "next");
  });

  it("maxReceiveMessageBytes: also of what comes out of a compressed message", async () => {
    await using server = await Http2Server.start({ maxReceiveMessageBytes: 100_000 });
    const client = server.connect();
    const bombs = [gzipSync(Buffer.alloc(100_001)), gzipSync(Buffer.alloc(10_000_000))];
    for (const [index, bomb] of bombs.entries()) {
      const id = index * 2 + 1;
      client.call(id, echo, [["grpc-encoding", "gzip"]]);
      client.send(wire.data, wire.endStream, id, message(bomb, true));
      const { fields } = await client.response(id);
      assert.equal(fields.get("grpc-status"), String(Code.RESOURCE_EXHAUSTED));
      assert.match(fields.get("grpc-message") ?? "", /--max_receive_message_bytes/);
    }
  });

  it("maxHeaderListBytes: larger header fields end the call with a status that gRPC and HTTP clients read", async () => {
    await using server = await Http2Server.start({ maxHeaderListBytes: 4096 });
    const client = server.connect();
    client.send(wire.headers, wire.endHeaders, 1, literalBlock(callFields(echo, [["x-large", "l".repeat(5000)]])));
    client.send(wire.data, wire.endStream, 1, message("x"));
    const { fields } = await client.response(1);
    assert.equal(fields.get(":status"), "431");
    assert.equal(fields.get("grpc-status"), String(Code.RESOURCE_EXHAUSTED));
    client.unary(3, echo, "next");
    assert.equal((await client.response(3)).data.toString("latin1", 5), "next");
    using grpc = new RawGrpcClient(`127.0.0.1:${server.port}`);
    const { error } = await grpc.unary(echo, "", { "x-large": "l".repeat(5000) });
    assert.equal(error?.code, Code.RESOURCE_EXHAUSTED);
    assert.match(error?.details ?? "", /4096/);
  });

  it("maxHeaderListBytes: a header block that is larger even compressed ends the connection", async () => {
    await using server = await Http2Server.start({ maxHeaderListBytes: 4096 });
    const client = server.connect();
    client.send(wire.headers, 0, 1, Buffer.alloc(4000, 0x82));
    client.send(wire.continuation, 0, 1, Buffer.alloc(200, 0x82));
    assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
  });

  it("maxHeaderListBytes: a bomb of references to one large field stays small", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    const large = Buffer.concat([Buffer.from([0x40, 1, 0x62, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, "v")]);
    const bomb = Buffer.concat([literalBlock(callFields(echo)), large, Buffer.alloc(12_000, 0xbe)]);
    client.send(wire.headers, wire.endHeaders | wire.endStream, 1, bomb);
    assert.equal((await client.response(1)).fields.get(":status"), "431");
    await client.roundTrip();
  });

  for (const [name, payload] of [
    ["empty", Buffer.alloc(0)],
    ["small", Buffer.from([0x82])],
  ] as const) {
    it(`maxContinuationFrames: a flood of ${name} CONTINUATION frames ends the connection`, async () => {
      await using server = await Http2Server.start({ maxContinuationFrames: 8 });
      const client = server.connect();
      client.send(wire.headers, 0, 1, literalBlock(callFields(echo)));
      for (let sent = 0; sent < 9; sent++) client.send(wire.continuation, 0, 1, payload);
      assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
    });
  }

  it("maxContinuationFrames: as many as allowed are taken", async () => {
    await using server = await Http2Server.start({ maxContinuationFrames: 8 });
    const client = server.connect();
    const block = literalBlock(callFields(echo));
    client.send(wire.headers, 0, 1, block.subarray(0, 7));
    for (let part = 1; part < 8; part++) client.send(wire.continuation, 0, 1, block.subarray(part * 7, part * 7 + 7));
    client.send(wire.continuation, wire.endHeaders, 1, block.subarray(56));
    client.send(wire.data, wire.endStream, 1, message("pieces"));
    assert.equal((await client.response(1)).data.toString("latin1", 5), "pieces");
  });
});

describe("http2 limits: responses", () => {
  const noWindow = { settings: [[4, 0]] as const };

  it("maxBufferedResponseBytes: calls get no requests while too many responses wait, and go on afterwards", async () => {
    await using server = await Http2Server.start({ maxBufferedResponseBytes: 100_000 });
    const client = server.connect(noWindow);
    client.unary(1, bytesOf, "150000");
    client.unary(3, echo, "held");
    await client.roundTrip();
    assert.deepEqual(server.begun, [bytesOf]);
    client.send(wire.windowUpdate, 0, 0, uint32(1_000_000));
    client.send(wire.settings, 0, 0, settingsPayload([[4, 1_000_000]]));
    assert.equal((await client.response(1)).data.length, 150_005);
    assert.equal((await client.response(3)).data.toString("latin1", 5), "held");
  });

  it("maxBufferedResponseBytes: a client that goes on taking nothing is cut after responseStallTimeoutMs", async () => {
    await using server = await Http2Server.start({ maxBufferedResponseBytes: 1000, responseStallTimeoutMs: 5000 });
    const client = server.connect(noWindow);
    client.unary(1, streamOf, "100");
    client.unary(3, never, "");
    await client.type(wire.headers, 1);
    await server.pass(4000);
    assert.equal(client.goawayCode(), undefined);
    await server.pass(3000);
    assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
    assert.deepEqual(
      server.ended.map(({ code }) => code),
      [Code.CANCELLED, Code.CANCELLED],
    );
  });

  it("responseStallTimeoutMs: the response of an ended call that nobody takes is dropped", async () => {
    await using server = await Http2Server.start({ responseStallTimeoutMs: 5000 });
    const client = server.connect(noWindow);
    client.unary(1, bytesOf, "100");
    await client.type(wire.headers, 1);
    await server.pass(4000);
    client.send(wire.windowUpdate, 0, 1, uint32(10)); // it takes some: the time begins anew
    await client.type(wire.data, 1);
    await server.pass(4000);
    await client.roundTrip();
    assert.equal(
      client.frames.some((each) => each.type === wire.rstStream),
      false,
    );
    await server.pass(2000);
    assert.equal((await client.type(wire.rstStream, 1)).payload.readUInt32BE(), ErrorCode.CANCEL);
  });

  it("responseStallTimeoutMs: a stream whose handler waits for its client may wait for ever", async () => {
    await using server = await Http2Server.start({ responseStallTimeoutMs: 5000 });
    const client = server.connect(noWindow);
    client.unary(1, streamOf, "1000");
    await client.type(wire.headers, 1);
    await server.pass(60_000);
    client.send(wire.windowUpdate, 0, 0, uint32(2_000_000));
    client.send(wire.windowUpdate, 0, 1, uint32(2_000_000));
    assert.equal((await client.response(1)).data.length, 1_005_000);
  });

  it("responseStallTimeoutMs: a client that does not read its socket is cut", async () => {
    await using server = await Http2Server.start({ responseStallTimeoutMs: 5000 });
    const client = server.connect({ settings: [[4, 2 ** 31 - 1]] });
    client.send(wire.windowUpdate, 0, 0, uint32(2 ** 30));
    await client.roundTrip();
    client.socket.pause();
    client.unary(1, bytesOf, "30000000");
    await until(() => server.begun.length === 1);
    const cut = () => server.log.of("debug").some((line) => /responses are not being read/.test(line.message));
    while (!cut()) await server.pass(1000);
    client.socket.resume();
    await client.end();
  });

  it("compressResponsesFromBytes: compresses what the client accepts, from that size on, in order", async () => {
    await using server = await Http2Server.start({ compressResponsesFromBytes: 1000 });
    using grpc = new RawGrpcClient(`127.0.0.1:${server.port}`); // grpc-js accepts gzip
    assert.equal((await grpc.unary(bytesOf, "100000")).response?.length, 100_000);
    assert.equal((await grpc.unary(bytesOf, "999")).response?.length, 999);
    let streamed = 0;
    for await (const part of grpc.serverStream(streamOf, "300")) streamed += (part as Buffer).length;
    assert.equal(streamed, 300_000);
    const client = server.connect();
    client.call(1, bytesOf, [["grpc-accept-encoding", "identity, gzip"]]);
    client.send(wire.data, wire.endStream, 1, message("100000"));
    const compressed = await client.response(1);
    assert.equal(compressed.fields.get("grpc-encoding"), "gzip");
    assert.equal(compressed.data[0], 1);
    assert.ok(compressed.data.length < 2000);
    client.unary(3, bytesOf, "10000");
    const plain = await client.response(3);
    assert.equal(plain.fields.get("grpc-encoding"), undefined);
    assert.equal(plain.data.length, 10_005);
  });

  it("compressResponsesFromBytes: is off by default", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    client.call(1, bytesOf, [["grpc-accept-encoding", "gzip"]]);
    client.send(wire.data, wire.endStream, 1, message("10000"));
    const { data, fields } = await client.response(1);
    assert.equal(data.length, 10_005);
    assert.equal(fields.get("grpc-encoding"), undefined);
  });
});

describe("http2 limits: behaviour", () => {
  it("maxResets: rapid resets end the connection, and every handler hears of it", async () => {
    await using server = await Http2Server.start({ maxResets: 50 });
    const client = server.connect();
    for (let id = 1; id < 110; id += 2) {
      client.call(id, never);
      client.send(wire.data, wire.endStream, id, message(""));
      client.send(wire.rstStream, 0, id, uint32(8));
    }
    assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
    assert.equal(server.begun.length, 51);
    assert.equal(server.ended.length, 51);
  });

  it("maxResets: streams that the client makes us reset count too", async () => {
    await using server = await Http2Server.start({ maxResets: 50 });
    const client = server.connect();
    for (let id = 1; id < 110; id += 2) {
      client.call(id, never);
      client.send(wire.windowUpdate, 0, id, uint32(0));
    }
    assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
  });

  it("maxResets, abuseWindowMs: as many again are allowed later", async () => {
    await using server = await Http2Server.start({ maxResets: 20, abuseWindowMs: 5000 });
    const client = server.connect();
    for (let round = 0; round < 4; round++) {
      for (let call = 0; call < 20; call++) {
        const id = 1 + 2 * (round * 20 + call);
        client.call(id, never);
        client.send(wire.rstStream, 0, id, uint32(8));
      }
      await client.roundTrip();
      await server.pass(6000);
    }
    assert.equal(client.closed, false);
  });

  const idle: readonly (readonly [name: string, bytes: Buffer])[] = [
    ["PING", frame(wire.ping, 0, 0, Buffer.alloc(8))],
    ["SETTINGS", frame(wire.settings, 0, 0)],
    ["PRIORITY", frame(wire.priority, 0, 1, Buffer.from([0, 0, 0, 3, 16]))],
    ["WINDOW_UPDATE", frame(wire.windowUpdate, 0, 1, uint32(1))],
    ["empty DATA", frame(wire.data, 0, 1)],
    ["padding only DATA", frame(wire.data, wire.padded, 1, Buffer.from([1, 0]))],
    ["unknown", frame(99, 0, 0)],
    ["RST_STREAM of a closed stream", frame(wire.rstStream, 0, 1, uint32(8))],
  ];
  for (const [name, bytes] of idle) {
    it(`maxIdleFrames: a flood of ${name} frames ends the connection`, async () => {
      await using server = await Http2Server.start({ maxIdleFrames: 100 });
      const client = server.connect();
      client.call(1, slowSum);
      client.write(...Array.from({ length: 120 }, () => bytes));
      assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
    });
  }

  it("maxIdleFrames: a client may ping all the time while its calls make progress", async () => {
    await using server = await Http2Server.start({ maxIdleFrames: 10 });
    const client = server.connect();
    for (let id = 1; id < 200; id += 2) {
      client.unary(id, echo, "x");
      for (let pings = 0; pings < 5; pings++) client.send(wire.ping, 0, 0, Buffer.alloc(8));
    }
    assert.equal((await client.response(199)).fields.get("grpc-status"), "0");
  });

  it("maxUnsentControlFrames: a client that asks for answers and does not read them is cut", async () => {
    await using server = await Http2Server.start({ maxUnsentControlFrames: 50 });
    const client = server.connect({ settings: [[4, 2 ** 31 - 1]] });
    client.send(wire.windowUpdate, 0, 0, uint32(2 ** 30));
    await client.roundTrip();
    client.socket.pause();
    client.unary(1, bytesOf, "30000000");
    await until(() => server.begun.length === 1);
    client.write(...Array.from({ length: 60 }, () => frame(wire.ping, 0, 0, Buffer.alloc(8))));
    await until(() => server.log.of("debug").some((line) => /too many answers/.test(line.message)));
    client.socket.resume();
    assert.equal(await client.end(), ErrorCode.ENHANCE_YOUR_CALM);
  });
});

describe("http2 options", () => {
  it("have defaults that are allowed, and are frozen", () => {
    const options = validateHttp2Options({});
    assert.equal(options.maxReceiveMessageBytes, 64 * 1024 * 1024);
    assert.ok(Object.isFrozen(options));
  });

  it("are refused by name when out of bounds", () => {
    assert.throws(() => validateHttp2Options({ streamWindowBytes: 1000 }), /streamWindowBytes must be .*65535/);
    assert.throws(() => validateHttp2Options({ maxResets: 0 }), /maxResets/);
    assert.throws(() => validateHttp2Options({ keepaliveTimeMs: 1.5 }), /keepaliveTimeMs/);
  });

  it("are all in the documentation, with their defaults, under names they can be set by", () => {
    const documented = readFileSync(join(repositoryRoot, "docs/operations.md"), "utf8");
    const rows = [...documented.matchAll(/^\| `(onnxd\.\w+)` \| (?:`(grpc\.[\w.]+)` )?\| (\d+) \|/gm)];
    const { channelArguments, tls, ...defaults } = validateHttp2Options({});
    const common = Object.keys(validateGrpcTransportOptions({}));
    const limits = Object.entries(defaults).filter(([name]) => !common.includes(name));
    assert.equal(rows.length, limits.length);
    for (const [index, [name, value]] of limits.entries()) {
      const [, own, grpc, shown] = rows[index]!;
      assert.equal(Number(shown), value, own);
      for (const argument of [own!, ...(grpc === undefined ? [] : [grpc])]) {
        const other = value + 1;
        const options = validateHttp2Options({ channelArguments: new Map([[argument, other]]) });
        assert.equal(options[name as keyof typeof defaults], other, argument);
      }
    }
    const wrong = new Map([["onnxd.max_connection", 1]]);
    assert.throws(() => validateHttp2Options({ channelArguments: wrong }), /onnxd.max_connection is no limit/);
  });

  it("can be given by their gRPC names, which win; unknown ones do no harm", () => {
    const channelArguments = new Map<string, string | number>([
      ["grpc.keepalive_time_ms", "5000"],
      ["grpc.max_receive_message_length", -1],
      ["grpc.max_connection_age_ms", 2 ** 31 - 1],
      ["grpc.optimization_target", "latency"],
    ]);
    const options = validateHttp2Options({ channelArguments, keepaliveTimeMs: 1, maxConnectionAgeMs: 7 });
    assert.equal(options.keepaliveTimeMs, 5000);
    assert.equal(options.maxReceiveMessageBytes, 2 ** 31 - 1);
    assert.equal(options.maxConnectionAgeMs, 0);
    const wrong = new Map([["grpc.keepalive_time_ms", "soon"]]);
    assert.throws(() => validateHttp2Options({ channelArguments: wrong }), /keepaliveTimeMs .*got NaN/);
  });
});
