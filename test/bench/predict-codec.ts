// The Predict codecs against generated ones, in turn, best of several rounds: nanoseconds for one message.
//
//   npm run build && node dist/test/bench/predict-codec.js

import { bytesOfMessage } from "../../src/api/codecs/encodable-message.js";
import { decodePredictRequest } from "../../src/api/codecs/predict-request.js";
import { encodePredictResponse } from "../../src/api/codecs/predict-response.js";
import { TensorProto } from "../../src/gen/tensorflow/core/framework/tensor.js";
import { PredictRequest, PredictResponse } from "../../src/gen/tensorflow_serving/apis/predict.js";
import type { PredictResponse as Response } from "../../src/serving/index.js";
import { bytesOf, type NumericData } from "../../src/tensor/index.js";

const rounds = 7;

for (const count of [1, 784, 1 << 20]) {
  const repeats = Math.max(3, Math.floor(2_000_000 / (count + 200)));
  const values = Float32Array.from({ length: count }, (_, index) => index);
  const wide = BigInt64Array.from({ length: count }, (_, index) => BigInt(index * 1000));
  for (const [form, bytes] of [
    ["float_val", request(count, 1, { floatVal: [...values] })],
    ["tensor_content", request(count, 1, { tensorContent: bytesOf(values) })],
    ["int64_val", request(count, 9, { int64Val: [...wide] })],
  ] as const) {
    compare(`decode ${count} in ${form}`, repeats, {
      "in place": () => decodePredictRequest(bytes).inputs.get("x")!.decode(),
      generated: () => PredictRequest.decode(bytes),
    });
  }
  for (const [dtype, data, asContent] of [
    ["float32", values, false],
    ["float32", values, true],
    ["int64", wide, false],
  ] as const) {
    const response = responseOf(dtype, data);
    const message = PredictResponse.decode(bytesOfMessage(encodePredictResponse(response, asContent)));
    compare(`encode ${count} ${dtype}${asContent ? " as content" : ""}`, repeats, {
      direct: () => bytesOfMessage(encodePredictResponse(response, asContent)),
      generated: () => PredictResponse.encode(message).finish(),
    });
  }
}

function request(count: number, dtype: 1 | 9, values: Partial<TensorProto>): Uint8Array {
  const tensorShape = { dim: [{ size: BigInt(count), name: "" }], unknownRank: false };
  const inputs = new Map([["x", TensorProto.fromPartial({ dtype, tensorShape, ...values })]]);
  return PredictRequest.encode(PredictRequest.fromPartial({ modelSpec: { name: "model" }, inputs })).finish();
}

function responseOf(dtype: "float32" | "int64", data: NumericData): Response {
  const outputs = new Map([["y", { name: "y", dtype, shape: undefined }]]);
  return {
    servableId: { name: "model", version: 1n },
    signature: { key: "serving_default", methodName: "", inputs: new Map(), outputs },
    outputs: new Map([["y", { dtype, shape: [data.length], data }]]),
  };
}

function compare(what: string, repeats: number, ways: Record<string, () => unknown>): void {
  const best = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const [way, run] of Object.entries(ways)) {
      const start = performance.now();
      for (let repeat = 0; repeat < repeats; repeat++) run();
      const nanoseconds = ((performance.now() - start) * 1e6) / repeats;
      best.set(way, Math.min(best.get(way) ?? Number.POSITIVE_INFINITY, nanoseconds));
    }
  }
  console.log(what.padEnd(34), ...[...best].map(([way, ns]) => `${way}: ${ns.toFixed(0).padStart(10)} ns  `));
}
