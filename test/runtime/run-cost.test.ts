import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RunCost } from "../../src/runtime/batching/run-cost.js";

describe("RunCost", () => {
  it("knows nothing before the first run", () => {
    const cost = new RunCost();
    assert.equal(cost.expectedMs(1), undefined);
    assert.equal(cost.rowsWithin(1), Number.POSITIVE_INFINITY);
  });

  it("knows what a run costs from three of the fewest rows, or three of more, and forgets it for no smaller one", () => {
    const fewest = new RunCost();
    for (const known of [false, false, true]) {
      fewest.learn(1, 1);
      assert.equal(fewest.isUnknown, !known);
    }
    const more = new RunCost();
    more.learn(1, 1);
    for (const known of [false, false, true]) {
      more.learn(8, 2);
      assert.equal(more.isUnknown, !known);
    }
    const smaller = new RunCost();
    for (let run = 0; run < 4; run++) smaller.learn(8 + run, 1);
    smaller.learn(1, 1);
    assert.equal(smaller.isUnknown, false);
  });

  it("takes each row for as dear as the first, until larger runs show better", () => {
    const cost = new RunCost();
    cost.learn(1, 3);
    assert.equal(cost.expectedMs(2), 6);
    assert.equal(cost.rowsWithin(10), 3);
    cost.learn(1, 1);
    assert.equal(cost.expectedMs(2), 2);
  });

  it("always lets two of the smallest run together: a row that was taken for dear would stay so for ever", () => {
    const cost = new RunCost();
    cost.learn(1, 50); // held up
    assert.equal(cost.rowsWithin(0.5), 2);
    const runs = [];
    for (let run = 0; run < 20; run++) {
      const rows = Math.min(256, cost.rowsWithin(0.5));
      cost.learn(rows, 0.1 + 0.004 * (rows - 1));
      runs.push(rows);
    }
    assert.ok(runs.at(-1)! > 90, String(runs));
    // A bad spell, in which rows seem dearer than all that a run may take.
    for (let run = 0; run < 300; run++) cost.learn(2, 5);
    assert.equal(cost.rowsWithin(0.5), 2);
    for (let run = 0; run < 100; run++) {
      const rows = Math.min(256, cost.rowsWithin(0.5));
      cost.learn(rows, 0.1 + 0.004 * (rows - 1));
    }
    assert.ok(cost.rowsWithin(0.5) > 90, String(cost.rowsWithin(0.5)));
  });

  it("tells what a run costs from what its rows do", () => {
    const cost = new RunCost();
    cost.learn(1, 0.03);
    for (let run = 0; run < 100; run++) cost.learn(101, 0.03 + 100 * 0.004);
    assert.ok(Math.abs(cost.expectedMs(51)! - 0.23) < 0.001);
    assert.ok(Math.abs(cost.rowsWithin(0.5) - 118) <= 1);
  });

  it("lets a model whose rows cost nothing have any number of them", () => {
    const cost = new RunCost();
    cost.learn(10, 0.01);
    for (let run = 0; run < 200; run++) cost.learn(1000, 0.009);
    assert.ok(cost.expectedMs(1_000_000)! < 0.02);
    assert.ok(cost.rowsWithin(0.5) > 1_000_000);
  });

  it("is not misled by a run that the machine held up, and follows when all are slower", () => {
    const cost = new RunCost();
    cost.learn(1, 0.01);
    for (let run = 0; run < 100; run++) cost.learn(101, 0.02);
    const before = cost.expectedMs(1000)!;
    cost.learn(101, 50);
    assert.ok(cost.expectedMs(1000)! < before + 2);
    for (let run = 0; run < 200; run++) cost.learn(101, 50);
    assert.ok(cost.expectedMs(101)! > 40);
  });

  it("follows the smallest run it has seen", () => {
    const cost = new RunCost();
    cost.learn(100, 1);
    cost.learn(1, 0.1);
    assert.ok(Math.abs(cost.expectedMs(1)! - 0.1) < 1e-9);
    assert.ok(cost.expectedMs(101)! > 1);
  });

  it("knows a size when it has been seen often enough, and by the cheapest of those runs", () => {
    const cost = new RunCost();
    cost.learn(10, 50); // held up
    assert.equal(cost.isKnown(10), false);
    for (let run = 0; run < 2; run++) cost.learn(10, 0.02);
    assert.equal(cost.isKnown(10), true);
    assert.equal(cost.expectedMs(10), 0.02);
    assert.equal(cost.isKnown(9), false);
    cost.learn(100, 50); // held up
    assert.equal(cost.isKnown(100), false);
    for (let run = 0; run < 2; run++) cost.learn(100, 0.03);
    assert.equal(cost.isKnown(100), true);
    assert.ok(Math.abs(cost.expectedMs(100)! - 0.03) < 1e-9);
  });

  it("does not take the smallest run for dearer than a larger one", () => {
    const cost = new RunCost();
    cost.learn(1, 50); // held up
    for (let run = 0; run < 3; run++) cost.learn(100, 0.03);
    assert.ok(cost.expectedMs(100)! < 0.04);
    assert.ok(cost.rowsWithin(0.5) > 100);
  });
});
