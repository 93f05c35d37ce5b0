import type { IncomingMessage } from "node:http";
import { gunzip } from "node:zlib";
import { cancelled, errorMessage, invalidArgument, resourceExhausted, type StatusError } from "../../status.js";

/** A body larger than the limit: answered with 413, where a full queue, the other RESOURCE_EXHAUSTED, is 429. */
export class BodyTooLarge extends Error {
  readonly status: StatusError;

  constructor(bytes: string, limitBytes: number) {
    const message = `Request of ${bytes} is larger than --max_receive_message_bytes=${limitBytes}`;
    super(message);
    this.status = resourceExhausted(message);
  }
}

/** What a socket delivers at a time, at most. */
const chunkBytes = 64 * 1024;

/**
 * The whole body, inflated where Content-Encoding says gzip. Rejects with BodyTooLarge as soon as the limit is passed,
 * before and after inflating alike.
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const body = await readRaw(request, limitBytes);
  return request.headers["content-encoding"]?.includes("gzip") === true ? inflate(body, limitBytes) : body;
}

function readRaw(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limitBytes) return Promise.reject(new BodyTooLarge(`${declared} bytes`, limitBytes));
  return new Promise((resolve, reject) => {
    // A long body is copied to its place as it comes: joining megabytes at the end would hold up everyone else.
    const place = declared > chunkBytes ? Buffer.allocUnsafeSlow(declared) : undefined;
    let chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      if (place !== undefined) chunk.copy(place, length);
      else if (length <= limitBytes) chunks.push(chunk);
      length += chunk.length;
      if (length > limitBytes) {
        chunks = [];
        reject(new BodyTooLarge(`more than ${limitBytes} bytes`, limitBytes));
      }
    });
    request.on("end", () => {
      if (length > limitBytes) return;
      resolve(place ?? (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)));
    });
    request.on("error", (error) => reject(cancelled(`The client went away: ${error.message}`)));
  });
}

function inflate(body: Buffer, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    gunzip(body, { maxOutputLength: limitBytes }, (error, inflated) => {
      if (error === null) resolve(inflated);
      else if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
        reject(new BodyTooLarge(`more than ${limitBytes} bytes, inflated,`, limitBytes));
      } else {
        // TensorFlow Serving takes such a body for an empty one; its words, and then what is really wrong.
        reject(
          invalidArgument(
            `JSON Parse error: The document is empty (Content-Encoding is gzip, but the body cannot be inflated: ${errorMessage(error)})`,
          ),
        );
      }
    });
  });
}
