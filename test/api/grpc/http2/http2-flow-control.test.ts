import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { Code } from "../../../../src/status.js";
import { bytesOf, echo, Http2Server, slowSum, streamOf } from "../../../support/http2-server.js";
import { RawGrpcClient } from "../../../support/raw-grpc-client.js";
import {
  callFields,
  frame,
  literalBlock,
  message,
  settingsPayload,
  uint32,
  wire,
} from "../../../support/raw-http2-connection.js";

type Client = ReturnType<Http2Server["connect"]>;

/** Bytes of DATA that have come on a stream. */
function received(client: Client, streamId: number): number {
  return client.frames
    .filter((each) => each.type === wire.data && each.streamId === streamId)
    .reduce((bytes, each) => bytes + each.payload.length, 0);
}

describe("http2 flow control: responses", () => {
  it("sends no more than a stream's window, and the rest as it opens", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 10]] });
    client.unary(1, bytesOf, "100");
    await client.roundTrip();
    assert.equal(received(client, 1), 10);
    for (const increment of [1, 50, 43]) client.send(wire.windowUpdate, 0, 1, uint32(increment));
    await client.roundTrip();
    assert.equal(received(client, 1), 104);
    assert.equal(
      client.frames.some((each) => each.type === wire.headers && each.flags === 5),
      false,
    );
    client.send(wire.windowUpdate, 0, 1, uint32(1));
    const { data, fields } = await client.response(1);
    assert.equal(data.length, 105);
    assert.equal(fields.get("grpc-status"), "0");
  });

  it("sends no more than the connection's window, whatever the streams' are, and to all in turn", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 1_000_000]] });
    client.unary(1, bytesOf, "200000");
    client.unary(3, bytesOf, "200000");
    await client.roundTrip();
    assert.equal(received(client, 1) + received(client, 3), 65_535);
    client.unary(5, "/no/such", ""); // header fields need no window
    assert.equal((await client.response(5)).fields.get("grpc-status"), String(Code.UNIMPLEMENTED));
    client.send(wire.windowUpdate, 0, 0, uint32(200_000));
    await client.roundTrip();
    assert.equal(received(client, 1) + received(client, 3), 265_535);
    assert.ok(received(client, 1) > 60_000 && received(client, 3) > 60_000);
    client.send(wire.windowUpdate, 0, 0, uint32(1_000_000));
    assert.equal((await client.response(1)).data.length, 200_005);
    assert.equal((await client.response(3)).data.length, 200_005);
  });

  it("lets a window of an open stream go below 0, and waits until it is above", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 100]] });
    client.unary(1, bytesOf, "195");
    await client.roundTrip();
    assert.equal(received(client, 1), 100);
    client.send(wire.settings, 0, 0, settingsPayload([[4, 40]])); // now at -60
    client.send(wire.windowUpdate, 0, 1, uint32(60)); // at 0
    await client.roundTrip();
    assert.equal(received(client, 1), 100);
    client.send(wire.windowUpdate, 0, 1, uint32(1));
    await client.roundTrip();
    assert.equal(received(client, 1), 101);
    client.send(wire.settings, 0, 0, settingsPayload([[4, 1000]]));
    assert.equal((await client.response(1)).data.length, 200);
  });

  it("ends the connection when SETTINGS would lift a window over 2^31 - 1", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 100]] });
    client.unary(1, bytesOf, "1000");
    client.send(wire.windowUpdate, 0, 1, uint32(2 ** 31 - 1 - 100));
    client.call(3, slowSum);
    client.send(wire.windowUpdate, 0, 3, uint32(2 ** 31 - 1 - 100));
    client.send(wire.settings, 0, 0, settingsPayload([[4, 200]]));
    assert.equal(await client.end(), ErrorCode.FLOW_CONTROL_ERROR);
  });

  it("cuts responses into frames of the size the client takes", async () => {
    await using server = await Http2Server.start();
    const settings = [[4, 1_000_000]] as const;
    const small = server.connect({ settings });
    const large = server.connect({ settings: [...settings, [5, 50_000]] });
    for (const [client, size] of [
      [small, 16_384],
      [large, 50_000],
    ] as const) {
      client.send(wire.windowUpdate, 0, 0, uint32(1_000_000));
      client.unary(1, bytesOf, "120000");
      assert.equal((await client.response(1)).data.length, 120_005);
      const sizes = client.frames.filter((each) => each.type === wire.data).map((each) => each.payload.length);
      assert.equal(Math.max(...sizes), size);
    }
  });

  it("asks a stream's handler for no more than the client has room for", async () => {
    await using server = await Http2Server.start();
    const client = server.connect({ settings: [[4, 1000]] });
    client.unary(1, streamOf, "100000");
    await client.type(wire.headers, 1);
    await client.roundTrip();
    assert.equal(received(client, 1), 1000);
    client.send(wire.rstStream, 0, 1, uint32(8));
    await client.roundTrip();
    assert.deepEqual(
      server.ended.map(({ code }) => code),
      [Code.CANCELLED],
    );
  });
});

describe("http2 writing", () => {
  it("answers all calls that came together with one write", async () => {
    await using server = await Http2Server.start();
    const client = server.connect();
    await client.roundTrip();
    let reads = 0;
    client.socket.on("data", () => {
      reads += 1;
    });
    const ids = Array.from({ length: 40 }, (_, index) => 1 + 2 * index);
    const block = literalBlock(callFields(echo));
    client.write(
      ...ids.flatMap((id) => [
        frame(wire.headers, wire.endHeaders, id, block),
        frame(wire.data, wire.endStream, id, message(String(id))),
      ]),
    );
    for (const id of ids) assert.deepEqual((await client.response(id)).data, message(String(id)));
    assert.ok(reads < 5, `${reads} reads for ${ids.length} answers`); // one, unless the network cuts it
  });
});

describe("http2 flow control: requests", () => {
  it("gives the window back as messages are taken, not before", async () => {
    await using server = await Http2Server.start({ streamWindowBytes: 65_535 });
    const client = server.connect();
    client.call(1, slowSum);
    for (let sent = 0; sent < 60; sent++) client.send(wire.data, 0, 1, message(Buffer.alloc(995)));
    await client.roundTrip();
    assert.equal(
      client.frames.some((each) => each.type === wire.windowUpdate && each.streamId === 1),
      false,
    );
    server.letIn();
    const update = await client.type(wire.windowUpdate, 1);
    assert.ok(update.payload.readUInt32BE() >= 32_768);
    client.send(wire.data, wire.endStream, 1);
    assert.equal((await client.response(1)).data.toString("latin1", 5), String(60 * 995));
  });

  it("gives the connection's window back at once, so that a call that waits holds up no other", async () => {
    await using server = await Http2Server.start({ streamWindowBytes: 65_535, connectionWindowBytes: 100_000 });
    const client = server.connect();
    for (const id of [1, 3, 5, 7]) {
      client.call(id, slowSum);
      for (let sent = 0; sent < 60; sent++) client.send(wire.data, 0, id, message(Buffer.alloc(995)));
    }
    client.unary(9, echo, "past them all");
    assert.equal((await client.response(9)).data.toString("latin1", 5), "past them all");
    const returned = client.frames.filter((each) => each.type === wire.windowUpdate && each.streamId === 0);
    const bytes = returned.reduce((sum, each) => sum + each.payload.readUInt32BE(), 0);
    assert.ok(bytes > 200_000, String(bytes));
  });

  it("takes messages of every size around the window's, one after the other in one stream", async () => {
    await using server = await Http2Server.start({ streamWindowBytes: 65_535 });
    server.letIn();
    using grpc = new RawGrpcClient(`127.0.0.1:${server.port}`);
    const { stream, done } = grpc.clientStream(slowSum);
    let bytes = 0;
    for (const size of [0, 1, 40_000, 65_530, 65_531, 65_535, 100_000, 3, 1_000_000, 32_768, 32_768, 200_000, 7]) {
      stream.write(Buffer.alloc(size));
      bytes += size;
    }
    stream.end();
    assert.equal(String((await done).response), String(bytes));
  });

  it("carries 10 MB each way, many at a time", async () => {
    await using server = await Http2Server.start();
    using grpc = new RawGrpcClient(`127.0.0.1:${server.port}`);
    const body = Buffer.alloc(10_000_000, "0123456789");
    const results = await Promise.all(Array.from({ length: 4 }, () => grpc.unary(echo, body)));
    for (const { response, error } of results) {
      assert.equal(error, undefined);
      assert.ok(response?.equals(body));
    }
  });
});
