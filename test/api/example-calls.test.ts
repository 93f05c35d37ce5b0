import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Feature, Signature, TensorSpec } from "../../src/onnx/index.js";
import { exampleSignature } from "../../src/serving/example-signatures.js";
import { Code } from "../../src/status.js";
import { elementTypeInfo, type Tensor } from "../../src/tensor/index.js";
import { Example } from "../gen/tensorflow/core/example/example.js";
import type { Feature as FeatureMessage } from "../gen/tensorflow/core/example/feature.js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { ClassificationRequest } from "../gen/tensorflow_serving/apis/classification.js";
import { MultiInferenceRequest } from "../gen/tensorflow_serving/apis/inference.js";
import type { Input } from "../gen/tensorflow_serving/apis/input.js";
import { PredictRequest } from "../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../gen/tensorflow_serving/apis/prediction_service.js";
import { type Run, signatureOf } from "../support/fake-repository.js";
import { callUnary, failureOf, GrpcServices } from "../support/grpc-services.js";
import { RestDoor } from "../support/rest-door.js";

const classifyMethod = "tensorflow/serving/classify";
const regressMethod = "tensorflow/serving/regress";

type Shape = TensorSpec["shape"];
const spec = (name: string, dtype: TensorSpec["dtype"], shape: Shape): TensorSpec => ({ name, dtype, shape });
const features = (...of: [TensorSpec, Tensor?][]): Map<string, Feature> =>
  new Map(of.map(([each, defaultValue]) => [each.name, { spec: each, defaultValue }]));
const onExamples = (
  key: string,
  methodName: string,
  outputs: Record<string, TensorSpec>,
  of: Map<string, Feature>,
  labels?: readonly string[],
): Signature => exampleSignature({ key, methodName, outputs: new Map(Object.entries(outputs)) }, of, labels);

const x = spec("x", "float32", ["batch", 2]);
const scores = spec("scores", "float32", ["batch", 2]);
const sum = spec("sum", "float32", ["batch", 1]);
const fromX = features([x]);
const labels = ["no", "yes"];

/** scores = x, sum = x0 + x1 */
const scoring: Run = (feeds) => {
  const { data, shape } = feeds.get("x")! as Tensor & { data: Float32Array };
  const sums = Float32Array.from({ length: shape[0]! }, (_, row) => data[2 * row]! + data[2 * row + 1]!);
  return new Map<string, Tensor>([
    ["scores", { dtype: "float32", shape, data }],
    ["sum", { dtype: "float32", shape: [shape[0]!, 1], data: sums }],
  ]);
};
const floats = (shape: number[], ...values: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

const features1 = (of: Record<string, FeatureMessage["kind"]>): Example => ({
  features: { feature: new Map(Object.entries(of).map(([name, kind]) => [name, { kind }])) },
});
const floatList = (...value: number[]): FeatureMessage["kind"] => ({ $case: "floatList", value: { value } });
const int64List = (...value: bigint[]): FeatureMessage["kind"] => ({ $case: "int64List", value: { value } });
const bytesList = (...value: string[]): FeatureMessage["kind"] => ({
  $case: "bytesList",
  value: { value: value.map((text) => Buffer.from(text)) },
});
const listOf = (...examples: Example[]): Input => ({ kind: { $case: "exampleList", value: { examples } } });
const withContext = (context: Example, ...examples: Example[]): Input => ({
  kind: { $case: "exampleListWithContext", value: { examples, context } },
});
const good = listOf(features1({ x: floatList(0.25, 0.75) }), features1({ x: floatList(1, 0) }));

let services: GrpcServices;
let door: RestDoor;
let client: PredictionServiceClient;

function add(name: string, signatures: readonly Signature[], run: Run = scoring): void {
  services.repository.add(name, 3n, signatures, run);
  door.repository.add(name, 3n, signatures, run);
}

before(async () => {
  services = await GrpcServices.start();
  door = await RestDoor.open();
  client = services.client(PredictionServiceClient);
  const plain = signatureOf({ x: ["float32", ["batch", 2]] }, { scores: ["float32", ["batch", 2]] });
  add("iris", [
    plain,
    onExamples("classify", classifyMethod, { scores }, fromX, labels),
    onExamples("only_scores", classifyMethod, { scores }, fromX),
    onExamples("regress", regressMethod, { outputs: sum }, fromX),
  ]);
});
after(async () => {
  await services[Symbol.asyncDispose]();
  await door[Symbol.asyncDispose]();
});

const asked = (name: string, signatureName: string, input: Input | undefined = good) =>
  ClassificationRequest.fromPartial({ modelSpec: { name, signatureName }, ...(input && { input }) });
const classify = (name: string, signatureName = "", input: Input | undefined = good) =>
  callUnary(client, client.classify, asked(name, signatureName, input));
const regress = (name: string, signatureName = "", input: Input | undefined = good) =>
  callUnary(client, client.regress, asked(name, signatureName, input));
const rest = async (target: string, body: object | string) => {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const { status, body: answer } = await door.post(`/v1/models/${target}`, text);
  return { status, answer: JSON.parse(answer) as Record<string, unknown> };
};

describe("Classify", () => {
  it("answers every example with its classes, labels and scores in the order of the columns", async () => {
    const { result, modelSpec } = await classify("iris", "classify");
    assert.deepEqual(
      result!.classifications.map(({ classes }) => classes),
      [
        [
          { label: "no", score: 0.25 },
          { label: "yes", score: 0.75 },
        ],
        [
          { label: "no", score: 1 },
          { label: "yes", score: 0 },
        ],
      ],
    );
    assert.deepEqual(modelSpec, {
      name: "iris",
      signatureName: "classify",
      versionChoice: { $case: "version", value: 3n },
    });
  });

  it("uses `classify` when no signature is named and serving_default is no classifier", async () => {
    assert.equal((await classify("iris")).modelSpec!.signatureName, "classify");
    assert.equal((await rest("iris:classify", { examples: [{ x: [1, 0] }] })).status, 200);
  });

  it("has no labels where the model gives none", async () => {
    const { result } = await classify("iris", "only_scores");
    assert.deepEqual(result!.classifications[0]!.classes[1], { label: "", score: 0.75 });
  });

  it("is counted and written down as Classify", () => {
    const { record } = services.ended.find(({ record: { method } }) => method.endsWith("/Classify"))!;
    assert.deepEqual([record.api, record.model, record.version, record.rows], ["Classify", "iris", 3n, 2]);
  });
});

describe("Classify over REST", () => {
  it("answers [label, score] pairs", async () => {
    const body = { examples: [{ x: [0.25, 0.75] }, { x: [1, 0] }] };
    const expected = {
      results: [
        [
          ["no", 0.25],
          ["yes", 0.75],
        ],
        [
          ["no", 1],
          ["yes", 0],
        ],
      ],
    };
    assert.deepEqual(await rest("iris:classify", body), { status: 200, answer: expected });
    const named = await rest("iris/versions/3:classify", { ...body, signature_name: "only_scores" });
    assert.deepEqual((named.answer["results"] as unknown[])[1], [
      ["", 1],
      ["", 0],
    ]);
  });

  it("merges the context into every example, which may replace it", async () => {
    const { answer } = await rest("iris:regress", { context: { x: [1, 2] }, examples: [{}, { x: [5, 5] }] });
    assert.deepEqual(answer, { results: [3, 10] });
  });
});

describe("Regress", () => {
  it("answers a number for every example", async () => {
    const { result } = await regress("iris");
    assert.deepEqual(result!.regressions, [{ value: 1 }, { value: 1 }]);
    const { body } = await door.post("/v1/models/iris:regress", '{"examples": [{"x": [40.0, 2.0]}, {"x": [1, 0.5]}]}');
    assert.match(body, /Unexpected element type in feature: x expecting type: int64/);
    const second = await door.post("/v1/models/iris:regress", '{"examples": [{"x": [40.0, 2.0]}, {"x": [1.0, 0.5]}]}');
    assert.equal(second.body, '{\n    "results": [42.0, 1.5]\n}');
  });
});

describe("features", () => {
  const noise = "ignored";
  const all: [TensorSpec["dtype"], FeatureMessage["kind"], string, unknown[]][] = [
    ["float32", floatList(1.5, 2), "[1.5, 2.0]", [1.5, 2]],
    ["float64", floatList(1.5, 2), "[1.5, 2.0]", [1.5, 2]],
    ["float16", floatList(1.5, 2), "[1.5, 2.0]", [0x3e00, 0x4000]],
    ["int64", int64List(2n ** 62n + 1n, -5n), "[4611686018427387905, -5]", [2n ** 62n + 1n, -5n]],
    ["uint64", int64List(2n ** 62n + 1n, 5n), "[4611686018427387905, 5]", [2n ** 62n + 1n, 5n]],
    ["int32", int64List(-7n, 2n ** 31n - 1n), "[-7, 2147483647]", [-7, 2 ** 31 - 1]],
    ["uint8", int64List(0n, 255n), "[0, 255]", [0, 255]],
    ["bool", int64List(0n, 1n), "[false, true]", [0, 1]],
    ["string", bytesList("größe", ""), '["größe", {"b64": ""}]', ["größe", ""]],
  ];
  for (const [dtype, kind, json, expected] of all) {
    it(`fill an input of type ${dtype}, over either door`, async () => {
      let seen: Tensor | undefined;
      const run: Run = (feeds) => {
        seen = feeds.get("f");
        return new Map([["s", floats([1], 1)]]);
      };
      const of = features([spec("f", dtype, [undefined, 2])]);
      add(dtype, [onExamples("regress", regressMethod, { outputs: spec("s", "float32", ["batch"]) }, of)], run);
      await regress(dtype, "", listOf(features1({ f: kind, [noise]: bytesList("x") })));
      assert.deepEqual([seen!.dtype, seen!.shape, [...(seen!.data as unknown[])]], [dtype, [1, 2], expected]);
      seen = undefined;
      const { status } = await rest(`${dtype}:regress`, `{"examples": [{"f": ${json}, "ignored": "x"}]}`);
      assert.equal(status, 200);
      assert.deepEqual([seen!.dtype, seen!.shape, [...(seen!.data as unknown[])]], [dtype, [1, 2], expected]);
    });
  }

  it("of a context belong to every example, which replaces them whole", async () => {
    const context = features1({ x: floatList(1, 2) });
    const input = withContext(
      context,
      features1({}),
      features1({ x: floatList(5, 5) }),
      features1({ y: floatList(9) }),
    );
    const { result } = await regress("iris", "", input);
    assert.deepEqual(
      result!.regressions.map(({ value }) => value),
      [3, 10, 3],
    );
    const replaced = await failureOf(regress("iris", "", withContext(context, features1({ x: int64List(1n, 2n) }))));
    assert.match(replaced.details, /Data types don't match/);
  });

  it("take the signature's default where they are missing", async () => {
    const of = features([x, floats([2], 3, 4)]);
    add("default", [onExamples("regress", regressMethod, { outputs: sum }, of)]);
    const { result } = await regress("default", "", listOf(features1({}), features1({ x: floatList(1, 1) })));
    assert.deepEqual(
      result!.regressions.map(({ value }) => value),
      [7, 2],
    );
  });

  // What tf.io.parse_example answers for FixedLenSequenceFeature([2], …, allow_missing=True), and so on.
  const padded: [
    what: string,
    TensorSpec,
    padding: Tensor["data"],
    FeatureMessage["kind"][],
    string[],
    shape: number[],
    unknown[],
  ][] = [
    [
      "steps of two, with zeros",
      spec("f", "float32", ["batch", "steps", 2]),
      new Float32Array(1),
      [floatList(1, 2), undefined, floatList(3, 4, 5, 6)],
      ["[1.0, 2.0]", "[]", "[3.0, 4.0, 5.0, 6.0]"],
      [3, 2, 2],
      [1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 5, 6],
    ],
    [
      "with the default",
      spec("f", "int32", ["batch", undefined]),
      Int32Array.of(-1),
      [int64List(1n), int64List(), int64List(3n, 4n)],
      ["1", "[]", "[3, 4]"],
      [3, 2],
      [1, -1, -1, -1, 3, 4],
    ],
    [
      "texts, with the empty one",
      spec("f", "string", ["batch", undefined]),
      [""],
      [bytesList("a"), undefined, bytesList("b", "c")],
      ['"a"', "[]", '["b", "c"]'],
      [3, 2],
      ["a", "", "", "", "b", "c"],
    ],
    [
      "to nothing, when there is nothing",
      spec("f", "int64", ["batch", undefined]),
      BigInt64Array.of(0n),
      [undefined, undefined],
      ["[]", "[]"],
      [2, 0],
      [],
    ],
  ];
  for (const [what, featureSpec, data, kinds, texts, shape, expected] of padded) {
    it(`of variable length are padded to the longest: ${what}, over either door`, async () => {
      let seen: Tensor | undefined;
      const run: Run = (feeds) => {
        seen = feeds.get("f");
        return new Map([["s", floats([kinds.length], ...kinds.map(() => 1))]]);
      };
      const padding: Tensor = { dtype: featureSpec.dtype, shape: [1], data };
      const of = new Map([["f", { spec: featureSpec, defaultValue: undefined, padding }]]);
      add(what, [onExamples("regress", regressMethod, { outputs: spec("s", "float32", ["batch"]) }, of)], run);
      await regress(what, "", listOf(...kinds.map((kind) => features1(kind ? { f: kind } : {}))));
      assert.deepEqual(
        [seen!.dtype, seen!.shape, [...(seen!.data as unknown[])]],
        [featureSpec.dtype, shape, expected],
      );
      seen = undefined;
      const body = `{"examples": [${texts.map((text) => `{"f": ${text}}`).join(", ")}]}`;
      assert.equal((await rest(`${encodeURIComponent(what)}:regress`, body)).status, 200);
      assert.deepEqual(
        [seen!.dtype, seen!.shape, [...(seen!.data as unknown[])]],
        [featureSpec.dtype, shape, expected],
      );
    });
  }

  it("of variable length cannot be padded without end, and come in whole steps", async () => {
    const ofSteps = new Map([
      ["x", { spec: spec("x", "float32", ["batch", undefined, 2]), defaultValue: undefined, padding: floats([1], 0) }],
    ]);
    add("steps", [onExamples("regress", regressMethod, { outputs: sum }, ofSteps)]);
    const long = features1({ x: floatList(...new Array(100_000).fill(1)) });
    const many = await failureOf(regress("steps", "", listOf(long, ...new Array(1000).fill(features1({})))));
    assert.match(many.details, /the context and default values come to more than/);
    assert.equal(
      (await failureOf(regress("steps", "", listOf(features1({ x: floatList(1, 2, 3) }))))).details,
      "Name: <unknown>, Key: x, Index: 0.  Number of float values is not a multiple of stride length. " +
        "Saw 3 values but output shape is: [?,2]",
    );
  });

  it("of an open length that nobody declared are refused when they differ", async () => {
    const open = features([spec("x", "float32", ["batch", "n"])]);
    add("open", [onExamples("regress", regressMethod, { outputs: sum }, open)]);
    assert.equal((await regress("open", "", good)).result!.regressions.length, 2);
    assert.match(
      (await failureOf(regress("open", "", listOf(features1({ x: floatList(1, 2) }), features1({ x: floatList(1) })))))
        .details,
      /Index: 1\. {2}Number of float values != expected\. {2}Values size: 1 but output shape: \[2\]; examples of different length/,
    );
  });

  it("that do not fit the graph's type, or are no text, are refused by name", async () => {
    const answer = await failureOf(regress("uint8", "", listOf(features1({ f: int64List(0n, 256n) }))));
    assert.match(answer.details, /Key: f, Index: 0\. {2}256 does not fit into uint8, the type of input f$/);
    const bytes: FeatureMessage["kind"] = {
      $case: "bytesList",
      value: { value: [Buffer.from([0xff]), Buffer.from("a")] },
    };
    assert.match((await failureOf(regress("string", "", listOf(features1({ f: bytes }))))).details, /is not UTF-8/);
  });

  it("cannot be multiplied without end by a context", async () => {
    const context = features1({ x: floatList(1, 2) });
    const wide = features([spec("x", "float32", ["batch", undefined])]);
    add("wide", [onExamples("regress", regressMethod, { outputs: sum }, wide)]);
    const large = features1({ x: floatList(...new Array(100_000).fill(1)) });
    const { code, details } = await failureOf(
      regress("wide", "", withContext(large, ...new Array(1000).fill(features1({})))),
    );
    assert.equal(code, Code.INVALID_ARGUMENT);
    assert.match(details, /the context and default values come to more than/);
    assert.equal((await regress("iris", "", withContext(context, features1({})))).result!.regressions.length, 1);
  });
});

describe("MultiInference", () => {
  const task = (signatureName: string, methodName: string, name = "iris") => ({
    modelSpec: { name, signatureName },
    methodName,
  });
  const multi = (tasks: object[], input: Input | undefined = good) =>
    callUnary(client, client.multiInference, MultiInferenceRequest.fromPartial({ tasks, ...(input && { input }) }));

  it("answers every task in order, from one run", async () => {
    let runs = 0;
    const counted: Run = (feeds, options) => {
      runs += 1;
      return scoring(feeds, options);
    };
    add(
      "both",
      [
        onExamples("classify", classifyMethod, { scores }, features([x]), labels),
        onExamples("regress", regressMethod, { outputs: sum }, features([x])),
      ],
      counted,
    );
    const { results } = await multi([task("regress", regressMethod, "both"), task("", classifyMethod, "both")]);
    assert.equal(runs, 1);
    assert.deepEqual(results[0]!.result, {
      $case: "regressionResult",
      value: { regressions: [{ value: 1 }, { value: 1 }] },
    });
    assert.equal(results[0]!.modelSpec!.signatureName, "regress");
    assert.equal(results[1]!.result!.$case, "classificationResult");
    assert.deepEqual(results[1]!.modelSpec, {
      name: "both",
      signatureName: "classify",
      versionChoice: { $case: "version", value: 3n },
    });
  });
});

describe("Predict on a signature of tf.Examples", () => {
  const serialized = [features1({ x: floatList(0.25, 0.75) }), features1({ x: floatList(200, -1) })].map((example) =>
    Buffer.from(Example.encode(example).finish()),
  );
  const request = (stringVal: Buffer[], outputFilter: string[] = [], size = stringVal.length) =>
    PredictRequest.fromPartial({
      modelSpec: { name: "iris", signatureName: "classify" },
      inputs: new Map([
        [
          "inputs",
          TensorProto.fromPartial({
            dtype: DataType.DT_STRING,
            tensorShape: { dim: [{ size: BigInt(size) }] },
            stringVal,
          }),
        ],
      ]),
      outputFilter,
    });

  it("reads serialized Examples, which are no text", async () => {
    const { outputs } = await callUnary(client, client.predict, request(serialized));
    assert.deepEqual(outputs.get("scores")!.floatVal, [0.25, 0.75, 200, -1]);
    assert.deepEqual(outputs.get("classes")!.stringVal.map(String), ["no", "yes", "no", "yes"]);
    const filtered = await callUnary(client, client.predict, request(serialized, ["classes"]));
    assert.deepEqual([...filtered.outputs.keys()], ["classes"]);
  });

  it("fills with the last, as tensors are filled", async () => {
    const { outputs } = await callUnary(client, client.predict, request(serialized, [], 3));
    assert.deepEqual(outputs.get("scores")!.floatVal, [0.25, 0.75, 200, -1, 200, -1]);
  });

  it("refuses what is no Example", async () => {
    const { code, details } = await failureOf(callUnary(client, client.predict, request([Buffer.from([0x0a, 9])])));
    assert.deepEqual([code, details], [Code.INVALID_ARGUMENT, "Could not parse example input, value: '\n\t'"]);
  });

  it("is refused over REST, where a string is text", async () => {
    const body = { signature_name: "classify", instances: ["abc"] };
    const { status, answer } = await rest("iris:predict", body);
    assert.equal(status, 400);
    assert.match(answer["error"] as string, /takes serialized tf\.Examples, which are bytes/);
  });

  it("shows TensorFlow's interface in the metadata", () => {
    const { inputs, outputs } = onExamples("k", classifyMethod, { scores }, fromX, labels);
    assert.deepEqual(
      [...inputs].map(([alias, { dtype, shape }]) => [alias, elementTypeInfo(dtype).tensorflowName, shape]),
      [["inputs", "string", [undefined]]],
    );
    assert.deepEqual([...outputs.keys()], ["classes", "scores"]);
  });
});

describe("a REST body of examples", () => {
  it("is refused when a feature is given twice", async () => {
    const { status, answer } = await rest("iris:regress", '{"examples": [{"x": 1, "x": 2}]}');
    assert.deepEqual([status, answer], [400, { error: "Feature: x is given twice" }]);
  });

  it("is looked at before the model", async () => {
    assert.equal((await rest("none:classify", "{}")).status, 400);
    assert.equal((await rest("none:classify", '{"examples": [{}]}')).status, 404);
  });

  it("may hold numbers of every kind, and is read in slices", async () => {
    const { answer } = await rest(
      "iris:regress",
      '{"examples": [{"x": [true, false]}, {"x": [-0, 2]}, {"x": [1e2, 0.5]}]}',
    );
    assert.deepEqual(answer, { results: [1, 2, 100.5] });
    const { body } = await door.post(
      "/v1/models/iris:regress",
      '{"examples": [{"x": [NaN, 1.0]}, {"x": [-Infinity, 1.0]}]} x',
    );
    assert.equal(body, '{\n    "results": [NaN, -Infinity]\n}');
    const many = Array.from({ length: 30_000 }, (_, i) => ({ x: [i, 1] }));
    const { answer: sums } = await rest("iris:regress", { examples: many });
    assert.deepEqual((sums["results"] as number[]).slice(-2), [29_999, 30_000]);
  });
});
