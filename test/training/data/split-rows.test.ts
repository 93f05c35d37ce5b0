import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { splitRows } from "../../../src/training/data/split-rows.js";

describe("setting rows aside", () => {
  it("takes its share, each row on one side, the same ones for the same seed", () => {
    const split = splitRows(100, 0.25, 1);
    assert.equal(split.validation.length, 25);
    assert.deepEqual(
      [...split.train, ...split.validation].sort((a, b) => a - b),
      Array.from({ length: 100 }, (_, row) => row),
    );
    assert.deepEqual(splitRows(100, 0.25, 1), split);
    assert.notDeepEqual(splitRows(100, 0.25, 2), split);
  });

  it("takes its share of every class, and one row of each that has two", () => {
    const classes = Array.from({ length: 100 }, (_, row) => (row < 80 ? 0 : row < 98 ? 1 : 2));
    const { validation } = splitRows(100, 0.2, 1, classes);
    const counts = [0, 1, 2].map((label) => validation.filter((row) => classes[row] === label).length);
    assert.deepEqual(counts, [16, 4, 1]);
  });

  it("leaves a class of one row to train on", () => {
    const { train } = splitRows(11, 0.5, 1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert.ok(train.includes(10));
  });

  it("sets nothing aside when asked so, and refuses to leave a side empty", () => {
    assert.equal(splitRows(3, 0, 1).validation.length, 0);
    assert.throws(() => splitRows(3, 0.01, 1), /sets none of 3 rows aside/);
    assert.throws(() => splitRows(1, 0.9, 1), /leaves none of 1 rows to train on/);
    assert.throws(() => splitRows(3, 1, 1), /validation_split must be a number at least 0 and below 1/);
  });
});
