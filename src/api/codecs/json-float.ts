// Floats as TensorFlow Serving prints them: C's %g with 6 significant digits where that reads back as the same number,
// else with 9 (float32) or 17 (float64); a ".0" where nothing else says that it is a float; NaN and Infinity bare.
//
// Written by hand because it is most of what answering costs: a float32 takes 9 digits from one multiplication in
// doubles, whose error is far below half a digit. Where it is not, and outside of the powers of ten that doubles hold
// exactly, the exact way is taken.

/** Powers of ten that are exact as doubles. */
const powersOfTen = Float64Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));

/** No float takes more bytes. */
export const longestFloat = 25;

/** Writes a float32 at `position` and returns the position behind it. There must be room for the longest. */
export function writeFloat32(bytes: Uint8Array, position: number, value: number): number {
  let at = position;
  if (value < 0 || Object.is(value, -0)) {
    bytes[at++] = 0x2d;
    value = -value;
  }
  if (value < 1e6 && Math.floor(value) === value) return writeWhole(bytes, at, value);
  if (!(value < Infinity)) return writeWord(bytes, at, value);

  // The decimal exponent from the binary one: 1233 / 4096 is log10(2), near enough
  // for exponents this small. What comes out may be one too low.
  floatCell[0] = value;
  let exponent = (((bitsCell[0]! >> 23) - 127) * 1233) >> 12;
  if (exponent < -13 || exponent > 26) return writeExactly(bytes, at, value, 9, Math.fround);
  let scaled = scale(value, 8 - exponent);
  if (scaled >= 1e9) scaled = scale(value, 8 - ++exponent);

  const six = Math.round(scaled / 1000);
  // Had six digits been enough, nine could not differ by more than half a unit in the float32's last place.
  if (Math.abs(six * 1000 - scaled) < 64) {
    if (readsBack(scale(six, exponent - 5), value, Math.fround)) {
      return six === 1e6
        ? writeDigits(bytes, at, 1e5, 6, exponent + 1, 6)
        : writeDigits(bytes, at, six, 6, exponent, 6);
    }
  }
  const nine = Math.floor(scaled);
  const rest = scaled - nine;
  if (rest > 0.499999 && rest < 0.500001) return writeExactly(bytes, at, value, 9, Math.fround);
  const rounded = rest < 0.5 ? nine : nine + 1;
  return rounded === 1e9
    ? writeDigits(bytes, at, 1e8, 9, exponent + 1, 9)
    : writeDigits(bytes, at, rounded, 9, exponent, 9);
}

/** Writes a float64 at `position` and returns the position behind it. There must be room for the longest. */
export function writeFloat64(bytes: Uint8Array, position: number, value: number): number {
  let at = position;
  if (value < 0 || Object.is(value, -0)) {
    bytes[at++] = 0x2d;
    value = -value;
  }
  if (value < 1e6 && Math.floor(value) === value) return writeWhole(bytes, at, value);
  if (!(value < Infinity)) return writeWord(bytes, at, value);
  return writeExactly(bytes, at, value, 17, undefined);
}

const floatCell = new Float32Array(1);
const bitsCell = new Int32Array(floatCell.buffer);

/** value × 10^power, rounded once; power from -22 to 22. */
function scale(value: number, power: number): number {
  return power < 0 ? value / powersOfTen[-power]! : value * powersOfTen[power]!;
}

/** By the library's own digits, which are exact. */
function writeExactly(
  bytes: Uint8Array,
  position: number,
  value: number,
  fullPrecision: number,
  narrow: ((value: number) => number) | undefined,
): number {
  const six = narrow !== undefined || mayTakeSixDigits(value) ? value.toExponential(5) : "";
  const precision = six !== "" && readsBack(Number(six), value, narrow) ? 6 : fullPrecision;
  const text = precision === 6 ? six : toExponentialEven(value, precision - 1);
  const split = text.indexOf("e");
  scratch[0] = text.charCodeAt(0);
  for (let i = 2; i < split; i += 1) scratch[i - 1] = text.charCodeAt(i);
  return layOut(bytes, position, precision, Number(text.slice(split + 1)), precision);
}

/**
 * Whether a text whose double is `read` stands for `value`. Half-way between two float32 the double tells only if it is
 * the text's very number; if not, the answer is no.
 */
function readsBack(read: number, value: number, narrow: ((value: number) => number) | undefined): boolean {
  if (read === value) return true;
  if (narrow === undefined || narrow(read) !== value) return false;
  const beyond = 2 * read - value;
  return narrow(beyond) !== beyond || /^\d\.\d{5}0*e/.test(read.toExponential(60));
}

/** False for most of the float64 that six digits do not give, for the price of a logarithm. */
function mayTakeSixDigits(value: number): boolean {
  const exponent = Math.floor(Math.log10(value));
  if (exponent < -16 || exponent > 26) return true;
  // A whole number of these units, or of ten or a tenth of them when the logarithm is off by one.
  const units = 10 * scale(value, 5 - exponent);
  return Math.abs(units - Math.round(units)) < 1e-4;
}

/** toExponential that, half-way between two texts, takes the even one as C does; JavaScript takes the larger. */
function toExponentialEven(value: number, fractionDigits: number): string {
  const text = value.toExponential(fractionDigits);
  const split = text.indexOf("e");
  if ((text.charCodeAt(split - 1) & 1) === 0) return text;
  const oneMore = value.toExponential(fractionDigits + 1);
  if (oneMore.charCodeAt(oneMore.indexOf("e") - 1) !== 0x35) return text;
  if (!/^50*e/.test(value.toExponential(60).slice(fractionDigits + 2))) return text;
  return text.slice(0, split - 1) + String.fromCharCode(text.charCodeAt(split - 1) - 1) + text.slice(split);
}

/** Digits on their way to the layout, as characters. */
const scratch = new Uint8Array(17);

function writeDigits(
  bytes: Uint8Array,
  position: number,
  digits: number,
  count: number,
  exponent: number,
  precision: number,
): number {
  let rest = digits;
  for (let i = count - 1; i >= 0; i -= 1) {
    const tens = (rest / 10) | 0;
    scratch[i] = 0x30 + (rest - 10 * tens);
    rest = tens;
  }
  return layOut(bytes, position, count, exponent, precision);
}

/** Writes the digits in `scratch`, d.ddd × 10^exponent, as %g with that precision does. */
function layOut(bytes: Uint8Array, position: number, count: number, exponent: number, precision: number): number {
  let at = position;
  let significant = count;
  while (significant > 1 && scratch[significant - 1] === 0x30) significant -= 1;

  if (exponent < -4 || exponent >= precision) {
    bytes[at++] = scratch[0]!;
    if (significant > 1) bytes[at++] = 0x2e;
    for (let i = 1; i < significant; i += 1) bytes[at++] = scratch[i]!;
    bytes[at++] = 0x65;
    bytes[at++] = exponent < 0 ? 0x2d : 0x2b;
    const magnitude = Math.abs(exponent);
    if (magnitude >= 100) bytes[at++] = 0x30 + Math.floor(magnitude / 100);
    bytes[at++] = 0x30 + (Math.floor(magnitude / 10) % 10);
    bytes[at++] = 0x30 + (magnitude % 10);
    return at;
  }
  if (exponent < 0) {
    bytes[at++] = 0x30;
    bytes[at++] = 0x2e;
    for (let zeros = -exponent - 1; zeros > 0; zeros -= 1) bytes[at++] = 0x30;
    for (let i = 0; i < significant; i += 1) bytes[at++] = scratch[i]!;
    return at;
  }
  for (let i = 0; i <= exponent; i += 1) bytes[at++] = i < significant ? scratch[i]! : 0x30;
  bytes[at++] = 0x2e;
  if (significant <= exponent + 1) bytes[at++] = 0x30;
  for (let i = exponent + 1; i < significant; i += 1) bytes[at++] = scratch[i]!;
  return at;
}

/** A whole number below a million. */
function writeWhole(bytes: Uint8Array, position: number, value: number): number {
  let at = writeUint32(bytes, position, value);
  bytes[at++] = 0x2e;
  bytes[at++] = 0x30;
  return at;
}

/** Writes a whole number from 0 to 2^32 - 1; at most 10 bytes. */
export function writeUint32(bytes: Uint8Array, position: number, value: number): number {
  let length = 1;
  for (let bound = 10; value >= bound; bound *= 10) length += 1;
  let rest = value;
  for (let at = position + length - 1; at >= position; at -= 1) {
    const tens = Math.floor(rest / 10);
    bytes[at] = 0x30 + (rest - 10 * tens);
    rest = tens;
  }
  return position + length;
}

function writeWord(bytes: Uint8Array, position: number, value: number): number {
  const word = Number.isNaN(value) ? "NaN" : "Infinity";
  for (let i = 0; i < word.length; i += 1) bytes[position + i] = word.charCodeAt(i);
  return position + word.length;
}
