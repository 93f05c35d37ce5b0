import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { FolderLock } from "../../../src/training/jobs/folder-lock.js";

describe("the lock of a training folder", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-lock-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is one server's at a time, and free again once it is released", () => {
    const lock = new FolderLock(folder);
    assert.throws(() => new FolderLock(folder), new RegExp(`in use by the server with process id ${process.pid}`));
    lock.release();
    new FolderLock(folder).release();
    assert.ok(!existsSync(join(folder, "server.lock")));
  });

  it("is taken over from a process that lives no more, and from what is no lock", async () => {
    const child = spawn(process.execPath, ["-e", ""]);
    await once(child, "exit");
    writeFileSync(join(folder, "server.lock"), JSON.stringify({ pid: child.pid }));
    new FolderLock(folder).release();
    writeFileSync(join(folder, "server.lock"), "{");
    new FolderLock(folder).release();
  });

  it("is taken over from an earlier process with the same number, as in a container", () => {
    writeFileSync(join(folder, "server.lock"), JSON.stringify({ pid: process.pid, started: "1" }));
    new FolderLock(folder).release();
  });
});
