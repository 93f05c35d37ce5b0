import { invalidArgument } from "../../status.js";

/** What a URL under /v1/ asks for. */
export interface TfsTarget {
  /** predict, classify and regress come by POST, status and metadata by GET. */
  readonly verb: "predict" | "classify" | "regress" | "status" | "metadata";
  /** "" when a GET names none. */
  readonly model: string;
  /** At most one of version and label is set. */
  readonly version?: bigint;
  readonly label?: string;
}

// TensorFlow Serving's own two patterns. They match without regard to case; that verbs then count only in lower case,
// and /METADATA as a status call, is its doing too.
const inferencePattern =
  /^\/v1\/models\/(?<model>[^/:]+)(?:\/versions\/(?<version>\d+)|\/labels\/(?<label>[^/:]+))?:(?<verb>classify|regress|predict)$/i;
const modelPattern =
  /^\/v1\/models(?:\/(?<model>[^/:]+))?(?:\/versions\/(?<version>\d+)|\/labels\/(?<label>[^/:]+))?(?:\/(?<verb>metadata))?$/i;

/**
 * @param path without its query string
 * @throws INVALID_ARGUMENT in TensorFlow Serving's words; never "method not allowed"
 */
export function parseTfsPath(method: string, path: string): TfsTarget {
  const pattern = method === "POST" ? inferencePattern : method === "GET" ? modelPattern : undefined;
  const groups = pattern?.exec(path)?.groups;
  if (groups === undefined) throw malformed(method, path);
  const verb = method === "GET" ? (groups["verb"] === "metadata" ? "metadata" : "status") : groups["verb"];
  if (verb !== verb?.toLowerCase()) throw malformed(method, path);
  return {
    verb: verb as TfsTarget["verb"],
    model: decodePercent(groups["model"] ?? ""),
    ...(groups["version"] !== undefined && { version: parseVersion(groups["version"]) }),
    ...(groups["label"] !== undefined && { label: decodePercent(groups["label"]) }),
  };
}

function malformed(method: string, path: string): Error {
  return invalidArgument(`Malformed request: ${method} ${path}`);
}

function parseVersion(digits: string): bigint {
  const version = digits.length > 100 ? undefined : BigInt(digits);
  if (version === undefined || version >= 2n ** 63n) {
    throw invalidArgument(`Failed to convert version: ${digits} to numeric.`);
  }
  return version;
}

/** As curl does it: a percent sign without two hexadecimal digits stands for itself. */
function decodePercent(text: string): string {
  if (!text.includes("%")) return text;
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escaped) =>
    Buffer.from(escaped.replaceAll("%", ""), "hex").toString("utf8"),
  );
}
