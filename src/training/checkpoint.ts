// What a training needs to go on as if nothing had happened, as bytes: a digest, a description, and number arrays.
import { createHash } from "node:crypto";
import { dataLoss } from "../status.js";

export interface Checkpoint {
  /** Plain data, as JSON has it. */
  readonly state: unknown;
  readonly arrays: ReadonlyMap<string, Float32Array>;
}

const magic = "ONNXDCP1";
const digestBytes = 32;
const headBytes = magic.length + digestBytes + 4;

export function encodeCheckpoint({ state, arrays }: Checkpoint): Uint8Array {
  const described = [...arrays].map(([name, { length }]) => ({ name, length }));
  const description = Buffer.from(JSON.stringify({ state, arrays: described }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(description.length);
  const data = [...arrays.values()].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
  const body = [length, description, ...data];
  const digest = createHash("sha256");
  for (const part of body) digest.update(part);
  const bytes = Buffer.concat([Buffer.from(magic), digest.digest(), ...body]);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Throws DATA_LOSS when the bytes are not what was written. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < headBytes || buffer.toString("latin1", 0, magic.length) !== magic) {
    throw dataLoss("not a checkpoint");
  }
  const body = buffer.subarray(magic.length + digestBytes);
  const digest = createHash("sha256").update(body).digest();
  if (!digest.equals(buffer.subarray(magic.length, magic.length + digestBytes))) {
    throw dataLoss("the checkpoint is damaged: its digest does not match");
  }
  const descriptionBytes = body.readUInt32LE(0);
  const description = JSON.parse(body.toString("utf8", 4, 4 + descriptionBytes)) as {
    readonly state: unknown;
    readonly arrays: readonly { readonly name: string; readonly length: number }[];
  };
  const arrays = new Map<string, Float32Array>();
  let offset = 4 + descriptionBytes;
  for (const { name, length } of description.arrays) {
    // A copy, since nothing says that the bytes are aligned.
    const end = offset + length * Float32Array.BYTES_PER_ELEMENT;
    arrays.set(name, new Float32Array(new Uint8Array(body.subarray(offset, end)).buffer));
    offset = end;
  }
  return { state: description.state, arrays };
}
