import { decodeGraphModel } from "../onnx/index.js";
import { failedPrecondition } from "../status.js";
import { targetFieldOf } from "./build-examples.js";
import { type PreparedTable, prepareTable, type TableOptions } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import type { Predicted } from "./evaluator.js";
import type { ExampleStoreOptions } from "./example-store.js";
import {
  exportNew,
  exportPatched,
  readTrainingRecord,
  type TrainingRecord,
  trainingMetadata,
  verifyExported,
} from "./exported-model.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import { trainableTensors } from "./parameter-slots.js";
import { PreparedTraining } from "./prepared-training.js";
import { TableRows } from "./raw-rows.js";
import { type TabularModel, type TabularOutputs, tabularModel } from "./tabular-model.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface TabularTrainingOptions {
  readonly table: Omit<TableOptions, "seed" | "task" | "fitted">;
  readonly layers: readonly LayerSpec[];
  readonly training: GivenTrainingOptions;
  readonly store?: ExampleStoreOptions;
}

/** A model for a table, ready to be trained: a new one, or one that learns from more rows. */
export class TabularTraining extends PreparedTraining {
  readonly prepared: PreparedTable;
  readonly model: TabularModel;
  readonly options: TrainingOptions;
  /** The file that is trained further; undefined for a new model. */
  readonly #base: Uint8Array | undefined;

  /** A new model. Throws INVALID_ARGUMENT when table, layers and options do not fit. */
  static start(
    table: Table,
    { table: tableOptions, layers, training, store }: TabularTrainingOptions,
  ): TabularTraining {
    const options = withSparseLoss(validateTrainingOptions(training));
    const { seed, threshold, loss } = options;
    const prepared = prepareTable(table, { ...tableOptions, task: taskOf(options), seed });
    const model = tabularModel(prepared.preparation, prepared.target, { layers, loss, seed, threshold });
    return new TabularTraining(table, prepared, model, options, store, undefined);
  }

  /**
   * A model trained here before, to go on with other rows. What was learned of its columns stays as it is, so that
   * the same cell means the same; its loss is the one it had.
   */
  static update(
    file: Uint8Array,
    table: Table,
    { table: tableOptions = {}, training, store }: TabularUpdateOptions,
  ): TabularTraining {
    const { graph, operatorSets, metadata } = decodeGraphModel(file);
    const record = readTrainingRecord(metadata);
    if (record?.preparation === undefined || record.target === undefined || record.outputs === undefined) {
      throw failedPrecondition(
        "the model was not trained on a table here; its file does not say how its columns were used",
      );
    }
    const options = validateTrainingOptions({ ...training, loss: record.loss, threshold: record.threshold });
    const fitted = { preparation: record.preparation, target: record.target };
    const task = taskOf(options);
    const { seed } = options;
    const prepared = prepareTable(table, { ...tableOptions, target: record.target.column, task, seed, fitted });
    const parameters = trainableTensors(graph).filter(({ name }) => record.parameters.includes(name));
    const trained = { output: record.output, parameters, trainDropout: true, trainBatchNorm: true };
    const model = { graph, operatorSets, trained, outputs: record.outputs };
    return new TabularTraining(table, prepared, model, options, store, file);
  }

  private constructor(
    table: Table,
    prepared: PreparedTable,
    model: TabularModel,
    options: TrainingOptions,
    store: ExampleStoreOptions | undefined,
    base: Uint8Array | undefined,
  ) {
    const { preparation, target, targets, weights, split } = prepared;
    const rescale = target.kind === "number" ? { mean: target.mean, scale: target.scale } : undefined;
    const sparse = options.loss.kind === "sparse_categorical_crossentropy";
    super({
      whole: model,
      trained: { ...model.trained, rescale },
      rows: new TableRows(table, preparation),
      answers: { targets, target: targetFieldOf(target, sparse), weights },
      split,
      options,
      store,
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
    return Float32Array.from({ length: 2 * predictions.length }, (_, i) => {
      const second = predictions[i >> 1]!;
      return i % 2 === 0 ? 1 - second : second;
    });
  }
}

export interface TabularUpdateOptions {
  readonly table?: Pick<TableOptions, "weight" | "validationSplit">;
  /** Loss and threshold are the model's own. */
  readonly training: Omit<GivenTrainingOptions, "loss" | "threshold">;
  readonly store?: ExampleStoreOptions;
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
