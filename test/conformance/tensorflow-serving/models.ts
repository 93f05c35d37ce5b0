// The models that the table of messages is asked of: small, and each able to be called wrongly in one way or another.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { encodeModel, GraphBuilder } from "../../../src/onnx/index.js";
import { frameRecord } from "../../../src/serving/tf-record.js";
import { warmupFileName } from "../../../src/serving/warmup.js";
import { PredictionLog } from "../../gen/tensorflow_serving/apis/prediction_log.js";
import type { ModelFolder } from "../../support/model-folder.js";
import {
  affineModel,
  failingModel,
  identityModel,
  int64Tensor,
  scalarOutputModel,
  severalInputsModel,
} from "../../support/test-models.js";

const onExamples = { classify: "tensorflow/serving/classify", regress: "tensorflow/serving/regress" } as const;

interface SignatureText {
  readonly key: string;
  readonly method: string;
  /** Aliases to the graph's names, or names that are their own aliases. */
  readonly inputs: readonly string[] | Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  /** More fields, in text form. */
  readonly more?: string;
}

function signatureDefs(signatures: readonly SignatureText[]): string {
  const entries = (field: string, names: SignatureText["inputs"]) =>
    Object.entries(Array.isArray(names) ? Object.fromEntries(names.map((name) => [name, name])) : names)
      .map(([alias, name]) => `${field} { key: "${alias}" value { name: "${name}" } }`)
      .join(" ");
  return signatures
    .map(
      ({ key, method, inputs, outputs, more = "" }) =>
        `signature_def { key: "${key}" value { ${entries("inputs", inputs)} ${entries("outputs", outputs)} method_name: "${method}" ${more} } }`,
    )
    .join("\n");
}

/** From x of shape [batch, 2], outputs of every shape and type that a classifier's or regressor's may not have. */
function shapesModel(): Uint8Array {
  const graph = new GraphBuilder("shapes");
  const x = graph.input("x", "float32", ["batch", 2]);
  const strings = elementTypeString;
  graph.node("Identity", [x], {}, { outputs: ["matrix"] });
  graph.node(
    "ReduceMax",
    [x, graph.initializer("axis", int64Tensor([1], 1))],
    { keepdims: 0 },
    { outputs: ["vector"] },
  );
  graph.node("ReduceMax", [x, graph.initializer("rows", int64Tensor([1], 0))], {}, { outputs: ["one_row"] });
  graph.node("ReduceMax", ["one_row"], { keepdims: 0 }, { outputs: ["scalar"] });
  graph.node("Unsqueeze", ["scalar", "rows"], {}, { outputs: ["one"] });
  graph.node("Unsqueeze", ["vector", "axis"], {}, { outputs: ["column"] });
  graph.node("Cast", ["matrix"], { to: strings }, { outputs: ["texts"] });
  graph.node("Cast", ["one_row"], { to: strings }, { outputs: ["text_row"] });
  graph.node("Cast", ["column"], { to: strings }, { outputs: ["text_column"] });
  graph.node("Cast", ["vector"], { to: strings }, { outputs: ["text_vector"] });
  for (const [name, dtype, shape] of [
    ["matrix", "float32", ["batch", 2]],
    ["vector", "float32", ["batch"]],
    ["one_row", "float32", [1, 2]],
    ["one", "float32", [1]],
    ["column", "float32", ["batch", 1]],
    ["texts", "string", ["batch", 2]],
    ["text_row", "string", [1, 2]],
    ["text_column", "string", ["batch", 1]],
    ["text_vector", "string", ["batch"]],
  ] as const) {
    graph.output(name, dtype, shape);
  }
  return encodeModel(graph);
}
/** TensorProto.DataType.STRING of ONNX. */
const elementTypeString = 8;

const { classify, regress } = onExamples;
const shapesSignatures: readonly SignatureText[] = [
  { key: "serving_default", method: "tensorflow/serving/predict", inputs: ["x"], outputs: { matrix: "matrix" } },
  { key: "classify", method: classify, inputs: ["x"], outputs: { classes: "texts", scores: "matrix" } },
  { key: "regress", method: regress, inputs: ["x"], outputs: { outputs: "column" } },
  { key: "three", method: classify, inputs: ["x"], outputs: { scores: "matrix", a: "matrix", b: "matrix" } },
  { key: "strange", method: classify, inputs: ["x"], outputs: { a: "matrix" } },
  { key: "plain", method: "tensorflow/serving/predict", inputs: { inputs: "x" }, outputs: { scores: "matrix" } },
  {
    key: "plain_regress",
    method: "tensorflow/serving/predict",
    inputs: { inputs: "x" },
    outputs: { outputs: "column" },
  },
  { key: "odd", method: "tensorflow/serving/odd", inputs: ["x"], outputs: { matrix: "matrix" } },
  { key: "vector_scores", method: classify, inputs: ["x"], outputs: { scores: "vector" } },
  { key: "vector_classes", method: classify, inputs: ["x"], outputs: { classes: "text_vector" } },
  { key: "float_classes", method: classify, inputs: ["x"], outputs: { classes: "matrix" } },
  { key: "text_scores", method: classify, inputs: ["x"], outputs: { scores: "texts" } },
  { key: "one_score", method: classify, inputs: ["x"], outputs: { scores: "one_row" } },
  { key: "one_class", method: classify, inputs: ["x"], outputs: { classes: "text_row" } },
  { key: "few_classes", method: classify, inputs: ["x"], outputs: { classes: "text_column", scores: "matrix" } },
  { key: "wide", method: regress, inputs: ["x"], outputs: { outputs: "matrix" } },
  { key: "one_value", method: regress, inputs: ["x"], outputs: { outputs: "one" } },
  { key: "text_value", method: regress, inputs: ["x"], outputs: { outputs: "text_vector" } },
];

/** Features of each kind; the answer is f[0] + f[1]. */
function featuresModel(): Uint8Array {
  const graph = new GraphBuilder("features");
  const f = graph.input("f", "float32", ["batch", 2]);
  graph.node("Identity", [graph.input("n", "int64", ["batch", 1])], {}, { outputs: ["n_out"] });
  graph.node("Identity", [graph.input("t", "string", ["batch", 1])], {}, { outputs: ["t_out"] });
  graph.node("ReduceSum", [f, graph.initializer("axis", int64Tensor([1], 1))], {}, { outputs: ["sum"] });
  graph.output("sum", "float32", ["batch", 1]);
  graph.output("n_out", "int64", ["batch", 1]);
  graph.output("t_out", "string", ["batch", 1]);
  return encodeModel(graph);
}

/** The sum of as many numbers as an example has. */
function sequenceModel(): Uint8Array {
  const graph = new GraphBuilder("sequence");
  const x = graph.input("x", "float32", ["batch", "steps", 2]);
  const axes = graph.initializer("axes", int64Tensor([2], 1, 2));
  graph.node("ReduceSum", [x, axes], { keepdims: 0 }, { outputs: ["sum"] });
  graph.output("sum", "float32", ["batch"]);
  return encodeModel(graph);
}

/** y = x, and z: its largest element, a row whatever the rows. */
function unevenModel(): Uint8Array {
  const graph = new GraphBuilder("uneven");
  const x = graph.input("x", "float32", ["batch"]);
  graph.node("Identity", [x], {}, { outputs: ["y"] });
  graph.node("ReduceMax", [x], { keepdims: 1 }, { outputs: ["z"] });
  graph.output("y", "float32", ["batch"]);
  graph.output("z", "float32", [1]);
  return encodeModel(graph);
}

/** Of every type that JSON has words for, an identity that takes any shape. */
export const echoTypes = {
  float: "float32",
  double: "float64",
  int32: "int32",
  int64: "int64",
  uint8: "uint8",
  int8: "int8",
  int16: "int16",
  uint32: "uint32",
  uint64: "uint64",
  bool: "bool",
  string: "string",
} as const;

/**
 * @param wanted names of those that are to be served; default: all
 * @returns the path of a config file that names them
 */
export function publishModels(folder: ModelFolder, wanted?: readonly string[]): string {
  const blocks: Record<string, string> = {};
  const publish = (name: string, bytes: Uint8Array, signatures?: readonly SignatureText[], block = "") => {
    if (wanted?.includes(name) === false) return;
    folder.publish(name, 1, bytes);
    if (signatures !== undefined) {
      writeFileSync(join(folder.basePath(name), "1", "signature_defs.pbtxt"), signatureDefs(signatures));
    }
    blocks[name] = block;
  };
  publish(
    "line",
    affineModel(2, 1),
    undefined,
    'model_version_policy { all {} } version_labels { key: "stable" value: 1 }',
  );
  folder.publish("line", 2, affineModel(2, 2));
  publish("pair", severalInputsModel());
  const pair = { method: "tensorflow/serving/predict", outputs: { sum: "sum", difference: "difference" } };
  publish("pair_defaults", severalInputsModel(), [
    {
      ...pair,
      key: "serving_default",
      inputs: ["a", "b", "ids"],
      more: `defaults { key: "b" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: [1, 2] } }`,
    },
    { ...pair, key: "other_input", inputs: { left: "a", b: "b", ids: "ids" } },
  ]);
  publish("shapes", shapesModel(), shapesSignatures);
  publish("features", featuresModel(), [
    { key: "regress", method: regress, inputs: ["f", "n", "t"], outputs: { outputs: "sum" } },
  ]);
  publish("sequence", sequenceModel(), [
    { key: "regress", method: regress, inputs: ["x"], outputs: { outputs: "sum" } },
  ]);
  publish("uneven", unevenModel());
  publish("scalar", scalarOutputModel());
  publish("failing", failingModel());
  for (const [name, dtype] of Object.entries(echoTypes)) publish(name, identityModel(dtype, "any rank"));
  return folder.writeConfig(blocks);
}

/** Versions that do not load, by the name of their model. */
export function publishBrokenModels(folder: ModelFolder): Record<string, string> {
  const blocks: Record<string, string> = {};
  const add = (name: string, file: string, content: string | Uint8Array) => {
    folder.publish(name, 1, affineModel(2, 1));
    const path = join(folder.basePath(name), "1", file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    blocks[name] = "";
  };
  const log = (logType: PredictionLog["logType"]) =>
    frameRecord(PredictionLog.encode({ logMetadata: undefined, logType }).finish());
  const nothing = log(undefined);
  const damaged = Buffer.from(nothing);
  damaged[damaged.length - 1]! ^= 0xff;
  add("warm_damaged", warmupFileName, damaged);
  add("warm_cut_off", warmupFileName, nothing.subarray(0, -1));
  add("warm_other", warmupFileName, frameRecord(Buffer.from([0x0a, 0x50, 1])));
  add(
    "warm_session_run",
    warmupFileName,
    log({ $case: "sessionRunLog", value: { request: Buffer.alloc(1), response: Buffer.alloc(0) } }),
  );
  add("warm_streamed", warmupFileName, log({ $case: "predictStreamedLog", value: { request: [], response: [] } }));
  add("warm_too_many", warmupFileName, Buffer.concat(new Array<Buffer>(1001).fill(nothing)));
  add("warm_failing", warmupFileName, log({ $case: "predictLog", value: { request: undefined, response: undefined } }));
  add("batch_timeout", "batching_params.pbtxt", "batch_timeout_micros { value: -1 }");
  add("batch_sizes", "batching_params.pbtxt", "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]");
  add(
    "batch_split",
    "batching_params.pbtxt",
    "max_batch_size { value: 4 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 }",
  );
  add("batch_malformed", "batching_params.pbtxt", "max_batch_sizes { value: 4 }");
  return blocks;
}

/** An hour: a batch that is not full does not run in a test. */
const never = "batch_timeout_micros { value: 3600000000 }";

/** Models that are batched, each by parameters of its own. */
export function publishBatchedModels(folder: ModelFolder): Record<string, string> {
  const parameters: Record<string, [Uint8Array, string]> = {
    queue: [affineModel(2, 1), `max_batch_size { value: 2 } max_enqueued_batches { value: 1 } ${never}`],
    split: [
      affineModel(2, 1),
      `max_batch_size { value: 10 } enable_large_batch_splitting { value: true }
       max_execution_batch_size { value: 2 } max_enqueued_batches { value: 2 } ${never}`,
    ],
    mixed: [identityModel("float32", ["batch", "width"]), `max_batch_size { value: 2 } ${never}`],
    padded: [
      identityModel("float32", ["batch", "width"]),
      `max_batch_size { value: 2 } pad_variable_length_inputs: true ${never}`,
    ],
    any_rank: [identityModel("float32", "any rank"), "pad_variable_length_inputs: true"],
    uneven: [unevenModel(), ""],
    total: [scalarOutputModel(), ""],
    pair: [encodeModel(unsharedPair()), ""],
    constant: [encodeModel(constantGraph()), ""],
  };
  const blocks: Record<string, string> = {};
  for (const [name, [bytes, text]] of Object.entries(parameters)) {
    folder.publish(name, 1, bytes);
    writeFileSync(join(folder.basePath(name), "1", "batching_params.pbtxt"), text);
    blocks[name] = "";
  }
  return blocks;
}

/** Two inputs whose sizes have nothing to do with each other. */
function unsharedPair(): GraphBuilder {
  const graph = new GraphBuilder("unshared_pair");
  for (const name of ["a", "b"]) {
    graph.node("Identity", [graph.input(name, "float32", [undefined])], {}, { outputs: [`${name}_out`] });
    graph.output(`${name}_out`, "float32", [undefined]);
  }
  return graph;
}

function constantGraph(): GraphBuilder {
  const graph = new GraphBuilder("constant");
  graph.node("Identity", [graph.initializer("value", int64Tensor([1], 7))], {}, { outputs: ["y"] });
  graph.output("y", "int64", [1]);
  return graph;
}
