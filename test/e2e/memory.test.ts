// What one call may take at its peak, through each door: a small multiple of its message, whatever it holds.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { GRPCInferenceServiceClient } from "../gen/inference/grpc_service.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { inferRequest } from "../support/infer-requests.js";
import { ModelFolder } from "../support/model-folder.js";
import { findSample, parsePrometheusText } from "../support/prometheus-text.js";
import { ServerProcess } from "../support/server-process.js";
import { identityModel, mlpModel } from "../support/test-models.js";

const mebibyte = 2 ** 20;
/** A call alone takes 5 to 6; what calls before it have left is collected late. */
const atMost = 16;
const elements = 4 * mebibyte;
const values = new Float32Array(elements).map((_, index) => (index % 1000) / 8);
const raw = Buffer.from(values.buffer);

/** Memory of a process in bytes, by the names of /proc/PID/status. */
function memoryOf(pid: number, what: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, "m").exec(status)![1]) * 1024;
}

/** Sets VmHWM to what is resident now. */
const resetPeak = (pid: number) => writeFileSync(`/proc/${pid}/clear_refs`, "5");

const canReset = (() => {
  try {
    resetPeak(process.pid);
    return true;
  } catch {
    return false;
  }
})();

/** With one thread that runs the model from the beginning: moving there with the first large call is no call's doing. */
function serverOf(models: ModelFolder): Promise<ServerProcess> {
  models.publish("m", 1, identityModel("float32", ["batch"]));
  const config = `--model_config_file=${models.writeConfig({ m: "" })}`;
  return ServerProcess.start(config, "--inline_threshold_micros=0", "--session_pool_size=1");
}

describe("memory", { skip: canReset ? false : "no /proc/PID/clear_refs here" }, () => {
  let models: ModelFolder;
  let server: ServerProcess;
  let idle: number;
  before(async () => {
    models = new ModelFolder();
    server = await serverOf(models);
    idle = memoryOf(server.pid, "VmRSS");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    models[Symbol.dispose]();
  });

  /** Above what the server had before its first call, in multiples of the message. */
  async function peakOf(message: number, send: () => Promise<void>): Promise<number> {
    const peaks: number[] = [];
    // One of two calls may come while the garbage of the call before is still there.
    for (let round = 0; round < 2; round++) {
      resetPeak(server.pid);
      await send();
      peaks.push((memoryOf(server.pid, "VmHWM") - idle) / message);
    }
    return Math.min(...peaks);
  }

  const doors: readonly {
    readonly door: string;
    readonly message: () => number;
    readonly send: () => Promise<void>;
  }[] = [
    {
      door: "REST predict, JSON",
      message: () => json().length,
      async send() {
        const response = await fetch(`${server.url}/v1/models/m:predict`, { method: "POST", body: json() });
        assert.equal(response.status, 200);
        await response.arrayBuffer();
      },
    },
    {
      door: "gRPC Predict, tensor_content",
      message: () => raw.length,
      async send() {
        using client = connect(PredictionServiceClient, server.target);
        const tensor = TensorProto.fromPartial({
          dtype: DataType.DT_FLOAT,
          tensorShape: { dim: [{ size: BigInt(elements) }] },
          tensorContent: raw,
        });
        const request = PredictRequest.fromPartial({ modelSpec: { name: "m" }, inputs: new Map([["x", tensor]]) });
        const response = await call(client, client.predict, request, noMetadata);
        assert.equal(response.outputs.size, 1);
      },
    },
    {
      door: "gRPC ModelInfer, raw",
      message: () => raw.length,
      async send() {
        using client = connect(GRPCInferenceServiceClient, server.target);
        const response = await call(client, client.modelInfer, inferRequest([{ shape: [elements], raw }]), noMetadata);
        assert.equal(response.rawOutputContents[0]!.length, raw.length);
      },
    },
    {
      door: "REST infer, binary",
      message: () => raw.length,
      async send() {
        const head = JSON.stringify({
          inputs: [{ name: "x", datatype: "FP32", shape: [elements], parameters: { binary_data_size: raw.length } }],
          parameters: { binary_data_output: true },
        });
        const response = await fetch(`${server.url}/v2/models/m/infer`, {
          method: "POST",
          headers: { "inference-header-content-length": String(head.length) },
          body: Buffer.concat([Buffer.from(head), raw]),
        });
        assert.equal(response.status, 200);
        await response.arrayBuffer();
      },
    },
  ];
  let text: string | undefined;
  const json = () => (text ??= `{"inputs":[${values.subarray(0, mebibyte).join(",")}]}`);

  for (const { door, message, send } of doors) {
    it(`of one call at its peak, ${door}: at most ${atMost} times the message`, async () => {
      const peak = await peakOf(message(), send);
      assert.ok(peak <= atMost, `${peak.toFixed(1)} times ${Math.round(message() / mebibyte)} MiB`);
    });
  }

  it("of weights is what the metrics say it is", async () => {
    // A server without calls before, whose memory weights could take again.
    using models = new ModelFolder();
    await using server = await serverOf(models);
    const before = memoryOf(server.pid, "VmRSS");
    models.publish("m", 2, mlpModel([4096, 4096, 1024]));
    let shown: number | undefined;
    while (shown === undefined) {
      await delay(50);
      const page = parsePrometheusText(await (await fetch(`${server.url}/metrics`)).text());
      shown = findSample(page, "onnxd_model_memory_bytes", { model: "m", version: "2" });
    }
    const grown = memoryOf(server.pid, "VmRSS") - before;
    assert.ok(shown > 80 * mebibyte && shown < 81 * mebibyte, `${shown}`);
    // The session's thread comes on top.
    assert.ok(grown > shown / 2 && grown < shown * 2, `grown by ${grown}, shown ${shown}`);
  });
});
