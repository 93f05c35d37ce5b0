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

/** Room that is made for a body on the strength of its declared length alone. */
const firstPlaceBytes = 64 * 1024;

/**
 * The whole body, inflated where Content-Encoding says gzip. Rejects with BodyTooLarge as soon as the limit is passed,
 * before and after inflating alike.
 */
export function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const body = readRaw(request, limitBytes);
  if (request.headers["content-encoding"]?.includes("gzip") !== true) return body;
  return body.then((compressed) => inflate(compressed, limitBytes));
}

/** The body as it was sent. Rejects with BodyTooLarge as soon as the limit is passed. */
export function readRaw(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limitBytes) return Promise.reject(new BodyTooLarge(`${declared} bytes`, limitBytes));
  return new Promise((resolve, reject) => {
    // Copied to its place as it comes: joining many megabytes at the end would hold up everyone else. The place grows
    // with what has come, since a length is easily declared.
    const bound = declared > 0 ? declared : limitBytes;
    let place: Buffer = Buffer.allocUnsafe(Math.min(declared, firstPlaceBytes));
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      const start = length;
      length += chunk.length;
      if (length > limitBytes) {
        place = Buffer.alloc(0);
        reject(new BodyTooLarge(`more than ${limitBytes} bytes`, limitBytes));
      } else {
        if (length > place.length) place = enlarge(place, start, Math.max(length, Math.min(bound, 2 * place.length)));
        chunk.copy(place, start);
      }
    });
    request.on("end", () => resolve(place.subarray(0, length)));
    request.on("error", (error) => reject(cancelled(`The client went away: ${error.message}`)));
  });
}

function enlarge(place: Buffer, used: number, size: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(size);
  place.copy(larger, 0, 0, used);
  return larger;
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
