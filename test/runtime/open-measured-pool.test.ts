// Trials with real sessions on real threads. Which plan wins is the machine's affair; that the winner serves is ours.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import type { Session } from "../../src/runtime/index.js";
import { Death, PuppetThreads } from "../support/puppet-threads.js";
import { affineModel, floatTensor } from "../support/test-models.js";
import { alwaysPool, TestRuntime } from "../support/test-runtime.js";
import { until } from "../support/until.js";

const alwaysTried = { ...alwaysPool, cpus: 2, trialShortestRunMicros: 0, trialLongestRunMicros: 1_000_000_000 };
const outcome =
  /^no model is to run on the serving thread; (\d) sessions? of (\d) threads? ran [\d.]+ times a second, \d sessions? of \d threads? [\d.]+(?:; a call alone took [\d.]+ against [\d.]+ ms)?$/;

describe("a model whose plan is tried", () => {
  it("is served with the plan that is said to have won, and the other one's threads end", async () => {
    const threads = new PuppetThreads();
    await using runtime = new TestRuntime(alwaysTried, { startThread: threads.start });
    const { session } = await runtime.load(affineModel(2, 1));
    const { sessions, intraOpThreads, reason } = session.placement;
    const [, saidSessions, saidThreads] = outcome.exec(reason) ?? assert.fail(reason);
    assert.deepEqual([sessions, intraOpThreads], [Number(saidSessions), Number(saidThreads)]);
    assert.ok(sessions * intraOpThreads === 2, reason);
    assert.equal(threads.started, 3);
    await until(() => runtime.runtime.stats().threads.length === sessions);
    assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map((x) => run(session, x))), [3, 5, 7, 9, 11]);
  });

  it("is served with its plan when the other cannot be tried", async () => {
    const threads = new PuppetThreads();
    const startThread = () => {
      if (threads.started === 2) threads.dieOnNextOpen(Death.EXIT);
      return threads.start();
    };
    await using runtime = new TestRuntime(alwaysTried, { startThread });
    const { session } = await runtime.load(affineModel(2, 1));
    const { sessions, intraOpThreads, reason } = session.placement;
    assert.deepEqual({ sessions, intraOpThreads }, { sessions: 2, intraOpThreads: 1 });
    assert.match(
      reason,
      /; 1 session of 2 threads could not be tried: model "m": its worker thread ended with exit code 3$/,
    );
    assert.equal(await run(session, 1), 3);
  });

  it("is served with its plan when a run of the trial is lost, and by all of its sessions again", async () => {
    const threads = new PuppetThreads();
    const startThread = () => {
      if (threads.started === 2) threads.dieOnNextRun(Death.EXIT);
      return threads.start();
    };
    await using runtime = new TestRuntime(alwaysTried, { startThread });
    const { session } = await runtime.load(affineModel(2, 1));
    assert.match(session.placement.reason, /; 1 session of 2 threads could not be tried: model "m": its worker thread/);
    assert.equal(session.placement.sessions, 2);
    await until(() => runtime.runtime.stats().threads.filter(({ state }) => state === "ready").length === 2);
    assert.equal(await run(session, 1), 3);
  });

  it("is not tried when the number of its sessions or threads was asked for", async () => {
    const threads = new PuppetThreads();
    await using runtime = new TestRuntime(alwaysTried, { startThread: threads.start });
    for (const options of [{ poolSize: 1 }, { intraOpThreads: 2 }]) {
      const { session } = await runtime.load(affineModel(2, 1), options);
      assert.equal(session.placement.reason, "no model is to run on the serving thread");
    }
    assert.equal(threads.started, 2);
  });
});

async function run(session: Session, x: number): Promise<number> {
  const feeds = new Map([["x", floatTensor([1, 1], x)]]);
  const { outputs } = await session.run(feeds, ["y"], { cancellation: neverCancelled });
  return Number(outputs.get("y")!.data[0]);
}
