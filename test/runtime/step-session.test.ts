import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import type { NumericTensor } from "../../src/tensor/index.js";

/** y = x·2. */
function doubling(): Uint8Array {
  const graph = new Graph();
  graph.input("x", "float32", ["N"]);
  graph.node("Add", ["x", "x"], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["N"]);
  return encodeGraphModel(graph);
}
const vector = (data: Float32Array): NumericTensor => ({ dtype: "float32", shape: [data.length], data });

describe("a step session", () => {
  it("reads feeds and writes fetches where they lie, run after run", () => {
    const session = new StepSession(doubling());
    const [x, y] = [Float32Array.of(1, 2), new Float32Array(2)];
    const step = session.bind(new Map([["x", vector(x)]]), new Map([["y", vector(y)]]));
    step();
    assert.deepEqual([...y], [2, 4]);
    x[1] = 10;
    step();
    assert.deepEqual([...y], [2, 20]);
    session.release();
  });

  it("works over WebAssembly memory, without copies", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const [x, y] = [new Float32Array(memory.buffer, 64, 3), new Float32Array(memory.buffer, 128, 3)];
    x.set([1, 2, 3]);
    const session = new StepSession(doubling());
    session.bind(new Map([["x", vector(x)]]), new Map([["y", vector(y)]]))();
    assert.deepEqual([...new Float32Array(memory.buffer, 128, 3)], [2, 4, 6]);
    session.release();
  });

  it("runs once for new tensors, of strings too", () => {
    const graph = new Graph();
    graph.input("words", "string", [2]);
    graph.node("Identity", ["words"], {}, { outputs: ["same"] });
    graph.output("same", "string", [2]);
    const session = new StepSession(encodeGraphModel(graph));
    const words = { dtype: "string", shape: [2], data: ["größe", ""] } as const;
    assert.deepEqual(session.run(new Map([["words", words]]), ["same"]).get("same"), words);
    session.release();
  });

  it("refuses a graph with the runtime's reason, and a buffer of the wrong size by name", () => {
    const graph = new Graph();
    graph.node("NoSuchOperator", [], {}, { outputs: ["y"] });
    graph.output("y", "float32", [1]);
    assert.throws(() => new StepSession(encodeGraphModel(graph)), /onnxruntime refuses the graph: .*NoSuchOperator/s);
    const session = new StepSession(doubling());
    const feeds = new Map([["x", vector(Float32Array.of(1, 2))]]);
    const step = session.bind(feeds, new Map([["y", vector(new Float32Array(3))]]));
    assert.throws(step, /could not run the graph/);
    session.release();
  });
});
