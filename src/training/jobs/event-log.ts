// A job's events: an append-only file, which watchers read at their own pace. Nothing is held in memory for them, so
// that a slow one costs nothing and an old one misses nothing.
import { type FileHandle, open, truncate } from "node:fs/promises";
import type { Cancellation } from "../../cancellation.js";
import { dataLoss, outOfRange } from "../../status.js";
import { diskError, readIfThere } from "./durable-file.js";
import type { JobEvent, JobEventKind } from "./job.js";

export class EventLog {
  /** The last event there was when the log was opened. */
  readonly newest: JobEvent | undefined;
  readonly #path: string;
  /** Open while there is more to come. */
  #file: FileHandle | undefined;
  /** Of events that are wholly written, and where the next one goes. */
  #last: number;
  #bytes: number;
  #appends: Promise<void> = Promise.resolve();
  readonly #waiting = new Set<() => void>();
  #complete: boolean;

  private constructor(
    path: string,
    { newest, last, bytes, complete }: Pick<EventLog, "newest" | "last"> & { bytes: number; complete: boolean },
  ) {
    this.newest = newest;
    this.#path = path;
    this.#last = last;
    this.#bytes = bytes;
    this.#complete = complete;
  }

  /**
   * A last line that a crash has cut is taken off.
   * @param complete whether its job has ended, and nobody need wait for more
   */
  static async open(path: string, complete: boolean): Promise<EventLog> {
    const content = (await readIfThere(path)) ?? Buffer.alloc(0);
    const whole = content.lastIndexOf(0x0a) + 1;
    if (whole < content.length) await truncate(path, whole);
    let lines = 0;
    for (let at = content.indexOf(0x0a); at >= 0; at = content.indexOf(0x0a, at + 1)) lines += 1;
    const begin = content.lastIndexOf(0x0a, whole - 2) + 1;
    const newest = lines === 0 ? undefined : (JSON.parse(content.toString("utf8", begin, whole)) as JobEvent);
    return new EventLog(path, { newest, last: lines, bytes: whole, complete });
  }

  /** Sequence number of the newest event; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /**
   * Resolves once the event is in the file; with `sync`, once it is on the disk. RESOURCE_EXHAUSTED on a full disk: then
   * nothing of the event stays behind.
   */
  append(event: JobEventKind, time: number, { sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    this.#complete = false;
    const appended = this.#appends.then(async () => {
      const line = Buffer.from(`${JSON.stringify({ sequence: this.#last + 1, time, ...event })}\n`);
      try {
        this.#file ??= await open(this.#path, "a");
        await this.#file.appendFile(line);
        if (sync) await this.#file.sync();
      } catch (error) {
        await truncate(this.#path, this.#bytes).catch(() => {});
        throw diskError(error);
      }
      this.#last += 1;
      this.#bytes += line.length;
      this.#wake();
    });
    this.#appends = appended.catch(() => {});
    return appended;
  }

  /** There will be no more for now: watchers that have read all come to their end. */
  async complete(): Promise<void> {
    await this.close();
    this.#complete = true;
    this.#wake();
  }

  /**
   * Events from one on, then those to come until the log is complete.
   * Errors: OUT_OF_RANGE when the log is complete and has no such event; the cancellation's reason.
   */
  async *watch(from: number, cancellation: Cancellation): AsyncGenerator<JobEvent> {
    if (this.#complete && from > this.#last + 1) {
      throw outOfRange(`the job has ended and has ${this.#last} events; there is no event ${from}`);
    }
    let lines: LineReader | undefined;
    try {
      for (let next = 1; ; ) {
        while (next <= this.#last) {
          lines ??= new LineReader(await open(this.#path, "r"));
          const line = await lines.next();
          if (line === undefined) throw dataLoss(`event ${next} cannot be read from ${this.#path}`);
          if (next >= from) yield JSON.parse(line) as JobEvent;
          next += 1;
        }
        if (this.#complete) return;
        await this.#change(() => next <= this.#last || this.#complete, cancellation);
      }
    } finally {
      await lines?.close();
    }
  }

  /** Gives the file back; what is appended later opens it again. */
  async close(): Promise<void> {
    await this.#appends;
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look();
  }

  #change(happened: () => boolean, cancellation: Cancellation): Promise<void> {
    return new Promise((resolve, reject) => {
      let undo = () => {};
      const look = () => {
        if (!happened()) return;
        this.#waiting.delete(look);
        undo();
        resolve();
      };
      this.#waiting.add(look);
      undo = cancellation.onCancel((reason) => {
        this.#waiting.delete(look);
        reject(reason);
      });
      look();
    });
  }
}

/** Whole lines of a file that grows. */
class LineReader {
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(64 * 1024);
  #position = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** undefined when there is none yet. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf(0x0a);
      if (end >= 0) {
        const line = this.#rest.toString("utf8", 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      const { bytesRead } = await this.#file.read(this.#buffer, 0, this.#buffer.length, this.#position);
      if (bytesRead === 0) return undefined;
      this.#position += bytesRead;
      this.#rest = Buffer.concat([this.#rest, this.#buffer.subarray(0, bytesRead)]);
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
