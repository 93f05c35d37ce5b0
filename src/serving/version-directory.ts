// How a model lies on disk: base_path/VERSION/…, where VERSION is a number. A version is published whole or not at all.
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { alreadyExists, failedPrecondition, invalidArgument } from "../status.js";
import { fileError } from "./file-error.js";

export interface VersionEntry {
  readonly version: bigint;
  /** The name in base_path: "1", "001". */
  readonly name: string;
}

const maxVersion = 2n ** 63n - 1n;
const minVersion = -(2n ** 63n);

/**
 * The versions in a base path, in the order of their names' bytes. What is not named by a number is left out, and so is
 * what is still being published; a file named by one is a version that will fail to load.
 * @throws the file system's reason when the directory cannot be read
 */
export async function listVersions(basePath: string): Promise<VersionEntry[]> {
  let names: Buffer[];
  try {
    names = await readdir(basePath, { encoding: "buffer" });
  } catch (error) {
    throw fileError(error);
  }
  const entries: VersionEntry[] = [];
  for (const name of names.sort(Buffer.compare)) {
    const text = name.toString("latin1");
    const version = parseVersion(text);
    if (version !== undefined) entries.push({ version, name: text });
  }
  return entries;
}

/** A whole name as a decimal int64: leading zeros, a sign and blanks around it are taken. */
export function parseVersion(name: string): bigint | undefined {
  const digits = /^[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,19})[ \t\n\v\f\r]*$/.exec(name);
  if (digits === null) return undefined;
  const version = digits[1] === "-" ? -BigInt(digits[2]!) : BigInt(digits[2]!);
  return version < minVersion || version > maxVersion ? undefined : version;
}

/** One more than the largest there is; 1 for the first. Throws FAILED_PRECONDITION when the largest is the last. */
export function nextVersion(entries: readonly VersionEntry[]): bigint {
  const next = entries.reduce((next, { version }) => (version >= next ? version + 1n : next), 1n);
  if (next <= maxVersion) return next;
  throw failedPrecondition(`there is a version ${maxVersion} already, and no number after it; give one that is free`);
}

export interface PublishedVersion {
  readonly version: bigint;
  readonly path: string;
}

/**
 * Makes a new version that appears at once and whole: it is written beside the others under a name that no source takes
 * for a version, brought to the disk, and renamed. When anything fails nothing stays behind.
 * @param version the number wanted; undefined: the next one, whoever else publishes at the same time
 * @param write fills the directory it is given
 * @throws ALREADY_EXISTS when the wanted number is taken; FAILED_PRECONDITION when there is no next one; RESOURCE_EXHAUSTED on a full disk; what `write` throws
 */
export async function publishVersion(
  basePath: string,
  version: bigint | undefined,
  write: (directory: string) => Promise<void>,
): Promise<PublishedVersion> {
  if (version !== undefined && (version < 0n || version > maxVersion)) {
    throw invalidArgument(`a version is a number from 0 to ${maxVersion}; got ${version}`);
  }
  let staged: string | undefined;
  try {
    await mkdir(basePath, { recursive: true });
    staged = join(basePath, `.publishing-${randomUUID()}`);
    await mkdir(staged);
    await write(staged);
    await syncTree(staged);
    const published = await claimVersion(basePath, version, staged);
    staged = undefined;
    await syncPath(basePath);
    return published;
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === undefined ? error : fileError(error);
  } finally {
    if (staged !== undefined) await rm(staged, { recursive: true, force: true });
  }
}

async function claimVersion(basePath: string, wanted: bigint | undefined, staged: string): Promise<PublishedVersion> {
  for (;;) {
    const entries = await listVersions(basePath);
    const version = wanted ?? nextVersion(entries);
    const path = join(basePath, String(version));
    if (!entries.some((entry) => entry.version === version)) {
      try {
        await rename(staged, path);
        return { version, path };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // Somebody else has just published that number.
        if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOTDIR") throw error;
      }
    }
    if (wanted !== undefined) throw alreadyExists(`version ${wanted} exists already in ${basePath}`);
  }
}

/** Renaming makes a directory visible at once; only syncing makes sure that a crash leaves its contents behind. */
async function syncTree(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await syncPath(path);
  }
  await syncPath(directory);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
