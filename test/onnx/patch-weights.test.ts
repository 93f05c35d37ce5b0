import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { patchWeights } from "../../src/onnx/index.js";
import type { NumericTensor } from "../../src/tensor/index.js";

const floats = (...values: number[]): NumericTensor => ({
  dtype: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});

/** A model with more to it than its graph, weights kept in several ways, and a field that no schema knows. */
function model(): Uint8Array {
  const known = ModelProto.encode(
    ModelProto.fromPartial({
      irVersion: 9n,
      producerName: "someone",
      docString: "kept",
      opsetImport: [{ domain: "", version: 17n }],
      metadataProps: [
        { key: "old", value: "1" },
        { key: "kept", value: "2" },
      ],
      graph: {
        name: "main",
        initializer: [
          { name: "a", dims: [2n], dataType: 1, floatData: [1, 2], docString: "first" },
          { name: "b", dims: [2n], dataType: 1, rawData: new Uint8Array(8) },
          { name: "c", dims: [1n], dataType: 1, dataLocation: 1, externalData: [{ key: "location", value: "c.bin" }] },
        ],
        node: [{ opType: "Add", input: ["a", "b"], output: ["y"] }],
        output: [{ name: "y" }],
        valueInfo: [{ name: "h" }, { name: "i" }],
      },
    }),
  ).finish();
  // Field 99, a varint.
  return Uint8Array.from([...known, 0x98, 0x06, 42]);
}

describe("patching weights", () => {
  it("replaces the named ones in their places, whichever way they were kept, and nothing else", () => {
    const file = model();
    const patched = patchWeights(file, {
      weights: new Map([
        ["a", floats(3, 4)],
        ["c", floats(5)],
      ]),
    });
    const [before, after] = [ModelProto.decode(file), ModelProto.decode(patched)];
    assert.deepEqual(
      after.graph!.initializer.map(({ name }) => name),
      ["a", "b", "c"],
    );
    const [a, b, c] = after.graph!.initializer;
    assert.deepEqual(new Float32Array(new Uint8Array(a!.rawData).buffer), Float32Array.of(3, 4));
    assert.deepEqual([a!.floatData, a!.docString], [[], "first"]);
    assert.deepEqual([c!.dataLocation, c!.externalData], [0, []]);
    assert.deepEqual(b, before.graph!.initializer[1]);
    assert.deepEqual(
      { ...after, graph: { ...after.graph, initializer: [] } },
      { ...before, graph: { ...before.graph, initializer: [] } },
    );
    assert.equal(patched.at(-1), 42);
  });

  it("gives the same bytes when nothing changes", () => {
    assert.deepEqual(patchWeights(model(), { weights: new Map() }), model());
  });

  it("sets metadata, shapes of outputs, and forgets shapes that no longer hold", () => {
    const patched = patchWeights(model(), {
      weights: new Map([["a", floats(1, 2, 3)]]),
      metadata: new Map([
        ["old", "3"],
        ["new", "4"],
      ]),
      outputShapes: new Map([["y", ["N", 3]]]),
      reshapedValues: new Set(["h"]),
    });
    const { metadataProps, graph } = ModelProto.decode(patched);
    assert.deepEqual(Object.fromEntries(metadataProps.map(({ key, value }) => [key, value])), {
      old: "3",
      kept: "2",
      new: "4",
    });
    assert.deepEqual(
      graph!.valueInfo.map(({ name }) => name),
      ["i"],
    );
    assert.deepEqual(graph!.initializer[0]!.dims, [3n]);
    const type = graph!.output[0]!.type!.value;
    assert.ok(type?.$case === "tensorType" && type.value.shape!.dim[1]!.value!.value === 3n);
  });

  it("refuses names that the model does not have", () => {
    assert.throws(() => patchWeights(model(), { weights: new Map([["d", floats(1)]]) }), /no weights "d"/);
    assert.throws(
      () => patchWeights(model(), { weights: new Map(), outputShapes: new Map([["z", [1]]]) }),
      /no output "z"/,
    );
  });
});
