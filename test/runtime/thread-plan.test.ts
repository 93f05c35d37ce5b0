import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planThreads } from "../../src/runtime/thread-plan.js";

const MiB = 1024 * 1024;
const unasked = { poolSize: undefined, intraOpThreads: undefined };

describe("planThreads", () => {
  for (const [what, asked, cpus, modelBytes, poolSize, intraOpThreads] of [
    ["gives a small model a session a CPU", unasked, 2, 5 * MiB, 2, 1],
    ["gives a small model one session on one CPU", unasked, 1, 5 * MiB, 1, 1],
    ["divides many CPUs among four sessions", unasked, 16, 5 * MiB, 4, 4],
    ["leaves CPUs over rather than use more than there are", unasked, 7, 5 * MiB, 4, 1],
    ["makes fewer copies of a large model, with more threads each", unasked, 8, 200 * MiB, 2, 4],
    ["makes one copy of a huge model, with all threads", unasked, 8, 4096 * MiB, 1, 8],
    ["does as asked", { poolSize: 3, intraOpThreads: 5 }, 2, 5 * MiB, 3, 5],
    ["divides the CPUs among the sessions asked for", { ...unasked, poolSize: 2 }, 8, 5 * MiB, 2, 4],
    ["gives each at least one thread", { ...unasked, poolSize: 8 }, 2, 5 * MiB, 8, 1],
    ["makes as many sessions as their threads allow", { ...unasked, intraOpThreads: 4 }, 8, 5 * MiB, 2, 4],
    ["makes one session that asks for more than there is", { ...unasked, intraOpThreads: 4 }, 2, 5 * MiB, 1, 4],
  ] as const) {
    it(what, () => assert.deepEqual(planThreads(asked, cpus, modelBytes), { poolSize, intraOpThreads }));
  }
});
