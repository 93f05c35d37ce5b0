// Memory of messages is used again by others. Whatever is going on beside it, each call gets the answer to its own request.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClientUnaryCall, ServiceError } from "@grpc/grpc-js";
import { PredictRequest, type PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { connect, floatPredict } from "../support/clients.js";
import { ModelFolder } from "../support/model-folder.js";
import { SeededRandom } from "../support/seeded-random.js";
import { identityModel } from "../support/test-models.js";
import { startTestServer } from "../support/test-server.js";

const lengths = [1, 3, 17, 900, 5000, 16_000, 17_000, 70_000, 130_000];

describe("memory of messages", () => {
  it("is never that of a call that still needs it, with hundreds of calls of all sizes, some of them cut", async () => {
    using folder = new ModelFolder();
    folder.publish("identity", 1, identityModel("float32", ["batch"]));
    await using server = await startTestServer(`--model_config_file=${folder.writeConfig({ identity: "" })}`);
    const random = new SeededRandom(41);
    const clients = Array.from({ length: 3 }, () => connect(PredictionServiceClient, server.target));
    let answered = 0;
    const one = (number: number) => {
      const length = lengths[random.below(lengths.length)]!;
      const values = Float32Array.from({ length }, (_, index) => number + (index % 977));
      const request = floatPredict("identity", "x", [], [length]);
      request.inputs.get("x")!.tensorContent = Buffer.from(values.buffer);
      // Moves the bytes to another address.
      if (random.below(3) === 0) request.modelSpec!.signatureName = "serving_default";
      const cut = random.below(8) === 0;
      return new Promise<void>((resolve, reject) => {
        const client = clients[number % clients.length]!;
        const call: ClientUnaryCall = client.predict(
          PredictRequest.fromPartial(request),
          (error: ServiceError | null, response: PredictResponse) => {
            if (cut) {
              resolve();
              return;
            }
            if (error !== null) {
              reject(error);
              return;
            }
            answered += 1;
            const same = Float32Array.from(response.outputs.get("y")!.floatVal);
            if (Buffer.compare(Buffer.from(same.buffer), Buffer.from(values.buffer)) === 0) resolve();
            else reject(new Error(`call ${number} of ${length} floats has the answer of another`));
          },
        );
        if (cut) setImmediate(() => call.cancel());
      });
    };
    try {
      for (let wave = 0; wave < 4; wave++) {
        await Promise.all(Array.from({ length: 40 }, (_, index) => one(wave * 1000 + index)));
      }
    } finally {
      for (const client of clients) client.close();
    }
    assert.ok(answered > 100, `${answered} calls were answered`);
  });
});
