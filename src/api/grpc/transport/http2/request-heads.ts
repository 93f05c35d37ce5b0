import { HpackDecoder } from "./hpack/decoder.js";
import { parseRequestHead, type RequestHead } from "./request-head.js";

/** Blocks that are known again: clients send one for each method they call, the same with every call. */
const maxKnownBlocks = 8;
const maxKnownBytes = 1024;

interface KnownBlock {
  readonly bytes: Buffer;
  readonly head: RequestHead;
}

/**
 * Header blocks into request heads. A block seen before, while the header table has not changed since, needs no decoding:
 * only blocks that do not change the table themselves are kept.
 */
export class RequestHeads {
  readonly #decoder: HpackDecoder;
  #known: KnownBlock[] = [];
  /** Of the header table that the known blocks refer to. */
  #knownVersion = 0;
  #nextKnown = 0;

  /** @param maxListBytes see Http2Limits.maxHeaderListBytes */
  constructor(maxTableBytes: number, maxListBytes: number) {
    this.#decoder = new HpackDecoder(maxTableBytes, maxListBytes);
  }

  /**
   * @returns "too large" when the header list is
   * @throws ConnectionError when the block cannot be decoded, StreamError when the request is malformed
   */
  decode(block: Buffer, start: number, end: number): RequestHead | "too large" {
    const decoder = this.#decoder;
    if (decoder.tableVersion === this.#knownVersion) {
      for (const known of this.#known) {
        if (equal(known.bytes, block, start, end)) return known.head;
      }
    }
    const { fields, truncated, repeatable } = decoder.decode(block, start, end);
    if (decoder.tableVersion !== this.#knownVersion) {
      this.#knownVersion = decoder.tableVersion;
      this.#known = [];
      this.#nextKnown = 0;
    }
    if (truncated) return "too large";
    const head = parseRequestHead(fields);
    if (repeatable && end - start <= maxKnownBytes) {
      this.#known[this.#nextKnown] = { bytes: Buffer.from(block.subarray(start, end)), head };
      this.#nextKnown = (this.#nextKnown + 1) % maxKnownBlocks;
    }
    return head;
  }

  /** Of trailers: name, value …. @throws ConnectionError when the block cannot be decoded */
  decodeFields(block: Buffer, start: number, end: number): readonly string[] {
    return this.#decoder.decode(block, start, end).fields;
  }
}

function equal(known: Buffer, block: Buffer, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let index = known.length - 1; index >= 0; index--) {
    if (known[index] !== block[start + index]) return false;
  }
  return true;
}
