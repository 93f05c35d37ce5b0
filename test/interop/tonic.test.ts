// tonic, gRPC in Rust, whose HTTP/2 is h2: a unary call, a compressed one, one larger than every window, an error, and a
// stream that the client leaves. Built by .ci/run from tonic-client/.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { startTestServer } from "../support/test-server.js";

const program = process.env["TONIC_CLIENT"] ?? "";

describe("tonic", {
  skip: existsSync(program) ? false : "there is no tonic client: TONIC_CLIENT is not its path",
}, () => {
  for (const transport of ["http2", "grpc-js"]) {
    it(`is answered by ${transport}`, async () => {
      await using server = await startTestServer(`--grpc_transport=${transport}`);
      const { stdout } = await promisify(execFile)(program, [`http://${server.target}`], { timeout: 60_000 });
      assert.deepEqual(stdout.trim().split("\n"), [
        "predict [2.5, 3.0, 4.5]",
        "gzip [2.5, 3.0, 4.5]",
        "large 900000 true",
        "error NotFound Servable not found for request: Latest(nobody)",
        "watch 1",
        "after [2.0]",
      ]);
    });
  }
});
