// How a job lies on disk, for operators with a shell as well:
//   TRAINING_DIR/jobs/ID/job.json          the job, as of its last change of state or checkpoint
//                        events.ndjson     all that has happened, an event a line
//                        data/             the rows as they came, until the job ends
//                        base/             the version that is trained further, until the job ends
//                        checkpoint.bin    what training needs to go on, until the job ends
//                        candidate.onnx    the trained model
//   TRAINING_DIR/jobs/.receiving-…/        data that are still coming
//   TRAINING_DIR/models/NAME/VERSION/      published models that no configuration names
import { join } from "node:path";

export const receivingPrefix = ".receiving-";

export const jobsFolder = (trainingDir: string): string => join(trainingDir, "jobs");
export const trainedModelsFolder = (trainingDir: string): string => join(trainingDir, "models");

export interface JobFolder {
  readonly path: string;
  readonly job: string;
  readonly events: string;
  readonly data: string;
  readonly base: string;
  readonly checkpoint: string;
  readonly candidate: string;
  /** Rows made ready, where they do not fit into memory. */
  readonly scratch: string;
}

export function jobFolder(path: string): JobFolder {
  return {
    path,
    job: join(path, "job.json"),
    events: join(path, "events.ndjson"),
    data: join(path, "data"),
    base: join(path, "base"),
    checkpoint: join(path, "checkpoint.bin"),
    candidate: join(path, "candidate.onnx"),
    scratch: join(path, "scratch"),
  };
}

/** In a version's directory: which job made it. A publication that was cut short is recognised by it. */
export const originFile = "onnxd_job.json";
