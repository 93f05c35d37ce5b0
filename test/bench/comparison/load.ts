// The load generator: h2load, which is C, so that the client is not what is measured.
import { findTool } from "../../support/find-tool.js";
import { type Contestant, runOn } from "./machine.js";

export const h2load = findTool("h2load");

export interface Load {
  readonly path: string;
  /** A file with the body that every call sends. */
  readonly body: string;
  readonly connections: number;
  /** Calls that each connection has under way. */
  readonly inFlight: number;
  /** How long; or else how many calls, counted to the end of the last one. */
  readonly seconds?: number;
  readonly calls?: number;
  /** JSON over HTTP/1.1 at this port, instead of gRPC at the server's own. */
  readonly restPort?: number;
}

export interface Figures {
  readonly callsPerSecond: number;
  /** Of the server's CPU, all threads; NaN where it cannot be known. */
  readonly cpuMicrosPerCall: number;
  readonly meanMicros: number;
}

/** As many calls as go. @throws when any fails */
export function callsPerSecond(server: Contestant, load: Load): Figures {
  const before = server.cpuSeconds();
  const output = runOn("load", h2load!, [
    ...(load.calls === undefined ? ["-D", String(load.seconds), "--warm-up-time=0"] : ["-n", String(load.calls)]),
    ...["-c", String(load.connections), "-m", String(load.inFlight), "-t", "1"],
    ...target(server, load),
  ]);
  const used = server.cpuSeconds() - before;
  const done = Number(/(\d+) done/.exec(output)?.[1]);
  if (!/\b0 failed/.test(output) || !(done > 0)) throw new Error(`calls failed:\n${output}`);
  return {
    callsPerSecond: Number(/([\d.]+) req\/s/.exec(output)?.[1]),
    cpuMicrosPerCall: (used * 1e6) / done,
    meanMicros: microsOf(/time for request:\s+\S+\s+\S+\s+(\S+)/.exec(output)?.[1] ?? ""),
  };
}

function target({ port }: Contestant, { path, body, restPort }: Load): string[] {
  const address = `http://127.0.0.1:${restPort ?? port}${path}`;
  if (restPort !== undefined) return ["--h1", `--data=${body}`, "-H", "content-type: application/json", address];
  return [`--data=${body}`, "-H", "content-type: application/grpc", "-H", "te: trailers", address];
}

/** "1.23ms" */
function microsOf(text: string): number {
  const [, number, unit] = /^([\d.]+)(us|ms|s)$/.exec(text) ?? [];
  return Number(number) * (unit === "us" ? 1 : unit === "ms" ? 1000 : 1e6);
}
