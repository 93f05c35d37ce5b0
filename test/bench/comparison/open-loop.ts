// node open-loop.js PORT PATH BODY RATE SECONDS
// Calls at a steady rate, each at its time, whether earlier ones have been answered or not; its latency counts from that
// time on, so that a server that falls behind cannot hide it. HTTP/2 by hand, over eight connections: a client library
// would be slower than the server. Prints which share failed, and the percentiles 50, 90, 99 and
// 99.9 of the answers in microseconds, as JSON.
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";

const [port, path = "", bodyFile = "", rate, seconds] = process.argv.slice(2);
const connections = 8;
const perMs = Number(rate) / 1000;
const calls = Math.floor(Number(rate) * Number(seconds));
const body = readFileSync(bodyFile);
const frameTypes = { data: 0, headers: 1, settings: 4, ping: 6, windowUpdate: 8 };
const largestFrame = 16_384;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A field that is not to be indexed, its name and value as they are. */
function field(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

const headers = Buffer.concat(
  [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "127.0.0.1"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ].map(([name, value]) => field(name!, value!)),
);
/** A whole call, its stream ids to be filled in. */
const parts = [frame(frameTypes.headers, 4, 0, headers)];
for (let at = 0; at < body.length; at += largestFrame) {
  const last = at + largestFrame >= body.length;
  parts.push(frame(frameTypes.data, last ? 1 : 0, 0, body.subarray(at, at + largestFrame)));
}
const call = Buffer.concat(parts);
const streamIdsAt = parts.map((_, index) => parts.slice(0, index).reduce((sum, part) => sum + part.length, 0) + 5);

const micros: number[] = [];
let sent = 0;
let failed = 0;

class Connection {
  readonly socket: Socket;
  /** When each call was due, by its number on this connection. */
  readonly #due: number[] = [];
  /** Calls whose answer has begun: one that ends before it began has failed. */
  readonly #begun = new Set<number>();
  #batch: Buffer[] = [];
  #rest: Buffer = Buffer.alloc(0);

  constructor() {
    this.socket = connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0); // SETTINGS_INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(2 ** 31 - 1, 2);
    const window = Buffer.alloc(4);
    window.writeUInt32BE(2 ** 31 - 1 - 65_535);
    this.socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    this.socket.write(frame(frameTypes.settings, 0, 0, settings));
    this.socket.write(frame(frameTypes.windowUpdate, 0, 0, window));
    this.socket.on("data", (chunk: Buffer) => this.#received(chunk));
  }

  add(dueMs: number): void {
    const bytes = Buffer.from(call);
    for (const at of streamIdsAt) bytes.writeUInt32BE(2 * this.#due.length + 1, at);
    this.#due.push(dueMs);
    this.#batch.push(bytes);
  }

  flush(): void {
    if (this.#batch.length === 0) return;
    this.socket.write(Buffer.concat(this.#batch));
    this.#batch = [];
  }

  #received(chunk: Buffer): void {
    const now = performance.now();
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 9) {
      const next = at + 9 + bytes.readUIntBE(at, 3);
      if (next > bytes.length) break;
      const [type, flags, stream] = [bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5)];
      if (type === frameTypes.headers && (flags & 1) === 0) {
        this.#begun.add(stream);
      } else if (type === frameTypes.headers) {
        if (!this.#begun.delete(stream)) failed += 1;
        micros.push((now - this.#due[(stream - 1) / 2]!) * 1000);
      }
      if (type === frameTypes.settings && flags === 0)
        this.socket.write(frame(frameTypes.settings, 1, 0, Buffer.alloc(0)));
      if (type === frameTypes.ping && flags === 0)
        this.socket.write(frame(frameTypes.ping, 1, 0, bytes.subarray(at + 9, next)));
      at = next;
    }
    this.#rest = bytes.subarray(at);
  }
}

const all = Array.from({ length: connections }, () => new Connection());
await new Promise((resolve) => setTimeout(resolve, 300));
const start = performance.now();
await new Promise<void>((resolve) => {
  const turn = () => {
    const now = performance.now();
    while (sent < calls && start + sent / perMs <= now) {
      all[sent % connections]!.add(start + sent / perMs);
      sent += 1;
    }
    for (const connection of all) connection.flush();
    if (micros.length === calls || now - start > 1000 * Number(seconds) + 10_000) resolve();
    else setImmediate(turn);
  };
  turn();
});
for (const { socket } of all) socket.destroy();
failed += calls - micros.length;
micros.sort((a, b) => a - b);
const at = (share: number) => Math.round(micros[Math.min(micros.length - 1, Math.floor(share * micros.length))]!);
console.log(JSON.stringify({ failed: failed / calls, percentiles: [at(0.5), at(0.9), at(0.99), at(0.999)] }));
