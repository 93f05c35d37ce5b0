// node scripts/make-models.mjs [FOLDER]: writes those of the bundled models that are no more than a formula (default:
// models/), from the compiled sources. linear_regression and digits are trained, by train-models.mjs; iris came from
// scikit-learn's converter and is kept as it came.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { encodeModel, GraphBuilder } = await import(pathToFileURL(join(root, "dist", "src", "onnx", "index.js")).href);

const float = (shape, ...values) => ({ dtype: "float32", shape, data: Float32Array.from(values) });

/** y = x / 2 + addend: TensorFlow Serving's own test models, with the same names and shapes. */
function halfPlus(name, addend) {
  const graph = new GraphBuilder(name);
  const x = graph.input("x", "float32", ["batch"]);
  const half = graph.node("Mul", [x, graph.initializer("a", float([], 0.5))]);
  graph.node("Add", [half, graph.initializer("b", float([], addend))], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch"]);
  return encodeModel(graph, { metadata: { formula: `y = 0.5 x + ${addend}` } });
}

const models = {
  "half_plus_two/1": halfPlus("half_plus_two", 2),
  "half_plus_two/2": halfPlus("half_plus_two", 2),
  "half_plus_three/1": halfPlus("half_plus_three", 3),
};

const folder = process.argv[2] ?? join(root, "models");
for (const [version, bytes] of Object.entries(models)) {
  mkdirSync(join(folder, version), { recursive: true });
  writeFileSync(join(folder, version, "model.onnx"), bytes);
}
