import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NamedValues } from "../../src/tensor/index.js";

const letters = "abcdefghijklmnop";

describe("NamedValues", () => {
  for (const count of [0, 1, 2, 8, 9, 16]) {
    it(`is the map that it stands for, with ${count} entries`, () => {
      const map = new Map(Array.from({ length: count }, (_, index) => [letters[index]!, index]));
      const named = NamedValues.from(map);
      assert.equal(named.size, map.size);
      assert.deepEqual([...named], [...map]);
      assert.deepEqual([...named.entries()], [...map.entries()]);
      assert.deepEqual([...named.keys()], [...map.keys()]);
      assert.deepEqual([...named.values()], [...map.values()]);
      for (const name of [...letters, "", "toString"]) {
        assert.equal(named.get(name), map.get(name));
        assert.equal(named.has(name), map.has(name));
      }
      const seen: [string, number][] = [];
      named.forEach((value, name, whole) => {
        assert.equal(whole, named);
        seen.push([name, value]);
      });
      assert.deepEqual(seen, [...map]);
    });
  }

  it("is not copied when it is one already", () => {
    const named = new NamedValues(["a"], [1]);
    assert.equal(NamedValues.from(named), named);
  });
});
