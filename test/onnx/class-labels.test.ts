import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { readModel } from "../../src/onnx/index.js";
import { recognizedSignatures } from "../../src/serving/example-signatures.js";
import { describeGraph } from "../support/servables.js";
import { zipMapModel } from "../support/test-models.js";

const folder = mkdtempSync(join(tmpdir(), "onnxd-class-labels-"));
after(() => rmSync(folder, { recursive: true }));

async function labelsOf(model: ModelProto) {
  const path = join(folder, "model.onnx");
  writeFileSync(path, ModelProto.encode(model).finish());
  const read = await readModel(path);
  assert.equal(read.format, "onnx");
  return read.format === "onnx" ? read.description.classLabels : new Map();
}

/** y = Softmax(x), with what the metadata says. */
function softmax(columns: number, metadata: Record<string, string>, opType = "Softmax"): ModelProto {
  const value = (name: string) => ({
    name,
    type: {
      value: {
        $case: "tensorType" as const,
        value: {
          elemType: 1,
          shape: {
            dim: [
              { value: { $case: "dimParam" as const, value: "n" } },
              { value: { $case: "dimValue" as const, value: BigInt(columns) } },
            ],
          },
        },
      },
    },
  });
  return ModelProto.fromPartial({
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "g",
      node: [{ opType, input: ["x"], output: ["y"] }],
      input: [value("x")],
      output: [value("y")],
    },
    metadataProps: Object.entries(metadata).map(([key, text]) => ({ key, value: text })),
  });
}

describe("labels of classes", () => {
  it("of a classifier without ZipMap are those in its node", async () => {
    const model = ModelProto.decode(zipMapModel({ labels: [3, 1, 2] }));
    const graph = model.graph!;
    const zipMap = graph.node.find(({ opType }) => opType === "ZipMap")!;
    const scores = zipMap.input[0]!;
    const maker = graph.node.find(({ output }) => output.includes(scores))!;
    assert.equal(maker.opType, "LinearClassifier");
    graph.node = graph.node.filter((node) => node !== zipMap);
    const output = graph.output.find(({ name }) => name === zipMap.output[0])!;
    output.name = scores;
    output.type = softmax(3, {}).graph!.output[0]!.type!;
    assert.deepEqual([...(await labelsOf(model)).values()], [[3n, 1n, 2n]]);
  });

  const cases: [what: string, model: ModelProto, expected: readonly string[] | undefined][] = [
    ["a JSON list", softmax(2, { class_labels: '["no", "yes"]' }), ["no", "yes"]],
    ["lines", softmax(2, { labels: "no\nyes\n" }), ["no", "yes"]],
    ["as many as there are columns", softmax(3, { class_labels: '["no", "yes"]' }), undefined],
    ["of scores, not of any output", softmax(2, { class_labels: '["no", "yes"]' }, "Relu"), undefined],
    ["strings", softmax(2, { class_labels: "[1, 2]" }), undefined],
    ["JSON", softmax(2, { class_labels: '["no", ' }), undefined],
    ["there", softmax(2, {}), undefined],
  ];
  for (const [what, model, expected] of cases) {
    it(`of a Softmax are ${expected === undefined ? "taken only when " : ""}${what}`, async () => {
      assert.deepEqual((await labelsOf(model)).get("y"), expected);
    });
  }
});

describe("signatures that a graph shows to be possible", () => {
  const x = { name: "x", dtype: "float32", shape: ["n", 2] } as const;
  const keys = (...[inputs, outputs]: Parameters<typeof describeGraph>) =>
    recognizedSignatures(describeGraph(inputs, outputs)).map(({ key }) => key);

  it("are a regression for one number a row, and for nothing else", () => {
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float32", shape: ["n"] }]), ["regress"]);
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float32", shape: ["n", 1] }]), ["regress"]);
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float32", shape: ["n", 2] }]), []);
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float32", shape: ["n", undefined] }]), []);
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float64", shape: ["n"] }]), []);
    assert.deepEqual(keys([x], [{ name: "y", dtype: "float32", shape: [1] }]), []);
    const y = { name: "y", dtype: "float32", shape: ["n"] } as const;
    assert.deepEqual(keys([x], [y, { ...y, name: "z" }]), []);
    assert.deepEqual(keys([{ ...x, shape: [] }], [y]), []);
    assert.deepEqual(keys([{ ...x, shape: ["n", "a", "b"] }], [y]), []);
    assert.deepEqual(keys([{ ...x, shape: undefined }], [y]), []);
    assert.deepEqual(keys([], [y]), []);
  });

  it("are a classification where one output's scores have labels", () => {
    const scores = { name: "s", dtype: "float32", shape: ["n", 2] } as const;
    const of = (...names: string[]) =>
      recognizedSignatures({
        ...describeGraph([x], [scores, { ...scores, name: "t" }]),
        classLabels: new Map(names.map((name) => [name, ["no", "yes"]])),
      });
    assert.deepEqual(of("s")[0]!.classLabels, ["no", "yes"]);
    assert.equal(of("s")[0]!.outputs.get("scores")!.name, "s");
    assert.deepEqual(of("s", "t"), []);
  });
});
