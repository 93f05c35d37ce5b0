import { connect, type NetConnectOpts, type Socket } from "node:net";
import { HpackDecoder } from "../../src/api/grpc/transport/http2/hpack/decoder.js";

/** A frame as it lies on the wire. */
export interface WireFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export const wire = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
  endStream: 1,
  ack: 1,
  endHeaders: 4,
  padded: 8,
  prioritized: 0x20,
} as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** The fields that a gRPC client begins a call with. */
export function callFields(path: string, more: readonly (readonly [string, string])[] = []): [string, string][] {
  const fields: [string, string][] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ];
  for (const [name, value] of more) fields.push([name, value]);
  return fields;
}

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Identifier and value, as often as there are settings. */
export function settingsPayload(settings: readonly (readonly [number, number])[]): Buffer {
  return Buffer.concat(settings.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id]), uint32(value)])));
}

/** A gRPC message with its prefix. */
export function message(body: Uint8Array | string, compressed = false): Buffer {
  const bytes = Buffer.from(body as string);
  return Buffer.concat([Buffer.from([compressed ? 1 : 0]), uint32(bytes.length), bytes]);
}

/** A header block of literals without indexing and without Huffman code. */
export function literalBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) {
    length.push(bytes.length);
  } else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/**
 * A client that says frame by frame whatever a test wants said, right or wrong, and keeps what it hears. It answers nothing
 * by itself.
 */
export class RawHttp2Connection implements Disposable {
  readonly socket: Socket;
  readonly frames: WireFrame[] = [];
  /** All bytes, for servers that do not answer in frames. */
  received = Buffer.alloc(0);
  closed = false;
  readonly #decoder = new HpackDecoder(4096, 1 << 20);
  #parsed = 0;
  #waiting: (() => void)[] = [];

  /** Connects and, unless silent, sends preface and settings. */
  constructor(
    to: NetConnectOpts | Socket,
    { settings = [], silent = false }: { settings?: readonly (readonly [number, number])[]; silent?: boolean } = {},
  ) {
    this.socket = "write" in to ? to : connect(to);
    this.socket.on("error", () => {});
    this.socket.on("data", (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.#parse();
      this.#wake();
    });
    this.socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
    if (!silent) this.write(preface, frame(wire.settings, 0, 0, settingsPayload(settings)));
  }

  write(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  send(type: number, flags: number, streamId: number, payload?: Uint8Array): void {
    this.write(frame(type, flags, streamId, payload));
  }

  /** Begins a call, without a message. */
  call(streamId: number, path: string, more: readonly (readonly [string, string])[] = []): void {
    this.send(wire.headers, wire.endHeaders, streamId, literalBlock(callFields(path, more)));
  }

  /** A unary call, all of it. */
  unary(streamId: number, path: string, body: Uint8Array | string): void {
    this.call(streamId, path);
    this.send(wire.data, wire.endStream, streamId, message(body));
  }

  /** The first frame heard, from `from` on, for which this holds; waits for it, and fails when the connection closes before. */
  async frame(matches: (frame: WireFrame) => boolean, from = 0): Promise<WireFrame> {
    for (;;) {
      const found = this.frames.slice(from).find(matches);
      if (found !== undefined) return found;
      if (this.closed) throw new Error(`closed after ${this.describe()}`);
      await this.#more();
    }
  }

  type(type: number, streamId?: number, from = 0): Promise<WireFrame> {
    return this.frame((each) => each.type === type && (streamId === undefined || each.streamId === streamId), from);
  }

  /** Waits for the connection's end; the code of its GOAWAY, undefined without one. */
  async end(): Promise<number | undefined> {
    while (!this.closed) await this.#more();
    return this.goawayCode();
  }

  goawayCode(): number | undefined {
    return this.frames.findLast((each) => each.type === wire.goaway)?.payload.readUInt32BE(4);
  }

  /** Waits for the end of a call; its DATA joined, and its fields, initial and trailing. */
  async response(streamId: number): Promise<{ data: Buffer; fields: Map<string, string> }> {
    await this.frame(
      (each) =>
        each.streamId === streamId && (each.type === wire.rstStream || (each.type <= 1 && (each.flags & 1) === 1)),
    );
    const own = this.frames.filter((each) => each.streamId === streamId);
    const fields = new Map<string, string>();
    for (const each of own) for (const [name, value] of this.#fields.get(each) ?? []) fields.set(name, value);
    return { data: Buffer.concat(own.filter((each) => each.type === wire.data).map((each) => each.payload)), fields };
  }

  /**
   * Waits until the server has handled all that was sent before, and what it wrote then has been heard. A PING's answer may
   * go before DATA of the same turn, but not before that of the turn before: hence two.
   */
  async roundTrip(): Promise<void> {
    for (let pings = 0; pings < 2; pings++) {
      const opaque = Buffer.from(String(this.frames.length).padStart(8, "0"));
      const from = this.frames.length;
      this.send(wire.ping, 0, 0, opaque);
      await this.frame(
        (each) => each.type === wire.ping && each.flags === wire.ack && each.payload.equals(opaque),
        from,
      );
    }
  }

  describe(): string {
    return this.frames.map(({ type, flags, streamId }) => `${type}/${flags}@${streamId}`).join(" ");
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  readonly #fields = new Map<WireFrame, [string, string][]>();

  #parse(): void {
    if (this.received.subarray(0, 5).toString() === "HTTP/") return;
    while (this.received.length - this.#parsed >= 9) {
      const length = this.received.readUIntBE(this.#parsed, 3);
      const end = this.#parsed + 9 + length;
      if (this.received.length < end) return;
      const header = this.received.subarray(this.#parsed, this.#parsed + 9);
      const next: WireFrame = {
        type: header[3]!,
        flags: header[4]!,
        streamId: header.readUInt32BE(5),
        payload: Buffer.from(this.received.subarray(this.#parsed + 9, end)),
      };
      this.#parsed = end;
      this.frames.push(next);
      if (next.type === wire.headers && (next.flags & wire.endHeaders) !== 0) {
        const { fields } = this.#decoder.decode(next.payload, 0, next.payload.length);
        const pairs: [string, string][] = [];
        for (let index = 0; index < fields.length; index += 2) pairs.push([fields[index]!, fields[index + 1]!]);
        this.#fields.set(next, pairs);
      }
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
