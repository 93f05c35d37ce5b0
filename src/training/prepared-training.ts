import { invalidArgument } from "../status.js";
import type { Tensor } from "../tensor/index.js";
import { type AnsweredRows, TrainThenValidation } from "./answered-rows.js";
import { buildExamples } from "./build-examples.js";
import type { Split } from "./data/split-rows.js";
import { rowName } from "./data/table.js";
import type { Predicted } from "./evaluator.js";
import type { ExampleStore, ExampleStoreOptions } from "./example-store.js";
import { ExampleSubset, type Examples, weightField } from "./examples.js";
import { splitFrozenPrefix, type WholeModel } from "./frozen-prefix.js";
import { bytesPerParameter, requireMemory } from "./memory-budget.js";
import type { TrainableModel } from "./step-graph.js";
import { Trainer } from "./trainer.js";
import type { TrainingOptions } from "./training-options.js";

/** What a training needs besides model and rows. */
export interface TrainingSurroundings {
  /** Where rows are kept when they are many; without it, all stay in memory. */
  readonly folder?: string | undefined;
  /** What weights, activations and rows may take. Default: no bound. */
  readonly memoryBytes?: number | undefined;
  /** What rows may take of it; beyond that they are on disk. Default 256 MiB. */
  readonly rowMemoryBytes?: number | undefined;
}

export interface TrainingInputs {
  readonly whole: WholeModel;
  readonly trained: Omit<TrainableModel, "graph" | "operatorSets" | "inputs">;
  readonly rows: AnsweredRows;
  /** Of the rows; nothing is set aside where rows to validate on are given. */
  readonly split: Split;
  readonly validation?: AnsweredRows | undefined;
  readonly options: TrainingOptions;
  readonly surroundings?: TrainingSurroundings | undefined;
}

/** A whole model and raw rows, made ready: the frozen part is run over all rows, and a trainer stands at the rest. */
export class PreparedTraining {
  readonly trainer: Trainer;
  readonly trainRows: number;
  /** The rows set aside or given to validate on, if there are any. */
  readonly validation: Examples | undefined;
  readonly #rows: AnsweredRows;
  readonly #store: ExampleStore;
  readonly #held: { release(): void }[] = [];

  constructor({ whole, trained, rows, split, validation, options, surroundings = {} }: TrainingInputs) {
    const { memoryBytes = Number.POSITIVE_INFINITY } = surroundings;
    const weights = trained.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    requireMemory(`${weights} weights in training`, bytesPerParameter * weights, memoryBytes);
    // What is remembered of each row whatever it holds: its place in the order, in the split, and its answer.
    requireMemory(`what is kept of ${rows.count} rows`, bytesPerRow * rows.count, memoryBytes);
    const all = validation === undefined ? rows : new TrainThenValidation(rows, validation);
    const given = (count: number) => Uint32Array.from({ length: count }, (_, row) => rows.count + row);
    const aside = validation === undefined ? split.validation : given(validation.count);
    const { prefix, model } = splitFrozenPrefix(whole, trained, (count) => rows.rows.first(count));
    this.#rows = rows;
    this.trainRows = split.train.length;
    this.#held.push(prefix);
    try {
      this.#store = buildExamples(all, prefix, storeOptions(rows.count, surroundings));
      this.#held.push({ release: () => this.#store.close() });
      this.validation = aside.length > 0 ? new ExampleSubset(this.#store, aside) : undefined;
      const train = new ExampleSubset(this.#store, split.train);
      requireWeight("train", train);
      if (this.validation !== undefined) requireWeight("validate", this.validation);
      this.trainer = new Trainer(model, options, train, this.validation, memoryBytes - bytesPerParameter * weights);
      this.#held.push(this.trainer);
      const { parameterBytes, activationBytes } = this.trainer.plan;
      requireMemory("weights, activations and rows", parameterBytes + activationBytes + this.exampleBytes, memoryBytes);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** What rows take of memory, and what is said of those to validate on. */
  get exampleBytes(): number {
    return (
      this.#store.memoryBytes + (this.validation === undefined ? 0 : this.trainer.evaluationBytes(this.validation))
    );
  }

  /** The first rows, as the whole model takes them and as the trainer's model answers them. */
  firstRows(): { readonly feeds: ReadonlyMap<string, Tensor>; readonly predicted: Predicted } {
    const count = Math.min(comparedRows, this.#rows.count);
    const rows = Uint32Array.from({ length: count }, (_, row) => row);
    return { feeds: this.#rows.rows.first(count), predicted: this.trainer.predict(this.#store, rows) };
  }

  release(): void {
    for (const held of this.#held.splice(0)) held.release();
  }
}

/** @param trainRows behind them are those that were given to validate on */
function storeOptions(trainRows: number, surroundings: TrainingSurroundings): ExampleStoreOptions {
  const { folder, memoryBytes = Number.POSITIVE_INFINITY, rowMemoryBytes = 256 * 1024 * 1024 } = surroundings;
  const nameOf = (row: number) =>
    row < trainRows ? rowName(row) : `${rowName(row - trainRows)} of the validation data`;
  return { folder, memoryBytes: Math.min(rowMemoryBytes, memoryBytes / 4), nameOf };
}

const comparedRows = 64;
const bytesPerRow = 40;

/** A mean over rows that count nothing is no number. */
function requireWeight(what: "train" | "validate", examples: Examples): void {
  if (!examples.fields.some(({ name }) => name === weightField)) return;
  const weights = new Float32Array(4096);
  for (let first = 0; first < examples.count; first += weights.length) {
    const count = Math.min(weights.length, examples.count - first);
    examples.gather(
      weightField,
      Uint32Array.from({ length: count }, (_, row) => first + row),
      weights,
    );
    if (weights.subarray(0, count).some((weight) => weight > 0)) return;
  }
  throw invalidArgument(`all rows to ${what} on have weight 0`);
}
