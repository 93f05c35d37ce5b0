import type { SeededRandom } from "./seeded-random.js";
import { varint } from "./wire-message.js";

/** Bytes changed, cut, doubled and put in, a few at a time. */
export function mangle(random: SeededRandom, original: Uint8Array): Uint8Array {
  let bytes = [...original];
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    switch (random.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes.splice(at, random.below(10));
        break;
      case 4:
        bytes.splice(at, 0, ...varint(random.uint64() >> BigInt(random.below(64))));
        break;
      default:
        bytes.splice(at, 0, ...bytes.slice(at, at + random.below(50)));
    }
  }
  return Uint8Array.from(bytes);
}
