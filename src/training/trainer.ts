import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import type { Cancellation } from "../cancellation.js";
import type { Clock } from "../clock.js";
import { StepSession } from "../runtime/index.js";
import { failedPrecondition, invalidArgument } from "../status.js";
import type { NumericTensor } from "../tensor/index.js";
import { BatchFeeds } from "./batch-feeds.js";
import { requireClasses, requireTargets } from "./check-targets.js";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint.js";
import { CounterRandom, randomStreams } from "./counter-random.js";
import { type BestEpoch, noEpoch, observeEpoch, watchedValue } from "./early-stopping.js";
import { type Evaluation, Evaluator, type Predicted } from "./evaluator.js";
import { type Examples, sampleFeeds } from "./examples.js";
import { findFault } from "./find-fault.js";
import type { Task } from "./metrics.js";
import { learningRateFactor, observePlateau, type PlateauState, startOfPlateau } from "./optimizers/learning-rate.js";
import { Optimizer } from "./optimizers/optimizer.js";
import { ParameterMemory } from "./optimizers/parameter-memory.js";
import { buildStepGraph, type StepGraph, type TrainableModel } from "./step-graph.js";
import type { TrainingOptions } from "./training-options.js";

export interface StepReport {
  /** Steps done, over all epochs. */
  readonly step: number;
  /** Counted from 1. */
  readonly epoch: number;
  /** The batch's loss before the step, penalties not included. */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
}

export interface EpochReport {
  /** Counted from 1. */
  readonly epoch: number;
  readonly step: number;
  /** The mean over the epoch's rows, each with the weights of its step; what l1 and l2 add at the end is included. */
  readonly loss: number;
  readonly learningRate: number;
  /** Of the validation rows, if there are any. */
  readonly validation: Evaluation | undefined;
}

export interface TrainingResult {
  /** diverged: a loss or gradient was not finite; the weights are those of the last epoch that was. */
  readonly end: "completed" | "stopped early" | "diverged";
  readonly reason: string;
  readonly epochs: number;
  readonly steps: number;
  /** The epoch whose weights these are; 0: as they were in the beginning. */
  readonly weightsOfEpoch: number;
}

export interface TrainingHooks {
  /** Asked between two steps; its reason is thrown, and everything stays as it is for a checkpoint. */
  readonly cancellation: Cancellation;
  readonly clock: Clock;
  onStep?(report: StepReport): void;
  onEpoch?(report: EpochReport): void;
  /** Before each step, when everything is as a checkpoint needs it; what it returns is waited for. */
  betweenSteps?(): Promise<void> | undefined;
}

/** What would be trained and what it takes. */
export interface TrainingPlan {
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Weights that do not reach the loss and stay as they are. */
  readonly unused: readonly string[];
  readonly parameterCount: number;
  /** Weights, gradients and averages. */
  readonly parameterBytes: number;
  /** All values between a batch and its loss. */
  readonly activationBytes: number;
  readonly batchSize: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/**
 * Trains one model on one set of rows, on the calling thread. Everything that happens follows from the options, the
 * rows and the step count, so that a training restored from a checkpoint ends with the same bits as one that was never
 * interrupted.
 */
export class Trainer {
  readonly plan: TrainingPlan;
  readonly #model: TrainableModel;
  readonly #options: TrainingOptions;
  readonly #train: Examples;
  readonly #validation: Examples | undefined;
  readonly #memory: ParameterMemory;
  readonly #optimizer: Optimizer;
  readonly #graph: StepGraph;
  readonly #session: StepSession;
  readonly #feeds: BatchFeeds;
  readonly #evaluator: Evaluator;
  readonly #rowsJudgedAtOnce: number;
  readonly #loss = new Float32Array(1);
  /** Running statistics: as fed, and as the last step gave them out. */
  readonly #statistics = new Map<string, { readonly fed: NumericTensor; readonly given: NumericTensor }>();
  /** By number of rows: a run over the buffers. */
  readonly #runs = new Map<number, () => void>();
  #order: { readonly epoch: number; readonly rows: Uint32Array } | undefined;
  /** The weights to fall back to. */
  readonly #kept: Kept;
  #state: TrainerState = startState;

  /**
   * Builds the graphs and tries them on the first rows.
   * Throws INVALID_ARGUMENT when rows, model and options do not fit together, FAILED_PRECONDITION when the model cannot
   * be trained, RESOURCE_EXHAUSTED when it is too large.
   * @param memoryBytes what weights and activations may take
   */
  constructor(
    model: TrainableModel,
    options: TrainingOptions,
    train: Examples,
    validation?: Examples,
    memoryBytes = Number.POSITIVE_INFINITY,
  ) {
    if (train.count === 0) throw invalidArgument("there are no rows to train on");
    if (validation?.count === 0) throw invalidArgument("there are no rows to validate on");
    this.#options = options;
    this.#train = train;
    this.#validation = validation;
    const batchSize = Math.min(options.batchSize, train.count);
    const sample = (rows: number) => sampleFeeds(model, train, rows);
    this.#graph = buildStepGraph(model, options.loss, sample, batchSize, memoryBytes);
    this.#model = { ...model, parameters: model.parameters.filter(({ name }) => this.#graph.gradients.has(name)) };
    requireTargets(train, this.#graph.target, options);
    if (validation !== undefined) requireTargets(validation, this.#graph.target, options);
    this.#memory = new ParameterMemory(this.#model.parameters);
    for (const { name } of this.#model.parameters) {
      const { data } = this.#memory.view(this.#memory.weights, name);
      (data as Float32Array).set(model.graph.initializers.get(name)!.data as Float32Array);
    }
    for (const { name } of this.#graph.statistics) {
      const { shape, data } = model.graph.initializers.get(name)!;
      const copy = (): NumericTensor => ({ dtype: "float32", shape, data: Float32Array.from(data as Float32Array) });
      this.#statistics.set(name, { fed: copy(), given: copy() });
    }
    this.#optimizer = new Optimizer(options.optimizer, this.#memory);
    this.#session = new StepSession(this.#graph.model);
    this.#feeds = new BatchFeeds(model.inputs, this.#graph.target, this.#graph.masks, batchSize);
    this.#rowsJudgedAtOnce = rowsJudgedAtOnce(this.#graph.activationBytes, batchSize);
    this.#evaluator = new Evaluator(this.#model, options, sample, this.weights(), this.#rowsJudgedAtOnce);
    for (const examples of validation === undefined ? [train] : [train, validation]) {
      requireClasses(examples, this.#graph.target, this.#evaluator.task);
    }
    this.#kept = new Kept(this.#memory, this.#statistics);
    this.#kept.take();
    const stepsPerEpoch = Math.ceil(train.count / batchSize);
    const planned = stepsPerEpoch * options.epochs;
    this.plan = {
      parameters: this.#model.parameters.map(({ name, shape }) => ({ name, shape })),
      unused: this.#graph.unused,
      parameterCount: this.#model.parameters.reduce((sum, { shape }) => sum + product(shape), 0),
      parameterBytes: this.#memory.memory.buffer.byteLength,
      activationBytes: this.#graph.activationBytes,
      batchSize,
      stepsPerEpoch,
      totalSteps: options.maxSteps > 0 ? Math.min(options.maxSteps, planned) : planned,
    };
  }

  /** Trains to the end. May be called again after a cancellation, to go on. */
  async run(hooks: TrainingHooks): Promise<TrainingResult> {
    let turned = hooks.clock.now();
    while (this.#state.result === undefined) {
      const pause = hooks.betweenSteps?.();
      if (pause !== undefined) await pause;
      const { reason } = hooks.cancellation;
      if (reason !== undefined) throw reason;
      this.#step(hooks);
      // Messages, a cancellation among them, come in only when the loop turns.
      if (hooks.clock.now() - turned >= turnEveryMs) {
        await turnOfTheLoop();
        turned = hooks.clock.now();
      }
    }
    return this.#state.result;
  }

  /** Over all epochs, those before a restored checkpoint included. */
  get stepsDone(): number {
    const { epoch, stepInEpoch, result } = this.#state;
    return result?.steps ?? epoch * this.plan.stepsPerEpoch + stepInEpoch;
  }

  /** The weights and running statistics as they are, by initializer. Read, do not write. */
  weights(): Map<string, NumericTensor> {
    const weights = new Map<string, NumericTensor>();
    for (const { name } of this.#model.parameters) weights.set(name, this.#memory.view(this.#memory.weights, name));
    for (const [name, { fed }] of this.#statistics) weights.set(name, fed);
    return weights;
  }

  /** As the weights were before the first step. */
  evaluateStart(examples: Examples): Evaluation {
    const sample = (rows: number) => sampleFeeds(this.#model, this.#train, rows);
    const untouched = { ...this.#model, parameters: [], trainBatchNorm: false };
    const evaluator = new Evaluator(untouched, this.#options, sample, new Map(), this.#rowsJudgedAtOnce);
    try {
      return evaluator.evaluate(examples);
    } finally {
      evaluator.release();
    }
  }

  /** What is asked of the model, which decides the metrics. */
  get task(): Task {
    return this.#evaluator.task;
  }

  evaluate(examples: Examples): Evaluation {
    return this.#evaluator.evaluate(examples);
  }

  /** What evaluate() holds of the rows beside the model: what is predicted, what is true, what each counts. */
  evaluationBytes(examples: Examples): number {
    return this.#evaluator.bytesFor(examples.count);
  }

  /** What the model gives for some rows, as it stands. */
  predict(examples: Examples, rows: Uint32Array): Predicted {
    return this.#evaluator.predict(examples, rows);
  }

  /** Runs forward and backward over a first batch, without a step: for what a step takes. */
  rehearse(): void {
    const rows = Uint32Array.from({ length: this.plan.batchSize }, (_, row) => row);
    this.#feeds.fill(this.#train, rows, this.#options.classWeights);
    this.#feeds.drawMasks(this.#options.seed, 0);
    this.#runOf(this.plan.batchSize)();
  }

  /** All that restore() needs, between two steps. */
  checkpoint(): Uint8Array {
    const { weights, first, second } = this.#memory;
    const arrays = new Map([["weights", weights], ["first", first], ["second", second], ...this.#kept.arrays()]);
    for (const [name, { fed }] of this.#statistics) arrays.set(`statistic ${name}`, fed.data as Float32Array);
    const state = { ...this.#state, optimizerSteps: this.#optimizer.stepCount, plan: this.#fingerprint() };
    return encodeCheckpoint({ state, arrays });
  }

  /** Throws DATA_LOSS for damaged bytes, FAILED_PRECONDITION for those of another training. */
  restore(bytes: Uint8Array): void {
    const { state, arrays } = decodeCheckpoint(bytes);
    const { optimizerSteps, plan, ...rest } = state as TrainerState & { optimizerSteps: number; plan: string };
    if (plan !== this.#fingerprint()) throw failedPrecondition("the checkpoint is of a training with another plan");
    const { weights, first, second } = this.#memory;
    weights.set(arrays.get("weights")!);
    first.set(arrays.get("first")!);
    second.set(arrays.get("second")!);
    for (const [name, { fed }] of this.#statistics) (fed.data as Float32Array).set(arrays.get(`statistic ${name}`)!);
    this.#kept.restore(arrays);
    this.#optimizer.stepCount = optimizerSteps;
    this.#state = rest;
  }

  release(): void {
    this.#session.release();
    this.#evaluator.release();
  }

  #step(hooks: TrainingHooks): void {
    const { batchSize, stepsPerEpoch, totalSteps } = this.plan;
    const { classWeights, seed, optimizer, schedule } = this.#options;
    const { epoch, stepInEpoch, plateau } = this.#state;
    const start = stepInEpoch * batchSize;
    const rows = this.#orderOf(epoch).subarray(start, start + batchSize);
    const step = epoch * stepsPerEpoch + stepInEpoch;
    const weight = this.#feeds.fill(this.#train, rows, classWeights);
    const learningRate = optimizer.learningRate * learningRateFactor(schedule, { step, epoch, totalSteps, plateau });
    // Rows without any weight say nothing; their mean would be 0/0.
    if (weight > 0) {
      this.#feeds.drawMasks(seed, step);
      this.#runOf(this.#graph.openBatch ? rows.length : batchSize)();
      const loss = this.#loss[0]!;
      const gradientNorm = Number.isFinite(loss) ? this.#optimizer.step(learningRate) : Number.NaN;
      if (!Number.isFinite(gradientNorm)) {
        this.#diverge(loss, step, rows);
        return;
      }
      for (const { fed, given } of this.#statistics.values())
        (fed.data as Float32Array).set(given.data as Float32Array);
      this.#state = {
        ...this.#state,
        lossSum: this.#state.lossSum + weight * loss,
        weightSum: this.#state.weightSum + weight,
      };
      hooks.onStep?.({ step: step + 1, epoch: epoch + 1, loss, gradientNorm, learningRate });
    }
    this.#state = { ...this.#state, stepInEpoch: stepInEpoch + 1 };
    const last = step + 1 >= totalSteps;
    if (this.#state.stepInEpoch === stepsPerEpoch || last) this.#endEpoch(step + 1, learningRate, last, hooks);
  }

  #endEpoch(step: number, learningRate: number, last: boolean, hooks: TrainingHooks): void {
    const { earlyStopping, schedule } = this.#options;
    const { lossSum, weightSum, plateau } = this.#state;
    const epoch = this.#state.epoch + 1;
    const loss = lossSum / weightSum + this.#optimizer.penalty();
    const validation = this.#validation === undefined ? undefined : this.evaluate(this.#validation);
    hooks.onEpoch?.({ epoch, step, loss, learningRate, validation });
    let { best } = this.#state;
    let improved = true;
    if (earlyStopping !== undefined) {
      const watched = watchedValue(earlyStopping, valuesOf(loss, validation));
      best = observeEpoch(best, epoch, watched, earlyStopping.minDelta);
      improved = best.epoch === epoch;
    }
    const keepsBest = earlyStopping?.restoreBest ?? false;
    if (improved || !keepsBest) this.#kept.take();
    const weightsOfEpoch = keepsBest ? best.epoch : epoch;
    const patient = earlyStopping === undefined || best.epochsSince <= earlyStopping.patience;
    this.#state = {
      epoch,
      stepInEpoch: 0,
      lossSum: 0,
      weightSum: 0,
      plateau: observePlateau(schedule, plateau, validation?.loss ?? loss),
      best,
      keptEpoch: weightsOfEpoch,
      result: undefined,
    };
    if (!last && patient) return;
    if (keepsBest) this.#kept.giveBack();
    const reason = patient
      ? ""
      : `${earlyStopping!.monitor} has not improved for ${best.epochsSince} epochs; the best was epoch ${best.epoch}`;
    this.#finish({ end: patient ? "completed" : "stopped early", reason, epochs: epoch, steps: step, weightsOfEpoch });
  }

  #diverge(loss: number, step: number, rows: Uint32Array): void {
    const { epoch, keptEpoch } = this.#state;
    const feeds = this.#feeds.tensors(this.#graph.openBatch ? rows.length : this.plan.batchSize);
    const gradients = new Map(
      this.#model.parameters.map(({ name }) => [name, this.#memory.view(this.#memory.gradients, name)]),
    );
    const fault = findFault(this.#model, this.weights(), feeds, loss, gradients);
    this.#kept.giveBack();
    this.#finish({
      end: "diverged",
      reason: `in step ${step + 1} of epoch ${epoch + 1}, ${fault}; a lower learning rate or a clip_norm may help`,
      epochs: epoch,
      steps: step,
      weightsOfEpoch: keptEpoch,
    });
  }

  #finish(result: TrainingResult): void {
    this.#state = { ...this.#state, result };
  }

  #orderOf(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      const random = new CounterRandom(this.#options.seed, randomStreams.shuffle, epoch);
      const { count } = this.#train;
      const rows = this.#options.shuffle
        ? random.permutation(count)
        : Uint32Array.from({ length: count }, (_, row) => row);
      this.#order = { epoch, rows };
    }
    return this.#order.rows;
  }

  #runOf(rows: number): () => void {
    let run = this.#runs.get(rows);
    if (run === undefined) {
      const fetches = new Map<string, NumericTensor>([
        [this.#graph.loss, { dtype: "float32", shape: [], data: this.#loss }],
      ]);
      for (const [name, gradient] of this.#graph.gradients) {
        fetches.set(gradient, this.#memory.view(this.#memory.gradients, name));
      }
      for (const { name, output } of this.#graph.statistics) fetches.set(output, this.#statistics.get(name)!.given);
      run = this.#session.bind(new Map([...this.#feeds.tensors(rows), ...this.weights()]), fetches);
      this.#runs.set(rows, run);
    }
    return run;
  }

  /** What must be the same for a checkpoint to fit. */
  #fingerprint(): string {
    const { parameters, batchSize, totalSteps, stepsPerEpoch } = this.plan;
    const { seed, shuffle, optimizer, loss, schedule, earlyStopping } = this.#options;
    const classWeights = [...this.#options.classWeights];
    const options = { seed, shuffle, optimizer, loss, schedule, earlyStopping, classWeights };
    return JSON.stringify({ parameters, batchSize, totalSteps, stepsPerEpoch, options });
  }
}

/** As many as are fast, as long as they are small; a step's batch there is room for in any case. */
function rowsJudgedAtOnce(activationBytes: number, batchSize: number): number {
  const small = Math.floor((smallBytes * batchSize) / Math.max(activationBytes, 1));
  return Math.max(batchSize, Math.min(128, small));
}

const smallBytes = 64 * 1024 * 1024;

/** Often enough for a person who waits, seldom enough not to be felt. */
const turnEveryMs = 20;

interface TrainerState {
  /** Epochs completed, and steps of the one at work. */
  readonly epoch: number;
  readonly stepInEpoch: number;
  /** Over the steps of the epoch at work. */
  readonly lossSum: number;
  readonly weightSum: number;
  readonly plateau: PlateauState;
  readonly best: BestEpoch;
  /** The epoch of the weights that are kept. */
  readonly keptEpoch: number;
  readonly result: TrainingResult | undefined;
}

const startState: TrainerState = {
  epoch: 0,
  stepInEpoch: 0,
  lossSum: 0,
  weightSum: 0,
  plateau: startOfPlateau,
  best: noEpoch,
  keptEpoch: 0,
  result: undefined,
};

/** A copy of weights and statistics, to fall back to. */
class Kept {
  readonly #live: ReadonlyMap<string, Float32Array>;
  readonly #copies: ReadonlyMap<string, Float32Array>;

  constructor(memory: ParameterMemory, statistics: ReadonlyMap<string, { readonly fed: NumericTensor }>) {
    const live = new Map([["weights", memory.weights]]);
    for (const [name, { fed }] of statistics) live.set(`statistic ${name}`, fed.data as Float32Array);
    this.#live = live;
    this.#copies = new Map([...live].map(([name, { length }]) => [name, new Float32Array(length)]));
  }

  take(): void {
    for (const [name, copy] of this.#copies) copy.set(this.#live.get(name)!);
  }
  giveBack(): void {
    for (const [name, copy] of this.#copies) this.#live.get(name)!.set(copy);
  }
  arrays(): [string, Float32Array][] {
    return [...this.#copies].map(([name, copy]) => [`kept ${name}`, copy]);
  }
  restore(arrays: ReadonlyMap<string, Float32Array>): void {
    for (const [name, copy] of this.#copies) copy.set(arrays.get(`kept ${name}`)!);
  }
}

function valuesOf(loss: number, validation: Evaluation | undefined): Map<string, number> {
  const values = new Map([["loss", loss]]);
  if (validation !== undefined) {
    values.set("val_loss", validation.loss);
    for (const [name, value] of validation.values) {
      values.set(name, value);
      values.set(`val_${name}`, value);
    }
  }
  return values;
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
