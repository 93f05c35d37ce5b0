import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../../src/onnx/index.js";
import { StepSession } from "../../../src/runtime/index.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { buildGradients } from "../../../src/training/autodiff/gradient-graph.js";
import { prepareForward } from "../../../src/training/autodiff/prepare-forward.js";
import { probe } from "../../../src/training/autodiff/probe.js";
import { GraphEmitter, tensorOf } from "../../../src/training/graph-emitter.js";

/** A value of ones for each named input. */
const ones = (shapes: Readonly<Record<string, readonly number[]>>): Map<string, Tensor> =>
  new Map(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      tensorOf("float32", shape, new Array(shape.reduce((all, size) => all * size, 1)).fill(1)),
    ]),
  );

function differentiate(graph: Graph, feeds: Map<string, Tensor>, y: string, parameters: readonly string[]) {
  prepareForward(graph);
  const infos = probe(graph, feeds);
  const emitter = new GraphEmitter(graph);
  const { shape } = infos.get(y)!;
  const seed = emitter.expand(emitter.scalar(1, "float32"), emitter.ints(shape));
  return buildGradients({ graph, infos, parameters, seeds: new Map([[y, seed]]), scans: new Map() });
}

describe("the walk from the loss back to the parameters", () => {
  it("refuses an operator without a gradient by node and operator, and says what to freeze", () => {
    const graph = new Graph();
    const e = new GraphEmitter(graph);
    for (const [name, shape] of Object.entries({ x: [2, 2], w1: [2, 2], w2: [2, 2] }))
      graph.input(name, "float32", shape);
    const h = e.matMul("x", "w1");
    graph.node("Det", [h], {}, { name: "middle/det", outputs: ["d"] });
    const y = e.mul(e.matMul("x", "w2"), "d");
    const feeds = ones({ x: [2, 2], w1: [2, 2], w2: [2, 2] });
    assert.throws(
      () => differentiate(graph.clone(), feeds, y, ["w1", "w2"]),
      /cannot train through node "middle\/det" \(operator Det\): the operator has no gradient\. Freeze the model up to this node: the parameters before it are w1$/,
    );
    // With those frozen, the same node is no obstacle.
    assert.deepEqual([...differentiate(graph, feeds, y, ["w2"]).keys()], ["w2"]);
  });

  it("refuses an operator of another domain by its full name", () => {
    const graph = new Graph();
    graph.input("x", "float32", [1, 4]);
    graph.input("w", "float32", [4]);
    graph.node("FastGelu", ["x", "w"], {}, { domain: "com.microsoft", name: "gelu", outputs: ["y"] });
    assert.throws(
      () => differentiate(graph, ones({ x: [1, 4], w: [4] }), "y", ["w"]),
      /node "gelu" \(operator com\.microsoft\.FastGelu\)/,
    );
  });

  it("names the attribute that a rule cannot deal with", () => {
    const graph = new Graph();
    const e = new GraphEmitter(graph);
    graph.input("w", "float32", [2, 3, 4]);
    const indices = e.constant("int64", [2, 1], [0, 1]);
    graph.node("GatherND", ["w", indices], { batch_dims: 1 }, { name: "pick", outputs: ["y"] });
    assert.throws(
      () => differentiate(graph, ones({ w: [2, 3, 4] }), "y", ["w"]),
      /node "pick" \(operator GatherND\): it has batch_dims/,
    );
  });

  it("gives no gradient to a parameter that does not reach the loss, nor through comparisons", () => {
    const graph = new Graph();
    const e = new GraphEmitter(graph);
    for (const name of ["x", "used", "unused", "compared"]) graph.input(name, "float32", [2]);
    e.mul("x", "unused");
    const y = e.where(e.greater("x", "compared"), e.mul("x", "used"), "x");
    const feeds = ones({ x: [2], used: [2], unused: [2], compared: [2] });
    const gradients = differentiate(graph, feeds, y, ["used", "unused", "compared"]);
    assert.deepEqual([...gradients.keys()], ["used"]);
  });

  it("lets a rule read what is computed from fixed shapes", () => {
    // As exporters write x[:, 1:]: the ends come from Shape.
    const graph = new Graph();
    const e = new GraphEmitter(graph);
    graph.input("x", "float32", [2, 3]);
    const y = e.op("Slice", ["x", e.ints([1]), e.slice(e.op("Shape", ["x"]), [1], [2], [0]), e.ints([1])]);
    const gradient = differentiate(graph, ones({ x: [2, 3] }), y, ["x"]).get("x")!;
    graph.output(gradient);
    const session = new StepSession(encodeGraphModel(graph));
    const result = session.run(ones({ x: [2, 3] }), [gradient]).get(gradient)!;
    assert.deepEqual([...(result.data as Float32Array)], [0, 1, 1, 0, 1, 1]);
    session.release();
  });

  it("sends the gradient of a Dropout through the mask it drew", () => {
    const graph = new Graph();
    const e = new GraphEmitter(graph);
    graph.input("x", "float32", [40]);
    const on = graph.initializer("on", tensorOf("bool", [], [1]));
    const y = e.op("Dropout", ["x", e.scalar(0.4, "float32"), on], { seed: 7 });
    const feeds = ones({ x: [40] });
    const gradient = differentiate(graph, feeds, y, ["x"]).get("x")!;
    graph.output(gradient);
    graph.output(y);
    const session = new StepSession(encodeGraphModel(graph));
    const results = session.run(feeds, [gradient, y]);
    session.release();
    const dropped = [...(results.get(y)!.data as Float32Array)];
    assert.ok(dropped.includes(0) && dropped.some((value) => value > 1.6));
    // x is all ones, so y itself is the factor each element was multiplied by.
    [...(results.get(gradient)!.data as Float32Array)].forEach((value, i) => {
      assert.ok(Math.abs(value - dropped[i]!) < 1e-6);
    });
  });
});
