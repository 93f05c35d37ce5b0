// A job's data on disk, as the service lays them down and the trainer finds them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type DataSets, openDataSets } from "../../src/training/jobs/data-set-reader.js";
import { DataSetWriter } from "../../src/training/jobs/data-set-writer.js";
import type { JobSpec, JobStart, TrainingSpec } from "../../src/training/jobs/job-spec.js";
import type { DataPiece } from "../../src/training/jobs/training-service.js";

const home = mkdtempSync(join(tmpdir(), "onnxd-job-"));
after(() => rmSync(home, { recursive: true, force: true }));

export const jobFolder = (): string => mkdtempSync(join(home, "job-"));

/** CSV text, rows as objects, or tensors. */
export type GivenData =
  | string
  | Uint8Array
  | readonly Readonly<Record<string, unknown>>[]
  | Omit<Extract<DataPiece, { kind: "tensors" }>, "kind">;

export async function jobData(train: GivenData, validation?: GivenData): Promise<{ folder: string; data: DataSets }> {
  const folder = jobFolder();
  const writer = new DataSetWriter({ folder, trainingDataDir: undefined, maxBytes: 1e9 });
  await writer.add("train", pieceOf(train));
  if (validation !== undefined) await writer.add("validation", pieceOf(validation));
  await writer.finish();
  await writer.close();
  return { folder, data: openDataSets(folder) };
}

function pieceOf(given: GivenData): DataPiece {
  if (typeof given === "string") return { kind: "csv", bytes: Buffer.from(given) };
  if (given instanceof Uint8Array) return { kind: "csv", bytes: given };
  if (Array.isArray(given)) {
    return { kind: "json-lines", bytes: Buffer.from(given.map((row) => JSON.stringify(row)).join("\n")) };
  }
  return { kind: "tensors", ...(given as Omit<Extract<DataPiece, { kind: "tensors" }>, "kind">) };
}

/** A spec with everything left open but where weights come from. */
export function jobSpec(
  start: JobStart,
  { training = {}, ...given }: Partial<Omit<JobSpec, "training">> & { readonly training?: Partial<TrainingSpec> } = {},
): JobSpec {
  return {
    model: "m",
    start,
    classLabels: [],
    gate: { conditions: [], allowWorse: false },
    hold: false,
    limits: {},
    tags: {},
    ...given,
    training: { optimizer: {}, schedule: {}, seed: 0, classWeights: {}, ...training },
  };
}
