import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ModelProto, type TypeProto } from "../../src/gen/onnx/onnx.js";
import { buildModel, tensorType } from "../../src/onnx/graph-builder.js";
import { describeOrtModel, encodeModel, GraphBuilder, type ModelDescription, readModel } from "../../src/onnx/index.js";
import type { ElementType } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { carriedTypes, floatTensor, identityModel, slowModel, zipMapModel } from "../support/test-models.js";

const folder = mkdtempSync(join(tmpdir(), "onnxd-read-"));
after(() => rmSync(folder, { recursive: true }));

function write(bytes: Uint8Array, name = "model.onnx"): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function describeModel(bytes: Uint8Array): Promise<ModelDescription> {
  const read = await readModel(write(bytes));
  assert.equal(read.format, "onnx");
  assert.equal(read.bytes, undefined);
  return read.description;
}

describe("readModel", () => {
  it("tells inputs, outputs, metadata, producer, operator sets and size", async () => {
    const graph = new GraphBuilder("g");
    graph.node(
      "Add",
      [graph.input("x", "float32", ["batch", 3, undefined]), graph.initializer("one", floatTensor([], 1))],
      {},
      { outputs: ["y"] },
    );
    graph.output("y", "float32", ["batch", 3, undefined]);
    const bytes = encodeModel(graph, {
      metadata: { author: "someone", __proto__key: "kept" },
      producer: { name: "trainer", version: "1.2" },
    });
    const { batching, ...description } = await describeModel(bytes);
    assert.equal(typeof batching.reason, "string");
    assert.deepEqual(description, {
      inputs: [{ name: "x", dtype: "float32", shape: ["batch", 3, undefined] }],
      outputs: [{ name: "y", dtype: "float32", shape: ["batch", 3, undefined] }],
      metadata: new Map([
        ["author", "someone"],
        ["__proto__key", "kept"],
      ]),
      producer: "trainer 1.2",
      operatorSets: [{ domain: "", version: 21 }],
      rewrites: [],
      classLabels: new Map(),
      refusesEmptyTensors: undefined,
      sizeBytes: bytes.length,
    });
  });

  for (const dtype of carriedTypes) {
    it(`knows tensors of ${dtype}`, async () => {
      const { inputs, outputs } = await describeModel(identityModel(dtype, [2]));
      assert.deepEqual(inputs, [{ name: "x", dtype, shape: [2] }]);
      assert.deepEqual(outputs, [{ name: "y", dtype, shape: [2] }]);
    });
  }

  it("leaves initializers out of the inputs, as old files list them", async () => {
    const graph = new GraphBuilder("g");
    const x = graph.input("x", "float32", [1]);
    graph.initializer("w", floatTensor([1], 2));
    graph.toProto().input.push({ name: "w", type: tensorType("float32", [1]), docString: "", metadataProps: [] });
    graph.node("Add", [x, "w"], {}, { outputs: ["y"] });
    graph.output("y", "float32", [1]);
    assert.deepEqual(
      (await describeModel(encodeModel(graph, { irVersion: 3 }))).inputs.map(({ name }) => name),
      ["x"],
    );
  });

  it("tells a scalar from a value of any rank", async () => {
    assert.deepEqual((await describeModel(identityModel("float32", []))).inputs[0]?.shape, []);
    const model = ModelProto.decode(identityModel("float32", []));
    model.graph!.input[0]!.type = tensorType("float32", undefined);
    assert.equal((await describeModel(ModelProto.encode(model).finish())).inputs[0]?.shape, undefined);
  });

  it("reads a size of -1, and an empty name, as an open dimension", async () => {
    assert.deepEqual((await describeModel(identityModel("float32", [-1, ""]))).inputs[0]?.shape, [
      undefined,
      undefined,
    ]);
  });

  for (const dtype of [
    "bfloat16",
    "complex64",
    "complex128",
    "float8e4m3fn",
    "float8e5m2",
    "int4",
    "uint4",
  ] as ElementType[]) {
    it(`refuses tensors of ${dtype}, naming the tensor`, async () => {
      const path = write(identityModel(dtype));
      await rejectsWith(
        "INVALID_ARGUMENT",
        new RegExp(`input "x" has elements of ${dtype}, which .* does not carry`),
        () => readModel(path),
      );
    });
  }

  it("refuses an element type that is not in the table, by its number", async () => {
    const model = ModelProto.decode(identityModel());
    const type = model.graph!.output[0]!.type!.value!;
    assert.equal(type.$case, "tensorType");
    if (type.$case === "tensorType") type.value.elemType = 23;
    const path = write(ModelProto.encode(model).finish());
    await rejectsWith("INVALID_ARGUMENT", /output "y" has elements of ONNX type 23/, () => readModel(path));
  });

  const nonTensors: Record<string, [TypeProto["value"], RegExp]> = {
    sequence: [
      { $case: "sequenceType", value: { elemType: tensorType("float32", []) } },
      /input "x" is a sequence\(tensor\(float32\)\); only tensors can be served/,
    ],
    map: [
      { $case: "mapType", value: { keyType: 7, valueType: tensorType("float32", []) } },
      /input "x" is a map\(int64, tensor\(float32\)\)/,
    ],
    optional: [
      { $case: "optionalType", value: { elemType: tensorType("int8", []) } },
      /input "x" is an optional\(tensor\(int8\)\)/,
    ],
    "sparse tensor": [{ $case: "sparseTensorType", value: { elemType: 1, shape: undefined } }, /is a sparse tensor/],
    "opaque value": [{ $case: "opaqueType", value: { domain: "d", name: "n" } }, /is an opaque value/],
    "value without a type": [undefined, /is a value of no declared type/],
  };
  for (const [what, [value, message]] of Object.entries(nonTensors)) {
    it(`refuses an input: ${what}`, async () => {
      const graph = new GraphBuilder("g");
      graph.node("Identity", [graph.inputOfType("x", { value, denotation: "" })], {}, { outputs: ["y"] });
      graph.output("y", "float32", []);
      const path = write(encodeModel(graph));
      await rejectsWith("INVALID_ARGUMENT", message, () => readModel(path));
    });
  }

  it("refuses names given twice, none at all, and __proto__", async () => {
    const withInputs = (...names: string[]) => {
      const graph = new GraphBuilder("g");
      for (const name of names) {
        graph.toProto().input.push({ name, type: tensorType("float32", []), docString: "", metadataProps: [] });
      }
      graph.node("Identity", ["x"], {}, { outputs: ["y"] });
      graph.output("y", "float32", []);
      return write(encodeModel(graph));
    };
    await rejectsWith("INVALID_ARGUMENT", /two inputs named "x"/, () => readModel(withInputs("x", "x")));
    await rejectsWith("INVALID_ARGUMENT", /an input of the graph has no name/, () => readModel(withInputs("")));
    await rejectsWith("INVALID_ARGUMENT", /named "__proto__"/, () => readModel(withInputs("__proto__")));
    const graph = new GraphBuilder("g");
    graph.node("Identity", [graph.input("x", "float32", [])], {}, { outputs: ["y"] });
    graph.output("y", "float32", []);
    graph.output("y", "float32", []);
    await rejectsWith("INVALID_ARGUMENT", /two outputs named "y"/, () => readModel(write(encodeModel(graph))));
  });

  it("refuses what is no model: text, nothing, a graph without outputs, a folder, a missing file", async () => {
    await rejectsWith("INVALID_ARGUMENT", /not an ONNX model/, () => readModel(write(Buffer.from("{}\n"))));
    await rejectsWith("INVALID_ARGUMENT", /holds no graph/, () => readModel(write(new Uint8Array(0))));
    await rejectsWith("INVALID_ARGUMENT", /has no outputs/, () => readModel(write(encodeModel(new GraphBuilder("g")))));
    await rejectsWith("INVALID_ARGUMENT", /is not a file/, () => readModel(folder));
    await rejectsWith("NOT_FOUND", /cannot be opened/, () => readModel(join(folder, "none.onnx")));
  });

  it("refuses every truncation of a model", async () => {
    const graph = new GraphBuilder("g");
    graph.node("Identity", [graph.input("x", "float32", ["n"])], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["n"]);
    const model = buildModel(graph);
    // The graph last, so that no prefix of the file holds it whole.
    const head = ModelProto.encode({ ...model, graph: undefined }).finish();
    const whole = ModelProto.encode({ ...ModelProto.create(), graph: model.graph }).finish();
    const bytes = Buffer.concat([head, whole]);
    await readModel(write(bytes));
    for (let length = 0; length < bytes.length; length += 1) {
      const path = write(bytes.subarray(0, length));
      await rejectsWith("INVALID_ARGUMENT", /not an ONNX model/, () => readModel(path));
    }
  });

  it("refuses a file larger than the limit, with both sizes", async () => {
    const path = write(identityModel());
    await rejectsWith("INVALID_ARGUMENT", /has \d+ bytes; at most 16 are read/, () =>
      readModel(path, { maxFileBytes: 16 }),
    );
  });

  it("lists the operators, those of subgraphs and of other domains too", async () => {
    const operatorsOf = async (bytes: Uint8Array) => {
      const read = await readModel(write(bytes));
      return read.format === "onnx" ? [...read.operators].sort() : undefined;
    };
    assert.deepEqual(await operatorsOf(slowModel(1)), ["Add", "Identity", "Loop", "MatMul", "Mul", "ReduceSum"]);
    assert.deepEqual(await operatorsOf(zipMapModel({ labels: [0, 1] })), [
      "ai.onnx.ml:LinearClassifier",
      "ai.onnx.ml:ZipMap",
    ]);
  });

  it("leaves a model in onnxruntime's own format to the session, when it is one", async () => {
    const bytes = Buffer.from("\x10\0\0\0ORTM rest", "latin1");
    assert.deepEqual(await readModel(write(bytes, "model.ort")), { format: "ort", sizeBytes: bytes.length });
    const wrong = write(identityModel(), "wrong.ort");
    await rejectsWith("INVALID_ARGUMENT", /identifier ORTM is missing/, () => readModel(wrong));
  });
});

describe("describeOrtModel", () => {
  it("takes inputs and outputs from the session", () => {
    const description = describeOrtModel(
      7,
      [{ name: "x", isTensor: true, type: "float32", shape: ["batch", 4, "", -1] }],
      [{ name: "y", isTensor: true, type: "int64", shape: [] }],
    );
    assert.deepEqual(description.inputs, [{ name: "x", dtype: "float32", shape: ["batch", 4, undefined, undefined] }]);
    assert.deepEqual(description.outputs, [{ name: "y", dtype: "int64", shape: undefined }]);
    assert.equal(description.sizeBytes, 7);
    assert.equal(description.batching.provenSafe, false);
  });

  it("refuses what is not a tensor, or not carried", async () => {
    await rejectsWith("INVALID_ARGUMENT", /output "y" is not a tensor/, () =>
      describeOrtModel(7, [], [{ name: "y", isTensor: false }]),
    );
    await rejectsWith("INVALID_ARGUMENT", /input "x" has elements of bfloat16/, () =>
      describeOrtModel(7, [{ name: "x", isTensor: true, type: "bfloat16", shape: [1] }], []),
    );
  });
});
