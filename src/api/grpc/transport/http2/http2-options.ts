import { requireInteger } from "../../../../options.js";
import { invalidArgument } from "../../../../status.js";
import { type GrpcTransportOptions, validateGrpcTransportOptions } from "../transport-options.js";
import { defaultFrameBytes, defaultWindowBytes, largestFrameBytes, largestWindowBytes } from "./protocol.js";

/** What our own transport can be told beside what every transport can. Each bound is there because somebody lacked it. */
export interface Http2Limits {
  // Connections
  /** Open at a time; more are closed at once. Default 10 000. */
  readonly maxConnections: number;
  /** From accepting a connection to its first SETTINGS, TLS included; and for any frame or header block, once begun. Default 10 s. */
  readonly handshakeTimeoutMs: number;
  /** A connection without calls is asked to close after this long. Default 0: never. */
  readonly maxConnectionIdleMs: number;
  /** A connection on which nothing came for this long is asked for a sign of life. Default 2 h. */
  readonly keepaliveTimeMs: number;
  /** How long that sign may take; then the connection counts as lost. Default 20 s. */
  readonly keepaliveTimeoutMs: number;

  // Requests
  /** Largest frame that we accept. Default 16 KiB. */
  readonly maxFrameBytes: number;
  /** What a call may send unasked; a message that is larger is given the rest when it is its turn. Default 256 KiB. */
  readonly streamWindowBytes: number;
  /** What a connection may send before we have taken it from the socket. Default 16 MiB. */
  readonly connectionWindowBytes: number;
  /** Messages larger than a stream's window that a connection may be sending at a time, summed up; more wait their turn. Default 256 MiB. */
  readonly maxBufferedRequestBytes: number;
  /** How long a client may send nothing of a message that it has begun and has the window for; then its call ends. Default 60 s. */
  readonly requestStallTimeoutMs: number;
  /** A request's header list, as RFC 9113 counts it, and its header block. Default 64 KiB. */
  readonly maxHeaderListBytes: number;
  /** CONTINUATION frames of a header block. Default 16. */
  readonly maxContinuationFrames: number;

  // Responses
  /** Responses of a connection that wait for its client; above it, its calls get no further requests. Default 64 MiB. */
  readonly maxBufferedResponseBytes: number;
  /** How long a client may take nothing: of an ended call's response, of all its responses when they are too many, or from its socket. Default 60 s. */
  readonly responseStallTimeoutMs: number;
  /** Compress responses of at least this size, as the client accepts. Default 0: none. */
  readonly compressResponsesFromBytes: number;

  // Behaviour
  /** Calls a client may reset within abuseWindowMs, unless most of its calls end well. Default 1000. */
  readonly maxResets: number;
  /** Frames without use for any call (PING, SETTINGS, PRIORITY, empty DATA …) within abuseWindowMs. Default 10 000. */
  readonly maxIdleFrames: number;
  /** Answers to PING and SETTINGS, and resets, that wait for the client to read them. Default 1000. */
  readonly maxUnsentControlFrames: number;
  /** Default 10 s. */
  readonly abuseWindowMs: number;
  /**
   * For so long after an answer the thread looks for the next request before it sleeps, while requests do come in that
   * time; see BusyPoll. Default 100; 0: it sleeps at once.
   */
  readonly busyPollMicros: number;
}

export interface Http2Options extends GrpcTransportOptions, Http2Limits {}

const defaults: Http2Limits = {
  maxConnections: 10_000,
  handshakeTimeoutMs: 10_000,
  maxConnectionIdleMs: 0,
  keepaliveTimeMs: 7_200_000,
  keepaliveTimeoutMs: 20_000,
  maxFrameBytes: defaultFrameBytes,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxBufferedRequestBytes: 256 * 1024 * 1024,
  requestStallTimeoutMs: 60_000,
  maxHeaderListBytes: 64 * 1024,
  maxContinuationFrames: 16,
  maxBufferedResponseBytes: 64 * 1024 * 1024,
  responseStallTimeoutMs: 60_000,
  compressResponsesFromBytes: 0,
  maxResets: 1000,
  maxIdleFrames: 10_000,
  maxUnsentControlFrames: 1000,
  abuseWindowMs: 10_000,
  busyPollMicros: 100,
};

const mostBytes = 2 ** 40;
const longestMs = 1_000_000_000;
const bounds: { readonly [Name in keyof Http2Limits]: { readonly min: number; readonly max: number } } = {
  maxConnections: { min: 1, max: 10_000_000 },
  handshakeTimeoutMs: { min: 1, max: longestMs },
  maxConnectionIdleMs: { min: 0, max: longestMs },
  keepaliveTimeMs: { min: 1, max: 2 ** 31 - 1 },
  keepaliveTimeoutMs: { min: 1, max: 2 ** 31 - 1 },
  maxFrameBytes: { min: defaultFrameBytes, max: largestFrameBytes },
  // Less than what clients may send before they have seen our settings could not be held against them.
  streamWindowBytes: { min: defaultWindowBytes, max: largestWindowBytes },
  connectionWindowBytes: { min: defaultWindowBytes, max: largestWindowBytes },
  maxBufferedRequestBytes: { min: 0, max: mostBytes },
  requestStallTimeoutMs: { min: 1, max: longestMs },
  maxHeaderListBytes: { min: 1024, max: 16 * 1024 * 1024 },
  maxContinuationFrames: { min: 0, max: 100_000 },
  maxBufferedResponseBytes: { min: 1, max: mostBytes },
  responseStallTimeoutMs: { min: 1, max: longestMs },
  compressResponsesFromBytes: { min: 0, max: mostBytes },
  maxResets: { min: 1, max: 1_000_000_000 },
  maxIdleFrames: { min: 1, max: 1_000_000_000 },
  maxUnsentControlFrames: { min: 1, max: 1_000_000 },
  abuseWindowMs: { min: 1, max: longestMs },
  busyPollMicros: { min: 0, max: 10_000 },
};

/** gRPC's names for ours. Those that we do not know do no harm; every limit has a name of our own besides, see ownName(). */
const channelArguments = new Map<string, keyof (GrpcTransportOptions & Http2Limits)>([
  ["grpc.max_receive_message_length", "maxReceiveMessageBytes"],
  ["grpc.max_concurrent_streams", "maxConcurrentStreams"],
  ["grpc.max_connection_age_ms", "maxConnectionAgeMs"],
  ["grpc.max_connection_age_grace_ms", "maxConnectionAgeGraceMs"],
  ["grpc.max_connection_idle_ms", "maxConnectionIdleMs"],
  ["grpc.keepalive_time_ms", "keepaliveTimeMs"],
  ["grpc.keepalive_timeout_ms", "keepaliveTimeoutMs"],
  ["grpc.max_metadata_size", "maxHeaderListBytes"],
  ["grpc.http2.max_frame_size", "maxFrameBytes"],
]);

export function validateHttp2Options(given: Partial<Http2Options>): Http2Options {
  const named: Record<string, number> = {};
  for (const [argument, value] of given.channelArguments ?? []) {
    const name = channelArguments.get(argument) ?? ownName(argument);
    if (name !== undefined) named[name] = unlimited(name, Number(value));
  }
  const limits: Http2Limits = { ...defaults, ...given, ...named };
  for (const name of Object.keys(bounds) as (keyof Http2Limits)[]) requireInteger(name, limits[name], bounds[name]);
  return Object.freeze({ ...limits, ...validateGrpcTransportOptions({ ...given, ...named }) });
}

/** "onnxd.max_resets" for maxResets. Throws INVALID_ARGUMENT for a name of that kind that means nothing. */
function ownName(argument: string): keyof Http2Limits | undefined {
  if (!argument.startsWith("onnxd.")) return undefined;
  const name = argument.slice("onnxd.".length).replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  if (!Object.hasOwn(bounds, name)) throw invalidArgument(`${argument} is no limit of the http2 transport`);
  return name as keyof Http2Limits;
}

/** gRPC says "no limit" with -1 or the largest int. */
function unlimited(name: keyof (GrpcTransportOptions & Http2Limits), value: number): number {
  const largestInt = 2 ** 31 - 1;
  if (value === -1 && (name === "maxReceiveMessageBytes" || name === "maxConcurrentStreams")) return largestInt;
  const untimed = name === "maxConnectionAgeMs" || name === "maxConnectionAgeGraceMs" || name === "maxConnectionIdleMs";
  return untimed && value === largestInt ? 0 : value;
}
