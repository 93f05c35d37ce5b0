// Worker threads that die a real death: what is lost, what is not, and what comes after.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import type { Session, SessionOptions } from "../../src/runtime/index.js";
import { cancelled } from "../../src/status.js";
import { FakeClock } from "../support/fake-clock.js";
import { LogRecorder } from "../support/log-recorder.js";
import { Death, PuppetThreads } from "../support/puppet-threads.js";
import { rejectsWith } from "../support/rejects-with.js";
import { affineModel, floatTensor } from "../support/test-models.js";
import { alwaysPool, TestRuntime } from "../support/test-runtime.js";
import { until } from "../support/until.js";

async function openMortalPool(options: SessionOptions) {
  const threads = new PuppetThreads();
  const clock = new FakeClock();
  const logger = new LogRecorder();
  const restarts: string[] = [];
  const runtime = new TestRuntime(alwaysPool, {
    clock,
    logger,
    startThread: threads.start,
    observer: { droppedBeforeRun: () => {}, workerRestarted: (model) => restarts.push(model) },
  });
  const path = runtime.write(affineModel(2, 1));
  const { session } = await runtime.runtime.load("m", path, options, neverCancelled);
  return {
    threads,
    clock,
    logger,
    restarts,
    path,
    session,
    ready: () => runtime.runtime.stats().threads.filter(({ state }) => state === "ready").length,
    living: () => runtime.runtime.stats().threads.length,
    deaths: () => runtime.runtime.stats().models[0]!.workerDeaths,
    async [Symbol.asyncDispose]() {
      threads.finish();
      await runtime[Symbol.asyncDispose]();
    },
  };
}

async function run(session: Session, x: number, cancellation = neverCancelled): Promise<number> {
  const { outputs } = await session.run(new Map([["x", floatTensor([1, 1], x)]]), ["y"], { cancellation });
  return Number(outputs.get("y")!.data[0]);
}

describe("a worker thread that dies", () => {
  for (const [how, death, reason] of [
    ["exits", Death.EXIT, /^model "m": its worker thread ended with exit code 3$/],
    ["throws", Death.THROW, /^model "m": its worker thread died: struck by lightning$/],
    ["runs out of memory", Death.OUT_OF_MEMORY, /^model "m": its worker thread died: ERR_WORKER_OUT_OF_MEMORY: /],
  ] as const) {
    it(`fails its call with the reason when it ${how}, and is replaced after a while`, async () => {
      await using pool = await openMortalPool({ poolSize: 1 });
      pool.threads.dieOnNextRun(death);
      await rejectsWith("UNAVAILABLE", reason, () => run(pool.session, 1));
      assert.equal(pool.ready(), 0);
      assert.equal(pool.deaths(), 1);

      const waiting = run(pool.session, 2);
      assert.deepEqual(pool.session.load(), { queued: 1, running: 0 });
      pool.clock.advance(99);
      assert.equal(pool.threads.started, 1);
      pool.clock.advance(1);
      assert.equal(await waiting, 5);
      assert.equal(pool.threads.started, 2);
      assert.deepEqual(pool.restarts, ["m"]);
      assert.deepEqual(
        pool.logger.of("error").map(({ message, fields }) => [message, fields["model"], fields["delayMs"]]),
        [["a worker thread was lost", "m", 100]],
      );
    });
  }

  it("fails no call of the others, and none that waits", async () => {
    await using pool = await openMortalPool({ poolSize: 2 });
    pool.threads.dieOnNextRun(Death.EXIT);
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, (_, x) => run(pool.session, x)));
    const lost = outcomes.filter(({ status }) => status === "rejected");
    // What it ran, and what had been sent ahead to it.
    assert.ok(lost.length >= 1 && lost.length <= 2, `${lost.length} calls were lost`);
    for (const [x, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") assert.equal(outcome.value, 2 * x + 1);
    }
    assert.equal(pool.ready(), 1);
  });

  it("is replaced later with each death in a row, and soon again once it has lived for long", async () => {
    await using pool = await openMortalPool({ poolSize: 1 });
    for (const delayMs of [100, 200, 400]) {
      pool.threads.dieOnNextRun(Death.EXIT);
      await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
      pool.clock.advance(delayMs - 1);
      assert.equal(pool.living(), 0);
      pool.clock.advance(1);
      await until(() => pool.ready() === 1);
    }
    pool.clock.advance(60_000);
    pool.threads.dieOnNextRun(Death.EXIT);
    await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
    pool.clock.advance(100);
    await until(() => pool.ready() === 1);
  });

  it("leaves calls waiting no longer than until its replacement cannot be made, and tells later ones at once", async () => {
    await using pool = await openMortalPool({ poolSize: 1 });
    pool.threads.dieOnNextRun(Death.EXIT);
    await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
    const gone = new CancellationSource();
    const givenUp = run(pool.session, 2, gone);
    const waiting = run(pool.session, 3);
    gone.cancel(cancelled("had enough"));
    await rejectsWith("CANCELLED", /had enough/, () => givenUp);

    pool.threads.dieOnNextOpen(Death.THROW);
    pool.clock.advance(100);
    const message = /model "m" has no worker thread left, and none could be started: .*struck by lightning/;
    await rejectsWith("UNAVAILABLE", message, () => waiting);
    await rejectsWith("UNAVAILABLE", message, () => run(pool.session, 4));

    pool.clock.advance(200);
    await until(() => pool.ready() === 1);
    assert.equal(await run(pool.session, 5), 11);
  });

  it("is not replaced by one that would serve another file under the same name", async () => {
    await using pool = await openMortalPool({ poolSize: 1 });
    writeFileSync(pool.path, affineModel(3, 1));
    pool.threads.dieOnNextRun(Death.EXIT);
    await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
    const waiting = run(pool.session, 2);
    pool.clock.advance(100);
    await rejectsWith("UNAVAILABLE", /model\.onnx has changed since it was first read/, () => waiting);
  });

  it("does not keep its model from being released, neither dead nor while it is replaced", async () => {
    for (const advanceMs of [0, 100]) {
      await using pool = await openMortalPool({ poolSize: 1 });
      pool.threads.dieOnNextRun(Death.EXIT);
      await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
      pool.clock.advance(advanceMs);
      await pool.session.release();
      assert.equal(pool.living(), 0);
      assert.equal(pool.clock.pending, 0);
    }
  });

  it("answers what waits before its model is released, by its replacement", async () => {
    await using pool = await openMortalPool({ poolSize: 1 });
    pool.threads.dieOnNextRun(Death.EXIT);
    await rejectsWith("UNAVAILABLE", /exit code 3/, () => run(pool.session, 1));
    const waiting = run(pool.session, 2);
    const released = pool.session.release();
    pool.clock.advance(100);
    assert.equal(await waiting, 5);
    await released;
    assert.equal(pool.living(), 0);
  });
});

describe("a worker thread that dies while it loads a model", () => {
  it("fails the load, and nothing else", async () => {
    for (const [death, reason] of [
      [Death.EXIT, /model "m": its worker thread ended with exit code 3/],
      [Death.THROW, /model "m": its worker thread died: struck by lightning/],
      [Death.OUT_OF_MEMORY, /ERR_WORKER_OUT_OF_MEMORY/],
    ] as const) {
      const threads = new PuppetThreads();
      await using runtime = new TestRuntime(alwaysPool, { startThread: threads.start });
      const other = await runtime.load(affineModel(1, 1), { poolSize: 1 }, "other");
      threads.dieOnNextOpen(death);
      await rejectsWith("UNAVAILABLE", reason, () => runtime.load(affineModel(2, 1), { poolSize: 1 }));
      assert.equal(await run(other.session, 1), 2);
      assert.equal(runtime.runtime.stats().threads.length, 1);
      const { session } = await runtime.load(affineModel(2, 1), { poolSize: 1 });
      assert.equal(await run(session, 1), 3);
    }
  });

  it("fails the load of a pool when it is not the first, and ends the others", async () => {
    const threads = new PuppetThreads();
    let started = 0;
    await using runtime = new TestRuntime(alwaysPool, {
      startThread: () => {
        started += 1;
        if (started === 3) throw new Error("no more threads");
        return threads.start();
      },
    });
    await rejectsWith("UNAVAILABLE", /^model "m": no worker thread could be started: no more threads$/, () =>
      runtime.load(affineModel(2, 1), { poolSize: 3 }),
    );
    assert.deepEqual(runtime.runtime.stats(), { threads: [], models: [] });
  });
});
