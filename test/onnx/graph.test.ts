import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import {
  capturesOf,
  decodeGraphModel,
  encodeGraphModel,
  floats,
  Graph,
  type GraphAttribute,
} from "../../src/onnx/index.js";
import type { ElementType, NumericData, Tensor } from "../../src/tensor/index.js";

const small: readonly (readonly [ElementType, NumericData])[] = [
  ["float32", Float32Array.of(1.5, -2)],
  ["float64", Float64Array.of(1.5, -2)],
  ["int8", Int8Array.of(1, -2)],
  ["int32", Int32Array.of(1, -2)],
  ["int64", BigInt64Array.of(1n, -2n)],
  ["uint64", BigUint64Array.of(1n, 2n ** 63n)],
  ["bool", Uint8Array.of(1, 0)],
  ["float16", Uint16Array.of(0x3c00, 0xc000)],
];

describe("a graph that can be changed", () => {
  it("comes back from the file as it was written", () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 3, undefined]);
    for (const [dtype, data] of small) graph.initializer(dtype, { dtype, shape: [2], data });
    graph.initializer("words", { dtype: "string", shape: [2], data: ["größe", ""] });
    const body = new Graph(graph);
    body.output("x");
    const attributes: Record<string, GraphAttribute> = {
      int: -3,
      ints: [1, 2],
      float: floats(0.5),
      floats: floats([1, 2]),
      text: "abc",
      texts: ["a", "b"],
      tensor: { dtype: "float32", shape: [], data: Float32Array.of(7) },
      body,
    };
    graph.node("Custom", ["x", "", "float32"], attributes, { domain: "mine", name: "first", outputs: ["y", "", "z"] });
    graph.output("y", "float32", ["N"]);
    graph.output("z");
    const options = {
      operatorSets: new Map([
        ["", 17],
        ["mine", 1],
      ]),
      metadata: new Map([["key", "value"]]),
    };
    const model = decodeGraphModel(encodeGraphModel(graph, options));
    assert.deepEqual(model.operatorSets, options.operatorSets);
    assert.deepEqual(model.metadata, options.metadata);
    assert.deepEqual(model.graph.inputs, graph.inputs);
    assert.deepEqual(model.graph.outputs, graph.outputs);
    assert.deepEqual([...model.graph.initializers], [...graph.initializers]);
    const [node] = model.graph.nodes;
    const read = Object.fromEntries(node!.attributes);
    assert.deepEqual({ ...read, body: undefined }, { ...attributes, body: undefined });
    assert.deepEqual((read["body"] as Graph).outputs, body.outputs);
    assert.deepEqual(
      { ...node, attributes: undefined },
      {
        opType: "Custom",
        domain: "mine",
        name: "first",
        inputs: ["x", "", "float32"],
        outputs: ["y", "", "z"],
        attributes: undefined,
      },
    );
  });

  it("reads weights from whichever field of a tensor holds them", () => {
    const tensor = (fields: object) => ({ name: "w", dims: [2n], ...fields });
    const model = ModelProto.fromPartial({
      graph: {
        initializer: [
          tensor({ name: "f", dataType: 1, floatData: [1.5, -2] }),
          tensor({ name: "d", dataType: 11, doubleData: [1.5, -2] }),
          tensor({ name: "l", dataType: 7, int64Data: [1n, -2n] }),
          tensor({ name: "i", dataType: 3, int32Data: [1, -2] }),
          tensor({ name: "h", dataType: 10, int32Data: [0x3c00, 0xc000] }),
          tensor({ name: "u", dataType: 12, uint64Data: [1n, 2n] }),
        ],
      },
    });
    const { initializers } = decodeGraphModel(ModelProto.encode(model).finish()).graph;
    assert.deepEqual([...initializers.get("f")!.data], [1.5, -2]);
    assert.deepEqual([...initializers.get("d")!.data], [1.5, -2]);
    assert.deepEqual([...initializers.get("l")!.data], [1n, -2n]);
    assert.deepEqual([...initializers.get("i")!.data], [1, -2]);
    assert.deepEqual([...initializers.get("h")!.data], [0x3c00, 0xc000]);
    assert.deepEqual([...initializers.get("u")!.data], [1, 2]);
  });

  it("asks for weights that lie beside the file", () => {
    const model = ModelProto.fromPartial({
      graph: {
        initializer: [
          { name: "w", dims: [2n], dataType: 1, dataLocation: 1, externalData: [{ key: "location", value: "w.bin" }] },
        ],
      },
    });
    const file = ModelProto.encode(model).finish();
    assert.throws(() => decodeGraphModel(file), /tensor "w" is kept outside the model file/);
    const asked: string[] = [];
    const { graph } = decodeGraphModel(file, (entries) => {
      asked.push(entries.get("location")!);
      return new Uint8Array(Float32Array.of(3, 4).buffer);
    });
    assert.deepEqual(asked, ["w.bin"]);
    assert.deepEqual([...graph.initializers.get("w")!.data], [3, 4]);
  });

  it("refuses data that do not fit their shape, and functions of the model's own", () => {
    const refused = (graph: object, message: RegExp) =>
      assert.throws(() => decodeGraphModel(ModelProto.encode(ModelProto.fromPartial(graph)).finish()), message);
    refused(
      { graph: { initializer: [{ name: "w", dims: [3n], dataType: 1, floatData: [1] }] } },
      /tensor "w" of shape \[3\] holds 1 elements/,
    );
    refused(
      { graph: { initializer: [{ name: "w", dims: [1n], dataType: 1, rawData: Uint8Array.of(1, 2, 3) }] } },
      /tensor "w" has 3 bytes of float32/,
    );
    refused({ graph: {}, functions: [{ name: "Swish" }] }, /functions of its own \(Swish\)/);
  });

  it("reads 2^63 - 1, which exporters write for the end, as a number that is still beyond every size", () => {
    const end = 2n ** 63n - 1n;
    const model = ModelProto.fromPartial({
      graph: { node: [{ opType: "Slice", output: ["y"], attribute: [{ name: "ends", type: 7, ints: [end] }] }] },
    });
    const { graph } = decodeGraphModel(ModelProto.encode(model).finish());
    assert.deepEqual(graph.nodes[0]!.attributes.get("ends"), [Number.MAX_SAFE_INTEGER]);
    encodeGraphModel(graph);
  });

  it("gives fresh names that no graph within or around has", () => {
    const graph = new Graph();
    graph.input("Add__1", "float32", []);
    const body = new Graph(graph);
    assert.equal(body.node("Add", ["Add__1", "Add__1"])[0], "Add__2");
    assert.equal(graph.node("Add", ["Add__1", "Add__1"])[0], "Add__3");
  });

  it("clones so that either can be changed without the other", () => {
    const graph = new Graph();
    const weights: Tensor = { dtype: "float32", shape: [1], data: Float32Array.of(1) };
    graph.initializer("w", weights);
    const body = new Graph(graph);
    body.node("Neg", ["w"], {}, { outputs: ["inner"] });
    graph.node("Loop", ["w"], { body }, { outputs: ["y"] });
    const copy = graph.clone();
    copy.nodes[0]!.inputs[0] = "other";
    (copy.nodes[0]!.attributes.get("body") as Graph).nodes.length = 0;
    copy.initializers.delete("w");
    assert.deepEqual(graph.nodes[0]!.inputs, ["w"]);
    assert.equal(body.nodes.length, 1);
    assert.ok(graph.initializers.has("w"));
  });

  it("knows what a body reads from around it, through bodies within", () => {
    const graph = new Graph();
    const outer = new Graph(graph);
    outer.input("own", "float32", []);
    outer.initializer("constant", { dtype: "float32", shape: [], data: Float32Array.of(1) });
    const inner = new Graph(outer);
    inner.node("Add", ["own", "far"], {}, { outputs: ["sum"] });
    inner.output("sum");
    outer.node("If", ["condition"], { then_branch: inner }, { outputs: ["result"] });
    outer.node("Mul", ["result", "constant"], {}, { outputs: ["scaled"] });
    outer.output("scaled");
    outer.output("passed");
    graph.node("Loop", [], { body: outer }, { outputs: ["y"] });
    assert.deepEqual(capturesOf(graph.nodes[0]!), ["condition", "far", "passed"]);
  });
});
