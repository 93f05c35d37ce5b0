import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { measureWarmup, warmupFeeds } from "../../src/runtime/warm-up.js";

const MiB = 1024 * 1024;

describe("warmupFeeds", () => {
  it("makes zeros, with 1 for every open dimension and a vector of one for any rank", () => {
    const made = warmupFeeds(
      [
        { name: "a", dtype: "float32", shape: ["batch", 3, undefined] },
        { name: "b", dtype: "int64", shape: [] },
        { name: "c", dtype: "string", shape: [2] },
        { name: "d", dtype: "float16", shape: undefined },
        { name: "e", dtype: "bool", shape: ["batch", 0] },
      ],
      MiB,
    );
    assert.ok("feeds" in made);
    assert.deepEqual(
      [...made.feeds.values()],
      [
        { dtype: "float32", shape: [1, 3, 1], data: new Float32Array(3) },
        { dtype: "int64", shape: [], data: new BigInt64Array(1) },
        { dtype: "string", shape: [2], data: ["", ""] },
        { dtype: "float16", shape: [1], data: new Uint16Array(1) },
        { dtype: "bool", shape: [1, 0], data: new Uint8Array(0) },
      ],
    );
  });

  it("does not allocate what a model with absurd dimensions asks for", () => {
    for (const shape of [[2 ** 40], [2 ** 40, 2 ** 40], [MiB / 4, 2]]) {
      const made = warmupFeeds([{ name: "x", dtype: "float32", shape }], MiB);
      assert.ok("skipped" in made);
      assert.match(made.skipped, /^its inputs take .* bytes, more than the 1048576 tried unasked$/);
    }
    assert.ok("feeds" in warmupFeeds([{ name: "x", dtype: "float32", shape: [MiB / 4] }], MiB));
    assert.ok("skipped" in warmupFeeds([{ name: "x", dtype: "string", shape: [2 ** 40] }], MiB));
  });
});

describe("measureWarmup", () => {
  /** Runs that take these times, in milliseconds, the last of them again and again. */
  function measure(...runsMs: readonly number[]) {
    let now = 1000;
    let runs = 0;
    const measured = measureWarmup(
      () => {
        now += runsMs[Math.min(runs, runsMs.length - 1)]!;
        runs += 1;
      },
      () => now,
    );
    return { ...measured, runs };
  }

  it("takes the median, without the first run", () => {
    assert.deepEqual(measure(5, 0.02), { medianMicros: measure(5, 0.02).medianMicros, skipped: "", runs: 30 });
    assert.ok(Math.abs(measure(5, 0.02).medianMicros! - 20) < 1e-6);
    assert.equal(measure(90, 70, 50, 100).medianMicros, 60_000);
  });

  it("runs a slow model once", () => {
    assert.deepEqual(measure(2000), { medianMicros: 2_000_000, skipped: "", runs: 1 });
  });

  it("tells why when zeros are no good for the model", () => {
    const measured = measureWarmup(
      () => {
        throw new Error("a and b must agree");
      },
      () => 0,
    );
    assert.deepEqual(measured, { medianMicros: undefined, skipped: "the runtime refuses zeros: a and b must agree" });
  });
});
