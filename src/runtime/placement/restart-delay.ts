const firstMs = 100;
const longestMs = 30_000;

/** How long a worker that died leaves its place empty: 100 ms, doubling with each death in a row up to 30 s. */
export function restartDelayMs(deathsBefore: number): number {
  return Math.min(longestMs, firstMs * 2 ** Math.min(deathsBefore, 20));
}

/** A worker that served so long before it died has nothing to do with the deaths before. */
export const stableAfterMs = 60_000;
