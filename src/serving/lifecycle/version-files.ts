// Whether the files of a version are complete cannot be seen, but whether they change can.
import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { unavailable } from "../../status.js";

/** Entries of one version that are looked at, and directories inside directories. */
const maxEntries = 10_000;
const maxDepth = 16;
/** How long an attempt to load waits for files that go on changing before it counts as failed. */
const maxUnrestMs = 60_000;

export interface FilesSnapshot {
  /** Equal for two looks between which no file was added, removed, written, replaced or touched. */
  readonly fingerprint: string;
  /** When something last changed, in milliseconds since 1970; 0 when there is nothing. */
  readonly newestMs: number;
}

/** Looks at what lies in the version's directory, and at single files that matter beside it. */
export async function lookAtFiles(directory: string, files: readonly string[] = []): Promise<FilesSnapshot> {
  const lines: string[] = [];
  let newestNs = 0n;
  const look = async (path: string, isRoot: boolean): Promise<void> => {
    try {
      const { size, mtimeNs, ctimeNs, ino } = await stat(path, { bigint: true });
      // The root's ctime is that of its own renaming: to publish by rename is not to change the files.
      const changedNs = isRoot || mtimeNs > ctimeNs ? mtimeNs : ctimeNs;
      if (changedNs > newestNs) newestNs = changedNs;
      lines.push(`${path} ${size} ${mtimeNs} ${isRoot ? 0n : ctimeNs} ${ino}`);
    } catch {
      lines.push(`${path} unreadable`);
    }
  };
  const walk = async (path: string, depth: number): Promise<void> => {
    let entries: Dirent[];
    try {
      entries = await readdir(path, { withFileTypes: true });
    } catch {
      return; // a file in a directory's place, or nothing at all: its own line says so
    }
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (lines.length >= maxEntries) return;
      const child = join(path, entry.name);
      await look(child, false);
      if (entry.isDirectory() && depth < maxDepth) await walk(child, depth + 1);
    }
  };
  await look(directory, true);
  await walk(directory, 1);
  for (const file of files) await look(file, false);
  const fingerprint = createHash("sha256").update(lines.join("\n")).digest("base64");
  return { fingerprint, newestMs: Number(newestNs / 1_000_000n) };
}

/** Whether nothing has changed for `quietMs`, as far as the files' times tell. */
export function isAtRest({ newestMs }: FilesSnapshot, quietMs: number, clock: Clock): boolean {
  return quietMs === 0 || clock.wallTime() - newestMs >= quietMs;
}

/**
 * Resolves once the files have not changed for `quietMs`: at once for files that are older. Where clocks disagree and
 * files are from the future, two looks that far apart must agree.
 * @returns their fingerprint
 * @throws UNAVAILABLE when they still change after a minute; the cancellation's reason
 */
export async function filesAtRest(
  look: () => Promise<FilesSnapshot>,
  quietMs: number,
  clock: Clock,
  cancellation: Cancellation,
): Promise<string> {
  const startedMs = clock.now();
  let seen = await look();
  while (!isAtRest(seen, quietMs, clock)) {
    if (clock.now() - startedMs > maxUnrestMs) throw unavailable("the version's files keep changing");
    await pause(quietMs, clock, cancellation);
    const again = await look();
    if (again.fingerprint === seen.fingerprint) break;
    seen = again;
  }
  return seen.fingerprint;
}

function pause(delayMs: number, clock: Clock, cancellation: Cancellation): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(delayMs, () => {
      undo();
      resolve();
    });
    const undo = cancellation.onCancel((reason) => {
      timer.cancel();
      reject(reason);
    });
  });
}
