import { failedPrecondition, type StatusError } from "../../status.js";
import type { Job, JobEvent } from "./job.js";
import type { DataIntake, EvaluationReport, TrainingService } from "./training-service.js";

/** Stands where training would be on a server that has no place for it. */
export class TrainingOff implements TrainingService {
  existing(): Job | undefined {
    throw trainingIsOff();
  }
  async receive(): Promise<DataIntake> {
    throw trainingIsOff();
  }
  get(): Job {
    throw trainingIsOff();
  }
  list(): readonly Job[] {
    throw trainingIsOff();
  }
  queuePosition(): number {
    throw trainingIsOff();
  }
  lastEvent(): number {
    throw trainingIsOff();
  }
  watch(): AsyncIterable<JobEvent> {
    throw trainingIsOff();
  }
  async cancel(): Promise<Job> {
    throw trainingIsOff();
  }
  async delete(): Promise<void> {
    throw trainingIsOff();
  }
  async publish(): Promise<Job> {
    throw trainingIsOff();
  }
  async evaluate(): Promise<EvaluationReport> {
    throw trainingIsOff();
  }
}

const trainingIsOff = (): StatusError =>
  failedPrecondition(
    "training is off on this server; it is turned on with --training_dir, a folder for jobs and new models",
  );
