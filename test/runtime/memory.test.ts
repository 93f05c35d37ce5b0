import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { countNativeSessions } from "../../src/runtime/placement/native-session.js";
import { floatTensor, mlpModel } from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";

const cycles = 200;
const atATime = 4;

describe("memory", () => {
  it(`comes back: ${cycles} times loaded, run and released, in both placements`, async () => {
    // 600 KiB of weights: a leak of them alone would be 120 MiB at the end.
    const bytes = mlpModel([392, 392]);
    await using pooled = new TestRuntime(alwaysPool);
    await using inline = new TestRuntime(alwaysInline);
    const paths = [pooled, inline].map((runtime) => [runtime.runtime, runtime.write(bytes)] as const);
    const feeds = new Map([["features", floatTensor([1, 392], ...new Array(392).fill(1))]]);

    const cycle = async (index: number) => {
      const [runtime, path] = paths[index % 2]!;
      const { session } = await runtime.load("m", path, { poolSize: 1 }, neverCancelled);
      await session.run(feeds, ["probabilities"], { cancellation: neverCancelled });
      await session.release();
    };
    const rss: number[] = [];
    for (let done = 0; done < cycles; done += atATime) {
      await Promise.all(Array.from({ length: atATime }, (_, i) => cycle(done + i)));
      rss.push(process.memoryUsage.rss() / 2 ** 20);
    }
    const middle = Math.max(...rss.slice(10, 20));
    const end = Math.min(...rss.slice(-10));
    assert.ok(end - middle < 40, `from ${Math.round(middle)} MiB after a while to ${Math.round(end)} MiB at the end`);
    assert.equal(countNativeSessions(), 0);
    await pooled.runtime.close();
    await inline.runtime.close();
    for (const [runtime] of paths) assert.deepEqual(runtime.stats(), { threads: [], models: [] });
  });
});
