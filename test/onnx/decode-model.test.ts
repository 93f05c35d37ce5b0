import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { decodeModel } from "../../src/onnx/decode-model.js";
import { encodeModel, floats, GraphBuilder } from "../../src/onnx/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { floatTensor, identityModel } from "../support/test-models.js";

const refused = (message: RegExp, bytes: Iterable<number>, limits = {}) =>
  rejectsWith("INVALID_ARGUMENT", message, () => decodeModel(Uint8Array.from(bytes), limits));

/** One length-delimited field. */
const field = (number: number, content: readonly number[]): number[] => {
  const length: number[] = [];
  let left = content.length;
  for (; left > 0x7f; left >>= 7) length.push((left & 0x7f) | 0x80);
  return [number * 8 + 2, ...length, left, ...content];
};

describe("decodeModel", () => {
  it("decodes as the generated decoder does, small weights included", () => {
    const bytes = identityModel();
    assert.deepEqual(decodeModel(bytes), ModelProto.decode(bytes));
  });

  it("leaves out large weights wherever they are, and nothing else", () => {
    const large = floatTensor([64], ...new Array<number>(64).fill(1));
    const graph = new GraphBuilder("g");
    const x = graph.input("x", "float32", [64]);
    const body = graph.subgraph("body");
    body.node("Constant", [], { value: large }, { outputs: ["inner"] });
    body.output("inner", "float32", [64]);
    graph.initializer("large", large);
    graph.initializer("small", floatTensor([1], 5));
    const chosen = graph.node("If", [graph.input("condition", "bool", [])], { then_branch: body, else_branch: body });
    graph.node(
      "Sum",
      [x, chosen, "large", "small"],
      { floats: floats(new Array<number>(64).fill(2)) },
      { outputs: ["y"] },
    );
    graph.output("y", "float32", [64]);
    const bytes = encodeModel(graph);

    const expected = ModelProto.decode(bytes);
    expected.graph!.initializer[0]!.rawData = new Uint8Array(0);
    for (const { g } of expected.graph!.node[0]!.attribute) g!.node[0]!.attribute[0]!.t!.rawData = new Uint8Array(0);
    assert.deepEqual(decodeModel(bytes, { keepWeightBytes: 128 }), expected);
  });

  it("leaves out large weights that old files keep as lists of numbers", () => {
    const model = ModelProto.decode(identityModel());
    model.graph!.initializer.push({
      ...ModelProto.decode(identityModel()).graph!.initializer[0]!,
      dims: [1000n],
      dataType: 1,
      name: "old",
      floatData: new Array<number>(1000).fill(0.5),
      int32Data: [],
      int64Data: [],
      stringData: [],
      doubleData: [],
      uint64Data: [],
      externalData: [],
      metadataProps: [],
      segment: undefined,
      rawData: new Uint8Array(0),
      docString: "",
      dataLocation: 0,
    });
    const bytes = ModelProto.encode(model).finish();
    const [kept] = decodeModel(bytes).graph!.initializer;
    assert.equal(kept?.floatData.length, 1000);
    const [left] = decodeModel(bytes, { keepWeightBytes: 3999 }).graph!.initializer;
    assert.deepEqual([left?.name, left?.dims, left?.floatData], ["old", [1000n], []]);
  });

  it("refuses nesting that would exhaust a stack", async () => {
    // Graphs within attributes of nodes of graphs, innermost first.
    let graph: number[] = [];
    for (let depth = 0; depth < 500; depth += 1) graph = field(1, field(5, field(6, graph)));
    await refused(/nested deeper than 90/, field(7, graph));
    // Types within types.
    let type: number[] = [];
    for (let depth = 0; depth < 500; depth += 1) type = field(4, field(1, type));
    await refused(/nested deeper than 90/, field(7, field(11, field(2, type))));
  });

  it("decodes whatever the nesting limit lets through", () => {
    let graph: number[] = [];
    for (let depth = 0; depth < 29; depth += 1) graph = field(1, field(5, field(6, graph)));
    decodeModel(Uint8Array.from(field(7, graph)));
  });

  it("refuses a graph, and any other single message, given twice: readers would differ in which one they take", async () => {
    await refused(/field 7 of a ModelProto is given twice/, [...field(7, []), ...field(7, [])]);
    const type = field(2, field(1, []));
    await refused(/field 2 of a ValueInfoProto is given twice/, field(7, field(11, [...type, ...type])));
  });

  it("refuses fields that end beyond their message, and a zero tag, where the generated decoder goes on", async () => {
    // The inner graph claims one byte more than the model has for it.
    await refused(/field 7 runs past the end/, [0x3a, 3, 0x12, 0]);
    // The node claims four bytes of its graph's two.
    await refused(/field 1 runs past the end/, [...field(7, [0x0a, 4]), ...field(2, [65, 65])]);
    await refused(/no field has the number 0/, [0, 0]);
    await refused(/wire type 3/, [0x0b, 0x0c]);
    await refused(/more than ten bytes/, [8, ...new Array<number>(10).fill(0xff), 1]);
    await refused(/ends within a number/, [8, 0xff]);
  });

  it("bounds what a small file can make us allocate", async () => {
    const graph = field(7, new Array<number[]>(100).fill(field(1, [])).flat());
    await refused(/more than 50 parts/, graph, { maxMessages: 50 });
    await refused(/more than 50 elements/, graph, { maxElements: 50 });
    const ints = field(7, field(1, field(5, field(8, new Array<number>(100).fill(1)))));
    await refused(/more than 50 elements/, ints, { maxElements: 50 });
  });
});
