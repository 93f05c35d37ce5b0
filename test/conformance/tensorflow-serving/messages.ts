// Every message of TensorFlow Serving's that a client, a config file or a command line can meet: what causes it, its code,
// its text. A row with both doors has one text for both. Texts are whole, but "…" stands for anything: the values that
// TensorFlow Serving prints in a form of its own, and what we add.
import type { CodeName } from "../../../src/status.js";
import type { Example } from "../../gen/tensorflow/core/example/example.js";
import type { Feature } from "../../gen/tensorflow/core/example/feature.js";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import type { DataType } from "../../gen/tensorflow/core/framework/types.js";
import type { Input } from "../../gen/tensorflow_serving/apis/input.js";

/** A request in the form that the generated codecs' fromPartial takes. */
export interface GrpcCall {
  readonly rpc:
    | "predict"
    | "classify"
    | "regress"
    | "multiInference"
    | "getModelMetadata"
    | "getModelStatus"
    | "reload";
  readonly request: object;
}

export interface RestCall {
  readonly method: string;
  readonly path: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Met {
  /** Section and row of the specification that our server was built from. */
  readonly at: string;
  readonly what: string;
  readonly code: CodeName;
  readonly text: string;
  /** Why the text, or the situation, is not TensorFlow Serving's own. */
  readonly differs?: string;
}

export type Row =
  | (Met & {
      readonly grpc?: GrpcCall;
      readonly rest?: RestCall;
      /** Which of the test's servers is asked; default: "plain". */
      readonly server?: "plain" | "checked" | "batched";
      /** A call that waits in the model's queue when this one comes. */
      readonly beside?: GrpcCall;
    })
  /** What GetModelStatus and the status call say of the model's one version, on the server "batched". */
  | (Met & { readonly version: string })
  /** A start that fails; FOLDER is a directory with the file's text in it, as "file". */
  | (Met & { readonly start: readonly string[]; readonly file?: string })
  /** A server that gets no such request. */
  | { readonly at: string; readonly what: string; readonly text: string; readonly unreachable: string };

// Requests

type Fields = Parameters<typeof TensorProto.fromPartial>[0];
const tensor = (dtype: number, shape: readonly (number | bigint)[], fields: Fields = {}): TensorProto =>
  TensorProto.fromPartial({
    dtype: dtype as DataType,
    tensorShape: { dim: shape.map((size) => ({ size: BigInt(size) })) },
    ...fields,
  });
const [dtFloat, dtString, dtInt64, dtBool] = [1, 7, 9, 10];
const floats = (shape: readonly number[], ...floatVal: number[]) => tensor(dtFloat, shape, { floatVal });

interface Spec {
  readonly version?: bigint;
  readonly label?: string;
  readonly signature?: string;
}
const modelSpec = (name: string, { version, label, signature = "" }: Spec = {}) => ({
  name,
  signatureName: signature,
  ...(version !== undefined && { versionChoice: { $case: "version", value: version } }),
  ...(label !== undefined && { versionChoice: { $case: "versionLabel", value: label } }),
});
const predict = (
  model: string,
  inputs: Readonly<Record<string, TensorProto>>,
  spec: Spec = {},
  ...outputFilter: string[]
): GrpcCall => ({
  rpc: "predict",
  request: { modelSpec: modelSpec(model, spec), inputs: new Map(Object.entries(inputs)), outputFilter },
});
const line = (x: TensorProto, spec: Spec = {}, ...outputFilter: string[]) =>
  predict("line", { x }, spec, ...outputFilter);

const example = (features: Readonly<Record<string, Feature["kind"]>>): Example => ({
  features: { feature: new Map(Object.entries(features).map(([name, kind]) => [name, { kind }])) },
});
const floatList = (...value: number[]): Feature["kind"] => ({ $case: "floatList", value: { value } });
const int64List = (...value: bigint[]): Feature["kind"] => ({ $case: "int64List", value: { value } });
const bytesList = (...value: string[]): Feature["kind"] => ({
  $case: "bytesList",
  value: { value: value.map((text) => Buffer.from(text)) },
});
const listOf = (...examples: Example[]): Input => ({ kind: { $case: "exampleList", value: { examples } } });
const x = { x: floatList(1, 2) };
const twoRows = listOf(example(x), example(x));
const on = (rpc: "classify" | "regress", model: string, signature: string, input: Input | undefined = twoRows) => ({
  rpc,
  request: { modelSpec: modelSpec(model, { signature }), ...(input && { input }) },
});
const classify = (signature: string, input?: Input) => on("classify", "shapes", signature, input);
const regress = (signature: string, input?: Input) => on("regress", "shapes", signature, input);
const features = (...examples: Example[]) => on("regress", "features", "regress", listOf(...examples));
const good = { f: floatList(1, 2), n: int64List(1n), t: bytesList("a") };

const classifyMethod = "tensorflow/serving/classify";
const regressMethod = "tensorflow/serving/regress";
const task = (signature: string, methodName: string, model = "shapes") => ({
  modelSpec: modelSpec(model, { signature }),
  methodName,
});
const multi = (tasks: readonly object[], input: Input | undefined = twoRows): GrpcCall => ({
  rpc: "multiInference",
  request: { tasks, ...(input && { input }) },
});

const metadata = (model: string | undefined, fields: readonly string[] = ["signature_def"], spec?: Spec): GrpcCall => ({
  rpc: "getModelMetadata",
  request: { ...(model !== undefined && { modelSpec: modelSpec(model, spec) }), metadataField: fields },
});
const status = (model: string | undefined, spec?: Spec): GrpcCall => ({
  rpc: "getModelStatus",
  request: model === undefined ? {} : { modelSpec: modelSpec(model, spec) },
});
const reload = (...config: readonly object[]): GrpcCall => ({
  rpc: "reload",
  request: { config: { config: { $case: "modelConfigList", value: { config } } } },
});
/** FOLDER stands for where the models lie. */
const configured = (name: string, more: object = {}) => ({
  name,
  basePath: `FOLDER/${name}`,
  modelPlatform: "tensorflow",
  ...more,
});
const labelled = (version: bigint) => ({ versionLabels: new Map([["stable", version]]) });

const post = (target: string, body: string | object, headers: Record<string, string> = {}): RestCall => ({
  method: "POST",
  path: `/v1/models/${target}`,
  body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
  headers,
});
const get = (path: string): RestCall => ({ method: "GET", path: `/v1/models${path}` });
const rows = (model: string, text: string) => post(`${model}:predict`, `{"instances": ${text}}`);
const columns = (model: string, text: string) => post(`${model}:predict`, `{"inputs": ${text}}`);
const examples = (verb: "classify" | "regress", signature: string) =>
  post(`shapes:${verb}`, { signature_name: signature, examples: [{ x: [1, 2] }, { x: [1, 2] }] });
const featureRow = (text: string) => post("features:regress", `{"examples": [${text}]}`);

// The table

const surface: readonly Row[] = [
  {
    at: "gRPC 1.1",
    what: "a message longer than 1024 bytes",
    grpc: line(floats([1, 1], 1), { label: "x".repeat(2000) }),
    code: "INVALID_ARGUMENT",
    text: `Unrecognized servable version label: ${"x".repeat(1024 - "Unrecognized servable version label: ".length)}...TRUNCATED`,
  },
];

const tensors: readonly Row[] = (
  [
    ["a negative size", tensor(dtFloat, [-1, 1])],
    ["more than 254 dimensions", tensor(dtFloat, new Array<number>(255).fill(1))],
    ["more elements than an int64 counts", tensor(dtFloat, [2n ** 40n, 2n ** 40n])],
    ["no type", tensor(0, [1, 1])],
    ["an unknown type", tensor(99, [1, 1])],
    ["a reference type", tensor(101, [1, 1])],
    ["a resource", tensor(20, [1, 1])],
    ["a variant", tensor(21, [1, 1])],
    ["content too short", tensor(dtFloat, [2, 1], { tensorContent: Buffer.alloc(4) })],
    ["content too long", tensor(dtFloat, [1, 1], { tensorContent: Buffer.alloc(8) })],
  ] as const
).map(([what, value]) => ({
  at: "gRPC 1.4",
  what,
  grpc: line(value),
  code: "INVALID_ARGUMENT",
  text: "tensor parsing error: x…",
}));

const predicting: readonly Row[] = [
  {
    at: "gRPC 2.1, 1",
    what: "no model_spec",
    grpc: { rpc: "predict", request: {} },
    code: "INVALID_ARGUMENT",
    text: "Missing ModelSpec",
  },
  {
    at: "gRPC 2.1, 2",
    what: "no name",
    grpc: predict("", {}),
    code: "INVALID_ARGUMENT",
    text: "ModelSpec has no name specified.",
  },
  {
    at: "gRPC 2.1, 3",
    what: "an unknown label",
    grpc: line(floats([1, 1], 1), { label: "none" }),
    rest: post("line/labels/none:predict", { instances: [[1]] }),
    code: "INVALID_ARGUMENT",
    text: "Unrecognized servable version label: none",
  },
  {
    at: "gRPC 2.1, 3",
    what: "a label of an unknown model",
    grpc: predict("none", {}, { label: "stable" }),
    rest: post("none/labels/stable:predict", { instances: [[1]] }),
    code: "INVALID_ARGUMENT",
    text: "Unrecognized servable version label: stable",
  },
  {
    at: "gRPC 2.1, 3b",
    what: "a label before there is any configuration",
    text: "Model labels does not init yet.{label}",
    unreachable:
      "the doors open once a configuration has been applied; test/serving/model-repository.test.ts asks earlier",
  },
  {
    at: "gRPC 2.1, 4",
    what: "an unknown model",
    grpc: predict("none", {}),
    rest: post("none:predict", { instances: [[1]] }),
    code: "NOT_FOUND",
    text: "Servable not found for request: Latest(none)",
  },
  {
    at: "gRPC 2.1, 5",
    what: "a version that is not there",
    grpc: line(floats([1, 1], 1), { version: 9n }),
    rest: post("line/versions/9:predict", { instances: [[1]] }),
    code: "NOT_FOUND",
    text: "Servable not found for request: Specific(line, 9)",
  },
  {
    at: "gRPC 2.1, 5",
    what: "version 0, which is not the latest",
    grpc: line(floats([1, 1], 1), { version: 0n }),
    rest: post("line/versions/0:predict", { instances: [[1]] }),
    code: "NOT_FOUND",
    text: "Servable not found for request: Specific(line, 0)",
  },
  {
    at: "gRPC 2.1, 6",
    what: "an unknown signature",
    grpc: line(floats([1, 1], 1), { signature: "none" }),
    code: "FAILED_PRECONDITION",
    text: 'Serving signature key "none" not found.',
  },
  {
    at: "REST 3",
    what: "an unknown signature",
    rest: post("line:predict", { signature_name: "none", instances: [[1]] }),
    code: "INVALID_ARGUMENT",
    text: 'Serving signature name: "none" not found in signature def',
  },
  {
    at: "gRPC 2.1, 7",
    what: "a method name that is checked",
    server: "checked",
    grpc: predict("shapes", { x: floats([1, 2], 1, 2) }, { signature: "odd" }),
    rest: post("shapes:predict", { signature_name: "odd", instances: [[1, 2]] }),
    code: "INTERNAL",
    text:
      "Expected prediction signature method_name to be one of {tensorflow/serving/predict, tensorflow/serving/classify, " +
      "tensorflow/serving/regress}. Was: tensorflow/serving/odd",
  },
  {
    at: "gRPC 2.1, 8",
    what: "too many inputs",
    grpc: predict("line", { z: floats([1, 1], 1), x: floats([1, 1], 1), a: floats([1, 1], 1) }),
    code: "INVALID_ARGUMENT",
    text:
      "input size does not match signature: 3!=1 len({a,x,z}) != len({x}). Sent extra: {a,z}. " +
      "Missing but required: {}.",
  },
  {
    at: "gRPC 2.1, 8",
    what: "too few inputs",
    grpc: predict("pair", { b: floats([1, 2], 1) }),
    code: "INVALID_ARGUMENT",
    text:
      "input size does not match signature: 1!=3 len({b}) != len({a,b,ids}). Sent extra: {}. " +
      "Missing but required: {a,ids}.",
  },
  {
    at: "gRPC 2.1, 9",
    what: "a wrong name",
    grpc: predict("line", { z: floats([1, 1], 1) }),
    code: "INVALID_ARGUMENT",
    text:
      "Signature input alias: x(feed name: x) not found in request and no default value provided. " +
      "Inputs expected to be in the request {z}, or default input alias set: ",
  },
  {
    at: "gRPC 2.1, 9",
    what: "an input without a default",
    grpc: predict("pair_defaults", { a: floats([1, 2], 1) }),
    code: "INVALID_ARGUMENT",
    text:
      "Signature input alias: ids(feed name: ids) not found in request and no default value provided. " +
      "Inputs expected to be in the request {a}, or default input alias set: b",
  },
  {
    at: "gRPC 2.1, 10",
    what: "an undecodable tensor",
    grpc: predict("pair", { a: tensor(0, []), b: floats([1, 2], 1), ids: tensor(dtInt64, [1]) }),
    code: "INVALID_ARGUMENT",
    text: "tensor parsing error: a…",
    differs: "says what is wrong with the tensor, too",
  },
  {
    at: "gRPC 2.1, 11",
    what: "a name beside a default",
    grpc: predict("pair_defaults", { a: floats([1, 2], 1), ids: tensor(dtInt64, [1]), z: floats([1, 2], 1) }),
    code: "INVALID_ARGUMENT",
    text: "Inputs contains invalid name. Used request inputs: a,ids, request input: a,ids,z",
  },
  {
    at: "gRPC 2.1, 12",
    what: "an unknown output",
    grpc: line(floats([1, 1], 1), {}, "none"),
    code: "INVALID_ARGUMENT",
    text: "output tensor alias not found in signature: none Outputs expected to be in the set {y}.",
  },
  {
    at: "gRPC 2.1, 13",
    what: "an output twice",
    grpc: line(floats([1, 1], 1), {}, "y", "y"),
    code: "INVALID_ARGUMENT",
    text: "duplicate output tensor alias: y",
  },
  {
    at: "gRPC 2.1, 14",
    what: "another type",
    grpc: line(tensor(dtString, [1, 1], { stringVal: [Buffer.from("a")] })),
    code: "INVALID_ARGUMENT",
    text: "Expects arg[0] to be float but string is provided…",
  },
  {
    at: "gRPC 2.1, 14",
    what: "another type at the second feed",
    grpc: predict("pair", { a: floats([1, 2], 1), b: tensor(dtBool, [1, 2]), ids: tensor(dtInt64, [1]) }),
    code: "INVALID_ARGUMENT",
    text: "Expects arg[1] to be float but bool is provided…",
  },
  {
    at: "gRPC 2.1, 15",
    what: "another rank",
    grpc: line(floats([1], 1)),
    rest: rows("line", "[1]"),
    code: "INVALID_ARGUMENT",
    text: "model line, input x: expected shape [batch,1], got [1]",
    differs: "the graph's to word in TensorFlow; shapes are compared with the signature first",
  },
  {
    at: "gRPC 2.1, 15",
    what: "another size",
    grpc: line(floats([1, 3], 1)),
    rest: columns("line", "[[1, 2, 3]]"),
    code: "INVALID_ARGUMENT",
    text: "model line, input x: expected shape [batch,1], got [1,3]",
    differs: "as above",
  },
  {
    at: "gRPC 2.1, 15",
    what: "a shape that the graph alone refuses",
    grpc: predict("failing", { x: floats([5], 1) }),
    rest: rows("failing", "[1, 2, 3, 4, 5]"),
    code: "INVALID_ARGUMENT",
    text: "…",
  },
  {
    at: "gRPC 2.1, 16",
    what: "another number of outputs than asked for",
    text: "Predict internal error",
    unreachable: "onnxruntime answers what it is asked for; test/serving/predict.test.ts has a session that does not",
  },
];

const exampleInputs: readonly Row[] = [
  ...(
    [
      ["no input", { kind: undefined }],
      ["no examples", listOf()],
      ["a context alone", { kind: { $case: "exampleListWithContext", value: { examples: [], context: example(x) } } }],
    ] as readonly (readonly [string, Input])[]
  ).map(
    ([what, input]): Row => ({
      at: "gRPC 3.1",
      what,
      grpc: classify("classify", input),
      code: "INVALID_ARGUMENT",
      text: "Input is empty.",
    }),
  ),
  {
    at: "gRPC 3.1",
    what: "an input that does not survive being copied",
    text: "Error parsing serialized input.",
    unreachable: "examples are read in place",
  },
  {
    at: "gRPC 3.1",
    what: "a float feature that is not there",
    grpc: features(example({ ...good, f: undefined })),
    rest: featureRow('{"n": 1, "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Feature: f (data type: float) is required but could not be found.",
  },
  {
    at: "gRPC 3.1",
    what: "an int64 feature without a kind",
    grpc: features(example({ ...good, n: undefined })),
    rest: featureRow('{"f": [1.0, 2.0], "n": [], "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Feature: n (data type: int64) is required but could not be found.",
  },
  {
    at: "gRPC 3.1",
    what: "a string feature that is not there",
    grpc: features(example({ f: good.f, n: good.n })),
    rest: featureRow('{"f": [1.0, 2.0], "n": 1}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Feature: t (data type: string) is required but could not be found.",
  },
  {
    at: "gRPC 3.1",
    what: "a feature of another kind",
    grpc: features(example(good), example({ ...good, f: bytesList("a", "b") })),
    rest: featureRow('{"f": [1.0, 2.0], "n": 1, "t": "a"}, {"f": ["a", "b"], "n": 1, "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Key: f, Index: 1.  Data types don't match. Data type: string but expected type: float",
  },
  {
    at: "gRPC 3.1",
    what: "floats for integers",
    grpc: features(example({ ...good, n: floatList(1) })),
    rest: featureRow('{"f": [1.0, 2.0], "n": 1.0, "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Key: n, Index: 0.  Data types don't match. Data type: float but expected type: int64",
  },
  {
    at: "gRPC 3.1",
    what: "too few floats",
    grpc: features(example({ ...good, f: floatList(1) })),
    rest: featureRow('{"f": [1.0], "n": 1, "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Key: f, Index: 0.  Number of float values != expected.  Values size: 1 but output shape: [2]",
  },
  {
    at: "gRPC 3.1",
    what: "too many integers",
    grpc: features(example({ ...good, n: int64List(1n, 2n) })),
    rest: featureRow('{"f": [1.0, 2.0], "n": [1, 2], "t": "a"}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Key: n, Index: 0.  Number of int64 values != expected.  Values size: 2 but output shape: [1]",
  },
  {
    at: "gRPC 3.1",
    what: "too many texts",
    grpc: features(example({ ...good, t: bytesList("a", "b", "c") })),
    rest: featureRow('{"f": [1.0, 2.0], "n": 1, "t": ["a", "b", "c"]}'),
    code: "INVALID_ARGUMENT",
    text: "Name: <unknown>, Key: t, Index: 0.  Number of bytes values != expected.  Values size: 3 but output shape: [1]",
  },
  {
    at: "gRPC 3.1",
    what: "floats that make no whole step of a sequence",
    grpc: on("regress", "sequence", "regress", listOf(example({ x: floatList(1, 2) }), example({ x: floatList(1) }))),
    rest: post("sequence:regress", '{"examples": [{"x": [1.0, 2.0]}, {"x": 1.0}]}'),
    code: "INVALID_ARGUMENT",
    text:
      "Name: <unknown>, Key: x, Index: 1.  Number of float values is not a multiple of stride length. " +
      "Saw 1 values but output shape is: [?,2]",
  },
  {
    at: "gRPC 3.1",
    what: "bytes that are no Example",
    grpc: predict(
      "shapes",
      { inputs: tensor(dtString, [1], { stringVal: [Buffer.from([0x0a, 9])] }) },
      { signature: "classify" },
    ),
    code: "INVALID_ARGUMENT",
    text: "Could not parse example input, value: '\n\t'",
  },
];

/** Faults of a signature and of what it answers, which Classify and Regress have over both doors. */
const faults = (
  rpc: "classify" | "regress",
  at: string,
  of: readonly (readonly [signature: string, what: string, text: string])[],
): Row[] =>
  of.map(([signature, what, text]) => ({
    at,
    what,
    grpc: on(rpc, "shapes", signature),
    rest: examples(rpc, signature),
    code: "INVALID_ARGUMENT",
    text,
  }));

const classifying: readonly Row[] = [
  ...(["classify", "regress"] as const).flatMap((rpc): Row[] => [
    {
      at: rpc === "classify" ? "gRPC 3.2" : "gRPC 3.3",
      what: "no model_spec",
      grpc: { rpc, request: { input: twoRows } },
      code: "INVALID_ARGUMENT",
      text: "Missing ModelSpec",
    },
    {
      at: rpc === "classify" ? "gRPC 3.2" : "gRPC 3.3",
      what: "an unknown model, before its signature",
      grpc: on(rpc, "none", "none"),
      rest: post(`none:${rpc}`, { signature_name: "none", examples: [{}] }),
      code: "NOT_FOUND",
      text: "Servable not found for request: Latest(none)",
    },
    {
      at: rpc === "classify" ? "gRPC 3.2" : "gRPC 3.3",
      what: "an unknown signature, before an empty input",
      grpc: on(rpc, "shapes", "none", listOf()),
      rest: examples(rpc, "none"),
      code: "INVALID_ARGUMENT",
      text: "No signature was found with the name: none",
    },
  ]),
  {
    at: "gRPC 3.2",
    what: "a method name that is checked",
    server: "checked",
    grpc: classify("regress"),
    rest: examples("classify", "regress"),
    code: "INVALID_ARGUMENT",
    text: `Expected classification signature method_name to be ${classifyMethod}. Was: ${regressMethod}`,
  },
  {
    at: "gRPC 3.3",
    what: "a method name that is checked",
    server: "checked",
    grpc: regress("classify"),
    rest: examples("regress", "classify"),
    code: "INVALID_ARGUMENT",
    text: `Expected regression signature method_name to be ${regressMethod}. Was: ${classifyMethod}`,
  },
  {
    at: "gRPC 3.2",
    what: "more than one input",
    grpc: on("classify", "pair", "serving_default"),
    rest: post("pair:classify", { examples: [{}] }),
    code: "INVALID_ARGUMENT",
    text: "Expected one input Tensor.",
  },
  {
    at: "gRPC 3.3",
    what: "more than one input",
    grpc: on("regress", "pair", "serving_default"),
    rest: post("pair:regress", { examples: [{}] }),
    code: "INVALID_ARGUMENT",
    text: "Expected one input Tensor.",
  },
  ...faults("classify", "gRPC 3.2", [
    ["three", "three outputs", "Expected one or two output Tensors, found 3"],
    ["serving_default", "an input of another name", "No classification inputs found in SignatureDef: inputs…"],
    [
      "strange",
      "outputs of other names",
      'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: inputs…',
    ],
    ["plain", "a graph that is fed no strings", "Expects arg[0] to be float but string is provided…"],
    ["vector_scores", "scores of rank 1", "Expected Tensor shape: [batch_size num_classes] but got [2]"],
    ["vector_classes", "classes of rank 1", "Expected Tensor shape: [batch_size num_classes] but got [2]"],
    ["float_classes", "classes that are numbers", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"],
    ["text_scores", "scores that are texts", "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"],
    ["one_score", "scores of fewer rows", "Expected scores output batch size of 2. Got: 1"],
    ["one_class", "classes of fewer rows", "Expected classes output batch size of 2. Got: 1"],
    ["few_classes", "fewer classes than scores", "Tensors class and score should match in dim_size(1). Got 1 vs. 2"],
  ]),
  ...faults("regress", "gRPC 3.3", [
    ["three", "three outputs", "Expected one output Tensor."],
    ["serving_default", "an input of another name", "No regression inputs found in SignatureDef: inputs…"],
    ["strange", "an output of another name", "No regression outputs found in SignatureDef: inputs…"],
    ["plain_regress", "a graph that is fed no strings", "Expects arg[0] to be float but string is provided…"],
    [
      "wide",
      "an output of two columns",
      "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ],
    ["one_value", "an output of fewer rows", "Input batch size did not match output batch size: 2 vs. 1"],
    ["text_value", "an output of texts", "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"],
  ]),
  {
    at: "gRPC 3.2, 3.3",
    what: "another number of outputs than asked for",
    text: "Expected {n} output tensor(s).  Got: {m}",
    unreachable: "onnxruntime answers what it is asked for",
  },
  {
    at: "gRPC 3.3",
    what: "another number of values than rows",
    text: "Expected output batch size to be {N}.  Got: {n}",
    unreachable: "a shape of [N] or [N, 1], which is looked at first, has N values",
  },
];

const multiInference: readonly Row[] = (
  [
    ["no tasks", [], "INVALID_ARGUMENT", "ModelSpec has no name specified."],
    ["no model_spec", [{ methodName: classifyMethod }], "INVALID_ARGUMENT", "ModelSpec has no name specified."],
    ["an unknown model", [task("", "", "none")], "NOT_FOUND", "Servable not found for request: Latest(none)"],
    [
      "a nameless task",
      [task("classify", classifyMethod), { methodName: regressMethod, modelSpec: {} }],
      "INVALID_ARGUMENT",
      "Found ModelSpec with an empty model name.",
    ],
    [
      "two models",
      [task("classify", classifyMethod), task("regress", regressMethod, "features")],
      "INVALID_ARGUMENT",
      "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ],
    [
      "a signature twice",
      [task("classify", classifyMethod), task("classify", regressMethod)],
      "INVALID_ARGUMENT",
      "Duplicate evaluation of signature: classify",
    ],
    [
      "an unknown signature",
      [task("classify", classifyMethod), task("none", "whatever")],
      "INVALID_ARGUMENT",
      "Requested signature not found in model graph: none",
    ],
    [
      "the method of Predict",
      [task("classify", "tensorflow/serving/predict")],
      "UNIMPLEMENTED",
      "Unsupported signature method_name: tensorflow/serving/predict",
    ],
    ["no method", [task("classify", "")], "UNIMPLEMENTED", "Unsupported signature method_name: "],
    [
      "a classifier of no such form",
      [task("three", classifyMethod)],
      "INVALID_ARGUMENT",
      "Expected one or two output Tensors, found 3",
    ],
    ["a regressor of no such form", [task("three", regressMethod)], "INVALID_ARGUMENT", "Expected one output Tensor."],
    [
      "one task whose outputs are wrong",
      [task("classify", classifyMethod), task("wide", regressMethod)],
      "INVALID_ARGUMENT",
      "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ],
  ] as const
).map(([what, tasks, code, text]): Row => ({ at: "gRPC 3.4", what, grpc: multi(tasks), code, text }));
const multiInferenceOrder: readonly Row[] = [
  {
    at: "gRPC 3.4",
    what: "an unknown signature and no examples",
    grpc: multi([task("none", classifyMethod)], listOf()),
    code: "INVALID_ARGUMENT",
    text: "Requested signature not found in model graph: none",
  },
  {
    at: "gRPC 3.4",
    what: "no examples",
    grpc: multi([task("classify", classifyMethod)], listOf()),
    code: "INVALID_ARGUMENT",
    text: "Input is empty.",
  },
];

const asking: readonly Row[] = [
  {
    at: "gRPC 4.1",
    what: "metadata without model_spec",
    grpc: metadata(undefined),
    code: "INVALID_ARGUMENT",
    text: "Missing ModelSpec",
  },
  {
    at: "gRPC 4.1",
    what: "no metadata field",
    grpc: metadata("none", []),
    code: "INVALID_ARGUMENT",
    text: "GetModelMetadataRequest must specify at least one metadata_field",
  },
  {
    at: "gRPC 4.1",
    what: "an unknown metadata field",
    grpc: metadata("none", ["signature_def", "weights"]),
    code: "INVALID_ARGUMENT",
    text: "Metadata field weights is not supported",
  },
  {
    at: "gRPC 4.1",
    what: "metadata of an unknown model",
    grpc: metadata("none"),
    rest: get("/none/metadata"),
    code: "NOT_FOUND",
    text: "Servable not found for request: Latest(none)",
  },
  {
    at: "gRPC 4.1",
    what: "metadata of an unknown version",
    grpc: metadata("line", ["signature_def"], { version: 9n }),
    rest: get("/line/versions/9/metadata"),
    code: "NOT_FOUND",
    text: "Servable not found for request: Specific(line, 9)",
  },
  {
    at: "gRPC 4.1",
    what: "metadata by an unknown label",
    grpc: metadata("line", ["signature_def"], { label: "none" }),
    rest: get("/line/labels/none/metadata"),
    code: "INVALID_ARGUMENT",
    text: "Unrecognized servable version label: none",
  },
  {
    at: "gRPC 4.2",
    what: "status without model_spec",
    grpc: status(undefined),
    code: "INVALID_ARGUMENT",
    text: "Missing ModelSpec",
  },
  {
    at: "gRPC 4.2",
    what: "status of a nameless model",
    grpc: status(""),
    code: "NOT_FOUND",
    text: "Could not find any versions of model ",
  },
  {
    at: "gRPC 4.2",
    what: "status of an unknown model",
    grpc: status("none"),
    rest: get("/none"),
    code: "NOT_FOUND",
    text: "Could not find any versions of model none",
  },
  {
    at: "gRPC 4.2",
    what: "status of an unknown version",
    grpc: status("line", { version: 9n }),
    rest: get("/line/versions/9"),
    code: "NOT_FOUND",
    text: "Could not find version 9 of model line",
  },
];

const unsupportedConfig =
  "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported";
const typeField = "ModelServerConfig::model_type (deprecated)";
const reloading: readonly Row[] = [
  {
    at: "gRPC 4.3",
    what: "no configuration",
    grpc: { rpc: "reload", request: {} },
    code: "INVALID_ARGUMENT",
    text: unsupportedConfig,
  },
  {
    at: "gRPC 4.3",
    what: "custom_model_config",
    grpc: { rpc: "reload", request: { config: { config: { $case: "customModelConfig", value: {} } } } },
    code: "INVALID_ARGUMENT",
    text: unsupportedConfig,
  },
  ...(
    [
      [
        "a name twice",
        [configured("line"), configured("line")],
        "INVALID_ARGUMENT",
        "Illegal to list model line multiple times in config list",
      ],
      [
        "a relative path",
        [configured("line", { basePath: "models/line" })],
        "INVALID_ARGUMENT",
        "Expected model line to have an absolute path or URI; got base_path()=models/line",
      ],
      [
        "a path relative to nothing that a client can name",
        [configured("line", { basePath: "./line" })],
        "INVALID_ARGUMENT",
        "Expected model line to have an absolute path or URI; got base_path()=./line",
      ],
      [
        "no path",
        [configured("line", { basePath: "" })],
        "INVALID_ARGUMENT",
        "Expected model line to have an absolute path or URI; got base_path()=",
      ],
      [
        "another platform",
        [configured("line", { modelPlatform: "pytorch" })],
        "INVALID_ARGUMENT",
        "Illegal to change a model's platform. For model line platform was onnx and new platform requested is pytorch",
      ],
      [
        "a label on a version that is not there",
        [configured("line", labelled(9n))],
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model line, which is not currently available for inference",
      ],
      [
        "type and platform",
        [configured("new", { modelType: 1 })],
        "INVALID_ARGUMENT",
        `Illegal setting both ${typeField} and ModelServerConfig::model_platform, model name is new`,
      ],
      [
        "neither type nor platform",
        [configured("new", { modelPlatform: "" })],
        "INVALID_ARGUMENT",
        `Illegal setting neither ${typeField} nor ModelServerConfig::model_platform, model name is new`,
      ],
      [
        "another type",
        [configured("new", { modelType: 2, modelPlatform: "" })],
        "INVALID_ARGUMENT",
        "ModelServerConfig::model_type choice 2 not supported.",
      ],
      [
        "a platform that nobody serves",
        [configured("new", { modelPlatform: "pytorch" })],
        "INVALID_ARGUMENT",
        "Model new requests unsupported platform pytorch",
      ],
      [
        "a log collector that there is not",
        [configured("line", { loggingConfig: { logCollectorConfig: { type: "pubsub" } } })],
        "NOT_FOUND",
        "Cannot find LogCollector::Factory for type: pubsub",
      ],
      [
        "a model that does not load",
        [configured("broken")],
        "UNKNOWN",
        "1 model(s) did not become available: {{{name: broken version: 1} due to error: INVALID_ARGUMENT: …}, }",
      ],
      [
        "models that have nothing to load",
        [configured("void"), configured("missing")],
        "UNKNOWN",
        "2 model(s) did not become available: {{{name: void} due to error: NOT_FOUND: No versions of servable void found " +
          "under base path FOLDER/void. Did you forget to name your leaf directory as a number (eg. '/1/')?}, " +
          "{{name: missing} due to error: NOT_FOUND: Could not find base path FOLDER/missing for servable missing " +
          "with error NOT_FOUND: …}, }",
      ],
    ] as const
  ).map(
    ([what, config, code, text]): Row => ({
      at: what === "a log collector that there is not" ? "gRPC 8.2" : "gRPC 4.3",
      what,
      server: "checked",
      grpc: reload(...config),
      code,
      text,
    }),
  ),
  {
    at: "gRPC 4.3",
    what: "a configuration of another kind",
    text: "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.",
    unreachable: "reloads take lists only; test/serving/model-repository.test.ts has the file change its kind",
  },
  {
    at: "gRPC 4.3, 8.2",
    what: "a logging_config",
    text: "No request-logger-creator provided.",
    unreachable: "requests are logged",
  },
  {
    at: "gRPC 4.2",
    what: "a version withdrawn while it loads",
    text: "Loading of servable cancelled",
    unreachable: "no client can time it; test/serving/lifecycle/aspired-versions-manager.test.ts does",
  },
  {
    at: "gRPC 5.4",
    what: "a version whose size cannot be told",
    text: "Error while attempting to reserve resources to load servable {name: {n} version: {v}}: {cause}",
    unreachable: "memory is not admitted by an estimate; a load that fails for want of it says so",
  },
];

const starting: readonly Row[] = [
  {
    at: "gRPC 5.1",
    what: "a config file that is none",
    start: ["--model_config_file=FOLDER/file"],
    file: "model_config_list { config { nme: 'm' } }",
    code: "INVALID_ARGUMENT",
    text: "Invalid protobuf file: 'FOLDER/file': …",
  },
  {
    at: "gRPC 5.6",
    what: "neither port nor socket",
    start: ["--port=0", "--model_base_path=FOLDER/line"],
    code: "INVALID_ARGUMENT",
    text: "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
  },
  {
    at: "gRPC 5.6",
    what: "ALTS and TLS",
    start: ["--use_alts_credentials", "--ssl_config_file=FOLDER/file"],
    code: "INVALID_ARGUMENT",
    text: "flag --use_alts_credentials=true cannot be honoured: …",
    differs: "ALTS is refused with or without TLS",
  },
  {
    at: "gRPC 5.6",
    what: "no model source",
    start: ["--model_base_path="],
    code: "INVALID_ARGUMENT",
    text: "Both server_options.model_base_path and server_options.model_config_file are empty!",
  },
  {
    at: "gRPC 5.6",
    what: "batching parameters without batching",
    start: ["--model_base_path=FOLDER/line", "--batching_parameters_file=FOLDER/file"],
    code: "INVALID_ARGUMENT",
    text: "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
  },
  {
    at: "gRPC 5.6",
    what: "custom_model_config in the file",
    start: ["--model_config_file=FOLDER/file"],
    file: "custom_model_config { }",
    code: "INVALID_ARGUMENT",
    text: "custom_model_config is not supported; list models in model_config_list",
    differs: "TensorFlow Serving aborts",
  },
  {
    at: "gRPC 5.6",
    what: "a model that fails, when start-up is strict",
    start: ["--strict_startup", "--model_name=broken", "--model_base_path=FOLDER/broken", "--max_num_load_retries=0"],
    code: "UNKNOWN",
    text: "1 servable(s) did not become available: {{{name: broken version: 1} due to error: INVALID_ARGUMENT: …}, }",
  },
  {
    at: "gRPC 5.6, 5.7",
    what: "a label in the first configuration",
    start: ["--model_config_file=FOLDER/file"],
    file: `model_config_list { config { name: "line" base_path: "./line" model_platform: "onnx"
      version_labels { key: "stable" value: 1 } } }`,
    code: "FAILED_PRECONDITION",
    text: "Request to assign label to version 1 of model line, which is not currently available for inference",
  },
  {
    at: "gRPC 6",
    what: "parallelism set in three ways",
    start: [
      "--model_base_path=FOLDER/line",
      "--tensorflow_session_parallelism=2",
      "--tensorflow_intra_op_parallelism=2",
      "--tensorflow_inter_op_parallelism=2",
    ],
    code: "INVALID_ARGUMENT",
    text: "Either configure server_options.tensorflow_session_parallelism or (…) separately. You cannot configure all.",
  },
  {
    at: "gRPC 6",
    what: "a bool that is none",
    start: ["--model_base_path=FOLDER/line", "--enable_batching=1"],
    code: "INVALID_ARGUMENT",
    text: 'flag --enable_batching takes true or false; got "1"',
    differs: "TensorFlow Serving prints its usage",
  },
  {
    at: "gRPC 7.1",
    what: "no batch threads",
    start: ["--model_base_path=FOLDER/line", "--enable_batching", "--batching_parameters_file=FOLDER/file"],
    file: "num_batch_threads { value: 0 }",
    code: "INVALID_ARGUMENT",
    text: "num_batch_threads must be positive; was 0",
  },
  {
    at: "gRPC 7.1",
    what: "batching parameters that are none",
    start: ["--model_base_path=FOLDER/line", "--enable_batching", "--batching_parameters_file=FOLDER/file"],
    file: "max_batch_size: 8",
    code: "INVALID_ARGUMENT",
    text: "Invalid protobuf file: 'FOLDER/file': …",
  },
];

const verify = "Please verify your warmup data is in TFRecord format.";
const warmupPath = "FOLDER/…/1/assets.extra/tf_serving_warmup_requests";
const loading: readonly Row[] = [
  {
    at: "gRPC 8.1",
    what: "damaged warm-up data",
    version: "warm_damaged",
    code: "DATA_LOSS",
    text: `corrupted record at 0. ${verify}…`,
  },
  {
    at: "gRPC 8.1",
    what: "warm-up data cut off",
    version: "warm_cut_off",
    code: "DATA_LOSS",
    text: `truncated record at 0. ${verify}…`,
  },
  {
    at: "gRPC 8.1",
    what: "a warm-up record of something else",
    version: "warm_other",
    code: "INVALID_ARGUMENT",
    text: `Failed to parse warmup record: … from ${warmupPath}`,
  },
  {
    at: "gRPC 8.1",
    what: "a warm-up record of SessionRun",
    version: "warm_session_run",
    code: "UNIMPLEMENTED",
    text: "Unsupported log_type for warmup: 5",
  },
  {
    at: "gRPC 8.1",
    what: "a warm-up record of streamed calls",
    version: "warm_streamed",
    code: "UNIMPLEMENTED",
    text: "Unsupported log_type for warmup: 7",
  },
  {
    at: "gRPC 8.1",
    what: "too many warm-up records",
    version: "warm_too_many",
    code: "INVALID_ARGUMENT",
    text: `Number of warmup records exceeds the maximum (1000) at ${warmupPath}`,
  },
  {
    at: "gRPC 8.1",
    what: "a warm-up request that fails",
    version: "warm_failing",
    code: "INVALID_ARGUMENT",
    text: "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
  },
  {
    at: "gRPC 7.1",
    what: "a negative batch timeout",
    version: "batch_timeout",
    code: "INVALID_ARGUMENT",
    text: "batch_timeout_micros must be non-negative; was -1",
  },
  {
    at: "gRPC 7.3",
    what: "allowed sizes that do not end in the largest",
    version: "batch_sizes",
    code: "INVALID_ARGUMENT",
    text: "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
  },
  {
    at: "gRPC 7.1",
    what: "pieces larger than requests",
    version: "batch_split",
    code: "INVALID_ARGUMENT",
    text:
      "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to " +
      "max_execution_batch_size.",
  },
  {
    at: "gRPC 7.1",
    what: "a model's own batching parameters that are none",
    version: "batch_malformed",
    code: "INVALID_ARGUMENT",
    text: "Invalid protobuf file: 'FOLDER/batch_malformed/1/batching_params.pbtxt': …",
  },
];

const full = "The batch scheduling queue to which this task was submitted is full;";
const batching: readonly Row[] = (
  [
    {
      what: "no input",
      grpc: predict("constant", {}),
      code: "INVALID_ARGUMENT",
      text: "Batching Run() must have at least one input tensor",
    },
    {
      what: "an input without dimensions",
      grpc: predict("any_rank", { x: floats([], 1) }),
      rest: columns("any_rank", "1"),
      code: "INVALID_ARGUMENT",
      text: "Batching Run() input tensors must have at least one dimension",
    },
    {
      what: "inputs of different rows",
      grpc: predict("pair", { a: floats([1], 1), b: floats([2], 1) }),
      rest: columns("pair", '{"a": [1], "b": [1, 2]}'),
      code: "INVALID_ARGUMENT",
      text: "Batching Run() input tensors must have equal 0th-dimension size",
    },
    {
      what: "more rows than a request may have",
      grpc: predict("queue", { x: floats([3, 1], 1) }),
      rest: rows("queue", "[[1], [2], [3]]"),
      code: "INVALID_ARGUMENT",
      text: "Task size 3 is larger than maximum input batch size 2",
    },
    {
      what: "more rows than a request may have, split or not",
      grpc: predict("split", { x: floats([11, 1], 1) }),
      code: "INVALID_ARGUMENT",
      text: "Task size 11 is larger than maximum input batch size 10",
    },
    {
      what: "a full queue",
      beside: predict("queue", { x: floats([1, 1], 1) }),
      grpc: predict("queue", { x: floats([2, 1], 1) }),
      rest: rows("queue", "[[1], [2]]"),
      code: "UNAVAILABLE",
      text: `${full} currently 1 batches enqueued and max_enqueued_batches is 1`,
    },
    {
      what: "a full queue, where large requests are split",
      beside: predict("split", { x: floats([1, 1], 1) }),
      grpc: predict("split", { x: floats([9, 1], 1) }),
      rest: rows("split", JSON.stringify(Array.from({ length: 9 }, () => [1]))),
      code: "UNAVAILABLE",
      text:
        `${full} task size is 9 but scheduling capacity is only 3 (num_enqueued_batches=1, max_enqueued_batches=2, ` +
        "open_batch_size=1, max_execution_batch_size=2)",
    },
    {
      what: "outputs without dimensions",
      grpc: predict("total", { x: floats([2], 1, 2) }),
      rest: columns("total", "[1, 2]"),
      code: "FAILED_PRECONDITION",
      text: "Batched output tensor has 0 dimensions",
    },
    {
      what: "outputs of other rows",
      grpc: predict("uneven", { x: floats([2], 1, 2) }),
      rest: columns("uneven", "[1, 2]"),
      code: "FAILED_PRECONDITION",
      text: "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
    },
    {
      what: "an empty row beside one that is not",
      beside: predict("padded", { x: floats([1, 2], 1, 2) }),
      grpc: predict("padded", { x: floats([1, 0]) }),
      code: "INVALID_ARGUMENT",
      text: "Got empty tensor in batch of non-empty tensors.",
    },
  ] as const
).map((row): Row => ({ at: "gRPC 7", server: "batched", ...row }));
const unreachableBatching: readonly Row[] = [
  {
    at: "gRPC 7.3",
    what: "rows of different sizes without padding",
    text:
      "Tensors with name '{tensor}' from different tasks have different shapes and padding is turned off. Set " +
      "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting " +
      "with the first dim.",
    unreachable: "they run as batches of their own; test/runtime/scheduled-batching-session.test.ts",
  },
  {
    at: "gRPC 7.3",
    what: "padding beyond rank 6",
    text: "Only tensors with rank from 1 to 6 can be padded.",
    unreachable: "such tensors share a batch only with those of their own sizes; the same test",
  },
  {
    at: "gRPC 7.3",
    what: "types that differ within a batch",
    text: "Tensor concat operation failed: {reason}",
    unreachable: "a type that is not the signature's is refused before it is queued",
  },
  {
    at: "gRPC 7.3",
    what: "a batch of calls that are all too late",
    text: "Run() timeout exceeded while waiting in batching queue",
    unreachable:
      "a client's own deadline ends its call first; test/runtime/scheduled-batching-session.test.ts has the clock stand still",
  },
];

const restPaths: readonly Row[] = [
  ...(
    [
      ["PUT", "/v1/models/line:predict"],
      ["DELETE", "/v1/models/line"],
      ["PATCH", "/v1/models/line"],
      ["POST", "/v1/models/line"],
      ["GET", "/v1/models/line:predict"],
      ["POST", "/v1/models/line:PREDICT"],
      ["POST", "/v1/models/line/versions/1/labels/stable:predict"],
      ["POST", "/v1/models/line/versions/one:predict"],
      ["GET", "/v1/models/line/"],
      ["GET", "/v1/nothing"],
    ] as const
  ).map(
    ([method, path]): Row => ({
      at: "REST 1",
      what: `${method} ${path}`,
      rest: { method, path },
      code: "INVALID_ARGUMENT",
      text: `Malformed request: ${method} ${path}`,
    }),
  ),
  { at: "REST 1", what: "no model", rest: get(""), code: "INVALID_ARGUMENT", text: "Missing model name in request." },
  {
    at: "REST 1",
    what: "a version that is no int64",
    rest: get("/line/versions/9223372036854775808"),
    code: "INVALID_ARGUMENT",
    text: "Failed to convert version: 9223372036854775808 to numeric.",
  },
  {
    at: "REST 1",
    what: "a path outside of /v1/",
    rest: { method: "GET", path: "/nothing" },
    code: "NOT_FOUND",
    text: "Not found: GET /nothing",
    differs: "TensorFlow Serving answers in HTML",
  },
];

const parseErrors: readonly Row[] = (
  [
    ["", "The document is empty"],
    ["  ", "The document is empty. at offset: 2"],
    ["[truth]", "Invalid value. at offset: 4"],
    ["{'a': 1}", "Missing a name for object member. at offset: 1"],
    ['{"a" 1}', "Missing a colon after a name of object member. at offset: 5"],
    ['{"a": 1 "b"}', "Missing a comma or '}' after an object member. at offset: 8"],
    ["[1 2]", "Missing a comma or ']' after an array element. at offset: 3"],
    ["[1e400]", "Number too big to be stored in double. at offset: 1"],
    ["[1.]", "Miss fraction part in number. at offset: 3"],
    ['["\\ud800"]', "The surrogate pair in string is invalid. at offset: 2"],
    ["[01]", "Missing a comma or ']' after an array element. at offset: 2"],
    ["[1,]", "Invalid value. at offset: 3"],
    ["nan", "Invalid value. at offset: 1"],
    ["+1", "Invalid value. at offset: 0"],
  ] as const
).map(([text, message]) => ({
  at: "REST 4",
  what: text === "" ? "an empty body" : text,
  rest: post("none:predict", text),
  code: "INVALID_ARGUMENT",
  text: `JSON Parse error: ${message}`,
}));

const wrapped = (inner: string, item = 0) =>
  `Failed to process element: ${item} of 'instances' list. Error: INVALID_ARGUMENT: ${inner}`;
const mistyped = (value: string, kind: string, type: string) =>
  `JSON Value: ${value} Type: ${kind} is not of expected type: ${type}`;
const restPredict: readonly Row[] = (
  [
    ["REST 4", post("line:predict", "[]"), "JSON Value: [] Is not object"],
    [
      "REST 5",
      post("line:predict", '{"signature_name": 1}'),
      "JSON Value: … 'signature_name' key must be a string value.",
    ],
    [
      "REST 5",
      post("line:predict", '{"instances": [[1]], "inputs": [[1]]}'),
      "JSON Value: … Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ],
    ["REST 5", post("line:predict", "{}"), "Missing 'inputs' or 'instances' key"],
    [
      "REST 5",
      post("line:predict", '{"signature_name": "none"}'),
      'Serving signature name: "none" not found in signature def',
    ],
    ["REST 5.1", rows("line", "1"), "JSON Value: … Expecting 'instances' to be an list/array"],
    ["REST 5.1", rows("line", "[]"), "JSON Value: … No values in 'instances' array"],
    [
      "REST 5.1",
      rows("pair", "[1]"),
      "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
    ],
    ["REST 5.1", rows("float", '[1, {"x": 1}]'), "Expecting value/list but got object at item 1 of input list"],
    ["REST 5.1", rows("float", '[{"x": 1}, 1]'), "Expecting object but got list at item 1 of input list"],
    [
      "REST 5.1",
      rows("float", '[{"x": 1, "junk": 1}]'),
      "Failed to process element: 0 key: junk of 'instances' list. Error: INVALID_ARGUMENT: " +
        "JSON object: does not have named input: junk",
    ],
    [
      "REST 5.1",
      rows("pair", '[{"b": 1}]'),
      "Failed to process element: 0 of 'instances' list. JSON object: … keys must be equal to: a,b,ids",
    ],
    ["REST 5.1", rows("float", "[[1], [1, 2]]"), wrapped("Expecting tensor size: 1 but got: 2", 1)],
    ["REST 5.1", rows("float", "[[1], [[1]]]"), wrapped("Expecting shape [1] but got: [1,1]", 1)],
    [
      "REST 5.1",
      rows("float", '[{"x": null}]'),
      `Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: ${mistyped("null", "Null", "float")}`,
    ],
    [
      "REST 5.2",
      columns("pair", "[1]"),
      "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ],
    ["REST 5.2", columns("pair", '{"b": 1, "junk": 1}'), "Missing named input: a in 'inputs' object."],
    [
      "REST 5.3",
      columns("float", "[[1], 2]"),
      "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ],
    ["REST 5.3", columns("float", "[1, [2]]"), "Encountered list at unexpected level: 1 expected < 1"],
    [
      "REST 5.3",
      columns("float", "[[1, 2], [3]]"),
      "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ],
    ["REST 6.1", columns("float", "null"), mistyped("null", "Null", "float")],
    ["REST 6.1", columns("double", "false"), mistyped("false", "False", "double")],
    ["REST 6.1", columns("float", "true"), mistyped("true", "True", "float")],
    ["REST 6.1", columns("int32", "1.0"), mistyped("1.0", "Number", "int32")],
    ["REST 6.1", columns("int32", "2147483648"), mistyped("2147483648", "Number", "int32")],
    ["REST 6.1", columns("int64", "9223372036854775808"), mistyped("9223372036854775808", "Number", "int64")],
    ["REST 6.1", columns("int64", '"1"'), mistyped('"1"', "String", "int64")],
    ["REST 6.1", columns("uint32", "-1"), mistyped("-1", "Number", "uint32")],
    ["REST 6.1", columns("uint64", "-1"), mistyped("-1", "Number", "uint64")],
    ["REST 6.1", columns("bool", "1"), mistyped("1", "Number", "bool")],
    ["REST 6.1", columns("string", "1"), mistyped("1", "Number", "string")],
    ["REST 6.1", rows("float", '[{"b64": "aGk="}]'), wrapped(mistyped("…", "Object", "float"))],
    [
      "REST 6.2",
      rows("string", '[["a", {"b64": "aGk=", "y": 1}]]'),
      wrapped("JSON Value: … not formatted correctly for base64 data"),
    ],
    ["REST 6.2", rows("string", '[{"b64": "!"}]'), wrapped("Unable to base64 decode")],
    ["REST 7", rows("scalar", "[1, 2]"), "Tensor name: total has no shape information "],
    ["REST 7", rows("uneven", "[1, 2]"), "Tensor name: z has inconsistent batch size: 1 expecting: 2"],
  ] as const
).map(([at, rest, text]): Row => ({ at, what: `${rest.path} ${rest.body}`, rest, code: "INVALID_ARGUMENT", text }));
const restOurs: readonly Row[] = [
  ...(
    [
      ["uint8", "300"],
      ["int8", "-129"],
      ["int16", "32768"],
    ] as const
  ).map(
    ([type, value]): Row => ({
      at: "REST 6.1",
      what: `${value} for an input of type ${type}`,
      rest: columns(type, value),
      code: "INVALID_ARGUMENT",
      text: mistyped(value, "Number", type),
      differs: "TensorFlow Serving wraps it",
    }),
  ),
  {
    at: "REST 6.1",
    what: "an input of a type that JSON has no words for",
    text: "Conversion of JSON Value: {dbg} to type: {type}",
    unreachable: "models of such types do not load; test/api/codecs/json-tensor.test.ts has one of complex64",
  },
  {
    at: "REST 7",
    what: "an output of such a type",
    text: "Failed to write JSON value for tensor type: {type}",
    unreachable: "as above; test/api/codecs/json-writer.test.ts",
  },
  {
    at: "REST 7",
    what: "no outputs",
    text: "Cannot convert empty tensor map to JSON",
    unreachable: "a graph without outputs does not load; test/api/codecs/json-writer.test.ts",
  },
];

const restExamples: readonly Row[] = (["classify", "regress"] as const).flatMap((verb) =>
  (
    [
      [
        "no key 'examples'",
        "{}",
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
      ],
      ["examples that are no list", '{"examples": 1}', "JSON Value: … Expecting 'examples' value to be an list/array"],
      ["no examples", '{"examples": []}', "JSON Value: … 'examples' value is an empty array"],
      ["an example that is none", '{"examples": [1]}', "Example must be JSON object but got JSON Number"],
      ["a context that is none", '{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"],
      [
        "mixed kinds",
        '{"examples": [{"x": [1.0, "a"]}]}',
        "Unexpected element type in feature: x expecting type: float",
      ],
      [
        "mixed numbers",
        '{"examples": [{"x": [1, 2.0]}]}',
        "Unexpected element type in feature: x expecting type: int64",
      ],
      ["mixed texts", '{"examples": [{"x": ["a", 1]}]}', "Unexpected element type in feature: x expecting type: bytes"],
      ["null", '{"examples": [{"x": null}]}', "Feature: x has element with unexpected JSON type: Null"],
      ["a list in a list", '{"examples": [{"x": [[1]]}]}', "Feature: x has element with unexpected JSON type: Array"],
      ["an object", '{"examples": [{"x": {"a": 1}}]}', "Feature: x has element with unexpected JSON type: Object"],
      [
        "an integer above int64",
        '{"examples": [{"x": 9223372036854775808}]}',
        "Feature: x has uint64_t element. Only int64_t is supported.",
      ],
      [
        "a signature's name that is none",
        '{"signature_name": 1}',
        "JSON Value: … 'signature_name' key must be a string value.",
      ],
    ] as const
  ).map(
    ([what, body, text]): Row => ({
      at: "REST 8",
      what: `${what}, ${verb}`,
      // The body is looked at before the model.
      rest: post(`none:${verb}`, body),
      code: "INVALID_ARGUMENT",
      text,
    }),
  ),
);

const transport: readonly Row[] = [
  {
    at: "REST 4, 12",
    what: "a gzip body that is none",
    rest: post("line:predict", '{"instances": [[1]]}', { "content-encoding": "gzip" }),
    code: "INVALID_ARGUMENT",
    text: "JSON Parse error: The document is empty…",
  },
  {
    at: "REST 12",
    what: "a run that outlasts --rest_api_timeout_in_ms",
    text: "(DEADLINE_EXCEEDED, in words of the runtime)",
    unreachable: "a clock is advanced for it in test/api/rest/rest-faults.test.ts; our text names the flag",
  },
];

export const messages: readonly Row[] = [
  ...surface,
  ...tensors,
  ...predicting,
  ...exampleInputs,
  ...classifying,
  ...multiInference,
  ...multiInferenceOrder,
  ...asking,
  ...restPaths,
  ...parseErrors,
  ...restPredict,
  ...restOurs,
  ...restExamples,
  ...transport,
  ...loading,
  ...batching,
  ...unreachableBatching,
  ...starting,
  // They come last: some of them replace what is served.
  ...reloading,
];
