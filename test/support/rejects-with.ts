import assert from "node:assert/strict";
import { type CodeName, codeName, StatusError } from "../../src/status.js";

/** Asserts that something fails with a StatusError of that code and a message that matches. */
export async function rejectsWith(code: CodeName, message: RegExp, action: () => unknown): Promise<void> {
  await assert.rejects(
    async () => await action(),
    (error: unknown) => {
      assert.ok(error instanceof StatusError, `not a StatusError: ${error}`);
      assert.equal(codeName(error.code), code, error.message);
      assert.match(error.message, message);
      return true;
    },
  );
}
