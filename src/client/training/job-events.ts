import type { JobEvent } from "../../gen/onnxd/v1/training.js";
import { Code, StatusError, unavailable } from "../../status.js";
import type { CallOptions, ResolvedClientOptions } from "../client-options.js";
import { backoffMs, isTransient, wait } from "../retry.js";
import { eventOf, hasEnded, requireSuccess, type TrainingEvent, type TrainingJob } from "./training-messages.js";

/** What following a job takes. */
export interface JobCalls {
  /** Makes the call that begins: Train, or WatchJob from the first event wanted. */
  readonly open: (options: CallOptions) => AsyncIterable<JobEvent>;
  /** Whether that call can be made again when nothing has been heard of the job. */
  readonly mayReopen: boolean;
  /** Attempts in a row, at most, to come back to a job that has been heard of. */
  readonly followAttempts: number;
  /** Told before each time that the events are asked for again. */
  readonly onLost: ((reason: StatusError) => void) | undefined;
  /** WatchJob. */
  readonly watch: (id: string, from: bigint, options: CallOptions) => AsyncIterable<JobEvent>;
}

/**
 * A job's events, to its end. When the server goes away they are asked for again, from where they stopped: each event
 * comes once. They can be read once, either with `for await` or by `result()`; leaving the loop ends the call, not the job.
 */
export class JobEvents implements AsyncIterable<TrainingEvent> {
  /** Under which Train may be sent again; "" where a job is only watched. */
  readonly idempotencyKey: string;
  readonly #events: AsyncGenerator<TrainingEvent, void, undefined>;
  #job: TrainingJob | undefined;

  constructor(calls: JobCalls, resolved: ResolvedClientOptions, options: CallOptions, idempotencyKey = "") {
    this.idempotencyKey = idempotencyKey;
    this.#events = follow(calls, resolved, options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrainingEvent, void, undefined> {
    for await (const event of this.#events) {
      if (event.kind === "state") this.#job = event.job;
      yield event;
    }
  }

  /**
   * Reads what events are left, and resolves to the job as it ended.
   * Errors: the job's own when it FAILED or was CANCELLED.
   */
  async result(): Promise<TrainingJob> {
    for await (const _ of this);
    if (this.#job === undefined || !hasEnded(this.#job)) {
      throw new StatusError(Code.FAILED_PRECONDITION, "the events were read, but not to the job's end");
    }
    return requireSuccess(this.#job);
  }
}

async function* follow(
  { open, mayReopen, watch, followAttempts, onLost }: JobCalls,
  { clock, random, retry }: ResolvedClientOptions,
  { timeoutMs, ...options }: CallOptions,
): AsyncGenerator<TrainingEvent, void, undefined> {
  const deadlineMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : clock.now() + timeoutMs;
  let jobId = "";
  let last = 0n;
  let failures = 0;
  for (;;) {
    const left = deadlineMs - clock.now();
    const call = timeoutMs === undefined ? options : { ...options, timeoutMs: Math.max(1, Math.ceil(left)) };
    try {
      for await (const message of jobId === "" ? open(call) : watch(jobId, last + 1n, call)) {
        failures = 0;
        if (message.job !== "") jobId = message.job;
        // What has been seen: a Train that is sent again tells a job's story from its beginning.
        if (message.sequence !== 0n && message.sequence <= last) continue;
        last = message.sequence;
        const event = eventOf(message);
        if (event === undefined) continue;
        yield event;
        if (event.kind === "state" && hasEnded(event.job)) return;
      }
      // A dry run has no job, and ends without one.
      if (jobId === "") return;
      throw unavailable("the server ended the call before the job had ended");
    } catch (thrown) {
      // The server may not have noticed yet that the call before this one, of the same key, is gone.
      const overtaken = failures > 0 && jobId === "" && thrown instanceof StatusError && thrown.code === Code.ABORTED;
      if (!overtaken && !isTransient(thrown, options.signal)) throw thrown;
      const attempts = jobId === "" ? (mayReopen ? retry.maxAttempts : 1) : followAttempts;
      if (++failures >= attempts) throw thrown;
      const delayMs = backoffMs(retry, failures, random);
      if (clock.now() + delayMs >= deadlineMs) throw thrown;
      onLost?.(thrown as StatusError);
      await wait(clock, delayMs, options.signal);
    }
  }
}
