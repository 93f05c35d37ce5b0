import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancellationSource } from "../src/cancellation.js";
import { cancelled } from "../src/status.js";

const reason = cancelled("gone");

/** A source, and listeners that note their names when they hear of it. */
function source() {
  const heard: string[] = [];
  const listener = (name: string, then = () => {}) => ({
    cancelled: (why: unknown) => {
      assert.equal(why, reason);
      heard.push(name);
      then();
    },
  });
  return { source: new CancellationSource(), heard, listener };
}

describe("CancellationSource", () => {
  it("tells its listeners once, in the order they came, and late ones at once", () => {
    const { source: cancellation, heard, listener } = source();
    for (const name of ["a", "b", "c"]) cancellation.listen(listener(name));
    cancellation.cancel(reason);
    cancellation.cancel(cancelled("again"));
    cancellation.listen(listener("late"));
    assert.deepEqual(heard, ["a", "b", "c", "late"]);
    assert.equal(cancellation.reason, reason);
  });

  it("does not tell those who took it back, whoever of several they are", () => {
    for (const leaving of ["a", "b", "c"]) {
      const { source: cancellation, heard, listener } = source();
      const all = ["a", "b", "c"].map((name) => [name, listener(name)] as const);
      for (const [, each] of all) cancellation.listen(each);
      for (const [name, each] of all) if (name === leaving) cancellation.unlisten(each);
      cancellation.listen(listener("d"));
      cancellation.unlisten(listener("nobody"));
      cancellation.cancel(reason);
      assert.deepEqual(heard.sort(), ["a", "b", "c", "d"].filter((name) => name !== leaving).sort());
    }
  });

  it("tells the others when one of them takes back another meanwhile", () => {
    const { source: cancellation, heard, listener } = source();
    const b = listener("b");
    cancellation.listen(listener("a", () => cancellation.unlisten(b)));
    cancellation.listen(b);
    cancellation.listen(listener("c"));
    cancellation.cancel(reason);
    assert.deepEqual(heard, ["a", "c"]);
  });

  it("takes functions too, and gives back the undo", () => {
    const { source: cancellation } = source();
    const heard: string[] = [];
    cancellation.onCancel(() => heard.push("stays"));
    cancellation.onCancel(() => heard.push("goes"))();
    cancellation.cancel(reason);
    assert.deepEqual(heard, ["stays"]);
  });
});
