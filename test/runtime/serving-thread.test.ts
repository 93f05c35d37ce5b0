// The promise that the thread that owns the sockets never runs, or makes, a session of a model that takes long.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import { threadId } from "node:worker_threads";
import { neverCancelled } from "../../src/cancellation.js";
import { bigModel, floatTensor, int64Tensor, slowModel } from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";

/** Whether this thread has loaded onnxruntime: without it, nothing can be run or made here. */
function libraryIsLoadedHere(): boolean {
  return Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes("onnxruntime_binding"));
}

/** Turns of this thread's event loop until the work is done. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let done = false;
  const turn = () => {
    turns += 1;
    if (!done) setImmediate(turn);
  };
  setImmediate(turn);
  await work.finally(() => {
    done = true;
  });
  return turns;
}

describe("the serving thread", () => {
  it("does not load onnxruntime for models in thread pools, and turns on while they are loaded and run", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const slow = await runtime.load(slowModel("input"), { poolSize: 1 });
    const running = slow.session.run(
      new Map([
        ["x", floatTensor([1], 1)],
        ["iterations", int64Tensor([], 300)],
      ]),
      ["y"],
      { cancellation: neverCancelled },
    );
    const loading = runtime.load(bigModel(50_000_000), { poolSize: 1 });
    assert.ok((await turnsDuring(Promise.all([running, loading]))) > 10);
    assert.ok((await running).computeMs > 10, "the run was not long enough to show anything");
    assert.equal(libraryIsLoadedHere(), false);
    assert.ok(runtime.runtime.stats().threads.every((thread) => thread.threadId !== threadId));
  });

  it("loads it for the first model that lives there", async () => {
    await using runtime = new TestRuntime(alwaysInline);
    await runtime.load(bigModel(4096));
    assert.equal(libraryIsLoadedHere(), true);
  });
});
