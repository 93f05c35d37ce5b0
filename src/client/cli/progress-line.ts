import type { CommandIo } from "./command-line.js";

/** A line at the bottom of a terminal that is written over and over, with lasting lines above it. Nothing where there is no terminal. */
export class ProgressLine {
  readonly #io: CommandIo;
  #shown = false;

  constructor(io: CommandIo) {
    this.#io = io;
  }

  /** In the place of what was shown before. */
  show(text: string): void {
    const { columns } = this.#io;
    if (columns === undefined) return;
    // The last column is left free: some terminals break the line when it is written.
    this.#io.out(`\r\u001b[K${text.slice(0, Math.max(0, columns - 1))}`);
    this.#shown = true;
  }

  /** A line that stays. */
  print(line: string): void {
    this.clear();
    this.#io.out(`${line}\n`);
  }

  clear(): void {
    if (this.#shown) this.#io.out("\r\u001b[K");
    this.#shown = false;
  }
}

/** "[======>             ]  33%" */
export function formatBar(share: number, width = 24): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  const bar = full === width ? "=".repeat(width) : `${"=".repeat(full)}>`.padEnd(width);
  return `[${bar.slice(0, width)}] ${`${Math.floor(100 * Math.min(1, share))}%`.padStart(4)}`;
}
