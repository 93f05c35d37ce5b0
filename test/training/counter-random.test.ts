import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CounterRandom } from "../../src/training/counter-random.js";

describe("random numbers by position", () => {
  it("are the same for the same place, in any order, and others elsewhere", () => {
    const [a, b] = [new CounterRandom(7, 1, 2), new CounterRandom(7, 1, 2)];
    const forwards = Array.from({ length: 100 }, (_, i) => a.bits(i));
    const backwards = Array.from({ length: 100 }, (_, i) => b.bits(99 - i)).reverse();
    assert.deepEqual(forwards, backwards);
    for (const other of [
      new CounterRandom(8, 1, 2),
      new CounterRandom(7, 2, 1),
      new CounterRandom(7 + 2 ** 40, 1, 2),
    ]) {
      assert.ok(forwards.filter((value, i) => value === other.bits(i)).length < 2);
    }
  });

  it("are spread evenly, bit by bit, and do not follow each other", () => {
    const random = new CounterRandom(3, 1);
    const count = 40_000;
    const bits = new Array<number>(32).fill(0);
    let [products, sum] = [0, 0];
    for (let i = 0; i < count; i++) {
      const value = random.bits(i);
      for (let bit = 0; bit < 32; bit++) bits[bit]! += (value >>> bit) & 1;
      sum += random.uniform(i);
      products += (random.uniform(i) - 0.5) * (random.uniform(i + 1) - 0.5);
    }
    for (const ones of bits) assert.ok(Math.abs(ones / count - 0.5) < 0.012);
    assert.ok(Math.abs(sum / count - 0.5) < 0.006);
    assert.ok(Math.abs(products / count) < 0.002);
  });

  it("make normal ones of mean 0 and variance 1", () => {
    const random = new CounterRandom(5, 1);
    const values = Array.from({ length: 20_000 }, (_, i) => random.normal(i));
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + b * b, 0) / values.length;
    assert.ok(Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05);
  });

  it("shuffle so that each number is there once, and lands everywhere", () => {
    const places = new Array<number>(10).fill(0);
    for (let epoch = 0; epoch < 2000; epoch++) {
      const order = new CounterRandom(1, 2, epoch).permutation(10);
      assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      places[order.indexOf(0)]! += 1;
    }
    for (const times of places) assert.ok(Math.abs(times - 200) < 60, String(places));
  });
});
