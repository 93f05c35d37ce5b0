import type { Clock } from "../clock.js";
import { requireInteger } from "../options.js";
import { invalidArgument } from "../status.js";
import { defaultRetryPolicy, type RetryPolicy } from "./retry.js";

/** What a client is told once. */
export interface ClientOptions {
  /** How long a call may take, attempts and waits included. Default 60000. */
  readonly timeoutMs?: number;
  /** Default: 4 attempts on UNAVAILABLE, about 100, 200 and 400 ms apart. */
  readonly retry?: Partial<RetryPolicy>;
  /** true trusts the system's certificate authorities. Default: what the target's scheme says. */
  readonly tls?: boolean | TlsOptions;
  /** Sent with every call: gRPC metadata, or HTTP header fields. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** A response, at most. Default 2147483647; grpc-js's own 4 MiB are less than many models answer. */
  readonly maxReceiveMessageBytes?: number;
  /** Time, for tests. */
  readonly clock?: Clock;
  /** Chance, for tests: from 0 up to, and without, 1. */
  readonly random?: () => number;
}

/** PEM, as read from files. */
export interface TlsOptions {
  /** Certificate authorities to trust in the place of the system's. */
  readonly ca?: Uint8Array | string;
  /** The client's own certificate and key, where the server asks for one. */
  readonly cert?: Uint8Array | string;
  readonly key?: Uint8Array | string;
  /** The name that the server's certificate is for, when it is not the target's. */
  readonly serverName?: string;
}

/** What a single call may be told. */
export interface CallOptions {
  /** In the place of the client's. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Beside the client's. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** ClientOptions, complete. */
export interface ResolvedClientOptions {
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly tls: TlsOptions | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly maxReceiveMessageBytes: number;
  readonly clock: Clock;
  readonly random: () => number;
}

export function resolveClientOptions(given: ClientOptions, tlsByScheme: boolean): ResolvedClientOptions {
  const { tls = tlsByScheme } = given;
  if (tls === false && tlsByScheme) throw invalidArgument("tls: false contradicts the target's scheme");
  const resolved: ResolvedClientOptions = {
    timeoutMs: given.timeoutMs ?? 60_000,
    retry: { ...defaultRetryPolicy, ...given.retry },
    tls: tls === true ? {} : tls === false ? undefined : tls,
    metadata: given.metadata ?? {},
    maxReceiveMessageBytes: given.maxReceiveMessageBytes ?? 2 ** 31 - 1,
    clock: given.clock ?? waitingClock,
    random: given.random ?? Math.random,
  };
  requireInteger("timeoutMs", resolved.timeoutMs, { min: 1, max: 2 ** 31 - 1 });
  requireInteger("retry.maxAttempts", resolved.retry.maxAttempts, { min: 1, max: 1000 });
  requireInteger("maxReceiveMessageBytes", resolved.maxReceiveMessageBytes, { min: 1, max: 2 ** 31 - 1 });
  if ((resolved.tls?.cert === undefined) !== (resolved.tls?.key === undefined)) {
    throw invalidArgument("tls.cert and tls.key go together; got one of them");
  }
  return Object.freeze(resolved);
}

/** Unlike the server's clock, its timers keep the process alive: somebody awaits what comes after them. */
const waitingClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimer(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};
