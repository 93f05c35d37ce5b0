import { decodeGraphModel } from "../onnx/index.js";
import { RowsWithNumbers } from "./answered-rows.js";
import { targetFieldOf } from "./build-examples.js";
import { type PreparedTable, prepareTable, type TableOptions } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import type { Predicted } from "./evaluator.js";
import {
  exportNew,
  exportPatched,
  requireTableRecord,
  type TrainingRecord,
  trainingMetadata,
  verifyExported,
} from "./exported-model.js";
import { numbers } from "./graph-emitter.js";
import { LayerRoom } from "./layers/layer-room.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import { ofValidation } from "./of-validation.js";
import { trainableTensors } from "./parameter-slots.js";
import { PreparedTraining, type TrainingSurroundings } from "./prepared-training.js";
import { TableRows } from "./raw-rows.js";
import { bothProbabilities, type TabularModel, type TabularOutputs, tabularModel } from "./tabular-model.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface TabularTrainingOptions {
  readonly table: Omit<TableOptions, "seed" | "task" | "fitted">;
  readonly layers: readonly LayerSpec[];
  readonly training: GivenTrainingOptions;
  /** Rows to validate on, instead of a share of the others. */
  readonly validation?: Table | undefined;
  readonly surroundings?: TrainingSurroundings | undefined;
}

/** A table that has been prepared, and the rows to validate on if they are others. */
export interface PreparedTables {
  readonly table: Table;
  readonly prepared: PreparedTable;
  readonly validation?: { readonly table: Table; readonly prepared: PreparedTable } | undefined;
}

/** A model for a table, ready to be trained: a new one, or one that learns from more rows. */
export class TabularTraining extends PreparedTraining {
  readonly prepared: PreparedTable;
  readonly model: TabularModel;
  readonly options: TrainingOptions;
  /** The file that is trained further; undefined for a new model. */
  readonly #base: Uint8Array | undefined;

  /** A new model. Throws INVALID_ARGUMENT when table, layers and options do not fit. */
  static start(table: Table, given: TabularTrainingOptions): TabularTraining {
    const options = validateTrainingOptions(given.training);
    const task = taskOf(options);
    const tables = prepareTables(table, given.validation, { ...given.table, task, seed: options.seed });
    return TabularTraining.of(tables, { layers: given.layers, options, surroundings: given.surroundings });
  }

  /** A new model for tables that have been prepared. */
  static of(
    tables: PreparedTables,
    {
      layers,
      options: given,
      surroundings = {},
    }: {
      readonly layers: readonly LayerSpec[];
      readonly options: TrainingOptions;
      readonly surroundings?: TrainingSurroundings | undefined;
    },
  ): TabularTraining {
    const options = withSparseLoss(given);
    const { preparation, target } = tables.prepared;
    const { seed, threshold, loss, batchSize } = options;
    const { memoryBytes = Number.POSITIVE_INFINITY } = surroundings;
    const room = new LayerRoom(memoryBytes, Math.min(batchSize, tables.prepared.split.train.length));
    const model = tabularModel(preparation, target, { layers, loss, seed, threshold, room });
    return new TabularTraining(tables, model, options, surroundings, undefined);
  }

  /**
   * A model trained here before, to go on with other rows. What was learned of its columns stays as it is, so that
   * the same cell means the same; its loss is the one it had.
   */
  static update(
    file: Uint8Array,
    table: Table,
    { table: tableOptions = {}, training, validation, surroundings }: TabularUpdateOptions,
  ): TabularTraining {
    const { graph, operatorSets, metadata } = decodeGraphModel(file);
    const record = requireTableRecord(metadata);
    const options = validateTrainingOptions({ ...training, loss: record.loss, threshold: record.threshold });
    const fitted = { preparation: record.preparation, target: record.target };
    const { seed } = options;
    const target = record.target.column;
    const tables = prepareTables(table, validation, { ...tableOptions, target, task: taskOf(options), seed, fitted });
    const parameters = trainableTensors(graph).filter(({ name }) => record.parameters.includes(name));
    const trained = { output: record.output, parameters, trainDropout: true, trainBatchNorm: true };
    const model = { graph, operatorSets, trained, outputs: record.outputs };
    return new TabularTraining(tables, model, options, surroundings, file);
  }

  private constructor(
    { table, prepared, validation }: PreparedTables,
    model: TabularModel,
    options: TrainingOptions,
    surroundings: TrainingSurroundings | undefined,
    base: Uint8Array | undefined,
  ) {
    const { target, split } = prepared;
    const rescale = target.kind === "number" ? { mean: target.mean, scale: target.scale } : undefined;
    const sparse = options.loss.kind === "sparse_categorical_crossentropy";
    super({
      whole: model,
      trained: { ...model.trained, rescale },
      rows: answeredRows(table, prepared, sparse),
      split,
      validation: validation === undefined ? undefined : answeredRows(validation.table, validation.prepared, sparse),
      options,
      surroundings,
    });
    this.prepared = prepared;
    this.model = model;
    this.options = options;
    this.#base = base;
  }

  /** The trained model as a file, held against the trainer before it is given out. */
  export(metrics: ReadonlyMap<string, number>, lineage: Readonly<Record<string, unknown>>): Uint8Array {
    const { target, preparation } = this.prepared;
    const { outputs, trained } = this.model;
    const record: TrainingRecord = {
      output: trained.output,
      outputs,
      loss: this.options.loss,
      threshold: this.options.threshold,
      parameters: trained.parameters.map(({ name }) => name),
      target,
      preparation,
    };
    const metadata = trainingMetadata(record, metrics, lineage);
    const weights = this.trainer.weights();
    const file =
      this.#base === undefined
        ? exportNew(this.model, weights, metadata)
        : exportPatched(this.#base, { weights }, metadata);
    const { feeds, predicted } = this.firstRows();
    verifyExported(file, feeds, judgedOutput(outputs), this.#expected(predicted));
    return file;
  }

  /** What the file should give for what the trained part gives. */
  #expected({ predictions }: Predicted): Float32Array {
    const { target } = this.prepared;
    if (target.kind === "number") return predictions.map((value) => value * target.scale + target.mean);
    if (this.options.loss.kind !== "binary_crossentropy") return predictions;
    return bothProbabilities(predictions);
  }
}

export interface TabularUpdateOptions {
  readonly table?: Pick<TableOptions, "weight" | "validationSplit">;
  /** Loss and threshold are the model's own. */
  readonly training: Omit<GivenTrainingOptions, "loss" | "threshold">;
  readonly validation?: Table | undefined;
  readonly surroundings?: TrainingSurroundings | undefined;
}

/** What is learned of the columns is learned from the rows to train on; others are read as those were. */
export function prepareTables(table: Table, validation: Table | undefined, options: TableOptions): PreparedTables {
  const share = validation === undefined ? options.validationSplit : 0;
  const prepared = prepareTable(table, { ...options, ...(share !== undefined && { validationSplit: share }) });
  if (validation === undefined) return { table, prepared };
  const { preparation, target } = prepared;
  const { target: column, task, weight, seed } = options;
  const fitted = { preparation, target };
  const others = ofValidation(() =>
    prepareTable(validation, { target: column, task, weight, seed, fitted, validationSplit: 0 }),
  );
  return { table, prepared, validation: { table: validation, prepared: others } };
}

/** The rows of a table with what they are to be, as a loss takes it. */
export function answeredRows(table: Table, { preparation, target, targets, weights }: PreparedTable, sparse: boolean) {
  const field = targetFieldOf(target, sparse);
  const rows = new TableRows(table, preparation);
  return new RowsWithNumbers(rows, field, numbers(field.dtype, targets), weights);
}

const judgedOutput = (outputs: TabularOutputs): string =>
  outputs.kind === "classes" ? outputs.scores : outputs.prediction;

const taskOf = ({ loss }: TrainingOptions): TableOptions["task"] =>
  loss.kind.endsWith("crossentropy") ? "classification" : "regression";

/** For one class a row, the sparse loss is the categorical one. */
function withSparseLoss(options: TrainingOptions): TrainingOptions {
  if (options.loss.kind !== "categorical_crossentropy") return options;
  return { ...options, loss: { ...options.loss, kind: "sparse_categorical_crossentropy" } };
}
