import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../../src/cancellation.js";
import { filesAtRest, lookAtFiles } from "../../../src/serving/lifecycle/version-files.js";
import { cancelled } from "../../../src/status.js";
import { eventLoopTurns } from "../../support/event-loop-turns.js";
import { FakeClock } from "../../support/fake-clock.js";
import { ModelFolder } from "../../support/model-folder.js";
import { rejectsWith } from "../../support/rejects-with.js";

describe("the fingerprint of a version's files", () => {
  let folder: ModelFolder;
  let version: string;
  beforeEach(() => {
    folder = new ModelFolder();
    version = join(folder.basePath("m"), "1");
    mkdirSync(join(version, "assets"), { recursive: true });
    writeFileSync(join(version, "model.onnx"), "model");
    writeFileSync(join(version, "assets", "labels"), "labels");
    // Older than any change a test makes: two changes within one tick of the file system's clock would look alike.
    for (const file of ["model.onnx", "assets/labels"]) utimesSync(join(version, file), 1000, 1000);
  });
  afterEach(() => folder[Symbol.dispose]());
  const fingerprint = async () => (await lookAtFiles(version, [join(folder.path, "m", "beside")])).fingerprint;

  it("is the same for two looks at the same files", async () => {
    assert.equal(await fingerprint(), await fingerprint());
  });

  const changes: readonly [string, () => void][] = [
    ["more bytes", () => writeFileSync(join(version, "model.onnx"), "more", { flag: "a" })],
    ["other bytes", () => writeFileSync(join(version, "model.onnx"), "MODEL")],
    ["a new file", () => writeFileSync(join(version, "new"), "")],
    ["a file that is gone", () => rmSync(join(version, "model.onnx"))],
    ["a file in a directory below", () => writeFileSync(join(version, "assets", "labels"), "other!")],
    ["a file that was touched", () => utimesSync(join(version, "model.onnx"), 1, 1)],
    [
      "another file in its place",
      () => {
        writeFileSync(join(version, "new"), "model");
        renameSync(join(version, "new"), join(version, "model.onnx"));
      },
    ],
    ["no directory any more", () => rmSync(version, { recursive: true })],
    ["a file beside that matters", () => writeFileSync(join(folder.path, "m", "beside"), "")],
  ];
  for (const [what, change] of changes) {
    it(`is another with ${what}`, async () => {
      const before = await fingerprint();
      change();
      assert.notEqual(await fingerprint(), before);
    });
  }

  it("is looked for without an end in sight, but finds one: links to directories are not followed", async () => {
    symlinkSync(version, join(version, "loop"));
    assert.equal(await fingerprint(), await fingerprint());
  });

  it("knows when something last changed, and not when the directory itself was renamed", async () => {
    const before = Date.now();
    writeFileSync(join(version, "model.onnx"), "again");
    const { newestMs } = await lookAtFiles(version);
    assert.ok(Math.abs(newestMs - before) < 5000);
    const nothing = await lookAtFiles(join(folder.path, "nowhere"));
    assert.equal(nothing.newestMs, 0);
  });
});

describe("files at rest", () => {
  const clock = () => new FakeClock();
  const never = () => assert.fail("looked once too often");

  /** Looks that give these answers in turn. */
  function looks(...answers: readonly { fingerprint: string; newestMs: number }[]) {
    let next = 0;
    return async () => answers[next++] ?? never();
  }

  it("are at rest at once when nothing has changed for a while", async () => {
    const time = clock();
    const look = looks({ fingerprint: "a", newestMs: time.wallTime() - 500 });
    assert.equal(await filesAtRest(look, 500, time, neverCancelled), "a");
    assert.equal(time.pending, 0);
  });

  it("are at rest at once when nobody wants to wait", async () => {
    const time = clock();
    assert.equal(
      await filesAtRest(looks({ fingerprint: "a", newestMs: time.wallTime() + 1e6 }), 0, time, neverCancelled),
      "a",
    );
  });

  it("are waited for while they change", async () => {
    const time = clock();
    const start = time.wallTime();
    const look = looks(
      { fingerprint: "a", newestMs: start },
      { fingerprint: "b", newestMs: start + 400 },
      { fingerprint: "c", newestMs: start + 600 },
      { fingerprint: "c", newestMs: start + 600 },
    );
    let rest: string | undefined;
    const resting = filesAtRest(look, 500, time, neverCancelled).then((fingerprint) => {
      rest = fingerprint;
    });
    for (let i = 0; i < 2; i++) {
      await eventLoopTurns();
      assert.equal(rest, undefined);
      time.advance(500);
    }
    await eventLoopTurns();
    time.advance(500);
    await resting;
    assert.equal(rest, "c");
  });

  it("are at rest when two looks agree, whatever their clock says", async () => {
    const time = clock();
    const future = { fingerprint: "a", newestMs: time.wallTime() + 3_600_000 };
    const resting = filesAtRest(looks(future, future), 500, time, neverCancelled);
    await eventLoopTurns();
    time.advance(500);
    assert.equal(await resting, "a");
  });

  it("are given up after a minute of changes", async () => {
    const time = clock();
    let looked = 0;
    const look = async () => ({ fingerprint: `${looked++}`, newestMs: time.wallTime() });
    const resting = rejectsWith("UNAVAILABLE", /files keep changing/, () =>
      filesAtRest(look, 500, time, neverCancelled),
    );
    for (let i = 0; i < 125; i++) {
      await eventLoopTurns(2);
      time.advance(500);
    }
    await resting;
    assert.ok(looked > 115 && looked < 125);
    assert.equal(time.pending, 0);
  });

  it("are not waited for once nobody wants them", async () => {
    const time = clock();
    const cancellation = new CancellationSource();
    const look = looks({ fingerprint: "a", newestMs: time.wallTime() });
    const resting = rejectsWith("CANCELLED", /not wanted/, () => filesAtRest(look, 500, time, cancellation));
    await eventLoopTurns();
    cancellation.cancel(cancelled("not wanted"));
    await resting;
    assert.equal(time.pending, 0);
  });
});
