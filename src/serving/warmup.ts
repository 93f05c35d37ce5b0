import { join } from "node:path";
import type { Cancellation } from "../cancellation.js";
import { Code, invalidArgument, StatusError, unimplemented } from "../status.js";
import type { Servable, ServableLender } from "./servable.js";
import { readRecords } from "./tf-record.js";

/** In a version's directory: TFRecords of tensorflow.serving.PredictionLog, whose requests are run before it is AVAILABLE. */
export const warmupFileName = join("assets.extra", "tf_serving_warmup_requests");

const maxRecords = 1000;

/** One record of a warm-up file, read. */
export type WarmupRecord =
  /** The request, to be answered by whatever servable is lent. */
  | { readonly kind: "call"; readonly run: (lender: ServableLender, cancellation: Cancellation) => Promise<unknown> }
  /** Nothing to run. */
  | { readonly kind: "none" }
  /** A log of a kind that cannot be replayed, by the number of its field. */
  | { readonly kind: "unsupported"; readonly field: number }
  | { readonly kind: "malformed" };

export interface WarmupOptions {
  /** What the wire says is not known here. */
  readonly readRecord: (record: Uint8Array) => WarmupRecord;
  /** How often each record is run. */
  readonly iterations: number;
}

/**
 * Runs a version's warm-up requests in the file's order, each on as many sessions at once as there are. The model that a
 * record names is not looked at, its signature is.
 * @returns records that were run; undefined when there is no file
 * @throws what is wrong with the file in TensorFlow Serving's words, or what its first failing request fails with
 */
export async function warmUp(
  servable: Servable,
  versionPath: string,
  { readRecord, iterations }: WarmupOptions,
  cancellation: Cancellation,
): Promise<number | undefined> {
  const path = join(versionPath, warmupFileName);
  const handle = { servable, [Symbol.dispose]: () => {} };
  const lender: ServableLender = { getServableHandle: () => handle };
  let read = 0;
  let run = 0;
  try {
    for await (const bytes of readRecords(path)) {
      read += 1;
      if (read > maxRecords) {
        throw invalidArgument(`Number of warmup records exceeds the maximum (${maxRecords}) at ${path}`);
      }
      const record = readRecord(bytes);
      if (record.kind === "unsupported") throw unimplemented(`Unsupported log_type for warmup: ${record.field}`);
      if (record.kind === "malformed") {
        const raw = bytes.subarray(0, 256).toString("latin1");
        throw invalidArgument(`Failed to parse warmup record: ${raw} from ${path}`);
      }
      if (record.kind === "none") continue;
      for (let i = 0; i < iterations; i++) {
        if (cancellation.reason !== undefined) throw cancellation.reason;
        // Calls that are made at the same time go to different sessions.
        const { sessions } = servable.session.placement;
        await Promise.all(Array.from({ length: sessions }, () => record.run(lender, cancellation)));
      }
      run += 1;
    }
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    if (read === 0 && error.code === Code.NOT_FOUND) return undefined;
    if (error.code === Code.DATA_LOSS) {
      throw new StatusError(
        Code.DATA_LOSS,
        `${error.message}. Please verify your warmup data is in TFRecord format. (${path})`,
      );
    }
    throw error;
  }
  return run;
}
