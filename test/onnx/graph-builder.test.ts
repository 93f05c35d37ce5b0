import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeModel, floats, GraphBuilder } from "../../src/onnx/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { runModel } from "../support/run-model.js";
import { carriedTypes, floatTensor, identityModel, int64Tensor, slowModel } from "../support/test-models.js";

describe("GraphBuilder", () => {
  it("builds models that onnxruntime runs, with attributes of every kind", async () => {
    const graph = new GraphBuilder("g");
    const x = graph.input("x", "float32", ["n", 2]);
    const elu = graph.node("Elu", [x], { alpha: floats(0.5) }); // FLOAT
    const transposed = graph.node("Transpose", [elu], { perm: [1, 0] }); // INTS
    const constant = graph.node("Constant", [], { value: floatTensor([1], 10) }); // TENSOR
    const list = graph.node("Constant", [], { value_floats: floats([1, 2]) }); // FLOATS
    const column = graph.node("Unsqueeze", [list, graph.initializer("one", int64Tensor([1], 1))]);
    const sum = graph.node("Sum", [transposed, constant, column]);
    graph.node("Cast", [sum], { to: 11n }, { outputs: ["y"] }); // INT
    graph.node("Constant", [], { value_strings: ["a", "ü"] }, { outputs: ["texts"] }); // STRINGS
    graph.node("Constant", [], { value_string: "text" }, { outputs: ["text"] }); // STRING
    graph.output("y", "float64", [2, "n"]);
    graph.output("texts", "string", [2]);
    graph.output("text", "string", []);
    const { y, texts, text } = await runModel(encodeModel(graph), { x: floatTensor([1, 2], 3, 4) });
    assert.deepEqual(y, { dtype: "float64", shape: [2, 1], data: Float64Array.of(14, 16) });
    assert.deepEqual(texts?.data, ["a", "ü"]);
    assert.deepEqual(text, { dtype: "string", shape: [], data: ["text"] });
  });

  it("builds subgraphs that see the values around them", async () => {
    const graph = new GraphBuilder("g");
    const x = graph.input("x", "float32", []);
    const condition = graph.node("Less", [x, graph.initializer("zero", floatTensor([], 0))]);
    const then = graph.subgraph("then");
    then.output(then.node("Neg", [x]), "float32", []);
    const otherwise = graph.subgraph("else");
    otherwise.output(otherwise.node("Identity", [x]), "float32", []);
    graph.node("If", [condition], { then_branch: then, else_branch: otherwise }, { outputs: ["y"] });
    graph.output("y", "float32", []);
    const model = encodeModel(graph);
    assert.deepEqual((await runModel(model, { x: floatTensor([], -3) }))["y"]?.data, Float32Array.of(3));
    assert.deepEqual((await runModel(model, { x: floatTensor([], 4) }))["y"]?.data, Float32Array.of(4));
  });

  it("builds functions", async () => {
    const body = new GraphBuilder("Twice");
    body.node("Add", [body.input("a", "float32", undefined), "a"], {}, { outputs: ["b"] });
    body.output("b", "float32", undefined);
    const graph = new GraphBuilder("g");
    graph.node("Twice", [graph.input("x", "float32", ["n"])], {}, { domain: "ours", outputs: ["y"] });
    graph.output("y", "float32", ["n"]);
    const model = encodeModel(graph, {
      operatorSets: { "": 21, ours: 1 },
      functions: [{ domain: "ours", body }],
    });
    assert.deepEqual((await runModel(model, { x: floatTensor([1], 4) }))["y"]?.data, Float32Array.of(8));
  });

  it("gives each node's output a name of its own", () => {
    const graph = new GraphBuilder("g");
    const x = graph.input("Relu_2", "float32", []);
    assert.deepEqual(
      [graph.node("Relu", [x]), graph.node("Relu", [x]), graph.node("Tanh", [x])],
      ["Relu_1", "Relu_3", "Tanh_1"],
    );
    assert.equal(graph.subgraph("body").node("Relu", [x]), "body/Relu_1");
  });

  it("refuses a second value of a name, and a tensor whose data is not of its shape", async () => {
    const graph = new GraphBuilder("g");
    const x = graph.input("x", "float32", []);
    await rejectsWith("INTERNAL", /two values named "x"/, () => graph.node("Relu", [x], {}, { outputs: ["x"] }));
    await rejectsWith("INTERNAL", /two values named "x"/, () => graph.subgraph("s").input("x", "float32", []));
    await rejectsWith("INTERNAL", /tensor "w" of shape \[2,2\] has 3 elements/, () =>
      graph.initializer("w", floatTensor([2, 2], 1, 2, 3)),
    );
  });

  const samples: Partial<Record<Tensor["dtype"], Tensor["data"]>> = {
    float64: Float64Array.of(1e300, -0),
    float16: Uint16Array.of(0x3c00, 0x7e00),
    int8: Int8Array.of(-128, 127),
    int16: Int16Array.of(-32768, 32767),
    int32: Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
    int64: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
    uint8: Uint8Array.of(0, 255),
    uint16: Uint16Array.of(0, 65535),
    uint32: Uint32Array.of(0, 2 ** 32 - 1),
    uint64: BigUint64Array.of(0n, 2n ** 64n - 1n),
    bool: Uint8Array.of(0, 1),
    string: ["", "日本"],
    float32: Float32Array.of(0.1, Infinity),
  };
  for (const dtype of carriedTypes) {
    it(`stores and runs ${dtype} exactly`, async () => {
      const tensor: Tensor = { dtype, shape: [2], data: samples[dtype]! };
      assert.deepEqual((await runModel(identityModel(dtype, ["n"]), { x: tensor }))["y"], tensor);
      const graph = new GraphBuilder("constant");
      graph.node("Identity", [graph.initializer("stored", tensor)], {}, { outputs: ["y"] });
      graph.output("y", dtype, [2]);
      assert.deepEqual((await runModel(encodeModel(graph), {}))["y"], tensor);
    });
  }

  it("makes the slow model's length an input", async () => {
    const feeds = { x: floatTensor([2], 1, 2), iterations: int64Tensor([], 1) };
    assert.deepEqual((await runModel(slowModel("input"), feeds))["y"], floatTensor([2], 1, 2));
  });
});
