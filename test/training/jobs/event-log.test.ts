import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../../src/cancellation.js";
import { cancelled } from "../../../src/status.js";
import { EventLog } from "../../../src/training/jobs/event-log.js";
import { rejectsWith } from "../../support/rejects-with.js";

describe("a job's event log", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-events-"));
    path = join(folder, "events.ndjson");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const notice = (log: EventLog, text: string) => log.append({ kind: "notice", text }, 5);
  async function texts(log: EventLog, from: number): Promise<string[]> {
    const seen: string[] = [];
    for await (const event of log.watch(from, neverCancelled)) {
      assert.equal(event.kind, "notice");
      if (event.kind === "notice") seen.push(`${event.sequence} ${event.text}`);
    }
    return seen;
  }

  it("replays from any event and then follows to the end", async () => {
    const log = await EventLog.open(path, false);
    await notice(log, "a");
    await notice(log, "b");
    const all = texts(log, 1);
    const later = texts(log, 3);
    await notice(log, "c");
    await notice(log, "d");
    await log.complete();
    assert.deepEqual(await all, ["1 a", "2 b", "3 c", "4 d"]);
    assert.deepEqual(await later, ["3 c", "4 d"]);
    assert.deepEqual(await texts(log, 5), []);
    await rejectsWith("OUT_OF_RANGE", /has 4 events; there is no event 6/, () => texts(log, 6));
  });

  it("keeps the order of events that are appended at once, and numbers them without gaps", async () => {
    const log = await EventLog.open(path, false);
    await Promise.all(Array.from({ length: 50 }, (_, i) => notice(log, `n${i}`)));
    await log.complete();
    assert.deepEqual(
      await texts(log, 1),
      Array.from({ length: 50 }, (_, i) => `${i + 1} n${i}`),
    );
  });

  it("takes off a line that a crash has cut, and goes on after the last whole one", async () => {
    const log = await EventLog.open(path, false);
    await notice(log, "a");
    await log.close();
    appendFileSync(path, '{"sequence":2,"kind":"noti');
    const again = await EventLog.open(path, false);
    assert.equal(again.last, 1);
    await notice(again, "b");
    await again.complete();
    assert.deepEqual(await texts(again, 1), ["1 a", "2 b"]);
    assert.equal(readFileSync(path, "utf8").split("\n").length, 3);
  });

  it("lets a watcher go that waits for nothing any more", async () => {
    const log = await EventLog.open(path, false);
    const source = new CancellationSource();
    const events = log.watch(1, source);
    const next = events.next();
    source.cancel(cancelled("enough"));
    await rejectsWith("CANCELLED", /enough/, () => next);
    await log.close();
  });

  it("can be written on after its end: a held candidate is published later", async () => {
    const log = await EventLog.open(path, false);
    await notice(log, "ended");
    await log.complete();
    await notice(log, "published");
    await log.complete();
    assert.deepEqual(await texts(log, 2), ["2 published"]);
  });
});
