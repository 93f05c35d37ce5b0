import type { MessageReader } from "../../src/api/grpc/transport/http2/message-reader.js";

/** The message that the reader has completed, taken out; its memory stays the caller's. */
export function takeMessage(reader: MessageReader): Buffer | undefined {
  if (!reader.complete) return undefined;
  reader.complete = false;
  return reader.bytes.subarray(reader.start, reader.end);
}
