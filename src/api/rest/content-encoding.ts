// Compressed answers: gzip, and deflate in zlib's wrapping, where the client asks for them.
import { pipeline, Readable } from "node:stream";
import { promisify } from "node:util";
import { constants, createDeflate, createGzip, deflate, gzip } from "node:zlib";

export type Encoding = "gzip" | "deflate";

const compressors = { gzip: promisify(gzip), deflate: promisify(deflate) };
const streams = { gzip: createGzip, deflate: createDeflate };

export function compress(body: Buffer, encoding: Encoding): Promise<Buffer> {
  return compressors[encoding](body);
}

/** The pieces, compressed as they are made. Fast rather than small: the answer is waited for. */
export async function* compressPieces(pieces: Iterable<Buffer>, encoding: Encoding): AsyncGenerator<Buffer, undefined> {
  const compressed = streams[encoding]({ level: constants.Z_BEST_SPEED });
  // An error among the pieces ends the stream that is read below with it.
  pipeline(Readable.from(pieces), compressed, () => {});
  yield* compressed;
}

/** The encoding that the client likes best of those there are; undefined: as it is. */
export function preferredEncoding(acceptEncoding: string | undefined): Encoding | undefined {
  let best: Encoding | undefined;
  let bestQuality = 0;
  for (const part of (acceptEncoding ?? "").split(",")) {
    const [name = "", ...parameters] = part.split(";").map((each) => each.trim().toLowerCase());
    if (name !== "gzip" && name !== "deflate") continue;
    const given = parameters.find((each) => each.startsWith("q="));
    const quality = given === undefined ? 1 : Number(given.slice(2));
    if (quality > bestQuality) [best, bestQuality] = [name, quality];
  }
  return best;
}
