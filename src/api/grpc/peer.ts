import type { Peer } from "./service-table.js";

/** The peer of a TCP connection, from what its socket says. */
export function tcpPeer(remoteAddress: string | undefined, remotePort: number | undefined): Peer {
  if (remoteAddress === undefined) return { address: "unknown", local: false }; // the connection is gone already
  const mapped = remoteAddress.startsWith("::ffff:") && remoteAddress.includes(".");
  const ip = mapped ? remoteAddress.slice("::ffff:".length) : remoteAddress;
  return {
    address: ip.includes(":") ? `[${ip}]:${remotePort}` : `${ip}:${remotePort}`,
    local: ip === "::1" || ip.startsWith("127."),
  };
}

/** The peer of every connection to a Unix socket: clients have no names there. */
export function unixPeer(path: string): Peer {
  return { address: `unix:${path}`, local: true };
}
