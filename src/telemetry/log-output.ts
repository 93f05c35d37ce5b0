import type { Writable } from "node:stream";

/** Characters that may wait for a slow reader before lines that can be spared are left out. */
const sparedLimit = 1 << 20;
/** Characters that may wait at all: memory must have an end, even for errors. */
const keptLimit = 32 << 20;

/**
 * The one way out for log lines. Lines of one turn of the event loop leave in one write, and one write is under way at
 * a time, so that what waits is counted here and not hidden in a stream's own queue.
 *
 * When the reader is slow, lines that can be spared are left out beyond 1 Mi characters of backlog, the others beyond
 * 32 Mi; `onDrop` is told how many once the backlog has halved.
 *
 * Lines that the stream fails to write (a full disk, most often) are left out too, and told of once one has gone through;
 * whatever comes is tried. Only a reader that went away for good (EPIPE) ends it.
 */
export class LogOutput {
  /** Lines left out so far. */
  dropped = 0;
  readonly #stream: Writable;
  readonly #onDrop: (lines: number) => void;
  #waiting: string[] = [];
  /** Characters waiting or being written. */
  #backlog = 0;
  #writing = false;
  #scheduled = false;
  #broken = false;
  /** The last write failed, and may have left a part of a line. */
  #failing = false;
  #untold = 0;
  #idleListeners: (() => void)[] = [];

  constructor(stream: Writable, onDrop: (lines: number) => void) {
    this.#stream = stream;
    this.#onDrop = onDrop;
    // No error must end the server. Of a reader that went away, there is nobody left to tell.
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") return;
      this.#broken = true;
      this.#waiting = [];
      this.#backlog = 0;
      this.#settle();
    });
  }

  /** @param line ends with a newline */
  write(line: string, spare: boolean): void {
    if (this.#broken || this.#backlog + line.length > (spare ? sparedLimit : keptLimit)) {
      this.dropped += 1;
      this.#untold += 1;
      return;
    }
    this.#waiting.push(line);
    this.#backlog += line.length;
    if (!this.#writing) this.#schedule();
  }

  /** Resolves when the stream has taken every line. As slow as its reader: whoever must not wait sets a limit. */
  flush(): Promise<void> {
    this.#tellDrops();
    this.#writeOut();
    if (this.#idle) return Promise.resolve();
    return new Promise((resolve) => this.#idleListeners.push(resolve));
  }

  get #idle(): boolean {
    return !this.#writing && this.#waiting.length === 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#writeOut();
    });
  }

  #writeOut(): void {
    if (this.#writing || this.#waiting.length === 0) return;
    const lines = this.#waiting;
    this.#waiting = [];
    const text = lines.join("");
    this.#writing = true;
    // After half a line, the next one begins on a line of its own.
    this.#stream.write(this.#failing ? `\n${text}` : text, (error) => {
      this.#writing = false;
      this.#failing = error !== null && error !== undefined;
      if (!this.#broken) this.#backlog -= text.length;
      if (this.#failing) {
        this.dropped += lines.length;
        this.#untold += lines.length;
        // Later, since the stream has not got over its error yet.
        if (this.#waiting.length > 0) this.#schedule();
      } else {
        if (this.#backlog <= sparedLimit / 2) this.#tellDrops();
        this.#writeOut();
      }
      this.#settle();
    });
  }

  #tellDrops(): void {
    if (this.#untold === 0 || this.#broken || this.#failing) return;
    const lines = this.#untold;
    this.#untold = 0;
    this.#onDrop(lines);
  }

  #settle(): void {
    if (!this.#idle) return;
    for (const listener of this.#idleListeners.splice(0)) listener();
  }
}
