import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ModelProto } from "../../src/gen/onnx/onnx.js";
import { proveBatchAxis } from "../../src/onnx/batch-axis/prove-batch-axis.js";
import { decodeModel } from "../../src/onnx/decode-model.js";
import { readGraphInterface } from "../../src/onnx/graph-interface.js";
import { encodeModel, floats, GraphBuilder, type ModelOptions } from "../../src/onnx/index.js";
import { patchModel } from "../../src/onnx/patch-model.js";
import { rewriteModel } from "../../src/onnx/rewrites/rewrite-model.js";
import type { Tensor } from "../../src/tensor/index.js";
import { assertTensorClose } from "../support/assert-tensor-close.js";
import { randomGraph, seededRandom } from "../support/random-graph.js";
import { repositoryRoot } from "../support/repository-root.js";
import { runModel } from "../support/run-model.js";
import { floatTensor, int64Tensor, mlpModel, severalInputsModel, zipMapModel } from "../support/test-models.js";

function prove(bytes: Uint8Array, change: (model: ModelProto) => void = () => {}) {
  const model = decodeModel(bytes);
  change(model);
  const { graph, operatorSets, patch } = rewriteModel(model, model.graph!);
  const verdict = proveBatchAxis({ graph, operatorSets, ...readGraphInterface(graph) });
  return { ...verdict, served: patch === undefined ? bytes : patchModel(bytes, patch), ...readGraphInterface(graph) };
}

/** A graph of one float input x of that shape and one output y. */
function modelOf(
  shape: readonly (number | string)[],
  build: (graph: GraphBuilder) => void,
  options: ModelOptions = {},
) {
  const graph = new GraphBuilder("g");
  graph.input("x", "float32", shape);
  build(graph);
  if (graph.toProto().output.length === 0) graph.output("y", "float32", undefined);
  return encodeModel(graph, options);
}

const y = { outputs: ["y"] };
const ones = (...shape: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: new Float32Array(shape.reduce((all, size) => all * size, 1)).map((_, i) => Math.sin(i + 1)),
});

/** Rows of random values, as many as the inputs ask for; open sizes are three. */
function randomFeeds(inputs: ReturnType<typeof readGraphInterface>["inputs"], rows: number, random: () => number) {
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }): [string, Tensor] => {
      const sizes = shape!.map((size, axis) => (axis === 0 ? rows : typeof size === "number" ? size : 3));
      const count = sizes.reduce((all, size) => all * size, 1);
      const values = Array.from({ length: count }, random);
      if (dtype === "int64") return [name, int64Tensor(sizes, ...values.map((value) => Math.floor(value * 3)))];
      return [name, floatTensor(sizes, ...values.map((value) => value * 4 - 2))];
    }),
  );
}

function rowOf({ dtype, shape, data }: Tensor, row: number): Tensor {
  const width = data.length / shape[0]!;
  return { dtype, shape: [1, ...shape.slice(1)], data: data.slice(row * width, (row + 1) * width) as Tensor["data"] };
}

/** What the proof promises: each row of a batch comes out as if it had run alone. */
async function assertRowsStayApart(bytes: Uint8Array): Promise<void> {
  const { provenSafe, reason } = prove(bytes);
  assert.ok(provenSafe, reason);
  assert.ok(await rowsStayApart(bytes, seededRandom(7)), "the runtime refuses the model");
}

/** Whether the runtime runs the model; asserts that it then gives the same for rows together and rows alone. */
async function rowsStayApart(bytes: Uint8Array, random: () => number): Promise<boolean> {
  const { served, inputs } = prove(bytes);
  const feeds = randomFeeds(inputs, 4, random);
  const rows = [0, 1, 2, 3].map((row) =>
    Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, rowOf(tensor, row)])),
  );
  const [together, ...alone] = await Promise.all(
    [feeds, ...rows].map((feed) => runModel(served, feed).catch(() => undefined)),
  );
  for (const [row, outputs] of alone.entries()) {
    assert.equal(outputs === undefined, together === undefined, "runs one way only");
    for (const [name, tensor] of Object.entries(outputs ?? {})) {
      assert.equal(together![name]!.shape[0], 4);
      assertTensorClose(rowOf(together![name]!, row), tensor, 1e-4);
    }
  }
  return together !== undefined;
}

const model = (name: string) => readFileSync(join(repositoryRoot, "models", name, "1", "model.onnx"));

/** The number of rows, as exporters write it: Shape, then Gather. */
function rowCount(graph: GraphBuilder, value: string): string {
  const shape = graph.node("Shape", [value]);
  const first = graph.node("Gather", [shape, graph.node("Constant", [], { value: int64Tensor([], 0) })]);
  return graph.node("Unsqueeze", [first, graph.node("Constant", [], { value: int64Tensor([1], 0) })]);
}

let constants = 0;
const list = (graph: GraphBuilder, ...values: number[]) =>
  graph.initializer(`list_${++constants}`, int64Tensor([values.length], ...values));

const safe: Record<string, () => Uint8Array> = {
  half_plus_two: () => model("half_plus_two"),
  linear_regression: () => model("linear_regression"),
  digits: () => model("digits"),
  "iris, with its ZipMap": () => model("iris"),
  "a classifier with labels that are strings": () => zipMapModel({ labels: ["a", "b", "c"] }),
  "a multi-layer perceptron": () => mlpModel([4, 8, 3]),
  "several inputs and outputs": severalInputsModel,
  "an open second axis": () => modelOf(["N", "width"], (g) => g.node("Softmax", ["x"], { axis: -1 }, y)),
  "weights that broadcast to rows": () =>
    modelOf(["N", 2, 3], (g) => {
      const scaled = g.node("Mul", ["x", g.initializer("scale", ones(2, 1))]);
      g.node("Add", [scaled, g.initializer("offset", ones(1, 1, 3))], {}, y);
    }),
  "a reshape that keeps axis 0": () => modelOf(["N", 2, 6], (g) => g.node("Reshape", ["x", list(g, 0, -1, 3)], {}, y)),
  "a reshape whose open size is just the rows": () =>
    modelOf(["N", 2, 6], (g) => g.node("Reshape", ["x", list(g, -1, 3, 4)], {}, y)),
  "a reshape to the number of rows that Shape gives": () =>
    modelOf(["N", 2, 6], (g) => {
      const shape = g.node("Concat", [rowCount(g, "x"), list(g, -1)], { axis: 0 });
      g.node("Reshape", ["x", shape], {}, y);
    }),
  "a reshape behind a leading axis of one": () =>
    modelOf(["N", 6], (g) => {
      const shape = g.node("Concat", [list(g, 1), rowCount(g, "x"), list(g, 2, 3)], { axis: 0 });
      const reshaped = g.node("Reshape", ["x", shape]);
      g.node("Squeeze", [reshaped, list(g, 0)], {}, y);
    }),
  "axes moved away and back": () =>
    modelOf(["N", 2, 3], (g) => {
      const moved = g.node("Transpose", ["x"], { perm: [2, 0, 1] });
      const normal = g.node("Softmax", [moved], { axis: 0 });
      g.node("Transpose", [normal], { perm: [1, 2, 0] }, y);
    }),
  "reductions, ranks, sums and norms within a row": () =>
    modelOf(["N", 4, 3], (g) => {
      const mean = g.node("ReduceMean", ["x", list(g, 1, 2)], { keepdims: 1 });
      const centred = g.node("Sub", ["x", mean]);
      const summed = g.node("CumSum", [centred, g.initializer("one", int64Tensor([], 1))]);
      const normal = g.node("LayerNormalization", [summed, g.initializer("scale", ones(3))], { axis: -1 });
      g.node("TopK", [normal, list(g, 2)], { axis: 1 }, { outputs: ["y", "places"] });
      g.node("ArgMax", ["x"], { axis: 2, keepdims: 0 }, { outputs: ["best"] });
      g.output("y", "float32", undefined);
      g.output("places", "int64", undefined);
      g.output("best", "int64", undefined);
    }),
  "slices, parts, joins, pads and repeats within a row": () =>
    modelOf(["N", 4, 3], (g) => {
      const whole = g.node("Slice", ["x", list(g, 0), g.initializer("end", int64Tensor([1], 2 ** 53)), list(g, 0)]);
      const slice = g.node("Slice", [whole, list(g, 1), list(g, 3), list(g, 1)]);
      g.node("Split", [slice], { axis: 1, num_outputs: 2 }, { outputs: ["first", "second"] });
      const joined = g.node("Concat", ["second", "first", "x"], { axis: 1 });
      const padded = g.node("Pad", [joined, list(g, 0, 1, 0, 0, 0, 2)], { mode: "edge" });
      const repeated = g.node("Tile", [padded, list(g, 1, 2, 1)]);
      g.node("Gather", [repeated, list(g, 5, 0, 2)], { axis: 1 }, y);
    }),
  "a convolution net": () =>
    modelOf(["N", 2, 7, 7], (g) => {
      const conv = g.node("Conv", ["x", g.initializer("w", ones(4, 2, 3, 3))], { pads: [1, 1, 1, 1], strides: [2, 2] });
      const norm = ["a", "b", "c", "d"].map((name) => g.initializer(name, floatTensor([4], 1, 2, 3, 4)));
      const normal = g.node("BatchNormalization", [conv, ...norm]);
      const pooled = g.node("MaxPool", [normal], { kernel_shape: [2, 2] });
      const up = g.node("Resize", [pooled, "", g.initializer("scales", floatTensor([4], 1, 1, 2, 2))], {
        mode: "linear",
      });
      const instance = g.node("InstanceNormalization", [up, "a", "b"]);
      const mean = g.node("GlobalAveragePool", [instance]);
      // 4 = 4 x 1 x 1, known through all of that.
      g.node("Reshape", [mean, list(g, -1, 4)], {}, y);
    }),
  "a transposed convolution, and sizes that formulas give": () =>
    modelOf(["N", 1, 4], (g) => {
      const attributes = { strides: [2], kernel_shape: [3], pads: [1, 1], output_padding: [1] };
      const up = g.node("ConvTranspose", ["x", g.initializer("w", ones(1, 2, 3))], attributes);
      const down = g.node("AveragePool", [up], { kernel_shape: [2], strides: [2] });
      g.node("Reshape", [down, list(g, -1, 8)], {}, y);
    }),
  "attention with a mask, over rows of open length": () => {
    const graph = new GraphBuilder("attention");
    const tokens = graph.input("tokens", "int64", ["N", "length"]);
    const embedded = graph.node("Gather", [graph.initializer("embedding", ones(3, 8)), tokens]);
    const rows = rowCount(graph, tokens);
    const length = graph.node("Slice", [graph.node("Shape", [tokens]), list(graph, 1), list(graph, 2)]);
    const split = graph.node("Concat", [rows, length, list(graph, 2, 4)], { axis: 0 });
    const heads = (name: string, perm: number[]) => {
      const product = graph.node("MatMul", [embedded, graph.initializer(name, ones(8, 8))]);
      return graph.node("Transpose", [graph.node("Reshape", [product, split])], { perm });
    };
    const scores = graph.node("MatMul", [heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1])]);
    const known = graph.node("Greater", [tokens, graph.initializer("zero", int64Tensor([], 0))]);
    const mask = graph.node("Unsqueeze", [known, list(graph, 1, 2)]);
    const wide = graph.node("Concat", [rows, list(graph, 1), length, length], { axis: 0 });
    const expanded = graph.node("Expand", [mask, wide]);
    const masked = graph.node("Where", [expanded, scores, graph.initializer("minus", floatTensor([], -1e9))]);
    const weights = graph.node("Softmax", [masked], { axis: -1 });
    const mixed = graph.node("Transpose", [graph.node("MatMul", [weights, heads("v", [0, 2, 1, 3])])], {
      perm: [0, 2, 1, 3],
    });
    const merged = graph.node("Concat", [rows, length, list(graph, 8)], { axis: 0 });
    graph.node("Reshape", [mixed, merged], {}, y);
    graph.output("y", "float32", undefined);
    return encodeModel(graph);
  },
  "a class token that is expanded to every row, with PyTorch's -1 for 'as it was'": () =>
    modelOf(["N", 3, 4], (g) => {
      const token = g.initializer("token", ones(1, 1, 4));
      const wanted = g.node("Concat", [rowCount(g, "x"), list(g, -1, -1)], { axis: 0 });
      const one = g.node("ConstantOfShape", [g.node("Shape", [wanted])], { value: int64Tensor([1], 1) });
      const minus = g.node("Mul", [one, g.initializer("minus", int64Tensor([], -1))]);
      const shape = g.node("Where", [g.node("Equal", [wanted, minus]), one, wanted]);
      g.node("Concat", [g.node("Expand", [token, shape]), "x"], { axis: 1 }, y);
    }),
  "an LSTM between transposes, with a zero state for every row": () =>
    modelOf(["N", 5, 3], (g) => {
      const steps = g.node("Transpose", ["x"], { perm: [1, 0, 2] });
      const shape = g.node("Concat", [list(g, 1), rowCount(g, "x"), list(g, 2)], { axis: 0 });
      const state = g.node("ConstantOfShape", [shape], { value: floatTensor([1], 0) });
      const weights = [
        g.initializer("w", ones(1, 8, 3)),
        g.initializer("r", ones(1, 8, 2)),
        g.initializer("b", ones(1, 16)),
      ];
      g.node("LSTM", [steps, ...weights, "", state, state], { hidden_size: 2 }, { outputs: ["all", "last"] });
      g.node("Squeeze", ["last", list(g, 0)], {}, y);
    }),
  "Einstein's sums": () =>
    modelOf(["N", 2, 3], (g) =>
      g.node("Einsum", ["x", g.initializer("w", ones(3, 5))], { equation: "bij,jk->bki" }, y),
    ),
  "one-hot vectors": () => {
    const graph = new GraphBuilder("g");
    const ids = graph.input("ids", "int64", ["N"]);
    graph.node(
      "OneHot",
      [ids, graph.initializer("depth", int64Tensor([], 3)), graph.initializer("values", floatTensor([2], 0, 1))],
      {},
      y,
    );
    graph.output("y", "float32", undefined);
    return encodeModel(graph);
  },
  "a softmax of old, which flattens": () =>
    modelOf(["N", 2, 3], (g) => g.node("Softmax", ["x"], {}, y), { operatorSets: { "": 11 }, irVersion: 6 }),
  "a fixed left factor, and rows as columns": () =>
    modelOf(["N", 3], (g) => {
      const columns = g.node("Transpose", ["x"]);
      const product = g.node("MatMul", [g.initializer("w", ones(2, 3)), columns]);
      g.node("Transpose", [product], {}, y);
    }),
  "a Gemm of what was transposed": () =>
    modelOf(["N", 3], (g) => {
      const columns = g.node("Transpose", ["x"]);
      g.node("Gemm", [columns, g.initializer("w", ones(3, 2)), g.initializer("b", ones(1, 2))], { transA: 1 }, y);
    }),
  "elements picked by each row for itself": () => {
    const graph = new GraphBuilder("g");
    graph.input("x", "float32", ["N", 3]);
    graph.input("places", "int64", ["N", 2]);
    graph.node("GatherElements", ["x", "places"], { axis: 1 }, y);
    graph.output("y", "float32", undefined);
    return encodeModel(graph);
  },
  "categories and features as scikit-learn's converters write them": () => {
    const graph = new GraphBuilder("g");
    const ml = { domain: "ai.onnx.ml" };
    const kind = graph.input("kind", "int64", [undefined, 1]);
    const x = graph.input("x", "float32", [undefined, 3]);
    const encoded = graph.node("OneHotEncoder", [kind], { cats_int64s: [0, 1, 2] }, ml);
    const flat = graph.node("Reshape", [encoded, list(graph, -1, 3)]);
    const chosen = graph.node("ArrayFeatureExtractor", [x, list(graph, 2, 0)], {}, ml);
    const features = graph.node("Concat", [flat, graph.node("Reshape", [chosen, list(graph, -1, 2)])], { axis: 1 });
    const linear = { coefficients: floats([1, 2, 3, 4, 5]), intercepts: floats([1]) };
    const value = graph.node("LinearRegressor", [features], linear, ml);
    graph.node("Reshape", [value, list(graph, -1)], {}, y);
    graph.output("y", "float32", [undefined]);
    return encodeModel(graph, { operatorSets: { "": 21, "ai.onnx.ml": 3 } });
  },
  "a scaler, an imputer and a tree": () =>
    modelOf(
      ["N", 2],
      (g) => {
        const ml = { domain: "ai.onnx.ml" };
        const scaled = g.node("Scaler", ["x"], { offset: floats([1, 2]), scale: floats([0.5, 2]) }, ml);
        const imputed = g.node(
          "Imputer",
          [scaled],
          { imputed_value_floats: floats([0, 0]), replaced_value_float: floats(9) },
          ml,
        );
        const normal = g.node("Normalizer", [imputed], { norm: "L2" }, ml);
        const tree = {
          n_targets: 1,
          nodes_treeids: [0, 0, 0],
          nodes_nodeids: [0, 1, 2],
          nodes_featureids: [0, 0, 0],
          nodes_values: floats([0, 0, 0]),
          nodes_modes: ["BRANCH_LEQ", "LEAF", "LEAF"],
          nodes_truenodeids: [1, 0, 0],
          nodes_falsenodeids: [2, 0, 0],
          target_treeids: [0, 0],
          target_nodeids: [1, 2],
          target_ids: [0, 0],
          target_weights: floats([-1, 1]),
        };
        g.node("TreeEnsembleRegressor", [normal], tree, { ...ml, ...y });
      },
      { operatorSets: { "": 21, "ai.onnx.ml": 3 } },
    ),
};

describe("the batch-axis proof", () => {
  for (const [name, make] of Object.entries(safe)) {
    it(`accepts ${name}, and rows do stay apart`, () => assertRowsStayApart(make()));
  }
});

describe("random graphs", () => {
  it("that the proof accepts keep rows apart", async () => {
    let ran = 0;
    for (let seed = 0; seed < 1000; seed += 1) {
      const bytes = randomGraph(seededRandom(seed));
      if (prove(bytes).provenSafe && (await rowsStayApart(bytes, seededRandom(seed)))) ran += 1;
    }
    assert.ok(ran > 80, `only ${ran} graphs were accepted and ran`);
  });
});

const rows = (build: (graph: GraphBuilder) => void, options?: ModelOptions) => modelOf(["N", 4], build, options);
const stacks = (build: (graph: GraphBuilder) => void, options?: ModelOptions) => modelOf(["N", 2, 4], build, options);

const unsafe: Record<string, [() => Uint8Array, RegExp]> = {
  "a sum over the rows": [
    () => rows((g) => g.node("ReduceSum", ["x", list(g, 0)], {}, y)),
    /^y \(ReduceSum\) reduces the batch axis$/,
  ],
  "a mean of everything": [
    () => rows((g) => g.node("Sub", ["x", g.node("ReduceMean", ["x"])], {}, y)),
    /^ReduceMean_1 reduces the batch axis$/,
  ],
  "a softmax along the rows": [
    () => rows((g) => g.node("Softmax", ["x"], { axis: 0 }, y)),
    /normalizes along the batch/,
  ],
  "a softmax along the rows, counted from the back": [
    () => rows((g) => g.node("LogSoftmax", ["x"], { axis: -2 }, y)),
    /normalizes along the batch/,
  ],
  "a softmax of old that flattens the rows": [
    () => stacks((g) => g.node("Softmax", ["x"], { axis: 0 }, y), { operatorSets: { "": 11 }, irVersion: 6 }),
    /normalizes along the batch/,
  ],
  "a layer norm over the rows": [
    () => rows((g) => g.node("LayerNormalization", ["x", g.initializer("s", ones(4))], { axis: 0 }, y)),
    /normalizes along the batch/,
  ],
  "a mean-variance norm": [
    () => modelOf(["N", 1, 2, 2], (g) => g.node("MeanVarianceNormalization", ["x"], {}, y)),
    /normalizes along the batch/,
  ],
  "batch statistics": [
    () =>
      rows((g) => {
        const weights = ["a", "b", "c", "d"].map((name) => g.initializer(name, ones(4)));
        g.node("BatchNormalization", ["x", ...weights], { training_mode: 1 }, { outputs: ["y", "mean", "variance"] });
      }),
    /takes its statistics from the batch/,
  ],
  "dropout in training": [
    () =>
      rows((g) => {
        const training = g.initializer("training", { dtype: "bool", shape: [], data: Uint8Array.of(1) });
        g.node("Dropout", ["x", g.initializer("ratio", floatTensor([], 0.5)), training], {}, y);
      }),
    /drops elements at random/,
  ],
  "dropout of a constant in training": [
    () =>
      rows((g) => {
        const training = g.initializer("training", { dtype: "bool", shape: [], data: Uint8Array.of(1) });
        g.node("Mul", ["x", g.node("Dropout", [g.initializer("w", ones(1, 4)), "", training])], {}, y);
      }),
    /drops elements at random/,
  ],
  "an operator by a name that objects have anyway": [
    () =>
      rows((g) => g.node("toString", ["x"], {}, { domain: "__proto__", ...y }), {
        operatorSets: { "": 21, ["__proto__"]: 1 },
      }),
    /is not known to keep rows apart/,
  ],
  "an operator of ONNX's domain by such a name": [
    () => rows((g) => g.node("constructor", ["x"], {}, y)),
    /is not known to keep rows apart/,
  ],
  "random numbers": [() => rows((g) => g.node("RandomNormalLike", ["x"], {}, y)), /draws random numbers/],
  "random numbers of a fixed shape": [
    () => rows((g) => g.node("Add", ["x", g.node("RandomNormal", [], { shape: [1, 4] })], {}, y)),
    /draws random numbers/,
  ],
  "a running sum over the rows": [
    () => rows((g) => g.node("CumSum", ["x", g.initializer("axis", int64Tensor([], 0))], {}, y)),
    /accumulates along the batch/,
  ],
  "the best rows": [
    () => rows((g) => g.node("TopK", ["x", list(g, 1)], { axis: 0 }, { outputs: ["y", "places"] })),
    /ranks along the batch/,
  ],
  "the best row's number": [() => rows((g) => g.node("ArgMax", ["x"], {}, y)), /reduces the batch axis/],
  "the first row": [() => rows((g) => g.node("Gather", ["x", list(g, 0)], {}, y)), /picks along the batch axis/],
  "all rows but the first": [
    () => rows((g) => g.node("Slice", ["x", list(g, 1), list(g, 1000), list(g, 0)], {}, y)),
    /slices the batch axis/,
  ],
  "rows in reverse": [
    () => rows((g) => g.node("Slice", ["x", list(g, -1), list(g, -1000), list(g, 0), list(g, -1)], {}, y)),
    /slices the batch axis/,
  ],
  "rows picked by values": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node("Gather", [graph.input("x", "float32", ["N", 2]), graph.input("i", "int64", ["N"])], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /picks rows by values of rows/,
  ],
  "elements picked along the rows": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node("GatherElements", [graph.input("x", "float32", ["N", 2]), graph.input("i", "int64", ["N", 2])], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /picks along the batch axis/,
  ],
  "rows joined to rows": [() => rows((g) => g.node("Concat", ["x", "x"], { axis: 0 }, y)), /along the batch axis/],
  "rows split in two": [
    () => rows((g) => g.node("Split", ["x"], { axis: 0, num_outputs: 2 }, { outputs: ["y", "z"] })),
    /splits the batch axis/,
  ],
  "rows added by padding": [() => rows((g) => g.node("Pad", ["x", list(g, 1, 0, 0, 0)], {}, y)), /pads the batch axis/],
  "rows repeated": [() => rows((g) => g.node("Tile", ["x", list(g, 2, 1)], {}, y)), /repeats the batch axis/],
  "rows resized": [
    () =>
      modelOf(["N", 1, 2, 2], (g) =>
        g.node("Resize", ["x", "", g.initializer("scales", floatTensor([4], 2, 1, 1, 1))], { mode: "nearest" }, y),
      ),
    /resizes the batch axis/,
  ],
  "interpolation that has the rows for an axis": [
    () => rows((g) => g.node("Resize", ["x", "", g.initializer("s", floatTensor([2], 1, 2))], { mode: "linear" }, y)),
    /interpolates between rows/,
  ],
  "a product of the rows with themselves": [
    () => rows((g) => g.node("MatMul", ["x", g.node("Transpose", ["x"])], {}, y)),
    /makes two axes of the batch/,
  ],
  "a sum of the rows' products": [
    () => rows((g) => g.node("MatMul", [g.node("Transpose", ["x"]), "x"], {}, y)),
    /sums over the batch axis/,
  ],
  "a Gemm of the rows with themselves": [
    () => rows((g) => g.node("Gemm", ["x", "x"], { transB: 1 }, y)),
    /makes two axes of the batch/,
  ],
  "Einstein's sum over the rows": [
    () => rows((g) => g.node("Einsum", ["x", "x"], { equation: "bi,bi->i" }, y)),
    /sums over the batch axis/,
  ],
  "Einstein's sum without its result": [
    () => rows((g) => g.node("Einsum", ["x"], { equation: "ba" }, y)),
    /does not name all axes/,
  ],
  "a reshape into rows of another length": [
    () => rows((g) => g.node("Reshape", ["x", list(g, -1, 2)], {}, { ...y, name: "Reshape_12" })),
    /^Reshape_12 folds the batch axis$/,
  ],
  "a reshape into one row": [
    () => rows((g) => g.node("Reshape", ["x", list(g, 1, -1)], {}, y)),
    /folds the batch axis/,
  ],
  "a reshape that divides the rows among two": [
    () => rows((g) => g.node("Reshape", ["x", list(g, 2, -1, 4)], {}, y)),
    /folds the batch axis/,
  ],
  "a reshape that swaps rows and columns without moving them": [
    () =>
      stacks((g) => {
        const shape = g.node("Concat", [list(g, 2), rowCount(g, "x"), list(g, 4)], { axis: 0 });
        g.node("Transpose", [g.node("Reshape", ["x", shape])], { perm: [1, 0, 2] }, y);
      }),
    /folds the batch axis/,
  ],
  "a reshape to a shape that comes from the rows": [
    () => {
      const graph = new GraphBuilder("g");
      graph.input("x", "float32", ["N", 2]);
      graph.input("shape", "int64", ["N"]);
      graph.node("Reshape", ["x", "shape"], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /takes its input 1 from the rows/,
  ],
  "a reshape that no row could fill": [
    () => rows((g) => g.node("Reshape", ["x", rowCount(g, "x")], {}, y)),
    /makes rows of another length/,
  ],
  "a flattening of the rows": [() => stacks((g) => g.node("Flatten", ["x"], { axis: 2 }, y)), /folds the batch axis/],
  "a flattening of everything": [() => rows((g) => g.node("Flatten", ["x"], { axis: 0 }, y)), /folds the batch axis/],
  "a squeeze of whatever is one": [
    () => modelOf(["N", 1], (g) => g.node("Squeeze", ["x"], {}, y)),
    /squeezes whatever axes have one element/,
  ],
  "the batch left on axis 1": [
    () => rows((g) => g.node("Transpose", ["x"], {}, y)),
    /output "y" has the batch on axis 1/,
  ],
  "an output that is a constant": [
    () => rows((g) => g.node("Identity", [g.initializer("c", ones(4))], {}, y)),
    /output "y" does not follow the rows/,
  ],
  "an output of a declared size": [
    () =>
      rows((g) => {
        g.node("Relu", ["x"], {}, y);
        g.output("y", "float32", [1, 4]);
      }),
    /output "y" has the fixed size 1 on axis 0/,
  ],
  "the number of rows as a value": [
    () =>
      rows((g) => {
        const count = g.node("Cast", [rowCount(g, "x")], { to: 1 });
        g.node("Div", ["x", count], {}, y);
      }),
    /computes with the batch size/,
  ],
  "the number of rows, times four": [
    () =>
      rows((g) => {
        const shape = g.node("Mul", [rowCount(g, "x"), list(g, 4)]);
        g.node("Reshape", ["x", shape], {}, y);
      }),
    /computes with the batch size/,
  ],
  "the number of elements": [
    () =>
      rows((g) => {
        g.node("Div", ["x", g.node("Cast", [g.node("Size", ["x"])], { to: 1 })], {}, y);
      }),
    /counts the elements of the batch/,
  ],
  "numbers for the rows": [
    () =>
      rows((g) => {
        const count = g.node("Squeeze", [rowCount(g, "x"), list(g, 0)]);
        const [zero, one] = [g.initializer("zero", int64Tensor([], 0)), g.initializer("one", int64Tensor([], 1))];
        const numbers = g.node("Range", [zero, count, one]);
        g.node("Unsqueeze", [numbers, list(g, 1)], {}, y);
        g.output("y", "int64", undefined);
      }),
    /counts the rows/,
  ],
  "as many rows of a table as there are rows": [
    () =>
      rows((g) => {
        const table = g.node("Slice", [g.initializer("table", ones(100, 4)), list(g, 0), rowCount(g, "x")]);
        g.node("Add", ["x", table], {}, y);
      }),
    /computes with the batch size/,
  ],
  "a table with a row for each row": [
    () => rows((g) => g.node("Add", ["x", g.initializer("table", ones(3, 4))], {}, y)),
    /lines the batch axis up with another one/,
  ],
  "rows added to columns": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node("Add", [graph.input("x", "float32", ["N", 3]), graph.input("z", "float32", ["N"])], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /lines the batch axis up with another one/,
  ],
  "rows added to a single column": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node("Add", [graph.input("x", "float32", ["N", 1]), graph.input("z", "float32", ["N"])], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /makes two axes of the batch/,
  ],
  "a scale from the whole batch": [
    () => rows((g) => g.node("DynamicQuantizeLinear", ["x"], {}, { outputs: ["y", "scale", "zero"] })),
    /takes its scale from the whole batch/,
  ],
  "a scale for each row": [
    () =>
      rows((g) => {
        const [scale, zero] = [
          g.initializer("scale", ones(3)),
          g.initializer("zero", { dtype: "uint8", shape: [3], data: new Uint8Array(3) }),
        ];
        g.node("QuantizeLinear", ["x", scale, zero], { axis: 0 }, y);
        g.output("y", "uint8", undefined);
      }),
    /scales each row differently/,
  ],
  "a recurrent layer that takes the rows for steps": [
    () =>
      modelOf(["N", 5, 3], (g) => {
        const weights = [g.initializer("w", ones(1, 2, 3)), g.initializer("r", ones(1, 2, 2))];
        g.node("RNN", ["x", ...weights], { hidden_size: 2 }, y);
      }),
    /takes another axis for the batch/,
  ],
  "a state that is not the rows'": [
    () =>
      modelOf(["N", 5, 3], (g) => {
        const steps = g.node("Transpose", ["x"], { perm: [1, 0, 2] });
        const weights = [g.initializer("w", ones(1, 2, 3)), g.initializer("r", ones(1, 2, 2))];
        g.node(
          "RNN",
          [steps, ...weights, "", "", g.initializer("h", ones(1, 1, 2))],
          { hidden_size: 2 },
          { outputs: ["", "y"] },
        );
      }),
    /takes another axis for the batch/,
  ],
  "a convolution that takes the rows for channels": [
    () =>
      modelOf(["N", 2, 4], (g) => {
        const moved = g.node("Transpose", ["x"], { perm: [1, 0, 2] });
        g.node("Conv", [moved, g.initializer("w", ones(1, 1, 1))], {}, y);
      }),
    /takes another axis for the batch/,
  ],
  "kernels that come from the rows": [
    () => modelOf(["N", 2, 4], (g) => g.node("Conv", ["x", "x"], {}, y)),
    /takes its input 1 from the rows/,
  ],
  "places that a pool counts through the batch": [
    () => modelOf(["N", 1, 4], (g) => g.node("MaxPool", ["x"], { kernel_shape: [2] }, { outputs: ["y", "places"] })),
    /returns places in the batch/,
  ],
  "the places of what is not zero": [
    () =>
      rows((g) => {
        g.node("NonZero", ["x"], {}, y);
        g.output("y", "int64", undefined);
      }),
    /is not known to keep rows apart/,
  ],
  "distinct rows": [() => rows((g) => g.node("Unique", ["x"], { axis: 0 }, y)), /is not known to keep rows apart/],
  "rows left out by a condition": [
    () => rows((g) => g.node("Compress", ["x", g.node("Cast", ["x"], { to: 9 })], { axis: 0 }, y)),
    /is not known to keep rows apart/,
  ],
  "updates of rows by number": [
    () => {
      const graph = new GraphBuilder("g");
      graph.input("x", "float32", ["N", 2]);
      graph.input("i", "int64", ["N", 1]);
      graph.node("ScatterND", ["x", "i", "x"], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /is not known to keep rows apart/,
  ],
  "a scan over the rows": [
    () =>
      rows((g) => {
        const body = g.subgraph("body");
        const state = body.input("state", "float32", [4]);
        const row = body.input("row", "float32", [4]);
        const sum = body.node("Add", [state, row]);
        body.output(sum, "float32", [4]);
        body.output(body.node("Identity", [sum]), "float32", [4]);
        g.node(
          "Scan",
          [g.initializer("start", ones(4)), "x"],
          { body, num_scan_inputs: 1 },
          { outputs: ["last", "y"] },
        );
      }),
    /runs a graph of its own/,
  ],
  "a choice between graphs that see the rows": [
    () =>
      rows((g) => {
        const then = g.subgraph("then");
        then.output(then.node("ReduceSum", ["x"]), "float32", undefined);
        const condition = g.initializer("condition", { dtype: "bool", shape: [], data: Uint8Array.of(1) });
        g.node("If", [condition], { then_branch: then, else_branch: then }, y);
      }),
    /runs a graph of its own/,
  ],
  "an operator of somebody's own": [
    () =>
      rows((g) => g.node("Twist", ["x"], {}, { domain: "com.example", ...y }), {
        operatorSets: { "": 21, "com.example": 1 },
      }),
    /^y \(Twist\) is not known to keep rows apart$/,
  ],
  "an operator of somebody's own that makes constants": [
    () =>
      rows((g) => g.node("Add", ["x", g.node("Tick", [], {}, { domain: "com.example" })], {}, y), {
        operatorSets: { "": 21, "com.example": 1 },
      }),
    /^Tick_1 is not known to keep rows apart$/,
  ],
  "features given as one row without an axis for rows": [
    () =>
      modelOf(["N"], (g) => g.node("Normalizer", ["x"], {}, { domain: "ai.onnx.ml", ...y }), {
        operatorSets: { "": 21, "ai.onnx.ml": 3 },
      }),
    /takes its rows another way/,
  ],
  "an input that is a scalar": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node("Mul", [graph.input("x", "float32", ["N"]), graph.input("by", "float32", [])], {}, y);
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /input "by" is a scalar/,
  ],
  "an input of fixed size": [
    () => modelOf([1, 4], (g) => g.node("Relu", ["x"], {}, y)),
    /input "x" has the fixed size 1/,
  ],
  "inputs whose first axes differ in name": [
    () => {
      const graph = new GraphBuilder("g");
      graph.node(
        "Concat",
        [graph.input("x", "float32", ["N", 1]), graph.input("z", "float32", ["M", 1])],
        { axis: 1 },
        y,
      );
      graph.output("y", "float32", undefined);
      return encodeModel(graph);
    },
    /input "z" names axis 0 differently than input "x"/,
  ],
  "an input as wide as it is long": [
    () => modelOf(["N", "N"], (g) => g.node("Relu", ["x"], {}, y)),
    /input "x" has two axes named "N"/,
  ],
};

describe("the batch-axis proof refuses", () => {
  for (const [name, [make, reason]] of Object.entries(unsafe)) {
    it(name, () => {
      const verdict = prove(make());
      assert.equal(verdict.provenSafe, false, "taken for safe");
      assert.match(verdict.reason, reason);
    });
  }

  it("an input of any rank", () => {
    const graph = new GraphBuilder("g");
    graph.node("Relu", [graph.input("x", "float32", undefined)], {}, y);
    graph.output("y", "float32", undefined);
    assert.match(prove(encodeModel(graph)).reason, /input "x" may have any rank/);
  });

  it("a node that takes what no node before it makes", () => {
    const bytes = rows((g) => g.node("Add", ["x", "later"], {}, y));
    assert.match(prove(bytes).reason, /takes "later", which nothing before it makes/);
  });
});

const light = join(repositoryRoot, "..", "shared", "models", "light");
describe("the batch-axis proof on the light image models", {
  skip: !existsSync(light) && "needs ../shared/models/light",
}, () => {
  for (const name of ["squeezenet", "shufflenet", "resnet50"]) {
    it(`says that ${name} takes one image a call`, () => {
      const bytes = readFileSync(join(light, name, "1", "model.onnx"));
      assert.match(prove(bytes).reason, /input ".*" has the fixed size 1 on axis 0/);
    });
  }
});
