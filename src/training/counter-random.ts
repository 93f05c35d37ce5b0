/**
 * Random numbers by position: the same seed, stream and index give the same number, in any order, with nothing to
 * save in between. So a resumed training draws what an uninterrupted one would have.
 */
export class CounterRandom {
  readonly #key: number;
  readonly #otherKey: number;

  /** Streams of one seed are independent of each other. */
  constructor(seed: number, ...stream: readonly number[]) {
    // Seeds may have up to 53 bits.
    let key = mix(seed >>> 0) ^ mix(Math.floor(seed / 2 ** 32) + 0x9e3779b9);
    for (const part of stream) key = mix(key + 0x9e3779b9) ^ mix(part + 0x85ebca6b);
    this.#key = key;
    this.#otherKey = mix(key ^ 0xc2b2ae35);
  }

  /** A whole number from 0 to 2^32 - 1. */
  bits(index: number): number {
    return mix(mix((index ^ this.#key) >>> 0) + this.#otherKey) >>> 0;
  }

  /** From 0 to 1, 1 excluded. */
  uniform(index: number): number {
    return this.bits(index) / 2 ** 32;
  }

  /** Mean 0, variance 1. Takes the numbers 2·index and 2·index + 1. */
  normal(index: number): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform(2 * index)));
    return radius * Math.cos(2 * Math.PI * this.uniform(2 * index + 1));
  }

  /** The numbers from 0 to count - 1 in random order. */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, index) => index);
    for (let last = count - 1; last > 0; last--) {
      const other = Math.floor(this.uniform(last) * (last + 1));
      const moved = order[last]!;
      order[last] = order[other]!;
      order[other] = moved;
    }
    return order;
  }
}

/** Spreads every bit of 32 over all others (the finaliser of MurmurHash3). */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** What streams are drawn for. */
export const randomStreams = { initialWeights: 1, shuffle: 2, dropout: 3, split: 4 } as const;
