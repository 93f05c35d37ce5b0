import type { Clock } from "../clock.js";
import { Code, cancelled, StatusError } from "../status.js";

/** How often, and how far apart, a call is tried again that the server could not take just then. */
export interface RetryPolicy {
  /** Calls in all, the first included. Default 4; 1 never tries again. */
  readonly maxAttempts: number;
  /** Before the second attempt. Default 100. */
  readonly initialBackoffMs: number;
  /** At most, between two attempts. Default 5000. */
  readonly maxBackoffMs: number;
  /** By which the wait grows each time. Default 2. */
  readonly backoffMultiplier: number;
}

export const defaultRetryPolicy: RetryPolicy = {
  maxAttempts: 4,
  initialBackoffMs: 100,
  maxBackoffMs: 5000,
  backoffMultiplier: 2,
};

export interface RetryContext {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  /** From 0 up to, and without, 1. */
  readonly random: () => number;
  /** On the clock's scale; an attempt that would begin later is not made. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs an attempt until one succeeds, fails for good, or the policy or the deadline ends it; throws what the last one
 * threw. Inference changes nothing at the server, so that a call may safely be made twice.
 */
export async function withRetry<T>(context: RetryContext, attempt: () => Promise<T>): Promise<T> {
  const { policy, clock, random, deadlineMs, signal } = context;
  for (let made = 1; ; made++) {
    throwIfAborted(signal);
    try {
      return await attempt();
    } catch (thrown) {
      if (made >= policy.maxAttempts || !isTransient(thrown, signal)) throw thrown;
      const delayMs = backoffMs(policy, made, random);
      if (clock.now() + delayMs >= deadlineMs) throw thrown;
      await wait(clock, delayMs, signal);
    }
  }
}

/**
 * initial × multiplier^(n-1), at most the maximum; of that, half for certain and half by chance, so that clients that
 * failed together do not come back together.
 */
export function backoffMs(policy: RetryPolicy, attemptsMade: number, random: () => number): number {
  const whole = Math.min(
    policy.maxBackoffMs,
    policy.initialBackoffMs * policy.backoffMultiplier ** Math.max(0, attemptsMade - 1),
  );
  return whole / 2 + (whole / 2) * random();
}

/**
 * UNAVAILABLE says so itself. CANCELLED that nobody here asked for is a connection that the server closed under the
 * call (https://github.com/grpc/grpc-node/issues/3068).
 */
export function isTransient(thrown: unknown, signal: AbortSignal | undefined): boolean {
  if (!(thrown instanceof StatusError)) return false;
  if (thrown.code === Code.CANCELLED) return signal?.aborted !== true;
  return thrown.code === Code.UNAVAILABLE;
}

export function wait(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      timer.cancel();
      reject(abortError());
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError();
}

export function abortError(): StatusError {
  return cancelled("Cancelled by the caller's signal");
}
