// What happens to every call before its handler, in the order of a list, and after it, in reverse.
import type { Clock } from "../../clock.js";
import { type Code, deadlineExceeded, type StatusError } from "../../status.js";
import type { CallRecord } from "../../telemetry/index.js";
import { isRequestId, requestIdKey, requestIds } from "../request-id.js";
import { DeadlineTimers } from "./deadline-timers.js";
import type { Call } from "./service-table.js";

/** A call as an interceptor sees it. */
export interface InterceptedCall extends Call {
  /** On the clock's scale. */
  readonly startedMs: number;
  /** Ends the call with this error, and cancels what is still done for it. */
  fail(error: StatusError): void;
}

/** Called once, when a call is over, however it ended. The message is "" for OK. */
export type CallEnd = (code: Code, message: string, call: InterceptedCall) => void;

/**
 * Sees a call before any of its messages is read. Throws a StatusError, or rejects with one, to refuse it; what it
 * returns is called when the call is over. Interceptors that need not wait return no promise: a promise costs a turn.
 */
export type Interceptor = (call: InterceptedCall) => CallEnd | undefined | Promise<CallEnd | undefined>;

/** Hears of every call once, when it is over: the access log, the metrics. */
export type CallObserver = (record: CallRecord, code: Code, durationMs: number, errorMessage: string) => void;

/** What all calls go through today. Others (authentication, authorization) stand between the two. */
export function standardInterceptors(clock: Clock, observer: CallObserver): readonly Interceptor[] {
  return [telemetryInterceptor(clock, observer), deadlineInterceptor(clock)];
}

/** Gives the call its request id, the client's own or a new one, and reports the call's end. The trailers carry the id back. */
export function telemetryInterceptor(clock: Clock, observer: CallObserver): Interceptor {
  const nextRequestId = requestIds();
  // One for all calls: what it needs to know of each, the call has.
  const end: CallEnd = (code, message, call) => observer(call.record, code, clock.now() - call.startedMs, message);
  return (call) => {
    const given = call.metadata.get(requestIdKey);
    call.record.requestId = given !== undefined && isRequestId(given) ? given : nextRequestId();
    return end;
  };
}

/** Ends calls with DEADLINE_EXCEEDED when the client's deadline passes. */
export function deadlineInterceptor(clock: Clock): Interceptor {
  const timers = new DeadlineTimers(clock);
  return (call) => {
    const { deadlineMs } = call.cancellation;
    if (deadlineMs === undefined) return undefined;
    const leftMs = deadlineMs - clock.now();
    if (leftMs <= 0) throw deadlineExceeded("Deadline exceeded before the call was served");
    if (leftMs > maxTimerMs) return undefined;
    return timers.set(deadlineMs, () => call.fail(deadlineExceeded("Deadline exceeded")));
  };
}

/** Node's timers count in 31 bits (24 days) and fire at once beyond. */
const maxTimerMs = 2 ** 31 - 100;
