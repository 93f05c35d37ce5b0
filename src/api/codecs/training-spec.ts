// onnxd.v1.TrainingSpec to and from the plain JobSpec. What is not given stays so: defaults are the engine's. So are the
// checks of names and bounds; here is refused what plain data could not express.
import type {
  Column,
  EarlyStopping,
  FineTune,
  Gate,
  Limits,
  Loss,
  ModelRef as ModelRefMessage,
  Optimizer,
  Schedule,
  Table,
  TrainingSpec as TrainingSpecMessage,
} from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import type {
  ColumnSpec,
  GateSpec,
  JobLimits,
  JobSpec,
  JobStart,
  LossOptions,
  ModelRef,
  TableSpec,
  TrainingSpec,
} from "../../training/index.js";
import { givenFields, unlessZero } from "./given-fields.js";
import { fromLayerMessages, toLayerMessages } from "./training-layers.js";

/** Throws INVALID_ARGUMENT naming the field as the client wrote it. */
export function fromTrainingSpecMessage(message: TrainingSpecMessage | undefined): JobSpec {
  if (message === undefined) throw invalidArgument("the request has no spec");
  const { model, version, table, classLabels, gate, hold, limits, tags } = message;
  if (model === "") throw invalidArgument("spec.model is missing: the model whose next version this becomes");
  return {
    model,
    ...givenFields({ version: version?.toString(), table: table && fromTable(table) }),
    start: fromStart(message),
    classLabels,
    training: fromTraining(message),
    gate: fromGate(gate),
    hold,
    limits: fromLimits(limits),
    tags: sorted(tags),
  };
}

export function toTrainingSpecMessage(spec: JobSpec): TrainingSpecMessage {
  const { training } = spec;
  return {
    model: spec.model,
    version: spec.version === undefined ? undefined : BigInt(spec.version),
    ...toStart(spec.start),
    table: spec.table && toTable(spec.table),
    classLabels: [...spec.classLabels],
    loss: training.loss && toLossMessage(training.loss),
    optimizer: unlessEmpty(training.optimizer, toOptimizer),
    schedule: unlessEmpty(training.schedule, toSchedule),
    epochs: training.epochs,
    batchSize: training.batchSize,
    maxSteps: BigInt(training.maxSteps ?? 0),
    shuffle: training.shuffle,
    seed: BigInt(training.seed),
    classWeights: new Map(Object.entries(training.classWeights)),
    earlyStopping: training.earlyStopping && toEarlyStopping(training.earlyStopping),
    topK: training.topK,
    threshold: training.threshold,
    validationSplit: training.validationSplit,
    gate: spec.gate.conditions.length > 0 || spec.gate.allowWorse ? toGate(spec.gate) : undefined,
    hold: spec.hold,
    limits: unlessEmpty(spec.limits, toLimits),
    tags: new Map(Object.entries(spec.tags)),
  };
}

const unlessEmpty = <T extends object, M>(options: T, to: (options: T) => M): M | undefined =>
  Object.keys(options).length === 0 ? undefined : to(options);

/** A map comes in any order; specs that say the same are to be the same. */
function sorted<T>(map: ReadonlyMap<string, T>): Record<string, T> {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** An int64 as a number, exactly. */
export function exactNumber(value: bigint, place: string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw invalidArgument(`${place} must be from -2^53 to 2^53; got ${value}`);
}

export function fromModelRefMessage(message: ModelRefMessage | undefined): ModelRef {
  const { name = "", choice } = message ?? {};
  return givenFields({
    name: unlessZero(name),
    version: choice?.$case === "version" ? choice.value.toString() : undefined,
    label: choice?.$case === "label" ? choice.value : undefined,
  });
}

function toModelRef({ name = "", version, label }: ModelRef): ModelRefMessage {
  if (version !== undefined) return { name, choice: { $case: "version", value: BigInt(version) } };
  return { name, choice: label === undefined ? undefined : { $case: "label", value: label } };
}

function fromStart({ layers, classic, fineTune, update }: TrainingSpecMessage): JobStart {
  const given = [
    layers.length > 0 && "layers",
    classic !== undefined && "classic",
    fineTune !== undefined && "fine_tune",
    update !== undefined && "update",
  ].filter((name) => name !== false);
  if (given.length !== 1) {
    const got = given.length === 0 ? "none" : given.join(" and ");
    throw invalidArgument(`spec takes exactly one of layers, classic, fine_tune and update; got ${got}`);
  }
  if (classic !== undefined) {
    const { form, alpha, l1Ratio } = classic;
    type Form = Extract<JobStart, { kind: "classic" }>["form"];
    return { kind: "classic", form: form as Form, options: givenFields({ alpha, l1Ratio }) };
  }
  if (fineTune !== undefined) return fromFineTune(fineTune);
  if (update !== undefined) return { kind: "update", base: fromModelRefMessage(update.base) };
  return { kind: "layers", layers: fromLayerMessages(layers, "spec.layers") };
}

function fromFineTune(message: FineTune): JobStart {
  const { base, output, train, freeze, headClasses, trainDropout, trainBatchNorm, learningRateScales } = message;
  return {
    kind: "fine-tune",
    base: fromModelRefMessage(base),
    train,
    freeze,
    trainDropout,
    trainBatchNorm,
    learningRateScales: learningRateScales.map(({ names, scale }) => ({ names, scale })),
    ...givenFields({ output: unlessZero(output), headClasses: unlessZero(headClasses) }),
  };
}

function toStart(start: JobStart): Pick<TrainingSpecMessage, "layers" | "classic" | "fineTune" | "update"> {
  const none = { layers: [], classic: undefined, fineTune: undefined, update: undefined };
  switch (start.kind) {
    case "layers":
      return { ...none, layers: toLayerMessages(start.layers) };
    case "classic":
      return { ...none, classic: { form: start.form, ...start.options } };
    case "update":
      return { ...none, update: { base: toModelRef(start.base) } };
    case "fine-tune": {
      const { base, output = "", train, freeze, headClasses = 0, trainDropout, trainBatchNorm } = start;
      const learningRateScales = start.learningRateScales.map(({ names, scale }) => ({ names, scale }));
      const lists = { train: [...train], freeze: [...freeze], learningRateScales };
      return {
        ...none,
        fineTune: { base: toModelRef(base), output, headClasses, trainDropout, trainBatchNorm, ...lists },
      };
    }
  }
}

function fromTable({ target, task, columns, numbers, onlyNamed, weight }: Table): TableSpec {
  return {
    target,
    columns: columns.map(fromColumn),
    onlyNamed,
    ...(givenFields({
      task: unlessZero(task),
      numbers: numbers && fromNumberColumns(numbers),
      weight: unlessZero(weight),
    }) as Pick<TableSpec, "task" | "numbers" | "weight">),
  };
}

function fromColumn(column: Column): ColumnSpec {
  const { name, kind, encoding, buckets, ngrams, vocabulary, length } = column;
  return {
    name,
    ...givenFields({
      kind: unlessZero(kind),
      encoding: unlessZero(encoding),
      buckets: unlessZero(buckets),
      ngrams: unlessZero(ngrams),
      vocabulary: unlessZero(vocabulary),
      length: unlessZero(length),
    }),
    ...fromNumberColumns(column),
  } as ColumnSpec;
}

function fromNumberColumns({ impute, fill, scale }: Pick<Column, "impute" | "fill" | "scale">) {
  return givenFields({
    impute: unlessZero(impute),
    fill: unlessZero(fill),
    scale: unlessZero(scale),
  }) as NonNullable<TableSpec["numbers"]>;
}

function toTable({ target, task, columns, numbers, onlyNamed, weight = "" }: TableSpec): Table {
  return {
    target,
    task: task ?? "",
    columns: columns.map(toColumn),
    numbers: numbers && toNumberColumns(numbers),
    onlyNamed,
    weight,
  };
}

function toColumn(spec: ColumnSpec): Column {
  const { name, kind, encoding, buckets = 0, ngrams = 0, vocabulary = 0, length = 0 } = spec;
  const names = { name, kind: kind ?? "", encoding: encoding ?? "" };
  return { ...names, buckets, ngrams, vocabulary, length, ...toNumberColumns(spec) };
}

function toNumberColumns({ impute, fill = 0, scale }: NonNullable<TableSpec["numbers"]>) {
  return { impute: impute ?? "", fill, scale: scale ?? "" };
}

function fromTraining(message: TrainingSpecMessage): TrainingSpec {
  const { loss, optimizer, schedule, epochs, batchSize, shuffle, earlyStopping, topK, threshold } = message;
  return {
    optimizer: optimizer === undefined ? {} : fromOptimizer(optimizer),
    schedule: schedule === undefined ? {} : fromSchedule(schedule),
    seed: exactNumber(message.seed, "spec.seed"),
    classWeights: sorted(message.classWeights),
    ...givenFields({
      loss: loss && fromLossMessage(loss),
      epochs,
      batchSize,
      maxSteps: unlessZero(exactNumber(message.maxSteps, "spec.max_steps")),
      shuffle,
      earlyStopping: earlyStopping && fromEarlyStopping(earlyStopping),
      topK,
      threshold,
      validationSplit: message.validationSplit,
    }),
  };
}

export function fromLossMessage({ kind, delta, labelSmoothing, fromLogits }: Loss): Partial<LossOptions> {
  return givenFields({
    kind: unlessZero(kind),
    delta,
    labelSmoothing: unlessZero(labelSmoothing),
    fromLogits: unlessZero(fromLogits),
  }) as Partial<LossOptions>;
}

function toLossMessage({ kind, delta, labelSmoothing = 0, fromLogits }: Partial<LossOptions>): Loss {
  return { kind: kind ?? "", delta, labelSmoothing, fromLogits: fromLogits ?? "" };
}

function fromOptimizer(message: Optimizer): TrainingSpec["optimizer"] {
  const { learningRate, momentum, rho, beta1, beta2, epsilon, weightDecay } = message;
  return givenFields({
    kind: unlessZero(message.kind),
    ...{ learningRate, momentum, rho, beta1, beta2, epsilon, weightDecay },
    l1: unlessZero(message.l1),
    l2: unlessZero(message.l2),
    clipNorm: unlessZero(message.clipNorm),
    clipValue: unlessZero(message.clipValue),
  }) as TrainingSpec["optimizer"];
}

function toOptimizer(options: TrainingSpec["optimizer"]): Optimizer {
  return {
    ...{ learningRate: undefined, momentum: undefined, rho: undefined, beta1: undefined, beta2: undefined },
    ...{ epsilon: undefined, weightDecay: undefined, l1: 0, l2: 0, clipNorm: 0, clipValue: 0, kind: "" },
    ...options,
  };
}

function fromSchedule(message: Schedule): TrainingSpec["schedule"] {
  const { everyEpochs, gamma, factor, patience } = message;
  return givenFields({
    kind: unlessZero(message.kind),
    warmupSteps: unlessZero(message.warmupSteps),
    ...{ everyEpochs, gamma, factor, patience },
    finalShare: unlessZero(message.finalShare),
  }) as TrainingSpec["schedule"];
}

function toSchedule(options: TrainingSpec["schedule"]): Schedule {
  return {
    ...{ everyEpochs: undefined, gamma: undefined, factor: undefined, patience: undefined },
    ...{ kind: "", warmupSteps: 0, finalShare: 0 },
    ...options,
  };
}

type EarlyStoppingSpec = NonNullable<TrainingSpec["earlyStopping"]>;

function fromEarlyStopping({ monitor, mode, patience, minDelta, restoreBest }: EarlyStopping): EarlyStoppingSpec {
  return givenFields({
    monitor: unlessZero(monitor),
    mode: unlessZero(mode),
    patience,
    minDelta: unlessZero(minDelta),
    restoreBest,
  }) as EarlyStoppingSpec;
}

function toEarlyStopping(options: EarlyStoppingSpec): EarlyStopping {
  const { monitor = "", mode = "", patience, minDelta = 0, restoreBest } = options;
  return { monitor, mode, patience, minDelta, restoreBest };
}

function fromGate(message: Gate | undefined): GateSpec {
  const { conditions = [], allowWorse = false } = message ?? {};
  return {
    conditions: conditions.map(({ metric, min, max }) => ({ metric, ...givenFields({ min, max }) })),
    allowWorse,
  };
}

function toGate({ conditions, allowWorse }: GateSpec): Gate {
  return { conditions: conditions.map(({ metric, min, max }) => ({ metric, min, max })), allowWorse };
}

function fromLimits(message: Limits | undefined): JobLimits {
  if (message === undefined) return {};
  return givenFields({
    maxSeconds: unlessZero(message.maxSeconds),
    maxMemoryBytes: unlessZero(exactNumber(message.maxMemoryBytes, "spec.limits.max_memory_bytes")),
    checkpointSeconds: unlessZero(message.checkpointSeconds),
  });
}

function toLimits({ maxSeconds = 0, maxMemoryBytes = 0, checkpointSeconds = 0 }: JobLimits): Limits {
  return { maxSeconds, maxMemoryBytes: BigInt(maxMemoryBytes), checkpointSeconds };
}
