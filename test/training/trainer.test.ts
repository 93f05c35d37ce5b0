import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancellationSource, neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import { cancelled } from "../../src/status.js";
import { ExampleSubset, type Examples, type Field } from "../../src/training/examples.js";
import { layeredModel } from "../../src/training/layered-model.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import { type EpochReport, type StepReport, Trainer, type TrainingHooks } from "../../src/training/trainer.js";
import { type GivenTrainingOptions, validateTrainingOptions } from "../../src/training/training-options.js";
import { inputField, lineRow, syntheticExamples, triangleRow } from "../support/synthetic-examples.js";

const hooks: TrainingHooks = { cancellation: neverCancelled, clock: systemClock };

interface Setup {
  readonly layers: readonly LayerSpec[];
  readonly options: GivenTrainingOptions;
  readonly train: Examples;
  readonly validation?: Examples;
  readonly shape?: readonly number[];
}

function trainerOf({ layers, options, train, validation, shape }: Setup): Trainer {
  const input: Field = { name: inputField, dtype: "float32", shape: shape ?? train.fields[0]!.shape };
  const validated = validateTrainingOptions(options);
  return new Trainer(layeredModel(input, layers, validated.seed), validated, train, validation);
}

const weightsOf = (trainer: Trainer): Record<string, number[]> =>
  Object.fromEntries([...trainer.weights()].map(([name, { data }]) => [name, Array.from(data, Number)]));

async function trained(setup: Setup, more: Partial<TrainingHooks> = {}) {
  const trainer = trainerOf(setup);
  const result = await trainer.run({ ...hooks, ...more });
  return { trainer, result };
}

const triangle = syntheticExamples({ count: 90, sparse: true }, triangleRow(0.3));
const classifier: Setup = {
  layers: [
    { type: "dense", units: 8, activation: "relu" },
    { type: "dense", units: 3, activation: "softmax" },
  ],
  options: { loss: { kind: "sparse_categorical_crossentropy" }, epochs: 3, batchSize: 16, seed: 4 },
  train: triangle,
};

describe("a trainer learns", () => {
  it("the line that made the numbers", async () => {
    const train = syntheticExamples({ count: 256 }, lineRow(0.001));
    const options = { loss: { kind: "mse" }, optimizer: { learningRate: 0.05 }, epochs: 60 } as const;
    const { trainer, result } = await trained({ layers: [{ type: "dense", units: 1 }], options, train });
    assert.equal(result.end, "completed");
    const { "dense_1/weight": weight, "dense_1/bias": bias } = weightsOf(trainer);
    [...weight!, ...bias!].forEach((value, i) => {
      assert.ok(Math.abs(value - [2, -3, 0.5][i]!) < 2e-3, `${value}`);
    });
    assert.ok(trainer.evaluate(train).values.get("r2")! > 0.9999);
    trainer.release();
  });

  it("what no line can: exclusive or", async () => {
    const train = syntheticExamples({ count: 128 }, (_random, index) => {
      const x = [index & 1, (index >> 1) & 1];
      return { x, target: x[0]! ^ x[1]! };
    });
    const { trainer } = await trained({
      layers: [
        { type: "dense", units: 8, activation: "tanh" },
        { type: "dense", units: 1, activation: "sigmoid" },
      ],
      options: { loss: { kind: "binary_crossentropy" }, optimizer: { learningRate: 0.05 }, epochs: 60, seed: 1 },
      train,
    });
    assert.equal(trainer.evaluate(train).values.get("accuracy"), 1);
    trainer.release();
  });

  it("with dropout and batch normalisation, whose statistics are those of the rows in the end", async () => {
    const { trainer } = await trained({
      ...classifier,
      layers: [
        { type: "dense", units: 16, activation: "relu" },
        { type: "batch_norm", momentum: 0.8 },
        { type: "dropout", rate: 0.2 },
        { type: "dense", units: 3, activation: "softmax" },
      ],
      options: { ...classifier.options, epochs: 30, optimizer: { learningRate: 0.02 } },
    });
    assert.ok(trainer.evaluate(triangle).values.get("accuracy")! > 0.95);
    const { "batch_norm_1/running_mean": mean } = weightsOf(trainer);
    assert.ok(mean!.some((value) => value > 0.1));
    trainer.release();
  });

  it("with a convolution: which half of an image is bright", async () => {
    const train = syntheticExamples({ count: 120, shape: [1, 6, 6], sparse: true }, (random, index) => {
      const target = index % 2;
      const x = Array.from({ length: 36 }, (_, i) => random.normal() * 0.5 + Number(i % 6 < 3 === (target === 0)));
      return { x, target };
    });
    const { trainer } = await trained({
      layers: [
        { type: "conv2d", filters: 4, kernel: 3, padding: "same", activation: "relu" },
        { type: "max_pool", size: 2 },
        { type: "flatten" },
        { type: "dense", units: 2, activation: "softmax" },
      ],
      options: { ...classifier.options, epochs: 15, optimizer: { learningRate: 0.01 } },
      train,
    });
    assert.ok(trainer.evaluate(train).values.get("accuracy")! > 0.97);
    trainer.release();
  });

  for (const type of ["rnn", "gru", "lstm"] as const) {
    it(`with ${type}: whether a sequence's first number was positive`, async () => {
      const train = syntheticExamples({ count: 128, shape: [5, 1] }, (random) => {
        const x = Array.from({ length: 5 }, () => random.normal());
        return { x, target: Number(x[0]! > 0) };
      });
      const { trainer } = await trained({
        layers: [
          { type, units: 8 },
          { type: "dense", units: 1, activation: "sigmoid" },
        ],
        options: { loss: { kind: "binary_crossentropy" }, optimizer: { learningRate: 0.03 }, epochs: 40, seed: 2 },
        train,
      });
      assert.ok(trainer.evaluate(train).values.get("accuracy")! > 0.9);
      trainer.release();
    });
  }
});

describe("a trainer repeats itself", () => {
  const withEverything: Setup = {
    ...classifier,
    layers: [
      { type: "dense", units: 8, activation: "relu" },
      { type: "batch_norm" },
      { type: "dropout", rate: 0.3 },
      { type: "dense", units: 3, activation: "softmax" },
    ],
    options: {
      ...classifier.options,
      epochs: 4,
      schedule: { kind: "plateau", patience: 0 },
      earlyStopping: { patience: 3 },
    },
    validation: syntheticExamples({ count: 30, seed: 2, sparse: true }, triangleRow(0.3)),
  };

  it("with the same seed to the last bit, and differs with another", async () => {
    const [a, b] = [await trained(withEverything), await trained(withEverything)];
    assert.deepEqual(weightsOf(a.trainer), weightsOf(b.trainer));
    const other = await trained({ ...withEverything, options: { ...withEverything.options, seed: 5 } });
    assert.notDeepEqual(weightsOf(a.trainer), weightsOf(other.trainer));
    for (const { trainer } of [a, b, other]) trainer.release();
  });

  it("after an interruption at any step, from a checkpoint, to the last bit", async () => {
    const whole = await trained(withEverything);
    const expected = weightsOf(whole.trainer);
    // In the middle of an epoch, at its end, in the first step and in the last.
    for (const stopAfter of [1, 6, 8, 15, 23]) {
      const source = new CancellationSource();
      const first = trainerOf(withEverything);
      const onStep = ({ step }: StepReport) => {
        if (step === stopAfter) source.cancel(cancelled("enough"));
      };
      await assert.rejects(first.run({ ...hooks, cancellation: source, onStep }), /enough/);
      const bytes = first.checkpoint();
      first.release();
      const second = trainerOf(withEverything);
      second.restore(bytes);
      const result = await second.run(hooks);
      assert.deepEqual(weightsOf(second), expected, `stopped after ${stopAfter}`);
      assert.deepEqual(result, whole.result);
      second.release();
    }
    whole.trainer.release();
  });

  it("refuses a checkpoint that is damaged, or of another training", async () => {
    const { trainer } = await trained(classifier);
    const bytes = trainer.checkpoint();
    const damaged = bytes.slice();
    damaged[damaged.length - 1]! ^= 1;
    assert.throws(() => trainer.restore(damaged), /damaged/);
    assert.throws(() => trainer.restore(bytes.slice(0, 20)), /not a checkpoint/);
    const other = trainerOf({ ...classifier, options: { ...classifier.options, batchSize: 8 } });
    assert.throws(() => other.restore(bytes), /another plan/);
    trainer.release();
    other.release();
  });
});

describe("a trainer's batches", () => {
  it("take a partial last one as if it stood alone", async () => {
    // 5 rows in steps of 4 end with a step of one row; that step must be what it is for that row by itself.
    const five = syntheticExamples({ count: 5 }, lineRow(0.1));
    const options = {
      loss: { kind: "mse" },
      optimizer: { kind: "sgd", learningRate: 0.1 },
      epochs: 1,
      shuffle: false,
    } as const;
    const layers = [{ type: "dense", units: 1 }] as const;
    const { trainer } = await trained({ layers, options: { ...options, batchSize: 4 }, train: five });
    const alone = trainerOf({ layers, options: { ...options, batchSize: 4 }, train: subset(five, 0, 4) });
    await alone.run(hooks);
    const { "dense_1/weight": w, "dense_1/bias": b } = weightsOf(alone);
    const x = new Float32Array(2);
    const y = new Float32Array(1);
    five.gather(inputField, Uint32Array.of(4), x);
    five.gather("onnxd:target", Uint32Array.of(4), y);
    const error = w![0]! * x[0]! + w![1]! * x[1]! + b![0]! - y[0]!;
    const expected = [w![0]! - 0.2 * error * x[0]!, w![1]! - 0.2 * error * x[1]!, b![0]! - 0.2 * error];
    const after = weightsOf(trainer);
    [...after["dense_1/weight"]!, ...after["dense_1/bias"]!].forEach((value, i) => {
      assert.ok(Math.abs(value - expected[i]!) < 1e-5, `${value} for ${expected[i]}`);
    });
    trainer.release();
    alone.release();
  });

  it("weigh rows, and classes: a class of weight 0 is never learned", async () => {
    const { trainer } = await trained({
      ...classifier,
      options: { ...classifier.options, epochs: 30, classWeights: new Map([[2, 0]]) },
    });
    const { confusion } = trainer.evaluate(triangle);
    assert.ok(confusion![2]![2]! < 10 && confusion![0]![0]! > 27);
    trainer.release();
  });

  it("skip rows whose weights are all zero", async () => {
    const train = syntheticExamples({ count: 8 }, (random, index) => ({
      ...lineRow(0)(random),
      weight: index < 4 ? 0 : 1,
    }));
    const steps: StepReport[] = [];
    const { trainer, result } = await trained(
      {
        layers: [{ type: "dense", units: 1 }],
        options: { loss: { kind: "mse" }, epochs: 1, batchSize: 4, shuffle: false },
        train,
      },
      { onStep: (report) => steps.push(report) },
    );
    assert.equal(result.end, "completed");
    assert.deepEqual(
      steps.map(({ step }) => step),
      [2],
    );
    trainer.release();
  });

  it("end after the steps that were allowed", async () => {
    const epochs: EpochReport[] = [];
    const { trainer, result } = await trained(
      { ...classifier, options: { ...classifier.options, maxSteps: 8 } },
      { onEpoch: (report) => epochs.push(report) },
    );
    assert.equal(result.steps, 8);
    assert.deepEqual(
      epochs.map(({ step }) => step),
      [6, 8],
    );
    trainer.release();
  });
});

describe("a trainer ends early", () => {
  it("when the watched value no longer improves, with the weights of the best epoch", async () => {
    const epochs: EpochReport[] = [];
    const snapshots: Record<string, number[]>[] = [];
    // So few rows and so large a net that validation gets worse after a while.
    const setup: Setup = {
      layers: [
        { type: "dense", units: 64, activation: "relu" },
        { type: "dense", units: 3, activation: "softmax" },
      ],
      options: {
        loss: { kind: "sparse_categorical_crossentropy" },
        optimizer: { learningRate: 0.05 },
        epochs: 200,
        seed: 3,
        earlyStopping: { patience: 3 },
      },
      train: syntheticExamples({ count: 30, sparse: true }, triangleRow(1)),
      validation: syntheticExamples({ count: 60, seed: 9, sparse: true }, triangleRow(1)),
    };
    const trainer = trainerOf(setup);
    const result = await trainer.run({
      ...hooks,
      onEpoch: (report) => {
        epochs.push(report);
        snapshots.push(weightsOf(trainer));
      },
    });
    assert.equal(result.end, "stopped early");
    assert.match(result.reason, /val_loss has not improved for 4 epochs; the best was epoch \d+/);
    const losses = epochs.map(({ validation }) => validation!.loss);
    const best = losses.indexOf(Math.min(...losses));
    assert.equal(result.weightsOfEpoch, best + 1);
    assert.equal(result.epochs, best + 5);
    assert.deepEqual(weightsOf(trainer), snapshots[best]);
    trainer.release();
  });

  it("refuses to watch what there is not", async () => {
    const trainer = trainerOf({ ...classifier, options: { ...classifier.options, earlyStopping: {} } });
    await assert.rejects(
      trainer.run(hooks),
      /early_stopping watches "val_loss", which this training does not have; it has loss/,
    );
    trainer.release();
  });

  it("when a loss is no number, says where, and keeps the weights of the last good epoch", async () => {
    const epochs: Record<string, number[]>[] = [];
    const trainer = trainerOf({
      layers: [{ type: "dense", units: 1 }],
      options: { loss: { kind: "mse" }, optimizer: { kind: "sgd", learningRate: 1e9 }, epochs: 50, batchSize: 64 },
      train: syntheticExamples({ count: 64 }, lineRow(0)),
    });
    const result = await trainer.run({ ...hooks, onEpoch: () => epochs.push(weightsOf(trainer)) });
    assert.equal(result.end, "diverged");
    assert.match(result.reason, /in step \d+ of epoch \d+, .*(was not finite|was Infinity)/);
    assert.ok(epochs.length > 0);
    assert.deepEqual(weightsOf(trainer), epochs.at(-1));
    assert.equal(result.weightsOfEpoch, epochs.length);
    assert.ok(weightsOf(trainer)["dense_1/weight"]!.every(Number.isFinite));
    trainer.release();
  });

  it("names the node in which the numbers ran over", async () => {
    const train = syntheticExamples({ count: 4 }, () => ({ x: [3e38, 3e38], target: 1 }));
    const { trainer, result } = await trained({
      layers: [{ type: "dense", units: 1 }],
      options: { loss: { kind: "mse" }, epochs: 1 },
      train,
    });
    assert.match(result.reason, /what node "dense_1" \(operator Gemm\) gives was not finite|the loss was/);
    assert.equal(result.weightsOfEpoch, 0);
    trainer.release();
  });
});

describe("a trainer's plan", () => {
  it("tells what would be trained and what it takes", () => {
    const trainer = trainerOf(classifier);
    assert.deepEqual(trainer.plan.parameters, [
      { name: "dense_1/weight", shape: [2, 8] },
      { name: "dense_1/bias", shape: [8] },
      { name: "dense_2/weight", shape: [8, 3] },
      { name: "dense_2/bias", shape: [3] },
    ]);
    const { parameterCount, batchSize, stepsPerEpoch, totalSteps, unused, activationBytes } = trainer.plan;
    assert.deepEqual(
      { parameterCount, batchSize, stepsPerEpoch, totalSteps, unused },
      { parameterCount: 51, batchSize: 16, stepsPerEpoch: 6, totalSteps: 18, unused: [] },
    );
    assert.ok(activationBytes > 16 * 8 * 4);
    const before = weightsOf(trainer);
    trainer.rehearse();
    assert.deepEqual(weightsOf(trainer), before);
    trainer.release();
  });

  it("refuses targets that do not fit, and no rows", () => {
    const empty = syntheticExamples({ count: 1 }, lineRow(0));
    assert.throws(
      () =>
        trainerOf({ ...classifier, options: { ...classifier.options, loss: { kind: "categorical_crossentropy" } } }),
      /categorical_crossentropy wants targets of float32 \[3\] a row for this model; the rows have int64 \[\]/,
    );
    assert.throws(() => trainerOf({ ...classifier, train: subset(empty, 0, 0) }), /no rows to train on/);
  });
});

function subset(examples: Examples, from: number, to: number): Examples {
  return new ExampleSubset(
    examples,
    Uint32Array.from({ length: to - from }, (_, row) => from + row),
  );
}
