import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeInferResponse, encodeStreamAnswer } from "../../../src/api/codecs/oip-infer-response.js";
import type { InferOutput } from "../../../src/api/open-inference/infer-request.js";
import { Code, notFound } from "../../../src/status.js";
import { elementTypes, type Tensor } from "../../../src/tensor/index.js";
import { ModelInferResponse, ModelStreamInferResponse } from "../../gen/inference/grpc_service.js";

function decoded(outputs: readonly InferOutput[], typed: boolean, id = "") {
  const response = { servableId: { name: "modèle", version: 12n }, id, outputs };
  return ModelInferResponse.decode(encodeInferResponse({ response, typed }));
}

const tensors: readonly Tensor[] = [
  ...elementTypes
    .filter(({ array, carried }) => array !== undefined && carried)
    .map(({ name, array, bytesPerElement }): Tensor => {
      const bytes = Uint8Array.from({ length: 6 * bytesPerElement }, (_, i) => (name === "bool" ? i % 2 : 250 - 7 * i));
      return { dtype: name, shape: [2, 3], data: new array!(bytes.buffer) };
    }),
  { dtype: "string", shape: [2, 1], data: ["héllo", ""] },
];

describe("ModelInferResponse", () => {
  it("says the model, the version, the id, and each output's name, datatype and shape", () => {
    const outputs = tensors.map((tensor, index) => ({ name: `y${index}`, tensor }));
    const response = decoded(outputs, false, "id-7");
    assert.equal(response.modelName, "modèle");
    assert.equal(response.modelVersion, "12");
    assert.equal(response.id, "id-7");
    assert.equal(response.rawOutputContents.length, outputs.length);
    for (const [index, { name, datatype, shape, contents }] of response.outputs.entries()) {
      assert.equal(name, `y${index}`);
      assert.deepEqual(shape, tensors[index]!.shape.map(BigInt));
      assert.equal(contents, undefined);
      assert.ok(datatype.length > 0);
    }
  });

  it("carries every datatype raw", () => {
    for (const tensor of tensors) {
      const [raw] = decoded([{ name: "y", tensor }], false).rawOutputContents;
      if (tensor.dtype === "string") {
        assert.deepEqual([...raw!], [6, 0, 0, 0, ...Buffer.from("héllo"), 0, 0, 0, 0]);
      } else {
        assert.deepEqual(new Uint8Array(raw!), new Uint8Array((tensor.data as Uint8Array).buffer), tensor.dtype);
      }
    }
  });

  it("carries every datatype but float16 in typed contents", () => {
    for (const tensor of tensors) {
      const response = decoded([{ name: "y", tensor }], true);
      if (tensor.dtype === "float16") {
        assert.equal(response.rawOutputContents.length, 1);
        continue;
      }
      assert.equal(response.rawOutputContents.length, 0);
      const { contents } = response.outputs[0]!;
      const all = Object.entries(contents!).filter(([, values]) => values.length > 0);
      assert.equal(all.length, 1, tensor.dtype);
      const values = (all[0]![1] as unknown[]).map((value) => {
        if (typeof value === "boolean") return Number(value);
        return Buffer.isBuffer(value) ? value.toString() : value;
      });
      assert.deepEqual(values, Array.from(tensor.data as ArrayLike<unknown>), tensor.dtype);
    }
  });

  it("is raw throughout when one output has no typed field", () => {
    const half: Tensor = { dtype: "float16", shape: [1], data: Uint16Array.of(1) };
    const response = decoded(
      [
        { name: "a", tensor: tensors[0]! },
        { name: "b", tensor: half },
      ],
      true,
    );
    assert.equal(response.rawOutputContents.length, 2);
    assert.ok(response.outputs.every(({ contents }) => contents === undefined));
  });

  it("has an entry for an empty output too, and none for the shape of a scalar", () => {
    const empty: Tensor = { dtype: "float32", shape: [0, 3], data: new Float32Array() };
    const scalar: Tensor = { dtype: "int64", shape: [], data: BigInt64Array.of(-1n) };
    const outputs = [
      { name: "empty", tensor: empty },
      { name: "scalar", tensor: scalar },
    ];
    const raw = decoded(outputs, false);
    assert.deepEqual(
      raw.rawOutputContents.map(({ length }) => length),
      [0, 8],
    );
    assert.deepEqual(raw.outputs[1]!.shape, []);
    const typed = decoded(outputs, true);
    assert.deepEqual(typed.outputs[0]!.contents?.fp32Contents, []);
    assert.deepEqual(typed.outputs[1]!.contents?.int64Contents, [-1n]);
  });
});

describe("ModelStreamInferResponse", () => {
  it("is an answer whose parameter says that it is the last to its request", () => {
    const response = { servableId: { name: "m", version: 1n }, id: "a", outputs: [{ name: "y", tensor: tensors[0]! }] };
    const { errorMessage, inferResponse } = ModelStreamInferResponse.decode(
      encodeStreamAnswer({ response, typed: false }),
    );
    assert.equal(errorMessage, "");
    assert.equal(inferResponse?.id, "a");
    assert.deepEqual(
      [...inferResponse!.parameters],
      [["triton_final_response", { parameterChoice: { $case: "boolParam", value: true } }]],
    );
  });

  it("is an error with its code in the request's place", () => {
    const answer = { error: notFound("no such model"), id: "b", modelName: "m" };
    const { errorMessage, inferResponse } = ModelStreamInferResponse.decode(encodeStreamAnswer(answer));
    assert.equal(errorMessage, "no such model");
    assert.equal(inferResponse?.id, "b");
    assert.equal(inferResponse?.modelName, "m");
    assert.deepEqual(inferResponse?.parameters.get("onnxd_error_code")?.parameterChoice, {
      $case: "int64Param",
      value: BigInt(Code.NOT_FOUND),
    });
  });
});
