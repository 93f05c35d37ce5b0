// IEEE 754 binary16 and bfloat16 as bit patterns, since Node 20 has no Float16Array.

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);

/** The value of a binary16 bit pattern; exact. */
export function float16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * The binary16 nearest to a number, ties to even, too large becoming infinite. Rounds once, from the double itself:
 * going through float32 would round twice.
 */
export function numberToFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00; // half-way between 65504 and what 2^16 would be
  // Below 2^-14 numbers lie 2^-24 apart; above, 1024 to each power of two.
  const exponent = magnitude < 2 ** -14 ? -14 : Math.floor(Math.log2(magnitude));
  let scale = exponent;
  if (magnitude >= 2 ** -14) {
    // Math.log2 may be off by one beside a power of two.
    if (2 ** scale > magnitude) scale -= 1;
    else if (2 ** (scale + 1) <= magnitude) scale += 1;
  }
  const steps = roundToEven(magnitude / 2 ** (scale - 10));
  // A carry out of the fraction moves into the exponent by itself.
  return sign | (magnitude < 2 ** -14 ? steps : ((scale + 15) << 10) + (steps - 1024));
}

/** The value of a bfloat16 bit pattern; exact. */
export function bfloat16ToNumber(pattern: number): number {
  bits[0] = pattern << 16;
  return floats[0]!;
}

function roundToEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest > 0.5 || (rest === 0.5 && down % 2 === 1)) return down + 1;
  return down;
}
