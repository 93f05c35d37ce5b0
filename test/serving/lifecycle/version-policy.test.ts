import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chooseVersions, samePolicy, type VersionPolicy } from "../../../src/serving/lifecycle/version-policy.js";

const entries = (...names: string[]) => names.sort().map((name) => ({ version: BigInt(name), name }));
const choose = (policy: VersionPolicy, ...names: string[]) => {
  const { chosen, warnings } = chooseVersions(policy, entries(...names));
  return { names: chosen.map(({ name }) => name), warnings };
};
const latest = (numVersions: number): VersionPolicy => ({ kind: "latest", numVersions });
const specific = (...versions: bigint[]): VersionPolicy => ({ kind: "specific", versions });

describe("version policies", () => {
  const table: readonly [string, VersionPolicy, readonly string[], readonly string[]][] = [
    ["latest takes the largest number", latest(1), ["1", "10", "9"], ["10"]],
    ["latest takes the n largest", latest(2), ["1", "10", "9"], ["10", "9"]],
    ["latest 0 counts as 1", latest(0), ["1", "2"], ["2"]],
    ["latest takes what there is when there is less", latest(5), ["1", "2"], ["2", "1"]],
    ["latest takes version 0", latest(1), ["0"], ["0"]],
    ["all takes everything", { kind: "all" }, ["1", "10", "9"], ["1", "10", "9"]],
    ["specific takes what it names", specific(1n, 9n), ["1", "10", "9"], ["1", "9"]],
    ["specific takes nothing when it names nothing", specific(), ["1"], []],
    ["specific takes a version named twice once", specific(1n, 1n), ["1"], ["1"]],
  ];
  for (const [promise, policy, names, expected] of table) {
    it(promise, () => assert.deepEqual(choose(policy, ...names), { names: expected, warnings: [] }));
  }

  it("specific warns of a version that is not there, and takes the others", () => {
    assert.deepEqual(choose(specific(1n, 5n), "1"), {
      names: ["1"],
      warnings: ["version 5 was asked for and is not there"],
    });
  });

  it("takes the directory whose name sorts last when two have one number, and says so", () => {
    const warnings = ["directories 001 and 1 are both version 1; 1 is taken"];
    assert.deepEqual(choose(latest(1), "1", "001"), { names: ["1"], warnings });
    assert.deepEqual(choose(specific(1n), "1", "001"), { names: ["1"], warnings });
  });

  it("takes the first of the two under all, as TensorFlow Serving does", () => {
    assert.deepEqual(choose({ kind: "all" }, "1", "001"), {
      names: ["001"],
      warnings: ["directories 001 and 1 are both version 1; 001 is taken"],
    });
  });

  it("are the same when they choose the same", () => {
    assert.ok(samePolicy(latest(2), latest(2)));
    assert.ok(!samePolicy(latest(2), latest(3)));
    assert.ok(!samePolicy(latest(1), { kind: "all" }));
    assert.ok(samePolicy({ kind: "all" }, { kind: "all" }));
    assert.ok(samePolicy(specific(1n, 2n), specific(1n, 2n)));
    assert.ok(!samePolicy(specific(1n, 2n), specific(1n)));
    assert.ok(!samePolicy(specific(1n), latest(1)));
  });
});
