import { decodeGraphModel, type Graph, type GraphValue, type ReadExternalData } from "../onnx/index.js";
import { failedPrecondition, invalidArgument } from "../status.js";
import { formatShape, type NumericTensor, type Tensor } from "../tensor/index.js";
import { splitRows } from "./data/split-rows.js";
import type { ExampleStoreOptions } from "./example-store.js";
import { targetField } from "./examples.js";
import {
  exportPatched,
  readTrainingRecord,
  type TrainingRecord,
  trainingMetadata,
  verifyExported,
} from "./exported-model.js";
import { targetDtype } from "./losses.js";
import { drawNewHead, type NewHead } from "./new-head.js";
import type { Parameter } from "./optimizers/parameter-memory.js";
import { matchesAny, trainableTensors } from "./parameter-slots.js";
import { PreparedTraining } from "./prepared-training.js";
import { TensorRows } from "./raw-rows.js";
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
  readonly training: GivenTrainingOptions;
  readonly store?: ExampleStoreOptions;
}

/** Rows as tensors, their first axis the rows. */
export interface TensorData {
  /** By graph input. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly targets: NumericTensor;
  /** One a row. */
  readonly weights?: Float32Array | undefined;
}

/** A model's file, as it is and as it can be run. */
export interface ModelFile {
  /** What is patched in the end. */
  readonly file: Uint8Array;
  /** The file as rewritten so that the runtime takes it; default: the file. */
  readonly runnable?: Uint8Array | undefined;
  /** Reads weights that lie beside the file. */
  readonly readExternal?: ReadExternalData | undefined;
}

/** Any ONNX model that can be differentiated, to be trained further on tensors. */
export class FineTuning extends PreparedTraining {
  readonly options: TrainingOptions;
  readonly #file: Uint8Array;
  readonly #record: TrainingRecord;
  readonly #head: NewHead | undefined;
  readonly #declared: readonly GraphValue[];

  /**
   * Throws INVALID_ARGUMENT when data, model and options do not fit, FAILED_PRECONDITION when the model cannot be
   * trained, naming the node that stands in the way.
   */
  static start(
    { file, runnable = file, readExternal }: ModelFile,
    data: TensorData,
    given: FineTuningOptions,
  ): FineTuning {
    const { graph, operatorSets, metadata } = decodeGraphModel(runnable, readExternal);
    const options = validateTrainingOptions(given.training);
    const declared = [...graph.outputs];
    const output = chooseOutput(graph, given.output, readTrainingRecord(metadata));
    const head =
      given.headClasses === undefined ? undefined : drawNewHead(graph, output, given.headClasses, options.seed);
    const parameters = chooseParameters(graph, given, head);
    const rows = new TensorRows(requireInputs(graph, data.inputs));
    const { trainDropout = false, trainBatchNorm = false } = given;
    const inputs = {
      whole: { graph, operatorSets },
      trained: { output, parameters, trainDropout, trainBatchNorm },
      rows,
      answers: answersOf(data, rows.count, options),
      split: splitRows(rows.count, given.validationSplit ?? 0.2, options.seed, classesOf(data.targets, options)),
      options,
      store: given.store,
    };
    const { loss, threshold } = options;
    const record: TrainingRecord = { output, loss, threshold, parameters: parameters.map(({ name }) => name) };
    return new FineTuning(inputs, file, record, head, declared);
  }

  private constructor(
    inputs: ConstructorParameters<typeof PreparedTraining>[0],
    file: Uint8Array,
    record: TrainingRecord,
    head: NewHead | undefined,
    declared: readonly GraphValue[],
  ) {
    super(inputs);
    this.options = inputs.options;
    this.#file = file;
    this.#record = record;
    this.#head = head;
    this.#declared = declared;
  }

  /** The file with the trained weights, held against the trainer before it is given out. */
  export(metrics: ReadonlyMap<string, number>, lineage: Readonly<Record<string, unknown>>): Uint8Array {
    const metadata = trainingMetadata(this.#record, metrics, lineage);
    // A new head that was not trained is new all the same.
    const weights = new Map([...(this.#head?.weights ?? []), ...this.trainer.weights()]);
    const file = exportPatched(this.#file, { weights, ...this.#newShapes() }, metadata);
    const { feeds, predicted } = this.firstRows();
    const given = this.#declared.some(({ name }) => name === this.#record.output);
    if (given) verifyExported(file, feeds, this.#record.output, predicted.output);
    return file;
  }

  #newShapes() {
    const head = this.#head;
    if (head === undefined) return {};
    const classes = [...head.weights.values()].at(-1)!.data.length;
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

export function requireInputs(graph: Graph, given: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  for (const { name, dtype, shape } of graph.inputs) {
    const tensor = given.get(name);
    if (tensor === undefined) {
      throw invalidArgument(`the data have no input "${name}"; they have ${[...given.keys()].join(", ")}`);
    }
    if (dtype !== undefined && tensor.dtype !== dtype) {
      throw invalidArgument(`input "${name}" is ${dtype}; the data are ${tensor.dtype}`);
    }
    const fits =
      shape === undefined ||
      (shape.length === tensor.shape.length &&
        shape.every((size, axis) => axis === 0 || typeof size !== "number" || size === tensor.shape[axis]));
    if (!fits) {
      throw invalidArgument(
        `input "${name}" is of shape ${formatShape(shape!)}; the data are ${formatShape(tensor.shape)}`,
      );
    }
    requireFinite(name, tensor);
    requireKnownRows(graph, name, tensor);
  }
  const unknown = [...given.keys()].find((name) => !graph.inputs.some((input) => input.name === name));
  if (unknown !== undefined) {
    throw invalidArgument(
      `the model has no input "${unknown}"; it has ${graph.inputs.map(({ name }) => name).join(", ")}`,
    );
  }
  return given;
}

/** Numbers that pick rows of an embedding must be numbers of its rows. */
function requireKnownRows(graph: Graph, name: string, { data, shape }: Tensor): void {
  for (const { opType, inputs, attributes } of graph.nodes) {
    const table = opType === "Gather" && inputs[1] === name ? graph.initializers.get(inputs[0]!) : undefined;
    if (table === undefined || (attributes.get("axis") ?? 0) !== 0) continue;
    const rows = table.shape[0]!;
    const bad = Array.from(data, Number).findIndex((value) => value < 0 || value >= rows);
    if (bad < 0) continue;
    const row = Math.floor(bad / (data.length / shape[0]!)) + 1;
    throw invalidArgument(
      `row ${row} of "${name}" holds ${data[bad]}; the embedding "${inputs[0]}" has rows 0 to ${rows - 1}`,
    );
  }
}

function requireFinite(what: string, { dtype, shape, data }: Tensor): void {
  if (dtype !== "float32" && dtype !== "float64") return;
  const bad = (data as Float32Array).findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const size = data.length / shape[0]!;
  throw invalidArgument(
    `row ${Math.floor(bad / size) + 1} of "${what}" holds ${data[bad]}; all must be finite numbers`,
  );
}

export function answersOf({ targets, weights }: TensorData, count: number, { loss }: TrainingOptions) {
  const { dtype, shape, data } = targets;
  if (shape[0] !== count) throw invalidArgument(`there are ${count} rows of inputs and ${shape[0] ?? "no"} of targets`);
  requireFinite("targets", targets);
  if (weights !== undefined && weights.length !== count) {
    throw invalidArgument(`there are ${count} rows of inputs and ${weights.length} weights`);
  }
  const badWeight = weights?.findIndex((weight) => !(weight >= 0 && Number.isFinite(weight))) ?? -1;
  if (badWeight >= 0) {
    throw invalidArgument(
      `the weight of row ${badWeight + 1} is ${weights![badWeight]}; it must be a number from 0 on`,
    );
  }
  const wanted = targetDtype(loss.kind);
  const values = Float64Array.from(data as Float32Array, Number);
  if (wanted === "int64") {
    const bad = values.findIndex((value) => !Number.isInteger(value) || value < 0);
    if (bad >= 0)
      throw invalidArgument(`target ${bad + 1} is ${values[bad]}; a class is a whole number from 0 on (${dtype})`);
  }
  return { targets: values, target: { name: targetField, dtype: wanted, shape: shape.slice(1) }, weights };
}

/** By row, for a stratified split; undefined where targets are no classes. */
function classesOf({ shape, data }: NumericTensor, { loss }: TrainingOptions): ArrayLike<number> | undefined {
  const single = data.length === shape[0];
  return loss.kind.endsWith("crossentropy") && single ? Float64Array.from(data as Float32Array, Number) : undefined;
}
