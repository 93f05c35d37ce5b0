// What a URL under /v2 asks for.
import { invalidArgument } from "../../status.js";

export type OipTarget =
  | { readonly kind: "server-metadata" | "live" | "ready" | "model-list" | "all-statistics" }
  | {
      readonly kind: "model-metadata" | "model-ready" | "model-config" | "model-statistics" | "infer";
      readonly model: string;
      readonly version: string;
    }
  | { readonly kind: "index"; readonly repository: string }
  | { readonly kind: "load" | "unload"; readonly repository: string; readonly model: string }
  | { readonly kind: "shared-memory-status" | "shared-memory-change" }
  | { readonly kind: "trace-settings" | "log-settings" };

/** Whether a URL is the Open Inference Protocol's. */
export function isOipUrl(url: string): boolean {
  return /^\/v2(?:[/?]|$)/.test(url);
}

/**
 * @param path without its query string
 * @returns undefined where nothing is; "wrong method" where something else may be asked
 * @throws INVALID_ARGUMENT for percent-encoding that is none
 */
export function parseOipPath(method: string, path: string): OipTarget | "wrong method" | undefined {
  const segments = path.replace(/\/$/, "").split("/").slice(2).map(decodePercent);
  const found = match(segments);
  if (found === undefined) return undefined;
  return found.methods.includes(method) ? found.target : "wrong method";
}

interface Found {
  readonly methods: readonly string[];
  readonly target: OipTarget;
}

const get = (target: OipTarget): Found => ({ methods: ["GET"], target });
const post = (target: OipTarget): Found => ({ methods: ["POST"], target });

function match(segments: readonly string[]): Found | undefined {
  const [first, ...rest] = segments;
  switch (first) {
    case undefined:
      return get({ kind: "server-metadata" });
    case "health":
      if (rest.length !== 1) return undefined;
      if (rest[0] === "live") return get({ kind: "live" });
      return rest[0] === "ready" ? get({ kind: "ready" }) : undefined;
    case "models":
      return matchModels(rest);
    case "repository":
      return matchRepository(rest);
    case "systemsharedmemory":
    case "cudasharedmemory":
      return matchSharedMemory(rest);
    case "trace":
      return rest.join("/") === "setting"
        ? { methods: ["GET", "POST"], target: { kind: "trace-settings" } }
        : undefined;
    case "logging":
      return rest.length === 0 ? { methods: ["GET", "POST"], target: { kind: "log-settings" } } : undefined;
    default:
      return undefined;
  }
}

function matchModels(segments: readonly string[]): Found | undefined {
  const [model, ...rest] = segments;
  if (model === undefined) return get({ kind: "model-list" });
  if (model === "stats" && rest.length === 0) return get({ kind: "all-statistics" });
  if (model === "") return undefined;
  const versioned = rest[0] === "versions" && rest[1] !== undefined && rest[1] !== "";
  const version = versioned ? rest[1]! : "";
  const action = versioned ? rest.slice(2) : rest;
  if (action.join("/") === "trace/setting") return { methods: ["GET", "POST"], target: { kind: "trace-settings" } };
  if (action.length > 1) return undefined;
  switch (action[0]) {
    case undefined:
      return get({ kind: "model-metadata", model, version });
    case "ready":
      return get({ kind: "model-ready", model, version });
    case "config":
      return get({ kind: "model-config", model, version });
    case "stats":
      return get({ kind: "model-statistics", model, version });
    case "infer":
      return post({ kind: "infer", model, version });
    default:
      return undefined;
  }
}

function matchRepository(segments: readonly string[]): Found | undefined {
  const named = segments[0] !== "index" && segments[0] !== "models";
  const repository = named ? (segments[0] ?? "") : "";
  const [what, model, action, ...more] = named ? segments.slice(1) : segments;
  if (what === "index" && model === undefined) return post({ kind: "index", repository });
  if (what !== "models" || model === undefined || model === "" || more.length > 0) return undefined;
  return action === "load" || action === "unload" ? post({ kind: action, repository, model }) : undefined;
}

function matchSharedMemory(segments: readonly string[]): Found | undefined {
  const action = segments[0] === "region" ? segments[2] : segments[0];
  if (segments.length !== (segments[0] === "region" ? 3 : 1)) return undefined;
  if (action === "status") return get({ kind: "shared-memory-status" });
  return action === "register" || action === "unregister" ? post({ kind: "shared-memory-change" }) : undefined;
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidArgument(`"${text}" in the path is not percent-encoded UTF-8`);
  }
}
