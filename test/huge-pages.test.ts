import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { hugePageVariables, type RestartableProcess, restartWithHugePages } from "../src/huge-pages.js";
import { ServerProcess } from "./support/server-process.js";

type Restart = Parameters<NonNullable<RestartableProcess["execve"]>>;

function restartOf(change: Partial<RestartableProcess>, policy = "always [madvise] never\n"): Restart | undefined {
  let restart: Restart | undefined;
  const server: RestartableProcess = {
    platform: "linux",
    env: { HOME: "/home/user" },
    argv: ["/usr/bin/node", "/app/main.js", "serve", "--port=1"],
    execPath: "/usr/bin/node",
    execArgv: ["--max-semi-space-size=4"],
    execve: ((...given: Restart) => {
      restart = given;
    }) as NonNullable<RestartableProcess["execve"]>,
  };
  restartWithHugePages({ ...server, ...change }, () => policy);
  return restart;
}

describe("a second start with huge pages", () => {
  it("is the same command with huge pages", () => {
    assert.deepEqual(restartOf({}), [
      "/usr/bin/node",
      ["/usr/bin/node", "--max-semi-space-size=4", "/app/main.js", "serve", "--port=1"],
      {
        HOME: "/home/user",
        GLIBC_TUNABLES: "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
        RESTARTED_BY_ONNXD: "1",
      },
    ]);
    for (const argv of [[], ["--port=1"]]) assert.ok(restartOf({ argv: ["node", "/app/main.js", ...argv] }));
    assert.ok(restartOf({}, "[always] madvise never\n"));
  });

  it("comes once", () => {
    const [, argv, env] = restartOf({})!;
    assert.equal(restartOf({ argv, env }), undefined);
    const { GLIBC_TUNABLES: _, ...withheld } = env;
    assert.equal(restartOf({ argv, env: withheld }), undefined);
  });

  it("does not come where it would gain nothing, lose something, or go against what somebody has said", () => {
    assert.equal(restartOf({ env: { GLIBC_TUNABLES: "" } }), undefined);
    assert.equal(restartOf({}, "always madvise [never]\n"), undefined);
    assert.equal(restartOf({}, ""), undefined);
    assert.equal(restartOf({ platform: "darwin" }), undefined);
    assert.equal(restartOf({ send: () => true }), undefined);
    assert.equal(restartOf({ execPath: "/lib64/ld-linux-x86-64.so.2" }), undefined);
    for (const word of ["predict", "train", "--help", "--version"])
      assert.equal(restartOf({ argv: ["node", "/app/main.js", word] }), undefined);
  });

  const isPossible = typeof (process as RestartableProcess).execve === "function";
  const huge = "/sys/kernel/mm/transparent_hugepage/enabled";
  const isOffered = existsSync(huge) && !readFileSync(huge, "latin1").includes("[never]");
  const skip = !isPossible ? "process.execve is there from Node 22.15 on" : !isOffered && "no huge pages here";
  it("leaves the process its number, its pipes and its signals", { skip }, async () => {
    await using server = await ServerProcess.start("--model_config_file=models/models.config", "--access_log=false");
    // glibc writes an end where it has read a colon.
    const variables = readFileSync(`/proc/${server.pid}/environ`, "latin1").replaceAll("\0", ":");
    const { GLIBC_TUNABLES: tunables } = { ...hugePageVariables, ...process.env };
    assert.ok(variables.includes(`GLIBC_TUNABLES=${tunables}:`), variables);
    assert.ok(variables.includes(`PATH=${process.env["PATH"]}:`), variables);
    assert.match(server.output, /"message":/);
    server.kill("SIGTERM");
    assert.deepEqual(await server.exited, { code: 0, signal: null });
  });
});
