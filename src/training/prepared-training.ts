import type { Tensor } from "../tensor/index.js";
import { buildExamples, type RowAnswers } from "./build-examples.js";
import type { Split } from "./data/split-rows.js";
import type { Predicted } from "./evaluator.js";
import type { ExampleStore, ExampleStoreOptions } from "./example-store.js";
import { ExampleSubset, type Examples } from "./examples.js";
import { type FrozenPrefix, splitFrozenPrefix, type WholeModel } from "./frozen-prefix.js";
import type { RawRows } from "./raw-rows.js";
import type { TrainableModel } from "./step-graph.js";
import { Trainer } from "./trainer.js";
import type { TrainingOptions } from "./training-options.js";

export interface TrainingInputs {
  readonly whole: WholeModel;
  readonly trained: Omit<TrainableModel, "graph" | "operatorSets" | "inputs">;
  readonly rows: RawRows;
  readonly answers: RowAnswers;
  readonly split: Split;
  readonly options: TrainingOptions;
  readonly store?: ExampleStoreOptions | undefined;
}

/** A whole model and raw rows, made ready: the frozen part is run over all rows, and a trainer stands at the rest. */
export class PreparedTraining {
  readonly trainer: Trainer;
  /** The rows set aside, if there are any. */
  readonly validation: Examples | undefined;
  readonly #rows: RawRows;
  readonly #prefix: FrozenPrefix;
  readonly #store: ExampleStore;

  constructor({ whole, trained, rows, answers, split, options, store }: TrainingInputs) {
    const { prefix, model } = splitFrozenPrefix(whole, trained, (count) => rows.first(count));
    this.#rows = rows;
    this.#prefix = prefix;
    this.#store = buildExamples(rows, prefix, answers, store);
    this.validation = split.validation.length > 0 ? new ExampleSubset(this.#store, split.validation) : undefined;
    this.trainer = new Trainer(model, options, new ExampleSubset(this.#store, split.train), this.validation);
  }

  /** The first rows, as the whole model takes them and as the trainer's model answers them. */
  firstRows(): { readonly feeds: ReadonlyMap<string, Tensor>; readonly predicted: Predicted } {
    const count = Math.min(comparedRows, this.#store.count);
    const rows = Uint32Array.from({ length: count }, (_, row) => row);
    return { feeds: this.#rows.first(count), predicted: this.trainer.predict(this.#store, rows) };
  }

  release(): void {
    this.trainer.release();
    this.#prefix.release();
    this.#store.close();
  }
}

const comparedRows = 64;
