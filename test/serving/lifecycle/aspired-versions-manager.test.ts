import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { LoadAttempt, ServableId } from "../../../src/serving/index.js";
import { availabilityPreserving } from "../../../src/serving/lifecycle/aspired-version-policy.js";
import { AspiredVersionsManager } from "../../../src/serving/lifecycle/aspired-versions-manager.js";
import { retryDelayMs } from "../../../src/serving/lifecycle/loader-harness.js";
import { ServableStateMonitor } from "../../../src/serving/lifecycle/servable-state-monitor.js";
import { codeName, internal, invalidArgument } from "../../../src/status.js";
import { eventLoopTurns } from "../../support/event-loop-turns.js";
import { FakeClock } from "../../support/fake-clock.js";
import { LogRecorder } from "../../support/log-recorder.js";
import { PuppetLoader } from "../../support/puppet-loader.js";

let clock: FakeClock;
let log: LogRecorder;
let monitor: ServableStateMonitor;
let manager: AspiredVersionsManager;
/** All that were made, the newest last. */
let loaders: PuppetLoader[];
let attempts: LoadAttempt[];
/** Whether the files of new loaders are still being written. */
let filesArrive: boolean;
/** "m/1 LOADING", in the order it was published. */
let states: string[];

function makeManager(maxConcurrentLoads = 10, maxNumLoadRetries = 2): void {
  clock = new FakeClock();
  log = new LogRecorder();
  monitor = new ServableStateMonitor(log);
  loaders = [];
  attempts = [];
  filesArrive = false;
  states = [];
  monitor.onStateChange((name, { version, state }) => states.push(`${name}/${version} ${state}`));
  manager = new AspiredVersionsManager({
    policy: availabilityPreserving,
    maxConcurrentLoads,
    maxNumLoadRetries,
    loadRetryIntervalMicros: 60_000_000,
    makeLoader: (id: ServableId, path: string) => {
      const loader = new PuppetLoader(id, path);
      if (filesArrive) loader.unsettle();
      loaders.push(loader);
      return loader;
    },
    monitor,
    clock,
    logger: log,
    onLoadAttempt: (attempt) => attempts.push(attempt),
  });
}

beforeEach(() => makeManager());

/** Sets the versions and lets everything happen that then can. */
async function aspire(name: string, ...versions: (bigint | { version: bigint; path: string })[]): Promise<void> {
  manager.setAspiredVersions(
    name,
    versions.map((each) => (typeof each === "bigint" ? { version: each, path: `/${name}/${each}` } : each)),
  );
  await eventLoopTurns();
}
/** The newest loader of a version. */
function loader(name: string, version: bigint): PuppetLoader {
  return loaders.findLast(({ id }) => id.name === name && id.version === version)!;
}
async function succeed(name: string, version: bigint): Promise<void> {
  loader(name, version).succeed();
  await eventLoopTurns();
}
async function fail(name: string, version: bigint, error: unknown = internal("broken")): Promise<void> {
  loader(name, version).fail(error);
  await eventLoopTurns();
}
async function advance(ms: number): Promise<void> {
  clock.advance(ms);
  await eventLoopTurns();
}
const state = (name: string, version: bigint) => monitor.version(name, version)?.state;
const answering = (name: string) => manager.latestVersion(name);

describe("the aspired-versions manager", () => {
  it("takes a version through START, LOADING and AVAILABLE", async () => {
    await aspire("m", 1n);
    assert.equal(manager.acquire("m", 1n), undefined);
    await succeed("m", 1n);
    assert.deepEqual(states, ["m/1 START", "m/1 LOADING", "m/1 AVAILABLE"]);
    assert.equal(answering("m"), 1n);
    assert.equal(
      log.of("info").filter(({ message }) => message === "Successfully loaded servable version {name: m version: 1}")
        .length,
      1,
    );
  });

  it("tells what was loaded: signatures, placement, and how long it took", async () => {
    await aspire("m", 1n);
    clock.advance(1500);
    await succeed("m", 1n);
    const loaded = monitor.version("m", 1n)!.loaded!;
    assert.deepEqual([...loaded.signatures.keys()], ["serving_default"]);
    assert.equal(loaded.loadSeconds, 1.5);
    assert.equal(loaded.availableSince, clock.wallTime());
    assert.deepEqual(attempts, [{ id: { name: "m", version: 1n }, path: "/m/1", seconds: 1.5, error: undefined }]);
  });

  it("can be asked for a version as soon as it says AVAILABLE, and until it has said UNLOADING", async () => {
    const couldBeHad: string[] = [];
    monitor.onStateChange((name, { version, state: now }) => {
      const handle = manager.acquire(name, version);
      couldBeHad.push(`${now} ${handle !== undefined}`);
      handle?.[Symbol.dispose]();
    });
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m");
    assert.deepEqual(couldBeHad, ["START false", "LOADING false", "AVAILABLE true", "UNLOADING true", "END false"]);
    assert.equal(loader("m", 1n).releases, 1);
  });

  it("is released once, however many borrow it while they are told of its end", async () => {
    const borrow = (name: string, { version }: { version: bigint }) =>
      manager.acquire(name, version)?.[Symbol.dispose]();
    monitor.onStateChange(borrow);
    monitor.onStateChange((...args) => borrow(...args));
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m");
    assert.equal(loader("m", 1n).releases, 1);
    assert.deepEqual(log.of("error"), []);
  });

  it("swaps versions without a moment in which none can answer", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m", 2n);
    assert.equal(answering("m"), 1n);
    await succeed("m", 2n);
    assert.equal(answering("m"), 2n);
    assert.deepEqual(states.slice(3), ["m/2 START", "m/2 LOADING", "m/2 AVAILABLE", "m/1 UNLOADING", "m/1 END"]);
    assert.equal(loader("m", 1n).live, 0);
  });

  it("keeps the old version when the new one fails for good", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m", 2n);
    for (let attempt = 0; attempt < 3; attempt++) {
      await fail("m", 2n, invalidArgument("not a model"));
      await advance(60_000);
    }
    assert.equal(state("m", 2n), "END");
    assert.equal(monitor.version("m", 2n)!.error!.message, "not a model");
    assert.equal(answering("m"), 1n);
    assert.equal(state("m", 1n), "AVAILABLE");
  });

  it("answers with the largest of several versions, and with each that is asked for", async () => {
    await aspire("m", 1n, 3n, 2n);
    for (const version of [3n, 2n, 1n]) await succeed("m", version);
    assert.equal(answering("m"), 3n);
    for (const version of [1n, 2n, 3n]) {
      const handle = manager.acquire("m", version)!;
      assert.equal(handle.servable.id.version, version);
      handle[Symbol.dispose]();
    }
    assert.equal(manager.acquire("m", 4n), undefined);
    assert.equal(manager.acquire("other", undefined), undefined);
  });

  it("loads one version of a model at a time, the largest first", async () => {
    await aspire("m", 1n, 2n);
    assert.deepEqual([loader("m", 1n).loading, loader("m", 2n).loading], [false, true]);
    assert.deepEqual([state("m", 1n), state("m", 2n)], ["START", "LOADING"]);
    await succeed("m", 2n);
    assert.equal(loader("m", 1n).loading, true);
  });

  it("loads models side by side, but no more than it may", async () => {
    makeManager(2);
    await aspire("a", 1n);
    await aspire("b", 1n);
    await aspire("c", 1n);
    assert.deepEqual(
      ["a", "b", "c"].map((name) => loader(name, 1n).loading),
      [true, true, false],
    );
    await succeed("b", 1n);
    assert.equal(loader("c", 1n).loading, true);
  });

  it("unloads everything when nothing is aspired, and says END", async () => {
    await aspire("m", 1n, 2n);
    await succeed("m", 2n);
    await succeed("m", 1n);
    await aspire("m");
    assert.deepEqual([state("m", 1n), state("m", 2n)], ["END", "END"]);
    assert.equal(monitor.version("m", 1n)!.error, undefined);
    assert.equal(answering("m"), undefined);
    assert.equal(manager.liveVersions(), 0);
  });

  it("loads a version again that comes back after it was unloaded", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m");
    await aspire("m", 1n);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
    assert.equal(loaders.length, 2);
  });

  it("takes the first of two entries with one version", async () => {
    await aspire("m", { version: 1n, path: "/m/001" }, { version: 1n, path: "/m/1" });
    assert.deepEqual(
      loaders.map(({ path }) => path),
      ["/m/001"],
    );
  });

  it("waits for the files to be at rest without holding a slot", async () => {
    makeManager(1);
    filesArrive = true;
    await aspire("copied", 1n);
    filesArrive = false;
    await aspire("whole", 1n);
    await succeed("whole", 1n);
    assert.equal(answering("whole"), 1n);
    assert.equal(loader("copied", 1n).attemptsBegun, 0);
    loader("copied", 1n).settle();
    await eventLoopTurns();
    await succeed("copied", 1n);
    assert.equal(answering("copied"), 1n);
  });

  it("loads the next largest version while the largest is still being copied", async () => {
    manager.setAspiredVersions("m", [{ version: 2n, path: "/m/2" }]);
    loader("m", 2n).unsettle();
    await aspire("m", 1n, 2n);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
    loader("m", 2n).settle();
    await eventLoopTurns();
    await succeed("m", 2n);
    assert.equal(answering("m"), 2n);
  });

  it("does nothing when the same is aspired to again", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    await aspire("m", 1n);
    await aspire("m", 1n);
    assert.equal(loaders.length, 1);
    assert.equal(states.length, 3);
  });
});

describe("handles", () => {
  it("delay the unload until the last is back", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    const [first, second] = [manager.acquire("m", undefined)!, manager.acquire("m", 1n)!];
    await aspire("m");
    assert.equal(state("m", 1n), "UNLOADING");
    assert.equal(manager.acquire("m", 1n), undefined);
    assert.equal(manager.openHandles(), 2);
    first[Symbol.dispose]();
    await eventLoopTurns();
    assert.equal(loader("m", 1n).releases, 0);
    second[Symbol.dispose]();
    await eventLoopTurns();
    assert.equal(loader("m", 1n).releases, 1);
    assert.equal(state("m", 1n), "END");
    assert.equal(manager.openHandles(), 0);
  });

  it("count once, however often they are given back", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    const [twice, other] = [manager.acquire("m", 1n)!, manager.acquire("m", 1n)!];
    twice[Symbol.dispose]();
    twice[Symbol.dispose]();
    await aspire("m");
    assert.equal(loader("m", 1n).live, 1);
    other[Symbol.dispose]();
    await eventLoopTurns();
    assert.equal(loader("m", 1n).live, 0);
  });

  it("hold a version that is wanted again back until it is gone, and others serve meanwhile", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    const handle = manager.acquire("m", 1n)!;
    await aspire("m", 2n);
    await succeed("m", 2n);
    assert.equal(state("m", 1n), "UNLOADING");
    await aspire("m", 1n);
    assert.equal(answering("m"), 2n, "2 stays until 1 is back");
    assert.equal(loaders.length, 2);
    handle[Symbol.dispose]();
    await eventLoopTurns();
    assert.equal(loaders.length, 3);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
    assert.equal(state("m", 2n), "END");
  });

  it("are all back, and all sessions released, after 200 versions have come and gone", async () => {
    let held = manager.acquire("m", undefined);
    for (let version = 1n; version <= 200n; version++) {
      await aspire("m", version);
      loader("m", version).succeed();
      await eventLoopTurns(2);
      held?.[Symbol.dispose]();
      held = manager.acquire("m", undefined);
      assert.equal(held!.servable.id.version, version);
    }
    held![Symbol.dispose]();
    await manager.close();
    assert.equal(manager.openHandles(), 0);
    assert.equal(manager.liveVersions(), 0);
    assert.equal(
      loaders.reduce((sum, { live }) => sum + live, 0),
      0,
    );
    assert.ok(loaders.every(({ releases }) => releases === 1));
    assert.equal(clock.pending, 0);
  });
});

describe("a load that fails", () => {
  it("is tried again with growing waits, and ends with its last error", async () => {
    makeManager(10, 3);
    await aspire("m", 1n);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 4; attempt++) {
      assert.equal(loader("m", 1n).attemptsBegun, attempt);
      await fail("m", 1n, internal(`fault ${attempt}`));
      if (attempt === 4) break;
      assert.equal(state("m", 1n), "LOADING");
      assert.equal(monitor.version("m", 1n)!.error, undefined, "the status stays OK during retries");
      assert.equal(monitor.version("m", 1n)!.lastFailure!.message, `fault ${attempt}`);
      let waited = 0;
      while (loader("m", 1n).attemptsBegun === attempt) {
        await advance(500);
        waited += 500;
      }
      waits.push(waited);
    }
    assert.deepEqual(waits, [1000, 4000, 16_000]);
    const { state: ended, error, lastFailure } = monitor.version("m", 1n)!;
    assert.deepEqual(
      [ended, codeName(error!.code), error!.message, lastFailure],
      ["END", "INTERNAL", "fault 4", undefined],
    );
    assert.equal(clock.pending, 0);
    assert.equal(attempts.filter(({ error: each }) => each !== undefined).length, 4);
  });

  it("waits no longer than the interval between attempts", () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 2000].map((failures) => retryDelayMs(failures, 60_000_000)),
      [1000, 4000, 16_000, 60_000, 60_000, 60_000],
    );
    assert.equal(retryDelayMs(3, 500_000), 500);
    assert.equal(retryDelayMs(1, 0), 0);
    assert.equal(retryDelayMs(1, -1), 0);
  });

  it("becomes AVAILABLE when a later attempt succeeds", async () => {
    await aspire("m", 1n);
    await fail("m", 1n);
    await advance(1000);
    await succeed("m", 1n);
    assert.deepEqual(states, ["m/1 START", "m/1 LOADING", "m/1 LOADING", "m/1 AVAILABLE"]);
    assert.equal(monitor.version("m", 1n)!.lastFailure, undefined);
  });

  it("holds back no other model, and no other version of its own", async () => {
    makeManager(1);
    await aspire("bad", 1n, 2n);
    await fail("bad", 2n);
    await aspire("good", 1n);
    assert.equal(loader("bad", 1n).loading, true, "version 1 loads while 2 waits for its retry");
    await succeed("bad", 1n);
    await succeed("good", 1n);
    assert.equal(answering("bad"), 1n);
    assert.equal(answering("good"), 1n);
    assert.equal(state("bad", 2n), "LOADING");
  });

  it("is not tried again at later polls once it has ended", async () => {
    makeManager(10, 0);
    await aspire("m", 1n);
    await fail("m", 1n);
    for (let poll = 0; poll < 5; poll++) await aspire("m", 1n);
    await advance(10_000_000);
    assert.equal(loader("m", 1n).attemptsBegun, 1);
    assert.equal(state("m", 1n), "END");
  });

  it("is tried again when the version is removed and comes back", async () => {
    makeManager(10, 0);
    await aspire("m", 1n);
    await fail("m", 1n);
    await aspire("m");
    assert.equal(state("m", 1n), "END");
    await aspire("m", 1n);
    assert.equal(state("m", 1n), "LOADING");
    assert.equal(monitor.version("m", 1n)!.error, undefined);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
  });

  it("is tried again at the next poll when its files have changed, with all attempts anew", async () => {
    makeManager(10, 0);
    await aspire("m", 1n);
    await fail("m", 1n);
    const puppet = loader("m", 1n);
    puppet.files = "with more bytes";
    await aspire("m", 1n);
    assert.equal(puppet.attemptsBegun, 2);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
    assert.deepEqual(states.slice(-3), ["m/1 START", "m/1 LOADING", "m/1 AVAILABLE"]);
  });

  it("does not wait for its retry when its files have changed", async () => {
    await aspire("m", 1n);
    await fail("m", 1n);
    loader("m", 1n).files = "with more bytes";
    await aspire("m", 1n);
    assert.equal(loader("m", 1n).attemptsBegun, 2);
    assert.equal(clock.pending, 0, "the retry's timer is gone");
  });

  it("is one when the files change under it, however well it went", async () => {
    await aspire("m", 1n);
    loader("m", 1n).files = "with more bytes";
    await succeed("m", 1n);
    assert.equal(answering("m"), undefined);
    assert.equal(loader("m", 1n).live, 0, "what was loaded is released");
    assert.match(monitor.version("m", 1n)!.lastFailure!.message, /changed while it was being loaded/);
    await aspire("m", 1n);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
  });

  it("says nothing of a defect of ours but to the log", async () => {
    makeManager(10, 0);
    await aspire("m", 1n);
    await fail("m", 1n, new TypeError("undefined is not a function"));
    const { error } = monitor.version("m", 1n)!;
    assert.equal(codeName(error!.code), "INTERNAL");
    assert.doesNotMatch(error!.message, /undefined/);
    assert.match(String(log.of("error")[0]!.fields["stack"]), /TypeError: undefined is not a function/);
  });
});

describe("a version that is withdrawn while it loads", () => {
  it("is told to stop, and ends as cancelled", async () => {
    await aspire("m", 1n);
    await aspire("m");
    const puppet = loader("m", 1n);
    assert.ok(puppet.toldToStop);
    await succeed("m", 1n);
    assert.deepEqual([puppet.live, puppet.releases], [0, 1], "what it had made is released");
    const { state: ended, error } = monitor.version("m", 1n)!;
    assert.deepEqual(
      [ended, codeName(error!.code), error!.message],
      ["END", "CANCELLED", "Loading of servable cancelled"],
    );
    assert.equal(manager.acquire("m", 1n), undefined);
    assert.ok(!states.includes("m/1 AVAILABLE"));
  });

  it("ends with its own error when the attempt fails, and is not tried again", async () => {
    await aspire("m", 1n);
    await aspire("m");
    await fail("m", 1n, internal("its own"));
    assert.equal(monitor.version("m", 1n)!.error!.message, "its own");
    await advance(10_000_000);
    assert.equal(loader("m", 1n).attemptsBegun, 1);
  });

  it("ends at once when it waits for a retry", async () => {
    await aspire("m", 1n);
    await fail("m", 1n, internal("its own"));
    await aspire("m");
    assert.equal(state("m", 1n), "END");
    assert.equal(monitor.version("m", 1n)!.error!.message, "its own");
    assert.equal(clock.pending, 0);
  });

  it("ends at once when it waits for a slot, which others then get", async () => {
    makeManager(1);
    await aspire("a", 1n);
    await aspire("b", 1n);
    await aspire("c", 1n);
    await aspire("b");
    assert.equal(monitor.version("b", 1n)!.error!.message, "Loading of servable cancelled");
    await succeed("a", 1n);
    assert.equal(loader("c", 1n).loading, true);
    assert.equal(loader("b", 1n).attemptsBegun, 0);
  });

  it("ends at once when its files are still being written", async () => {
    filesArrive = true;
    await aspire("m", 1n);
    assert.equal(state("m", 1n), "START");
    await aspire("m");
    assert.equal(state("m", 1n), "END");
    assert.equal(manager.liveVersions(), 0);
    assert.equal(loader("m", 1n).attemptsBegun, 0);
  });

  it("is loaded anew when it is wanted again before it has ended", async () => {
    await aspire("m", 1n);
    await aspire("m");
    await aspire("m", 1n);
    assert.equal(loaders.length, 1, "not while the first is still on its way out");
    await succeed("m", 1n);
    assert.equal(loaders.length, 2);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
  });
});

describe("a version that moves to another base path", () => {
  it("answers from the old place until it is loaded from the new one, and is AVAILABLE throughout", async () => {
    await aspire("m", { version: 1n, path: "/old/1" });
    await succeed("m", 1n);
    const before = states.length;
    await aspire("m", { version: 1n, path: "/new/1" });
    assert.equal(state("m", 1n), "AVAILABLE");
    assert.ok(manager.isAvailable("m", 1n));
    await succeed("m", 1n);
    assert.equal(monitor.version("m", 1n)!.path, "/new/1");
    assert.deepEqual(states.slice(before), ["m/1 AVAILABLE"]);
    assert.deepEqual(
      loaders.map(({ path, live }) => [path, live]),
      [
        ["/old/1", 0],
        ["/new/1", 1],
      ],
    );
  });

  it("goes on answering from the old place when the new one does not load", async () => {
    makeManager(10, 0);
    await aspire("m", { version: 1n, path: "/old/1" });
    await succeed("m", 1n);
    await aspire("m", { version: 1n, path: "/new/1" });
    await fail("m", 1n);
    assert.equal(state("m", 1n), "AVAILABLE");
    assert.equal(monitor.version("m", 1n)!.path, "/old/1");
    assert.equal(loaders[0]!.live, 1);
  });

  it("stays where it is when the move is taken back", async () => {
    await aspire("m", { version: 1n, path: "/old/1" });
    await succeed("m", 1n);
    await aspire("m", { version: 1n, path: "/new/1" });
    await aspire("m", { version: 1n, path: "/old/1" });
    await succeed("m", 1n);
    assert.equal(monitor.version("m", 1n)!.path, "/old/1");
    assert.deepEqual(
      loaders.map(({ live }) => live),
      [1, 0],
    );
  });
});

describe("a version whose files change after it was loaded", () => {
  it("is loaded again beside itself: it was not whole yet, and is AVAILABLE throughout", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    const before = states.length;
    loaders[0]!.files = "with the last bytes";
    await aspire("m", 1n);
    assert.equal(loaders.length, 2);
    assert.ok(manager.isAvailable("m", 1n));
    await succeed("m", 1n);
    assert.deepEqual(
      loaders.map(({ live }) => live),
      [0, 1],
    );
    assert.deepEqual(states.slice(before), ["m/1 AVAILABLE"]);
    await aspire("m", 1n);
    assert.equal(loaders.length, 2);
  });

  it("goes on as it was when that fails", async () => {
    makeManager(10, 0);
    await aspire("m", 1n);
    await succeed("m", 1n);
    loaders[0]!.files = "overwritten";
    await aspire("m", 1n);
    await fail("m", 1n);
    await aspire("m", 1n);
    assert.equal(loaders.length, 2);
    assert.equal(state("m", 1n), "AVAILABLE");
    assert.equal(loaders[0]!.live, 1);
  });

  it("is left alone when it has been served for a minute: versions do not change in place", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    await advance(60_000);
    loaders[0]!.files = "overwritten";
    await aspire("m", 1n);
    assert.equal(loaders.length, 1);
  });

  it("is unloaded as a whole when it is no longer wanted", async () => {
    await aspire("m", 1n);
    await succeed("m", 1n);
    loaders[0]!.files = "with the last bytes";
    await aspire("m", 1n);
    await aspire("m");
    await succeed("m", 1n);
    assert.equal(manager.liveVersions(), 0);
    assert.equal(state("m", 1n), "END");
    assert.deepEqual(
      loaders.map(({ live }) => live),
      [0, 0],
    );
  });
});

describe("closing the manager", () => {
  it("resolves at once when there is nothing", async () => {
    await manager.close();
  });

  it("waits for loads under way and for open handles", async () => {
    await aspire("a", 1n);
    await succeed("a", 1n);
    await aspire("b", 1n);
    const handle = manager.acquire("a", 1n)!;
    let closed = false;
    const closing = manager.close().then(() => {
      closed = true;
    });
    await eventLoopTurns();
    assert.ok(!closed);
    handle[Symbol.dispose]();
    await eventLoopTurns();
    assert.ok(!closed);
    await fail("b", 1n);
    await closing;
    assert.equal(manager.liveVersions(), 0);
  });
});

describe("a listener to states", () => {
  it("that throws stops nobody", async () => {
    monitor.onStateChange(() => {
      throw new Error("listener's own");
    });
    await aspire("m", 1n);
    await succeed("m", 1n);
    assert.equal(answering("m"), 1n);
    assert.equal(log.of("error").length, 3);
  });

  it("may change what is aspired to", async () => {
    monitor.onStateChange((name, { version, state: now }) => {
      if (now === "AVAILABLE" && version === 1n) manager.setAspiredVersions(name, [{ version: 2n, path: "/m/2" }]);
    });
    await aspire("m", 1n);
    await succeed("m", 1n);
    await succeed("m", 2n);
    assert.equal(answering("m"), 2n);
    assert.equal(state("m", 1n), "END");
  });
});
