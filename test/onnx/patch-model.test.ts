import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ModelProto, NodeProto, OperatorSetIdProto } from "../../src/gen/onnx/onnx.js";
import { tensorProto, tensorValueInfo } from "../../src/onnx/graph-builder.js";
import { encodeModelProto, patchModel } from "../../src/onnx/patch-model.js";
import { floatTensor, identityModel, mlpModel } from "../support/test-models.js";

/** A model with fields from the future, in the model, its graph and a node. */
function modelOfTheFuture(): Uint8Array {
  const model = ModelProto.decode(mlpModel([2, 3, 4]));
  const unknown = { [800 * 8 + 2]: [Uint8Array.of(3, 1, 2, 3)], [801 * 8]: [Uint8Array.of(7)] };
  model._unknownFields = unknown;
  model.graph!._unknownFields = unknown;
  model.graph!.node[1]!._unknownFields = unknown;
  return ModelProto.encode(model).finish();
}

describe("patchModel", () => {
  it("gives the same bytes for an empty patch", () => {
    const bytes = modelOfTheFuture();
    assert.deepEqual(patchModel(bytes, {}), bytes);
  });

  it("replaces, multiplies and removes nodes, and touches nothing else", () => {
    const bytes = modelOfTheFuture();
    const before = ModelProto.decode(bytes);
    const made = ["a", "b"].map((name) => NodeProto.create({ name, opType: "Identity", input: ["i"], output: ["o"] }));
    const after = ModelProto.decode(
      patchModel(bytes, {
        nodes: new Map([
          [0, made],
          [2, []],
        ]),
      }),
    );
    const [, second, , ...rest] = before.graph!.node;
    assert.deepEqual(after, { ...before, graph: { ...before.graph!, node: [...made, second!, ...rest] } });
    assert.ok(Object.keys(after.graph!.node[2]!._unknownFields!).length > 0);
  });

  it("replaces outputs and operator sets, and adds initializers behind the others", () => {
    const bytes = modelOfTheFuture();
    const before = ModelProto.decode(bytes);
    const output = tensorValueInfo("other", "int64", ["n"]);
    const operatorSet = OperatorSetIdProto.create({ domain: "", version: 7n });
    const weight = tensorProto("added", floatTensor([2], 1, 2));
    const after = ModelProto.decode(
      patchModel(bytes, { outputs: new Map([[0, output]]), operatorSets: [operatorSet], initializers: [weight] }),
    );
    assert.deepEqual(after.graph!.output, [output]);
    assert.deepEqual(after.opsetImport, [operatorSet]);
    assert.deepEqual(after.graph!.initializer.map(({ name }) => name).at(-1), "added");
    assert.deepEqual(after.graph!.node, before.graph!.node);
    assert.deepEqual(after._unknownFields, before._unknownFields);
    assert.deepEqual(after.graph!._unknownFields, before.graph!._unknownFields);
  });
});

describe("encodeModelProto", () => {
  it("writes what the generated encoder writes, up to the order of the graph's fields", () => {
    for (const bytes of [identityModel(), mlpModel([3, 5, 2])]) {
      const model = ModelProto.decode(bytes);
      assert.deepEqual(ModelProto.decode(encodeModelProto(model)), model);
    }
  });
});
