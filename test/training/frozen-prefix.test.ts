import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Graph } from "../../src/onnx/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { splitFrozenPrefix } from "../../src/training/frozen-prefix.js";
import { GraphEmitter, tensorOf } from "../../src/training/graph-emitter.js";
import type { Parameter } from "../../src/training/optimizers/parameter-memory.js";

const weights = (name: string, shape: readonly number[]): Parameter => ({
  name,
  shape,
  penalized: true,
  learningRateScale: 1,
});

function build(write: (e: GraphEmitter) => string) {
  const graph = new Graph();
  const e = new GraphEmitter(graph);
  graph.input("x", "float32", ["N", 4]);
  graph.input("words", "string", ["N"]);
  for (const name of ["w1", "w2"])
    graph.initializer(
      name,
      tensorOf(
        "float32",
        [4, 4],
        Array.from({ length: 16 }, (_, i) => i % 5),
      ),
    );
  const output = write(e);
  const split = (...parameters: Parameter[]) =>
    splitFrozenPrefix(
      {
        graph,
        operatorSets: new Map([
          ["", 21],
          ["ai.onnx.ml", 4],
        ]),
      },
      { output, parameters, trainDropout: false, trainBatchNorm: false },
      sample,
    );
  return { graph, output, split };
}

const sample = (rows: number): Map<string, Tensor> =>
  new Map<string, Tensor>([
    [
      "x",
      tensorOf(
        "float32",
        [rows, 4],
        Array.from({ length: rows * 4 }, (_, i) => i / 3),
      ),
    ],
    [
      "words",
      { dtype: "string", shape: [rows], data: Array.from({ length: rows }, (_, i) => (i % 2 === 0 ? "a" : "b")) },
    ],
  ]);

const operators = (graph: Graph): string[] => graph.nodes.map(({ opType }) => opType);

describe("cutting a model where its trained part begins", () => {
  it("runs once what stands before, and trains from what it gave", () => {
    const { split, output } = build((e) => e.matMul(e.op("Relu", [e.matMul("x", "w1")]), "w2"));
    const { prefix, model } = split(weights("w2", [4, 4]));
    assert.deepEqual(operators(model.graph), ["MatMul"]);
    assert.equal(model.inputs.length, 1);
    assert.deepEqual(model.inputs[0]!.shape, [4]);
    assert.deepEqual([...model.graph.initializers.keys()], ["w2"]);
    assert.equal(model.output, output);
    const features = prefix.run(sample(2)).get(model.inputs[0]!.name)!;
    assert.deepEqual(features.shape, [2, 4]);
    prefix.release();
  });

  it("has nothing to run where the trained part begins at the input", () => {
    const { split } = build((e) => e.matMul(e.op("Relu", [e.matMul("x", "w1")]), "w2"));
    const { prefix, model } = split(weights("w1", [4, 4]), weights("w2", [4, 4]));
    assert.ok(prefix.isEmpty);
    assert.deepEqual(
      model.inputs.map(({ name }) => name),
      ["x"],
    );
    assert.deepEqual([...prefix.run(sample(2)).keys()], ["x"]);
  });

  it("keeps every value that the trained part reads, the input itself among them", () => {
    const { split } = build((e) => e.add(e.matMul(e.op("Tanh", ["x"]), "w2"), "x"));
    const { prefix, model } = split(weights("w2", [4, 4]));
    assert.deepEqual(
      new Set(model.inputs.map(({ name }) => name)),
      new Set(["x", ...model.inputs.map(({ name }) => name).filter((name) => name !== "x")]),
    );
    assert.equal(prefix.run(sample(3)).size, 2);
    prefix.release();
  });

  it("computes shapes again, since they are not of a row", () => {
    const { split } = build((e) => {
      const hidden = e.op("Relu", ["x"]);
      return e.reshape(e.matMul(hidden, "w2"), e.op("Shape", [hidden]));
    });
    const { prefix, model } = split(weights("w2", [4, 4]));
    assert.deepEqual(new Set(operators(model.graph)), new Set(["MatMul", "Shape", "Reshape"]));
    assert.equal(model.inputs.length, 1);
    prefix.release();
  });

  it("leaves strings before the cut", () => {
    const { split } = build((e) => {
      const attributes = { cats_strings: ["a", "b", "c", "d"], zeros: 1 };
      const [encoded] = e.graph.node("OneHotEncoder", ["words"], attributes, { domain: "ai.onnx.ml" });
      return e.matMul(encoded!, "w2");
    });
    const { prefix, model } = split(weights("w2", [4, 4]));
    assert.deepEqual(
      model.inputs.map(({ dtype, shape }) => [dtype, shape]),
      [["float32", [4]]],
    );
    assert.deepEqual([...prefix.run(sample(2)).values()][0]!.data, Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0));
    prefix.release();
  });

  it("raises the trained part to the operator set of the rules, and leaves what stands before as it was", () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 4]);
    graph.initializer("w", tensorOf("float32", [4, 4], new Array(16).fill(1)));
    const [early] = graph.node("ReduceSum", ["x"], { axes: [1] });
    const [wide] = graph.node("Mul", ["x", early!]);
    const [y] = graph.node("MatMul", [wide!, "w"]);
    const [sum] = graph.node("ReduceSum", [y!], { axes: [1] });
    const { prefix, model } = splitFrozenPrefix(
      { graph, operatorSets: new Map([["", 11]]) },
      { output: sum!, parameters: [weights("w", [4, 4])], trainDropout: false, trainBatchNorm: false },
      sample,
    );
    assert.equal(model.operatorSets.get(""), 21);
    assert.equal(model.graph.nodes.at(-1)!.inputs.length, 2);
    assert.equal(prefix.run(sample(2)).size, 1);
    prefix.release();
  });

  it("refuses an output that the weights do not reach", () => {
    const { split } = build((e) => {
      e.matMul("x", "w1");
      return e.matMul("x", "w2");
    });
    assert.throws(() => split(weights("w1", [4, 4])), /does not depend on any of the weights to be trained/);
  });
});
