import type { Clock } from "../../clock.js";
import type { StatusError } from "../../status.js";
import type { EventLog } from "./event-log.js";
import { hasEnded, type Job, type JobEventKind, type JobState } from "./job.js";
import type { JobFolder } from "./job-folder.js";
import type { JobStore, StoredJob } from "./job-store.js";
import type { TrainingProcess } from "./training-process.js";

/** A job in memory: its record, its events, and the order in which both reach the disk. */
export class LiveJob {
  readonly folder: JobFolder;
  readonly log: EventLog;
  /** While it trains. */
  process: TrainingProcess | undefined;
  /** Set once somebody wants it to end. */
  cancelled = false;
  /** While it is on its way from PENDING to its end. */
  running: Promise<void> | undefined;
  #job: Job;
  #secondsTrained: number;
  readonly #store: JobStore;
  readonly #clock: Clock;
  #writes: Promise<void> = Promise.resolve();

  constructor(stored: StoredJob, log: EventLog, { store, clock }: { readonly store: JobStore; readonly clock: Clock }) {
    this.#job = stored.job;
    this.#secondsTrained = stored.secondsTrained;
    this.log = log;
    this.folder = store.folderOf(stored.job.id);
    this.#store = store;
    this.#clock = clock;
  }

  get job(): Job {
    return this.#job;
  }
  get id(): string {
    return this.#job.id;
  }
  get ended(): boolean {
    return hasEnded(this.#job.state);
  }
  get secondsTrained(): number {
    return this.#secondsTrained;
  }

  /** Seen at once; on disk with the next save(). */
  change(change: Partial<Job>): void {
    this.#job = { ...this.#job, ...change };
  }

  addSeconds(seconds: number): void {
    this.#secondsTrained += seconds;
  }

  /** Resolves once the job as it is now is on disk. */
  save(): Promise<void> {
    const stored: StoredJob = { format: 1, job: this.#job, secondsTrained: this.#secondsTrained };
    const written = this.#writes.then(() => this.#store.write(stored));
    this.#writes = written.catch(() => {});
    return written;
  }

  async tell(event: JobEventKind): Promise<void> {
    await this.log.append(event, this.#clock.wallTime());
  }

  /** Into a state: first the record, then the event, both on disk. */
  async enter(state: JobState, change: Partial<Job> = {}): Promise<void> {
    const ended = hasEnded(state);
    this.change({ ...change, state, ...(ended && { ended: this.#clock.wallTime() }) });
    await this.save();
    await this.tellState();
    if (ended) await this.log.complete();
  }

  async tellState(): Promise<void> {
    await this.log.append({ kind: "state", job: this.#job }, this.#clock.wallTime(), { sync: true });
  }

  /** Of a job that had ended: the event that says so, if a crash came between its record and its event. */
  async tellEnd(): Promise<void> {
    const { newest } = this.log;
    if (newest?.kind === "state" && newest.job.state === this.#job.state) return;
    await this.tellState();
    await this.log.complete();
  }

  fail({ code, message }: Pick<StatusError, "code" | "message">, change: Partial<Job> = {}): Promise<void> {
    return this.enter("FAILED", { ...change, error: { code, message } });
  }
}
