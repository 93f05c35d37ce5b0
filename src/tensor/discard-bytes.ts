/**
 * Frees the memory under an array now; it is empty afterwards. For copies of whole model files: left to the garbage
 * collector, they would stay for as long as their thread has nothing else to do, which in a server can be for ever.
 * A view of a part of a buffer is left alone.
 */
export function discardBytes(bytes: Uint8Array): void {
  if (!(bytes.buffer instanceof ArrayBuffer) || bytes.byteLength !== bytes.buffer.byteLength) return;
  // A message takes its buffers along, and one that nobody receives is destroyed with the port it waits at.
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(undefined, [bytes.buffer]);
  port2.close();
}
