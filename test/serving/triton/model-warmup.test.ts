import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { neverCancelled } from "../../../src/cancellation.js";
import type { Signature } from "../../../src/onnx/index.js";
import { readTextProto } from "../../../src/serving/text-proto/text-schema.js";
import { tritonConfigType } from "../../../src/serving/triton/config-schema.js";
import { runModelWarmup } from "../../../src/serving/triton/model-warmup.js";
import { bindTritonModel, planTritonModel } from "../../../src/serving/triton/triton-model.js";
import { internal } from "../../../src/status.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { describeGraph, sessionOf } from "../../support/servables.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onnxd-warmup-"));
  mkdirSync(join(folder, "warmup"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const signature: Signature = {
  key: "serving_default",
  methodName: "",
  inputs: new Map([
    ["x", { name: "x:0", dtype: "float32", shape: ["b", 2] }],
    ["s", { name: "s:0", dtype: "string", shape: ["b", 1] }],
  ]),
  outputs: new Map([["y", { name: "y:0", dtype: "float32", shape: ["b"] }]]),
};
const inputs = (xData: string, sData: string) =>
  `inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 ${xData} } }
   inputs { key: "s" value { data_type: TYPE_STRING dims: 1 ${sData} } }`;

/** What the runs of a warm-up are fed. */
async function fed(text: string, fail?: Error): Promise<ReadonlyMap<string, Tensor>[]> {
  const config = readTextProto(`max_batch_size: 8 ${text}`, tritonConfigType, "config.pbtxt");
  const description = describeGraph([...signature.inputs.values()], [...signature.outputs.values()]);
  const model = bindTritonModel(planTritonModel(config, "m"), signature, description, new Map());
  const runs: ReadonlyMap<string, Tensor>[] = [];
  const session = sessionOf({
    run: (feeds) => {
      if (fail !== undefined) throw fail;
      runs.push(feeds);
      return new Map();
    },
  });
  await runModelWarmup(model, signature, session, folder, neverCancelled);
  return runs;
}

describe("model_warmup", () => {
  it("runs zeros as often as it says, with its batch in front", async () => {
    const runs = await fed(
      `model_warmup { name: "w" batch_size: 3 count: 2 ${inputs("zero_data: true", "zero_data: true")} }`,
    );
    assert.equal(runs.length, 2);
    assert.deepEqual(runs[1]!.get("x:0"), { dtype: "float32", shape: [3, 2], data: new Float32Array(6) });
    assert.deepEqual(runs[1]!.get("s:0"), { dtype: "string", shape: [3, 1], data: ["", "", ""] });
  });

  it("runs random values, and what lies in files", async () => {
    writeFileSync(join(folder, "warmup", "x.bin"), new Uint8Array(Float32Array.of(1, 2).buffer));
    writeFileSync(join(folder, "warmup", "s.bin"), Buffer.from([2, 0, 0, 0, 0x68, 0x69]));
    const files = inputs('input_data_file: "x.bin"', 'input_data_file: "s.bin"');
    const [fromFiles] = await fed(`model_warmup { name: "f" batch_size: 1 ${files} }`);
    assert.deepEqual(fromFiles!.get("x:0")?.data, Float32Array.of(1, 2));
    assert.deepEqual(fromFiles!.get("s:0")?.data, ["hi"]);
    const [random] = await fed(`model_warmup { name: "r" ${inputs("random_data: true", "random_data: true")} }`);
    const values = random!.get("x:0")!;
    assert.deepEqual(values.shape, [1, 2]);
    assert.ok((values.data as Float32Array).every((value) => value >= 0 && value < 1));
  });

  it("fails the load when its inputs do not fit, a file is missing, or a run fails", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 } }', /model_warmup "w": input "s" is missing/],
      [inputs("", "").replace("TYPE_FP32", "TYPE_INT8"), /input "x" is not of type float32/],
      [inputs("dims: -1", ""), /is no shape that can be warmed up with/],
      [inputs('input_data_file: "../secret"', ""), /is no file in warmup/],
      [inputs('input_data_file: "x.bin"', ""), /ENOENT/],
    ];
    for (const [text, message] of cases) {
      const code = message.source === "ENOENT" ? "NOT_FOUND" : "INVALID_ARGUMENT";
      await rejectsWith(code, message, () => fed(`model_warmup { name: "w" ${text} }`));
    }
    writeFileSync(join(folder, "warmup", "x.bin"), Buffer.alloc(4));
    await rejectsWith("INVALID_ARGUMENT", /x.bin has 4 bytes; 8 are needed/, () =>
      fed(`model_warmup { name: "w" ${inputs('input_data_file: "x.bin"', "")} }`),
    );
    await rejectsWith("INTERNAL", /model_warmup "w": exploded/, () =>
      fed(`model_warmup { name: "w" ${inputs("", "")} }`, internal("exploded")),
    );
  });
});
