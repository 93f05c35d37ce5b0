import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { TensorProto } from "../../src/gen/onnx/onnx.js";
import { encodeModel, floats, GraphBuilder, type ReadModel, readModel } from "../../src/onnx/index.js";
import { readTensorProto } from "../../src/onnx/tensor-data.js";
import type { Tensor } from "../../src/tensor/index.js";
import { assertTensorClose } from "../support/assert-tensor-close.js";
import { repositoryRoot } from "../support/repository-root.js";
import { runModel } from "../support/run-model.js";
import { floatTensor } from "../support/test-models.js";

const folder = mkdtempSync(join(tmpdir(), "onnxd-opset-"));
after(() => rmSync(folder, { recursive: true }));

type Onnx = Extract<ReadModel, { format: "onnx" }>;
async function read(bytes: Uint8Array): Promise<Onnx> {
  writeFileSync(join(folder, "model.onnx"), bytes);
  return (await readModel(join(folder, "model.onnx"))) as Onnx;
}

/** A graph of opset 6 with one float input x and one output y. */
function oldModel(shape: readonly (number | string)[] | undefined, build: (graph: GraphBuilder) => void, opset = 6) {
  const graph = new GraphBuilder("old");
  graph.input("x", "float32", shape);
  build(graph);
  graph.output("y", "float32", undefined);
  return encodeModel(graph, { operatorSets: { "": opset }, irVersion: 3 });
}

const y = { outputs: ["y"] };
const counted = (...shape: number[]): Tensor => {
  const count = shape.reduce((all, size) => all * size, 1);
  return floatTensor(shape, ...Array.from({ length: count }, (_, i) => i));
};

async function assertRuns(model: Uint8Array, x: Tensor, expected: readonly number[], operators: string): Promise<void> {
  const { bytes, description } = await read(model);
  const sentence = `Operators of opset 6, for which onnxruntime has no kernels, are written as those of opset 7: ${operators}.`;
  assert.deepEqual(description.rewrites, [sentence]);
  assert.deepEqual(description.operatorSets, [{ domain: "", version: 6 }], "the description tells what the file says");
  const result = await runModel(bytes!, { x });
  assert.deepEqual([...(result["y"]!.data as Float32Array)], expected);
}

describe("models of opset 6", () => {
  it("broadcast from the axis they name", async () => {
    const model = oldModel([1, 2, 2, 3], (g) =>
      g.node("Add", ["x", g.initializer("w", floatTensor([2], 10, 20))], { broadcast: 1, axis: 1 }, y),
    );
    const x = counted(1, 2, 2, 3);
    const expected = Array.from({ length: 12 }, (_, i) => i + (i < 6 ? 10 : 20));
    await assertRuns(model, x, expected, "Add");
  });

  it("broadcast from the axis they name, in the middle of values that nodes before made", async () => {
    const model = oldModel(["n", 2, 3], (g) => {
      const moved = g.node("Transpose", ["x"], { perm: [0, 2, 1] });
      const scaled = g.node("Mul", [moved, g.initializer("s", floatTensor([1], 2))], { broadcast: 1 });
      g.node("Sub", [scaled, g.initializer("w", floatTensor([3], 1, 2, 3))], { broadcast: 1, axis: 1 }, y);
    });
    const expected = [0, 3, 1, 4, 2, 5].map((value, i) => 2 * value - (1 + Math.floor(i / 2)));
    await assertRuns(model, counted(1, 2, 3), expected, "Mul, Sub");
  });

  it("broadcast from the back where they name no axis, and not at all where they do not broadcast", async () => {
    const model = oldModel([2, 2], (g) => {
      const sum = g.node("Add", ["x", g.initializer("w", floatTensor([2], 10, 20))], { broadcast: 1 });
      g.node("Pow", [sum, g.initializer("e", floatTensor([2, 2], 1, 1, 2, 2))], {}, y);
    });
    await assertRuns(model, counted(2, 2), [10, 21, 144, 529], "Add, Pow");
  });

  it("multiply matrices and add a row to each", async () => {
    const model = oldModel(["n", 2], (g) => {
      const [w, b] = [
        g.initializer("w", floatTensor([2, 2], 1, 2, 3, 4)),
        g.initializer("b", floatTensor([2], 10, 20)),
      ];
      g.node("Gemm", ["x", w, b], { broadcast: 1, alpha: floats(1), beta: floats(1) }, y);
    });
    await assertRuns(model, floatTensor([1, 2], 1, 1), [14, 26], "Gemm");
  });

  it("have a slope for each channel", async () => {
    const model = oldModel([1, 2, 2], (g) => g.node("PRelu", ["x", g.initializer("s", floatTensor([2], 2, 3))], {}, y));
    await assertRuns(model, floatTensor([1, 2, 2], -1, 1, -1, -2), [-2, 1, -3, -6], "PRelu");
  });

  it("normalize and drop nothing once they were marked as tested", async () => {
    const model = oldModel([1, 1, 2], (g) => {
      const weights = [2, 1, 0, 4].map((value, i) => g.initializer(`w${i}`, floatTensor([1], value)));
      const normal = g.node("BatchNormalization", ["x", ...weights], { is_test: 1, epsilon: floats(0) });
      g.node("Dropout", [normal], { is_test: 1, ratio: floats(0.5) }, y);
    });
    await assertRuns(model, floatTensor([1, 1, 2], 1, 3), [2, 4], "BatchNormalization, Dropout");
  });

  it("recur", async () => {
    const model = oldModel([2, 1, 1], (g) => {
      const weights = [g.initializer("w", floatTensor([1, 1, 1], 1)), g.initializer("r", floatTensor([1, 1, 1], 1))];
      g.node("RNN", ["x", ...weights], { hidden_size: 1, output_sequence: 1, activations: ["Relu"] }, y);
    });
    await assertRuns(model, floatTensor([2, 1, 1], 1, 2), [1, 3], "RNN");
  });

  const untouched: Record<string, Uint8Array> = {
    "nothing that changed": oldModel(["n"], (g) => g.node("Relu", ["x"], {}, y)),
    "another opset": oldModel(["n"], (g) => g.node("Add", ["x", "x"], {}, y), 7),
    "an axis for values of unknown rank": oldModel(undefined, (g) =>
      g.node("Add", ["x", g.initializer("w", floatTensor([2], 1, 2))], { broadcast: 1, axis: 1 }, y),
    ),
    "an axis that leaves no room": oldModel([2, 2], (g) =>
      g.node("Add", ["x", g.initializer("w", floatTensor([2], 1, 2))], { broadcast: 1, axis: 2 }, y),
    ),
    "an axis counted from the back": oldModel([2, 2], (g) =>
      g.node("Add", ["x", g.initializer("w", floatTensor([2], 1, 2))], { broadcast: 1, axis: -1 }, y),
    ),
    "dropout in training": oldModel(["n"], (g) => g.node("Dropout", [g.node("Add", ["x", "x"])], {}, y)),
    "an operator of opset 7": oldModel(["n"], (g) => g.node("Sin", [g.node("Add", ["x", "x"])], {}, y)),
    "Upsample, which was another one then": oldModel([1, 1, 2, 2], (g) =>
      g.node("Upsample", [g.node("Add", ["x", "x"])], { width_scale: floats(2), height_scale: floats(2) }, y),
    ),
    "a graph within the graph": oldModel(["n"], (g) => {
      const body = g.subgraph("body");
      body.output(body.node("Add", ["x", "x"]), "float32", ["n"]);
      const condition = g.initializer("condition", { dtype: "bool", shape: [], data: Uint8Array.of(1) });
      g.node("If", [condition], { then_branch: body, else_branch: body }, y);
    }),
  };
  for (const [what, model] of Object.entries(untouched)) {
    it(`stay as they are with ${what}`, async () => {
      const { bytes, description } = await read(model);
      assert.equal(bytes, undefined);
      assert.deepEqual(description.rewrites, []);
    });
  }
});

const conformance = join(repositoryRoot, "..", "shared", "conformance", "onnx-backend");
// Operators that onnxruntime has no kernel for, and a locale that few machines have.
const neverRuns = /^test_(gradient_|strnorm_.*_(lower|upper|twodim|empty_output)$)/;

const tensorOf = (path: string) => readTensorProto(TensorProto.decode(readFileSync(path)));

describe("ONNX's own cases", { skip: !existsSync(conformance) && "needs ../shared/conformance/onnx-backend" }, () => {
  const groups = existsSync(conformance) ? readdirSync(conformance, { withFileTypes: true }) : [];
  for (const group of groups.filter((entry) => entry.isDirectory())) {
    for (const name of readdirSync(join(conformance, group.name))) {
      const path = join(conformance, group.name, name);
      if (!existsSync(join(path, "model.onnx"))) continue;
      it(`${name} ${neverRuns.test(name) ? "is described" : "runs, and agrees"}`, async () => {
        const { description, bytes } = (await readModel(join(path, "model.onnx"))) as Onnx;
        if (neverRuns.test(name)) return;
        const { inputs, outputs } = description;
        const data = join(path, "test_data_set_0");
        const feeds = inputs.map(({ name }, i) => [name, tensorOf(join(data, `input_${i}.pb`))] as const);
        const results = await runModel(bytes ?? join(path, "model.onnx"), Object.fromEntries(feeds));
        outputs.forEach(({ name }, i) => {
          assertTensorClose(results[name], tensorOf(join(data, `output_${i}.pb`)), 1e-4);
        });
      });
    }
  }
});
