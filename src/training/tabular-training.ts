import { internal, invalidArgument } from "../status.js";
import { elementTypeInfo, type NumericData, type Tensor } from "../tensor/index.js";
import { buildExamples, TableRows, targetFieldOf } from "./build-examples.js";
import { type PreparedTable, prepareTable, type TableOptions } from "./data/prepare-table.js";
import type { Table } from "./data/table.js";
import type { ExampleStore, ExampleStoreOptions } from "./example-store.js";
import { ExampleSubset, type Examples } from "./examples.js";
import { exportNew, trainingMetadata, verifyExported } from "./exported-model.js";
import { type FrozenPrefix, splitFrozenPrefix } from "./frozen-prefix.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import type { SampleFeeds } from "./step-graph.js";
import { type TabularModel, tabularModel } from "./tabular-model.js";
import { Trainer } from "./trainer.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface TabularTrainingOptions {
  readonly table: Omit<TableOptions, "seed" | "task">;
  readonly layers: readonly LayerSpec[];
  readonly training: GivenTrainingOptions;
  readonly store?: ExampleStoreOptions;
}

/** A new model for a table, ready to be trained: prepared, built and tried on the first rows. */
export class TabularTraining {
  readonly prepared: PreparedTable;
  readonly model: TabularModel;
  readonly trainer: Trainer;
  readonly options: TrainingOptions;
  readonly #prefix: FrozenPrefix;
  readonly #store: ExampleStore;
  readonly #sample: SampleFeeds;
  readonly #validation: Examples | undefined;

  /** Throws INVALID_ARGUMENT when table, layers and options do not fit; what the classes of this room say. */
  constructor(table: Table, { table: tableOptions, layers, training, store }: TabularTrainingOptions) {
    const options = withSparseLoss(validateTrainingOptions(training));
    const task = options.loss.kind.endsWith("crossentropy") ? "classification" : "regression";
    const { seed, threshold } = options;
    const prepared = prepareTable(table, { ...tableOptions, task, seed });
    const { preparation, target, split } = prepared;
    const model = tabularModel(preparation, target, { layers, loss: options.loss, seed, threshold });
    const rows = new TableRows(table, preparation);
    this.#sample = firstRows(rows);
    const rescale = target.kind === "number" ? { mean: target.mean, scale: target.scale } : undefined;
    const { prefix, model: trainable } = splitFrozenPrefix(model, { ...model.trained, rescale }, this.#sample);
    const sparse = options.loss.kind === "sparse_categorical_crossentropy";
    const answers = { targets: prepared.targets, target: targetFieldOf(target, sparse), weights: prepared.weights };
    this.#prefix = prefix;
    this.#store = buildExamples(rows, prefix, answers, store);
    this.#validation = split.validation.length > 0 ? new ExampleSubset(this.#store, split.validation) : undefined;
    this.prepared = prepared;
    this.model = model;
    this.options = options;
    this.trainer = new Trainer(trainable, options, new ExampleSubset(this.#store, split.train), this.#validation);
  }

  get validation(): Examples | undefined {
    return this.#validation;
  }

  /** The trained model as a file, held against the trainer before it is given out. */
  export(metrics: ReadonlyMap<string, number>, lineage: Readonly<Record<string, unknown>>): Uint8Array {
    const { target, preparation } = this.prepared;
    const { outputs, trained } = this.model;
    const scores = outputs.kind === "classes" ? outputs.scores : undefined;
    const record = { output: trained.output, loss: this.options.loss, target, preparation };
    const file = exportNew(this.model, this.trainer.weights(), trainingMetadata(record, scores, metrics, lineage));
    const count = Math.min(verifiedRows, this.#store.count);
    const predictions = this.trainer.predict(
      this.#store,
      Uint32Array.from({ length: count }, (_, row) => row),
    );
    verifyExported(file, this.#sample(count), scores ?? prediction(outputs), this.#expected(predictions));
    return file;
  }

  release(): void {
    this.trainer.release();
    this.#prefix.release();
    this.#store.close();
  }

  /** What the file should give for what the trained part gives. */
  #expected(predictions: Float32Array): Float32Array {
    const { target } = this.prepared;
    if (target.kind === "number") return predictions.map((value) => value * target.scale + target.mean);
    if (this.options.loss.kind !== "binary_crossentropy") return predictions;
    return Float32Array.from({ length: 2 * predictions.length }, (_, i) => {
      const second = predictions[i >> 1]!;
      return i % 2 === 0 ? 1 - second : second;
    });
  }
}

const verifiedRows = 64;

function prediction(outputs: TabularModel["outputs"]): string {
  if (outputs.kind !== "number") throw internal("a model for classes has no prediction");
  return outputs.prediction;
}

/** For one class a row, the sparse loss is the categorical one. */
function withSparseLoss(options: TrainingOptions): TrainingOptions {
  if (options.loss.kind !== "categorical_crossentropy") return options;
  return { ...options, loss: { ...options.loss, kind: "sparse_categorical_crossentropy" } };
}

/** The table's first rows as feeds; again and again where there are fewer. */
function firstRows(rows: TableRows): SampleFeeds {
  const [first] = rows.batches(verifiedRows);
  if (first === undefined) throw invalidArgument("the table has no rows");
  return (count) =>
    new Map(
      [...first].map(([name, { dtype, data }]) => {
        const repeated = Array.from({ length: count }, (_, row) => data[row % data.length]!);
        const made = dtype === "string" ? (repeated as string[]) : elementsOf(dtype, repeated as number[]);
        return [name, { dtype, shape: [count], data: made }];
      }),
    );
}

function elementsOf(dtype: Tensor["dtype"], values: readonly (number | bigint)[]): NumericData {
  const data = new (elementTypeInfo(dtype).array!)(values.length);
  values.forEach((value, i) => {
    data[i] = value;
  });
  return data;
}
