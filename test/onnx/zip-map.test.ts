import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { GraphBuilder, type ReadModel, readModel } from "../../src/onnx/index.js";
import { assertTensorClose } from "../support/assert-tensor-close.js";
import { rejectsWith } from "../support/rejects-with.js";
import { repositoryRoot } from "../support/repository-root.js";
import { runModel } from "../support/run-model.js";
import { floatTensor, zipMapModel } from "../support/test-models.js";

const folder = mkdtempSync(join(tmpdir(), "onnxd-zip-map-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "model.onnx");

type Onnx = Extract<ReadModel, { format: "onnx" }>;
async function read(model: Uint8Array | ModelProto): Promise<Onnx> {
  writeFileSync(path, model instanceof Uint8Array ? model : ModelProto.encode(model).finish());
  const read = await readModel(path);
  assert.equal(read.format, "onnx");
  return read as Onnx;
}

describe("a classifier that ends in ZipMap", () => {
  it("gives its scores as a tensor under the output's own name, with the labels beside it", async () => {
    const { description, bytes } = await read(zipMapModel({ labels: [3, 1, 2] }));
    assert.deepEqual(description.outputs, [
      { name: "label", dtype: "int64", shape: ["batch"] },
      { name: "probability", dtype: "float32", shape: ["batch", 3] },
    ]);
    assert.deepEqual(description.classLabels, new Map([["probability", [3n, 1n, 2n]]]));
    assert.deepEqual(description.rewrites, [
      'Output "probability" is a tensor of scores, a column for each of 3 classes, instead of ZipMap\'s sequence of maps.',
    ]);
    const { probability, label } = await runModel(bytes!, { x: floatTensor([2, 2], 1, 2, 3, 4) });
    assert.deepEqual(probability?.shape, [2, 3]);
    const rows = [0, 1].map((row) => [...(probability!.data as Float32Array)].slice(row * 3, row * 3 + 3));
    for (const row of rows) assert.ok(Math.abs(row.reduce((sum, p) => sum + p) - 1) < 1e-6);
    const best = rows.map((row) => [3n, 1n, 2n][row.indexOf(Math.max(...row))]);
    assert.deepEqual([...(label!.data as BigInt64Array)], best);
  });

  it("keeps labels that are strings", async () => {
    const { description } = await read(zipMapModel({ labels: ["setosa", "größer"] }));
    assert.deepEqual(description.classLabels.get("probability"), ["setosa", "größer"]);
  });

  it("answers as its example says", async () => {
    const example = JSON.parse(readFileSync(join(repositoryRoot, "test", "models", "iris", "example.json"), "utf8"));
    const model = await readModel(join(repositoryRoot, "models", "iris", "1", "model.onnx"));
    assert.equal(model.format, "onnx");
    const rows: number[][] = example.inputs.X;
    const { output_label, output_probability } = await runModel((model as Onnx).bytes!, {
      X: floatTensor([rows.length, 4], ...rows.flat()),
    });
    assert.deepEqual([...(output_label!.data as BigInt64Array)].map(Number), example.outputs.output_label);
    const expected: number[] = example.outputs.probabilities.flat();
    assertTensorClose(output_probability, floatTensor([rows.length, 3], ...expected), 1e-6);
  });

  it("tells the shape where the graph does, through what keeps it, and leaves it open elsewhere", async () => {
    const shapeOfScores = async (change: (model: ModelProto) => void) => {
      const model = ModelProto.decode(zipMapModel({ labels: [0, 1] }));
      change(model);
      return (await read(model)).description.outputs[1]?.shape;
    };
    const normalizer = { ...ModelProto.decode(zipMapModel({ labels: [0, 1] })).graph!.node[0]!, attribute: [] };
    const between = (opType: string) => (model: ModelProto) => {
      model.graph!.node.splice(1, 0, { ...normalizer, opType, name: "n", input: ["scores"], output: ["normal"] });
      model.graph!.node[2]!.input = ["normal"];
    };
    assert.deepEqual(await shapeOfScores(between("Normalizer")), ["batch", 2]);
    assert.deepEqual(await shapeOfScores(between("SomeOperator")), undefined);
    const noInputShape = (model: ModelProto) => {
      const type = model.graph!.input[0]!.type!.value!;
      if (type.$case === "tensorType") type.value.shape = undefined;
    };
    assert.deepEqual(await shapeOfScores(noInputShape), [undefined, 2]);
    const oneRow = new GraphBuilder("one_row");
    oneRow.valueInfo("scores", "float32", [2]);
    assert.deepEqual(await shapeOfScores((model) => model.graph!.valueInfo.push(...oneRow.toProto().valueInfo)), [2]);
  });

  it("imports ONNX's own operators where the model did not", async () => {
    const model = ModelProto.decode(zipMapModel({ labels: [0, 1] }));
    model.opsetImport = model.opsetImport.filter(({ domain }) => domain !== "");
    const { bytes } = await read(model);
    assert.equal((await runModel(bytes!, { x: floatTensor([1, 2], 0, 0) }))["probability"]?.dtype, "float32");
  });

  it("finds its external data in the model's folder", async () => {
    const model = ModelProto.decode(zipMapModel({ labels: [0, 1] }));
    const offset = new GraphBuilder("offset");
    offset.externalInitializer("offset", "float32", [2], { location: "offset.bin" });
    offset.node("Add", ["x", "offset"], {}, { outputs: ["moved"] });
    model.graph!.initializer.push(...offset.toProto().initializer);
    model.graph!.node[0]!.input = ["moved"];
    model.graph!.node.unshift(...offset.toProto().node);
    writeFileSync(join(folder, "offset.bin"), new Uint8Array(Float32Array.of(1, 1).buffer));
    const { bytes, externalDataFolder } = await read(model);
    assert.equal(externalDataFolder, folder);
    const extra = { session: { model_external_initializers_file_folder_path: externalDataFolder } };
    const moved = await runModel(bytes!, { x: floatTensor([1, 2], 0, 0) }, { extra });
    const plain = await runModel((await read(zipMapModel({ labels: [0, 1] }))).bytes!, {
      x: floatTensor([1, 2], 1, 1),
    });
    assert.deepEqual(moved["probability"], plain["probability"]);
  });

  it("is refused by name when its maps are used in the graph, are no output, or have no labels", async () => {
    const refused = async (message: RegExp, change: (model: ModelProto) => void) => {
      const model = ModelProto.decode(zipMapModel({ labels: [0, 1] }));
      change(model);
      await rejectsWith("INVALID_ARGUMENT", message, () => read(model));
    };
    const zip = ModelProto.decode(zipMapModel({ labels: [0, 1] })).graph!.node[1]!;
    await refused(/that zip \(ZipMap\) makes is used within the graph/, ({ graph }) => {
      graph!.node.push({ ...zip, opType: "SequenceLength", domain: "", input: ["probability"], output: ["length"] });
    });
    await refused(/that zip \(ZipMap\) makes is not an output/, ({ graph }) => {
      graph!.output.pop();
    });
    await refused(/that zip \(ZipMap\) makes has no class labels/, ({ graph }) => {
      graph!.node[1]!.attribute = [];
    });
    await refused(/that zip \(ZipMap\) makes is used within the graph/, ({ graph }) => {
      const user = { ...zip, opType: "SequenceLength", domain: "", input: ["probability"], output: ["length"] };
      graph!.node.push(holding(user));
    });
    await refused(/that zip \(ZipMap\) makes stands in a subgraph/, ({ graph }) => {
      graph!.node.push(holding(zip));
    });

    function holding(node: typeof zip): typeof zip {
      const body = new GraphBuilder("body");
      body.toProto().node.push(node);
      const outer = new GraphBuilder("outer");
      outer.node("If", ["condition"], { then_branch: body });
      return outer.toProto().node[0]!;
    }
  });
});
