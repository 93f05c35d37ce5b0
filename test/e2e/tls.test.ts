// --ssl_config_file on all doors: gRPC by either transport and over a Unix socket, and REST.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ChannelCredentials, credentials, status } from "@grpc/grpc-js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { floatPredict, noMetadata } from "../support/clients.js";
import { findTool } from "../support/find-tool.js";
import { selfSignedCertificate } from "../support/self-signed-certificate.js";
import { sslConfigText } from "../support/ssl-config-text.js";
import { testCertificate } from "../support/test-certificate.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const ca = Buffer.from(testCertificate.cert);
const key = Buffer.from(testCertificate.key);
const pem = { key: testCertificate.key, cert: testCertificate.cert, ca: testCertificate.cert };

async function predict(target: string, channelCredentials: ChannelCredentials): Promise<readonly number[]> {
  const client = new PredictionServiceClient(target, channelCredentials, {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.ssl_target_name_override": "localhost",
  });
  try {
    const response = await call(client, client.predict, floatPredict("half_plus_two", "x", [1]), noMetadata);
    return response.outputs.get("y")!.floatVal;
  } finally {
    client.close();
  }
}

function restPredict(port: number, tls: { ca: string; key?: string; cert?: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = "/v1/models/half_plus_two:predict";
    const sent = request({ host: "127.0.0.1", port, path, method: "POST", agent: false, ...tls }, (response) => {
      let body = "";
      response.on("data", (text) => (body += text)).on("end", () => resolve(body));
    });
    sent.on("error", reject).end(JSON.stringify({ inputs: [1] }));
  });
}

for (const transport of ["http2", "grpc-js"])
  describe(`TLS with ${transport}`, () => {
    let folder: string;
    let config: string;
    let server: TestServer;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), "onnxd-ssl-"));
      config = join(folder, "ssl.config");
      writeFileSync(config, sslConfigText());
      server = await startTestServer(
        `--grpc_transport=${transport}`,
        `--ssl_config_file=${config}`,
        `--grpc_socket_path=${join(folder, "grpc.sock")}`,
      );
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    it("serves gRPC over TCP and a Unix socket to clients that trust its certificate", async () => {
      assert.deepEqual(await predict(server.target, credentials.createSsl(ca)), [2.5]);
      assert.deepEqual(await predict(`unix:${join(folder, "grpc.sock")}`, credentials.createSsl(ca)), [2.5]);
    });

    it("serves REST, which TensorFlow Serving leaves in plain text", async () => {
      const answer = await restPredict(server.server.restPort!, { ca: pem.ca });
      assert.deepEqual(JSON.parse(answer), { outputs: [2.5] });
    });

    it("lets nobody in who speaks plain text or trusts somebody else", async () => {
      await assert.rejects(predict(server.target, credentials.createInsecure()), { code: status.UNAVAILABLE });
      await assert.rejects(predict(server.target, credentials.createSsl()), { code: status.UNAVAILABLE });
      await assert.rejects(fetch(`${server.url}/v1/models/half_plus_two`));
    });

    it("asks for client certificates once the file says so, on every door, without a restart", async () => {
      writeFileSync(config, sslConfigText({ custom_ca: pem.ca, client_verify: true }));
      await server.server.pollCertificates();
      await assert.rejects(predict(server.target, credentials.createSsl(ca)), { code: status.UNAVAILABLE });
      await assert.rejects(restPredict(server.server.restPort!, { ca: pem.ca }));
      assert.deepEqual(await predict(server.target, credentials.createSsl(ca, key, ca)), [2.5]);
      assert.deepEqual(JSON.parse(await restPredict(server.server.restPort!, pem)), { outputs: [2.5] });
      writeFileSync(config, sslConfigText());
      await server.server.pollCertificates();
      assert.deepEqual(await predict(server.target, credentials.createSsl(ca)), [2.5]);
    });

    it("shows a renewed certificate to new connections", {
      skip: findTool("openssl") === undefined ? "openssl is not on the path" : false,
    }, async () => {
      const renewed = selfSignedCertificate();
      writeFileSync(config, sslConfigText({ server_key: `${renewed.key}`, server_cert: `${renewed.cert}` }));
      await server.server.pollCertificates();
      assert.deepEqual(await predict(server.target, credentials.createSsl(renewed.cert)), [2.5]);
      await assert.rejects(predict(server.target, credentials.createSsl(ca)), { code: status.UNAVAILABLE });
      assert.match(await restPredict(server.server.restPort!, { ca: `${renewed.cert}` }), /2\.5/);
    });

    it("closes while a connection has not finished its handshake", async () => {
      const silent = connect({ host: "127.0.0.1", port: server.server.restPort! });
      silent.on("error", () => {});
      await new Promise((resolve) => silent.once("connect", resolve));
      const cut = new Promise((resolve) => silent.once("close", resolve));
      await server.server.close();
      await cut;
    });
  });

describe("an SSL config that cannot be used", () => {
  it("stops the start", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-ssl-"));
    const config = join(folder, "ssl.config");
    writeFileSync(config, "server_key: 'no key'");
    await assert.rejects(startTestServer(`--ssl_config_file=${config}`), /ssl\.config/);
    rmSync(folder, { recursive: true });
  });
});
