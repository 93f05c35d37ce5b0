import { requireNumber, requireOneOf } from "../../options.js";
import { instantiateKernel, type OptimizerKernel } from "./optimizer-kernel.js";
import type { ParameterMemory, Segment } from "./parameter-memory.js";

export const optimizerKinds = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"] as const;
export type OptimizerKind = (typeof optimizerKinds)[number];

export interface OptimizerOptions {
  /** Default adam. */
  readonly kind: OptimizerKind;
  /** Default 0.01 for sgd, momentum and nesterov, 0.001 for the others. */
  readonly learningRate: number;
  /** Share of the last step in this one. Default 0.9 for momentum and nesterov, 0 for rmsprop. */
  readonly momentum: number;
  /** rmsprop: share of the past in the running mean of squares. Default 0.9. */
  readonly rho: number;
  /** adam: share of the past in the running means of gradients and of their squares. Default 0.9 and 0.999. */
  readonly beta1: number;
  readonly beta2: number;
  /** Added to the root of the mean square. Default 1e-8. */
  readonly epsilon: number;
  /** adamw: the share of a weight that a step at learning rate 1 takes off it. Default 0.01. */
  readonly weightDecay: number;
  /** Added to the loss: l1·Σ|w| + l2·Σw², over weights but not biases. Default 0. */
  readonly l1: number;
  readonly l2: number;
  /** The norm of all gradients together is scaled down to this. Default 0: no bound. */
  readonly clipNorm: number;
  /** Each element of the gradients is kept within this of zero. Default 0: no bound. */
  readonly clipValue: number;
}

export function validateOptimizerOptions(given: Partial<OptimizerOptions>): OptimizerOptions {
  const kind = given.kind ?? "adam";
  requireOneOf("optimizer", kind, optimizerKinds);
  const plain = kind === "sgd" || kind === "momentum" || kind === "nesterov";
  const options: OptimizerOptions = {
    kind,
    learningRate: plain ? 0.01 : 0.001,
    momentum: kind === "momentum" || kind === "nesterov" ? 0.9 : 0,
    rho: 0.9,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: kind === "adamw" ? 0.01 : 0,
    l1: 0,
    l2: 0,
    clipNorm: 0,
    clipValue: 0,
    ...given,
  };
  requireNumber("learning_rate", options.learningRate, { above: 0 });
  for (const name of ["momentum", "rho", "beta1", "beta2"] as const) {
    requireNumber(name, options[name], { min: 0, below: 1 });
  }
  requireNumber("epsilon", options.epsilon, { above: 0 });
  for (const name of ["weightDecay", "l1", "l2", "clipNorm", "clipValue"] as const) {
    requireNumber(name, options[name], { min: 0 });
  }
  return Object.freeze(options);
}

/** Applies gradients to weights, both in one ParameterMemory, whose averages are its state besides the step count. */
export class Optimizer {
  readonly options: OptimizerOptions;
  /** Steps done; with the memory's averages, all there is to save and restore. */
  stepCount = 0;
  readonly #memory: ParameterMemory;
  readonly #kernel: OptimizerKernel;

  constructor(options: OptimizerOptions, memory: ParameterMemory) {
    this.options = options;
    this.#memory = memory;
    this.#kernel = instantiateKernel(memory.memory);
  }

  /**
   * One step. Returns the norm of all gradients, penalties included, before clipping by norm; when that is not finite,
   * nothing has been changed but the gradients.
   */
  step(learningRate: number): number {
    const { gradients, segments } = this.#memory;
    const { l1, l2, clipNorm, clipValue } = this.options;
    if (l1 > 0 || l2 > 0) {
      for (const { start, count, penalized } of segments) {
        // d/dw l2·w² is 2·l2·w.
        if (penalized) this.#kernel.penalize(this.#weight(start), this.#gradient(start), count, l1, 2 * l2);
      }
    }
    if (clipValue > 0) this.#kernel.clip(gradients.byteOffset, gradients.length, clipValue);
    const norm = Math.sqrt(this.#kernel.sumOfSquares(gradients.byteOffset, gradients.length));
    if (!Number.isFinite(norm)) return norm;
    const scale = clipNorm > 0 && norm > clipNorm ? clipNorm / norm : 1;
    this.stepCount += 1;
    for (const segment of segments) this.#update(segment, scale, learningRate * segment.learningRateScale);
    return norm;
  }

  /** What l1 and l2 add to the loss with the weights as they are. */
  penalty(): number {
    const { l1, l2 } = this.options;
    if (l1 === 0 && l2 === 0) return 0;
    let sum = 0;
    for (const { start, count, penalized } of this.#memory.segments) {
      if (!penalized) continue;
      const weights = this.#memory.weights.subarray(start, start + count);
      if (l2 > 0) sum += l2 * this.#kernel.sumOfSquares(weights.byteOffset, count);
      if (l1 > 0) sum += l1 * weights.reduce((all, weight) => all + Math.abs(weight), 0);
    }
    return sum;
  }

  #update({ start, count, penalized }: Segment, scale: number, rate: number): void {
    const kernel = this.#kernel;
    const { kind, momentum, rho, beta1, beta2, epsilon, weightDecay } = this.options;
    const [w, g, m, v] = [this.#weight(start), this.#gradient(start), this.#first(start), this.#second(start)];
    switch (kind) {
      case "sgd":
        kernel.sgd(w, g, count, scale, 1, rate);
        break;
      case "momentum":
        kernel.momentum(w, g, m, count, scale, 1, rate, momentum, 0, 1);
        break;
      case "nesterov":
        kernel.momentum(w, g, m, count, scale, 1, rate, momentum, 1, momentum);
        break;
      case "rmsprop":
        kernel.rmsprop(w, g, m, v, count, scale, 1, rate, rho, 1 - rho, epsilon, momentum);
        break;
      case "adam":
      case "adamw": {
        // The averages start at zero; dividing m by 1 - β₁ᵗ and v by 1 - β₂ᵗ makes up for it. Moved out of the loop:
        // rate·(m/c₁)/(√(v/c₂) + ε) = (rate·√c₂/c₁)·m/(√v + ε·√c₂)
        const c1 = 1 - beta1 ** this.stepCount;
        const c2 = Math.sqrt(1 - beta2 ** this.stepCount);
        const decay = kind === "adamw" && penalized ? 1 - rate * weightDecay : 1;
        kernel.adam(
          ...([w, g, m, v, count, scale, decay] as const),
          ...([(rate * c2) / c1, beta1, 1 - beta1, beta2, 1 - beta2, epsilon * c2] as const),
        );
        break;
      }
    }
  }

  readonly #address = (of: Float32Array, start: number): number => of.byteOffset + start * of.BYTES_PER_ELEMENT;
  readonly #weight = (start: number): number => this.#address(this.#memory.weights, start);
  readonly #gradient = (start: number): number => this.#address(this.#memory.gradients, start);
  readonly #first = (start: number): number => this.#address(this.#memory.first, start);
  readonly #second = (start: number): number => this.#address(this.#memory.second, start);
}
