// Frames into bytes.
import { Flag, FrameType, frameHeaderBytes } from "./protocol.js";

export function writeFrameHeader(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
  target[at + 3] = type;
  target[at + 4] = flags;
  writeUint32(target, at + 5, streamId);
}

export function writeUint32(target: Buffer, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/** @param settings identifier and value, as often as there are settings */
export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + settings.length * 6);
  writeFrameHeader(frame, 0, settings.length * 6, FrameType.SETTINGS, 0, 0);
  settings.forEach(([id, value], index) => {
    frame.writeUInt16BE(id, frameHeaderBytes + index * 6);
    frame.writeUInt32BE(value, frameHeaderBytes + index * 6 + 2);
  });
  return frame;
}

export function settingsAckFrame(): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes);
  writeFrameHeader(frame, 0, 0, FrameType.SETTINGS, Flag.ACK, 0);
  return frame;
}

/** @param opaque eight bytes */
export function pingFrame(ack: boolean, opaque: Uint8Array): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + 8);
  writeFrameHeader(frame, 0, 8, FrameType.PING, ack ? Flag.ACK : 0, 0);
  frame.set(opaque, frameHeaderBytes);
  return frame;
}

export function rstStreamFrame(streamId: number, code: number): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + 4);
  writeFrameHeader(frame, 0, 4, FrameType.RST_STREAM, 0, streamId);
  frame.writeUInt32BE(code, frameHeaderBytes);
  return frame;
}

/** @param message for people who look at the wire */
export function goawayFrame(lastStreamId: number, code: number, message: string): Buffer {
  const debug = Buffer.from(message.slice(0, 200));
  const frame = Buffer.alloc(frameHeaderBytes + 8 + debug.length);
  writeFrameHeader(frame, 0, 8 + debug.length, FrameType.GOAWAY, 0, 0);
  frame.writeUInt32BE(lastStreamId, frameHeaderBytes);
  frame.writeUInt32BE(code, frameHeaderBytes + 4);
  frame.set(debug, frameHeaderBytes + 8);
  return frame;
}

export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + 4);
  writeFrameHeader(frame, 0, 4, FrameType.WINDOW_UPDATE, 0, streamId);
  frame.writeUInt32BE(increment, frameHeaderBytes);
  return frame;
}
