import type { Readable, Writable } from "node:stream";

/**
 * Hands on what a process prints in whole lines, so that lines of several processes do not run into each other. A reader
 * that is slow slows the process that prints, which leaves lines out and counts them.
 */
export function forwardWholeLines(from: Readable, to: Writable): void {
  let rest: Buffer[] = [];
  from.on("data", (chunk: Buffer) => {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end === 0) {
      rest.push(chunk);
      return;
    }
    const lines = Buffer.concat([...rest, chunk.subarray(0, end)]);
    rest = end < chunk.length ? [chunk.subarray(end)] : [];
    if (to.write(lines)) return;
    from.pause();
    to.once("drain", () => from.resume());
  });
  from.on("end", () => {
    if (rest.length > 0) to.write(Buffer.concat([...rest, Buffer.from("\n")]));
  });
}
