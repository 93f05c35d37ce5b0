// The trained model as a file: weights in their places, and in its metadata all that a later training, a person or a
// client needs to know.
import { decodeGraphModel, encodeGraphModel, patchWeights, type WeightsPatch } from "../onnx/index.js";
import { StepSession } from "../runtime/index.js";
import { failedPrecondition, internal, invalidArgument } from "../status.js";
import { formatShape, type NumericTensor, type Tensor } from "../tensor/index.js";
import type { FittedTarget } from "./data/fit-target.js";
import type { Preparation } from "./data/preparation.js";
import type { WholeModel } from "./frozen-prefix.js";
import type { LossOptions } from "./losses.js";
import { repeatRows } from "./raw-rows.js";
import type { TabularOutputs } from "./tabular-model.js";

/** What a trained model remembers of its making, under the key "onnxd.training". */
export interface TrainingRecord {
  /** The value that the loss was attached to; further training attaches there again. */
  readonly output: string;
  /** What a model for a table gives. */
  readonly outputs?: TabularOutputs | undefined;
  readonly loss: LossOptions;
  /** Two classes with one score: from which probability on it is the second. */
  readonly threshold: number;
  /** The weights that were trained, by name. */
  readonly parameters: readonly string[];
  readonly target?: FittedTarget | undefined;
  readonly preparation?: Preparation | undefined;
}

/** Of a model that was trained on a table. */
export type TableRecord = TrainingRecord & {
  readonly outputs: TabularOutputs;
  readonly target: FittedTarget;
  readonly preparation: Preparation;
};

export const metadataKeys = {
  training: "onnxd.training",
  /** By output: its classes' labels, in the order of the scores. */
  classLabels: "onnxd.class_labels",
  metrics: "onnxd.metrics",
  /** Which job, data, base version and seed it came from. */
  lineage: "onnxd.lineage",
} as const;

/** @param classLabels by output, of a model that was not trained on a table */
export function trainingMetadata(
  record: TrainingRecord,
  metrics: ReadonlyMap<string, number>,
  lineage: Readonly<Record<string, unknown>>,
  classLabels: Readonly<Record<string, readonly string[]>> = {},
): Map<string, string> {
  const metadata = new Map<string, string>([
    [metadataKeys.training, JSON.stringify(record)],
    [metadataKeys.metrics, JSON.stringify(Object.fromEntries(metrics))],
    [metadataKeys.lineage, JSON.stringify(lineage)],
  ]);
  if (Object.keys(classLabels).length > 0) metadata.set(metadataKeys.classLabels, JSON.stringify(classLabels));
  if (record.target?.kind === "classes" && record.outputs?.kind === "classes") {
    const { labels, labelType } = record.target;
    const values = labelType === "int64" ? labels.map(Number) : labels;
    metadata.set(metadataKeys.classLabels, JSON.stringify({ [record.outputs.scores]: values }));
  }
  return metadata;
}

/** undefined for a model that was not trained here. Throws INVALID_ARGUMENT when the record cannot be read. */
export function readTrainingRecord(metadata: ReadonlyMap<string, string>): TrainingRecord | undefined {
  const text = metadata.get(metadataKeys.training);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as TrainingRecord;
  } catch (error) {
    throw invalidArgument(`the model's metadata "${metadataKeys.training}" cannot be read`, { cause: error });
  }
}

/** Throws FAILED_PRECONDITION for a model that was not trained here on a table. */
export function requireTableRecord(metadata: ReadonlyMap<string, string>): TableRecord {
  const record = readTrainingRecord(metadata);
  if (record?.preparation === undefined || record.target === undefined || record.outputs === undefined) {
    throw failedPrecondition(
      "the model was not trained on a table here; its file does not say how its columns were used",
    );
  }
  return record as TableRecord;
}

/** The file of a new model. */
export function exportNew(
  { graph, operatorSets }: WholeModel,
  weights: ReadonlyMap<string, NumericTensor>,
  metadata: ReadonlyMap<string, string>,
): Uint8Array {
  const trained = graph.clone();
  for (const [name, tensor] of weights) trained.initializers.set(name, tensor);
  return encodeGraphModel(trained, { operatorSets, metadata });
}

/** The file a model was fine-tuned from, with the trained weights: all else stays byte for byte as it was. */
export function exportPatched(
  file: Uint8Array,
  patch: Omit<WeightsPatch, "metadata">,
  metadata: ReadonlyMap<string, string>,
): Uint8Array {
  return patchWeights(file, { ...patch, metadata });
}

/**
 * Loads the file in a session of its own and holds what it gives against what the trainer says of the same rows: a
 * file counts only if it is the model that was trained. Throws INTERNAL with the difference.
 * @param rowsAtOnce what the file takes; default: all of them
 */
export function verifyExported(
  file: Uint8Array,
  feeds: ReadonlyMap<string, Tensor>,
  output: string,
  expected: Float32Array,
  rowsAtOnce?: number,
): void {
  const difference = (optimize: boolean) => {
    const session = new StepSession(file, { optimize });
    try {
      return largestDifference(session, feeds, output, expected, rowsAtOnce);
    } finally {
      session.release();
    }
  };
  const fused = difference(true);
  if (fused.share < tolerance) return;
  // Stored weights let the runtime fuse layers, which rounds otherwise than the trainer does; a deep net adds that up.
  if (fused.share < 100 * tolerance && difference(false).share < tolerance) return;
  throw internal(
    `the exported model gives ${fused.given} where the trainer gives ${fused.expected}: they are not the same`,
  );
}

interface Difference {
  /** Of the largest number expected, 1 at least; NaN where one is not a number. */
  readonly share: number;
  readonly given: number;
  readonly expected: number;
}

function largestDifference(
  session: StepSession,
  feeds: ReadonlyMap<string, Tensor>,
  output: string,
  expected: Float32Array,
  rowsAtOnce: number | undefined,
): Difference {
  const rows = [...feeds.values()][0]!.shape[0]!;
  const size = expected.length / rows;
  const atOnce = rowsAtOnce ?? rows;
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
  let largest: Difference = { share: 0, given: 0, expected: 0 };
  for (let first = 0; first < rows; first += atOnce) {
    const end = Math.min(first + atOnce, rows);
    const some = new Map([...feeds].map(([name, tensor]) => [name, someRows(tensor, first, end)]));
    const { shape, data } = session.run(repeatRows(some, atOnce), [output]).get(output)!;
    if (data.length !== size * atOnce) {
      throw internal(
        `the exported model gives ${formatShape(shape)} for ${atOnce} rows, the trainer ${size} numbers a row`,
      );
    }
    for (let i = 0; i < size * (end - first); i++) {
      const [given, wanted] = [Number(data[i]), expected[first * size + i]!];
      const share = Math.abs(given - wanted) / scale;
      // Written so that a difference which is not a number stays.
      if (!(share <= largest.share)) largest = { share, given, expected: wanted };
      if (Number.isNaN(share)) return largest;
    }
  }
  return largest;
}

function someRows({ dtype, shape, data }: Tensor, first: number, end: number): Tensor {
  const size = data.length / shape[0]!;
  return { dtype, shape: [end - first, ...shape.slice(1)], data: data.slice(first * size, end * size) };
}

/** What a file gives for some rows. */
export function runOnce(file: Uint8Array, feeds: ReadonlyMap<string, Tensor>, output: string): Float32Array {
  const session = new StepSession(file);
  try {
    return session.run(feeds, [output]).get(output)!.data as Float32Array;
  } finally {
    session.release();
  }
}

const tolerance = 1e-5;

/** The file with one more output, where it does not have it already: a value within can be looked at then. */
export function withOutput(file: Uint8Array, output: string): Uint8Array {
  const { graph, operatorSets } = decodeGraphModel(file);
  if (graph.outputs.some(({ name }) => name === output)) return file;
  graph.output(output);
  return encodeGraphModel(graph, { operatorSets });
}
