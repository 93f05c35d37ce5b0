import { invalidArgument } from "../status.js";

/** What grpc-js dials, and whether the scheme asks for TLS. */
export function grpcTarget(target: string): { readonly address: string; readonly tls: boolean } {
  const { scheme, rest } = split(target);
  if (scheme === "grpc" || scheme === "grpcs") return { address: rest, tls: scheme === "grpcs" };
  if (scheme === undefined) return { address: target, tls: false };
  throw invalidArgument(`this client speaks gRPC: its target is host:port, grpc://, grpcs:// or unix:; got ${target}`);
}

/** The address of a REST server, without a slash at its end, and whether the scheme asks for TLS. */
export function restTarget(target: string): { readonly url: URL; readonly tls: boolean } {
  const { scheme } = split(target);
  if ((scheme !== "http" && scheme !== "https") || !URL.canParse(target)) {
    throw invalidArgument(
      `this client speaks REST: its target is http://host:port or https://host:port; got ${target}`,
    );
  }
  return { url: new URL(target.replace(/\/+$/, "")), tls: scheme === "https" };
}

export function isRestTarget(target: string): boolean {
  const { scheme } = split(target);
  return scheme === "http" || scheme === "https";
}

function split(target: string): { readonly scheme: string | undefined; readonly rest: string } {
  const match = /^([a-z]+):\/\/(.*)$/.exec(target);
  // "unix:///path" is a name that grpc-js knows, as "unix:/path" is.
  if (match === null || match[1] === "unix") return { scheme: undefined, rest: target };
  return { scheme: match[1], rest: match[2]! };
}
