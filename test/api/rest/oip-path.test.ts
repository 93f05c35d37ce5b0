import assert from "node:assert/strict";
import { it } from "node:test";
import { isOipUrl, parseOipPath } from "../../../src/api/rest/oip-path.js";

it("paths under /v2 mean what the protocol and Triton's extensions say", () => {
  const m = { model: "m", version: "" };
  const m2 = { model: "m", version: "2" };
  const cases: readonly (readonly [string, string, unknown])[] = [
    ["GET", "/v2", { kind: "server-metadata" }],
    ["GET", "/v2/", { kind: "server-metadata" }],
    ["GET", "/v2/health/live", { kind: "live" }],
    ["GET", "/v2/health/ready/", { kind: "ready" }],
    ["GET", "/v2/health", undefined],
    ["GET", "/v2/models", { kind: "model-list" }],
    ["GET", "/v2/models/stats", { kind: "all-statistics" }],
    ["GET", "/v2/models/m", { kind: "model-metadata", ...m }],
    ["GET", "/v2/models/m/", { kind: "model-metadata", ...m }],
    ["GET", "/v2/models/m/versions/2", { kind: "model-metadata", ...m2 }],
    ["GET", "/v2/models/a%2Fb%20c", { kind: "model-metadata", model: "a/b c", version: "" }],
    ["GET", "/v2/models/m/ready", { kind: "model-ready", ...m }],
    ["GET", "/v2/models/m/versions/2/ready", { kind: "model-ready", ...m2 }],
    ["GET", "/v2/models/m/config", { kind: "model-config", ...m }],
    ["GET", "/v2/models/m/versions/2/stats", { kind: "model-statistics", ...m2 }],
    ["POST", "/v2/models/m/infer", { kind: "infer", ...m }],
    ["POST", "/v2/models/m/versions/2/infer", { kind: "infer", ...m2 }],
    ["GET", "/v2/models/m/infer", "wrong method"],
    ["POST", "/v2/models/m", "wrong method"],
    ["POST", "/v2/models/m/generate", undefined],
    ["GET", "/v2/models/m/versions", undefined],
    ["POST", "/v2/repository/index", { kind: "index", repository: "" }],
    ["GET", "/v2/repository/index", "wrong method"],
    ["POST", "/v2/repository/r/index", { kind: "index", repository: "r" }],
    ["POST", "/v2/repository/models/m/load", { kind: "load", repository: "", model: "m" }],
    ["POST", "/v2/repository/r/models/m/unload", { kind: "unload", repository: "r", model: "m" }],
    ["POST", "/v2/repository/models/m", undefined],
    ["GET", "/v2/systemsharedmemory/status", { kind: "shared-memory-status" }],
    ["GET", "/v2/systemsharedmemory/region/r/status", { kind: "shared-memory-status" }],
    ["POST", "/v2/cudasharedmemory/region/r/register", { kind: "shared-memory-change" }],
    ["POST", "/v2/systemsharedmemory/unregister", { kind: "shared-memory-change" }],
    ["GET", "/v2/systemsharedmemory", undefined],
    ["GET", "/v2/trace/setting", { kind: "trace-settings" }],
    ["POST", "/v2/models/m/trace/setting", { kind: "trace-settings" }],
    ["POST", "/v2/logging", { kind: "log-settings" }],
    ["DELETE", "/v2/logging", "wrong method"],
    ["GET", "/v2/nothing", undefined],
  ];
  for (const [method, path, expected] of cases) {
    assert.deepEqual(parseOipPath(method, path), expected, `${method} ${path}`);
  }
  assert.throws(() => parseOipPath("GET", "/v2/models/%ff"), /not percent-encoded UTF-8/);
  const urls = ["/v2", "/v2/", "/v2?x=1", "/v2/models"];
  assert.deepEqual(urls.filter(isOipUrl), urls);
  assert.deepEqual(["/v22", "/v1/models", "/"].filter(isOipUrl), []);
});
