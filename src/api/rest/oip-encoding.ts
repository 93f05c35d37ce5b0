// Compressed inference requests: gzip, and deflate in zlib's wrapping, as Triton has them.
import type { IncomingMessage } from "node:http";
import { gunzip, inflate } from "node:zlib";
import { Code, errorMessage, invalidArgument, StatusError } from "../../status.js";
import type { Encoding } from "./content-encoding.js";
import { BodyTooLarge, readRaw } from "./request-body.js";

const inflaters = { gzip: gunzip, deflate: inflate };

/** UNIMPLEMENTED; its answer names the encodings there are, as RFC 9110 (12.5.3) has it. */
export class UnsupportedEncoding extends StatusError {
  readonly headers = { "accept-encoding": "gzip, deflate" };

  constructor(encoding: string) {
    super(Code.UNIMPLEMENTED, `Content-Encoding ${encoding} is not supported; gzip and deflate are`);
  }
}

/**
 * The whole body, inflated where Content-Encoding says so. Rejects with BodyTooLarge as soon as the limit is passed,
 * before and after inflating alike; with UnsupportedEncoding for other encodings.
 */
export async function readEncodedBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const encoding = request.headers["content-encoding"]?.trim().toLowerCase() || "identity";
  if (encoding !== "identity" && encoding !== "gzip" && encoding !== "deflate") {
    throw new UnsupportedEncoding(encoding);
  }
  const body = await readRaw(request, limitBytes);
  return encoding === "identity" ? body : await inflated(body, encoding, limitBytes);
}

function inflated(body: Buffer, encoding: Encoding, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    inflaters[encoding](body, { maxOutputLength: limitBytes }, (error, result) => {
      if (error === null) resolve(result);
      else if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
        reject(new BodyTooLarge(`more than ${limitBytes} bytes, inflated,`, limitBytes));
      } else {
        reject(
          invalidArgument(`Content-Encoding is ${encoding}, but the body cannot be inflated: ${errorMessage(error)}`),
        );
      }
    });
  });
}
