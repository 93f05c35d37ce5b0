import { StepSession } from "../runtime/index.js";
import type { NumericTensor } from "../tensor/index.js";
import { BatchFeeds } from "./batch-feeds.js";
import { type Examples, type Field, rowSize } from "./examples.js";
import { computeMetrics, type Metrics, type Task } from "./metrics.js";
import { buildEvaluationGraph, lossInputs, type SampleFeeds, type TrainableModel } from "./step-graph.js";
import type { TrainingOptions } from "./training-options.js";

export interface Evaluation extends Metrics {
  readonly loss: number;
  readonly rows: number;
}

export interface Predicted {
  /** As the model gives it. */
  readonly output: Float32Array;
  /** As metrics see it: probabilities, where the output is logits. */
  readonly predictions: Float32Array;
}

/** Judges a model as it is, over the very buffers its weights are trained in. */
export class Evaluator {
  readonly task: Task;
  /** As the loss takes them. */
  readonly target: Field;
  readonly #session: StepSession;
  readonly #loss: string;
  readonly #predictions: string;
  readonly #output: string;
  readonly #predictionSize: number;
  readonly #targetSize: number;
  readonly #feeds: BatchFeeds;
  readonly #weights: ReadonlyMap<string, NumericTensor>;
  readonly #rescale: TrainableModel["rescale"];

  /**
   * @param weights parameters and running statistics by name, read at each evaluation
   * @param rowsAtOnce alone, a row costs more than among others; a large batch costs memory
   */
  constructor(
    model: TrainableModel,
    options: TrainingOptions,
    sample: SampleFeeds,
    weights: ReadonlyMap<string, NumericTensor>,
    rowsAtOnce = defaultRowsAtOnce,
  ) {
    const graph = buildEvaluationGraph(model, options.loss, sample);
    this.#session = new StepSession(graph.model);
    this.#loss = graph.loss;
    this.#predictions = graph.predictions;
    this.#output = model.output;
    this.#predictionSize = graph.predictionShape.reduce((all, size) => all * size, 1);
    this.target = graph.target;
    this.#targetSize = rowSize(graph.target);
    this.#feeds = new BatchFeeds(model.inputs, graph.target, [], rowsAtOnce);
    this.#weights = weights;
    this.#rescale = model.rescale;
    this.task = taskOf(options, graph.predictionShape);
  }

  /** What evaluate() allocates for so many rows. */
  bytesFor(rows: number): number {
    const classes = this.task.kind === "multiclass" ? this.task.classes : 2;
    return rows * (4 * this.#predictionSize + 8 * this.#targetSize + 8) + 8 * classes * classes;
  }

  evaluate(examples: Examples): Evaluation {
    const { count } = examples;
    const predictions = new Float32Array(count * this.#predictionSize);
    const targets = new Float64Array(count * this.#targetSize);
    const weights = new Float32Array(count);
    let [loss, total] = [0, 0];
    for (let start = 0; start < count; start += this.#feeds.batchSize) {
      const rows = Math.min(this.#feeds.batchSize, count - start);
      const sum = this.#feeds.fill(
        examples,
        Uint32Array.from({ length: rows }, (_, row) => start + row),
        new Map(),
      );
      const feeds = this.#feeds.tensors(rows);
      const results = this.#session.run(new Map([...feeds, ...this.#weights]), [this.#loss, this.#predictions]);
      predictions.set(results.get(this.#predictions)!.data as Float32Array, start * this.#predictionSize);
      const batchTargets = feeds.get(lossInputs.targets)!.data;
      for (let i = 0; i < batchTargets.length; i++) targets[start * this.#targetSize + i] = Number(batchTargets[i]);
      weights.set(this.#feeds.weights.subarray(0, rows), start);
      if (sum > 0) loss += sum * Number(results.get(this.#loss)!.data[0]);
      total += sum;
    }
    if (this.#rescale !== undefined) {
      const { mean, scale } = this.#rescale;
      for (const values of [predictions, targets])
        for (let i = 0; i < values.length; i++) values[i] = values[i]! * scale + mean;
    }
    const judged = { predictions, targets: this.#classNumbers(targets), weights };
    return { ...computeMetrics(this.task, judged), loss: loss / total, rows: count };
  }

  /** What the model gives for some rows, [rows, ...] flattened. */
  predict(examples: Examples, rows: Uint32Array): Predicted {
    const parts: Predicted[] = [];
    for (let first = 0; first < rows.length; first += this.#feeds.batchSize) {
      const some = rows.subarray(first, first + this.#feeds.batchSize);
      this.#feeds.fill(examples, some, new Map());
      const feeds = new Map([...this.#feeds.tensors(some.length), ...this.#weights]);
      const results = this.#session.run(feeds, [this.#output, this.#predictions]);
      const dataOf = (name: string) => results.get(name)!.data as Float32Array;
      parts.push({ output: dataOf(this.#output), predictions: dataOf(this.#predictions) });
    }
    return {
      output: joined(parts.map(({ output }) => output)),
      predictions: joined(parts.map(({ predictions }) => predictions)),
    };
  }

  release(): void {
    this.#session.release();
  }

  /** Rows with a one among zeros become the place of the one. */
  #classNumbers(targets: Float64Array): Float64Array {
    const { task } = this;
    if (task.kind !== "multiclass" || this.#targetSize < this.#predictionSize) return targets;
    return Float64Array.from({ length: targets.length / task.classes }, (_, row) => {
      const ones = targets.subarray(row * task.classes, (row + 1) * task.classes);
      return ones.indexOf(ones.reduce((a, b) => Math.max(a, b)));
    });
  }
}

const defaultRowsAtOnce = 128;

/** Arrays behind each other. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}

/** What is asked of the model, which decides the metrics. */
export function taskOf({ loss, topK, threshold }: TrainingOptions, predictionShape: readonly number[]): Task {
  switch (loss.kind) {
    case "binary_crossentropy":
      return { kind: "binary", threshold };
    case "categorical_crossentropy":
    case "sparse_categorical_crossentropy":
      return { kind: "multiclass", classes: predictionShape.at(-1)!, topK };
    default:
      return { kind: "regression" };
  }
}
