// Files that are there whole or not at all, also after a crash.
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { resourceExhausted } from "../../status.js";

/** Writes beside the file, brings that to the disk, and renames. RESOURCE_EXHAUSTED on a full disk: then nothing is left. */
export async function writeDurably(path: string, content: Uint8Array | string): Promise<void> {
  const staged = `${path}.part`;
  try {
    await withFile(staged, "w", async (file) => {
      await file.writeFile(content);
      await file.sync();
    });
    await rename(staged, path);
    await syncFolder(dirname(path));
  } catch (error) {
    // On a full disk, what is half written is only in the way.
    await rm(staged, { force: true }).catch(() => {});
    throw diskError(error);
  }
}

/** A renamed or new name is only safe once its folder is on the disk. */
export function syncFolder(path: string): Promise<void> {
  return withFile(path, "r", (folder) => folder.sync());
}

/** undefined when there is none. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** A full disk is the operator's business and not a defect. */
export function diskError(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" ? resourceExhausted(message, { cause: error }) : error;
}

async function withFile(path: string, flags: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags);
  try {
    await work(file);
  } finally {
    await file.close();
  }
}
