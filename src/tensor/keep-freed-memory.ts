import { discardBytes } from "./discard-bytes.js";

const probeBytes = 8 * 1024 * 1024;
let kept = false;

/**
 * Makes the process keep memory that it has freed, within bounds, instead of giving it to the system, which hands it back
 * page by page and zeroed. glibc has no other lever that can be reached from here: once a large block has been freed, it
 * keeps blocks up to that size for its own, and gives back what is free at the end of an arena from twice that size on.
 * So it does by itself, when it has seen such a block; here one is shown to it, of 8 MiB, that is never written to.
 * Counts for the whole process. With another C library, it does nothing.
 */
export function keepFreedMemory(): void {
  if (kept) return;
  kept = true;
  discardBytes(Buffer.allocUnsafeSlow(probeBytes));
}
