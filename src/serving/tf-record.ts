// TFRecord, the container of TensorFlow's record files: a length, its checksum, the data, its checksum, again and again.
// https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
import { open } from "node:fs/promises";
import { Code, StatusError } from "../status.js";
import { fileError } from "./file-error.js";

const headerBytes = 12;
const footerBytes = 4;

/** One record with its lengths and checksums. */
export function frameRecord(data: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + data.length + footerBytes);
  frame.writeBigUInt64LE(BigInt(data.length), 0);
  frame.writeUInt32LE(maskedCrc32c(frame.subarray(0, 8)), 8);
  frame.set(data, headerBytes);
  frame.writeUInt32LE(maskedCrc32c(data), headerBytes + data.length);
  return frame;
}

/**
 * Reads a file record by record; only one is in memory.
 * @throws NOT_FOUND when there is no such file; DATA_LOSS with the offset of a record that is cut off or damaged
 */
export async function* readRecords(path: string): AsyncGenerator<Buffer, undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path);
  } catch (error) {
    throw fileError(error);
  }
  try {
    const { size } = await file.stat();
    let offset = 0;
    while (offset < size) {
      const at = offset;
      const read = async (length: number) => {
        if (length > size - offset) throw dataLoss(`truncated record at ${at}`);
        const bytes = Buffer.allocUnsafe(length);
        const { bytesRead } = await file.read(bytes, 0, length, offset);
        if (bytesRead < length) throw dataLoss(`truncated record at ${at}`);
        offset += length;
        return bytes;
      };
      const header = await read(headerBytes);
      if (header.readUInt32LE(8) !== maskedCrc32c(header.subarray(0, 8))) throw dataLoss(`corrupted record at ${at}`);
      const length = Number(header.readBigUInt64LE(0));
      const body = await read(length + footerBytes);
      const data = body.subarray(0, length);
      if (body.readUInt32LE(length) !== maskedCrc32c(data)) throw dataLoss(`corrupted record at ${at}`);
      yield data;
    }
  } finally {
    await file.close();
  }
}

function dataLoss(message: string): StatusError {
  return new StatusError(Code.DATA_LOSS, message);
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  // Castagnoli's polynomial, its bits in reverse.
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
  return remainder;
});

/** CRC32C, rotated and shifted: a checksum of data that itself holds checksums is a poor one otherwise. */
export function maskedCrc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < data.length; i++) crc = (crc >>> 8) ^ table[(crc ^ data[i]!) & 0xff]!;
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
