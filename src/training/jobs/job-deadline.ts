import { deadlineExceeded, type StatusError } from "../../status.js";

/** What a job is ended with that takes longer than limits.max_seconds, or --training_max_seconds. */
export const tooLong = (): StatusError =>
  deadlineExceeded("the job has taken longer than limits.max_seconds (--training_max_seconds) allows");

/** What the process is given beyond that to end by itself: it looks at the time between two steps only. */
export const deadlineGraceMs = 10_000;
