// node scripts/train-models.mjs [FOLDER [NAME…]]: trains linear_regression and digits, or those of them that are named,
// with onnxd's own trainer, from the compiled sources (default folder: models/). The same machine gives the same bytes
// again; another kind of processor rounds otherwise and gives weights as good.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = (path) => import(pathToFileURL(join(root, "dist", "src", path)).href);
const { neverCancelled } = await load("cancellation.js");
const { systemClock } = await load("clock.js");
const { MemoryExamples, targetField } = await load("training/examples.js");
const { exportNew, trainingMetadata, verifyExported } = await load("training/exported-model.js");
const { layeredModel } = await load("training/layered-model.js");
const { Trainer } = await load("training/trainer.js");
const { validateTrainingOptions } = await load("training/training-options.js");

const floats = (shape, values) => ({ dtype: "float32", shape, data: Float32Array.from(values) });

/** y = 2 x - 1, found from 16 points of it by gradient descent: float32 comes to rest on the very numbers. */
function linearRegression() {
  const xs = Array.from({ length: 16 }, (_, i) => (i - 7.5) / 8);
  const points = {
    input: floats([16, 1], xs),
    targets: floats(
      [16, 1],
      xs.map((x) => 2 * x - 1),
    ),
  };
  return train({
    input: { name: "x", dtype: "float32", shape: [1] },
    output: "y",
    layers: [{ type: "dense", units: 1 }],
    options: { loss: { kind: "mse" }, optimizer: { kind: "sgd", learningRate: 0.5 }, batchSize: 16, epochs: 200 },
    rows: points,
    heldOut: points,
    data: "16 points of y = 2 x - 1, x from -0.9375 to 0.9375",
  });
}

/** Handwritten digits of the UCI: a small convolutional net. Every fifth image is held out. */
function digits() {
  const packed = readFileSync(join(root, "test", "data", "digits.csv.gz"));
  const lines = gunzipSync(packed).toString("utf8").trim().split("\n").slice(1);
  const images = lines.map((line) => line.split(",").map(Number));
  const take = (wanted) => {
    const chosen = images.filter((_, row) => wanted === (row % 5 === 0));
    const pixels = chosen.flatMap((image) => image.slice(0, 64).map((grey) => grey / 16));
    const labels = BigInt64Array.from(chosen, (image) => BigInt(image[64]));
    return {
      input: floats([chosen.length, 1, 8, 8], pixels),
      targets: { dtype: "int64", shape: [chosen.length], data: labels },
    };
  };
  const convolution = (filters) => ({ type: "conv2d", filters, kernel: 3, padding: "same", activation: "relu" });
  return train({
    input: { name: "image", dtype: "float32", shape: [1, 8, 8] },
    output: "probabilities",
    layers: [
      convolution(16),
      { type: "max_pool", size: 2 },
      convolution(32),
      { type: "max_pool", size: 2 },
      { type: "flatten" },
      { type: "dropout", rate: 0.25 },
      { type: "dense", units: 10, activation: "softmax" },
    ],
    options: {
      loss: { kind: "sparse_categorical_crossentropy" },
      optimizer: { learningRate: 0.005 },
      schedule: { kind: "cosine" },
      epochs: 40,
      seed: 2,
    },
    rows: take(false),
    heldOut: take(true),
    data: "test/data/digits.csv.gz without every fifth row, on which the metrics were taken",
    labels: Array.from({ length: 10 }, (_, digit) => String(digit)),
  });
}

async function train({ input, output, layers, options: given, rows, heldOut, data, labels }) {
  const options = validateTrainingOptions(given);
  const model = withOutputNamed(layeredModel(input, layers, options.seed), output);
  const examples = (of) =>
    new MemoryExamples(
      new Map([
        [input.name, of.input],
        [targetField, of.targets],
      ]),
    );
  const trainer = new Trainer(model, options, examples(rows));
  const { end } = await trainer.run({ cancellation: neverCancelled, clock: systemClock });
  if (end !== "completed") throw new Error(`the training of ${output} has ${end}`);
  const { values } = trainer.evaluate(examples(heldOut));
  const record = {
    output,
    loss: options.loss,
    threshold: options.threshold,
    parameters: model.parameters.map(({ name }) => name),
  };
  const metadata = trainingMetadata(record, values, { data, seed: options.seed }, labels && { [output]: labels });
  const file = exportNew(model, trainer.weights(), metadata);
  const count = Math.min(16, heldOut.input.shape[0]);
  const first = {
    ...heldOut.input,
    shape: [count, ...input.shape],
    data: heldOut.input.data.slice(0, count * size(input)),
  };
  const own = Uint32Array.from({ length: count }, (_, row) => row);
  verifyExported(file, new Map([[input.name, first]]), output, trainer.predict(examples(heldOut), own).predictions);
  trainer.release();
  console.log(output, Object.fromEntries(values), `${file.length} bytes`);
  return file;
}

const size = ({ shape }) => shape.reduce((all, axis) => all * axis, 1);

/** What clients see of a model's output is its name. */
function withOutputNamed(model, name) {
  const node = model.graph.nodes.find(({ outputs }) => outputs[0] === model.output);
  node.outputs[0] = name;
  model.graph.outputs = model.graph.outputs.map((each) => ({ ...each, name }));
  return { ...model, output: name };
}

const makers = { linear_regression: linearRegression, digits };
const [folder = join(root, "models"), ...given] = process.argv.slice(2);
for (const name of given.length > 0 ? given : Object.keys(makers)) {
  const file = await makers[name]();
  mkdirSync(join(folder, name, "1"), { recursive: true });
  writeFileSync(join(folder, name, "1", "model.onnx"), file);
}
