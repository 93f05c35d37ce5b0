import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { GraphEmitter, tensorOf } from "../../src/training/graph-emitter.js";
import {
  buildLoss,
  findLogits,
  type LossKind,
  type LossOptions,
  validateLossOptions,
} from "../../src/training/losses.js";
import { checkGradients, type GradientCase, within } from "../support/finite-differences.js";

interface LossCase {
  readonly name: string;
  readonly options: Partial<LossOptions> & { readonly kind: LossKind };
  readonly areLogits: boolean;
  /** Of one row. */
  readonly shape: readonly number[];
  /** Of three rows, and of which two are also a batch. */
  readonly targets: readonly number[];
  readonly targetShape: readonly number[];
}

const numbers = Array.from({ length: 12 }, (_, i) => Math.sin(i * 2.3));
const binary = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1];
const oneHot = [0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0];

const losses: readonly LossCase[] = [
  { name: "mse", options: { kind: "mse" }, areLogits: false, shape: [4], targets: numbers, targetShape: [4] },
  { name: "mae", options: { kind: "mae" }, areLogits: false, shape: [4], targets: numbers, targetShape: [4] },
  {
    name: "huber",
    options: { kind: "huber", delta: 0.7 },
    areLogits: false,
    shape: [4],
    targets: numbers,
    targetShape: [4],
  },
  ...[true, false].flatMap((areLogits) =>
    [0, 0.2].flatMap((labelSmoothing): LossCase[] => {
      const note = `on ${areLogits ? "logits" : "probabilities"}${labelSmoothing > 0 ? ", smoothed" : ""}`;
      const kinds = [
        { kind: "binary_crossentropy", targets: binary, targetShape: [4] },
        { kind: "categorical_crossentropy", targets: oneHot, targetShape: [4] },
        { kind: "sparse_categorical_crossentropy", targets: [1, 3, 0], targetShape: [] },
      ] as const;
      return kinds.map(({ kind, targets, targetShape }) => ({
        name: `${kind} ${note}`,
        options: { kind, labelSmoothing },
        areLogits,
        shape: [4],
        targets,
        targetShape,
      }));
    }),
  ),
  {
    name: "sparse_categorical_crossentropy over the steps of a sequence",
    options: { kind: "sparse_categorical_crossentropy" },
    areLogits: true,
    shape: [2, 3],
    targets: [0, 2, 1, 1, 2, 0],
    targetShape: [2],
  },
  {
    name: "mse of a single number",
    options: { kind: "mse" },
    areLogits: false,
    shape: [],
    targets: numbers,
    targetShape: [],
  },
];

function emit(e: GraphEmitter, lossCase: LossCase, p: string, rows: string, real: "float32" | "float64"): string {
  const dtype = lossCase.options.kind.startsWith("sparse") ? "int64" : real;
  const size = lossCase.targetShape.reduce((all, axis) => all * axis, 1);
  const all = e.constant(dtype, [3, ...lossCase.targetShape], lossCase.targets.slice(0, 3 * size));
  const weights = e.constant(real, [3], [1, 0.5, 2]);
  // Cut to as many rows as there are.
  const cut = (value: string) => e.op("Slice", [value, e.ints([0]), rows, e.ints([0])]);
  return buildLoss(e, validateLossOptions(lossCase.options), {
    predictions: { value: p, areLogits: lossCase.areLogits },
    shape: [3, ...lossCase.shape],
    dtype: real,
    targets: cut(all),
    sampleWeights: cut(weights),
  });
}

checkGradients(
  "losses",
  losses.map(
    (lossCase): GradientCase => ({
      name: lossCase.name,
      inputs: [
        {
          shape: ["N", ...lossCase.shape],
          ...(lossCase.areLogits || lossCase.options.kind.length < 6 ? {} : { sample: within(0.1, 0.9) }),
        },
      ],
      build: (e, [p], real) => emit(e, lossCase, p!, e.slice(e.op("Shape", [p!]), [0], [1], [0]), real),
    }),
  ),
);

/** The loss of given predictions; every kind but the sparse one takes targets like them. */
function lossOf(
  options: Partial<LossOptions>,
  areLogits: boolean,
  p: Tensor,
  targets: Tensor,
  weights: readonly number[],
) {
  const e = new GraphEmitter(new Graph());
  e.graph.input("p", "float32", p.shape);
  e.graph.input("t", targets.dtype, targets.shape);
  e.graph.input("w", "float32", [weights.length]);
  const loss = buildLoss(e, validateLossOptions(options), {
    predictions: { value: "p", areLogits },
    shape: p.shape,
    dtype: "float32",
    targets: "t",
    sampleWeights: "w",
  });
  e.graph.output(loss);
  const session = new StepSession(encodeGraphModel(e.graph));
  const feeds = new Map([
    ["p", p],
    ["t", targets],
    ["w", tensorOf("float32", [weights.length], weights)],
  ]);
  const result = session.run(feeds, [loss]).get(loss)!;
  session.release();
  return Number(result.data[0]);
}

describe("a loss", () => {
  const p = tensorOf("float32", [2, 3], [1, 2, 3, -1, 0, 1]);
  const softmax = (row: readonly number[]) => {
    const exponentials = row.map(Math.exp);
    return exponentials.map((value) => value / exponentials.reduce((a, b) => a + b));
  };

  it("is the mean weighted by sample weights", () => {
    const t = tensorOf("float32", [2, 3], [1, 2, 0, 0, 0, 0]);
    assert.ok(Math.abs(lossOf({ kind: "mse" }, false, p, t, [3, 1]) - (3 * 3 + 2 / 3) / 4) < 1e-6);
  });

  it("does not change by a row of weight 0", () => {
    const t = tensorOf("int64", [2], [2, 0]);
    const one = lossOf(
      { kind: "sparse_categorical_crossentropy" },
      true,
      tensorOf("float32", [1, 3], [1, 2, 3]),
      tensorOf("int64", [1], [2]),
      [1],
    );
    assert.equal(lossOf({ kind: "sparse_categorical_crossentropy" }, true, p, t, [1, 0]), one);
    assert.ok(Math.abs(one + Math.log(softmax([1, 2, 3])[2]!)) < 1e-6);
  });

  it("is the same for class numbers and for rows with a one, on logits and on probabilities", () => {
    const sparse = tensorOf("int64", [2], [2, 0]);
    const dense = tensorOf("float32", [2, 3], [0, 0, 1, 1, 0, 0]);
    const probabilities = tensorOf("float32", [2, 3], [...softmax([1, 2, 3]), ...softmax([-1, 0, 1])]);
    for (const labelSmoothing of [0, 0.3]) {
      const values = [
        lossOf({ kind: "sparse_categorical_crossentropy", labelSmoothing }, true, p, sparse, [1, 1]),
        lossOf({ kind: "sparse_categorical_crossentropy", labelSmoothing }, false, probabilities, sparse, [1, 1]),
        lossOf({ kind: "categorical_crossentropy", labelSmoothing }, true, p, dense, [1, 1]),
        lossOf({ kind: "categorical_crossentropy", labelSmoothing }, false, probabilities, dense, [1, 1]),
      ];
      for (const value of values) assert.ok(Math.abs(value - values[0]!) < 1e-6, String(values));
    }
  });

  it("stays finite however sure the logits are", () => {
    const sure = tensorOf("float32", [2, 1], [500, -500]);
    const wrong = tensorOf("float32", [2, 1], [0, 1]);
    assert.equal(lossOf({ kind: "binary_crossentropy" }, true, sure, wrong, [1, 1]), 500);
  });

  it("refuses options that make no sense", () => {
    assert.throws(() => validateLossOptions({ kind: "hinge" as "mse" }), /loss must be one of mse, mae/);
    assert.throws(() => validateLossOptions({ kind: "mse", labelSmoothing: 0.1 }), /label_smoothing belongs to cross/);
    assert.throws(() => validateLossOptions({ kind: "huber", delta: 0 }), /delta must be a number above 0/);
  });
});

describe("the place where a loss attaches", () => {
  const ending = (opType: string, attributes: Record<string, number> = {}, identity = false): Graph => {
    const graph = new Graph();
    const [end] = graph.node(opType, ["z"], attributes);
    if (identity) graph.node("Identity", [end!], {}, { outputs: ["y"] });
    else graph.nodes[0]!.outputs[0] = "y";
    return graph;
  };
  const found = (graph: Graph, kind: LossKind) => findLogits(graph, "y", { kind, fromLogits: "auto" }, () => 2);
  const logits = { value: "z", areLogits: true };
  const output = { value: "y", areLogits: false };

  it("is in front of the final Softmax or Sigmoid", () => {
    assert.deepEqual(found(ending("Softmax"), "categorical_crossentropy"), logits);
    assert.deepEqual(found(ending("Softmax", { axis: 1 }, true), "sparse_categorical_crossentropy"), logits);
    assert.deepEqual(found(ending("LogSoftmax", { axis: -1 }), "sparse_categorical_crossentropy"), logits);
    assert.deepEqual(found(ending("Sigmoid"), "binary_crossentropy"), logits);
  });

  it("is the output where the end is another, or the loss is", () => {
    assert.deepEqual(found(ending("Softmax", { axis: 0 }), "categorical_crossentropy"), output);
    assert.deepEqual(found(ending("Sigmoid"), "categorical_crossentropy"), output);
    assert.deepEqual(found(ending("Softmax"), "binary_crossentropy"), output);
    assert.deepEqual(found(ending("Sigmoid"), "mse"), output);
  });

  it("is the output of a model that ends in logits", () => {
    assert.deepEqual(found(ending("MatMul"), "categorical_crossentropy"), { value: "y", areLogits: true });
    assert.deepEqual(found(ending("MatMul"), "mse"), output);
  });

  it("knows probabilities behind a change of shape", () => {
    const graph = ending("Sigmoid");
    graph.nodes[0]!.outputs[0] = "p";
    graph.node("Squeeze", ["p"], {}, { outputs: ["y"] });
    assert.deepEqual(found(graph, "binary_crossentropy"), output);
  });

  it("is where it was told", () => {
    const told = (fromLogits: "yes" | "no") =>
      findLogits(ending("Softmax"), "y", { kind: "categorical_crossentropy", fromLogits }, () => 2);
    assert.deepEqual(told("yes"), { value: "y", areLogits: true });
    assert.deepEqual(told("no"), output);
  });
});
