// What the README and the start-up lines tell people to paste, pasted.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { findTool } from "../support/find-tool.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const run = promisify(execFile);
const readme = readFileSync(join(repositoryRoot, "README.md"), "utf8");
const pasted = readme.split("\n").filter((line) => /^(curl|grpcurl) /.test(line));

describe("lines to paste", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const paste = (line: string): Promise<{ stdout: string }> => {
    const here = line
      .replaceAll("localhost:8500", server.target)
      .replaceAll("http://localhost:8501", server.url)
      .replaceAll(`localhost:${server.server.grpcPort}`, server.target);
    return run("sh", ["-c", here.replace(/^curl /, "curl -sS --fail-with-body ")]);
  };
  const missing = (line: string) => {
    const tool = line.split(" ")[0]!;
    return findTool(tool) === undefined ? `${tool} is not on the path` : false;
  };

  it("are in the README: TensorFlow Serving's own example among them", () => {
    assert.ok(
      pasted.includes(
        `curl -X POST -H "Content-Type: application/json" -d '{"instances": [[1.0]]}' http://localhost:8501/v1/models/linear_regression:predict`,
      ),
    );
    assert.ok(pasted.some((line) => line.startsWith("grpcurl ")));
  });

  for (const line of pasted) {
    it(`answers: ${line.slice(0, 100)}`, { skip: missing(line) }, async () => {
      assert.notEqual((await paste(line)).stdout.trim(), "");
    });
  }

  it("are printed at start, and answered", { skip: missing("grpcurl") || missing("curl") }, async () => {
    const lines = server.server.welcome().filter((line) => /^(curl|grpcurl) /.test(line));
    assert.equal(lines.length, 2);
    for (const line of lines) assert.match((await paste(line)).stdout, /2\.5|3\.5/);
  });
});
