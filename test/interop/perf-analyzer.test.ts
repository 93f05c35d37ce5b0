// Triton's load generator itself. What it asks at start is in test/e2e/perf-analyzer-calls.test.ts, for machines without it.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { findTool } from "../support/find-tool.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

/** The program, and the libraries that lie beside it. */
const environment = (program: string) => ({
  ...process.env,
  LD_LIBRARY_PATH: [dirname(program), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":"),
});
const program = [process.env["PERF_ANALYZER"], findTool("perf_analyzer")].find(
  (path) => path !== undefined && spawnSync(path, ["--version"], { env: environment(path) }).status === 0,
);

const skip = program === undefined ? "there is no perf_analyzer that runs here" : false;
// Side by side: it waits for most of the time, and each two that ask one model ask it alike.
describe("perf_analyzer", { skip, concurrency: true }, () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  // Windows of a number of requests, and stable whatever they took: the machine may be busy.
  const settings = "--measurement-mode count_windows --measurement-request-count 50 -r 4 -s 100000".split(" ");
  const measure = async (protocol: "grpc" | "http", ...more: string[]): Promise<string> => {
    const address = protocol === "grpc" ? server.target : server.url.slice("http://".length);
    const given = ["-i", protocol, "-u", address, ...settings, ...more];
    const run = promisify(execFile)(program!, given, { env: environment(program!), timeout: 60_000 });
    return (await run.catch((error) => assert.fail(`${error.message}\n${error.stdout}`))).stdout;
  };
  const figure = (report: string, name: string): number => {
    const found = new RegExp(`${name}: (\\d+)`).exec(report);
    assert.ok(found, `no "${name}" in ${report}`);
    return Number(found[1]);
  };

  for (const [title, protocol, flags, rows] of [
    ["over gRPC, rows in batches", "grpc", "-m digits -b 4", 4],
    ["over HTTP, rows in batches", "http", "-m digits -b 4", 4],
    ["over gRPC, one stream", "grpc", "-m iris --streaming --async --concurrency-range 8", 1],
    ["over HTTP, tensors in JSON", "http", "-m iris --input-tensor-format json --output-tensor-format json", 1],
    ["an input of one dimension", "grpc", "-m half_plus_two --shape x:4", 4],
  ] as const) {
    it(`measures ${title}, and what the server says of itself adds up`, async () => {
      const report = await measure(protocol, ...flags.split(" "));
      const requests = figure(report, "Successful request count");
      assert.ok(requests >= 50, report);
      assert.equal(figure(report, "Inference count"), requests * rows);
      assert.ok(figure(report, "Execution count") <= requests);
      assert.match(report, /Avg request latency: \d+ usec \(overhead \d+ usec \+ queue \d+ usec \+ compute input/);
    });
  }

  it("is told why the server has no shared memory for it", async () => {
    await assert.rejects(
      measure("grpc", "-m", "iris", "--shared-memory", "system"),
      /Client shared memory is disabled/,
    );
  });
});
