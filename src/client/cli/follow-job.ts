import type { StatusError } from "../../status.js";
import type { JobEvents } from "../training/job-events.js";
import type { FollowOptions } from "../training/training-client.js";
import { hasEnded, type TrainingJob } from "../training/training-messages.js";
import type { CommandIo } from "./command-line.js";
import { eventJson, JobProgress } from "./job-progress.js";

export interface FollowJobOptions {
  readonly json: boolean;
  /** What users write to run the command line. */
  readonly program: string;
  /** Asked once the model has been published: lines to print after all else. */
  readonly afterwards?: (job: TrainingJob) => Promise<string>;
}

/**
 * Prints a job's events until it ends, or until Ctrl-C. Resolves to the exit code: 0, 1 when the job failed or was
 * cancelled, 130 after Ctrl-C.
 */
export async function followJob(
  start: (options: Required<FollowOptions> & { readonly signal: AbortSignal }) => JobEvents,
  io: CommandIo,
  { json, program, afterwards }: FollowJobOptions,
): Promise<number> {
  const interruption = new AbortController();
  const release = io.onInterrupt?.(() => interruption.abort());
  const progress = new JobProgress(io, program);
  let job: TrainingJob | undefined;
  try {
    const onLost = (reason: StatusError) => progress.lost(reason);
    for await (const event of start({ signal: interruption.signal, onLost })) {
      if (event.kind === "state") job = event.job;
      if (json) io.out(eventJson(event));
      else progress.show(event);
    }
  } catch (thrown) {
    progress.clear();
    if (interruption.signal.aborted) {
      io.error(interrupted(job, program));
      return 130;
    }
    if (job !== undefined) io.error(`Lost sight of job ${job.id}. It may go on: ${program} jobs ${job.id} --watch\n`);
    throw thrown;
  } finally {
    release?.();
  }
  if (job === undefined || !hasEnded(job) || job.state !== "SUCCEEDED") return 1;
  if (!json && afterwards !== undefined) io.out(await afterwards(job));
  return 0;
}

function interrupted(job: TrainingJob | undefined, program: string): string {
  if (job === undefined) return "\nBroken off before the data had been sent: nothing was stored, there is no job\n";
  return [
    `\nJob ${job.id} goes on at the server.\n`,
    `  ${program} jobs ${job.id} --watch    to follow it again\n`,
    `  ${program} jobs ${job.id} --cancel   to stop it\n`,
  ].join("");
}
