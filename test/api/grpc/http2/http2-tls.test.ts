import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import { Code } from "../../../../src/status.js";
import { bytesOf, echo, Http2Server } from "../../../support/http2-server.js";
import { RawGrpcClient } from "../../../support/raw-grpc-client.js";
import { RawHttp2Connection } from "../../../support/raw-http2-connection.js";
import { testCertificate } from "../../../support/test-certificate.js";

const ca = Buffer.from(testCertificate.cert);
const key = Buffer.from(testCertificate.key);

function tlsSocket(port: number, options: ConnectionOptions = {}): TLSSocket {
  return connect({ host: "127.0.0.1", port, ca, servername: "localhost", ALPNProtocols: ["h2"], ...options });
}

describe("http2 over TLS", () => {
  it("serves small and large calls to clients that trust its certificate", async () => {
    await using server = await Http2Server.start({ tls: testCertificate });
    using client = new RawGrpcClient(`localhost:${server.port}`, {}, credentials.createSsl(ca));
    assert.equal(String((await client.unary(echo, "sealed")).response), "sealed");
    const body = Buffer.alloc(3_000_000, "0123456789");
    assert.ok((await client.unary(echo, body)).response?.equals(body));
    assert.equal((await client.unary(bytesOf, "5000000")).response?.length, 5_000_000);
  });

  it("refuses plain text, and other protocols than h2", async () => {
    await using server = await Http2Server.start({ tls: testCertificate });
    const plain = server.connect();
    await plain.end();
    assert.deepEqual(plain.frames, []);
    const other = tlsSocket(server.port, { ALPNProtocols: ["http/1.1"] });
    const error = await new Promise((resolve) => other.once("error", resolve));
    assert.match(String(error), /no application protocol|ECONNRESET|no_application_protocol/i);
  });

  it("asks for client certificates when told to, and lets nobody in without one", async () => {
    await using server = await Http2Server.start({ tls: { ...testCertificate, ca, requireClientCertificate: true } });
    using known = new RawGrpcClient(`localhost:${server.port}`, {}, credentials.createSsl(ca, key, ca));
    assert.equal((await known.unary(echo, "x")).error, undefined);
    using unknown = new RawGrpcClient(`localhost:${server.port}`, {}, credentials.createSsl(ca));
    assert.equal((await unknown.unary(echo, "x")).error?.code, Code.UNAVAILABLE);
  });

  it("serves a Unix socket too, and names its peers after it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-http2-"));
    try {
      await using server = await Http2Server.start({ tls: testCertificate });
      const path = join(folder, "grpc.sock");
      await server.transport.listenUnix(path);
      using client = new RawHttp2Connection(tlsSocket(0, { path, servername: "localhost" }));
      client.unary(1, echo, "by file");
      assert.equal((await client.response(1)).data.toString("latin1", 5), "by file");
      assert.deepEqual(server.peers, [{ address: `unix:${path}`, local: true }]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("cuts clients that begin no handshake, and drains like plain text does", async () => {
    await using server = await Http2Server.start({ tls: testCertificate, handshakeTimeoutMs: 50 });
    const silent = server.connect({ silent: true });
    await silent.end();
    using client = new RawGrpcClient(`localhost:${server.port}`, {}, credentials.createSsl(ca));
    assert.equal((await client.unary(echo, "x")).error, undefined);
    await server.transport.close(1000);
  });
});
