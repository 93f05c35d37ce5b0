import type { IncomingMessage } from "node:http";
import { createGunzip } from "node:zlib";
import { cancelled, errorMessage, invalidArgument, StatusError } from "../../status.js";

/**
 * The body, piece by piece, inflated where Content-Encoding says gzip. The next piece is read only when it is asked for.
 * One that is left before its end stays unread, and the connection open.
 */
export function streamedBody(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  return request.headers["content-encoding"]?.includes("gzip") === true ? inflated(request) : plain(request);
}

async function* plain(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* request.iterator({ destroyOnReturn: false });
  } catch (thrown) {
    throw cancelled(`The client went away: ${errorMessage(thrown)}`);
  }
}

async function* inflated(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  // What has been destroyed already says nothing more, not even that.
  if (request.destroyed && !request.readableEnded) throw cancelled("The client went away");
  const gunzip = createGunzip();
  const lost = () => gunzip.destroy(cancelled("The client went away"));
  request.once("error", lost);
  request.pipe(gunzip);
  try {
    yield* gunzip;
  } catch (thrown) {
    if (thrown instanceof StatusError) throw thrown;
    throw invalidArgument(`Content-Encoding is gzip, but the body cannot be inflated: ${errorMessage(thrown)}`);
  } finally {
    request.off("error", lost);
  }
}
