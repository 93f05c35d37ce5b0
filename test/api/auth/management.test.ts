import assert from "node:assert/strict";
import { it } from "node:test";
import { type ManagementPolicy, requireManagement } from "../../../src/api/auth/management.js";
import { Code, StatusError } from "../../../src/status.js";

it("calls that change the server are answered on this machine, everywhere, or nowhere, as --management says", () => {
  const cases: readonly (readonly [ManagementPolicy, boolean, RegExp | undefined])[] = [
    ["local", true, undefined],
    ["local", false, /RepositoryModelLoad changes the server .* loopback and Unix sockets only; --management=open/],
    ["open", true, undefined],
    ["open", false, undefined],
    ["off", true, /--management=off forbids/],
    ["off", false, /--management=off forbids/],
  ];
  for (const [policy, local, refusal] of cases) {
    const ask = () => requireManagement(policy, { local }, "RepositoryModelLoad");
    if (refusal === undefined) ask();
    else {
      assert.throws(ask, (error) => {
        assert.ok(error instanceof StatusError);
        assert.equal(error.code, Code.PERMISSION_DENIED);
        assert.match(error.message, refusal);
        return true;
      });
    }
  }
});
