import assert from "node:assert/strict";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { ServerCredentials } from "@grpc/grpc-js";
import { connect } from "../../src/client/index.js";
import { EchoModelServer } from "../support/echo-model-server.js";
import { findTool } from "../support/find-tool.js";
import { rejectsWith } from "../support/rejects-with.js";
import { selfSignedCertificate } from "../support/self-signed-certificate.js";

const skip = findTool("openssl") === undefined ? "needs openssl to make certificates" : false;

describe("clients over TLS", { skip }, () => {
  it("trust the authorities they are told to, and show their own certificate, over gRPC", async () => {
    const { key, cert } = selfSignedCertificate();
    const credentials = ServerCredentials.createSsl(cert, [{ private_key: key, cert_chain: cert }], true);
    await using server = await EchoModelServer.start(credentials);
    const once = { retry: { maxAttempts: 1 } };
    const trusting = connect(`grpcs://${server.target}`, { ...once, tls: { ca: cert, cert, key } });
    const { outputs } = await trusting.predict("echo", { x: new Float32Array([1]) });
    assert.deepEqual(outputs["x"]?.data, new Float32Array([1]));
    trusting.close();
    for (const tls of [true, { ca: cert }] as const) {
      const refused = connect(`grpcs://${server.target}`, { ...once, tls });
      await rejectsWith("UNAVAILABLE", /./, () => refused.predict("echo", { x: new Float32Array([1]) }));
      refused.close();
    }
  });

  it("trust the authorities they are told to, over REST", async () => {
    const { key, cert } = selfSignedCertificate();
    const server = createServer({ key, cert }, (_, response) => response.end("[]"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const target = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const trusting = connect(target, { tls: { ca: cert } });
    assert.deepEqual(await trusting.models(), []);
    trusting.close();
    const doubting = connect(target, { retry: { maxAttempts: 1 } });
    await rejectsWith("UNAVAILABLE", /self-signed certificate/, () => doubting.models());
    doubting.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
