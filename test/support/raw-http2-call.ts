import { connect, type Socket } from "node:net";

/**
 * A gRPC call written frame by frame, for what libraries do not let a client do: reset a stream without ending it,
 * leave in the middle of a message. Needs no answer from the server to go on.
 */
export class RawHttp2Call implements Disposable {
  readonly socket: Socket;

  constructor(port: number, path: string) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("error", () => {});
    this.socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    this.frame(settings, 0, 0, Buffer.alloc(0));
    const fields: [string, string][] = [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", path],
      [":authority", "localhost"],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ];
    this.frame(headers, endHeaders, 1, Buffer.concat(fields.map(([key, value]) => literal(key, value))));
  }

  /** DATA bytes as they are; a message needs its five bytes of prefix. */
  data(bytes: Uint8Array, end = false): void {
    this.frame(dataFrame, end ? endStream : 0, 1, bytes);
  }

  message(bytes: Uint8Array, end = false): void {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(bytes.length, 1);
    this.data(Buffer.concat([prefix, bytes]), end);
  }

  /** RST_STREAM with CANCEL, as clients other than Node's send it: without ending the stream first. */
  reset(): void {
    const code = Buffer.alloc(4);
    code.writeUInt32BE(8);
    this.frame(rstStream, 0, 1, code);
  }

  frame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const header = Buffer.alloc(9);
    header.writeUIntBE(payload.length, 0, 3);
    header[3] = type;
    header[4] = flags;
    header.writeUInt32BE(stream, 5);
    this.socket.write(Buffer.concat([header, payload]));
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

const dataFrame = 0;
const headers = 1;
const rstStream = 3;
const settings = 4;
const endStream = 1;
const endHeaders = 4;

/** HPACK: literal without indexing, no Huffman. */
function literal(key: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, key.length]),
    Buffer.from(key),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}
