// In what order versions of one model are loaded and unloaded. (Which versions are aspired to at all is the version
// policy's business.)

export interface VersionSnapshot {
  readonly version: bigint;
  /** "new": nothing has been tried; "ended": failed, and not to be tried again; "unloading": until it is gone. */
  readonly stage: "new" | "loading" | "ready" | "unloading" | "ended";
  readonly aspired: boolean;
}

export interface VersionAction<S> {
  readonly action: "load" | "unload";
  readonly target: S;
}

/** A policy looks at all versions of one model and names the next step, if any. It holds no state of its own. */
export type AspiredVersionPolicy = <S extends VersionSnapshot>(versions: readonly S[]) => VersionAction<S> | undefined;

/**
 * Never leaves a model without a version that can answer while one is wanted: what is no longer aspired is unloaded once
 * an aspired version is ready (or when nothing is aspired), the smallest number first; until then one of them stays. A
 * version that is being loaded anew answers as it was until the new one does, for good when that never comes.
 * Aspired versions are loaded from the largest number down.
 */
export const availabilityPreserving: AspiredVersionPolicy = (versions) => {
  const unwanted = versions
    .filter(({ stage, aspired, version }) => stage === "ready" && !aspired && !isBeingReplaced(versions, version))
    .sort(byVersion);
  const replaceable =
    versions.every(({ aspired }) => !aspired) ||
    versions.some(({ stage, aspired }) => stage === "ready" && aspired) ||
    unwanted.length > 1;
  if (replaceable && unwanted.length > 0) return { action: "unload", target: unwanted[0]! };
  const waiting = versions.filter(({ stage, aspired }) => stage === "new" && aspired).sort(byVersion);
  const next = waiting.at(-1);
  return next && { action: "load", target: next };
};

function isBeingReplaced(versions: readonly VersionSnapshot[], version: bigint): boolean {
  return versions.some((other) => other.version === version && other.aspired && other.stage !== "ready");
}

function byVersion(a: VersionSnapshot, b: VersionSnapshot): number {
  return a.version < b.version ? -1 : a.version > b.version ? 1 : 0;
}
