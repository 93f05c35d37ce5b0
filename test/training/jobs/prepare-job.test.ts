import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../../src/cancellation.js";
import { systemClock } from "../../../src/clock.js";
import { ModelProto, TensorProto_DataLocation } from "../../../src/gen/onnx/onnx.js";
import {
  decodeGraphModel,
  encodeGraphModel,
  Graph,
  type ModelDescription,
  readModel,
} from "../../../src/onnx/index.js";
import { StepSession } from "../../../src/runtime/index.js";
import { recognizedSignatures } from "../../../src/serving/example-signatures.js";
import { cancelled } from "../../../src/status.js";
import type { NumericTensor, Tensor } from "../../../src/tensor/index.js";
import { metadataKeys } from "../../../src/training/exported-model.js";
import { tensorOf } from "../../../src/training/graph-emitter.js";
import { openDataSets } from "../../../src/training/jobs/data-set-reader.js";
import type { JobSpec, JobStart, TableSpec } from "../../../src/training/jobs/job-spec.js";
import { evaluateServed, prepareJob } from "../../../src/training/jobs/prepare-job.js";
import { readDataSet } from "../../support/data-set.js";
import { type GivenData, jobData, jobFolder, jobSpec } from "../../support/job-data.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { repositoryRoot } from "../../support/repository-root.js";

const table = (target: string, given: Partial<TableSpec> = {}): TableSpec => ({
  target,
  columns: [],
  onlyNamed: false,
  ...given,
});
const dense = (units: number, activation?: "softmax" | "sigmoid" | "relu"): JobStart => ({
  kind: "layers",
  layers: [{ type: "dense", units, ...(activation !== undefined && { activation }) }],
});
const tuning = (given: Partial<Extract<JobStart, { kind: "fine-tune" }>> = {}): JobStart => ({
  kind: "fine-tune",
  base: {},
  train: [],
  freeze: [],
  trainDropout: false,
  trainBatchNorm: false,
  learningRateScales: [],
  ...given,
});
const update: JobStart = { kind: "update", base: {} };

interface Given {
  readonly validation?: GivenData;
  readonly baseFile?: string;
  readonly memoryBytes?: number;
}

async function prepare(spec: JobSpec, given: GivenData, { validation, baseFile, memoryBytes = 1e9 }: Given = {}) {
  const { folder, data } = await jobData(given, validation);
  return await prepareJob(spec, data, { folder, memoryBytes, baseFile });
}

/** Trains to the end, exports, and leaves the file in a folder of its own. */
async function train(spec: JobSpec, data: GivenData, given: Given = {}) {
  const job = await prepare(spec, data, given);
  const base = job.evaluateBase();
  await job.training.trainer.run({ cancellation: neverCancelled, clock: systemClock });
  const evaluation = job.evaluate();
  const file = job.export(evaluation, { job: "7" });
  const path = join(jobFolder(), "model.onnx");
  writeFileSync(path, file);
  job.training.release();
  return { job, evaluation, base, file, path };
}

function run(file: Uint8Array, feeds: Readonly<Record<string, Tensor>>, outputs: readonly string[]) {
  const session = new StepSession(file);
  try {
    return session.run(new Map(Object.entries(feeds)), outputs);
  } finally {
    session.release();
  }
}

/** Besides predict. */
const signaturesOf = (description: ModelDescription) => recognizedSignatures(description).map(({ key }) => key);

const iris = readDataSet("iris");
const diabetes = readDataSet("diabetes");
/** Two clouds of points, as rows and as tensors. */
const points = Array.from({ length: 60 }, (_, i) => {
  const side = i % 2 === 0 ? -1 : 1;
  return { x: side + ((i * 7) % 10) / 10 - 0.5, y: ((i * 3) % 10) / 10, side: side < 0 ? "left" : "right" };
});
const pointTensors = {
  inputs: new Map([
    [
      "p",
      tensorOf(
        "float32",
        [60, 2],
        points.flatMap(({ x, y }) => [x, y]),
      ),
    ],
  ]),
  targets: tensorOf(
    "int64",
    [60],
    points.map(({ side }) => Number(side === "right")),
  ) as NumericTensor,
};
const quick = { epochs: 20, optimizer: { learningRate: 0.1 } };

describe("preparing a job", () => {
  it("makes a classifier of layers and a table", async () => {
    const spec = jobSpec(dense(3, "softmax"), { table: table("target"), training: quick });
    const { job, evaluation, path } = await train(spec, iris);
    assert.deepEqual(job.classLabels, ["0", "1", "2"]);
    assert.ok(evaluation!.metrics["accuracy"]! > 0.85);
    assert.ok(evaluation!.metrics["loss"]! > 0);
    assert.deepEqual(evaluation!.classLabels, ["0", "1", "2"]);
    assert.equal(
      evaluation!.confusion!.flat().reduce((a, b) => a + b),
      30,
    );
    const { activationBytes, exampleBytes, parameterBytes, ...plan } = job.plan;
    assert.ok(activationBytes > 0 && exampleBytes > 0 && parameterBytes > 0);
    assert.deepEqual(plan, {
      parameters: [
        { name: "dense_1/weight", shape: [4, 3] },
        { name: "dense_1/bias", shape: [3] },
      ],
      unused: [],
      parameterCount: 15,
      batchSize: 32,
      stepsPerEpoch: 4,
      totalSteps: 80,
      trainRows: 120,
      validationRows: 30,
    });
    // A server sees a classifier by its labels.
    const read = await readModel(path);
    assert.ok(read.format === "onnx");
    assert.deepEqual([...read.description.classLabels], [["scores", [0n, 1n, 2n]]]);
    assert.deepEqual(signaturesOf(read.description), ["classify"]);
    assert.equal(read.description.metadata.get(metadataKeys.lineage), '{"job":"7"}');
    assert.equal(JSON.parse(read.description.metadata.get(metadataKeys.metrics)!).loss, evaluation!.metrics["loss"]);
  });

  it("takes the loss and the task from the target and the layers", async () => {
    const cases: readonly (readonly [string, JobStart, GivenData, string])[] = [
      ["words, one unit", dense(1), points, "binary_crossentropy"],
      ["words, two units", dense(2), points, "sparse_categorical_crossentropy"],
      ["numbers, several units", dense(3), iris, "sparse_categorical_crossentropy"],
      ["numbers, one unit", dense(1), diabetes, "mse"],
      [
        "numbers, one unit that is squashed",
        dense(1, "sigmoid"),
        "x,target\n1,0\n2,1\n3,0\n4,1\n5,0\n6,1\n",
        "binary_crossentropy",
      ],
    ];
    for (const [what, start, data, loss] of cases) {
      const target = Array.isArray(data) ? "side" : "target";
      const job = await prepare(jobSpec(start, { table: table(target) }), data);
      assert.equal((job.training as unknown as { options: { loss: { kind: string } } }).options.loss.kind, loss, what);
      assert.equal(
        job.notices.some((notice) => /predicted as one; .* set table.task/.test(notice)),
        what === "numbers, one unit",
      );
      job.training.release();
    }
  });

  it("makes a regressor of a table: a number a row, as it stands in the table", async () => {
    const { path } = await train(jobSpec(dense(1), { table: table("target"), training: quick }), diabetes);
    const read = await readModel(path);
    assert.ok(read.format === "onnx");
    assert.deepEqual(read.description.outputs, [{ name: "prediction", dtype: "float32", shape: ["batch"] }]);
    assert.deepEqual(signaturesOf(read.description), ["regress"]);
  });

  for (const [form, data, target, metric, least] of [
    ["linear", diabetes, "target", "r2", 0.3],
    ["ridge", diabetes, "target", "r2", 0.3],
    ["lasso", diabetes, "target", "r2", 0.1],
    ["elastic_net", diabetes, "target", "r2", 0.1],
    ["logistic", points, "side", "accuracy", 1],
    ["softmax", iris, "target", "accuracy", 0.85],
  ] as const) {
    it(`knows the classic ${form}, its classes and rows from the data`, async () => {
      const options = form === "lasso" || form === "elastic_net" ? { alpha: 0.01 } : {};
      const start: JobStart = { kind: "classic", form, options };
      const { evaluation } = await train(jobSpec(start, { table: table(target), training: quick }), data);
      assert.ok(evaluation!.metrics[metric]! >= least, `${metric} ${evaluation!.metrics[metric]}`);
    });
  }

  it("fits the preparation to the rows to train on, and reads those to validate on by it", async () => {
    const spec = jobSpec(dense(1, "sigmoid"), { table: table("side"), training: quick });
    const shifted = points.map((row) => ({ ...row, y: row.y + 100 }));
    const { job, evaluation, file } = await train(spec, points, { validation: shifted });
    assert.deepEqual([job.plan.trainRows, job.plan.validationRows], [60, 60]);
    assert.equal(evaluation!.rows, 60);
    const preparation = decodeGraphModel(file).metadata.get(metadataKeys.training)!;
    const y = JSON.parse(preparation).preparation.columns.find(({ name }: { name: string }) => name === "y");
    assert.ok(y.statistics.max < 1 && y.statistics.rows === 60);
  });

  it("makes a classifier of layers and tensors, with the classes' names", async () => {
    for (const start of [
      dense(2, "softmax"),
      dense(2),
      dense(1, "sigmoid"),
      { kind: "classic", form: "softmax", options: {} } as const,
    ]) {
      const spec = jobSpec(start, {
        classLabels: ["left", "right"],
        training: { ...quick, classWeights: { right: 2 } },
      });
      const { job, evaluation, file, path } = await train(spec, pointTensors);
      assert.deepEqual(job.classLabels, ["left", "right"]);
      assert.equal(evaluation!.metrics["accuracy"], 1);
      const scores = run(file, { p: tensorOf("float32", [1, 2], [1, 0]) }, ["scores"]).get("scores")!;
      assert.deepEqual(scores.shape, [1, 2]);
      assert.ok(Number(scores.data[1]) > 0.9 && Math.abs(Number(scores.data[0]) + Number(scores.data[1]) - 1) < 1e-6);
      const read = await readModel(path);
      assert.ok(read.format === "onnx");
      assert.deepEqual([...read.description.classLabels], [["scores", ["left", "right"]]]);
      assert.deepEqual(signaturesOf(read.description), ["classify"]);
    }
  });

  it("makes a regressor of layers and tensors: one output, a number a row", async () => {
    const x = Array.from({ length: 50 }, (_, i) => i / 25 - 1);
    const data = {
      inputs: new Map([["x", tensorOf("float32", [50, 1], x)]]),
      targets: tensorOf(
        "float64",
        [50],
        x.map((value) => 3 * value + 1),
      ) as NumericTensor,
      weights: tensorOf(
        "float32",
        [50],
        x.map((_, i) => i % 3),
      ) as NumericTensor,
    };
    for (const start of [dense(1), { kind: "classic", form: "linear", options: {} } as const]) {
      const { file, path } = await train(jobSpec(start, { training: { ...quick, epochs: 60 } }), data);
      const { data: answer } = run(file, { x: tensorOf("float32", [1, 1], [0.5]) }, ["output"]).get("output")!;
      assert.ok(Math.abs(Number(answer[0]) - 2.5) < 0.01);
      const read = await readModel(path);
      assert.ok(read.format === "onnx");
      assert.deepEqual(read.description.outputs, [{ name: "output", dtype: "float32", shape: ["batch", 1] }]);
      assert.deepEqual(signaturesOf(read.description), ["regress"]);
    }
  });

  it("trains a base further on new rows, keeps its preparation and says how the rows have moved", async () => {
    const first = await train(jobSpec(dense(1, "sigmoid"), { table: table("side"), training: quick }), points);
    const moved = points.map((row) => ({ ...row, x: row.x + 10 }));
    const spec = jobSpec(update, { training: { ...quick, classWeights: { left: 2 } } });
    const second = await train(spec, moved, { baseFile: first.path });
    assert.ok(second.base!.metrics["loss"]! > second.evaluation!.metrics["loss"]!);
    const drift = second.job.drift.find(({ column }) => column === "x")!;
    assert.ok(drift.measures["mean_shift"]! > 5);
    assert.match(drift.warnings.join(), /column "x": its mean is/);
    assert.deepEqual(second.job.drift.find(({ column }) => column === "y")!.warnings, []);
    const record = (file: Uint8Array) => JSON.parse(decodeGraphModel(file).metadata.get(metadataKeys.training)!);
    assert.deepEqual(record(second.file).preparation, record(first.file).preparation);
    await rejectsWith("INVALID_ARGUMENT", /the base predicts column "side", not "x"/, () =>
      prepare(jobSpec(update, { table: table("x") }), points, { baseFile: first.path }),
    );
    await rejectsWith("INVALID_ARGUMENT", /update takes rows with named columns; on tensors, use fine_tune/, () =>
      prepare(jobSpec(update), pointTensors, { baseFile: first.path }),
    );
    await rejectsWith("INVALID_ARGUMENT", /row 2, column "side": "up" is none of the labels left, right/, () =>
      prepare(
        jobSpec(update),
        points.map((row, i) => (i === 1 ? { ...row, side: "up" } : row)),
        { baseFile: first.path },
      ),
    );
    const notHere = await train(jobSpec(dense(2)), pointTensors);
    await rejectsWith("FAILED_PRECONDITION", /was not trained on a table here/, () =>
      prepare(jobSpec(update), points, { baseFile: notHere.path }),
    );
  });

  it("goes on from a checkpoint over the data on disk, to the same bits, with rows in memory or not", async () => {
    const count = 9000;
    const values = Array.from({ length: 2 * count }, (_, i) => Math.sin(i));
    const classes = Array.from({ length: count }, (_, i) => Number(values[2 * i]! > values[2 * i + 1]!));
    const { folder, data } = await jobData({
      inputs: new Map([["p", tensorOf("float32", [count, 2], values)]]),
      targets: tensorOf("uint8", [count], classes) as NumericTensor,
    });
    const layers = [
      { type: "dense", units: 4, activation: "relu" },
      { type: "dropout", rate: 0.2 },
      { type: "dense", units: 2 },
    ] as const;
    const spec = jobSpec({ kind: "layers", layers }, { training: { epochs: 2, batchSize: 512 } });
    const weightsOf = async (memoryBytes: number, stopAt?: number) => {
      let job = await prepareJob(spec, data, { folder, memoryBytes });
      const onDisk = readdirSync(folder).includes("examples.bin");
      const halting = new CancellationSource();
      const hooks = {
        cancellation: halting,
        clock: systemClock,
        onStep: ({ step }: { step: number }) => step === stopAt && halting.cancel(cancelled("stopped")),
      };
      if (stopAt !== undefined) {
        await assert.rejects(job.training.trainer.run(hooks), /stopped/);
        const checkpoint = job.training.trainer.checkpoint();
        job.training.release();
        job = await prepareJob(spec, openDataSets(folder), { folder, memoryBytes });
        job.training.trainer.restore(checkpoint);
      }
      await job.training.trainer.run({ cancellation: neverCancelled, clock: systemClock });
      const weights = [...job.training.trainer.weights().values()].map(({ data: numbers }) => [...numbers]);
      job.training.release();
      return { weights, onDisk, exampleBytes: job.plan.exampleBytes };
    };
    const plain = await weightsOf(1e9);
    const small = await weightsOf(500_000, 5);
    assert.deepEqual([plain.onDisk, small.onDisk], [false, true]);
    assert.ok(small.exampleBytes < plain.exampleBytes / 2);
    assert.deepEqual(small.weights, plain.weights);
    assert.ok(!readdirSync(folder).includes("examples.bin"));
  });

  it("takes classes as numbers or as rows with a one", async () => {
    const ones = points.flatMap(({ side }) => (side === "left" ? [1, 0] : [0, 1]));
    const losses: number[] = [];
    for (const targets of [pointTensors.targets, tensorOf("float32", [60, 2], ones) as NumericTensor]) {
      const loss = { kind: "categorical_crossentropy" } as const;
      const spec = jobSpec(dense(2, "softmax"), { training: { ...quick, loss, validationSplit: 0 } });
      const job = await prepare(spec, { ...pointTensors, targets });
      await job.training.trainer.run({
        cancellation: neverCancelled,
        clock: systemClock,
        onEpoch: ({ loss: value }) => losses.push(value),
      });
      job.training.release();
    }
    assert.equal(losses.length, 40);
    losses.slice(0, 20).forEach((loss, epoch) => {
      assert.ok(Math.abs(loss - losses[20 + epoch]!) < 1e-6);
    });
  });

  it("judges the base by the weights it came with, whenever it is asked", async () => {
    const first = await train(jobSpec(dense(2), { training: { ...quick, epochs: 1 } }), pointTensors);
    const job = await prepare(jobSpec(tuning(), { training: quick }), pointTensors, { baseFile: first.path });
    const before = job.evaluate();
    await job.training.trainer.run({ cancellation: neverCancelled, clock: systemClock });
    assert.deepEqual(job.evaluateBase(), before);
    assert.notDeepEqual(job.evaluate(), before);
    job.training.release();
  });

  it("gives a model trained here a new head, with its labels", async () => {
    const first = await train(jobSpec(dense(4), { classLabels: ["a", "b", "c", "d"] }), {
      ...pointTensors,
      targets: tensorOf(
        "uint8",
        [60],
        points.map((_, i) => i % 4),
      ) as NumericTensor,
    });
    const spec = jobSpec(tuning({ headClasses: 2 }), { classLabels: ["left", "right"], training: quick });
    const { job, base, evaluation, path } = await train(spec, pointTensors, { baseFile: first.path });
    assert.equal(base, undefined);
    assert.deepEqual(job.classLabels, ["left", "right"]);
    assert.equal(evaluation!.metrics["accuracy"], 1);
    const read = await readModel(path);
    assert.ok(read.format === "onnx");
    assert.deepEqual([...read.description.classLabels], [["scores", ["left", "right"]]]);
    assert.deepEqual(read.description.outputs[0]!.shape, ["batch", 2]);
    const labelled = await train(jobSpec(dense(1, "sigmoid"), { training: quick }), pointTensors);
    await rejectsWith("FAILED_PRECONDITION", /one score for two classes, not one a class/, () =>
      prepare(spec, pointTensors, { baseFile: labelled.path }),
    );
  });

  it("tunes a model of an older operator set, and its file stays of that set", async () => {
    const graph = new Graph();
    graph.input("p", "float32", ["N", 2]);
    graph.initializer("w", tensorOf("float32", [2, 2], [0.1, 0.2, 0.3, 0.4]));
    const [y] = graph.node("MatMul", ["p", "w"]);
    // Until operator set 12, axes were an attribute and Softmax flattened.
    const [u] = graph.node("Unsqueeze", [y!], { axes: [1] });
    const [s] = graph.node("Squeeze", [u!], { axes: [1] });
    graph.node("Softmax", [s!], { axis: 1 }, { outputs: ["y"] });
    graph.output("y", "float32", ["N", 2]);
    const baseFile = join(jobFolder(), "model.onnx");
    writeFileSync(baseFile, encodeGraphModel(graph, { operatorSets: new Map([["", 9]]), irVersion: 4 }));
    const { file, evaluation } = await train(jobSpec(tuning(), { training: quick }), pointTensors, { baseFile });
    assert.equal(ModelProto.decode(file).opsetImport[0]!.version, 9n);
    assert.equal(evaluation!.metrics["accuracy"], 1);
  });

  it("tunes a model that takes one row at a time, and that is what its file goes on to take", async () => {
    const graph = new Graph();
    graph.input("p", "float32", [1, 2]);
    graph.initializer("w", tensorOf("float32", [3, 2, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]));
    const image = graph.initializer("image", tensorOf("int64", [4], [1, 2, 1, 1]));
    const [shaped] = graph.node("Reshape", ["p", image]);
    const [scores] = graph.node("Conv", [shaped!, "w"]);
    graph.node("Softmax", [scores!], { axis: 1 }, { outputs: ["y"] });
    graph.output("y", "float32", [1, 3, 1, 1]);
    const baseFile = join(jobFolder(), "model.onnx");
    writeFileSync(baseFile, encodeGraphModel(graph, { operatorSets: new Map([["", 9]]), irVersion: 4 }));
    const { file, path, evaluation } = await train(jobSpec(tuning(), { training: quick }), pointTensors, { baseFile });
    assert.ok(evaluation!.metrics["accuracy"]! > 0.9);
    assert.deepEqual(decodeGraphModel(file).graph.inputs[0]!.shape, [1, 2]);
    assert.deepEqual(run(file, { p: tensorOf("float32", [1, 2], [1, 0]) }, ["y"]).get("y")!.shape, [1, 3, 1, 1]);
    const { data } = await jobData(pointTensors);
    const { evaluation: again } = await evaluateServed(path, { model: { name: "m" } }, data);
    assert.equal(again.rows, 60);
    assert.ok(again.metrics["accuracy"]! > 0.9);

    // The same for a number of rows that is more than there are.
    graph.inputs = [{ name: "p", dtype: "float32", shape: [100, 2] }];
    graph.initializer("image", tensorOf("int64", [4], [100, 2, 1, 1]));
    graph.outputs = [{ name: "y", dtype: "float32", shape: [100, 3, 1, 1] }];
    writeFileSync(baseFile, encodeGraphModel(graph, { operatorSets: new Map([["", 9]]), irVersion: 4 }));
    const many = await train(jobSpec(tuning(), { training: quick }), pointTensors, { baseFile });
    assert.deepEqual(many.evaluation, evaluation);
    const { evaluation: judged } = await evaluateServed(many.path, { model: { name: "m" } }, data);
    assert.deepEqual(judged.confusion, again.confusion);

    // Where the one is not only rows, answers would change: that is seen, and refused.
    graph.inputs = [{ name: "p", dtype: "float32", shape: [1, 2] }];
    graph.initializer("image", tensorOf("int64", [4], [1, 2, 1, 1]));
    const [sum] = graph.node("ReduceSum", ["y"], { axes: [0] });
    graph.node("Add", ["y", sum!], {}, { outputs: ["z"] });
    graph.outputs = [];
    graph.output("z", "float32", [1, 3, 1, 1]);
    writeFileSync(baseFile, encodeGraphModel(graph, { operatorSets: new Map([["", 9]]), irVersion: 4 }));
    await rejectsWith(
      "FAILED_PRECONDITION",
      /the model takes 1 rows at a time and cannot be trained on other numbers of them: .* export it with an open first axis/,
      () => prepare(jobSpec(tuning(), { training: quick }), pointTensors, { baseFile }),
    );
  });

  it("takes weights that lie beside a base into the file", async () => {
    const first = await train(jobSpec(dense(2)), pointTensors);
    const model = ModelProto.decode(first.file);
    const folder = jobFolder();
    let offset = 0;
    const parts: Uint8Array[] = [];
    for (const tensor of model.graph!.initializer.filter(({ name }) => name.startsWith("dense"))) {
      parts.push(tensor.rawData);
      tensor.externalData = [
        { key: "location", value: "weights.bin" },
        { key: "offset", value: String(offset) },
        { key: "length", value: String(tensor.rawData.length) },
      ];
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      offset += tensor.rawData.length;
      tensor.rawData = new Uint8Array(0);
    }
    writeFileSync(join(folder, "weights.bin"), Buffer.concat(parts));
    const baseFile = join(folder, "model.onnx");
    writeFileSync(baseFile, ModelProto.encode(model).finish());
    const spec = jobSpec(tuning({ freeze: ["*bias"] }), { training: { ...quick, epochs: 1 } });
    const { base, file } = await train(spec, pointTensors, { baseFile });
    assert.ok(Math.abs(base!.metrics["loss"]! - first.evaluation!.metrics["loss"]!) < 1e-6);
    const { graph } = decodeGraphModel(file);
    assert.deepEqual(
      graph.initializers.get("dense_1/bias"),
      decodeGraphModel(first.file).graph.initializers.get("dense_1/bias"),
    );
    writeFileSync(join(folder, "weights.bin"), Buffer.concat(parts).subarray(4));
    await rejectsWith("INVALID_ARGUMENT", /external data of tensor ".*" at "weights.bin"/, () =>
      prepare(spec, pointTensors, { baseFile }),
    );
  });
});

describe("evaluating a served model", () => {
  it("on a table: every metric, the loss it was trained on, and drift", async () => {
    for (const [start, target, data] of [
      [dense(3, "softmax"), "target", iris],
      [dense(1), "target", diabetes],
      [dense(1, "sigmoid"), "side", points],
    ] as const) {
      const spec = jobSpec(start, { table: table(target), training: quick });
      const trained = await train(spec, data, { validation: data });
      const { data: sets } = await jobData(data);
      const { evaluation, drift } = await evaluateServed(trained.path, { model: { name: "m" } }, sets);
      const expected = trained.evaluation!;
      assert.deepEqual(Object.keys(evaluation.metrics).sort(), Object.keys(expected.metrics).sort());
      for (const [name, value] of Object.entries(expected.metrics)) {
        assert.ok(
          Math.abs(evaluation.metrics[name]! - value) <= 1e-4 * Math.max(1, Math.abs(value)),
          `${name}: ${value}`,
        );
      }
      assert.deepEqual(evaluation.confusion, expected.confusion);
      assert.deepEqual(evaluation.classLabels, expected.classLabels);
      assert.ok(drift.length > 1 && drift.every(({ warnings }) => warnings.length === 0));
    }
  });

  it("on a table says of a model made elsewhere that it cannot, though its outputs are none that training knows", async () => {
    const { data } = await jobData(iris);
    const path = join(repositoryRoot, "models", "iris", "1", "model.onnx");
    await rejectsWith("FAILED_PRECONDITION", /was not trained on a table here/, () =>
      evaluateServed(path, { model: { name: "iris" } }, data),
    );
  });

  it("on tensors, read from their files in order", async () => {
    const trained = await train(jobSpec(dense(2), { training: quick }), pointTensors, { validation: pointTensors });
    const { data } = await jobData(pointTensors);
    const { evaluation } = await evaluateServed(trained.path, { model: { name: "m" } }, data);
    assert.deepEqual(evaluation.confusion, [
      [30, 0],
      [0, 30],
    ]);
    assert.ok(Math.abs(evaluation.metrics["loss"]! - trained.evaluation!.metrics["loss"]!) < 1e-6);
    assert.deepEqual(evaluation.classLabels, ["0", "1"]);
    await rejectsWith("INVALID_ARGUMENT", /row 1 has class 2; the model knows 0 to 1/, async () => {
      const { data: wrong } = await jobData({
        ...pointTensors,
        targets: tensorOf("int64", [60], new Array(60).fill(2)) as NumericTensor,
      });
      await evaluateServed(trained.path, { model: { name: "m" } }, wrong);
    });
  });
});
