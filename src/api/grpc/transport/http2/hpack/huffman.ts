// Strings in HPACK's Huffman code (RFC 7541, appendix B). The code is canonical: codes of one length count up in the order
// of their symbols, so the lengths say everything.
import { ConnectionError, ErrorCode } from "../protocol.js";

/** Bits of the code of each byte value, and of the end of the string (256). */
// biome-ignore format: sixteen to a line, as bytes are numbered
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const endOfString = 256;

/**
 * Decoding takes four bits a step. The state is how far down the code's tree we are; transitions[state << 4 | nibble] holds
 * the next state in its low 16 bits, and above them 1 + the byte that came out on the way, or 0: the shortest code has five
 * bits, so one step completes one byte at most.
 */
const { transitions, endsWell } = buildDecoder();
const failure = 0xffff;

/**
 * Decodes bytes[start, end) into target from offset on, which must have room for 8/5 of the input.
 * @returns the offset after what was written
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  offset: number,
): number {
  let state = 0;
  let to = offset;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    const high = transitions[(state << 4) | (byte >> 4)]!;
    if (high > failure) target[to++] = (high >>> 16) - 1;
    state = high & failure;
    if (state === failure) throw invalid();
    const low = transitions[(state << 4) | (byte & 15)]!;
    if (low > failure) target[to++] = (low >>> 16) - 1;
    state = low & failure;
    if (state === failure) throw invalid();
  }
  if (endsWell[state] !== 1) throw invalid();
  return to;
}

function invalid(): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, "header string is not valid Huffman code");
}

function buildDecoder(): { transitions: Uint32Array; endsWell: Uint8Array } {
  // The tree: two children for each inner node; a child is an inner node (≥ 0) or ~symbol.
  const children: number[] = [];
  const newNode = (): number => children.push(0, 0) / 2 - 1;
  newNode();
  const symbols = codeLengths.map((_length, symbol) => symbol);
  symbols.sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  let code = 0;
  let codeLength = 0;
  for (const symbol of symbols) {
    const length = codeLengths[symbol]!;
    code *= 2 ** (length - codeLength);
    codeLength = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const slot = node * 2 + ((code >> bit) & 1);
      if (children[slot] === 0) children[slot] = newNode();
      node = children[slot]!;
    }
    children[node * 2 + (code & 1)] = ~symbol;
    code += 1;
  }

  const states = children.length / 2;
  const table = new Uint32Array(states * 16);
  for (let state = 0; state < states; state++) {
    for (let nibble = 0; nibble < 16; nibble++) table[state * 16 + nibble] = step(children, state, nibble);
  }
  // What is left at the end must be fewer than 8 bits of the end-of-string code, which is all ones.
  const good = new Uint8Array(states);
  for (let bits = 0, node = 0; bits < 8; bits++) {
    good[node] = 1;
    node = children[node * 2 + 1]!;
  }
  return { transitions: table, endsWell: good };
}

function step(children: readonly number[], from: number, nibble: number): number {
  let node = from;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = children[node * 2 + ((nibble >> bit) & 1)]!;
    if (next >= 0) {
      node = next;
    } else if (~next === endOfString) {
      return 0xffff;
    } else {
      emitted = ~next + 1;
      node = 0;
    }
  }
  return emitted * 65_536 + node;
}
