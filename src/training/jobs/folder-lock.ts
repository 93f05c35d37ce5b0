// Two servers on one folder would train every job twice. A file says who has it; one that was left by a crash is
// recognised by its process, which lives no more or is another one by now.
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { failedPrecondition } from "../../status.js";

export class FolderLock {
  readonly #path: string;

  /** Throws FAILED_PRECONDITION when a process of this machine has the folder. */
  constructor(folder: string) {
    this.#path = join(folder, "server.lock");
    const content = `${JSON.stringify({ pid: process.pid, started: startOf(process.pid) })}\n`;
    for (;;) {
      try {
        // Of servers that start at the same moment, one makes the file.
        writeFileSync(this.#path, content, { flag: "wx" });
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = readHolder(this.#path);
      if (holder !== undefined && lives(holder)) {
        throw failedPrecondition(
          `--training_dir=${folder} is in use by the server with process id ${holder.pid}; each server needs its own`,
        );
      }
      this.#takeAway();
    }
  }

  /** Puts back what somebody else has put in the place of a lock that was left, in the moment since it was read. */
  #takeAway(): void {
    const away = `${this.#path}.${process.pid}`;
    try {
      renameSync(this.#path, away);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    const holder = readHolder(away);
    if (holder !== undefined && lives(holder)) renameSync(away, this.#path);
    else rmSync(away, { force: true });
  }

  release(): void {
    rmSync(this.#path, { force: true });
  }
}

interface Holder {
  readonly pid: number;
  /** In ticks since the machine's start, where the system tells. */
  readonly started: string | undefined;
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

/** A number is given again in time: in a container, to the very next server. */
function lives({ pid, started }: Holder): boolean {
  if (started !== undefined) return startOf(pid) === started;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold anything; the start time is the 22nd field.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
