import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Dimension, Signature, TensorSpec } from "../../../src/onnx/index.js";
import { readTextProto } from "../../../src/serving/text-proto/text-schema.js";
import { parseTritonConfigJson, readTritonConfig } from "../../../src/serving/triton/config-file.js";
import { type TritonConfig, tritonConfigType } from "../../../src/serving/triton/config-schema.js";
import { readLabels } from "../../../src/serving/triton/labels.js";
import { bindTritonModel, planTritonModel } from "../../../src/serving/triton/triton-model.js";
import type { ElementType } from "../../../src/tensor/index.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { repositoryRoot } from "../../support/repository-root.js";
import { describeGraph } from "../../support/servables.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onnxd-triton-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const parse = (text: string): TritonConfig => readTextProto(text, tritonConfigType, "config.pbtxt");
const plan = (text: string) => planTritonModel(parse(text), "m");

type Specs = Readonly<Record<string, readonly [ElementType, readonly Dimension[] | undefined]>>;
const specs = (of: Specs): Map<string, TensorSpec> =>
  new Map(Object.entries(of).map(([name, [dtype, shape]]) => [name, { name, dtype, shape }]));

/** Binds a configuration to a model with these tensors. */
function bind(text: string, inputs: Specs, outputs: Specs = { y: ["float32", ["b", 2]] }, labels = new Map()) {
  const signature: Signature = {
    key: "serving_default",
    methodName: "",
    inputs: specs(inputs),
    outputs: specs(outputs),
  };
  const description = describeGraph([...signature.inputs.values()], [...signature.outputs.values()]);
  const classLabels = new Map([["y", ["from", "model"]]]);
  return bindTritonModel(plan(text), signature, { ...description, classLabels }, labels);
}
const batched: Specs = { x: ["float32", ["b", 4]] };
const x = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }';

/** The names of a message's own fields, those of its oneofs among them, in the text of a .proto file. */
function fieldsOf(message: string, proto: string): string[] {
  const start = proto.indexOf(`message ${message} {`);
  let body = proto.slice(start, proto.indexOf("\n}", start)).slice(`message ${message} {`.length);
  body = body.replaceAll(/\/\/.*/g, "").replaceAll(/oneof \w+ \{([^}]*)\}/g, "$1");
  for (let before = ""; before !== body; ) {
    before = body;
    body = body.replaceAll(/(?:message|enum) \w+ \{[^{}]*\}/g, "");
  }
  return [...body.matchAll(/(\w+) = \d+/g)].map(([, name]) => name!);
}

describe("config.pbtxt", () => {
  it("is read from a model's directory; without one everything is left to the model", async () => {
    assert.equal((await readTritonConfig(folder)).max_batch_size, 0);
    writeFileSync(
      join(folder, "config.pbtxt"),
      `# as published
       name: "m" platform: "onnxruntime_onnx" max_batch_size: 8
       input [ { name: "x", data_type: TYPE_FP32, dims: [ 4 ] } ]
       output: { name: "y" data_type: TYPE_FP32 dims: 2 label_filename: "labels" ".txt" }
       version_policy: { specific { versions: [ 1, 3 ] } }
       instance_group [ { kind: KIND_CPU count: 2 } ]
       parameters { key: "intra_op_thread_count" value: { string_value: "3" } }`,
    );
    const config = await readTritonConfig(folder);
    assert.equal(config.max_batch_size, 8);
    assert.deepEqual(config.input[0]?.dims, [4n]);
    assert.equal(config.output[0]?.label_filename, "labels.txt");
    assert.deepEqual(config.version_policy?.specific?.versions, [1n, 3n]);
    const { sessionOptions, modelFileName } = planTritonModel(config, "m");
    assert.deepEqual(sessionOptions, { poolSize: 2, intraOpThreads: 3 });
    assert.equal(modelFileName, "model.onnx");
  });

  it("is refused for what Triton does not know, with line and column", async () => {
    writeFileSync(join(folder, "config.pbtxt"), 'name: "m"\nmax_batchsize: 8');
    await rejectsWith(
      "INVALID_ARGUMENT",
      /2:1: Message type "inference.ModelConfig" has no field named "max_batchsize"/,
      () => readTritonConfig(folder),
    );
    await rejectsWith("INVALID_ARGUMENT", /another member of oneof "scheduling_choice"/, () =>
      parse("dynamic_batching {} sequence_batching {}"),
    );
  });

  it("may be sent as JSON, in either spelling, 64-bit integers as numbers or strings", () => {
    const json = {
      maxBatchSize: 8,
      input: [{ name: 'x"\n', data_type: "TYPE_FP32", dims: ["4", -1], reshape: { shape: [] } }],
      versionPolicy: { latest: { numVersions: 2 } },
      dynamic_batching: { preferredBatchSize: [4, 8], maxQueueDelayMicroseconds: "100" },
      instanceGroup: [{ kind: "KIND_CPU", count: 2 }],
      parameters: { intra_op_thread_count: { string_value: "3" } },
      metricTags: { kind: "a b" },
      modelWarmup: [{ name: "w", inputs: { x: { dataType: "TYPE_FP32", dims: [4], zeroData: true } } }],
      optimization: null,
    };
    const config = parseTritonConfigJson(JSON.stringify(json));
    assert.equal(config.max_batch_size, 8);
    assert.deepEqual(config.input[0], {
      ...config.input[0],
      name: 'x"\n',
      data_type: 11,
      dims: [4n, -1n],
      reshape: { shape: [] },
    });
    assert.equal(config.version_policy?.latest?.num_versions, 2);
    assert.deepEqual(config.dynamic_batching?.preferred_batch_size, [4, 8]);
    assert.equal(config.dynamic_batching?.max_queue_delay_microseconds, 100n);
    assert.equal(config.instance_group[0]?.kind, 2);
    assert.equal(config.parameters.get("intra_op_thread_count")?.string_value, "3");
    assert.equal(config.metric_tags.get("kind"), "a b");
    assert.equal(config.model_warmup[0]?.inputs.get("x")?.zero_data, true);
  });

  it("sent as JSON is refused when it is none, or says what there is not", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["{", /failed to parse the model configuration as JSON/],
      ["[]", /must be a JSON object/],
      ['{"nonsense": 1}', /has no field named "nonsense"/],
      ['{"max_batch_size": "many"}', /Expected integer/],
      ['{"input": [{"data_type": "TYPE_ODD"}]}', /Unknown enumeration value of "TYPE_ODD"/],
      ['{"a b": 1}', /"a b" is no field/],
    ];
    for (const [json, message] of cases) {
      await rejectsWith("INVALID_ARGUMENT", message, () => parseTritonConfigJson(json));
    }
  });
});

describe("a Triton configuration", () => {
  it("is refused by field where ignoring it would change the answers", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['name: "other"', /^config.pbtxt: name: "other" is not the name of the model's directory, "m"/],
      ['platform: "tensorflow_savedmodel"', /platform: "tensorflow_savedmodel" is not served; onnxruntime_onnx is/],
      ['platform: "ensemble"', /ensembles are not served/],
      ['ensemble_scheduling { step { model_name: "a" } }', /ensembles are not served/],
      ['backend: "python"', /backend: "python" is not served/],
      ['runtime: "x"', /runtime/],
      ["sequence_batching {}", /stateful models are not served/],
      ['batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" }', /batch_input/],
      ['batch_output { target_name: "n" }', /batch_output/],
      ["model_transaction_policy { decoupled: true }", /decoupled/],
      ['model_operations { op_library_filename: "x.so" }', /libraries of operators/],
      ['model_repository_agents { agents { name: "checksum" } }', /model_repository_agents/],
      ["max_batch_size: -1", /max_batch_size: must be 0 or more/],
      ['default_model_filename: "../x.onnx"', /default_model_filename/],
      ["instance_group { passive: true }", /passive/],
      ['input { name: "x" data_type: TYPE_FP32 dims: 1 is_shape_tensor: true }', /is_shape_tensor: tensor "x"/],
      ['input { name: "x" data_type: TYPE_FP32 dims: 1 allow_ragged_batch: true }', /allow_ragged_batch: tensor "x"/],
      ['input { name: "x" data_type: TYPE_FP32 dims: 1 optional: true }', /optional: tensor "x"/],
      ['output { name: "y" data_type: TYPE_FP32 dims: 1 is_non_linear_format_io: true }', /is_non_linear_format_io/],
      ['input { name: "x" data_type: TYPE_FP32 dims: -2 }', /holds what is no size/],
      ["input { data_type: TYPE_FP32 dims: 1 }", /a tensor has no name/],
      ['model_warmup { name: "w" batch_size: 3 }', /batch_size 3 is above max_batch_size/],
      ['parameters { key: "intra_op_thread_count" value { string_value: "all" } }', /intra_op_thread_count/],
    ];
    for (const [text, message] of cases) await rejectsWith("INVALID_ARGUMENT", message, () => plan(text));
  });

  it("reports by field what only costs speed or a figure", () => {
    const { withoutEffect } = plan(
      `instance_group { kind: KIND_GPU gpus: 0 host_policy: "a" profile: "p" rate_limiter {} secondary_devices {} }
       max_batch_size: 1 dynamic_batching {
         preferred_batch_size: 4 max_queue_delay_microseconds: 5 preserve_ordering: true priority_levels: 2
         default_priority_level: 1
         default_queue_policy { default_timeout_microseconds: 5 allow_timeout_override: true timeout_action: DELAY }
         priority_queue_policy { key: 1 value {} }
       }
       optimization {} model_metrics { metric_control {} } response_cache { enable: true } metric_tags { key: "a" value: "b" }
       cc_model_filenames { key: "7.5" value: "a" } input { name: "x" data_type: TYPE_FP32 dims: 1 format: FORMAT_NHWC }
       parameters { key: "execution_mode" value { string_value: "1" } }`,
    );
    const names = withoutEffect.map((sentence) => sentence.split(" (")[0]);
    assert.deepEqual(names, [
      "instance_group.kind: KIND_GPU",
      "instance_group.rate_limiter",
      "instance_group.profile",
      "instance_group.host_policy",
      "instance_group.secondary_devices",
      "input.format",
      "cc_model_filenames",
      "dynamic_batching",
      "dynamic_batching.preferred_batch_size",
      "dynamic_batching.preserve_ordering",
      "dynamic_batching.priority_levels",
      "dynamic_batching.default_priority_level",
      "dynamic_batching.priority_queue_policy",
      "default_queue_policy.default_timeout_microseconds",
      "default_queue_policy.allow_timeout_override",
      "default_queue_policy.timeout_action: DELAY",
      "optimization",
      "response_cache",
      "metric_tags",
      "model_metrics",
      'parameters "execution_mode"',
    ]);
    assert.deepEqual(plan('platform: "onnxruntime_onnx" max_batch_size: 2 dynamic_batching {}').withoutEffect, []);
  });

  it("has each of its fields in the table of docs/open-inference.md", () => {
    const page = readFileSync(join(repositoryRoot, "docs", "open-inference.md"), "utf8");
    const rows = page.split("\n").filter((line) => line.startsWith("| `"));
    const named = new Set(rows.flatMap((row) => row.split("|")[1]!.match(/\w+/g)!));
    const proto = readFileSync(join(repositoryRoot, "proto", "inference", "model_config.proto"), "utf8");
    for (const type of ["Config", "Input", "Output", "InstanceGroup", "DynamicBatching", "QueuePolicy"]) {
      const fields = fieldsOf(`Model${type}`, proto);
      assert.ok(fields.length > 3, `${type}: ${fields}`);
      const missing = fields.filter((name) => !named.has(name));
      assert.deepEqual(missing, [], `of Model${type}`);
    }
  });

  it("sizes the pool by its instances and the queue by its policy", () => {
    const text =
      "instance_group [{ count: 2 }, { count: 1 gpus: [0, 1] kind: KIND_GPU }] dynamic_batching { default_queue_policy { max_queue_size: 7 } }";
    assert.deepEqual(plan(text).sessionOptions, { poolSize: 4, maxQueue: 7 });
    assert.deepEqual(plan("").sessionOptions, {});
  });
});

describe("a Triton configuration held against its model", () => {
  it("shows tensors without their batch dimension, and as reshape has them", () => {
    const model = bind(
      `max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } }
       output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "l" }`,
      batched,
      undefined,
      new Map([["l", ["cat", "dog"]]]),
    );
    assert.equal(model.maxBatchSize, 8);
    assert.deepEqual(model.inputs, [{ name: "x", dtype: "float32", dims: [2, 2], reshape: [4] }]);
    assert.deepEqual(model.outputs?.[0]?.labels, ["cat", "dog"]);
  });

  it("leaves to the model what it does not say, its own labels too", () => {
    const model = bind("max_batch_size: 8", batched);
    assert.equal(model.inputs, undefined);
    const labelled = bind('max_batch_size: 8 output { name: "y" data_type: TYPE_FP32 dims: 2 }', batched);
    assert.deepEqual(labelled.outputs?.[0]?.labels, ["from", "model"]);
  });

  it("may fix what the model leaves open, and not open what it fixes", async () => {
    const open: Specs = { x: ["float32", ["b", "n"]] };
    assert.deepEqual(bind(`max_batch_size: 1 ${x}`, open).inputs?.[0]?.dims, [4]);
    await rejectsWith(
      "INVALID_ARGUMENT",
      /"x" has shape \[-1,-1\] with its batch dimension; the model file has it as \[b,4\]/,
      () => bind('max_batch_size: 1 input { name: "x" data_type: TYPE_FP32 dims: -1 }', batched),
    );
  });

  it("is refused when the two disagree, naming the tensor, expected and got", async () => {
    const fixed: Specs = { x: ["float32", [1, 4]] };
    const cases: readonly (readonly [string, Specs, RegExp])[] = [
      [
        `max_batch_size: 4 ${x}`,
        fixed,
        /max_batch_size: is 4, but tensor "x" .* has shape \[1,4\], without an open first dimension/,
      ],
      ["max_batch_size: 4", { x: ["float32", []] }, /without an open first dimension/],
      ['input { name: "q" data_type: TYPE_FP32 dims: 1 }', fixed, /input: "q" is none of the model's: x/],
      [x, { ...fixed, z: ["int64", [1]] }, /"x" has shape \[4\]; the model file has it as \[1,4\]/],
      [
        'input { name: "x" data_type: TYPE_FP32 dims: [1, 4] }',
        { ...fixed, z: ["int64", [1]] },
        /the model's input "z" is missing/,
      ],
      [
        'input { name: "x" data_type: TYPE_INT64 dims: [1, 4] }',
        fixed,
        /"x" is TYPE_INT64; the model file has it as float32/,
      ],
      [
        'input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ 1, 4 ] } }',
        fixed,
        /not as many open dimensions/,
      ],
      ['output { name: "w" data_type: TYPE_FP32 dims: 2 }', fixed, /output: "w" is none of the model's: y/],
    ];
    for (const [text, inputs, message] of cases) {
      await rejectsWith("INVALID_ARGUMENT", message, () => bind(text, inputs));
    }
  });
});

describe("a label file", () => {
  it("has a label a line", async () => {
    writeFileSync(join(folder, "labels.txt"), "cat\r\ndog\n");
    assert.deepEqual(await readLabels(folder, "labels.txt"), ["cat", "dog"]);
    writeFileSync(join(folder, "labels.txt"), "cat\n\ndog");
    assert.deepEqual(await readLabels(folder, "labels.txt"), ["cat", "", "dog"]);
  });

  it("that is not there, or elsewhere, is refused", async () => {
    await rejectsWith("INVALID_ARGUMENT", /label_filename: ENOENT/, () => readLabels(folder, "labels.txt"));
    await rejectsWith("INVALID_ARGUMENT", /no file in the model's directory/, () =>
      readLabels(folder, "../labels.txt"),
    );
  });
});
