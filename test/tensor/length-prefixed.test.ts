import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeLengthPrefixed, encodeLengthPrefixed } from "../../src/tensor/index.js";

describe("strings behind their lengths", () => {
  it("are four little-endian bytes and the UTF-8", () => {
    assert.deepEqual(
      [...encodeLengthPrefixed(["abc", "", "é"])],
      [3, 0, 0, 0, 97, 98, 99, 0, 0, 0, 0, 2, 0, 0, 0, 0xc3, 0xa9],
    );
    assert.equal(encodeLengthPrefixed([]).length, 0);
  });

  it("are views of what was sent", () => {
    const bytes = encodeLengthPrefixed(["abc", "", "日本"]);
    const elements = decodeLengthPrefixed(bytes, 3);
    assert.ok(Array.isArray(elements));
    assert.deepEqual(
      elements.map((element) => Buffer.from(element).toString()),
      ["abc", "", "日本"],
    );
    assert.equal(elements[0]!.buffer, bytes.buffer);
  });

  it("are refused when the bytes do not add up, whatever they say of their size", () => {
    const cases: readonly [number[], number, RegExp][] = [
      [[1, 0, 0], 1, /has 3 bytes of the 4 of its length/],
      [[2, 0, 0, 0, 97], 1, /says 2 bytes; 1 are left/],
      [[255, 255, 255, 255], 1, /says 4294967295 bytes; 0 are left/],
      [[0, 0, 0, 0, 0, 0, 0, 0], 1, /more than 1 elements/],
      [[0, 0, 0, 0], 2, /1 elements; expected 2/],
      [[], 1e15, /0 elements; expected 1000000000000000/],
    ];
    for (const [bytes, count, message] of cases) {
      const fault = decodeLengthPrefixed(Uint8Array.from(bytes), count);
      assert.match(String(fault), message);
    }
  });
});
