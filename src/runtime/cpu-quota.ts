// The CPUs this process may really use. The operating system shows a container all CPUs of its host; the quota that
// throttles it stands in the control groups, of which version 1 and version 2 are both still met.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Whole CPUs, at least 1. A fraction is rounded down: threads beyond the quota are throttled, all of them together. */
export function availableCpus(
  readText: (path: string) => string | undefined = readOrUndefined,
  parallelism: number = availableParallelism(),
): number {
  const quotas = quotaFiles(readText("/proc/self/cgroup") ?? "").map((files) => readQuota(files, readText));
  const cpus = Math.min(parallelism, ...quotas.filter((quota) => quota !== undefined));
  return Math.max(1, Math.floor(cpus));
}

/** Where one control group says its quota. */
type QuotaFiles =
  | { readonly version: 2; readonly max: string }
  | { readonly version: 1; readonly quota: string; readonly period: string };

/**
 * The quotas that bind a process, from its own group up to the root: each ancestor's holds too. Inside a container the
 * listed path is the host's and often not there, while the mount point is the container's own group: both are tried.
 * @param listing /proc/self/cgroup: lines of "number:controllers:path", version 2 being "0::path"
 */
export function quotaFiles(listing: string): readonly QuotaFiles[] {
  const files: QuotaFiles[] = [];
  for (const line of listing.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers === "") {
      for (const group of groupAndAncestors(path)) {
        files.push({ version: 2, max: `/sys/fs/cgroup${group}/cpu.max` });
      }
    } else if (controllers.split(",").includes("cpu")) {
      for (const group of groupAndAncestors(path)) {
        const directory = `/sys/fs/cgroup/cpu${group}`;
        files.push({
          version: 1,
          quota: `${directory}/cpu.cfs_quota_us`,
          period: `${directory}/cpu.cfs_period_us`,
        });
      }
    }
  }
  return files;
}

/** cpu.max: "max 100000" is no quota, "150000 100000" is one and a half CPUs. undefined for no quota. */
export function parseCpuMax(text: string): number | undefined {
  const [quota = "", period = "100000"] = text.trim().split(/\s+/);
  return ratio(quota, period);
}

/** cpu.cfs_quota_us and cpu.cfs_period_us; a quota of -1 is none. */
export function parseCfsQuota(quota: string, period: string): number | undefined {
  return ratio(quota.trim(), period.trim());
}

function ratio(quotaText: string, periodText: string): number | undefined {
  const [quota, period] = [Number(quotaText), Number(periodText)];
  return quota > 0 && period > 0 ? quota / period : undefined;
}

function readQuota(files: QuotaFiles, readText: (path: string) => string | undefined): number | undefined {
  if (files.version === 2) {
    const text = readText(files.max);
    return text === undefined ? undefined : parseCpuMax(text);
  }
  const [quota, period] = [readText(files.quota), readText(files.period)];
  return quota === undefined || period === undefined ? undefined : parseCfsQuota(quota, period);
}

/** "/a/b" gives "/a/b", "/a" and "". */
function groupAndAncestors(path: string): string[] {
  const groups: string[] = [];
  for (let group = path.replace(/\/+$/, ""); group !== ""; group = group.slice(0, group.lastIndexOf("/"))) {
    groups.push(group);
  }
  return [...groups, ""];
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
