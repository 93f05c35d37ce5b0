import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { decodeGraphModel, encodeGraphModel, Graph } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import { bytesOf, type NumericData, type NumericTensor, type Tensor } from "../../src/tensor/index.js";
import { FineTuning, type FineTuningOptions } from "../../src/training/fine-tuning.js";
import { tensorOf } from "../../src/training/graph-emitter.js";
import { layeredModel } from "../../src/training/layered-model.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import { matchesAny } from "../../src/training/parameter-slots.js";
import { MemoryTensors, type TensorData } from "../../src/training/tensor-set.js";
import { readDataSet } from "../support/data-set.js";
import { repositoryRoot } from "../support/repository-root.js";

// A net for 8x8 digits that PyTorch exported at operator set 16, its last layer a Gemm with transB before a Softmax.
const digits = readFileSync(join(repositoryRoot, "test", "models", "pytorch-digits", "model.onnx"));

/** Digits as images, told apart in some way. */
function images(count: number, classOf: (digit: number) => number): TensorData {
  const lines = readDataSet("digits")
    .trim()
    .split("\n")
    .slice(1, count + 1);
  const rows = lines.map((line) => line.split(",").map(Number));
  return {
    inputs: new Map([
      [
        "image",
        tensorOf(
          "float32",
          [count, 1, 8, 8],
          rows.flatMap((row) => row.slice(0, 64)),
        ),
      ],
    ]),
    targets: tensorOf(
      "int64",
      [count],
      rows.map((row) => classOf(row[64]!)),
    ) as NumericTensor,
  };
}

const training = {
  loss: { kind: "sparse_categorical_crossentropy" },
  epochs: 4,
  optimizer: { learningRate: 0.005 },
} as const;

async function tune(data: TensorData, options: FineTuningOptions, file: Uint8Array = digits) {
  const tuning = FineTuning.start(file, new MemoryTensors(data), options);
  const result = await tuning.trainer.run({ cancellation: neverCancelled, clock: systemClock });
  const evaluation = tuning.trainer.evaluate(tuning.validation!);
  return { tuning, result, evaluation, tuned: tuning.export(evaluation.values, {}) };
}

const initializers = (file: Uint8Array) => decodeGraphModel(file).graph.initializers;
const changed = (before: Uint8Array, after: Uint8Array): string[] => {
  const [old, now] = [initializers(before), initializers(after)];
  const bytes = ({ data }: Tensor) => Buffer.from(bytesOf(data as NumericData));
  return [...old.keys()].filter((name) => !bytes(old.get(name)!).equals(bytes(now.get(name)!)));
};

describe("fine-tuning a model", () => {
  it("trains all its weights, and leaves everything else in the file as it was", async () => {
    const { tuning, tuned } = await tune(
      images(200, (digit) => digit),
      { training: { ...training, epochs: 1 } },
    );
    assert.equal(changed(digits, tuned).length, 6);
    const [before, after] = [ModelProto.decode(digits), ModelProto.decode(tuned)];
    assert.deepEqual({ ...after.graph, initializer: [] }, { ...before.graph, initializer: [] });
    assert.deepEqual(
      [after.opsetImport, after.producerName, after.irVersion],
      [before.opsetImport, before.producerName, before.irVersion],
    );
    tuning.release();
  });

  it("trains what is named and not what is frozen; the rest stays to the last bit", async () => {
    const data = images(100, (digit) => digit);
    const cases: readonly (readonly [Partial<FineTuningOptions>, readonly string[]])[] = [
      [{ train: ["0.7.*"] }, ["0.7.weight", "0.7.bias"]],
      [{ train: ["*.weight"], freeze: ["0.0.*"] }, ["0.3.weight", "0.7.weight"]],
      [{ freeze: ["0.*.weight"] }, ["0.0.bias", "0.3.bias", "0.7.bias"]],
    ];
    for (const [options, expected] of cases) {
      const { tuning, tuned } = await tune(data, { ...options, training: { ...training, epochs: 1 } });
      assert.deepEqual(changed(digits, tuned).sort(), [...expected].sort());
      tuning.release();
    }
  });

  it("gives a model a new head for other classes, trained on what the frozen layers see", async () => {
    const { tuning, tuned, evaluation } = await tune(
      images(900, (digit) => digit % 3),
      {
        headClasses: 3,
        training: { ...training, epochs: 20, optimizer: { learningRate: 0.01 } },
      },
    );
    assert.deepEqual(
      tuning.trainer.plan.parameters.map(({ name, shape }) => [name, shape]),
      [
        ["0.7.weight", [3, 128]],
        ["0.7.bias", [3]],
      ],
    );
    assert.ok(evaluation.values.get("accuracy")! > 0.85, String(evaluation.values.get("accuracy")));
    const { graph } = decodeGraphModel(tuned);
    assert.deepEqual(graph.outputs[0]!.shape, ["batch", 3]);
    assert.deepEqual(changed(digits, tuned).sort(), ["0.7.bias", "0.7.weight"]);
    const session = new StepSession(tuned);
    const { shape, data } = session.run(images(5, (digit) => digit).inputs, ["probabilities"]).get("probabilities")!;
    assert.deepEqual(shape, [5, 3]);
    assert.ok(Math.abs((data as Float32Array).slice(0, 3).reduce((a, b) => a + b) - 1) < 1e-6);
    session.release();
    tuning.release();
  });

  it("starts from a list of layers just as well", async () => {
    const layers: readonly LayerSpec[] = [
      { type: "conv2d", filters: 8, kernel: 3, activation: "relu" },
      { type: "batch_norm" },
      { type: "flatten" },
      { type: "dropout", rate: 0.2 },
      { type: "dense", units: 10 },
    ];
    const { graph } = layeredModel({ name: "image", dtype: "float32", shape: [1, 8, 8] }, layers, 1);
    const { tuning, tuned, evaluation } = await tune(
      images(800, (digit) => digit),
      { trainBatchNorm: true, trainDropout: true, training: { ...training, epochs: 6 } },
      encodeGraphModel(graph),
    );
    // Without a softmax in the end, the output is logits; the metrics know probabilities.
    assert.ok(evaluation.values.get("accuracy")! > 0.9);
    assert.ok(evaluation.values.get("log_loss")! < 0.5);
    const statistics = changed(encodeGraphModel(graph), tuned).filter((name) => name.includes("running"));
    assert.deepEqual(statistics, ["batch_norm_1/running_mean", "batch_norm_1/running_variance"]);
    tuning.release();
  });

  it("keeps batch normalisation and dropout still unless told", async () => {
    const layers: readonly LayerSpec[] = [
      { type: "flatten" },
      { type: "dense", units: 8 },
      { type: "batch_norm" },
      { type: "dropout", rate: 0.5 },
      { type: "dense", units: 10, activation: "softmax" },
    ];
    const { graph } = layeredModel({ name: "image", dtype: "float32", shape: [1, 8, 8] }, layers, 1);
    const file = encodeGraphModel(graph);
    const { tuning, tuned } = await tune(
      images(100, (digit) => digit),
      { training },
      file,
    );
    assert.ok(!changed(file, tuned).some((name) => name.includes("running")));
    tuning.release();
  });

  it("goes on where it stopped when a tuned file is tuned again", async () => {
    const data = images(300, (digit) => digit % 2);
    const first = await tune(data, { headClasses: 2, training });
    const second = FineTuning.start(first.tuned, new MemoryTensors(data), { training });
    const { loss } = second.trainer.evaluate(second.validation!);
    assert.ok(Math.abs(loss - first.evaluation.loss) < 1e-5);
    first.tuning.release();
    second.release();
  });

  it("scales the learning rate by name", async () => {
    const data = images(64, (digit) => digit);
    const options = {
      learningRateScales: [{ names: "0.0.*", scale: 0 }],
      training: { ...training, epochs: 1 },
    };
    const { tuning, tuned } = await tune(data, options);
    assert.deepEqual(
      changed(digits, tuned).filter((name) => name.startsWith("0.0.")),
      [],
    );
    tuning.release();
  });

  const refused = (
    what: string,
    change: Partial<FineTuningOptions>,
    message: RegExp,
    data = images(40, (digit) => digit),
  ) =>
    it(`refuses ${what}`, () => {
      assert.throws(() => FineTuning.start(digits, new MemoryTensors(data), { training, ...change }), message);
    });
  refused(
    "names of weights that it does not have",
    { train: ["head.*"] },
    /train: no weights are named "head\.\*"; there are 0\.0\.weight/,
  );
  refused("to freeze everything", { freeze: ["*"] }, /everything is frozen/);
  refused(
    "an output that it does not have",
    { output: "logits" },
    /the model has no output "logits"; it has probabilities/,
  );
  refused(
    "a loss that does not fit the output",
    { training: { ...training, loss: { kind: "mse" } } },
    /mse wants targets of float32 \[10\] a row/,
  );
  refused(
    "a class that the model does not know",
    {},
    /row \d+ has class 10; the model knows 0 to 9/,
    images(40, (digit) => digit + 1),
  );
  const nine = images(9, (digit) => digit % 3);
  const image = nine.inputs.get("image")!;
  refused("data without an input", {}, /the data have no input "image"; they have x/, {
    ...nine,
    inputs: new Map([["x", image]]),
  });
  refused("data with one too many", {}, /the model has no input "x"; it has image/, {
    ...nine,
    inputs: new Map([
      ["image", image],
      ["x", image],
    ]),
  });
  refused("data of another shape", {}, /input "image" is of shape \[1,8,8\] a row; the data are \[64\]/, {
    ...nine,
    inputs: new Map([["image", { ...image, shape: [9, 64] }]]),
  });
  refused("numbers that are none", {}, /input "image": row 2 holds NaN at \[0,0,6\]; all must be finite/, {
    ...nine,
    inputs: new Map([
      ["image", { ...image, data: (image.data as Float32Array).map((value, i) => (i === 70 ? Number.NaN : value)) }],
    ]),
  });
  refused("more targets than rows", {}, /there are 9 rows of inputs and 40 of targets/, {
    ...nine,
    targets: images(40, (digit) => digit).targets,
  });
  refused("a weight below zero", {}, /the weight of row 3 is -1/, {
    ...nine,
    weights: Float32Array.of(1, 1, -1, 1, 1, 1, 1, 1, 1),
  });

  it("refuses, before any epoch, a node without a gradient, and names what to freeze", () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 2, 2]);
    graph.initializer("early", tensorOf("float32", [2, 2], [1, 0, 0, 1]));
    graph.initializer("late", tensorOf("float32", [1, 1], [1]));
    const [hidden] = graph.node("MatMul", ["x", "early"]);
    graph.node("Det", [hidden!], {}, { name: "odd/det", outputs: ["d"] });
    graph.initializer("axes", tensorOf("int64", [1], [1]));
    const [column] = graph.node("Unsqueeze", ["d", "axes"]);
    graph.node("MatMul", [column!, "late"], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["N", 1]);
    const file = encodeGraphModel(graph);
    const data: TensorData = {
      inputs: new Map([
        [
          "x",
          tensorOf(
            "float32",
            [4, 2, 2],
            Array.from({ length: 16 }, (_, i) => i % 3),
          ),
        ],
      ]),
      targets: tensorOf("float32", [4, 1], [1, 2, 3, 4]) as NumericTensor,
    };
    const options = { training: { loss: { kind: "mse" } }, validationSplit: 0 } as const;
    assert.throws(
      () => FineTuning.start(file, new MemoryTensors(data), options),
      /cannot train through node "odd\/det" \(operator Det\): .* the parameters before it are early/,
    );
    FineTuning.start(file, new MemoryTensors(data), { ...options, freeze: ["early"] }).release();
  });

  it("does not take what prepares the input for weights", () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 2]);
    for (const [name, shape] of [
      ["mean", [2]],
      ["weight", [2, 2]],
      ["bias", [2]],
      ["factor", [1]],
    ] as const) {
      graph.initializer(name, tensorOf("float32", shape, new Array(shape.reduce((a: number, b) => a * b, 1)).fill(1)));
    }
    const [centred] = graph.node("Sub", ["x", "mean"]);
    const [product] = graph.node("MatMul", [centred!, "weight"]);
    const [sum] = graph.node("Add", [product!, "bias"]);
    graph.node("Mul", [sum!, "factor"], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["N", 2]);
    const data: TensorData = {
      inputs: new Map([["x", tensorOf("float32", [4, 2], [1, 2, 3, 4, 5, 6, 7, 8])]]),
      targets: tensorOf("float32", [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]) as NumericTensor,
    };
    const tuning = FineTuning.start(encodeGraphModel(graph), new MemoryTensors(data), {
      training: { loss: { kind: "mse" } },
      validationSplit: 0,
    });
    assert.deepEqual(
      tuning.trainer.plan.parameters.map(({ name }) => name),
      ["weight", "bias"],
    );
    tuning.release();
  });
});

describe("names of weights", () => {
  it("match patterns in which * stands for anything, and all else for itself", () => {
    assert.ok(matchesAny("layer4.0.weight", ["layer4.*"]));
    assert.ok(matchesAny("layer4.0.weight", ["*.weight"]));
    assert.ok(matchesAny("a", ["b", "*"]));
    assert.ok(!matchesAny("layer44.0", ["layer4.*"]));
    assert.ok(!matchesAny("xlayer4.0", ["layer4.*"]));
    assert.ok(matchesAny("a[0](x)", ["a[0](*)"]));
  });
});
