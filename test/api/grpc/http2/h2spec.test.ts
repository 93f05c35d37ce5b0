import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { findTool } from "../../../support/find-tool.js";
import { Http2Server } from "../../../support/http2-server.js";

const h2spec = findTool("h2spec");

describe("h2spec", () => {
  it("finds nothing, its strict tests included", {
    skip: h2spec === undefined && "h2spec is not installed",
  }, async () => {
    await using server = await Http2Server.start();
    const args = ["--host", "127.0.0.1", "--port", String(server.port), "--strict"];
    // It exits with 1 when a test fails; what it says then is the message.
    const { stdout } = await promisify(execFile)(h2spec!, args).catch((failure: { stdout: string }) => failure);
    assert.match(stdout, /\n(\d+) tests, \1 passed, 0 skipped, 0 failed/, stdout);
  });
});
