import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { decodeGraphModel, encodeGraphModel } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { type Cell, MemoryTable } from "../../src/training/data/table.js";
import { metadataKeys, readTrainingRecord, verifyExported } from "../../src/training/exported-model.js";
import { tensorOf } from "../../src/training/graph-emitter.js";
import { TabularTraining, type TabularTrainingOptions } from "../../src/training/tabular-training.js";
import { seededRandom } from "../support/finite-differences.js";

/** Passengers of a ship: who gets into a boat depends on all columns, some of them with gaps. */
function passengers(count: number): MemoryTable {
  const random = seededRandom(8);
  const rows = Array.from({ length: count }, (): Cell[] => {
    const age = Math.round(60 * random.uniform());
    const deck = ["upper", "middle", "lower"][Math.floor(3 * random.uniform())]!;
    const alone = random.uniform() < 0.5;
    const score = (age < 15 ? 2 : 0) + (deck === "upper" ? 1.5 : deck === "lower" ? -1.5 : 0) + (alone ? -0.5 : 0.5);
    const missing = random.uniform();
    return [
      missing < 0.05 ? null : age,
      missing > 0.95 ? "" : deck,
      alone,
      Math.floor(4 * random.uniform()),
      score + 0.5 * random.normal() > 0 ? "saved" : "lost",
    ];
  });
  return new MemoryTable(["age", "deck", "alone", "cabin", "fate"], rows);
}

const classifier: TabularTrainingOptions = {
  table: { target: "fate", columns: [{ name: "cabin", kind: "category" }] },
  layers: [
    { type: "dense", units: 16, activation: "relu" },
    { type: "dropout", rate: 0.1 },
    { type: "dense", units: 2, activation: "softmax" },
  ],
  training: {
    loss: { kind: "sparse_categorical_crossentropy" },
    epochs: 20,
    optimizer: { learningRate: 0.01 },
    seed: 1,
  },
};
const yesNo: TabularTrainingOptions = {
  ...classifier,
  layers: [{ type: "dense", units: 1, activation: "sigmoid" }],
  training: { ...classifier.training, loss: { kind: "binary_crossentropy" } },
};

async function train(table: MemoryTable, options: TabularTrainingOptions) {
  const training = TabularTraining.start(table, options);
  await training.trainer.run({ cancellation: neverCancelled, clock: systemClock });
  const evaluation = training.trainer.evaluate(training.validation!);
  return { training, evaluation, file: training.export(evaluation.values, { job: "test" }) };
}

function predict(file: Uint8Array, feeds: Readonly<Record<string, Tensor>>, outputs: readonly string[]) {
  const session = new StepSession(file);
  try {
    return session.run(new Map(Object.entries(feeds)), outputs);
  } finally {
    session.release();
  }
}

const two: Readonly<Record<string, Tensor>> = {
  age: tensorOf("float32", [2], [5, Number.NaN]),
  deck: { dtype: "string", shape: [2], data: ["upper", "a deck never heard of"] },
  alone: tensorOf("bool", [2], [0, 1]),
  cabin: tensorOf("int64", [2], [3, 99]),
};

describe("training on a table", () => {
  for (const [name, options] of [
    ["a score a class", classifier],
    ["one score for two classes", yesNo],
  ] as const) {
    it(`makes a file that takes raw columns and gives labels with scores: ${name}`, async () => {
      const { training, evaluation, file } = await train(passengers(400), options);
      assert.ok(evaluation.values.get("accuracy")! > 0.8, String(evaluation.values.get("accuracy")));
      const results = predict(file, two, ["label", "scores"]);
      const { data: labels, shape } = results.get("label")!;
      assert.deepEqual(shape, [2]);
      assert.equal(labels[0], "saved");
      const scores = results.get("scores")!;
      assert.deepEqual(scores.shape, [2, 2]);
      const [lost, saved, ...rest] = scores.data as Float32Array;
      assert.ok(saved! > 0.5 && Math.abs(lost! + saved! - 1) < 1e-6 && Math.abs(rest[0]! + rest[1]! - 1) < 1e-6);
      training.release();
    });
  }

  it("writes into the file what later trainings, people and clients need", async () => {
    const { training, evaluation, file } = await train(passengers(200), classifier);
    const { metadata, graph } = decodeGraphModel(file);
    const record = readTrainingRecord(metadata)!;
    assert.deepEqual(record.target, training.prepared.target);
    assert.deepEqual(record.preparation, JSON.parse(JSON.stringify(training.prepared.preparation)));
    assert.ok(graph.nodes.some(({ outputs }) => outputs.includes(record.output)));
    assert.deepEqual(JSON.parse(metadata.get(metadataKeys.classLabels)!), { scores: ["lost", "saved"] });
    assert.deepEqual(JSON.parse(metadata.get(metadataKeys.lineage)!), { job: "test" });
    assert.equal(JSON.parse(metadata.get(metadataKeys.metrics)!).accuracy, evaluation.values.get("accuracy"));
    assert.deepEqual(
      graph.inputs.map(({ name, dtype, shape }) => [name, dtype, shape]),
      [
        ["age", "float32", ["batch"]],
        ["deck", "string", ["batch"]],
        ["alone", "bool", ["batch"]],
        ["cabin", "int64", ["batch"]],
      ],
    );
    training.release();
  });

  it("predicts numbers as they are in the table, and judges in their units", async () => {
    const random = seededRandom(2);
    const rows = Array.from({ length: 200 }, () => {
      const size = 20 + 100 * random.uniform();
      return [size, 1000 * size + 50_000 + 500 * random.normal()];
    });
    const { training, evaluation, file } = await train(new MemoryTable(["size", "price"], rows), {
      table: { target: "price" },
      layers: [{ type: "dense", units: 1 }],
      training: { loss: { kind: "mse" }, epochs: 60, optimizer: { learningRate: 0.05 } },
    });
    assert.ok(evaluation.values.get("mae")! < 800 && evaluation.values.get("mae")! > 200);
    const prediction = predict(file, { size: tensorOf("float32", [1], [70]) }, ["prediction"]).get("prediction")!;
    assert.deepEqual(prediction.shape, [1]);
    assert.ok(Math.abs(Number(prediction.data[0]) - 120_000) < 1000);
    training.release();
  });

  it("gives labels that are whole numbers as such, and steps aside for columns named like outputs", async () => {
    const rows = Array.from({ length: 60 }, (_, i) => [i % 3, i, 10 * (i % 3)]);
    const { training, file } = await train(new MemoryTable(["scores", "label", "digit"], rows), {
      table: { target: "digit" },
      layers: [{ type: "dense", units: 3, activation: "softmax" }],
      training: { loss: { kind: "categorical_crossentropy" }, epochs: 40, optimizer: { learningRate: 0.1 } },
    });
    const { outputs } = training.model;
    assert.ok(outputs.kind === "classes" && outputs.label !== "label" && outputs.scores !== "scores");
    const feeds = { scores: tensorOf("float32", [2], [0, 2]), label: tensorOf("float32", [2], [30, 30]) };
    assert.deepEqual([...predict(file, feeds, [outputs.label]).get(outputs.label)!.data], [0n, 20n]);
    training.release();
  });

  it("learns from raw text", async () => {
    const good = ["wonderful", "great", "loved", "superb", "charming"];
    const bad = ["awful", "boring", "hated", "terrible", "dull"];
    const filler = ["the", "film", "was", "and", "story", "actors", "a", "we", "it", "plot"];
    const random = seededRandom(4);
    const pick = (words: readonly string[]) => words[Math.floor(words.length * random.uniform())]!;
    const rows = Array.from({ length: 300 }, (_, i) => {
      const words = Array.from({ length: 8 }, () => pick(filler));
      words[Math.floor(8 * random.uniform())] = pick(i % 2 === 0 ? good : bad);
      return [`${words.join(" ")}!`, i % 2 === 0 ? "liked" : "disliked"];
    });
    const { training, evaluation, file } = await train(new MemoryTable(["review", "verdict"], rows), {
      table: { target: "verdict" },
      layers: [{ type: "dense", units: 1, activation: "sigmoid" }],
      training: { loss: { kind: "binary_crossentropy" }, epochs: 30, optimizer: { learningRate: 0.05 } },
    });
    assert.ok(evaluation.values.get("accuracy")! > 0.97);
    const reviews = ["We LOVED it, a great story.", "Boring; the plot was awful."];
    const feeds = { review: { dtype: "string", shape: [2], data: reviews } } as const;
    assert.deepEqual([...predict(file, feeds, ["label"]).get("label")!.data], ["liked", "disliked"]);
    training.release();
  });

  it("learns from the order of words with an embedding and an lstm", async () => {
    const rows = Array.from({ length: 200 }, (_, i) => {
      const [first, second] = i % 2 === 0 ? ["dog", "man"] : ["man", "dog"];
      return [`yesterday the ${first} bit the ${second} ${["twice", "badly", "again"][i % 3]}`, i % 2 === 0];
    });
    const { training, evaluation, file } = await train(new MemoryTable(["news", "usual"], rows), {
      table: { target: "usual", columns: [{ name: "news", kind: "text", encoding: "tokens", length: 8 }] },
      layers: [
        { type: "embedding", vocabulary: 20, dimensions: 8 },
        { type: "lstm", units: 8 },
        { type: "dense", units: 1, activation: "sigmoid" },
      ],
      training: { loss: { kind: "binary_crossentropy" }, epochs: 15, optimizer: { learningRate: 0.02 } },
    });
    assert.equal(evaluation.values.get("accuracy"), 1);
    const feeds = { news: { dtype: "string", shape: [1], data: ["Today the man bit the dog"] } } as const;
    assert.deepEqual([...predict(file, feeds, ["label"]).get("label")!.data], ["false"]);
    training.release();
  });

  it("refuses a file that is not the model that was trained", async () => {
    const { training, file } = await train(passengers(100), classifier);
    const { graph, operatorSets } = decodeGraphModel(file);
    const bias = graph.initializers.get("dense_2/bias")!;
    graph.initializers.set("dense_2/bias", {
      ...bias,
      data: (bias.data as Float32Array).map((value, i) => value + 0.1 * i),
    });
    const expected = predict(file, two, ["scores"]).get("scores")!.data as Float32Array;
    const feeds = new Map(Object.entries(two));
    verifyExported(file, feeds, "scores", expected);
    assert.throws(
      () => verifyExported(encodeGraphModel(graph, { operatorSets }), feeds, "scores", expected),
      /the exported model gives .* where the trainer gives .*: they are not the same/,
    );
    assert.throws(() => verifyExported(file, feeds, "scores", Float32Array.of(Number.NaN, 0, 0, 0)), /not the same/);
    training.release();
  });

  const refused = (what: string, change: Partial<TabularTrainingOptions>, message: RegExp) =>
    it(`refuses ${what} before anything is trained`, () => {
      assert.throws(() => TabularTraining.start(passengers(50), { ...classifier, ...change }), message);
    });
  refused(
    "a last layer that does not fit the classes",
    { layers: [{ type: "dense", units: 3, activation: "softmax" }] },
    /the layers end in \[3\] a row; column "fate" has 2 classes, so the last layer must have 2 units/,
  );
  refused(
    "two units for one score",
    { training: { loss: { kind: "binary_crossentropy" } } },
    /binary_crossentropy wants a last layer of 1 unit/,
  );
  refused(
    "numbers where there are words",
    { training: { loss: { kind: "mse" } } },
    /"(saved|lost)" is not a number to be predicted/,
  );
  refused(
    "token numbers beside other features",
    { table: { target: "fate", columns: [{ name: "deck", kind: "text", encoding: "tokens" }] } },
    /column "deck" makes token numbers, which cannot stand beside other features/,
  );
});
