import { deflate, gunzip, gzip, inflate, type ZlibOptions } from "node:zlib";
import { errorMessage, internal, resourceExhausted, type StatusError } from "../../../../status.js";
import { receiveLimitHint } from "../transport-options.js";

/** As said in grpc-accept-encoding. */
export const supportedEncodings = "identity,deflate,gzip";

export function isSupportedEncoding(encoding: string): boolean {
  return encoding === "identity" || encoding === "gzip" || encoding === "deflate";
}

/**
 * Off the serving thread: what is small compressed may be large inflated.
 * @param maxBytes of what comes out; inflating stops there
 * @param done always called in a later turn
 */
export function decompressMessage(
  message: Uint8Array,
  encoding: string,
  maxBytes: number,
  done: (result: Uint8Array | StatusError) => void,
): void {
  const options: ZlibOptions = { maxOutputLength: maxBytes };
  const finish = (error: NodeJS.ErrnoException | null, inflated: Buffer): void => {
    if (error === null) {
      done(inflated);
    } else if (error.code === "ERR_BUFFER_TOO_LARGE") {
      done(
        resourceExhausted(`Received message that decompresses to a size larger than ${maxBytes}; ${receiveLimitHint}`),
      );
    } else {
      done(internal(`Received message is not valid ${encoding}: ${errorMessage(error)}`));
    }
  };
  if (encoding === "gzip") gunzip(message, options, finish);
  else inflate(message, options, finish);
}

/** What of the client's grpc-accept-encoding we compress with; undefined: nothing. */
export function chooseResponseEncoding(acceptEncoding: string): "gzip" | "deflate" | undefined {
  const accepted = acceptEncoding.split(",").map((encoding) => encoding.trim());
  return accepted.includes("gzip") ? "gzip" : accepted.includes("deflate") ? "deflate" : undefined;
}

/** @param done always called in a later turn; undefined: the message is better sent as it is */
export function compressMessage(
  message: Uint8Array,
  encoding: "gzip" | "deflate",
  done: (compressed: Uint8Array | undefined) => void,
): void {
  const finish = (error: Error | null, compressed: Buffer): void => {
    done(error === null && compressed.length < message.length ? compressed : undefined);
  };
  // Tensors hardly compress: the fastest level takes what there is to take.
  if (encoding === "gzip") gzip(message, { level: 1 }, finish);
  else deflate(message, { level: 1 }, finish);
}
