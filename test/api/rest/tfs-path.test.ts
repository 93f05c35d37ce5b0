import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { httpStatusOf } from "../../../src/api/rest/http-status.js";
import { parseTfsPath, type TfsTarget } from "../../../src/api/rest/tfs-path.js";
import { Code, type CodeName } from "../../../src/status.js";
import { rejectsWith } from "../../support/rejects-with.js";

describe("parseTfsPath", () => {
  const targets: readonly (readonly [method: string, path: string, target: TfsTarget])[] = [
    ["POST", "/v1/models/m:predict", { verb: "predict", model: "m" }],
    ["POST", "/v1/models/m:classify", { verb: "classify", model: "m" }],
    ["POST", "/v1/models/m:regress", { verb: "regress", model: "m" }],
    ["POST", "/V1/Models/M:predict", { verb: "predict", model: "M" }],
    ["POST", "/v1/models/m/versions/12:predict", { verb: "predict", model: "m", version: 12n }],
    ["POST", "/v1/models/m/versions/0012:predict", { verb: "predict", model: "m", version: 12n }],
    [
      "POST",
      "/v1/models/m/versions/9223372036854775807:predict",
      { verb: "predict", model: "m", version: 2n ** 63n - 1n },
    ],
    ["POST", "/v1/models/m/labels/stable:predict", { verb: "predict", model: "m", label: "stable" }],
    ["POST", "/v1/models/a%2Fb%20%c3%a9:predict", { verb: "predict", model: "a/b é" }],
    ["POST", "/v1/models/m/labels/a%3Ab:predict", { verb: "predict", model: "m", label: "a:b" }],
    ["POST", "/v1/models/100%:predict", { verb: "predict", model: "100%" }],
    ["POST", "/v1/models/%zz%4:predict", { verb: "predict", model: "%zz%4" }],
    ["POST", "/v1/models/versions/versions/1:predict", { verb: "predict", model: "versions", version: 1n }],
    ["GET", "/v1/models/m", { verb: "status", model: "m" }],
    ["GET", "/v1/models/m/versions/3", { verb: "status", model: "m", version: 3n }],
    ["GET", "/v1/models/m/labels/L", { verb: "status", model: "m", label: "L" }],
    ["GET", "/v1/models/m/metadata", { verb: "metadata", model: "m" }],
    ["GET", "/v1/models/m/METADATA", { verb: "status", model: "m" }],
    ["GET", "/v1/models/m/versions/3/metadata", { verb: "metadata", model: "m", version: 3n }],
    ["GET", "/v1/models/m/labels/L/metadata", { verb: "metadata", model: "m", label: "L" }],
    ["GET", "/v1/models", { verb: "status", model: "" }],
    ["GET", "/v1/models/metadata", { verb: "status", model: "metadata" }],
    ["GET", "/v1/models/versions/3", { verb: "status", model: "", version: 3n }],
  ];
  for (const [method, path, target] of targets) {
    it(`${method} ${path}`, () => assert.deepEqual(parseTfsPath(method, path), target));
  }

  const malformed: readonly (readonly [method: string, path: string])[] = [
    ["GET", "/v1/models/m:predict"],
    ["POST", "/v1/models/m"],
    ["POST", "/v1/models/m:PREDICT"],
    ["POST", "/v1/models/m:explain"],
    ["POST", "/v1/models/m:predict/"],
    ["POST", "/v1/models/m/:predict"],
    ["POST", "/v1/models/:predict"],
    ["POST", "/v1/models/m/versions/x:predict"],
    ["POST", "/v1/models/m/versions/-1:predict"],
    ["POST", "/v1/models/m/versions/1/labels/L:predict"],
    ["POST", "/v1/models/m/metadata"],
    ["GET", "/v1/models/"],
    ["GET", "/v1/models/m/"],
    ["GET", "/v1/models/m/versions/1/"],
    ["GET", "/v1/modelsx"],
    ["GET", "/v1/"],
    ["PUT", "/v1/models/m:predict"],
    ["DELETE", "/v1/models/m"],
    ["HEAD", "/v1/models/m"],
  ];
  for (const [method, path] of malformed) {
    it(`${method} ${JSON.stringify(path)} is malformed`, async () => {
      const escaped = path.replace(/[/.*+?^${}()|[\]\\]/g, "\\$&");
      await rejectsWith("INVALID_ARGUMENT", new RegExp(`^Malformed request: ${method} ${escaped}$`), () =>
        parseTfsPath(method, path),
      );
    });
  }

  for (const digits of ["9223372036854775808", "99999999999999999999", "9".repeat(10_000)]) {
    it(`version ${digits.slice(0, 30)} is too big`, async () => {
      const expected = new RegExp(`^Failed to convert version: ${digits} to numeric\\.$`);
      for (const [method, tail] of [
        ["POST", ":predict"],
        ["GET", ""],
      ] as const) {
        await rejectsWith("INVALID_ARGUMENT", expected, () =>
          parseTfsPath(method, `/v1/models/m/versions/${digits}${tail}`),
        );
      }
    });
  }
});

describe("httpStatusOf", () => {
  const statuses: Readonly<Record<CodeName, number>> = {
    OK: 200,
    CANCELLED: 499,
    UNKNOWN: 500,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    ABORTED: 409,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    DATA_LOSS: 500,
    UNAUTHENTICATED: 401,
  };
  for (const [name, status] of Object.entries(statuses)) {
    it(`${name} is ${status}`, () => assert.equal(httpStatusOf(Code[name as CodeName]), status));
  }
});
