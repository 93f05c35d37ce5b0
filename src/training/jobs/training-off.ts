import { failedPrecondition, type StatusError } from "../../status.js";
import type { Job, JobEvent } from "./job.js";
import type { DataIntake, EvaluationReport, JobPlace, TrainingService } from "./training-service.js";

/** Stands where training would be on a server that has no place for it. */
export class TrainingOff implements TrainingService {
  readonly #reason: string;

  /** @param reason a sentence for the client */
  constructor(reason: string) {
    this.#reason = reason;
  }

  existing(): Job | undefined {
    throw this.#off();
  }
  async receive(): Promise<DataIntake> {
    throw this.#off();
  }
  get(): Job {
    throw this.#off();
  }
  list(): readonly Job[] {
    throw this.#off();
  }
  places(): readonly JobPlace[] {
    throw this.#off();
  }
  watch(): AsyncIterable<JobEvent> {
    throw this.#off();
  }
  async cancel(): Promise<Job> {
    throw this.#off();
  }
  async delete(): Promise<void> {
    throw this.#off();
  }
  async publish(): Promise<Job> {
    throw this.#off();
  }
  async evaluate(): Promise<EvaluationReport> {
    throw this.#off();
  }

  #off(): StatusError {
    return failedPrecondition(this.#reason);
  }
}
