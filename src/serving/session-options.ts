import { join } from "node:path";
import { requireInteger } from "../options.js";
import type { SessionOptions } from "../runtime/index.js";
import { readTextProtoFile } from "./text-proto/text-file.js";
import { message, optional, uint32 } from "./text-proto/text-schema.js";

/** In a model's base path for all its versions, or in a version's directory for that one. */
export const sessionOptionsFileName = "session_options.pbtxt";

// ModelConfig is TensorFlow Serving's message and has no room for these, so they lie with the model, as its
// batching_params.pbtxt does:
//
//   pool_size: 2          # worker threads with a session each
//   intra_op_threads: 1   # threads that one run may use
//   max_queue: 64         # calls that may wait
const sessionOptionsType = message("onnxd.SessionOptions", {
  pool_size: optional(uint32),
  intra_op_threads: optional(uint32),
  max_queue: optional(uint32),
});

/**
 * How a version is to be run: the server's options, overridden field by field by the file in the model's base path, and
 * that by the one in the version's directory. Read when the version is loaded, and not again.
 * @throws INVALID_ARGUMENT for a file with fields that are not known, or with numbers out of range
 */
export async function readSessionOptions(
  basePath: string,
  versionPath: string,
  defaults: SessionOptions,
): Promise<SessionOptions> {
  let options = defaults;
  for (const directory of [basePath, versionPath]) {
    const path = join(directory, sessionOptionsFileName);
    const read = await readTextProtoFile(path, sessionOptionsType);
    if (read === undefined) continue;
    const { pool_size: poolSize, intra_op_threads: intraOpThreads, max_queue: maxQueue } = read;
    if (poolSize !== undefined) requireInteger(`${path}: pool_size`, poolSize, { min: 1, max: 256 });
    if (intraOpThreads !== undefined) {
      requireInteger(`${path}: intra_op_threads`, intraOpThreads, { min: 1, max: 256 });
    }
    if (maxQueue !== undefined) requireInteger(`${path}: max_queue`, maxQueue, { min: 1, max: 1_000_000 });
    options = {
      ...options,
      ...(poolSize !== undefined && { poolSize }),
      ...(intraOpThreads !== undefined && { intraOpThreads }),
      ...(maxQueue !== undefined && { maxQueue }),
    };
  }
  return options;
}
