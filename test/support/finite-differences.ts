// Holds gradient rules against central finite differences of the runtime's own forward results.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { buildGradients } from "../../src/training/autodiff/gradient-graph.js";
import { lowerRecurrent } from "../../src/training/autodiff/lower-recurrent.js";
import { prepareForward, prepareScans } from "../../src/training/autodiff/prepare-forward.js";
import { probe } from "../../src/training/autodiff/probe.js";
import { GraphEmitter, numbers } from "../../src/training/graph-emitter.js";

/** "N" is the batch. */
export type CaseShape = readonly (number | "N")[];
export type Real = "float32" | "float64";

export interface CaseInput {
  readonly shape: CaseShape;
  /** Where to put the test points: away from kinks and ties. Default: standard normal. */
  readonly sample?: Sampler;
}

export interface GradientCase {
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  build(e: GraphEmitter, inputs: readonly string[], real: Real): string;
  /** onnxruntime has no kernel for doubles. */
  readonly float32Only?: boolean;
  /** Linear in each input by itself: a wide difference has no truncation error, only less noise. */
  readonly linear?: boolean;
  /** A narrow difference, so as not to cross a kink or tie; for float32 cases. */
  readonly narrow?: boolean;
  /** Default 21. */
  readonly opset?: number;
}

/** Seeded numbers for the test points. */
export interface Random {
  uniform(): number;
  normal(): number;
}
export type Sampler = (random: Random, index: number) => number;

export const normal: Sampler = (random) => random.normal();
export const positive: Sampler = (random) => 0.3 + 2 * random.uniform();
/** At least `distance` away from zero. */
export const awayFromZero =
  (distance = 0.2): Sampler =>
  (random) => {
    const value = random.normal();
    return value + Math.sign(value) * distance;
  };
/** No two alike, and none near another: for maxima. */
export const distinct: Sampler = (_random, index) => (((index + 1) * 7919) % 1009) / 252 - 2 + index * 1e-4;
export const within =
  (low: number, high: number): Sampler =>
  (random) =>
    low + (high - low) * random.uniform();

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

/** One test a case: gradients of a graph with fixed shapes, and of one whose batch is open. */
export function checkGradients(family: string, cases: readonly GradientCase[]): void {
  describe(`gradients of ${family}`, () => {
    for (const gradientCase of cases) {
      const note = gradientCase.float32Only ? " (float32 only: no kernel for doubles)" : "";
      it(gradientCase.name + note, () => {
        if (gradientCase.float32Only) {
          // So that the note stays true when a newer runtime brings the kernel.
          assert.throws(
            () => checkCase(gradientCase, "float64"),
            /NOT_IMPLEMENTED|Could not find an implementation|Type Error|INVALID_GRAPH/,
          );
          checkCase(gradientCase, "float32");
        } else {
          checkCase(gradientCase, "float64");
        }
      });
    }
  });
}

function checkCase(gradientCase: GradientCase, real: Real): void {
  const feeds = feedsOf(gradientCase, real, 3);
  const otherFeeds = feedsOf(gradientCase, real, 2);
  const forward = new Forward(gradientCase, real, feeds);
  try {
    const expected = forward.differences(stepOf(gradientCase, real));
    const tolerance = real === "float64" ? 1e-6 : gradientCase.linear || gradientCase.narrow ? 2e-3 : 1e-2;
    const hasBatch = gradientCase.inputs.some(({ shape }) => shape.includes("N"));
    for (const other of hasBatch ? [undefined, otherFeeds] : [undefined]) {
      const actual = gradientsOf(gradientCase, real, feeds, other, forward.weights);
      for (const [name, gradient] of actual) {
        const batch = other === undefined ? "static" : "symbolic batch";
        compare(`${name}, ${batch}`, gradient, feeds.get(name)!.shape, expected.get(name)!, tolerance);
      }
    }
  } finally {
    forward.release();
  }
}

function stepOf({ linear, narrow }: GradientCase, real: Real): number {
  if (real === "float64") return linear && !narrow ? 1e-4 : 1e-5;
  if (narrow) return 1e-3;
  return linear ? 0.5 : 1e-2;
}

function compare(what: string, gradient: Tensor, shape: readonly number[], expected: Float64Array, tolerance: number) {
  assert.deepEqual([...gradient.shape], [...shape], `shape of the gradient of ${what}`);
  const actual = Array.from(gradient.data as Float64Array);
  const scale = Math.max(1e-3, ...expected.map(Math.abs));
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / scale;
    assert.ok(error <= tolerance, `gradient of ${what}[${i}]: got ${actual[i]}, differences say ${expected[i]}`);
  }
}

function feedsOf({ inputs }: GradientCase, real: Real, batch: number): Map<string, Tensor> {
  const random = seededRandom(123);
  return new Map(
    inputs.map(({ shape, sample = normal }, index) => {
      const sizes = shape.map((size) => (size === "N" ? batch : size));
      const values = Array.from({ length: sizes.reduce((all, size) => all * size, 1) }, (_, i) => sample(random, i));
      return [`x${index}`, { dtype: real, shape: sizes, data: numbers(real, values) }];
    }),
  );
}

function graphOf(gradientCase: GradientCase, real: Real): { readonly emitter: GraphEmitter; readonly y: string } {
  const emitter = new GraphEmitter(new Graph());
  const names = gradientCase.inputs.map(({ shape }, index) => emitter.graph.input(`x${index}`, real, shape));
  return { emitter, y: gradientCase.build(emitter, names, real) };
}

const operatorSets = (opset = 21) => new Map([["", opset]]);

/** The plain forward graph, and the loss sum(weights · y) over it. */
class Forward {
  readonly weights: Float64Array;
  readonly #session: StepSession;
  readonly #feeds: Map<string, Tensor>;
  readonly #y: string;

  constructor(gradientCase: GradientCase, real: Real, feeds: Map<string, Tensor>) {
    const { emitter, y } = graphOf(gradientCase, real);
    emitter.graph.output(y);
    const model = encodeGraphModel(emitter.graph, { operatorSets: operatorSets(gradientCase.opset) });
    this.#session = new StepSession(model, { optimize: false });
    this.#feeds = feeds;
    this.#y = y;
    const random = seededRandom(7);
    this.weights = Float64Array.from({ length: this.#run().length }, () => Math.fround(random.normal()));
  }

  differences(step: number): Map<string, Float64Array> {
    return new Map(
      [...this.#feeds].map(([name, { data }]) => {
        const values = data as Float64Array;
        const gradient = Float64Array.from(values, (value, i) => {
          values[i] = value + step;
          const [above, high] = [values[i]!, this.#loss()];
          values[i] = value - step;
          const [below, low] = [values[i]!, this.#loss()];
          values[i] = value;
          return (high - low) / (above - below);
        });
        return [name, gradient];
      }),
    );
  }

  release(): void {
    this.#session.release();
  }

  #run(): Float64Array {
    return this.#session.run(this.#feeds, [this.#y]).get(this.#y)!.data as Float64Array;
  }

  #loss(): number {
    const y = this.#run();
    let sum = 0;
    for (let i = 0; i < y.length; i++) sum += this.weights[i]! * y[i]!;
    return sum;
  }
}

function gradientsOf(
  gradientCase: GradientCase,
  real: Real,
  feeds: Map<string, Tensor>,
  otherFeeds: Map<string, Tensor> | undefined,
  weights: Float64Array,
): Map<string, Tensor> {
  const { emitter, y } = graphOf(gradientCase, real);
  const { graph } = emitter;
  const sets = operatorSets(gradientCase.opset);
  graph.output(y);
  prepareForward(graph);
  lowerRecurrent(graph);
  const scans = prepareScans(graph, feeds, otherFeeds);
  const infos = probe(graph, feeds, { otherFeeds, operatorSets: sets });
  const seed = emitter.constant(real, infos.get(y)!.shape, [...weights]);
  const parameters = [...feeds.keys()];
  const gradients = buildGradients({ graph, infos, scans, parameters, seeds: new Map([[y, seed]]) });
  const wanted = [...new Set(gradients.values())];
  for (const name of wanted) graph.output(name);
  const session = new StepSession(encodeGraphModel(graph, { operatorSets: sets }));
  try {
    const results = session.run(feeds, wanted);
    return new Map([...gradients].map(([parameter, name]) => [parameter, results.get(name)!]));
  } finally {
    session.release();
  }
}
