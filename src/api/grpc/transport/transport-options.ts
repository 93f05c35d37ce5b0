import { requireInteger } from "../../../options.js";
import type { TlsOptions } from "../../tls/tls-options.js";

/** What every transport can be told. */
export interface GrpcTransportOptions {
  /** A request message, decompressed, at most. Default 64 MiB. Responses have no limit. */
  readonly maxReceiveMessageBytes: number;
  /** Calls at a time on one connection; more wait at the client. Default 1000. */
  readonly maxConcurrentStreams: number;
  /**
   * After about this long (within a tenth, so that clients do not all come back at once) a connection is asked to
   * close, so that clients spread again over replicas. Default 0: never.
   */
  readonly maxConnectionAgeMs: number;
  /** How long calls may go on on a connection that was asked to close for its age. Default 0: until they end. */
  readonly maxConnectionAgeGraceMs: number;
  /** Options by their gRPC names ("grpc.keepalive_time_ms"), handed on as they are; they win over those above. Default none. */
  readonly channelArguments: ReadonlyMap<string, string | number>;
  /** Speak TLS. Default undefined: plain text. */
  readonly tls: TlsOptions | undefined;
}

export function validateGrpcTransportOptions(given: Partial<GrpcTransportOptions>): GrpcTransportOptions {
  const options: GrpcTransportOptions = {
    maxReceiveMessageBytes: 64 * 1024 * 1024,
    maxConcurrentStreams: 1000,
    maxConnectionAgeMs: 0,
    maxConnectionAgeGraceMs: 0,
    channelArguments: new Map(),
    tls: undefined,
    ...given,
  };
  requireInteger("maxReceiveMessageBytes", options.maxReceiveMessageBytes, { min: 1, max: 2 ** 31 - 1 });
  requireInteger("maxConcurrentStreams", options.maxConcurrentStreams, { min: 1, max: 2 ** 31 - 1 });
  requireInteger("maxConnectionAgeMs", options.maxConnectionAgeMs, { min: 0, max: 1_000_000_000 });
  requireInteger("maxConnectionAgeGraceMs", options.maxConnectionAgeGraceMs, { min: 0, max: 1_000_000_000 });
  return Object.freeze(options);
}

/** What a client reads after "Received message larger than max (…)": whose limit it was and how it is raised. */
export const receiveLimitHint = "the server's limit is set with --max_receive_message_bytes";
