import type { IncomingMessage } from "node:http";
import { tcpPeer } from "../grpc/peer.js";
import type { Peer } from "../grpc/service-table.js";

/**
 * Who calls over REST. What a page of another site has the browser on this machine send comes over loopback, and is not
 * the user's word: browsers say in Origin which page it was, on everything that could change something.
 */
export function restPeer({ socket, headers }: IncomingMessage): Peer {
  const peer = tcpPeer(socket.remoteAddress, socket.remotePort);
  return peer.local && headers.origin !== undefined && !isOfThisMachine(headers.origin)
    ? { ...peer, local: false }
    : peer;
}

function isOfThisMachine(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { hostname } = new URL(origin);
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
