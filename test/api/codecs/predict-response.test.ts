import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bytesOfMessage } from "../../../src/api/codecs/encodable-message.js";
import { encodePredictResponse } from "../../../src/api/codecs/predict-response.js";
import type { Signature } from "../../../src/onnx/index.js";
import type { PredictResponse } from "../../../src/serving/index.js";
import { StatusError } from "../../../src/status.js";
import type { Tensor } from "../../../src/tensor/index.js";
import type { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { PredictResponse as PredictResponseMessage } from "../../gen/tensorflow_serving/apis/predict.js";
import { randomTensor } from "../../support/random-tensor.js";
import { SeededRandom } from "../../support/seeded-random.js";
import { readByTheRules } from "../../support/tensor-proto-rules.js";

function response(outputs: ReadonlyMap<string, Tensor>, version = 3n): PredictResponse {
  const specs = new Map([...outputs].map(([alias, { dtype }]) => [alias, { name: alias, dtype, shape: undefined }]));
  const signature: Signature = { key: "serving_default", methodName: "", inputs: new Map(), outputs: specs };
  return { servableId: { name: "model", version }, signature, outputs };
}

const encode = (tensor: Tensor, asContent = false) => {
  const bytes = bytesOfMessage(encodePredictResponse(response(new Map([["y", tensor]])), asContent));
  return PredictResponseMessage.decode(bytes).outputs.get("y")!;
};

describe("encodePredictResponse", () => {
  it("writes byte by byte what generated code writes of the same message, in either form", () => {
    const random = new SeededRandom(99);
    for (let round = 0; round < 1500; round++) {
      const outputs = new Map<string, Tensor>();
      for (let count = 1 + random.below(3); count > 0; count--) {
        outputs.set(random.pick(["y", "probabilities", "__proto__", "ключ"]), randomTensor(random));
      }
      for (const asContent of [false, true]) {
        const bytes = bytesOfMessage(
          encodePredictResponse(response(outputs, random.pick([0n, 1n, 2n ** 40n])), asContent),
        );
        const message = PredictResponseMessage.decode(bytes);
        assert.deepEqual([...message.outputs.keys()], [...outputs.keys()]);
        for (const [alias, tensor] of outputs) {
          assert.deepEqual(readByTheRules(message.outputs.get(alias)!), tensor, `round ${round}, ${alias}`);
          assertOneForm(message.outputs.get(alias)!, asContent);
        }
        assert.deepEqual(Buffer.from(PredictResponseMessage.encode(message).finish()), bytes, `round ${round}`);
      }
    }
  });

  it("says which version and signature answered, version 0 too, and never a label", () => {
    const outputs = new Map([["y", { dtype: "float32", shape: [], data: Float32Array.of(1) } as Tensor]]);
    for (const version of [0n, 7n]) {
      const { modelSpec } = PredictResponseMessage.decode(
        bytesOfMessage(encodePredictResponse(response(outputs, version), false)),
      );
      assert.deepEqual(modelSpec, {
        name: "model",
        versionChoice: { $case: "version", value: version },
        signatureName: "serving_default",
      });
    }
  });

  it("always has a shape, and no values when there are no elements", () => {
    const scalar = encode({ dtype: "float32", shape: [], data: Float32Array.of(2.5) });
    assert.deepEqual(scalar.tensorShape, { dim: [], unknownRank: false });
    assert.deepEqual(scalar.floatVal, [2.5]);
    for (const asContent of [false, true]) {
      const empty = encode({ dtype: "int64", shape: [0, 3], data: new BigInt64Array(0) }, asContent);
      assert.deepEqual(
        empty.tensorShape?.dim.map(({ size }) => size),
        [0n, 3n],
      );
      assert.equal(empty.int64Val.length + empty.tensorContent.length, 0);
    }
  });

  it("writes views of larger buffers, wherever they begin", () => {
    const whole = Float32Array.of(9, 1, 2, 9);
    assert.deepEqual(encode({ dtype: "float32", shape: [2], data: whole.subarray(1, 3) }).floatVal, [1, 2]);
    const wide = BigInt64Array.of(9n, -5n, 9n);
    assert.deepEqual(encode({ dtype: "int64", shape: [1], data: wide.subarray(1, 2) }).int64Val, [-5n]);
  });

  it("writes dimensions beyond 32 bits", () => {
    const tensor: Tensor = { dtype: "float32", shape: [0, 2 ** 40 + 3], data: new Float32Array(0) };
    assert.equal(encode(tensor).tensorShape?.dim[1]?.size, 2n ** 40n + 3n);
  });

  it("refuses what has no field", () => {
    const tensor: Tensor = { dtype: "complex64", shape: [1], data: new Float32Array(2) };
    assert.throws(() => encode(tensor), StatusError);
  });
});

function assertOneForm(message: TensorProto, asContent: boolean): void {
  const typed = Object.entries(message).filter(([key, value]) => key.endsWith("Val") && (value as []).length > 0);
  assert.ok(typed.length <= (asContent ? 0 : 1));
  if (!asContent) assert.equal(message.tensorContent.length, 0);
}
