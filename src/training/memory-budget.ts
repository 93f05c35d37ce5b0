import { resourceExhausted } from "../status.js";

/** Throws RESOURCE_EXHAUSTED when something would take more than there is. To be asked before it is allocated. */
export function requireMemory(what: string, bytes: number, allowed: number): void {
  if (bytes <= allowed) return;
  throw resourceExhausted(
    `${what} would take ${inMegabytes(bytes)}; training may take ${inMegabytes(allowed)} (limits.max_memory_bytes, and the server's --training_memory_bytes)`,
  );
}

/** Of a weight: itself, its gradient and two running averages. */
export const bytesPerParameter = 16;

const inMegabytes = (bytes: number): string => `${Number((bytes / 2 ** 20).toPrecision(3))} MiB`;
