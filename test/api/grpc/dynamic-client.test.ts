// A client that learns our services from the .proto files at run time, as scripts and tools do.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { credentials, type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { signatureOf } from "../../support/fake-repository.js";
import { GrpcServices } from "../../support/grpc-services.js";
import { repositoryRoot } from "../../support/repository-root.js";

function load(file: string, service: string): ServiceClientConstructor {
  const definition = loadSync(file, { includeDirs: [join(repositoryRoot, "proto")], keepCase: true, longs: String });
  const found = service
    .split(".")
    .reduce((scope: GrpcObject, name) => scope[name] as GrpcObject, loadPackageDefinition(definition));
  return found as unknown as ServiceClientConstructor;
}

describe("a proto-loader client", () => {
  it("predicts, and reads what comes back", async () => {
    await using services = await GrpcServices.start();
    const signature = signatureOf(
      { x: ["int64", ["n"]], label: ["string", []] },
      { y: ["int64", ["n"]], said: ["string", []] },
    );
    services.repository.add(
      "copy",
      7n,
      [signature],
      (feeds) =>
        new Map([
          ["y:0", feeds.get("x:0")!],
          ["said:0", feeds.get("label:0")!],
        ]),
    );
    const Client = load("tensorflow_serving/apis/prediction_service.proto", "tensorflow.serving.PredictionService");
    const client = new Client(services.target, credentials.createInsecure());
    const request = {
      model_spec: { name: "copy", version: { value: 7 } },
      inputs: {
        x: { dtype: "DT_INT64", tensor_shape: { dim: [{ size: 3 }] }, int64_val: ["9007199254740993", -1, 5] },
        label: { dtype: "DT_STRING", tensor_shape: {}, string_val: [Buffer.from("naïve")] },
      },
    };
    try {
      const response = await new Promise<Record<string, never>>((resolve, reject) =>
        client["Predict"]!(request, (error: Error | null, value: Record<string, never>) =>
          error ? reject(error) : resolve(value),
        ),
      );
      const { outputs, model_spec: spec } = response as unknown as {
        outputs: Record<string, { int64_val: string[]; string_val: Buffer[] }>;
        model_spec: unknown;
      };
      assert.deepEqual(outputs["y"]?.int64_val, ["9007199254740993", "-1", "5"]);
      assert.equal(outputs["said"]?.string_val[0]?.toString(), "naïve");
      assert.deepEqual(spec, {
        name: "copy",
        version: { value: "7" },
        signature_name: "serving_default",
      });
    } finally {
      client.close();
    }
  });
});
