import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { restartDelayMs } from "../../src/runtime/placement/restart-delay.js";
import { RunQueue } from "../../src/runtime/placement/run-queue.js";

describe("RunQueue", () => {
  const drain = <T>(queue: RunQueue<T>): T[] => {
    const values: T[] = [];
    for (let value = queue.shift(); value !== undefined; value = queue.shift()) values.push(value);
    assert.equal(queue.size, 0);
    return values;
  };

  it("gives values out in the order they came", () => {
    const queue = new RunQueue<number>();
    assert.equal(queue.shift(), undefined);
    for (const value of [1, 2, 3]) queue.push(value);
    assert.equal(queue.size, 3);
    assert.equal(queue.shift(), 1);
    queue.push(4);
    assert.deepEqual(drain(queue), [2, 3, 4]);
  });

  it("lets a value leave from the front, the middle and the back, once", () => {
    const queue = new RunQueue<number>();
    const entries = [0, 1, 2, 3, 4].map((value) => queue.push(value));
    for (const leaving of [0, 2, 4, 2]) queue.remove(entries[leaving]!);
    assert.equal(queue.size, 2);
    assert.equal(queue.shift(), 1);
    queue.remove(entries[1]!); // has been given out
    queue.push(5);
    assert.deepEqual(drain(queue), [3, 5]);
  });

  it("is usable again after the last value has left", () => {
    const queue = new RunQueue<number>();
    queue.remove(queue.push(1));
    queue.push(2);
    assert.deepEqual(drain(queue), [2]);
  });
});

describe("restartDelayMs", () => {
  it("doubles from 100 ms to 30 s, and stays there", () => {
    assert.deepEqual([0, 1, 2, 8, 9, 50, 5000].map(restartDelayMs), [100, 200, 400, 25_600, 30_000, 30_000, 30_000]);
  });
});
