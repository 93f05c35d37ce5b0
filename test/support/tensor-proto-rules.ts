// How a generated TensorProto is read, as TensorFlow does it, written for clearness: what the fast codec is compared with.
import { elementTypeOfTensorflow, type Tensor } from "../../src/tensor/index.js";
import type { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";

/** undefined where the message is no tensor. */
export function readByTheRules(message: TensorProto): Tensor | undefined {
  const info = elementTypeOfTensorflow(message.dtype);
  if (info === undefined) return undefined;
  const sizes = (message.tensorShape?.dim ?? []).map(({ size }) => size);
  if (sizes.length > 254 || sizes.some((size) => size < 0n)) return undefined;
  const count = sizes.reduce((product, size) => product * size, 1n);
  if (count >= 2n ** 53n) return undefined;
  const shape = sizes.map(Number);
  const n = Number(count);
  const content = Buffer.from(message.tensorContent);
  if (info.name === "string") {
    const given = n > 0 && content.length > 0 ? contentStrings(content, n) : message.stringVal.map(Buffer.from);
    if (given === undefined) return undefined;
    const texts = filled(given, n, Buffer.alloc(0)).map((bytes) =>
      new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes),
    );
    return { dtype: "string", shape, data: texts };
  }
  if (info.array === undefined) return undefined;
  if (n > 0 && content.length > 0) {
    if (content.length !== n * info.bytesPerElement) return undefined;
    if (info.name === "bool" && content.some((byte) => byte > 1)) return undefined;
    const copy = new Uint8Array(content);
    return { dtype: info.name, shape, data: new info.array(copy.buffer, 0, n) };
  }
  const data = new info.array(n);
  const values = filled<number | bigint>(
    typedValues(message, info.name),
    n,
    info.name.endsWith("64") && info.name !== "float64" ? 0n : 0,
  );
  for (let i = 0; i < n; i++) (data as Float64Array)[i] = values[i] as number;
  return { dtype: info.name, shape, data };
}

function typedValues(message: TensorProto, dtype: Tensor["dtype"]): (number | bigint)[] {
  switch (dtype) {
    case "float32":
      return message.floatVal;
    case "float64":
      return message.doubleVal;
    case "int64":
      return message.int64Val;
    case "uint64":
      return message.uint64Val;
    case "uint32":
      return message.uint32Val;
    case "bool":
      return message.boolVal.map(Number);
    case "float16":
    case "bfloat16":
      return message.halfVal;
    default:
      return message.intVal;
  }
}

function filled<T>(given: readonly T[], count: number, zero: T): T[] {
  return Array.from({ length: count }, (_, i) => given[Math.min(i, given.length - 1)] ?? zero);
}

function contentStrings(content: Buffer, count: number): Buffer[] | undefined {
  const lengths: number[] = [];
  let pos = 0;
  for (let i = 0; i < count; i++) {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      if (pos >= content.length) return undefined;
      const byte = content[pos++]!;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    lengths.push(length);
  }
  if (lengths.reduce((sum, length) => sum + length, 0) !== content.length - pos) return undefined;
  return lengths.map((length) => {
    pos += length;
    return content.subarray(pos - length, pos);
  });
}
