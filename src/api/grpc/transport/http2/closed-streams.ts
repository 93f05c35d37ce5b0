import type { StreamEnd } from "./http2-stream.js";

const remembered = 256;

/** How the streams that closed last were closed: what becomes of frames that still come for them depends on it. */
export class ClosedStreams {
  readonly #ids = new Int32Array(remembered);
  readonly #ends: StreamEnd[] = new Array(remembered).fill("ended");
  #next = 0;

  add(id: number, end: StreamEnd): void {
    this.#ids[this.#next] = id;
    this.#ends[this.#next] = end;
    this.#next = (this.#next + 1) % remembered;
  }

  /** Undefined: it closed long ago, or was never opened. */
  endOf(id: number): StreamEnd | undefined {
    const index = this.#ids.indexOf(id);
    return index < 0 ? undefined : this.#ends[index];
  }
}
