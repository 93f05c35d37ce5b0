// Just enough of WebAssembly's binary format to write number loops by hand: functions over an imported memory, with
// SIMD. Instructions are lists of bytes that nest as expressions do.

export type Code = readonly number[];
export type ValueType = "i32" | "f32" | "f64" | "v128";

/** A parameter or local variable of a function. */
export interface Variable {
  readonly type: ValueType;
  readonly get: Code;
  set(value: Code): Code;
}

/** One exported function. Declare parameters, then locals, then emit the body. */
export class WasmFunction {
  readonly name: string;
  readonly result: ValueType | undefined;
  readonly params: ValueType[] = [];
  readonly locals: ValueType[] = [];
  readonly body: number[] = [];

  constructor(name: string, result?: ValueType) {
    this.name = name;
    this.result = result;
  }

  param(type: ValueType): Variable {
    this.params.push(type);
    return variable(type, this.params.length - 1);
  }

  local(type: ValueType): Variable {
    this.locals.push(type);
    return variable(type, this.params.length + this.locals.length - 1);
  }

  emit(...code: readonly Code[]): void {
    for (const part of code) this.body.push(...part);
  }
}

function variable(type: ValueType, index: number): Variable {
  return { type, get: [0x20, ...unsigned(index)], set: (value) => [...value, 0x21, ...unsigned(index)] };
}

/** The bytes of a module whose functions share one memory, imported as memory.memory. */
export function assembleModule(functions: readonly WasmFunction[]): Uint8Array {
  const types = functions.map(({ params, result }) => [
    0x60,
    ...vector(params.map((type) => [typeCodes[type]])),
    ...vector(result === undefined ? [] : [[typeCodes[result]]]),
  ]);
  const importedMemory = [...name("memory"), ...name("memory"), 0x02, 0x00, ...unsigned(1)];
  const exports = functions.map((made, index) => [...name(made.name), 0x00, ...unsigned(index)]);
  const bodies = functions.map(({ locals, body }) => {
    const declared = vector(locals.map((type) => [...unsigned(1), typeCodes[type]]));
    const code = [...declared, ...body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d], // "\0asm"
    ...[0x01, 0x00, 0x00, 0x00], // version 1
    ...section(1, vector(types)),
    ...section(2, vector([importedMemory])),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(exports)),
    ...section(10, vector(bodies)),
  ]);
}

const typeCodes: Readonly<Record<ValueType, number>> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): Code {
  const bytes = [...new TextEncoder().encode(text)];
  return [...unsigned(bytes.length), ...bytes];
}

/** LEB128. */
function unsigned(value: number): Code {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return [...bytes, rest];
}

function signed(value: number): Code {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 63 || rest < -64) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>= 7;
  }
  return [...bytes, rest & 0x7f];
}

const binary =
  (...opcode: readonly number[]) =>
  (a: Code, b: Code): Code => [...a, ...b, ...opcode];
const single =
  (...opcode: readonly number[]) =>
  (a: Code): Code => [...a, ...opcode];
const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];

export const i32 = {
  constant: (value: number): Code => [0x41, ...signed(value)],
  add: binary(0x6a),
  shiftLeft: binary(0x74),
  lessUnsigned: binary(0x49),
};
export const f64 = { add: binary(0xa0) };
/** Memory accesses are aligned to 16 bytes. */
export const v128 = {
  load: (address: Code): Code => [...address, ...simd(0x00), 4, 0],
  store: (address: Code, value: Code): Code => [...address, ...value, ...simd(0x0b), 4, 0],
  and: binary(...simd(0x4e)),
  /** The upper two of four floats, moved down. */
  upperHalf: (value: Variable): Code => [
    ...value.get,
    ...value.get,
    ...simd(0x0d),
    ...[8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15],
  ],
};
export const f32x4 = {
  splat: single(...simd(0x13)),
  less: binary(...simd(0x43)),
  greater: binary(...simd(0x44)),
  neg: single(...simd(0xe1)),
  sqrt: single(...simd(0xe3)),
  add: binary(...simd(0xe4)),
  sub: binary(...simd(0xe5)),
  mul: binary(...simd(0xe6)),
  div: binary(...simd(0xe7)),
  min: binary(...simd(0xe8)),
  max: binary(...simd(0xe9)),
};
export const f64x2 = {
  add: binary(...simd(0xf0)),
  mul: binary(...simd(0xf2)),
  /** The lower two of four floats as doubles. */
  promoteLow: single(...simd(0x5f)),
  lane: (value: Code, index: number): Code => [...value, ...simd(0x21), index],
};

/** Repeats the body, which must be entered once at least, as long as the condition holds after it. */
export function repeatWhile(body: Code, condition: Code): Code {
  return [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b];
}
