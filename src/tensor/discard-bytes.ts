import { MessageChannel, type MessagePort } from "node:worker_threads";

let closedPort: MessagePort | undefined;

/**
 * Frees the memory under an array now; it is empty afterwards. Left to the garbage collector, it would stay until there
 * is enough of it, or for as long as its thread has nothing else to do, which in a server can be for ever.
 * A view of a part of a buffer is left alone.
 */
export function discardBytes(bytes: ArrayBufferView): void {
  const { buffer, byteLength } = bytes;
  if (!(buffer instanceof ArrayBuffer) || byteLength !== buffer.byteLength || byteLength === 0) return;
  closedPort ??= closePort();
  // A message takes its buffers along, and one that is posted to a closed port is destroyed on the spot.
  closedPort.postMessage(undefined, [buffer]);
}

function closePort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}
