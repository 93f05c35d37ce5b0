import { CounterRandom, randomStreams } from "../counter-random.js";
import type { ActivationName, InitializerName } from "./layer-spec.js";

/** Numbers for a model's weights; each tensor has a stream of its own, so that adding a layer leaves the others alone. */
export class InitialWeights {
  readonly #seed: number;
  #tensors = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** fanIn and fanOut: how many inputs a unit sums, and how many units an input reaches. */
  draw(initializer: InitializerName, count: number, fanIn: number, fanOut: number): Float32Array {
    const random = this.#next();
    switch (initializer) {
      case "zeros":
        return new Float32Array(count);
      case "glorot_uniform":
        return uniform(random, count, Math.sqrt(6 / (fanIn + fanOut)));
      case "he_uniform":
        return uniform(random, count, Math.sqrt(6 / fanIn));
      case "glorot_normal":
        return normal(random, count, Math.sqrt(2 / (fanIn + fanOut)));
      case "he_normal":
        return normal(random, count, Math.sqrt(2 / fanIn));
      case "lecun_normal":
        return normal(random, count, Math.sqrt(1 / fanIn));
    }
  }

  /** From -bound to bound. */
  uniform(count: number, bound: number): Float32Array {
    return uniform(this.#next(), count, bound);
  }

  normal(count: number, deviation: number): Float32Array {
    return normal(this.#next(), count, deviation);
  }

  #next(): CounterRandom {
    this.#tensors += 1;
    return new CounterRandom(this.#seed, randomStreams.initialWeights, this.#tensors);
  }
}

/** What suits the activation that follows. */
export function defaultInitializer(activation: ActivationName): InitializerName {
  switch (activation) {
    case "relu":
    case "leaky_relu":
    case "elu":
    case "gelu":
    case "swish":
    case "hard_swish":
    case "mish":
      return "he_normal";
    case "selu":
      return "lecun_normal";
    default:
      return "glorot_uniform";
  }
}

function uniform(random: CounterRandom, count: number, bound: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => (2 * random.uniform(index) - 1) * bound);
}

function normal(random: CounterRandom, count: number, deviation: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => random.normal(index) * deviation);
}
