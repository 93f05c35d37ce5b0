// The graph that one training step runs: forward, loss and gradients. What a served model does differently while it is
// trained is changed here: dropout drops, batch normalisation looks at its batch.
import { capturesOf, encodeGraphModel, type Graph, type GraphNode } from "../onnx/index.js";
import { failedPrecondition, invalidArgument } from "../status.js";
import { byteLength, type ElementType, elementTypeInfo, formatShape, type Tensor } from "../tensor/index.js";
import { buildGradients, valuesMovedBy } from "./autodiff/gradient-graph.js";
import { describeNode } from "./autodiff/gradient-rule.js";
import { lowerRecurrent } from "./autodiff/lower-recurrent.js";
import { prepareForward, prepareScans } from "./autodiff/prepare-forward.js";
import { evaluate, probe } from "./autodiff/probe.js";
import type { ValueInfo, ValueInfos } from "./autodiff/value-info.js";
import { type Field, targetField } from "./examples.js";
import { GraphEmitter, tensorOf } from "./graph-emitter.js";
import { buildLoss, findLogits, type LossOptions, type Predictions, targetDtype } from "./losses.js";
import { requireMemory } from "./memory-budget.js";
import type { Parameter } from "./optimizers/parameter-memory.js";

/** A model to be trained, as a graph for inference. */
export interface TrainableModel {
  readonly graph: Graph;
  readonly operatorSets: ReadonlyMap<string, number>;
  /** The graph's inputs as fields of the examples. */
  readonly inputs: readonly Field[];
  /** The value that holds the predictions, [N, ...]. */
  readonly output: string;
  readonly parameters: readonly Parameter[];
  /** Whether dropout drops and batch normalisation learns; a model that is fine-tuned mostly keeps them still. */
  readonly trainDropout: boolean;
  readonly trainBatchNorm: boolean;
  /** Regression: metrics are of prediction · scale + mean, the numbers that people know. Default: as they are. */
  readonly rescale?: { readonly mean: number; readonly scale: number } | undefined;
}

/** A dropout whose mask is fed: 1/(1 - rate) for what is kept, zeros for the rest. */
export interface DropoutMask {
  readonly input: string;
  readonly rate: number;
  /** For a whole batch. */
  readonly shape: readonly number[];
  readonly followsBatch: readonly boolean[];
}

/** A running statistic of a batch normalisation: fed, and given out anew after the step. */
export interface RunningStatistic {
  /** The initializer it stands for, and the input that feeds it. */
  readonly name: string;
  readonly output: string;
}

export interface StepGraph {
  readonly model: Uint8Array;
  readonly loss: string;
  /** By parameter. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Parameters that the loss does not depend on; they stay as they are. */
  readonly unused: readonly string[];
  readonly masks: readonly DropoutMask[];
  readonly statistics: readonly RunningStatistic[];
  /** Whether any number of rows may be run; otherwise as many as it was built with. */
  readonly openBatch: boolean;
  /** The targets as the loss takes them. */
  readonly target: Field;
  /** What all values between inputs and loss take. */
  readonly activationBytes: number;
}

/** Names of the inputs that the loss adds to the graph. */
export const lossInputs = { targets: "onnxd:targets", weights: "onnxd:weights" } as const;

/** Makes feeds of so many rows of the examples: the graph is tried with them to learn its shapes. */
export type SampleFeeds = (rows: number) => Map<string, Tensor>;

/**
 * Builds the graph for batches of one size.
 * Throws FAILED_PRECONDITION when the model cannot be trained, INVALID_ARGUMENT when model and loss do not fit,
 * RESOURCE_EXHAUSTED when the values of a batch take more than memoryBytes.
 */
export function buildStepGraph(
  model: TrainableModel,
  loss: LossOptions,
  sample: SampleFeeds,
  batchSize: number,
  memoryBytes = Number.POSITIVE_INFINITY,
): StepGraph {
  const names = model.parameters.map(({ name }) => name);
  const graph = model.graph.clone();
  prepareForward(graph);
  const moved = movedValues(graph, names);
  lowerRecurrent(graph, (node) => readsAny(node, moved));
  if (memoryBytes < Number.POSITIVE_INFINITY) requireRoomForValues(graph, model, sample, batchSize, memoryBytes);
  // A row of weight 0 changes nothing in a loss, but it does in the statistics of its batch: then rows that are not
  // there cannot be filled in, and the graph must take any number.
  const openBatch = model.trainBatchNorm && graph.nodes.some(({ opType }) => opType === "BatchNormalization");
  const probedRows = openBatch ? 3 : batchSize;
  const feeds = sample(probedRows);
  const otherFeeds = openBatch ? sample(2) : undefined;
  declareInputs(graph, model.inputs, openBatch ? "N" : batchSize);
  const scans = prepareScans(graph, feeds, otherFeeds);
  const forward = probe(graph, feeds, { otherFeeds, operatorSets: model.operatorSets });

  const masks = model.trainDropout ? feedDropoutMasks(graph, forward, batchSize / probedRows) : [];
  const statistics = model.trainBatchNorm ? feedRunningStatistics(graph) : [];
  const site = attachLoss(graph, model, loss, (name) => forward.get(name), openBatch ? "N" : batchSize);
  const complete = (given: Map<string, Tensor>, rows: number) =>
    new Map([...given, ...addedFeeds(graph, site.target, masks, statistics, rows, batchSize)]);
  const infos = probe(graph, complete(feeds, probedRows), {
    otherFeeds: otherFeeds === undefined ? undefined : complete(otherFeeds, 2),
    operatorSets: model.operatorSets,
  });

  const emitter = new GraphEmitter(graph);
  const seeds = new Map([[site.loss, emitter.scalar(1, "float32")]]);
  const gradients = buildGradients({ graph, infos, scans, seeds, parameters: names });
  if (gradients.size === 0) throw failedPrecondition("the loss does not depend on any of the weights to be trained");
  // Two parameters that are only added have the same gradient; outputs must have names of their own.
  const outputs = new Map([...gradients].map(([name, gradient]) => [name, emitter.op("Identity", [gradient])]));
  for (const name of gradients.keys()) feedInitializer(graph, name);
  // Loops keep values of their steps for the way back, which only now are known.
  const activationBytes = (bytesOfValues(infos.values()) * batchSize) / probedRows;
  requireMemory(`the values between ${batchSize} rows and their loss`, activationBytes, memoryBytes);
  graph.outputs = [];
  for (const name of [site.loss, ...outputs.values(), ...statistics.map(({ output }) => output)]) {
    graph.output(name);
  }
  return {
    model: encodeGraphModel(graph, { operatorSets: model.operatorSets }),
    loss: site.loss,
    gradients: outputs,
    unused: names.filter((name) => !gradients.has(name)),
    masks,
    statistics,
    openBatch,
    target: site.target,
    activationBytes,
  };
}

/** The graph that judges the model as it is: forward and loss, for any number of rows. */
export interface EvaluationGraph {
  readonly model: Uint8Array;
  readonly loss: string;
  /** What metrics look at: the model's output, or the probabilities where that is logits. */
  readonly predictions: string;
  /** Of one row. */
  readonly predictionShape: readonly number[];
  readonly target: Field;
  /** Initializers that change in training beside the parameters; fed like them. */
  readonly statistics: readonly string[];
}

export function buildEvaluationGraph(model: TrainableModel, loss: LossOptions, sample: SampleFeeds): EvaluationGraph {
  const graph = model.graph.clone();
  declareInputs(graph, model.inputs, "N");
  const shapes = probe(graph, sample(2), { operatorSets: model.operatorSets });
  const site = attachLoss(graph, model, loss, (name) => shapes.get(name), "N");
  for (const { name } of model.parameters) feedInitializer(graph, name);
  const statistics = model.trainBatchNorm ? [...new Set(statisticsOf(graph).flat())] : [];
  for (const name of statistics) feedInitializer(graph, name);
  const predictions = probabilities(graph, site.predictions, loss);
  graph.outputs = [];
  for (const name of new Set([site.loss, model.output, predictions])) graph.output(name);
  return {
    model: encodeGraphModel(graph, { operatorSets: model.operatorSets }),
    loss: site.loss,
    predictions,
    predictionShape: site.predictionShape,
    target: site.target,
    statistics,
  };
}

function probabilities(graph: Graph, { value, areLogits }: Predictions, { kind }: LossOptions): string {
  if (!areLogits) return value;
  const emitter = new GraphEmitter(graph);
  return kind === "binary_crossentropy" ? emitter.op("Sigmoid", [value]) : emitter.op("Softmax", [value], { axis: -1 });
}

/**
 * One row tells what a batch takes, before a batch is tried: each value on the way forward, and its gradient.
 * Throws RESOURCE_EXHAUSTED.
 */
function requireRoomForValues(
  graph: Graph,
  { operatorSets }: TrainableModel,
  sample: SampleFeeds,
  batchSize: number,
  memoryBytes: number,
): void {
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  const values = evaluate(graph, sample(1), names, operatorSets);
  let row = 0;
  for (const name of names) row += byteLength(values.get(name)!);
  requireMemory(`the values between ${batchSize} rows and their loss`, 2 * row * batchSize, memoryBytes);
}

function declareInputs(graph: Graph, inputs: readonly Field[], batch: number | "N"): void {
  graph.inputs = inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape: [batch, ...shape] }));
}

function feedInitializer(graph: Graph, name: string): void {
  const { dtype, shape } = graph.initializers.get(name)!;
  graph.initializers.delete(name);
  graph.inputs.push({ name, dtype, shape });
}

/** Values that change with the parameters. */
function movedValues(graph: Graph, parameters: readonly string[]): Set<string> {
  const readsOf = new Map(graph.nodes.map((node) => [node, [...node.inputs, ...capturesOf(node)]]));
  return valuesMovedBy(parameters, graph.nodes, readsOf);
}

const readsAny = ({ inputs }: GraphNode, values: ReadonlySet<string>): boolean =>
  inputs.some((name) => values.has(name));

/** Dropout(x) becomes x·mask. Our own masks, since the runtime's cannot be drawn again after an interruption. */
function feedDropoutMasks(graph: Graph, infos: ValueInfos, scale: number): DropoutMask[] {
  const masks: DropoutMask[] = [];
  graph.nodes = graph.nodes.map((node) => {
    if (node.opType !== "Dropout" || node.domain !== "") return node;
    const rate = Number(graph.initializers.get(node.inputs[1] ?? "")?.data[0] ?? 0.5);
    const { shape, followsBatch, dtype } = infos.get(node.outputs[0]!)!;
    const input = graph.fresh("mask");
    graph.inputs.push({
      name: input,
      dtype,
      shape: shape.map((size, axis) => (followsBatch[axis] ? undefined : size)),
    });
    masks.push({
      input,
      rate,
      shape: shape.map((size, axis) => (followsBatch[axis] ? size * scale : size)),
      followsBatch,
    });
    const { name, outputs, inputs } = node;
    return {
      opType: "Mul",
      domain: "",
      name,
      inputs: [inputs[0]!, input],
      outputs: [outputs[0]!],
      attributes: new Map(),
    };
  });
  return masks;
}

/** The shape of a mask for some rows. */
export function maskShape({ shape, followsBatch }: DropoutMask, rows: number, batchSize: number): number[] {
  return shape.map((size, axis) => (followsBatch[axis] ? (size / batchSize) * rows : size));
}

function feedRunningStatistics(graph: Graph): RunningStatistic[] {
  const fed = new Set<string>();
  return graph.nodes.filter(isBatchNormalization).flatMap((node) => {
    node.attributes.set("training_mode", 1);
    return statisticNames(graph, node).map((name, index) => {
      if (fed.has(name)) throw failedPrecondition(`two batch normalisations share their statistics "${name}"`);
      fed.add(name);
      feedInitializer(graph, name);
      const output = graph.fresh(name);
      node.outputs[1 + index] = output;
      return { name, output };
    });
  });
}

const isBatchNormalization = ({ opType, domain }: GraphNode): boolean =>
  opType === "BatchNormalization" && domain === "";

function statisticsOf(graph: Graph): (readonly string[])[] {
  return graph.nodes.filter(isBatchNormalization).map((node) => statisticNames(graph, node));
}

function statisticNames(graph: Graph, node: GraphNode): readonly string[] {
  const names = node.inputs.slice(3, 5);
  if (!names.every((name) => graph.initializers.has(name))) {
    throw failedPrecondition(`${describeNode(node)} has no stored statistics to train; keep batch normalisation still`);
  }
  return names;
}

interface LossAttachment {
  readonly loss: string;
  readonly target: Field;
  readonly predictions: Predictions;
  /** Of one row. */
  readonly predictionShape: readonly number[];
}

function attachLoss(
  graph: Graph,
  model: TrainableModel,
  loss: LossOptions,
  infoOf: (name: string) => ValueInfo | undefined,
  batch: number | "N",
): LossAttachment {
  let predictions = findLogits(graph, model.output, loss, (name) => infoOf(name)!.shape.length);
  const info = infoOf(predictions.value);
  if (info === undefined) throw failedPrecondition(`the model has no value "${model.output}"`);
  const { dtype } = info;
  let { shape } = info;
  if (dtype !== "float32" || shape.length === 0) {
    throw failedPrecondition(
      `a loss wants predictions in float32, rows first; "${predictions.value}" is ${dtype} of shape ${formatShape(shape)}`,
    );
  }
  const sparse = loss.kind === "sparse_categorical_crossentropy";
  if (
    loss.kind.endsWith("categorical_crossentropy") &&
    shape.length > 2 &&
    shape.slice(2).every((size) => size === 1)
  ) {
    // Nets that end in a convolution give [N, classes, 1, 1].
    const [flat] = graph.node("Flatten", [predictions.value], { axis: 1 });
    predictions = { ...predictions, value: flat! };
    shape = shape.slice(0, 2);
  }
  if (loss.kind.endsWith("categorical_crossentropy") && (shape.length < 2 || shape.at(-1)! < 2)) {
    throw invalidArgument(
      `${loss.kind} wants one prediction a class; the model gives ${formatShape(shape.slice(1))} a row`,
    );
  }
  const target: Field = {
    name: targetField,
    dtype: targetDtype(loss.kind),
    shape: sparse ? shape.slice(1, -1) : shape.slice(1),
  };
  graph.inputs.push({ name: lossInputs.targets, dtype: target.dtype, shape: [batch, ...target.shape] });
  graph.inputs.push({ name: lossInputs.weights, dtype: "float32", shape: [batch] });
  const name = buildLoss(new GraphEmitter(graph), loss, {
    predictions,
    shape,
    dtype,
    targets: lossInputs.targets,
    sampleWeights: lossInputs.weights,
  });
  return { loss: name, target, predictions, predictionShape: shape.slice(1) };
}

/** What the graph takes besides the model's inputs, for a run that only asks for shapes. */
function addedFeeds(
  graph: Graph,
  target: Field,
  masks: readonly DropoutMask[],
  statistics: readonly RunningStatistic[],
  rows: number,
  batchSize: number,
): Map<string, Tensor> {
  const filled = (dtype: ElementType, shape: readonly number[], value: number) =>
    tensorOf(dtype, shape, new Array(shape.reduce((all, size) => all * size, 1)).fill(value));
  const feeds = new Map<string, Tensor>();
  feeds.set(lossInputs.targets, filled(target.dtype, [rows, ...target.shape], 0));
  feeds.set(lossInputs.weights, filled("float32", [rows], 1));
  for (const mask of masks) feeds.set(mask.input, filled("float32", maskShape(mask, rows, batchSize), 1));
  for (const { name } of statistics) {
    const { shape } = graph.inputs.find((input) => input.name === name)!;
    feeds.set(name, filled("float32", shape as readonly number[], 1));
  }
  return feeds;
}

function bytesOfValues(values: Iterable<ValueInfo>): number {
  let bytes = 0;
  for (const { dtype, shape } of values) {
    bytes += shape.reduce((all, size) => all * size, elementTypeInfo(dtype).bytesPerElement);
  }
  return bytes;
}
