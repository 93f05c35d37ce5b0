import { internal } from "../status.js";
import type { NumericData, Tensor } from "../tensor/index.js";
import type { Field } from "./examples.js";
import { ofValidation } from "./of-validation.js";
import type { RawRows } from "./raw-rows.js";

/** Rows with what belongs to each of them besides what the model takes. */
export interface AnsweredRows {
  readonly count: number;
  readonly rows: RawRows;
  readonly target: Field;
  /** Whether each row says what it counts. */
  readonly weighted: boolean;
  /** Of the rows from `first` up to `end`, which is not among them. */
  answers(first: number, end: number): Answers;
}

export interface Answers {
  /** Row by row, of the target's type. */
  readonly targets: NumericData;
  readonly weights: Float32Array | undefined;
}

/** Rows whose answers are in memory: a number or two each. */
export class RowsWithNumbers implements AnsweredRows {
  readonly count: number;
  readonly rows: RawRows;
  readonly target: Field;
  readonly #targets: NumericData;
  readonly #weights: Float32Array | undefined;

  constructor(rows: RawRows, target: Field, targets: NumericData, weights: Float32Array | undefined) {
    this.rows = rows;
    this.target = target;
    this.#targets = targets;
    this.#weights = weights;
    this.count = targets.length;
  }

  get weighted(): boolean {
    return this.#weights !== undefined;
  }

  answers(first: number, end: number): Answers {
    return { targets: this.#targets.slice(first, end) as NumericData, weights: this.#weights?.slice(first, end) };
  }
}

/** Rows to train on, and behind them those that were given to validate on. */
export class TrainThenValidation implements AnsweredRows {
  readonly count: number;
  readonly rows: RawRows;
  readonly target: Field;
  readonly weighted: boolean;
  readonly #train: AnsweredRows;
  readonly #validation: AnsweredRows;

  constructor(train: AnsweredRows, validation: AnsweredRows) {
    this.#train = train;
    this.#validation = validation;
    this.count = train.count + validation.count;
    this.target = train.target;
    this.weighted = train.weighted || validation.weighted;
    this.rows = {
      *batches(size: number): Generator<ReadonlyMap<string, Tensor>> {
        yield* train.rows.batches(size);
        const others = ofValidation(() => validation.rows.batches(size)[Symbol.iterator]());
        for (;;) {
          const next = ofValidation(() => others.next());
          if (next.done === true) return;
          yield next.value;
        }
      },
      first: (count: number) => train.rows.first(count),
    };
  }

  answers(first: number, end: number): Answers {
    const { count } = this.#train;
    if (first < count && end > count) throw internal("rows to train on and to validate on are read apart");
    const { targets, weights } =
      first < count
        ? this.#train.answers(first, end)
        : ofValidation(() => this.#validation.answers(first - count, end - count));
    const ones = () => new Float32Array(end - first).fill(1);
    return { targets, weights: weights ?? (this.weighted ? ones() : undefined) };
  }
}
