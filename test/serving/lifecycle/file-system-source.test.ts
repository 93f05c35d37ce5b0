import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { FileSystemSource, type ServableToMonitor } from "../../../src/serving/lifecycle/file-system-source.js";
import { latestVersion, type VersionPolicy } from "../../../src/serving/lifecycle/version-policy.js";
import { eventLoopTurns } from "../../support/event-loop-turns.js";
import { FakeClock } from "../../support/fake-clock.js";
import { LogRecorder } from "../../support/log-recorder.js";
import { ModelFolder } from "../../support/model-folder.js";
import { until } from "../../support/until.js";

let folder: ModelFolder;
let clock: FakeClock;
let log: LogRecorder;
let source: FileSystemSource;
/** "m 2,1", each time something was aspired to. */
let aspired: string[];
let verdicts: Map<string, string>;

function makeSource(pollWaitSeconds: number): void {
  clock = new FakeClock();
  log = new LogRecorder();
  aspired = [];
  verdicts = new Map();
  source = new FileSystemSource({
    pollWaitSeconds,
    clock,
    logger: log,
    aspire: (name, versions) => {
      for (const { version, path } of versions) assert.ok(path.endsWith(`/${version}`), path);
      aspired.push(`${name} ${versions.map(({ version }) => version).join()}`);
    },
    onVerdict: (name, problem) => verdicts.set(name, problem),
  });
}
beforeEach(() => {
  folder = new ModelFolder();
  makeSource(1);
});
afterEach(() => {
  source.close();
  folder[Symbol.dispose]();
});

const version = (model: string, number: number) => mkdirSync(join(folder.basePath(model), String(number)));
const servable = (name: string, versionPolicy: VersionPolicy = latestVersion): ServableToMonitor => ({
  name,
  basePath: join(folder.path, name),
  versionPolicy,
});
/** What the next look aspires to. */
async function look(): Promise<string[]> {
  aspired = [];
  await source.poll();
  return aspired.sort();
}

describe("the file-system source", () => {
  it("aspires to what the version policy chooses, at every look", async () => {
    version("m", 1);
    version("m", 2);
    source.setServables([servable("m"), servable("n", { kind: "all" })]);
    version("n", 1);
    version("n", 2);
    assert.deepEqual(await look(), ["m 2", "n 1,2"]);
    version("m", 3);
    assert.deepEqual(await look(), ["m 3", "n 1,2"]);
    assert.deepEqual(await look(), ["m 3", "n 1,2"]);
    rmSync(join(folder.path, "m", "3"), { recursive: true });
    assert.deepEqual(await look(), ["m 2", "n 1,2"]);
    assert.deepEqual([...verdicts.values()], ["", ""]);
  });

  it("changes nothing when a base path vanishes, says so once, and goes on when it returns", async () => {
    version("m", 1);
    source.setServables([servable("m")]);
    assert.deepEqual(await look(), ["m 1"]);
    renameSync(join(folder.path, "m"), join(folder.path, "away"));
    assert.deepEqual(await look(), []);
    assert.deepEqual(await look(), []);
    const problem = new RegExp(
      `^Could not find base path ${folder.path}/m for servable m with error NOT_FOUND: ENOENT`,
    );
    assert.match(verdicts.get("m")!, problem);
    assert.equal(log.of("warn").length, 1);
    assert.match(log.of("warn")[0]!.message, problem);
    renameSync(join(folder.path, "away"), join(folder.path, "m"));
    assert.deepEqual(await look(), ["m 1"]);
    assert.equal(verdicts.get("m"), "");
  });

  it("looks at the other models when one base path is missing", async () => {
    version("m", 1);
    source.setServables([servable("missing"), servable("m")]);
    assert.deepEqual(await look(), ["m 1"]);
    assert.deepEqual([verdicts.get("missing") === "", verdicts.get("m") === ""], [false, true]);
  });

  it("un-aspires everything when a base path holds no versions", async () => {
    folder.basePath("m");
    source.setServables([servable("m")]);
    assert.deepEqual(await look(), ["m "]);
    assert.equal(
      verdicts.get("m"),
      `No versions of servable m found under base path ${folder.path}/m. ` +
        "Did you forget to name your leaf directory as a number (eg. '/1/')?",
    );
  });

  it("says so when there are versions but none that is asked for", async () => {
    version("m", 1);
    source.setServables([servable("m", { kind: "specific", versions: [5n] })]);
    assert.deepEqual(await look(), ["m "]);
    assert.match(
      verdicts.get("m")!,
      /^None of the versions under base path .* is one that the version policy of servable m names$/,
    );
    assert.match(log.of("warn")[0]!.message, /version 5 was asked for and is not there/);
  });

  it("looks at once when it starts, and then at every period", async () => {
    version("m", 1);
    source.setServables([servable("m")]);
    clock.advance(10_000);
    await eventLoopTurns();
    assert.deepEqual(aspired, [], "not before it is started");
    source.start();
    await source.poll();
    assert.deepEqual(aspired, ["m 1"]);
    clock.advance(999);
    await eventLoopTurns();
    assert.deepEqual(aspired, ["m 1"]);
    clock.advance(1);
    await source.poll();
    assert.deepEqual(aspired, ["m 1", "m 1"]);
  });

  it("looks once when the period is 0, and at models that are added later once too", async () => {
    makeSource(0);
    version("m", 1);
    version("n", 1);
    source.setServables([servable("m")]);
    source.start();
    await until(() => aspired.length === 1);
    assert.equal(clock.pending, 0);
    source.setServables([servable("m"), servable("n")]);
    await until(() => aspired.length === 2);
    await eventLoopTurns();
    assert.deepEqual(aspired, ["m 1", "n 1"]);
  });

  it("never looks when the period is negative", async () => {
    makeSource(-1);
    version("m", 1);
    source.setServables([servable("m")]);
    source.start();
    source.setServables([servable("m"), servable("n")]);
    await eventLoopTurns(20);
    assert.deepEqual(aspired, []);
    assert.equal(clock.pending, 0);
  });

  it("un-aspires a model at once that is no longer to be watched", async () => {
    version("m", 1);
    source.setServables([servable("m")]);
    await source.poll();
    aspired = [];
    source.setServables([]);
    assert.deepEqual(aspired, ["m "]);
    assert.deepEqual(await look(), []);
  });

  it("looks at once at models that are new or lie elsewhere, and at those only", async () => {
    version("m", 1);
    version("n", 1);
    source.setServables([servable("m")]);
    source.start();
    await source.poll();
    aspired = [];
    source.setServables([servable("m"), servable("n")]);
    await until(() => aspired.length > 0);
    version("elsewhere", 7);
    source.setServables([{ ...servable("m"), basePath: join(folder.path, "elsewhere") }, servable("n")]);
    await until(() => aspired.length > 1);
    assert.deepEqual(aspired, ["n 1", "m 7"]);
  });

  it("drops what a look finds that a new configuration has overtaken", async () => {
    version("m", 1);
    version("elsewhere", 7);
    source.setServables([servable("m")]);
    const overtaken = source.poll();
    source.setServables([{ ...servable("m"), basePath: join(folder.path, "elsewhere") }]);
    await overtaken;
    await source.poll();
    assert.deepEqual(aspired, ["m 7"]);
  });

  it("neither looks nor tells any more once it is closed", async () => {
    version("m", 1);
    source.setServables([servable("m")]);
    source.start();
    source.close();
    await source.poll();
    clock.advance(10_000);
    await eventLoopTurns(20);
    assert.deepEqual(aspired, []);
    assert.equal(clock.pending, 0);
  });
});
