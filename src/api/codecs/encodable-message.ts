/** A message whose size is known and whose bytes are not made yet: whoever sends it says where they go. */
export interface EncodableMessage {
  /** In bytes. */
  readonly size: number;
  /** Writes exactly `size` bytes from this offset on. Does not throw, and may be called again. */
  writeTo(out: Buffer, offset: number): void;
}

/** The message in memory of its own. */
export function bytesOfMessage(message: Uint8Array | EncodableMessage): Uint8Array {
  if (message instanceof Uint8Array) return message;
  const out = Buffer.allocUnsafe(message.size);
  message.writeTo(out, 0);
  return out;
}
