import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { streamedBody } from "../../../src/api/rest/streamed-body.js";
import { rejectsWith } from "../../support/rejects-with.js";

/** A request whose client has gone in the middle of its body, before anybody has asked for any of it. */
async function abandoned(headers: string, sent: Uint8Array): Promise<IncomingMessage> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n${headers}\r\n`);
  client.write(sent);
  const [request] = (await once(server, "request")) as [IncomingMessage];
  client.destroy();
  await new Promise<void>((resolve) => request.once("close", resolve));
  server.close();
  return request;
}

describe("the body of a request whose client had gone before it was asked for", () => {
  const bytes = Buffer.from("x,y\n1,2\n");
  const cases: readonly (readonly [string, string, Uint8Array])[] = [
    ["as it is", "", bytes],
    ["inflated", "Content-Encoding: gzip\r\n", gzipSync(bytes)],
    ["inflated, cut", "Content-Encoding: gzip\r\n", gzipSync(bytes).subarray(0, 12)],
  ];
  for (const [name, headers, sent] of cases) {
    it(`comes to no good end: ${name}`, { timeout: 10_000 }, async () => {
      const request = await abandoned(headers, sent);
      await rejectsWith("CANCELLED", /client went away/, async () => {
        for await (const _ of streamedBody(request));
      });
    });
  }
});
