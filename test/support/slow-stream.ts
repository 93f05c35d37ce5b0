import { Writable } from "node:stream";

/** A stream whose reader is asleep: each write waits until drainOne or drainAll. */
export class SlowStream extends Writable {
  text = "";
  #waiting: (() => void)[] = [];
  #awake = false;

  constructor() {
    super({ decodeStrings: false, highWaterMark: 1 << 30 });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    if (this.#awake) done();
    else this.#waiting.push(done);
  }

  /** Writes from now on end at once. */
  wake(): void {
    this.#awake = true;
    for (const done of this.#waiting.splice(0)) done();
  }

  get lines(): string[] {
    return this.text.split("\n").slice(0, -1);
  }
}
