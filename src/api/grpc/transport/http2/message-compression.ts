import { deflate, gunzip, gzip, inflate, type ZlibOptions } from "node:zlib";
import { errorMessage, internal, resourceExhausted, type StatusError } from "../../../../status.js";
import { receiveLimitHint } from "../transport-options.js";

/** As said in grpc-accept-encoding. */
export const supportedEncodings = "identity,deflate,gzip";

export function isSupportedEncoding(encoding: string): boolean {
  return encoding === "identity" || encoding === "gzip" || encoding === "deflate";
}

/** Messages being inflated at a time: what is small compressed may be large inflated, and many of those together larger still. */
const maxConcurrent = 4;

/** Inflates messages off the serving thread, a few at a time; the others wait as they came. */
export class Inflater {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /**
   * @param maxBytes of what comes out; inflating stops there
   * @param isWanted asked when the message's turn comes; done is not called when it is not
   * @param done always called in a later turn
   */
  inflate(
    message: Uint8Array,
    encoding: string,
    maxBytes: number,
    isWanted: () => boolean,
    done: (result: Uint8Array | StatusError) => void,
  ): void {
    const start = (): void => {
      if (!isWanted()) {
        this.#next();
        return;
      }
      const options: ZlibOptions = { maxOutputLength: maxBytes };
      const finish = (error: NodeJS.ErrnoException | null, inflated: Buffer): void => {
        this.#next();
        done(error === null ? inflated : refusal(error, encoding, maxBytes));
      };
      if (encoding === "gzip") gunzip(message, options, finish);
      else inflate(message, options, finish);
    };
    if (this.#running === maxConcurrent) {
      this.#waiting.push(start);
    } else {
      this.#running += 1;
      start();
    }
  }

  /** The turn of one is over: another's begins. */
  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

function refusal(error: NodeJS.ErrnoException, encoding: string, maxBytes: number): StatusError {
  return error.code === "ERR_BUFFER_TOO_LARGE"
    ? resourceExhausted(`Received message that decompresses to a size larger than ${maxBytes}; ${receiveLimitHint}`)
    : internal(`Received message is not valid ${encoding}: ${errorMessage(error)}`);
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
