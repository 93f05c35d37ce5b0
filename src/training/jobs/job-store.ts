// Jobs as directories; see job-folder.ts.
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { dataLoss, errorMessage } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { diskError, readIfThere, syncFolder, writeDurably } from "./durable-file.js";
import type { Job } from "./job.js";
import { type JobFolder, jobFolder, jobsFolder, receivingPrefix } from "./job-folder.js";

/** What job.json holds. */
export interface StoredJob {
  readonly format: 1;
  readonly job: Job;
  /** Of training, up to the last checkpoint, over all processes the job has had. */
  readonly secondsTrained: number;
}

export class JobStore {
  readonly #folder: string;
  readonly #logger: Logger;

  private constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
  }

  /** Makes the folder where it is missing, and removes what was still coming in when the server stopped. */
  static async open(trainingDir: string, logger: Logger): Promise<JobStore> {
    const folder = jobsFolder(trainingDir);
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    for (const name of names.filter((name) => name.startsWith(receivingPrefix))) {
      await rm(join(folder, name), { recursive: true, force: true });
    }
    return new JobStore(folder, logger);
  }

  /** Oldest first. One that cannot be read is logged and left alone. */
  async load(): Promise<StoredJob[]> {
    const jobs: StoredJob[] = [];
    for (const name of await readdir(this.#folder)) {
      try {
        const text = await readIfThere(this.folderOf(name).job);
        if (text === undefined) throw dataLoss("it has no job.json");
        const stored = JSON.parse(text.toString()) as StoredJob;
        if (stored.format !== 1 || stored.job.id !== name) throw dataLoss("its job.json is not one of this version");
        jobs.push(stored);
      } catch (error) {
        this.#logger.error("a job cannot be read and is left as it is", { job: name, reason: errorMessage(error) });
      }
    }
    return jobs.sort((a, b) => a.job.created - b.job.created);
  }

  folderOf(id: string): JobFolder {
    return jobFolder(join(this.#folder, id));
  }

  /** A folder that is no job yet, and is gone after a crash. */
  async makeIntake(): Promise<JobFolder> {
    const folder = jobFolder(join(this.#folder, `${receivingPrefix}${randomUUID()}`));
    await mkdir(folder.path);
    return folder;
  }

  /** The intake's folder becomes the job's, whole. */
  async admit(intake: JobFolder, stored: StoredJob): Promise<void> {
    await writeDurably(intake.job, format(stored));
    try {
      await rename(intake.path, join(this.#folder, stored.job.id));
      await syncFolder(this.#folder);
    } catch (error) {
      throw diskError(error);
    }
  }

  write(stored: StoredJob): Promise<void> {
    return writeDurably(this.folderOf(stored.job.id).job, format(stored));
  }

  /** At once for whoever looks, whatever happens while its files are removed. */
  async remove(id: string): Promise<void> {
    const gone = join(this.#folder, `${receivingPrefix}${randomUUID()}`);
    await rename(join(this.#folder, id), gone);
    await rm(gone, { recursive: true, force: true });
  }
}

const format = (stored: StoredJob): string => `${JSON.stringify(stored, null, 1)}\n`;
