import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Optimizer,
  type OptimizerKind,
  type OptimizerOptions,
  optimizerKinds,
  validateOptimizerOptions,
} from "../../../src/training/optimizers/optimizer.js";
import { instantiateKernel } from "../../../src/training/optimizers/optimizer-kernel.js";
import { type Parameter, ParameterMemory } from "../../../src/training/optimizers/parameter-memory.js";
import { seededRandom } from "../../support/finite-differences.js";
import { optimizerTwin } from "../../support/optimizer-twin.js";

const parameter = (name: string, size: number, more: Partial<Parameter> = {}): Parameter => ({
  name,
  shape: [size],
  penalized: true,
  learningRateScale: 1,
  ...more,
});

function memoryOf(...parameters: readonly Parameter[]): ParameterMemory {
  const memory = new ParameterMemory(parameters);
  const random = seededRandom(11);
  for (const { name } of parameters) {
    const { data } = memory.view(memory.weights, name);
    for (let i = 0; i < data.length; i++) data[i] = random.normal();
  }
  return memory;
}

/** A gradient that depends on the weights, so that errors do not cancel: of a bowl with noise. */
function setGradients(memory: ParameterMemory, step: number): void {
  const random = seededRandom(step);
  for (const { name } of memory.parameters) {
    const [w, g] = [memory.view(memory.weights, name).data, memory.view(memory.gradients, name).data];
    for (let i = 0; i < g.length; i++) g[i] = 0.3 * Number(w[i]) + random.normal();
  }
}

/** The updates as textbooks have them, in doubles, one weight at a time. */
class Textbook {
  readonly w: Float64Array;
  readonly #m: Float64Array;
  readonly #v: Float64Array;
  readonly #o: OptimizerOptions;
  #t = 0;

  constructor(weights: Float32Array, options: OptimizerOptions) {
    this.w = Float64Array.from(weights);
    this.#m = new Float64Array(weights.length);
    this.#v = new Float64Array(weights.length);
    this.#o = options;
  }

  step(gradients: Float32Array): void {
    const { kind, learningRate: lr, momentum, rho, beta1, beta2, epsilon, weightDecay, l1, l2 } = this.#o;
    const { clipNorm, clipValue } = this.#o;
    this.#t += 1;
    let g = Float64Array.from(gradients, (value, i) => value + 2 * l2 * this.w[i]! + l1 * Math.sign(this.w[i]!));
    if (clipValue > 0) g = g.map((value) => Math.sign(value) * Math.min(Math.abs(value), clipValue));
    const norm = Math.hypot(...g);
    if (clipNorm > 0 && norm > clipNorm) g = g.map((value) => (value * clipNorm) / norm);
    const [w, m, v] = [this.w, this.#m, this.#v];
    for (let i = 0; i < w.length; i++) {
      const x = g[i]!;
      switch (kind) {
        case "sgd":
          w[i]! -= lr * x;
          break;
        case "momentum":
          m[i] = momentum * m[i]! + x;
          w[i]! -= lr * m[i]!;
          break;
        case "nesterov":
          m[i] = momentum * m[i]! + x;
          w[i]! -= lr * (x + momentum * m[i]!);
          break;
        case "rmsprop":
          v[i] = rho * v[i]! + (1 - rho) * x * x;
          m[i] = momentum * m[i]! + x / (Math.sqrt(v[i]!) + epsilon);
          w[i]! -= lr * m[i]!;
          break;
        default: {
          if (kind === "adamw") w[i]! *= 1 - lr * weightDecay;
          m[i] = beta1 * m[i]! + (1 - beta1) * x;
          v[i] = beta2 * v[i]! + (1 - beta2) * x * x;
          const mHat = m[i]! / (1 - beta1 ** this.#t);
          const vHat = v[i]! / (1 - beta2 ** this.#t);
          w[i]! -= (lr * mHat) / (Math.sqrt(vHat) + epsilon);
        }
      }
    }
  }
}

describe("the optimizer kernel", () => {
  it("agrees with its twin in plain loops to the last bit", () => {
    const size = 48;
    const count = 4 * size;
    const memories = [0, 1].map(() => new WebAssembly.Memory({ initial: 1 }));
    const random = seededRandom(3);
    const start = Array.from({ length: count }, (_, i) =>
      // Zeros, tiny numbers and both signs; the averages of squares at the end are not negative.
      i % 7 === 0 ? 0 : (i >= 3 * size ? Math.abs : (x: number) => x)(random.normal() * 10 ** ((i % 5) - 3)),
    );
    for (const memory of memories) new Float32Array(memory.buffer, 64, count).set(start);
    const [w, g, m, v] = [0, 1, 2, 3].map((i) => 64 + i * size * 4) as [number, number, number, number];
    const kernels = [instantiateKernel(memories[0]!), optimizerTwin(memories[1]!)];
    const sums = kernels.map((kernel) => {
      kernel.penalize(w, g, size, 0.01, 0.2);
      kernel.clip(g, size, 0.8);
      kernel.sgd(w, g, size, 0.7, 0.99, 0.1);
      kernel.momentum(w, g, m, size, 0.7, 0.99, 0.1, 0.9, 1, 0.9);
      kernel.rmsprop(w, g, m, v, size, 0.7, 0.99, 0.1, 0.9, 0.1, 1e-7, 0.5);
      kernel.adam(w, g, m, v, size, 0.7, 0.99, 0.1, 0.9, 0.1, 0.999, 0.001, 1e-8);
      return kernel.sumOfSquares(g, size);
    });
    assert.equal(sums[0], sums[1]);
    const [actual, expected] = memories.map((memory) => new Uint32Array(memory.buffer, 64, count));
    assert.deepEqual(actual, expected);
    assert.notDeepEqual([...new Float32Array(memories[0]!.buffer, 64, size)], start.slice(0, size).map(Math.fround));
  });
});

describe("an optimizer", () => {
  const variants: readonly (Partial<OptimizerOptions> & { readonly kind: OptimizerKind })[] = [
    ...optimizerKinds.map((kind) => ({ kind })),
    { kind: "rmsprop", momentum: 0.9 },
    { kind: "sgd", l1: 0.01, l2: 0.02 },
    { kind: "adam", l2: 0.05 },
    { kind: "adamw", weightDecay: 0.05 },
    { kind: "sgd", clipNorm: 0.5 },
    { kind: "momentum", clipValue: 0.3 },
    { kind: "adam", clipNorm: 0.5, clipValue: 0.3, l2: 0.01 },
  ];
  for (const variant of variants) {
    it(`follows the textbook over 100 steps: ${JSON.stringify(variant)}`, () => {
      const options = validateOptimizerOptions({ learningRate: 0.01, ...variant });
      // Whole cache lines, so that the textbook sees no padding.
      const memory = memoryOf(parameter("w", 32));
      const optimizer = new Optimizer(options, memory);
      const textbook = new Textbook(memory.weights, options);
      for (let step = 1; step <= 100; step++) {
        setGradients(memory, step);
        textbook.step(memory.gradients);
        optimizer.step(options.learningRate);
      }
      memory.weights.forEach((weight, i) => {
        assert.ok(Math.abs(weight - textbook.w[i]!) < 2e-5, `weight ${i}: ${weight} for ${textbook.w[i]}`);
      });
    });
  }

  it("penalises weights, not biases, and tells what the penalty adds to the loss", () => {
    const memory = memoryOf(parameter("w", 5), parameter("b", 3, { penalized: false }));
    const [w, b] = [memory.view(memory.weights, "w").data, memory.view(memory.weights, "b").data];
    const before = [...b].map(Number);
    const optimizer = new Optimizer(validateOptimizerOptions({ kind: "sgd", l1: 0.1, l2: 0.2 }), memory);
    const values = [...w].map(Number);
    const expected = values.reduce((sum, x) => sum + 0.1 * Math.abs(x) + 0.2 * x * x, 0);
    assert.ok(Math.abs(optimizer.penalty() - expected) < 1e-6);
    optimizer.step(0.5);
    assert.deepEqual([...b].map(Number), before);
    values.forEach((x, i) => {
      assert.ok(Math.abs(Number(w[i]) - (x - 0.5 * (0.4 * x + 0.1 * Math.sign(x)))) < 1e-6);
    });
  });

  it("scales the learning rate by parameter", () => {
    const memory = memoryOf(parameter("fast", 16), parameter("slow", 16, { learningRateScale: 0.1 }));
    memory.weights.fill(0);
    memory.gradients.fill(1);
    new Optimizer(validateOptimizerOptions({ kind: "sgd" }), memory).step(0.5);
    assert.equal(memory.view(memory.weights, "fast").data[3], -0.5);
    assert.ok(Math.abs(Number(memory.view(memory.weights, "slow").data[3]) + 0.05) < 1e-7);
  });

  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`changes nothing when a gradient is ${bad}, whatever is clipped`, () => {
      for (const clip of [{}, { clipNorm: 1 }]) {
        const memory = memoryOf(parameter("w", 20));
        const before = memory.weights.slice();
        const optimizer = new Optimizer(validateOptimizerOptions({ ...clip }), memory);
        memory.gradients[7] = bad;
        assert.ok(!Number.isFinite(optimizer.step(0.1)));
        assert.deepEqual(memory.weights, before);
        assert.equal(optimizer.stepCount, 0);
        assert.ok(memory.first.every((value) => value === 0));
      }
    });
  }

  it("refuses options that make no sense, by name", () => {
    const refused = (options: object, message: RegExp) =>
      assert.throws(() => validateOptimizerOptions(options), message);
    refused({ kind: "adagrad" }, /optimizer must be one of sgd, momentum, .*; got "adagrad"/);
    refused({ learningRate: 0 }, /learning_rate must be a number above 0; got 0/);
    refused({ learningRate: Number.NaN }, /learning_rate must be a number above 0; got NaN/);
    refused({ beta2: 1 }, /beta2 must be a number at least 0 and below 1; got 1/);
    refused({ clipNorm: -1 }, /clipNorm must be a number at least 0; got -1/);
  });
});

describe("parameter memory", () => {
  it("lays parameters out on cache lines, those updated alike together, and keeps the padding out of the views", () => {
    const memory = new ParameterMemory([
      parameter("w1", 17),
      parameter("b1", 3, { penalized: false }),
      { ...parameter("w2", 0), shape: [2, 4] },
    ]);
    const views = ["w1", "b1", "w2"].map((name) => memory.view(memory.gradients, name));
    assert.deepEqual(
      views.map(({ data }) => [data.length, data.byteOffset % 64]),
      [
        [17, 0],
        [3, 0],
        [8, 0],
      ],
    );
    assert.deepEqual(views[2]!.shape, [2, 4]);
    assert.deepEqual(memory.segments, [
      { start: 0, count: 48, penalized: true, learningRateScale: 1 },
      { start: 48, count: 16, penalized: false, learningRateScale: 1 },
    ]);
  });

  it("refuses more than fits", () => {
    assert.throws(() => new ParameterMemory([parameter("w", 300_000_000)]), /at most 4 GiB fit/);
  });
});
