/** What a URL under /v1/training asks for. */
export type TrainingTarget =
  | { readonly kind: "start" | "list" | "evaluate" }
  | { readonly kind: "get" | "delete" | "events" | "cancel" | "publish"; readonly id: string };

/** Whether a URL is training's. */
export function isTrainingUrl(url: string): boolean {
  return /^\/v1\/training(?:[/?]|$)/.test(url);
}

const jobPattern = /^\/v1\/training\/jobs\/(?<id>[^/:]+)(?:\/(?<part>events)|:(?<verb>cancel|publish))?$/;

/**
 * @param path without its query string
 * @returns undefined for a path that there is not
 */
export function parseTrainingPath(method: string, path: string): TrainingTarget | "wrong method" | undefined {
  const kinds = kindsOf(path);
  if (kinds === undefined) return undefined;
  return kinds[method] ?? "wrong method";
}

function kindsOf(path: string): Readonly<Record<string, TrainingTarget>> | undefined {
  if (path === "/v1/training/jobs") return { GET: { kind: "list" }, POST: { kind: "start" } };
  if (path === "/v1/training/evaluate") return { POST: { kind: "evaluate" } };
  const groups = jobPattern.exec(path)?.groups;
  if (groups === undefined) return undefined;
  const id = groups["id"]!;
  if (groups["part"] === "events") return { GET: { kind: "events", id } };
  if (groups["verb"] !== undefined) return { POST: { kind: groups["verb"] as "cancel" | "publish", id } };
  return { GET: { kind: "get", id }, DELETE: { kind: "delete", id } };
}
