import { decodeGraphModel, type Graph, type GraphValue, rewriteForRuntime } from "../onnx/index.js";
import { failedPrecondition, invalidArgument } from "../status.js";
import { splitRows } from "./data/split-rows.js";
import type { Field } from "./examples.js";
import {
  exportPatched,
  metadataKeys,
  readTrainingRecord,
  type TrainingRecord,
  trainingMetadata,
  verifyExported,
  withOutput,
} from "./exported-model.js";
import type { LossOptions } from "./losses.js";
import { drawNewHead, type NewHead } from "./new-head.js";
import { ofValidation } from "./of-validation.js";
import { fixedRows, openBatch } from "./open-batch.js";
import type { Parameter } from "./optimizers/parameter-memory.js";
import { matchesAny, trainableTensors } from "./parameter-slots.js";
import { PreparedTraining, type TrainingSurroundings } from "./prepared-training.js";
import { classesOf, lossOfTargets, requireSeveralClasses, tensorRows, withClassNumbers } from "./tensor-rows.js";
import type { TensorSet } from "./tensor-set.js";
import { type GivenTrainingOptions, type TrainingOptions, validateTrainingOptions } from "./training-options.js";

export interface FineTuningOptions {
  /** The output to train on. Default: the one it was trained on, or else the only one of floats. */
  readonly output?: string;
  /** Names of weights to be trained, * standing for anything. Default: all. */
  readonly train?: readonly string[];
  /** Names of weights that stay as they are. Default: none. */
  readonly freeze?: readonly string[];
  /** A new last layer for so many classes; then only that is trained, unless `train` says more. */
  readonly headClasses?: number | undefined;
  /** Whether dropout drops and batch normalisation learns new statistics. Default false. */
  readonly trainDropout?: boolean;
  readonly trainBatchNorm?: boolean;
  /** By name: what the learning rate is multiplied with. */
  readonly learningRateScales?: readonly { readonly names: string; readonly scale: number }[];
  /** The share of rows set aside to validate on. Default 0.2. */
  readonly validationSplit?: number;
  /** Rows to validate on, instead of a share of the others. */
  readonly validation?: TensorSet | undefined;
  /** With a new head: its classes' names, in their order. Default: their numbers. */
  readonly classLabels?: readonly string[] | undefined;
  /** Loss: by default the one it was trained on, or else by the targets. */
  readonly training: GivenTrainingOptions;
  readonly surroundings?: TrainingSurroundings | undefined;
}

/** What a model takes and gives, and what its classes will be called. */
interface BaseInterface {
  readonly declared: readonly GraphValue[];
  readonly rowsAtOnce: number | undefined;
  readonly classLabels: readonly string[] | undefined;
}

/** Any ONNX model that can be differentiated, to be trained further on tensors. */
export class FineTuning extends PreparedTraining {
  readonly options: TrainingOptions;
  readonly #file: Uint8Array;
  readonly #record: TrainingRecord;
  readonly #head: NewHead | undefined;
  readonly #declared: readonly GraphValue[];
  readonly #classLabels: readonly string[] | undefined;
  readonly #rowsAtOnce: number | undefined;

  /**
   * Throws INVALID_ARGUMENT when data, model and options do not fit, FAILED_PRECONDITION when the model cannot be
   * trained, naming the node that stands in the way.
   */
  static start(file: Uint8Array, data: TensorSet, given: FineTuningOptions): FineTuning {
    const runnable = rewriteForRuntime(file);
    const { graph, operatorSets, metadata } = decodeGraphModel(runnable);
    const declared = [...graph.outputs];
    const rowsAtOnce = fixedRows(graph);
    const past = readTrainingRecord(metadata);
    const output = chooseOutput(graph, given.output, past);
    const usual: Partial<LossOptions> =
      given.headClasses === undefined
        ? defaultLoss(graph, output, past, data.target)
        : { kind: "sparse_categorical_crossentropy" };
    const loss = withClassNumbers({ ...usual, ...given.training.loss }, data.target);
    const options = validateTrainingOptions({ ...given.training, loss });
    const rows = tensorRows(graph, data, options.loss.kind);
    openBatch(graph, { file: runnable, output, rows: rows.rows, operatorSets });
    const head =
      given.headClasses === undefined ? undefined : drawNewHead(graph, output, given.headClasses, options.seed);
    if (head !== undefined) requireFreeOutputs(past);
    const parameters = chooseParameters(graph, given, head);
    const { validation } = given;
    const classes = classesOf(data, options.loss.kind);
    requireSeveralClasses(classes, head !== undefined);
    const share = validation === undefined ? (given.validationSplit ?? 0.2) : 0;
    const { trainDropout = false, trainBatchNorm = false } = given;
    const inputs = {
      whole: { graph, operatorSets },
      trained: { output, parameters, trainDropout, trainBatchNorm },
      rows,
      split: splitRows(data.count, share, options.seed, classes),
      validation:
        validation === undefined ? undefined : ofValidation(() => tensorRows(graph, validation, options.loss.kind)),
      options,
      surroundings: given.surroundings,
    };
    const { threshold } = options;
    const trained = parameters.map(({ name }) => name);
    const kept = past?.output === output ? past : undefined;
    const record: TrainingRecord = { ...kept, output, loss: options.loss, threshold, parameters: trained };
    return new FineTuning(inputs, file, record, head, { declared, rowsAtOnce, classLabels: given.classLabels });
  }

  private constructor(
    inputs: ConstructorParameters<typeof PreparedTraining>[0],
    file: Uint8Array,
    record: TrainingRecord,
    head: NewHead | undefined,
    { declared, rowsAtOnce, classLabels }: BaseInterface,
  ) {
    super(inputs);
    this.#classLabels = classLabels;
    this.#rowsAtOnce = rowsAtOnce;
    this.options = inputs.options;
    this.#file = file;
    this.#record = record;
    this.#head = head;
    this.#declared = declared;
  }

  /** The file with the trained weights, held against the trainer before it is given out. */
  export(metrics: ReadonlyMap<string, number>, lineage: Readonly<Record<string, unknown>>): Uint8Array {
    const { output } = this.#record;
    const metadata = trainingMetadata(this.#record, metrics, lineage);
    // Labels of the classes before would be wrong ones.
    if (this.#head !== undefined) metadata.set(metadataKeys.classLabels, this.#labelsOfHead());
    // A new head that was not trained is new all the same.
    const weights = new Map([...(this.#head?.weights ?? []), ...this.trainer.weights()]);
    const file = exportPatched(this.#file, { weights, ...this.#newShapes() }, metadata);
    const { feeds, predicted } = this.firstRows();
    verifyExported(withOutput(rewriteForRuntime(file), output), feeds, output, predicted.output, this.#rowsAtOnce);
    return file;
  }

  /** The outputs behind the head that are scores of its classes. */
  #labelsOfHead(): string {
    const { classes, reshapedValues } = this.#head!;
    const labels = this.#classLabels ?? Array.from({ length: classes }, (_, label) => label);
    const scores = this.#declared.filter(({ name, dtype }) => dtype === "float32" && reshapedValues.has(name));
    return JSON.stringify(Object.fromEntries(scores.map(({ name }) => [name, labels])));
  }

  #newShapes() {
    const head = this.#head;
    if (head === undefined) return {};
    const { classes } = head;
    const changed = this.#declared.filter(({ name, shape }) => head.reshapedValues.has(name) && shape !== undefined);
    const outputShapes = new Map(
      changed.map(({ name, shape }) => [
        name,
        shape!.map((size, axis) => (axis > 0 && size === head.classesBefore ? classes : size)),
      ]),
    );
    return { outputShapes, reshapedValues: head.reshapedValues };
  }
}

export function chooseOutput(graph: Graph, asked: string | undefined, record: TrainingRecord | undefined): string {
  const floats = graph.outputs.filter(({ dtype }) => dtype === "float32").map(({ name }) => name);
  if (asked !== undefined) {
    if (!graph.nodes.some(({ outputs }) => outputs.includes(asked))) {
      throw invalidArgument(
        `the model has no output "${asked}"; it has ${graph.outputs.map(({ name }) => name).join(", ")}`,
      );
    }
    return asked;
  }
  if (record !== undefined) return record.output;
  if (floats.length !== 1) {
    throw invalidArgument(
      `say which output is to be trained: the model's outputs of floats are ${floats.join(", ") || "none"}`,
    );
  }
  return floats[0]!;
}

/** The loss that the output was trained on here, or else what suits targets and output. */
export function defaultLoss(
  graph: Graph,
  output: string,
  past: TrainingRecord | undefined,
  target: Field,
): Partial<LossOptions> {
  if (past?.output === output) return past.loss;
  const row = graph.outputs.find(({ name }) => name === output)?.shape?.slice(1);
  return { kind: lossOfTargets(target, row?.every((size) => size === 1) ?? false) };
}

function requireFreeOutputs(past: TrainingRecord | undefined): void {
  if (past?.outputs?.kind === "classes") {
    throw failedPrecondition(
      "the model gives its classes' labels itself; a new head cannot change those. Train a new model",
    );
  }
  if (past?.loss.kind === "binary_crossentropy") {
    throw failedPrecondition(
      "the model's last layer gives one score for two classes, not one a class. Train a new model",
    );
  }
}

function chooseParameters(graph: Graph, options: FineTuningOptions, head: NewHead | undefined): Parameter[] {
  const all = trainableTensors(graph);
  if (all.length === 0) throw failedPrecondition("the model has no weights that can be trained");
  const { freeze = [], learningRateScales = [] } = options;
  const train = options.train ?? (head === undefined ? ["*"] : []);
  for (const [what, patterns] of [
    ["train", train],
    ["freeze", freeze],
  ] as const) {
    const idle = patterns.find((pattern) => !all.some(({ name }) => matchesAny(name, [pattern])));
    if (idle !== undefined) throw invalidArgument(`${what}: no weights are named "${idle}"; there are ${listed(all)}`);
  }
  const chosen = all.filter(
    ({ name }) => head?.weights.has(name) || (matchesAny(name, train) && !matchesAny(name, freeze)),
  );
  if (chosen.length === 0) throw invalidArgument("everything is frozen; there is nothing to train");
  return chosen.map((parameter) => {
    const scale = learningRateScales.find(({ names }) => matchesAny(parameter.name, [names]))?.scale ?? 1;
    return { ...parameter, learningRateScale: scale };
  });
}

const listed = (parameters: readonly Parameter[]): string => {
  const names = parameters.map(({ name }) => name);
  return names.length > 10 ? `${names.slice(0, 9).join(", ")} and ${names.length - 9} more` : names.join(", ");
};
