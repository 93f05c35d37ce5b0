import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, floats, Graph, type GraphAttribute, raiseOperatorSet } from "../../src/onnx/index.js";
import { StepSession } from "../../src/runtime/index.js";
import type { Tensor } from "../../src/tensor/index.js";

const shape = [2, 3, 4, 6];
const x: Tensor = { dtype: "float32", shape, data: Float32Array.from({ length: 144 }, (_, i) => Math.sin(i * 1.7)) };

interface AdapterCase {
  readonly from: number;
  readonly opType: string;
  readonly attributes?: Record<string, GraphAttribute>;
  readonly more?: Readonly<Record<string, Tensor>>;
  readonly outputs?: number;
}
const vector = (...values: number[]): Tensor => ({
  dtype: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});
const statistics = { s: vector(1, 2, 3), b: vector(0, 1, 2), m: vector(0.1, 0.2, 0.3), v: vector(1, 2, 3) };

const cases: readonly AdapterCase[] = [
  { from: 11, opType: "Unsqueeze", attributes: { axes: [0, 3] } },
  { from: 12, opType: "ReduceSum", attributes: { axes: [1, -1], keepdims: 0 } },
  { from: 12, opType: "ReduceSum" },
  { from: 13, opType: "ReduceMean", attributes: { axes: [2] } },
  { from: 17, opType: "ReduceL2", attributes: { axes: [0], keepdims: 0 } },
  { from: 9, opType: "Softmax", attributes: { axis: 1 } },
  { from: 11, opType: "Softmax" },
  { from: 11, opType: "LogSoftmax", attributes: { axis: -1 } },
  { from: 12, opType: "Hardmax", attributes: { axis: 2 } },
  { from: 9, opType: "Slice", attributes: { starts: [1, -3], ends: [2, Number.MAX_SAFE_INTEGER], axes: [0, 3] } },
  { from: 8, opType: "Slice", attributes: { starts: [0, 1], ends: [1, 3] } },
  { from: 11, opType: "Split", attributes: { axis: 3, split: [2, 4] }, outputs: 2 },
  { from: 13, opType: "Split", attributes: { axis: 3 }, outputs: 3 },
  { from: 9, opType: "Clip", attributes: { min: floats(-0.5), max: floats(0.25) } },
  { from: 7, opType: "Clip", attributes: { max: floats(0.25) } },
  { from: 10, opType: "Pad", attributes: { pads: [0, 0, 1, 0, 0, 0, 0, 2], value: floats(0.5) } },
  { from: 10, opType: "Pad", attributes: { pads: [0, 0, 1, 0, 0, 0, 0, 2], mode: "reflect" } },
  { from: 9, opType: "TopK", attributes: { k: 2, axis: 3 }, outputs: 2 },
  { from: 9, opType: "Dropout", attributes: { ratio: floats(0.5) } },
  { from: 7, opType: "BatchNormalization", attributes: { spatial: 1, momentum: floats(0.8) }, more: statistics },
  { from: 9, opType: "BatchNormalization", attributes: { epsilon: floats(1e-3) }, more: statistics },
  { from: 8, opType: "Upsample", attributes: { scales: floats([1, 1, 2, 3]), mode: "nearest" } },
  { from: 9, opType: "Upsample", attributes: { mode: "linear" }, more: { scales: vector(1, 1, 2, 2) } },
  { from: 10, opType: "Resize", attributes: { mode: "nearest" }, more: { scales: vector(1, 1, 0.5, 2) } },
  { from: 10, opType: "Resize", attributes: { mode: "linear" }, more: { scales: vector(1, 1, 2, 2) } },
  {
    from: 18,
    opType: "GroupNormalization",
    attributes: { num_groups: 3 },
    more: { s: vector(1, 2, 3), b: vector(0, 1, 2) },
  },
  {
    from: 10,
    opType: "Scatter",
    attributes: { axis: 0 },
    more: {
      indices: { dtype: "int64", shape: [1, 1, 1, 2], data: BigInt64Array.of(1n, 0n) },
      updates: { dtype: "float32", shape: [1, 1, 1, 2], data: Float32Array.of(7, 8) },
    },
  },
];

function build({ opType, attributes, more = {}, outputs = 1 }: AdapterCase): Graph {
  const graph = new Graph();
  graph.input("x", "float32", shape);
  for (const [name, tensor] of Object.entries(more)) graph.initializer(name, tensor);
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  graph.node(opType, ["x", ...Object.keys(more)], attributes, { outputs: names });
  for (const name of names) graph.output(name);
  return graph;
}

function run(graph: Graph, operatorSet: number): Tensor[] {
  const session = new StepSession(encodeGraphModel(graph, { operatorSets: new Map([["", operatorSet]]) }));
  try {
    const names = graph.outputs.map(({ name }) => name);
    return [...session.run(new Map([["x", x]]), names).values()];
  } finally {
    session.release();
  }
}

describe("raising a graph to the common operator set", () => {
  for (const adapterCase of cases) {
    const { from, opType, attributes = {} } = adapterCase;
    it(`${opType} from ${from} ${JSON.stringify(attributes)} gives what it gave`, () => {
      const expected = run(build(adapterCase), from);
      const graph = build(adapterCase);
      const now = raiseOperatorSet(graph, from, () => shape);
      assert.equal(now, 21);
      const actual = run(graph, now);
      expected.forEach((tensor, i) => {
        assert.deepEqual(actual[i]!.shape, tensor.shape);
        tensor.data.forEach((value, element) => {
          const difference = Math.abs(Number(value) - Number(actual[i]!.data[element]));
          assert.ok(difference < 1e-6, `output ${i}[${element}]`);
        });
      });
    });
  }

  it("squeezes as before", () => {
    const graph = new Graph();
    graph.input("x", "float32", shape);
    const [wide] = graph.node("Unsqueeze", ["x"], { axes: [1] });
    graph.node("Squeeze", [wide!], { axes: [1] }, { outputs: ["y"] });
    graph.output("y");
    assert.equal(
      raiseOperatorSet(graph, 11, () => shape),
      21,
    );
    assert.deepEqual(run(graph, 21)[0]!.data, x.data);
  });

  it("raises the bodies of nodes too", () => {
    const graph = new Graph();
    const body = new Graph(graph);
    body.node("ReduceSum", ["x"], { axes: [0] }, { outputs: ["inner"] });
    graph.node("If", ["c"], { then_branch: body }, { outputs: ["y"] });
    raiseOperatorSet(graph, 11, () => shape);
    assert.equal(body.nodes[0]!.inputs.length, 2);
  });

  it("leaves a later set alone, and refuses one that onnxruntime does not run", () => {
    const graph = new Graph();
    assert.equal(
      raiseOperatorSet(graph, 23, () => shape),
      23,
    );
    assert.throws(() => raiseOperatorSet(graph, 6, () => shape), /operator set 6; onnxruntime runs 7 and later/);
  });
});
