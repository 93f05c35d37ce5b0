// Protobuf messages written field by field, in every way the format allows and no encoder uses.

export function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return out;
}

export function varintField(field: number, value: number | bigint): number[] {
  return [...varint((field << 3) | 0), ...varint(value)];
}

export function bytesField(field: number, payload: Iterable<number> | string): number[] {
  const bytes = typeof payload === "string" ? [...Buffer.from(payload)] : [...payload];
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...bytes];
}

export function fixed32Field(field: number, payload: Iterable<number>): number[] {
  return [...varint((field << 3) | 5), ...payload];
}

export function fixed64Field(field: number, payload: Iterable<number>): number[] {
  return [...varint((field << 3) | 1), ...payload];
}

export function group(field: number, content: Iterable<number>): number[] {
  return [...varint((field << 3) | 3), ...content, ...varint((field << 3) | 4)];
}

export function floatBytes(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

export function doubleBytes(value: number): number[] {
  return [...new Uint8Array(Float64Array.of(value).buffer)];
}

/** A map entry: field 1 is the key, field 2 the value. */
export function entry(field: number, key: string, value: Iterable<number>): number[] {
  return bytesField(field, [...bytesField(1, key), ...bytesField(2, value)]);
}

/** A TensorShapeProto's bytes. */
export function shape(...sizes: (number | bigint)[]): number[] {
  return sizes.flatMap((size) => bytesField(2, size === 0 ? [] : varintField(1, size)));
}
