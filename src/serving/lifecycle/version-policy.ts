// Which of the versions on disk we aspire to. (In what order they are then loaded and unloaded is the aspired-version
// policy's business.)
import type { VersionEntry } from "../version-directory.js";

export type VersionPolicy =
  /** The largest numbers; 0 counts as 1. */
  | { readonly kind: "latest"; readonly numVersions: number }
  | { readonly kind: "all" }
  /** Those of them that exist. */
  | { readonly kind: "specific"; readonly versions: readonly bigint[] };

/** What a model has whose configuration names none. */
export const latestVersion: VersionPolicy = { kind: "latest", numVersions: 1 };

export function samePolicy(a: VersionPolicy, b: VersionPolicy): boolean {
  if (a.kind === "latest") return b.kind === "latest" && a.numVersions === b.numVersions;
  if (a.kind === "all") return b.kind === "all";
  if (b.kind !== "specific" || a.versions.length !== b.versions.length) return false;
  return a.versions.every((version, i) => version === b.versions[i]);
}

export interface VersionChoice {
  readonly chosen: readonly VersionEntry[];
  /** What the operator may have meant otherwise: two directories of one number, a version that is not there. */
  readonly warnings: readonly string[];
}

/** @param entries as listVersions gives them: sorted by name */
export function chooseVersions(policy: VersionPolicy, entries: readonly VersionEntry[]): VersionChoice {
  // Of directories with one number the last by name is taken ("1" before "001"); under `all`, the first. So it is in
  // TensorFlow Serving, which overwrites in one case and keeps what it has in the other.
  const warnings: string[] = [];
  const byVersion = new Map<bigint, VersionEntry>();
  for (const entry of entries) {
    const other = byVersion.get(entry.version);
    if (other !== undefined) {
      const taken = policy.kind === "all" ? other : entry;
      warnings.push(
        `directories ${other.name} and ${entry.name} are both version ${entry.version}; ${taken.name} is taken`,
      );
      if (taken === other) continue;
    }
    byVersion.set(entry.version, entry);
  }
  switch (policy.kind) {
    case "all":
      return { chosen: [...byVersion.values()], warnings };
    case "latest": {
      const versions = [...byVersion.keys()].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
      const newest = versions.slice(0, Math.max(1, policy.numVersions));
      return { chosen: newest.map((version) => byVersion.get(version)!), warnings };
    }
    case "specific": {
      const chosen: VersionEntry[] = [];
      for (const version of new Set(policy.versions)) {
        const entry = byVersion.get(version);
        if (entry !== undefined) chosen.push(entry);
        else warnings.push(`version ${version} was asked for and is not there`);
      }
      return { chosen, warnings };
    }
  }
}
