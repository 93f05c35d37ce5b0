// Reads of all plain sockets of this thread into one buffer. Node makes a buffer of 64 KB for every read of a socket and
// shrinks it to what came; V8 sees so much memory outside its heap come and go that it collects all of the heap again and
// again, which is up to a third of what a call costs. Node can read into a buffer of ours (`onread`), but says so only of
// sockets that connect: for those that a server accepted it is set up here, on the same fields of the socket. Where they
// are not as they were in the versions of Node this was tested with, and for TLS, "data" events are what they always were.
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { type MemoryBlock, messageMemory } from "./message-memory.js";

/** What libuv offers the kernel for a read of a socket when left alone, too. */
const sharedBytes = 64 * 1024;
/** A message from this size on is copied by itself, smaller ones together with all that follows them in the chunk. */
const largeBytes = 16 * 1024;
const testedNodeVersions = { from: 20, to: 24 };

const shared = Buffer.allocUnsafeSlow(sharedBytes);
/** Holds a copy of shared[takenFrom, takenEnd), made for a message of the present read. */
let taken: MemoryBlock | undefined;
let takenFrom = 0;
let takenEnd = 0;

/**
 * From here on the consumer gets what the socket receives.
 * @param consumer each chunk is borrowed until it returns: ownBytes() makes what can be kept
 */
export function receiveFrom(socket: Socket, consumer: (chunk: Buffer) => void): void {
  const fields = sharedReadFields(socket);
  if (fields === undefined) {
    socket.on("data", consumer);
    return;
  }
  fields.set(shared, (bytes) => {
    try {
      consumer(bytes === shared.length ? shared : shared.subarray(0, bytes));
    } finally {
      taken?.release();
      taken = undefined;
      takenEnd = 0;
    }
  });
}

/** Bytes that nobody else writes to, at bytes[start, end). */
export interface OwnBytes {
  bytes: Buffer;
  start: number;
  end: number;
  /** Holds them, when their memory can be used again; to be released once. */
  block: MemoryBlock | undefined;
}

/** Makes chunk[start, end) the target's own. In a chunk, each call's range lies behind the one before. */
export function ownBytes(chunk: Buffer, start: number, end: number, target: OwnBytes): void {
  if (chunk.buffer !== shared.buffer) {
    target.bytes = chunk;
    target.start = start;
    target.end = end;
    target.block = undefined;
    return;
  }
  const from = chunk.byteOffset + start;
  const to = chunk.byteOffset + end;
  if (taken === undefined || to > takenEnd) {
    takenFrom = from;
    takenEnd = to - from < largeBytes ? chunk.byteOffset + chunk.length : to;
    taken?.release();
    taken = undefined; // the next line may throw
    taken = messageMemory.take(takenEnd - from);
    shared.copy(taken.bytes, 0, from, takenEnd);
  }
  taken.hold();
  target.bytes = taken.bytes;
  target.start = from - takenFrom;
  target.end = to - takenFrom;
  target.block = taken;
}

interface SharedReadFields {
  /** @param onRead told how many bytes have come, at the buffer's start */
  set(buffer: Buffer, onRead: (bytes: number) => void): void;
}

/** What net.Socket's constructor makes of `onread`; undefined where it cannot be relied on. */
function sharedReadFields(socket: Socket): SharedReadFields | undefined {
  const major = Number.parseInt(process.versions.node, 10);
  if (major < testedNodeVersions.from || major > testedNodeVersions.to) return undefined;
  // What it holds already, or holds back, would pass the buffer by.
  if (socket instanceof TLSSocket || socket.bytesRead > 0 || socket.readableLength > 0 || socket.isPaused())
    return undefined;
  const fields = socket as unknown as Record<symbol, unknown> & { readonly _handle?: unknown };
  const handle = fields._handle as { useUserBuffer?: (buffer: Buffer) => void } | null | undefined;
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string) => symbols.find(({ description }) => description === name);
  const [kBuffer, kCallback, kGenerator] = [named("kBuffer"), named("kBufferCb"), named("kBufferGen")];
  if (kBuffer === undefined || kCallback === undefined || kGenerator === undefined) return undefined;
  if (fields[kBuffer] !== null || fields[kCallback] !== null || fields[kGenerator] !== null) return undefined;
  if (typeof handle?.useUserBuffer !== "function") return undefined;
  return {
    set: (buffer, onRead) => {
      fields[kBuffer] = buffer;
      fields[kCallback] = onRead;
      handle.useUserBuffer!(buffer);
      socket.read(0);
    },
  };
}
