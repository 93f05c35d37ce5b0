import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../../src/onnx/index.js";
import { StepSession } from "../../../src/runtime/index.js";
import type { ElementType, NumericTensor, Tensor } from "../../../src/tensor/index.js";
import { type Examples, MemoryExamples, targetField } from "../../../src/training/examples.js";
import { numbers, tensorOf } from "../../../src/training/graph-emitter.js";
import { layeredModel, outputName } from "../../../src/training/layered-model.js";
import { buildLayers } from "../../../src/training/layers/build-layers.js";
import type { LayerSpec } from "../../../src/training/layers/layer-spec.js";
import { Trainer } from "../../../src/training/trainer.js";
import { validateTrainingOptions } from "../../../src/training/training-options.js";
import { seededRandom } from "../../support/finite-differences.js";

interface LayerCase {
  readonly layers: readonly LayerSpec[];
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly dtype?: ElementType;
}

const cases: readonly LayerCase[] = [
  { layers: [{ type: "dense", units: 3 }], input: [4], output: [3] },
  { layers: [{ type: "dense", units: 3, bias: false, activation: "tanh" }], input: [4], output: [3] },
  { layers: [{ type: "dense", units: 3 }], input: [5, 4], output: [5, 3] },
  { layers: [{ type: "dense", units: 3 }], input: [], output: [3] },
  { layers: [{ type: "conv1d", filters: 4, kernel: 3 }], input: [2, 9], output: [4, 7] },
  { layers: [{ type: "conv1d", filters: 4, kernel: 3, stride: 2, padding: "same" }], input: [2, 9], output: [4, 5] },
  { layers: [{ type: "conv1d", filters: 4, kernel: 3, dilation: 2, padding: 2 }], input: [2, 9], output: [4, 9] },
  { layers: [{ type: "conv2d", filters: 4, kernel: 3, activation: "relu" }], input: [2, 6, 7], output: [4, 4, 5] },
  { layers: [{ type: "conv2d", filters: 4, kernel: [3, 2], stride: [2, 1] }], input: [2, 7, 6], output: [4, 3, 5] },
  {
    layers: [{ type: "conv2d", filters: 4, kernel: 4, padding: "same", stride: 2, bias: false }],
    input: [2, 7, 6],
    output: [4, 4, 3],
  },
  {
    layers: [{ type: "conv2d", filters: 4, kernel: 3, groups: 2, padding: [1, 0] }],
    input: [2, 6, 6],
    output: [4, 6, 4],
  },
  {
    layers: [
      { type: "max_pool", size: 2 },
      { type: "dense", units: 1 },
    ],
    input: [2, 5, 4],
    output: [2, 2, 1],
  },
  {
    layers: [
      { type: "max_pool", size: 3, stride: 1 },
      { type: "dense", units: 1 },
    ],
    input: [2, 5],
    output: [2, 1],
  },
  {
    layers: [
      { type: "avg_pool", size: 2, padding: "same" },
      { type: "dense", units: 1 },
    ],
    input: [2, 5, 4],
    output: [2, 3, 1],
  },
  { layers: [{ type: "global_avg_pool" }, { type: "dense", units: 1 }], input: [3, 5, 4], output: [1] },
  { layers: [{ type: "global_max_pool" }, { type: "dense", units: 1 }], input: [3, 5], output: [1] },
  { layers: [{ type: "batch_norm" }], input: [3, 4, 4], output: [3, 4, 4] },
  { layers: [{ type: "layer_norm" }], input: [3, 4], output: [3, 4] },
  {
    layers: [
      { type: "dense", units: 2 },
      { type: "dropout", rate: 0.5 },
    ],
    input: [3],
    output: [2],
  },
  { layers: [{ type: "flatten" }, { type: "dense", units: 2 }], input: [3, 2, 2], output: [2] },
  {
    layers: [
      { type: "reshape", shape: [2, -1] },
      { type: "dense", units: 2 },
    ],
    input: [12],
    output: [2, 2],
  },
  { layers: [{ type: "embedding", vocabulary: 7, dimensions: 3 }], input: [5], output: [5, 3], dtype: "int64" },
  { layers: [{ type: "embedding", vocabulary: 7, dimensions: 3 }], input: [], output: [3], dtype: "int64" },
  { layers: [{ type: "rnn", units: 3 }], input: [4, 2], output: [3] },
  { layers: [{ type: "gru", units: 3, returnSequences: true }], input: [4, 2], output: [4, 3] },
  { layers: [{ type: "lstm", units: 3, bidirectional: true }], input: [4, 2], output: [6] },
  { layers: [{ type: "lstm", units: 3, bidirectional: true, returnSequences: true }], input: [4, 2], output: [4, 6] },
  { layers: [{ type: "attention", heads: 2 }], input: [5, 4], output: [5, 4] },
  { layers: [{ type: "attention", heads: 3, headSize: 2, causal: true }], input: [5, 4], output: [5, 4] },
  {
    layers: [{ type: "residual", layers: [{ type: "dense", units: 4, activation: "relu" }], activation: "relu" }],
    input: [4],
    output: [4],
  },
  {
    layers: [
      {
        type: "residual",
        layers: [{ type: "conv2d", filters: 4, kernel: 3, stride: 2, padding: 1 }, { type: "batch_norm" }],
        shortcut: [{ type: "conv2d", filters: 4, kernel: 1, stride: 2 }],
      },
    ],
    input: [2, 6, 6],
    output: [4, 3, 3],
  },
  ...(
    [
      "leaky_relu",
      "elu",
      "selu",
      "gelu",
      "softplus",
      "softsign",
      "swish",
      "hard_sigmoid",
      "hard_swish",
      "mish",
      "softmax",
      "log_softmax",
    ] as const
  ).map(
    (name): LayerCase => ({
      layers: [
        { type: "dense", units: 3 },
        { type: "activation", function: name },
      ],
      input: [2],
      output: [3],
    }),
  ),
];

function values(shape: readonly number[], dtype: ElementType, seed = 1): NumericTensor {
  const random = seededRandom(seed);
  const count = shape.reduce((all, size) => all * size, 1);
  const data = numbers(
    dtype,
    Array.from({ length: count }, (_, i) => (dtype === "int64" ? i % 5 : random.normal())),
  );
  return { dtype, shape, data };
}

function modelOf({ layers, input, dtype = "float32" }: LayerCase, seed = 1) {
  return layeredModel({ name: "x", dtype, shape: input }, layers, seed);
}

function run(graph: Graph, x: Tensor): Tensor {
  const session = new StepSession(encodeGraphModel(graph));
  try {
    return session.run(new Map([["x", x]]), [outputName]).get(outputName)!;
  } finally {
    session.release();
  }
}

describe("a layer list", () => {
  for (const layerCase of cases) {
    const { layers, input, output, dtype = "float32" } = layerCase;
    it(`gives [${output}] for [${input}], and every weight a gradient: ${JSON.stringify(layers)}`, () => {
      const model = modelOf(layerCase);
      for (const rows of [1, 3]) {
        const y = run(model.graph, values([rows, ...input], dtype));
        assert.deepEqual(y.shape, [rows, ...output]);
        assert.ok((y.data as Float32Array).every(Number.isFinite));
      }
      const examples: Examples = new MemoryExamples(
        new Map([
          ["x", values([4, ...input], dtype)],
          [targetField, values([4, ...output], "float32", 2)],
        ]),
      );
      const trainer = new Trainer(model, validateTrainingOptions({ loss: { kind: "mse" }, batchSize: 4 }), examples);
      assert.deepEqual(trainer.plan.unused, []);
      assert.equal(trainer.plan.parameters.length, model.parameters.length);
      trainer.release();
    });
  }

  it("starts with the same weights for the same seed, and each tensor with its own", () => {
    const layers: readonly LayerSpec[] = [
      { type: "dense", units: 4, activation: "relu" },
      { type: "dense", units: 4 },
    ];
    const weightsOf = (seed: number) => modelOf({ layers, input: [4], output: [] }, seed).graph.initializers;
    const [a, b, other] = [weightsOf(1), weightsOf(1), weightsOf(2)];
    assert.deepEqual(a, b);
    assert.notDeepEqual(a.get("dense_1/weight"), other.get("dense_1/weight"));
    assert.notDeepEqual(a.get("dense_1/weight")!.data, a.get("dense_2/weight")!.data);
    assert.ok((a.get("dense_1/bias")!.data as Float32Array).every((value) => value === 0));
  });

  it("spreads weights as their activation wants it", () => {
    const deviation = (layer: Partial<LayerSpec>) => {
      const layers = [{ type: "dense", units: 200, ...layer } as LayerSpec];
      const { data } = modelOf({ layers, input: [100], output: [] }).graph.initializers.get("dense_1/weight")!;
      const squares = (data as Float32Array).reduce((sum, value) => sum + value * value, 0);
      return Math.sqrt(squares / data.length);
    };
    const near = (actual: number, expected: number) => assert.ok(Math.abs(actual / expected - 1) < 0.02, `${actual}`);
    near(deviation({ activation: "relu" }), Math.sqrt(2 / 100));
    near(deviation({ activation: "selu" }), Math.sqrt(1 / 100));
    near(deviation({ activation: "tanh" }), Math.sqrt(2 / 300));
    near(deviation({ activation: "relu", initializer: "glorot_normal" }), Math.sqrt(2 / 300));
    near(deviation({ initializer: "he_uniform" }), Math.sqrt(2 / 100));
    assert.equal(deviation({ initializer: "zeros" }), 0);
  });

  it("lets a step of causal attention see only itself and those before it", () => {
    const { graph } = modelOf({ layers: [{ type: "attention", heads: 2, causal: true }], input: [4, 4], output: [] });
    const x = values([1, 4, 4], "float32");
    const before = [...(run(graph, x).data as Float32Array)];
    (x.data as Float32Array)[13] = 9; // in the last step
    const after = [...(run(graph, x).data as Float32Array)];
    assert.deepEqual(after.slice(0, 12), before.slice(0, 12));
    assert.notDeepEqual(after.slice(12), before.slice(12));
  });

  it("adds a residual to what went around", () => {
    const layers: readonly LayerSpec[] = [
      { type: "residual", layers: [{ type: "dense", units: 2, initializer: "zeros" }] },
    ];
    const { graph } = modelOf({ layers, input: [2], output: [] });
    assert.deepEqual([...(run(graph, tensorOf("float32", [1, 2], [3, 4])).data as Float32Array)], [3, 4]);
  });

  const refused = (
    layers: readonly LayerSpec[],
    input: readonly number[],
    message: RegExp,
    dtype: ElementType = "float32",
  ) =>
    it(`is refused: ${message.source}`, () => {
      assert.throws(() => buildLayers(new Graph(), { name: "x", dtype, shape: input }, layers, 0), message);
    });
  refused([], [4], /there are no layers/);
  refused(
    [{ type: "flatten" }, { type: "conv2d", filters: 1, kernel: 3 }],
    [2, 5, 5],
    /layer 2 \(conv2d\): wants rows of shape \[channels, height, width\]; gets \[50\]/,
  );
  refused(
    [{ type: "conv2d", filters: 1, kernel: 7 }],
    [1, 5, 5],
    /layer 1 \(conv2d\): a window of \[7,7\] does not fit into \[5,5\]/,
  );
  refused(
    [{ type: "conv2d", filters: 1, kernel: [3] }],
    [1, 5, 5],
    /layer 1 \(conv2d\): kernel has 1 sizes; the input \[5,5\] has 2/,
  );
  refused(
    [{ type: "conv2d", filters: 3, kernel: 3, groups: 2 }],
    [2, 5, 5],
    /2 groups do not divide 2 channels and 3 filters evenly/,
  );
  refused([{ type: "dense", units: 0 }], [4], /layer 1 \(dense\): units must be a whole number of at least 1; got 0/);
  refused(
    [{ type: "dense", units: 1, activation: "sine" as "relu" }],
    [4],
    /layer 1 \(dense\): activation must be one of linear, relu/,
  );
  refused([{ type: "lstm", units: 2 }], [4], /layer 1 \(lstm\): wants rows of shape \[steps, features\]; gets \[4\]/);
  refused([{ type: "attention", heads: 3 }], [2, 4], /3 heads do not divide 4 features evenly/);
  refused([{ type: "reshape", shape: [3, -1] }], [4], /\[4\] has 4 elements a row, which do not make \[3,-1\]/);
  refused(
    [{ type: "dropout", rate: 1 }],
    [4],
    /layer 1 \(dropout\): rate must be a number at least 0 and below 1; got 1/,
  );
  refused(
    [{ type: "residual", layers: [{ type: "dense", units: 3 }] }],
    [4],
    /layer 1 \(residual\): its layers change the shape from \[4\] to \[3\]/,
  );
  refused(
    [{ type: "residual", layers: [{ type: "dense", units: -1 }] }],
    [4],
    /layer 1 \(residual\), layer 1 \(dense\): units/,
  );
  refused([{ type: "dense", units: 3 }], [4], /layer 1 \(dense\): wants numbers; gets strings/, "string");
  refused(
    [{ type: "capsule" } as unknown as LayerSpec],
    [4],
    /layer 1 \(capsule\): there is no such layer; there are dense, conv1d/,
  );
});
