// grpc-java, whose HTTP/2 is netty's: a unary call, a compressed one, one larger than every window, an error, and a stream
// that the client leaves. What it runs with is fetched by .ci/run.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { HealthCheckRequest, HealthCheckResponse } from "../gen/grpc/health/v1/health.js";
import { PredictRequest, PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer } from "../support/test-server.js";

const jars = process.env["GRPC_JAVA_JARS"] ?? "";
const isThere = existsSync(join(jars, "grpc-api-1.73.0.jar")) && spawnSync("javac", ["-version"]).status === 0;

describe("grpc-java", {
  skip: isThere ? false : "there is no JDK, or no grpc-java: GRPC_JAVA_JARS is not its folder",
}, () => {
  for (const transport of ["http2", "grpc-js"]) {
    it(`is answered by ${transport}`, async () => {
      await using server = await startTestServer(`--grpc_transport=${transport}`);
      const method = "tensorflow.serving.PredictionService/Predict";
      const answers = await callFromJava(server.target, [
        ["unary", method, predictRequest("half_plus_two", [1, 2, 5])],
        ["gzip", method, predictRequest("half_plus_two", [1, 2, 5])],
        ["unary", method, predictRequest("half_plus_two", new Array(900_000).fill(4))],
        ["unary", method, predictRequest("nobody", [1])],
        ["stream", "grpc.health.v1.Health/Watch", HealthCheckRequest.encode({ service: "" }).finish()],
        ["unary", method, predictRequest("half_plus_two", [0])],
      ]);
      assert.deepEqual(predicted(answers[0]!), [2.5, 3, 4.5]);
      assert.deepEqual(predicted(answers[1]!), [2.5, 3, 4.5]);
      const large = predicted(answers[2]!);
      assert.equal(large.length, 900_000);
      assert.ok(large.every((value) => value === 4));
      assert.equal(answers[3], "error NOT_FOUND Servable not found for request: Latest(nobody)");
      assert.deepEqual(HealthCheckResponse.decode(messageIn(answers[4]!)), { status: 1 });
      assert.deepEqual(predicted(answers[5]!), [2]);
    });
  }
});

function predictRequest(model: string, values: number[]): Uint8Array {
  return PredictRequest.encode(
    PredictRequest.fromPartial({
      modelSpec: { name: model },
      inputs: new Map([
        ["x", { dtype: 1, tensorShape: { dim: [{ size: BigInt(values.length) }] }, floatVal: values } as never],
      ]),
    }),
  ).finish();
}

function predicted(answer: string): readonly number[] {
  return PredictResponse.decode(messageIn(answer)).outputs.get("y")!.floatVal;
}

function messageIn(answer: string): Buffer {
  const [, base64] = /^message (.*)$/.exec(answer) ?? assert.fail(answer);
  return Buffer.from(base64!, "base64");
}

/** Makes the calls one after the other. @returns a line for each, see Client.java */
async function callFromJava(
  target: string,
  calls: readonly (readonly [string, string, Uint8Array])[],
): Promise<string[]> {
  const source = join(repositoryRoot, "test/interop/grpc-java-client/Client.java");
  const java = spawn("java", ["-cp", join(jars, "*"), source, target], {
    stdio: ["pipe", "pipe", "inherit"],
    timeout: 60_000,
  });
  java.stdin.end(
    calls.map(([kind, method, bytes]) => `${kind} ${method} ${Buffer.from(bytes).toString("base64")}\n`).join(""),
  );
  return (await text(java.stdout)).trim().split("\n");
}
