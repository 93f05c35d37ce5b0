import { Graph } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import { formatShape } from "../tensor/index.js";
import { splitRows } from "./data/split-rows.js";
import type { Field } from "./examples.js";
import { exportNew, type TrainingRecord, trainingMetadata, verifyExported } from "./exported-model.js";
import type { WholeModel } from "./frozen-prefix.js";
import { GraphEmitter } from "./graph-emitter.js";
import { buildLayers, type RowValue } from "./layers/build-layers.js";
import { LayerRoom } from "./layers/layer-room.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import type { LossKind, LossOptions } from "./losses.js";
import { ofValidation } from "./of-validation.js";
import { trainableTensors } from "./parameter-slots.js";
import { PreparedTraining, type TrainingInputs, type TrainingSurroundings } from "./prepared-training.js";
import { bothProbabilities, emitProbabilities } from "./tabular-model.js";
import { classesOf, lossOfTargets, requireSeveralClasses, tensorRows, withClassNumbers } from "./tensor-rows.js";
import type { TensorSet } from "./tensor-set.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface TensorTrainingOptions {
  readonly layers: readonly LayerSpec[];
  /** Loss: by default what suits the targets. */
  readonly training: GivenTrainingOptions;
  /** The names of the classes, in the order of their numbers. Default: the numbers. */
  readonly classLabels?: readonly string[] | undefined;
  /** The share of rows set aside to validate on. Default 0.2. */
  readonly validationSplit?: number;
  /** Rows to validate on, instead of a share of the others. */
  readonly validation?: TensorSet | undefined;
  readonly surroundings?: TrainingSurroundings | undefined;
}

/** A new model, one tensor in: layers, and behind them scores of classes or what the layers give. */
interface TensorModel extends WholeModel {
  readonly end: RowValue;
  readonly output: string;
  /** undefined for a model that does not tell classes apart, or gives several answers a row. */
  readonly labels: readonly string[] | undefined;
}

/** A new model on tensors, ready to be trained. */
export class TensorTraining extends PreparedTraining {
  readonly options: TrainingOptions;
  /** In the order of the scores; undefined where the model gives none. */
  readonly classLabels: readonly string[] | undefined;
  readonly #model: TensorModel;

  /** Throws INVALID_ARGUMENT when data, layers and options do not fit. */
  static start(data: TensorSet, given: TensorTrainingOptions): TensorTraining {
    const { layers, validation, surroundings = {} } = given;
    const [input, ...others] = data.inputs;
    if (input === undefined || others.length > 0) {
      throw invalidArgument(
        `a list of layers takes one input; the data have ${data.inputs.map(({ name }) => name).join(", ")}`,
      );
    }
    const { seed = 0, batchSize = 32 } = given.training;
    const { memoryBytes = Number.POSITIVE_INFINITY } = surroundings;
    const graph = new Graph();
    graph.input(input.name, input.dtype, ["batch", ...input.shape]);
    const end = buildLayers(graph, input, layers, seed, new LayerRoom(memoryBytes, Math.min(batchSize, data.count)));
    const kind = lossOfLayers(layers, data.target, end);
    const loss = withClassNumbers({ kind, ...given.training.loss }, data.target);
    const options = validateTrainingOptions({ ...given.training, loss });
    const parameters = trainableTensors(graph);
    if (parameters.length === 0) throw invalidArgument("the layers have no weights; there is nothing to train");
    const model = finishModel(graph, end, options.loss, given.classLabels);
    const classes = classesOf(data, options.loss.kind);
    requireSeveralClasses(classes, true);
    const inputs: TrainingInputs = {
      whole: model,
      trained: { output: end.name, parameters, trainDropout: true, trainBatchNorm: true },
      rows: tensorRows(graph, data, options.loss.kind),
      split: splitRows(
        data.count,
        validation === undefined ? (given.validationSplit ?? 0.2) : 0,
        options.seed,
        classes,
      ),
      validation:
        validation === undefined ? undefined : ofValidation(() => tensorRows(graph, validation, options.loss.kind)),
      options,
      surroundings,
    };
    return new TensorTraining(inputs, model);
  }

  private constructor(inputs: TrainingInputs, model: TensorModel) {
    super(inputs);
    this.options = inputs.options;
    this.classLabels = model.labels;
    this.#model = model;
  }

  /** The trained model as a file, held against the trainer before it is given out. */
  export(metrics: ReadonlyMap<string, number>, lineage: Readonly<Record<string, unknown>>): Uint8Array {
    const { end, output, labels } = this.#model;
    const { loss, threshold } = this.options;
    const record: TrainingRecord = {
      output: end.name,
      loss,
      threshold,
      parameters: this.trainer.plan.parameters.map(({ name }) => name),
    };
    const metadata = trainingMetadata(
      record,
      metrics,
      lineage,
      labels === undefined ? undefined : { [output]: labels },
    );
    const file = exportNew(this.#model, this.trainer.weights(), metadata);
    const { feeds, predicted } = this.firstRows();
    const { predictions, output: given } = predicted;
    const scores = loss.kind === "binary_crossentropy" ? bothProbabilities(predictions) : predictions;
    verifyExported(file, feeds, output, labels === undefined ? given : scores);
    return file;
  }
}

/** By the targets; where those are numbers, by whether the layers end in probabilities. */
function lossOfLayers(layers: readonly LayerSpec[], target: Field, { shape }: RowValue): LossKind {
  const suited = lossOfTargets(target, shape.at(-1) === 1);
  if (suited !== "mse") return suited;
  switch (lastActivation(layers)) {
    case "sigmoid":
      return "binary_crossentropy";
    case "softmax":
    case "log_softmax":
      return formatShape(target.shape) === formatShape(shape)
        ? "categorical_crossentropy"
        : "sparse_categorical_crossentropy";
    default:
      return suited;
  }
}

/** The function that the layers end in, as far as their list says it. */
export function lastActivation(layers: readonly LayerSpec[]): string | undefined {
  const last = layers.at(-1);
  if (last === undefined) return undefined;
  if (last.type === "activation") return last.function;
  return "activation" in last ? last.activation : undefined;
}

function finishModel(
  graph: Graph,
  end: RowValue,
  loss: LossOptions,
  given: readonly string[] | undefined,
): TensorModel {
  const e = new GraphEmitter(graph);
  const operatorSets = new Map([["", 21]]);
  const classes = loss.kind === "binary_crossentropy" ? 2 : end.shape.at(-1)!;
  const telling = loss.kind.endsWith("crossentropy") && end.shape.length === 1;
  if (given !== undefined && !telling) {
    throw invalidArgument(
      `class_labels want scores of classes; the layers give ${formatShape(end.shape)} a row for ${loss.kind}`,
    );
  }
  if (!telling || (loss.kind === "binary_crossentropy" && end.shape[0] !== 1)) {
    const output = graph.claimLike("output");
    graph.node("Identity", [end.name], {}, { outputs: [output] });
    graph.output(output, end.dtype, ["batch", ...end.shape]);
    return { graph, operatorSets, end, output, labels: undefined };
  }
  if (given !== undefined && given.length !== classes) {
    throw invalidArgument(`class_labels names ${given.length} classes; the layers give scores of ${classes}`);
  }
  const output = graph.claimLike("scores");
  graph.node("Identity", [emitProbabilities(e, end, loss).probabilities], {}, { outputs: [output] });
  graph.output(output, "float32", ["batch", classes]);
  return { graph, operatorSets, end, output, labels: given ?? Array.from({ length: classes }, (_, i) => String(i)) };
}
