import { ConnectionError, ErrorCode } from "./protocol.js";

/** A header block that goes on in CONTINUATION frames. Nothing else may come on the connection before it has ended. */
export class HeaderBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  readonly #maxBytes: number;
  readonly #maxContinuations: number;
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  constructor(streamId: number, endStream: boolean, maxBytes: number, maxContinuations: number) {
    this.streamId = streamId;
    this.endStream = endStream;
    this.#maxBytes = maxBytes;
    this.#maxContinuations = maxContinuations;
  }

  /** @throws ConnectionError when the block is too large or in too many pieces: it cannot be skipped, only refused */
  add(chunk: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#bytes > this.#maxBytes || this.#parts.length > this.#maxContinuations) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large, or in too many frames");
    }
    this.#parts.push(Buffer.from(chunk.subarray(start, end)));
  }

  whole(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
