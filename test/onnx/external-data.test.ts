import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { type AttributeProto, ModelProto, SparseTensorProto, TensorProto } from "../../src/gen/onnx/onnx.js";
import { attributeProto, buildModel, GraphBuilder } from "../../src/onnx/graph-builder.js";
import { readModel } from "../../src/onnx/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { runModel } from "../support/run-model.js";
import { externalDataModel, floatTensor, identityModel, writeExternalDataModel } from "../support/test-models.js";

const root = mkdtempSync(join(tmpdir(), "onnxd-external-"));
after(() => rmSync(root, { recursive: true }));
const folder = join(root, "model");
const path = join(folder, "model.onnx");
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
});

const refusedLocation = (location: string, why: RegExp, rest: { offset?: string; length?: string } = {}) => {
  writeFileSync(path, externalDataModel(4, { location, ...rest }));
  return rejectsWith(
    "INVALID_ARGUMENT",
    new RegExp(`external data of tensor "weights" at ".*": ${why.source}`, "s"),
    () => readModel(path),
  );
};

describe("external data", () => {
  it("is counted once a file, and left for the runtime to load from the path", async () => {
    writeExternalDataModel(folder, [1, 2, 3, 4]);
    const read = await readModel(path);
    assert.equal(read.format, "onnx");
    assert.equal(read.bytes, undefined);
    assert.equal(read.description.sizeBytes, externalDataModel(4, { location: "weights.bin" }).length + 16);
    assert.deepEqual(
      (await runModel(path, { x: floatTensor([1, 4], 1, 1, 1, 1) }))["y"]?.data,
      Float32Array.of(2, 3, 4, 5),
    );
  });

  it("may lie in a folder of the model's folder, or behind a link that stays inside", async () => {
    mkdirSync(join(folder, "weights"));
    writeExternalDataModel(folder, [1, 2, 3, 4], "weights/a.bin");
    await readModel(path);
    symlinkSync(join(folder, "weights", "a.bin"), join(folder, "link.bin"));
    writeFileSync(path, externalDataModel(4, { location: "./link.bin" }));
    await readModel(path);
  });

  it("may be reached by a model folder that is itself a link", async () => {
    writeExternalDataModel(folder, [1, 2, 3, 4]);
    const link = join(root, "link-to-model");
    symlinkSync(folder, link);
    await readModel(join(link, "model.onnx"));
  });

  it("may lie beside the file that a linked model leads to, as caches of downloads keep them", async () => {
    const store = join(root, "store");
    mkdirSync(store);
    writeExternalDataModel(store, [1, 2, 3, 4]);
    symlinkSync(join(store, "weights.bin"), join(folder, "weights.bin"));
    writeFileSync(path, externalDataModel(4, { location: "weights.bin" }));
    await rejectsWith("INVALID_ARGUMENT", /it leads out of the model's directory/, () => readModel(path));
    rmSync(path);
    symlinkSync(join(store, "model.onnx"), path);
    await readModel(path);
    const { y } = await runModel(path, { x: floatTensor([1, 4], 1, 1, 1, 1) });
    assert.deepEqual(y?.data, Float32Array.of(2, 3, 4, 5));
  });

  it("may not leave the model's folder", async () => {
    writeFileSync(join(root, "outside.bin"), new Uint8Array(16));
    await refusedLocation("../outside.bin", /it may not hold \.\./);
    await refusedLocation("weights/../../outside.bin", /it may not hold \.\./);
    await refusedLocation("..\\outside.bin", /it may not hold \.\./);
    await refusedLocation(join(root, "outside.bin"), /it must be relative/);
    await refusedLocation("C:\\outside.bin", /it must be relative/);
    await refusedLocation("C:outside.bin", /it must be relative/);
    await refusedLocation("\\\\host\\share\\outside.bin", /it must be relative/);
    symlinkSync(join(root, "outside.bin"), join(folder, "link.bin"));
    await refusedLocation("link.bin", /it leads out of the model's directory/);
    symlinkSync(root, join(folder, "folder-link"));
    await refusedLocation("folder-link/outside.bin", /it leads out of the model's directory/);
  });

  it("may not point into the runtime's memory, even when a file of that name is there", async () => {
    mkdirSync(join(folder, "*", "_ORT_MEM_ADDR_"), { recursive: true });
    writeFileSync(join(folder, "*", "_ORT_MEM_ADDR_", "x"), new Uint8Array(16));
    await refusedLocation("*/_ORT_MEM_ADDR_/x", /it points into memory/, { offset: "140000000" });
    await refusedLocation("./*/_ORT_MEM_ADDR_/x", /it points into memory/);
  });

  it("may not be a name that readers understand differently", async () => {
    await refusedLocation("", /no location is given/);
    await refusedLocation("weights.bin\0.txt", /it is not a path/);
    await refusedLocation("weights\uFFFD.bin", /it is not a path/);
  });

  it("must be there, be a file, and be long enough", async () => {
    await refusedLocation("none.bin", /there is no such file/);
    mkdirSync(join(folder, "folder"));
    await refusedLocation("folder", /it is not a file/);
    writeFileSync(join(folder, "weights.bin"), new Uint8Array(20));
    await refusedLocation("weights.bin", /it wants 16 bytes from 8 on; the file has 20/, { offset: "8" });
    await refusedLocation("weights.bin", /it wants 21 bytes from 0 on; the file has 20/, { length: "21" });
    await refusedLocation("weights.bin", /its offset must be a whole number of bytes; got "-1"/, { offset: "-1" });
    await refusedLocation("weights.bin", /its length must be a whole number of bytes; got "1e1"/, { length: "1e1" });
    await refusedLocation("weights.bin", /its offset must/, { offset: "99999999999999999999" });
    writeFileSync(path, externalDataModel(4, { location: "weights.bin", offset: "4", length: "16" }));
    await readModel(path);
  });

  it("may not say a thing twice", async () => {
    writeExternalDataModel(folder, [1, 2, 3, 4]);
    const model = ModelProto.decode(externalDataModel(4, { location: "weights.bin" }));
    model.graph!.initializer[0]!.externalData.push({ key: "location", value: "../outside.bin" });
    writeFileSync(path, ModelProto.encode(model).finish());
    await rejectsWith("INVALID_ARGUMENT", /"location" is given twice/, () => readModel(path));
  });

  const hidden = TensorProto.create({
    name: "hidden",
    dims: [1n],
    dataType: 1,
    dataLocation: 1,
    externalData: [{ key: "location", value: "/etc/passwd" }],
  });
  const sparse = SparseTensorProto.create({ values: TensorProto.create({ name: "values" }), indices: hidden });
  const inAttribute = (attribute: Partial<AttributeProto>) => {
    const model = ModelProto.decode(identityModel());
    model.graph!.node[0]!.attribute.push({ ...attributeProto("a", 0), ...attribute });
    return model;
  };
  const bodyWith = (build: (body: GraphBuilder) => void) => {
    const graph = new GraphBuilder("g");
    const body = graph.subgraph("body");
    const inner = body.subgraph("inner");
    build(inner);
    body.node("If", ["c"], { then_branch: inner });
    graph.node("If", [graph.input("c", "bool", [])], { then_branch: body }, { outputs: ["y"] });
    graph.output("y", "float32", []);
    return buildModel(graph);
  };
  const withInitializer = (graph: GraphBuilder) => graph.toProto().initializer.push(hidden);
  const places: Record<string, () => ModelProto> = {
    "an attribute's tensor": () => inAttribute({ t: hidden }),
    "an attribute's list of tensors": () => inAttribute({ tensors: [hidden] }),
    "an attribute's sparse tensor": () => inAttribute({ sparseTensor: sparse }),
    "an attribute's list of sparse tensors": () => inAttribute({ sparseTensors: [sparse] }),
    "a subgraph of a subgraph": () => bodyWith(withInitializer),
    "an attribute's list of graphs": () => {
      const graph = new GraphBuilder("listed");
      withInitializer(graph);
      return inAttribute({ graphs: [graph.toProto()] });
    },
    "a sparse initializer": () => {
      const model = ModelProto.decode(identityModel());
      model.graph!.sparseInitializer.push(sparse);
      return model;
    },
    "a function": () => {
      const body = new GraphBuilder("F");
      body.node("Constant", [], { value: floatTensor([], 1) });
      const model = buildModel(new GraphBuilder("g"), { functions: [{ domain: "d", body }] });
      model.functions[0]!.node[0]!.attribute[0]!.t = hidden;
      model.graph = ModelProto.decode(identityModel()).graph;
      return model;
    },
    "a function's default attribute": () => {
      const model = buildModel(new GraphBuilder("g"), { functions: [{ domain: "d", body: new GraphBuilder("F") }] });
      model.functions[0]!.attributeProto.push({ ...attributeProto("a", 0), t: hidden });
      model.graph = ModelProto.decode(identityModel()).graph;
      return model;
    },
    "a training graph": () => {
      const model = ModelProto.decode(identityModel());
      const graph = new GraphBuilder("step");
      withInitializer(graph);
      model.trainingInfo.push({
        initialization: undefined,
        algorithm: graph.toProto(),
        initializationBinding: [],
        updateBinding: [],
      });
      return model;
    },
  };
  for (const [place, make] of Object.entries(places)) {
    it(`is found in ${place}`, async () => {
      writeFileSync(path, ModelProto.encode(make()).finish());
      await rejectsWith("INVALID_ARGUMENT", /external data of tensor "hidden" at "\/etc\/passwd"/, () =>
        readModel(path),
      );
    });
  }

  it("is found where the tensor does not say that it is external", async () => {
    const model = ModelProto.decode(externalDataModel(4, { location: "../x" }));
    model.graph!.initializer[0]!.dataLocation = 0;
    writeFileSync(path, ModelProto.encode(model).finish());
    await rejectsWith("INVALID_ARGUMENT", /it may not hold \.\./, () => readModel(path));
  });
});
