import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { availabilityPreserving, type VersionSnapshot } from "../../../src/serving/lifecycle/aspired-version-policy.js";

/** "1 ready" is aspired, "(1 ready)" is not. */
function versions(...texts: string[]): VersionSnapshot[] {
  return texts.map((text) => {
    const [, unaspired, version, stage] = /^(\()?(\d+) (\w+)\)?$/.exec(text)!;
    return { version: BigInt(version!), stage: stage as VersionSnapshot["stage"], aspired: unaspired === undefined };
  });
}

function decide(...texts: string[]): string {
  const action = availabilityPreserving(versions(...texts));
  return action === undefined ? "nothing" : `${action.action} ${action.target.version}`;
}

describe("the availability-preserving policy", () => {
  const table: readonly [string, readonly string[], string][] = [
    ["does nothing for a model without versions", [], "nothing"],
    ["loads the one version there is", ["1 new"], "load 1"],
    ["loads the largest of several first", ["1 new", "3 new", "2 new"], "load 3"],
    ["loads the next while another still loads", ["1 new", "3 loading", "2 new"], "load 2"],
    ["leaves what is loading, ready or failed alone", ["1 ready", "2 loading", "3 ended"], "nothing"],
    ["loads a successor before it takes the old one away", ["(1 ready)", "2 new"], "load 2"],
    ["keeps the last ready version until its successor is ready", ["(1 ready)", "2 loading"], "nothing"],
    ["keeps the last ready version when its successor has failed", ["(1 ready)", "2 ended"], "nothing"],
    ["unloads the old one once its successor is ready", ["(1 ready)", "2 ready"], "unload 1"],
    ["goes back to a smaller number the same way", ["1 new", "(2 ready)"], "load 1"],
    ["unloads the larger one once the smaller is ready", ["1 ready", "(2 ready)"], "unload 2"],
    ["keeps one of several ready versions, the largest", ["(1 ready)", "(2 ready)", "3 loading"], "unload 1"],
    ["unloads before it loads", ["(1 ready)", "2 ready", "3 new"], "unload 1"],
    ["unloads everything when nothing is wanted, the smallest first", ["(2 ready)", "(1 ready)"], "unload 1"],
    ["unloads the last one when nothing is wanted", ["(1 ready)"], "unload 1"],
    ["unloads nothing twice", ["(1 unloading)"], "nothing"],
    ["does not count what is being unloaded as ready", ["1 unloading", "(2 ready)"], "nothing"],
    ["does not load what is no longer wanted", ["(1 new)"], "nothing"],
    ["does not unload what is still loading", ["(1 loading)"], "nothing"],
    ["takes over one version from another place", ["(1 ready)", "1 new"], "load 1"],
    ["keeps a version that is loaded anew, whatever else is ready", ["(1 ready)", "1 loading", "2 ready"], "nothing"],
    ["keeps it for good when that has failed", ["(1 ready)", "1 ended", "2 ready"], "nothing"],
    ["unloads the old one once the new one is ready", ["(1 ready)", "1 ready", "2 ready"], "unload 1"],
    ["compares numbers, not their digits", ["9 new", "10 new"], "load 10"],
  ];
  for (const [promise, given, expected] of table) {
    it(promise, () => assert.equal(decide(...given), expected));
  }

  it("tells two snapshots of one version apart", () => {
    const [old, successor] = versions("(1 ready)", "1 ready");
    assert.deepEqual(availabilityPreserving([old!, successor!]), { action: "unload", target: old });
  });
});
