// From what a client asks for and the data it sent to a training that is ready to run.
import { decodeGraphModel, readSelfContained } from "../../onnx/index.js";
import { internal, invalidArgument } from "../../status.js";
import { measureDrift } from "../data/drift.js";
import { evaluateOnTable, evaluateOnTensors } from "../evaluate-model.js";
import type { Evaluation } from "../evaluator.js";
import { requireTableRecord } from "../exported-model.js";
import { FineTuning } from "../fine-tuning.js";
import type { PreparedTraining, TrainingSurroundings } from "../prepared-training.js";
import { prepareTables, TabularTraining } from "../tabular-training.js";
import type { TensorSet } from "../tensor-set.js";
import { TensorTraining } from "../tensor-training.js";
import { validateTrainingOptions } from "../training-options.js";
import { type ClassWeights, classWeightsOf } from "./class-weights.js";
import type { DataSet, DataSets } from "./data-set-reader.js";
import { designForTable, designForTensors, taskOfTable } from "./design-model.js";
import { givenTrainingOptions } from "./given-training-options.js";
import type { JobDrift, JobEvaluation, JobPlan } from "./job.js";
import type { JobSpec, JobStart } from "./job-spec.js";
import { requireKnownMetrics } from "./known-metrics.js";
import type { EvaluationRequest } from "./training-service.js";

export interface PreparedJob {
  /** Its trainer, and the rows to validate on; to be released. */
  readonly training: PreparedTraining;
  /** Without the time of a step. */
  readonly plan: JobPlan;
  /** What a person should know: columns left out, cells missing, what was chosen by default. */
  readonly notices: readonly string[];
  /** Of an update: its rows against those that its base was trained on. */
  readonly drift: readonly JobDrift[];
  /** In the order of the scores. */
  readonly classLabels: readonly string[] | undefined;
  /** Of the trainer's weights on the rows to validate on; undefined without any. */
  evaluate(): JobEvaluation | undefined;
  /** Of the base as it is, on the same rows; undefined for new models and new heads. */
  evaluateBase(): JobEvaluation | undefined;
  /** The trained model as a file, held against the trainer in a session of its own. INTERNAL when they differ. */
  export(evaluation: JobEvaluation | undefined, lineage: Readonly<Record<string, unknown>>): Uint8Array;
}

export interface PrepareJobOptions {
  /** The model file of the base, its external data beside it; for fine-tune and update. */
  readonly baseFile?: string | undefined;
  /** Where rows are kept that are too many for memory. */
  readonly folder: string;
  /** What weights, activations and rows may take. */
  readonly memoryBytes: number;
}

/**
 * Everything is looked at before the first step: every row, every shape, every operator.
 * Throws INVALID_ARGUMENT naming the field of the spec, the layer, or row and column that do not fit;
 * FAILED_PRECONDITION when the base cannot be trained, naming the node; RESOURCE_EXHAUSTED when memory would not do,
 * before it is allocated.
 */
export async function prepareJob(spec: JobSpec, data: DataSets, options: PrepareJobOptions): Promise<PreparedJob> {
  const surroundings: TrainingSurroundings = {
    folder: options.folder,
    memoryBytes: Math.min(options.memoryBytes, spec.limits.maxMemoryBytes ?? Number.POSITIVE_INFINITY),
  };
  if (data.validation !== undefined && (spec.training.validationSplit ?? 0) > 0) {
    throw invalidArgument("give validation_split or validation data, not both");
  }
  const started = await startTraining(spec, data, surroundings, options.baseFile);
  const { training } = started;
  try {
    requireKnownMetrics(spec, training);
    requireKnownClasses(started);
  } catch (error) {
    training.release();
    throw error;
  }
  return preparedJob(started);
}

/** A training, and what is known of it beside the trainer. */
interface StartedTraining {
  readonly training: PreparedTraining & Pick<TabularTraining, "export">;
  readonly notices: readonly string[];
  readonly drift: readonly JobDrift[];
  readonly classLabels: readonly string[] | undefined;
  readonly classWeights: ClassWeights;
  /** Whether the weights it starts from are a model's whose results count. */
  readonly hasBase: boolean;
}

function preparedJob(started: StartedTraining): PreparedJob {
  const { training, notices, drift, classLabels, hasBase } = started;
  const { trainer, validation } = training;
  return {
    training,
    plan: {
      ...trainer.plan,
      exampleBytes: training.exampleBytes,
      trainRows: training.trainRows,
      validationRows: validation?.count ?? 0,
    },
    notices,
    drift,
    classLabels,
    evaluate: () => (validation === undefined ? undefined : jobEvaluation(trainer.evaluate(validation), classLabels)),
    evaluateBase: () =>
      validation === undefined || !hasBase ? undefined : jobEvaluation(trainer.evaluateStart(validation), classLabels),
    export: (evaluation, lineage) => training.export(new Map(Object.entries(evaluation?.metrics ?? {})), lineage),
  };
}

/** An evaluation as plain data. */
export function jobEvaluation(
  { values, loss, rows, confusion }: Evaluation,
  classLabels: readonly string[] | undefined,
): JobEvaluation {
  const metrics = { ...(Number.isFinite(loss) && { loss }), ...Object.fromEntries(values) };
  if (confusion === undefined) return { metrics, rows };
  return { metrics, rows, confusion, classLabels: classLabels?.length === confusion.length ? classLabels : undefined };
}

async function startTraining(
  spec: JobSpec,
  data: DataSets,
  surroundings: TrainingSurroundings,
  baseFile: string | undefined,
): Promise<StartedTraining> {
  const { start } = spec;
  const tables = data.train.kind === "table";
  switch (start.kind) {
    case "layers":
    case "classic":
      return tables ? newOnTable(spec, start, data, surroundings) : newOnTensors(spec, start, data, surroundings);
    case "fine-tune":
      if (tables) {
        throw invalidArgument(
          "fine_tune takes tensors, by the names of the model's inputs; a model that was trained here on a table is trained further by update",
        );
      }
      return await fineTuned(spec, start, data, surroundings, requireBase(baseFile));
    case "update":
      if (!tables) throw invalidArgument("update takes rows with named columns; on tensors, use fine_tune");
      return await updated(spec, data, surroundings, requireBase(baseFile));
  }
}

type NewStart = Extract<JobStart, { kind: "layers" | "classic" }>;

function newOnTable(
  spec: JobSpec,
  start: NewStart,
  data: DataSets,
  surroundings: TrainingSurroundings,
): StartedTraining {
  if (spec.table === undefined || spec.table.target === "") {
    throw invalidArgument("table.target: name the column that is to be predicted");
  }
  if (spec.classLabels.length > 0) {
    throw invalidArgument("class_labels are for tensors; the labels of a table are those of its target column");
  }
  const { training } = spec;
  const given = givenTrainingOptions(training);
  const { target, columns, numbers, onlyNamed, weight } = spec.table;
  const table = tableOf(data.train);
  const { task, notice } = taskOfTable(spec.table, start, training.loss?.kind, table);
  const tables = prepareTables(table, data.validation === undefined ? undefined : tableOf(data.validation), {
    target,
    task,
    columns,
    ...(numbers !== undefined && { numbers }),
    onlyNamed,
    weight,
    ...splitOf(spec),
    seed: training.seed,
  });
  const { prepared } = tables;
  const design = designForTable(start, prepared, given);
  const classLabels = prepared.target.kind === "classes" ? prepared.target.labels : undefined;
  const classWeights = classWeightsOf(training.classWeights, classLabels);
  const options = validateTrainingOptions({ ...given, ...design.training, classWeights });
  return {
    training: TabularTraining.of(tables, { layers: design.layers, options, surroundings }),
    notices: [...(notice === undefined ? [] : [notice]), ...prepared.notices],
    drift: [],
    classLabels,
    classWeights,
    hasBase: false,
  };
}

function newOnTensors(
  spec: JobSpec,
  start: NewStart,
  data: DataSets,
  surroundings: TrainingSurroundings,
): StartedTraining {
  refuseTableSpec(spec);
  const given = givenTrainingOptions(spec.training);
  const train = tensorsOf(data.train);
  const labels = spec.classLabels.length > 0 ? spec.classLabels : undefined;
  const share = data.validation === undefined ? (spec.training.validationSplit ?? 0.2) : 0;
  const trainRows = train.count - Math.round(train.count * share);
  const design = designForTensors(start, train, given, { labels, trainRows });
  const classWeights = classWeightsOf(spec.training.classWeights, labels);
  const training = TensorTraining.start(train, {
    layers: design.layers,
    training: { ...given, ...design.training, classWeights },
    classLabels: labels,
    ...splitOf(spec),
    validation: data.validation === undefined ? undefined : tensorsOf(data.validation),
    surroundings,
  });
  return { training, notices: [], drift: [], classLabels: training.classLabels, classWeights, hasBase: false };
}

async function fineTuned(
  spec: JobSpec,
  start: Extract<JobStart, { kind: "fine-tune" }>,
  data: DataSets,
  surroundings: TrainingSurroundings,
  baseFile: string,
): Promise<StartedTraining> {
  refuseTableSpec(spec);
  const base = await readSelfContained(baseFile);
  const isNewHead = start.headClasses !== undefined;
  const given = spec.classLabels.length > 0 ? spec.classLabels : undefined;
  const labels = isNewHead ? given : onlyLabels(base.classLabels);
  const classWeights = classWeightsOf(spec.training.classWeights, labels);
  const training = FineTuning.start(base.file, tensorsOf(data.train), {
    ...(start.output !== undefined && { output: start.output }),
    ...(start.train.length > 0 && { train: start.train }),
    freeze: start.freeze,
    headClasses: start.headClasses,
    classLabels: given,
    trainDropout: start.trainDropout,
    trainBatchNorm: start.trainBatchNorm,
    learningRateScales: start.learningRateScales,
    ...splitOf(spec),
    validation: data.validation === undefined ? undefined : tensorsOf(data.validation),
    training: { ...givenTrainingOptions(spec.training), classWeights },
    surroundings,
  });
  const numbered = isNewHead ? Array.from({ length: start.headClasses! }, (_, label) => String(label)) : undefined;
  return { training, notices: [], drift: [], classLabels: labels ?? numbered, classWeights, hasBase: !isNewHead };
}

async function updated(
  spec: JobSpec,
  data: DataSets,
  surroundings: TrainingSurroundings,
  baseFile: string,
): Promise<StartedTraining> {
  const { file } = await readSelfContained(baseFile);
  const { preparation, target } = requireTableRecord(decodeGraphModel(file).metadata);
  if (spec.table !== undefined && spec.table.target !== "" && spec.table.target !== target.column) {
    throw invalidArgument(`table.target: the base predicts column "${target.column}", not "${spec.table.target}"`);
  }
  const classLabels = target.kind === "classes" ? target.labels : undefined;
  const classWeights = classWeightsOf(spec.training.classWeights, classLabels);
  const table = tableOf(data.train);
  const { loss: _loss, threshold: _threshold, ...given } = givenTrainingOptions(spec.training);
  const training = TabularTraining.update(file, table, {
    table: { weight: spec.table?.weight, ...splitOf(spec) },
    training: { ...given, classWeights },
    validation: data.validation === undefined ? undefined : tableOf(data.validation),
    surroundings,
  });
  const drift = measureDrift(preparation, table).map(plainDrift);
  return { training, notices: training.prepared.notices, drift, classLabels, classWeights, hasBase: true };
}

/** Every metric of a model file on given rows, those of `data.train`. Throws as prepareJob() does. */
export async function evaluateServed(
  baseFile: string,
  request: EvaluationRequest,
  { train }: DataSets,
): Promise<{ readonly evaluation: JobEvaluation; readonly drift: readonly JobDrift[] }> {
  const { file, classLabels } = await readSelfContained(baseFile);
  const { topK, threshold, loss, output, weight } = request;
  const asked = { ...(topK !== undefined && { topK }), ...(threshold !== undefined && { threshold }) };
  if (train.kind === "table") {
    if (output !== undefined || loss !== undefined) {
      throw invalidArgument("output and loss are for tensors; on a table, a model is judged by what it was trained on");
    }
    const found = evaluateOnTable(file, train.table, { weight, ...asked });
    return { evaluation: jobEvaluation(found, found.classLabels), drift: found.drift.map(plainDrift) };
  }
  if (weight !== undefined) throw invalidArgument("weight names a column; tensors bring their weights with them");
  const evaluation = evaluateOnTensors(file, train.tensors, { output, training: { ...asked, loss } });
  return { evaluation: jobEvaluation(evaluation, onlyLabels(classLabels)), drift: [] };
}

const plainDrift = ({ column, measures, warnings }: ReturnType<typeof measureDrift>[number]): JobDrift => ({
  column,
  measures: Object.fromEntries(measures),
  warnings,
});

function requireBase(baseFile: string | undefined): string {
  if (baseFile === undefined) throw internal("a job that starts from a served version was given no file of it");
  return baseFile;
}

function refuseTableSpec({ table }: JobSpec): void {
  if (table !== undefined) throw invalidArgument("table says how named columns are used; the data are tensors");
}

function tableOf(set: DataSet) {
  if (set.kind !== "table") throw invalidArgument("data to train on and to validate on must both have named columns");
  return set.table;
}

function tensorsOf(set: DataSet): TensorSet {
  if (set.kind !== "tensors") throw invalidArgument("data to train on and to validate on must both be tensors");
  return set.tensors;
}

const splitOf = ({ training: { validationSplit } }: JobSpec) =>
  validationSplit === undefined ? {} : { validationSplit };

/** The labels of a model that has one output of scores. */
function onlyLabels(labels: ReadonlyMap<string, readonly (string | bigint)[]>): readonly string[] | undefined {
  return labels.size === 1 ? [...labels.values()][0]!.map(String) : undefined;
}

/** Where classes have no labels, their number is known only once the model is. */
function requireKnownClasses({ training: { trainer }, classWeights }: StartedTraining): void {
  const { task } = trainer;
  const classes = task.kind === "multiclass" ? task.classes : 2;
  const unknown = [...classWeights.keys()].find((number) => number >= classes);
  if (unknown !== undefined) throw invalidArgument(`class_weights: there is no class ${unknown}; there are ${classes}`);
}
