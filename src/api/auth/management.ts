import { permissionDenied } from "../../status.js";
import type { Peer } from "../grpc/service-table.js";

/** Who may change what the server serves: callers on this machine, everyone, or nobody. */
export const managementPolicies = ["local", "open", "off"] as const;
export type ManagementPolicy = (typeof managementPolicies)[number];

/**
 * The one place that decides whether a call may change the server: reload its configuration, load, unload, publish or
 * train. Every door asks here before it does any of that.
 * @param call what the refusal calls it
 * @throws PERMISSION_DENIED naming the flag
 */
export function requireManagement(policy: ManagementPolicy, { local }: Pick<Peer, "local">, call: string): void {
  if (policy === "open" || (policy === "local" && local)) return;
  throw permissionDenied(
    policy === "off"
      ? `${call} changes the server, which --management=off forbids`
      : `${call} changes the server and is answered on loopback and Unix sockets only; --management=open allows it from anywhere`,
  );
}
