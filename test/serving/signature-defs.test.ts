import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorSpec } from "../../src/onnx/index.js";
import { defaultSignatures, parseSignatureDefs, signaturesFromDefs } from "../../src/serving/signature-defs.js";
import { StatusError } from "../../src/status.js";
import { describeGraph } from "../support/servables.js";

const spec = (name: string, dtype: TensorSpec["dtype"], shape: TensorSpec["shape"]): TensorSpec => ({
  name,
  dtype,
  shape,
});
const graph = describeGraph(
  [spec("image", "float32", ["batch", 8, 8]), spec("scale", "float32", []), spec("tags:0", "string", undefined)],
  [spec("scores", "float32", ["batch", 10]), spec("label", "int64", ["batch"])],
);
const bind = (text: string) => signaturesFromDefs(parseSignatureDefs(text, "defs"), graph, "defs");
const faultOf = (text: string) => {
  try {
    bind(text);
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return error.message;
  }
  return "OK";
};
/** A signature with all inputs of the graph; what is given replaces one. */
const def = (
  more: { image?: string; scale?: string; tags?: string; outputs?: string; rest?: string; key?: string } = {},
) => `
  signature_def { key: "${more.key ?? "serving_default"}" value {
    ${more.image ?? 'inputs { key: "img" value { name: "image" } }'}
    ${more.scale ?? 'inputs { key: "s" value { name: "scale" } }'}
    ${more.tags ?? 'inputs { key: "t" value { name: "tags:0" } }'}
    ${more.outputs ?? 'outputs { key: "p" value { name: "scores" } }'}
    ${more.rest ?? ""}
  } }`;

describe("a model without signature_defs.pbtxt", () => {
  it("has serving_default with the graph's own names", () => {
    const signatures = defaultSignatures(graph);
    assert.deepEqual([...signatures.keys()], ["serving_default"]);
    const { methodName, inputs, outputs } = signatures.get("serving_default")!;
    assert.equal(methodName, "tensorflow/serving/predict");
    assert.deepEqual([...inputs.keys()], ["image", "scale", "tags:0"]);
    assert.deepEqual([...outputs.keys()], ["scores", "label"]);
  });
});

describe("signature_defs.pbtxt", () => {
  it("renames inputs, leaves outputs out, in the graph's order", () => {
    const signatures = bind(
      def({
        image: "",
        tags: 'inputs { key: "t" value { name: "tags:0" } } inputs { key: "a" value { name: "image" } }',
      }),
    );
    const { key, methodName, inputs, outputs, defaults } = signatures.get("serving_default")!;
    assert.deepEqual([key, methodName, defaults], ["serving_default", "tensorflow/serving/predict", undefined]);
    assert.deepEqual(
      [...inputs].map(([alias, { name }]) => [alias, name]),
      [
        ["a", "image"],
        ["s", "scale"],
        ["t", "tags:0"],
      ],
    );
    assert.deepEqual([...outputs], [["p", graph.outputs[0]]]);
  });

  it("is the whole list of signatures, with their method names", () => {
    const signatures = bind(
      def({ key: "plain", rest: 'method_name: "tensorflow/serving/predict"' }) +
        def({ key: "odd", rest: 'method_name: "anything"' }),
    );
    assert.deepEqual(
      [...signatures].map(([key, { methodName }]) => [key, methodName]),
      [
        ["plain", "tensorflow/serving/predict"],
        ["odd", "anything"],
      ],
    );
  });

  it("may say x:0 for x, and takes the graph's own spelling first", () => {
    assert.equal(
      bind(def({ scale: 'inputs { key: "s" value { name: "scale:0" } }' }))
        .get("serving_default")!
        .inputs.get("s")!.name,
      "scale",
    );
    assert.equal(bind(def()).get("serving_default")!.inputs.get("t")!.name, "tags:0");
    assert.match(faultOf(def({ tags: 'inputs { key: "t" value { name: "tags" } }' })), /the graph has no input "tags"/);
  });

  it("may give one output two aliases", () => {
    const outputs = 'outputs { key: "a" value { name: "scores" } } outputs { key: "b" value { name: "scores:0" } }';
    assert.deepEqual([...bind(def({ outputs })).get("serving_default")!.outputs.keys()], ["a", "b"]);
  });

  const image = (info: string) => def({ image: `inputs { key: "img" value { name: "image" ${info} } }` });
  const shape = (...dims: (number | string)[]) =>
    `tensor_shape { ${dims.map((d) => (typeof d === "number" ? `dim { size: ${d} }` : `dim { size: -1 name: "${d}" }`)).join(" ")} }`;
  const shapeOf = (text: string) => bind(text).get("serving_default")!.inputs.get("img")!.shape;

  it("may fix sizes that the graph leaves open, and leave open what the graph fixes", () => {
    assert.deepEqual(shapeOf(image(shape(32, 8, 8))), [32, 8, 8]);
    assert.deepEqual(shapeOf(image(shape(-1, -1, 8))), ["batch", 8, 8]);
    assert.deepEqual(shapeOf(image(shape("n", 8, 8))), ["batch", 8, 8]);
    assert.deepEqual(shapeOf(image("tensor_shape { unknown_rank: true }")), ["batch", 8, 8]);
    assert.deepEqual(shapeOf(image("")), ["batch", 8, 8]);
    const tags = def({ tags: `inputs { key: "t" value { name: "tags:0" ${shape("n", -1)} } }` });
    assert.deepEqual(bind(tags).get("serving_default")!.inputs.get("t")!.shape, ["n", undefined]);
  });

  it("may say the type, by name or number, when it is the graph's", () => {
    assert.equal(faultOf(image("dtype: DT_FLOAT")), "OK");
    assert.equal(faultOf(image("dtype: 1")), "OK");
    assert.equal(faultOf(def({ tags: 'inputs { key: "t" value { name: "tags:0" dtype: DT_STRING } }' })), "OK");
  });

  const wrong = 'defs: signature "serving_default": ';
  const refused: readonly [string, string, string][] = [
    ["no signature", "", "defs declares no signature"],
    [
      "an input that the graph does not have",
      def({ image: 'inputs { key: "img" value { name: "imgae" } }' }),
      `${wrong}input "img": the graph has no input "imgae"; it has image, scale, tags:0`,
    ],
    [
      "an output that the graph does not have",
      def({ outputs: 'outputs { key: "p" value { name: "image" } }' }),
      `${wrong}output "p": the graph has no output "image"; it has scores, label`,
    ],
    [
      "an input without a name",
      def({ image: 'inputs { key: "img" value { } }' }),
      `${wrong}input "img": the graph has no input ""; it has image, scale, tags:0`,
    ],
    [
      "an input of the graph that nothing feeds",
      def({ image: "", scale: "" }),
      `${wrong}no input feeds image, scale of the graph`,
    ],
    [
      "an input of the graph that is fed twice",
      def({ rest: 'inputs { key: "again" value { name: "image" } }' }),
      `${wrong}inputs "img" and "again" both feed image`,
    ],
    ["no output", def({ outputs: "" }), `${wrong}it has no outputs`],
    ["another type", image("dtype: DT_DOUBLE"), `${wrong}input "img": image is float in the graph, not double`],
    ["a type that does not exist", image("dtype: 99"), `${wrong}input "img": image is float in the graph, not type 99`],
    ["another rank", image(shape(-1, 64)), `${wrong}input "img": image has shape [batch,8,8] in the graph, not [?,64]`],
    [
      "another size",
      image(shape(-1, 8, 9)),
      `${wrong}input "img": image has shape [batch,8,8] in the graph, not [?,8,9]`,
    ],
    [
      "a sparse tensor",
      def({ image: 'inputs { key: "img" value { coo_sparse { } } }' }),
      `${wrong}input "img": sparse tensors are not supported`,
    ],
    [
      "a default for no input",
      def({ rest: 'defaults { key: "z" value { dtype: DT_FLOAT } }' }),
      `${wrong}default "z" is for no input of it`,
    ],
    [
      "a default of another type",
      def({ rest: 'defaults { key: "s" value { dtype: DT_INT32 } }' }),
      `${wrong}default "s" is int32; the input is float32`,
    ],
    [
      "a default of another shape",
      def({ rest: 'defaults { key: "s" value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } } }' }),
      `${wrong}default "s" has shape [2]; the input has []`,
    ],
    [
      "a default of a type that is not carried",
      def({ rest: 'defaults { key: "s" value { dtype: DT_COMPLEX64 } }' }),
      `${wrong}a value of type complex64 is not supported`,
    ],
    [
      "a default of a shape that is none",
      def({ rest: 'defaults { key: "s" value { dtype: DT_FLOAT tensor_shape { dim { size: -1 } } } }' }),
      `${wrong}a value of shape [-1] is not supported; at most 1048576 elements are`,
    ],
    [
      "a default that would fill the memory",
      def({ rest: 'defaults { key: "s" value { dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } } } }' }),
      `${wrong}a value of shape [1000000000000] is not supported; at most 1048576 elements are`,
    ],
    [
      "a default with too few bytes",
      def({ rest: 'defaults { key: "s" value { dtype: DT_FLOAT tensor_content: "abc" } }' }),
      `${wrong}tensor_content holds 3 bytes; shape [] takes 4`,
    ],
  ];
  for (const [what, text, expected] of refused) {
    it(`is refused for ${what}`, () => assert.equal(faultOf(text), expected));
  }

  it("is refused for fields that are not in the schema, with line and column", () => {
    assert.match(
      faultOf("signature_def { key: 'a' value { composite_tensor {} } }"),
      /^Invalid protobuf file: 'defs': Error parsing text-format tensorflow\.serving\.SignatureDefMap: 1:34: Message type "tensorflow\.SignatureDef" has no field named "composite_tensor"\.$/,
    );
  });
});

describe("default values", () => {
  const anyInput = (dtype: TensorSpec["dtype"]) =>
    describeGraph([spec("x", dtype, undefined)], [spec("y", "float32", [])]);
  const defaultOf = (dtype: TensorSpec["dtype"], value: string) => {
    const text = `signature_def { key: "k" value { inputs { key: "x" value { name: "x" } }
      outputs { key: "y" value { name: "y" } } defaults { key: "x" value { ${value} } } } }`;
    return signaturesFromDefs(parseSignatureDefs(text, "defs"), anyInput(dtype), "defs").get("k")!.defaults!.get("x")!;
  };
  const two = "tensor_shape { dim { size: 2 } }";
  const table: readonly [TensorSpec["dtype"], string, readonly number[], unknown][] = [
    ["float32", "dtype: DT_FLOAT float_val: 0.5", [], Float32Array.of(0.5)],
    ["float32", `dtype: DT_FLOAT ${two} float_val: [1, 2, 3]`, [2], Float32Array.of(1, 2)],
    ["float32", `dtype: DT_FLOAT ${two} float_val: 7`, [2], Float32Array.of(7, 7)],
    ["float32", `dtype: DT_FLOAT ${two}`, [2], Float32Array.of(0, 0)],
    ["float32", String.raw`dtype: DT_FLOAT tensor_content: "\000\000\200?"`, [], Float32Array.of(1)],
    ["float64", "dtype: DT_DOUBLE double_val: -inf", [], Float64Array.of(-Infinity)],
    ["float16", "dtype: DT_HALF half_val: 15360", [], Uint16Array.of(15360)],
    ["int8", "dtype: DT_INT8 int_val: -1", [], Int8Array.of(-1)],
    ["uint16", "dtype: DT_UINT16 int_val: 65535", [], Uint16Array.of(65535)],
    ["int32", "dtype: DT_INT32 int_val: -2147483648", [], Int32Array.of(-2147483648)],
    ["uint32", "dtype: DT_UINT32 uint32_val: 4294967295", [], Uint32Array.of(4294967295)],
    ["int64", "dtype: DT_INT64 int64_val: 9223372036854775807", [], BigInt64Array.of(2n ** 63n - 1n)],
    ["uint64", "dtype: DT_UINT64 uint64_val: 18446744073709551615", [], BigUint64Array.of(2n ** 64n - 1n)],
    ["bool", `dtype: DT_BOOL ${two} bool_val: [true, false]`, [2], Uint8Array.of(1, 0)],
    ["string", `dtype: DT_STRING ${two} string_val: "a"`, [2], ["a", "a"]],
    ["string", "dtype: DT_STRING tensor_shape { dim { size: 0 } }", [0], []],
  ];
  for (const [dtype, value, shape, data] of table) {
    it(`are read from ${value}`, () => assert.deepEqual(defaultOf(dtype, value), { dtype, shape, data }));
  }
  it("refuse bytes of a bool that are neither 0 nor 1", () => {
    assert.throws(
      () => defaultOf("bool", String.raw`dtype: DT_BOOL tensor_content: "\002"`),
      /bytes other than 0 and 1/,
    );
  });
});

describe("a signature on tf.Examples in signature_defs.pbtxt", () => {
  const x = spec("x", "float32", ["batch", 2]);
  const age = spec("age", "int64", ["batch"]);
  const scores = spec("scores", "float32", ["batch", 2]);
  const labelled: ReturnType<typeof describeGraph> = {
    ...describeGraph([x, age], [scores]),
    classLabels: new Map([["scores", [10n, 20n]]]),
  };
  const parse = (text: string, graphOf = labelled) =>
    signaturesFromDefs(
      parseSignatureDefs(
        `signature_def { key: "c" value { method_name: "tensorflow/serving/classify" ${text} } }`,
        "defs",
      ),
      graphOf,
      "defs",
    ).get("c")!;
  const inputs = 'inputs { key: "measures" value { name: "x" } } inputs { key: "years" value { name: "age" } }';
  const output = 'outputs { key: "scores" value { name: "scores" } }';

  it("shows clients TensorFlow's interface, and reads features by their aliases", () => {
    const signature = parse(`${inputs} ${output}`);
    assert.deepEqual([...signature.inputs], [["inputs", { name: "inputs", dtype: "string", shape: [undefined] }]]);
    assert.deepEqual([...signature.outputs.keys()], ["scores"]);
    assert.deepEqual(
      [...signature.features!].map(([name, feature]) => [name, feature.spec.name, feature.defaultValue]),
      [
        ["measures", "x", undefined],
        ["years", "age", undefined],
      ],
    );
    assert.equal(signature.classLabels, undefined);
  });

  it("names a feature after its tensor when the one input is called inputs", () => {
    const signature = parse(`inputs { key: "inputs" value { name: "x" } } ${output}`, {
      ...labelled,
      ...describeGraph([x], [scores]),
    });
    assert.deepEqual([...signature.features!.keys()], ["x"]);
  });

  it("takes the model's labels for `classes` without a tensor, where it has any", () => {
    const classes = `outputs { key: "classes" value { dtype: DT_STRING } }`;
    const signature = parse(`${inputs} ${output} ${classes}`);
    assert.deepEqual(signature.classLabels, ["10", "20"]);
    assert.deepEqual(signature.outputs.get("classes")!.shape, [undefined, 2]);
    assert.throws(
      () => parse(`${inputs} ${output} ${classes}`, { ...labelled, classLabels: new Map() }),
      /signature "c": output "classes" names no tensor, and the model has no labels for output "scores" either$/,
    );
  });

  it("has defaults of one example's shape", () => {
    const given = (value: string) => parse(`${inputs} ${output} defaults { key: "measures" value { ${value} } }`);
    const { features, defaults } = given("dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: [1, 2]");
    assert.deepEqual([...(features!.get("measures")!.defaultValue!.data as Float32Array)], [1, 2]);
    assert.equal(defaults, undefined);
    assert.throws(
      () => given("dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: [1, 2]"),
      /default "measures" has shape \[1,2\]; the input has \[2\]$/,
    );
  });

  it("pads features of variable length with their default, or with zero", () => {
    const given = (shape: TensorSpec["shape"], more = "", dtype: TensorSpec["dtype"] = "float32") =>
      parse(`inputs { key: "f" value { name: "x" } } ${output} ${more}`, {
        ...labelled,
        ...describeGraph([spec("x", dtype, shape)], [scores]),
      }).features!.get("f")!;
    const defaultOf = (value: string) => `defaults { key: "f" value { dtype: DT_FLOAT ${value} } }`;
    assert.deepEqual([...(given(["n", "steps", 2]).padding!.data as Float32Array)], [0]);
    assert.deepEqual(given(["n", undefined], "", "string").padding!.data, [""]);
    const declared = given(["n", "steps"], defaultOf("float_val: -1"));
    assert.deepEqual([[...(declared.padding!.data as Float32Array)], declared.defaultValue], [[-1], undefined]);
    assert.throws(
      () => given(["n", "steps"], defaultOf("tensor_shape { dim { size: 2 } } float_val: [1, 2]")),
      /default "f" has 2 values; the feature has a variable length, and its default is the one value/,
    );
    for (const fixed of [["n", 2], ["n", 2, "open"], ["n"]]) assert.equal(given(fixed).padding, undefined);
  });

  it("is refused where a list of values could not be laid out as a row", () => {
    const of = (shape: TensorSpec["shape"]) => () =>
      parse(`inputs { key: "f" value { name: "x" } } ${output}`, {
        ...labelled,
        ...describeGraph([spec("x", "float32", shape)], [scores]),
      });
    assert.throws(of([]), /feature "f": input x is a scalar; a feature needs a first dimension for the batch$/);
    assert.throws(of(undefined), /feature "f": input x has no declared rank; a feature needs one$/);
    assert.throws(of(["n", "a", "b"]), /feature "f": input x has 2 open dimensions behind the batch/);
    assert.ok(of(["n", "a", 3])().features);
  });
});
