import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PredictBody } from "../../../src/api/codecs/json-tensor.js";
import { Code, type CodeName, codeName, StatusError } from "../../../src/status.js";
import { type ElementType, float16ToNumber, numberToFloat16, type Tensor } from "../../../src/tensor/index.js";
import { type Specs, signatureOf } from "../../support/fake-repository.js";
import { SeededRandom } from "../../support/seeded-random.js";

type Types = Readonly<Record<string, ElementType>>;

function read(text: string | Buffer, types: Types, step = Number.POSITIVE_INFINITY) {
  const inputs: Specs = Object.fromEntries(Object.entries(types).map(([name, dtype]) => [name, [dtype, undefined]]));
  const body = new PredictBody(Buffer.from(text as string));
  while (!body.advance(step));
  const reader = body.readInputs(signatureOf(inputs, {}));
  while (!reader.advance(step));
  const tensors = Array.from(reader.inputs(), ([name, source]): [string, Tensor] => {
    const tensor = source.decode();
    assert.equal(source.invalid, undefined);
    assert.deepEqual([source.dtype, source.shape], [tensor.dtype, tensor.shape]);
    return [name, tensor];
  });
  return { form: reader.form, signatureName: body.signatureName, tensors: new Map(tensors) };
}

/** In one go and byte by byte: the steps must not show. */
const steps = [Number.POSITIVE_INFINITY, 1];

function refusal(text: string | Buffer, types: Types, step?: number): { code: CodeName; message: string } {
  try {
    read(text, types, step);
  } catch (error) {
    assert.ok(error instanceof StatusError, `${(error as Error).stack}`);
    return { code: codeName(error.code), message: error.message };
  }
  return assert.fail(`accepted: ${text}`);
}

describe("a predict body that fits", () => {
  const cases: readonly (readonly [
    text: string,
    dtype: ElementType,
    shape: readonly number[],
    data: readonly unknown[],
  ])[] = [
    ['{"instances": [[1.0]]}', "float32", [1, 1], [1]],
    ['{"inputs": [[1.0]]}', "float32", [1, 1], [1]],
    ['{"instances": [[1]]}', "float32", [1, 1], [1]],
    ['{"instances": [{"x": [1.0]}]}', "float32", [1, 1], [1]],
    ['{"instances": [1.0, 2.0, 5.0]}', "float32", [3], [1, 2, 5]],
    ['{"instances": [{"x": 1.5}, {"x": 2}]}', "float32", [2], [1.5, 2]],
    ['{"instances": [{"x": [[1],[2]]}, {"x": [[3],[4]]}]}', "float32", [2, 2, 1], [1, 2, 3, 4]],
    ['{"inputs": 2.5}', "float32", [], [2.5]],
    ['{"inputs": []}', "float32", [0], []],
    ['{"inputs": [[]]}', "float32", [1, 0], []],
    ['{"inputs": [[[]],[[]]]}', "float32", [2, 1, 0], []],
    ['{"instances": [[], []]}', "float32", [2, 0], []],
    ['{"inputs": {"x": [[1.0]], "junk": 1}}', "float32", [1, 1], [1]],
    ['{"inputs": {"junk": [{"x": "]"}, []], "x": 3, "more": "}"}}', "float32", [], [3]],
    ['{"inputs": {"x": [1, 2], "x": 3}}', "float32", [2], [1, 2]],
    [' {"inputs" : [ [ 1 , 2 ] , [ 3 , 4 ] ] } tail', "float32", [2, 2], [1, 2, 3, 4]],
    [
      '{"inputs":[NaN,-NaN,Inf,-Inf,Infinity,-Infinity]}',
      "float32",
      [6],
      [NaN, NaN, Infinity, -Infinity, Infinity, -Infinity],
    ],
    ['{"inputs":[0.1,1e-1,1E2,-2.5e+1]}', "float32", [4], [Math.fround(0.1), Math.fround(0.1), 100, -25]],
    ['{"inputs":[1435774380,1e39,-1e39,1e-50,-1e-50]}', "float32", [5], [1435774336, Infinity, -Infinity, 0, -0]],
    // As an integer literal -0 is the integer 0; as a decimal it keeps its sign.
    ['{"inputs":[-0,-0.0,-0e0]}', "float32", [3], [0, -0, -0]],
    ['{"inputs":[18446744073709551616,0.1]}', "float64", [2], [2 ** 64, 0.1]],
    ['{"inputs":[3.4028234664e38,0.333333333333333314829616256247]}', "float64", [2], [3.4028234664e38, 1 / 3]],
    ['{"inputs":[0.1,65504,65520,-1e-9]}', "float16", [4], [0.1, 65504, Infinity, -0].map(numberToFloat16)],
    ['{"inputs":[2147483647,-2147483648,-0]}', "int32", [3], [2147483647, -2147483648, 0]],
    ['{"inputs":[-128,127]}', "int8", [2], [-128, 127]],
    ['{"inputs":[0,255]}', "uint8", [2], [0, 255]],
    ['{"inputs":[-32768,32767]}', "int16", [2], [-32768, 32767]],
    ['{"inputs":[65535]}', "uint16", [1], [65535]],
    ['{"inputs":[4294967295]}', "uint32", [1], [4294967295]],
    [
      '{"inputs":[9007199254740993,-9007199254740993,4294967296,-1,-4294967297]}',
      "int64",
      [5],
      [9007199254740993n, -9007199254740993n, 4294967296n, -1n, -4294967297n],
    ],
    ['{"inputs":[9223372036854775807,-9223372036854775808]}', "int64", [2], [2n ** 63n - 1n, -(2n ** 63n)]],
    ['{"inputs":[18446744073709551615,0,-0]}', "uint64", [3], [2n ** 64n - 1n, 0n, 0n]],
    ['{"inputs":[true,false,[]]}'.replace(",[]", ""), "bool", [2], [1, 0]],
    ['{"inputs":["a","","é\\u00e9\\ud83d\\ude00\\n"]}', "string", [3], ["a", "", "éé😀\n"]],
    ['{"inputs":{"b64":"aGVsbG8="}}', "string", [], ["hello"]],
    [
      '{"instances":[{"b64":"aGVsbG8"},{"b64":" w6 k="},"c",{ "\\u0062\\u00364" : "" }]}',
      "string",
      [4],
      ["hello", "é", "c", ""],
    ],
    ['{"instances":[{"x":{"b64":"aGVsbG8="}}]}', "string", [1], ["hello"]],
    ['{"instances":[["a",{"b64":"Yg=="}]]}', "string", [1, 2], ["a", "b"]],
  ];
  for (const [text, dtype, shape, data] of cases) {
    it(`${dtype} from ${text}`, () => {
      for (const step of steps) {
        const tensor = read(text, { x: dtype }, step).tensors.get("x")!;
        assert.equal(tensor.dtype, dtype);
        assert.deepEqual(tensor.shape, shape);
        assert.deepEqual(Array.from<unknown>(tensor.data), data);
      }
    });
  }

  it("says in which form it came, and which signature it wants", () => {
    assert.equal(read('{"instances": [1]}', { x: "float32" }).form, "row");
    assert.equal(read('{"inputs": [1]}', { x: "float32" }).form, "column");
    assert.equal(read('{"inputs": [1]}', { x: "float32" }).signatureName, "");
    assert.equal(read('{"inputs": [1], "signature_name": "\\u0061b"}', { x: "float32" }).signatureName, "ab");
  });

  it("gives each input its own tensor, in the signature's order, whatever the order of the keys", () => {
    const types: Types = { a: "float32", b: "int64", c: "string" };
    const bodies = [
      '{"instances": [{"a": 1, "b": [2, 3], "c": "x"}, {"c": "y", "\\u0062": [4, 5], "a": 6}]}',
      '{"inputs": {"c": ["x", "y"], "b": [[2, 3], [4, 5]], "a": [1, 6]}}',
    ];
    for (const text of bodies) {
      for (const step of steps) {
        const { tensors } = read(text, types, step);
        assert.deepEqual(
          Array.from(tensors, ([name, { shape, data }]) => [name, shape, Array.from<unknown>(data)]),
          [
            ["a", [2], [1, 6]],
            ["b", [2, 2], [2n, 3n, 4n, 5n]],
            ["c", [2], ["x", "y"]],
          ],
        );
      }
    }
  });

  it("keeps inputs apart whose names are those of objects' own properties", () => {
    const types = Object.fromEntries([["__proto__", "float32"]]) as Types;
    const { tensors } = read('{"inputs": {"__proto__": [1]}}', types);
    assert.deepEqual([...tensors.keys()], ["__proto__"]);
  });

  it("owns its memory wholly, so that it can be handed to another thread", () => {
    const bodies = ['{"inputs": {"x": [1, 2, 3], "y": [1]}}', '{"instances": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}'];
    for (const text of bodies) {
      for (const { data } of read(text, { x: "float32", y: "int64" }).tensors.values()) {
        assert.equal((data as Float32Array).byteLength, (data as Float32Array).buffer.byteLength);
      }
    }
  });
});

describe("a predict body that does not fit", () => {
  const f: Types = { x: "float32" };
  const two: Types = { b: "float32", a: "int64" };
  const s: Types = { x: "string" };
  const row = (text: string) => `Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: ${text}`;
  const kind = (value: string, name: string, type: string) =>
    `JSON Value: ${value} Type: ${name} is not of expected type: ${type}`;
  const cases: readonly (readonly [text: string, types: Types, message: string])[] = [
    // The document
    ["[]", f, "JSON Value: [] Is not object"],
    ["5", f, "JSON Value: 5 Is not object"],
    ["01", f, "JSON Value: 0 Is not object"],
    ["{}", f, "Missing 'inputs' or 'instances' key"],
    [
      '{"signature_name": 1}',
      f,
      "JSON Value: {\n    \"signature_name\": 1\n} not formatted correctly. 'signature_name' key must be a string value.",
    ],
    ['{"signature_name": null, "inputs": x}', f, "JSON Parse error: Invalid value. at offset: 35"],
    [
      '{"instances": [1.0], "inputs": [1.0]}',
      f,
      "JSON Value: {\n    \"instances\": [1.0],\n    \"inputs\": [1.0]\n} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ],
    ['{"instances": 1}', f, "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"],
    [
      '{"instances": {"x": 1}}',
      f,
      'JSON Value: {\n    "instances": {\n        "x": 1\n    }\n} Expecting \'instances\' to be an list/array',
    ],
    ['{"instances": [ ]}', f, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"],
    ['{"inputs": 1}', {}, "Failed to get input map for signature: DEFAULT"],
    ['{"inputs": 1, "signature_name": "s"}', {}, "Failed to get input map for signature: s"],
    // Plain rows
    [
      '{"instances": [1, 2]}',
      two,
      "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
    ],
    ['{"instances": [1, {"x": 1}]}', f, "Expecting value/list but got object at item 1 of input list"],
    [
      '{"instances": [[1.0], [1.0, 2.0]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
    ],
    [
      '{"instances": [[1.0], [ ]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 0",
    ],
    [
      '{"instances": [[1], [[1]]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: [1,1]",
    ],
    [
      '{"instances": [1, [1]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but got: [1]",
    ],
    [
      '{"instances": [[1], 1]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: []",
    ],
    [
      '{"instances": [[[1,2]], [[1],[2]]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: [2,1]",
    ],
    [
      '{"instances": [[[1,2]], [[1],[2,3]]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ],
    [
      '{"instances": [[1, 2], [1, [2]]]}',
      f,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unexpected level: 1 expected < 1",
    ],
    ['{"instances": [[null]]}', f, row(kind("null", "Null", "float"))],
    [
      '{"instances": ["a", "b" , 1]}',
      s,
      `Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: ${kind("1", "Number", "string")}`,
    ],
    ['{"instances": ["a", {"b64": 1}]}', s, "Expecting value/list but got object at item 1 of input list"],
    ['{"instances": [{"b64": "!"}]}', s, row("Unable to base64 decode")],
    ['{"instances": [{"b64": "_-8="}]}', s, row("Unable to base64 decode")],
    ['{"instances": [{"b64": "a"}]}', s, row("Unable to base64 decode")],
    ['{"instances": [{"b64": "aGk=="}]}', s, row("Unable to base64 decode")],
    [
      '{"instances": [["a", {"b64": "aGk=", "x": 1}]]}',
      s,
      row('JSON Value: {\n    "b64": "aGk=",\n    "x": 1\n} not formatted correctly for base64 data'),
    ],
    ['{"instances": [{"b64": "aGk="}]}', f, row(kind('{\n    "b64": "aGk="\n}', "Object", "float"))],
    // Named rows
    [
      '{"instances": [{"x": [1.0], "junk": 1}]}',
      f,
      "Failed to process element: 0 key: junk of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: junk",
    ],
    [
      '{"instances": [{"x": 1}, {}]}',
      f,
      "Failed to process element: 1 of 'instances' list. JSON object: {} keys must be equal to: x",
    ],
    [
      '{"instances": [{}]}',
      f,
      "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x",
    ],
    [
      '{"instances": [{"b": 1}]}',
      two,
      "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"b\": 1\n} keys must be equal to: a,b",
    ],
    ['{"instances": [{"x": 1}, [1]]}', f, "Expecting object but got list at item 1 of input list"],
    ['{"instances": [{"x": "a"}, {"b64": "aGk="}]}', s, "Expecting object but got list at item 1 of input list"],
    [
      '{"instances": [{"x": [1]}, {"x": [1, 2]}]}',
      f,
      "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
    ],
    [
      '{"instances": [{"x": [1]}, {"x": [[1]]}]}',
      f,
      "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: [1,1]",
    ],
    [
      '{"instances": [{"x": [[1], [1, 2]]}]}',
      f,
      "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ],
    [
      '{"instances": [{"x": 1, "x": 2}]}',
      f,
      "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON object: has two members named: x",
    ],
    [
      '{"instances": [{"b": 1, "a": 2}, {"a": 1.0, "b": 1}]}',
      two,
      `Failed to process element: 1 key: a of 'instances' list. Error: INVALID_ARGUMENT: ${kind("1.0", "Number", "int64")}`,
    ],
    // Columns
    [
      '{"inputs": [1]}',
      two,
      "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ],
    [
      '{"inputs": {"b64": "aGk="}}',
      two,
      "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ],
    ['{"inputs": {"b": 1}}', two, "Missing named input: a in 'inputs' object."],
    ['{"inputs": {}}', f, "Missing named input: x in 'inputs' object."],
    ['{"inputs": [[1], [2, 3]]}', f, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"],
    ['{"inputs": [[1, 2], [3]]}', f, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"],
    ['{"inputs": [[1], []]}', f, "Encountered list at unexpected size: 0 at level: 1 expected size: 1"],
    ['{"inputs": [[], [1]]}', f, "Encountered list at unexpected size: 1 at level: 1 expected size: 0"],
    ['{"inputs": [1, [2]]}', f, "Encountered list at unexpected level: 1 expected < 1"],
    ['{"inputs": [[1], 2]}', f, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"],
    ['{"inputs": [[[1]], [2]]}', f, "JSON Value: 2 found at incorrect level: 3 in the JSON DOM. Expected at level: 3"],
    // A list's length is noticed before its elements, and an outer list's before an inner one's.
    ['{"inputs": [[1, 2], [3, "a", 5]]}', f, "Encountered list at unexpected size: 3 at level: 1 expected size: 2"],
    [
      '{"inputs": [[[1, 2]], [[3, "a"], [5]]]}',
      f,
      "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ],
    ['{"inputs": [[1, "a"], [3, 4, 5]]}', f, kind('"a"', "String", "float")],
    ['{"inputs": [["a,]", 2], [3, "]", 5]]}', s, kind("2", "Number", "string")],
    ['{"inputs": {"x": {"y": 1}}}', f, kind('{\n    "y": 1\n}', "Object", "float")],
    ['{"inputs": {"x": {"y": 1}}}', s, 'JSON Value: {\n    "y": 1\n} not formatted correctly for base64 data'],
    ['{"inputs": {"x": {}}}', s, "JSON Value: {} not formatted correctly for base64 data"],
    // Kinds of values
    ['{"inputs": null}', f, kind("null", "Null", "float")],
    ['{"inputs": true}', f, kind("true", "True", "float")],
    ['{"inputs": "1"}', f, kind('"1"', "String", "float")],
    ['{"inputs": false}', { x: "float64" }, kind("false", "False", "double")],
    ['{"inputs": 1.0}', { x: "int32" }, kind("1.0", "Number", "int32")],
    ['{"inputs": 1e2}', { x: "int32" }, kind("100.0", "Number", "int32")],
    ['{"inputs": NaN}', { x: "int32" }, kind("NaN", "Number", "int32")],
    ['{"inputs": 2147483648}', { x: "int32" }, kind("2147483648", "Number", "int32")],
    ['{"inputs": -2147483649}', { x: "int32" }, kind("-2147483649", "Number", "int32")],
    ['{"inputs": 300}', { x: "uint8" }, kind("300", "Number", "uint8")],
    ['{"inputs": -129}', { x: "int8" }, kind("-129", "Number", "int8")],
    ['{"inputs": 32768}', { x: "int16" }, kind("32768", "Number", "int16")],
    ['{"inputs": -1}', { x: "uint32" }, kind("-1", "Number", "uint32")],
    ['{"inputs": 4294967296}', { x: "uint32" }, kind("4294967296", "Number", "uint32")],
    ['{"inputs": 9223372036854775808}', { x: "int64" }, kind("9223372036854775808", "Number", "int64")],
    ['{"inputs": -9223372036854775809}', { x: "int64" }, kind("-9223372036854776000.0", "Number", "int64")],
    ['{"inputs": 1.0}', { x: "int64" }, kind("1.0", "Number", "int64")],
    ['{"inputs": true}', { x: "int64" }, kind("true", "True", "int64")],
    ['{"inputs": "a"}', { x: "int64" }, kind('"a"', "String", "int64")],
    ['{"inputs": -1}', { x: "uint64" }, kind("-1", "Number", "uint64")],
    ['{"inputs": 18446744073709551616}', { x: "uint64" }, kind("18446744073709552000.0", "Number", "uint64")],
    ['{"inputs": 1}', { x: "bool" }, kind("1", "Number", "bool")],
    ['{"inputs": "true"}', { x: "bool" }, kind('"true"', "String", "bool")],
    ['{"inputs": 1}', s, kind("1", "Number", "string")],
    ['{"inputs": null}', s, kind("null", "Null", "string")],
    // Strings that no ONNX model can be given
    [
      '{"inputs": "a\\u0000b"}',
      s,
      'JSON Value: "a\\u0000b" cannot be an element of a string tensor: onnxruntime carries UTF-8 text without NUL characters only',
    ],
    [
      '{"inputs": {"b64": "/w=="}}',
      s,
      'JSON Value: {\n    "b64": "/w=="\n} cannot be an element of a string tensor: onnxruntime carries UTF-8 text without NUL characters only',
    ],
    // Depth
    [
      `{"inputs": ${"[".repeat(300)}${"]".repeat(300)}}`,
      f,
      "JSON lists are nested deeper than 254, the most dimensions that a tensor can have",
    ],
  ];
  for (const [text, types, message] of cases) {
    it(`${JSON.stringify(types)} from ${text.slice(0, 80)}`, () => {
      for (const step of steps) assert.deepEqual(refusal(text, types, step), { code: "INVALID_ARGUMENT", message });
    });
  }

  it("answers UNIMPLEMENTED for types that JSON has no values for, wrapped in row form", () => {
    const message = "Conversion of JSON Value: 1 to type: complex64";
    assert.deepEqual(refusal('{"inputs": 1}', { x: "complex64" }), { code: "UNIMPLEMENTED", message });
    assert.deepEqual(refusal('{"instances": [1]}', { x: "complex64" }), {
      code: "INVALID_ARGUMENT",
      message: `Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: ${message}`,
    });
  });

  it("refuses strings whose bytes are not UTF-8", () => {
    const text = Buffer.concat([Buffer.from('{"inputs": "'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]);
    assert.deepEqual(refusal(text, s), {
      code: "INVALID_ARGUMENT",
      message: "JSON Parse error: Invalid encoding in string. at offset: 11",
    });
  });

  it("survives 500 000 levels wherever they stand", () => {
    const deep = "[".repeat(500_000) + "]".repeat(500_000);
    read(`{"x": ${deep}, "inputs": {"junk": ${deep}, "x": 1}}`, f);
    for (const text of [
      `{"inputs": ${deep}}`,
      `{"instances": [1, ${deep}]}`,
      `{"instances": [[1], ${deep}]}`,
      `{"instances": [{"x": 1}, {"x": ${deep}}]}`,
      `{"instances": [{"x": 1}, {"y": ${deep}}]}`,
      `{"inputs": {"x": ${'{"b64":'.repeat(100_000)}1${"}".repeat(100_000)}}}`,
    ]) {
      assert.equal(refusal(text, f).code, codeName(Code.INVALID_ARGUMENT));
    }
  });

  it("allocates no more than what was sent can hold", () => {
    // By its first rows this would be a tensor of a million times a million.
    const first = `[${"0,".repeat(200_000)}0]`;
    const text = `{"inputs": [${first}${",[]".repeat(200_000)}]}`;
    assert.match(refusal(text, { x: "float64" }).message, /unexpected size: 0 at level: 1 expected size: 200001/);
    assert.match(
      refusal(text.replace('{"inputs"', '{"instances"'), { x: "int64" }).message,
      /Failed to process element: 1 .*Expecting tensor size: 200001 but got: 0/,
    );
  });
});

describe("numbers", () => {
  const numberTypes = ["float32", "float64", "float16"] as const;
  const rounded = {
    float32: Math.fround,
    float64: (value: number) => value,
    float16: (value: number) => float16ToNumber(numberToFloat16(value)),
  };

  it("become what rounding their exact value once more gives, however they are written", () => {
    const random = new SeededRandom(7);
    const digits = (count: number) => Array.from({ length: count }, () => random.below(10)).join("");
    const literals: string[] = [];
    for (let round = 0; round < 20_000; round += 1) {
      const whole = random.chance(0.3) ? "0" : `${1 + random.below(9)}${digits(random.below(20))}`;
      const fraction = random.chance(0.3) ? "" : `.${digits(1 + random.below(25))}`;
      const exponent = random.chance(0.5) ? "" : `e${random.pick(["", "+", "-"])}${random.below(60)}`;
      literals.push(`${random.pick(["", "-"])}${whole}${fraction}${exponent}`);
    }
    // Beside and on the points half-way between two float32, where rounding twice would show.
    for (let round = 0; round < 5000; round += 1) {
      const float = Math.fround(random.next() * 10 ** random.below(8));
      const half = float + float * 2 ** -24;
      literals.push(String(half), half.toPrecision(21), `${half}0001`, half.toPrecision(9), half.toExponential(8));
    }
    const text = `{"inputs": [${literals.join(",")}]}`;
    for (const dtype of numberTypes) {
      const { data } = read(text, { x: dtype }).tensors.get("x")!;
      const got = Array.from(data as Float32Array, (value) => (dtype === "float16" ? float16ToNumber(value) : value));
      for (const [index, literal] of literals.entries()) {
        // An integer literal has no negative zero.
        const exact = literal === "-0" ? 0 : Number(literal);
        const want = rounded[dtype](exact);
        if (!Object.is(got[index], want)) assert.fail(`${dtype} ${literal}: ${got[index]}, not ${want}`);
      }
    }
  });

  it("of 64 bits are exact", () => {
    const random = new SeededRandom(8);
    const values = Array.from({ length: 5000 }, () => BigInt.asIntN(1 + random.below(64), random.uint64()));
    const text = `{"inputs": [${values.join(" , ")}]}`;
    for (const step of [Number.POSITIVE_INFINITY, 100]) {
      assert.deepEqual(read(text, { x: "int64" }, step).tensors.get("x")!.data, BigInt64Array.from(values));
    }
    const unsigned = values.map((value) => BigInt.asUintN(64, value));
    const { data } = read(`{"instances": [${unsigned.join(",")}]}`, { x: "uint64" }).tensors.get("x")!;
    assert.deepEqual(data, BigUint64Array.from(unsigned));
  });
});

describe("random tensors", () => {
  for (let seed = 1; seed <= 3; seed += 1) {
    it(`are read as JSON.parse reads them, and refused when one list is not like the others (seed ${seed})`, () => {
      const random = new SeededRandom(seed);
      for (let round = 0; round < 400; round += 1) {
        const shape = Array.from({ length: 1 + random.below(4) }, () => 1 + random.below(4));
        const nest = (dims: readonly number[]): unknown =>
          dims.length === 0 ? random.below(1000) / 8 : Array.from({ length: dims[0]! }, () => nest(dims.slice(1)));
        const value = nest(shape);
        const text = JSON.stringify(value, null, random.below(2));
        const step = 1 + random.below(40);
        for (const body of [
          `{"inputs": ${text}}`,
          `{"instances": ${text}}`,
          `{"inputs": {"x": ${text}}}`,
          `{"instances": [${(value as unknown[]).map((row) => `{"x": ${JSON.stringify(row)}}`).join(",")}]}`,
        ]) {
          const tensor = read(body, { x: "float32" }, step).tensors.get("x")!;
          assert.deepEqual(tensor.shape, shape);
          assert.deepEqual(Array.from<unknown>(tensor.data), [value].flat(10));
        }
        // One element more, less, or of another kind at one place.
        const leaves = [...text.matchAll(/[\d.]+/g)];
        const at = random.pick(leaves);
        const damage = random.pick(["null", "[1]", "[]", '"a"', "{}", "1,2", "true"]);
        const damaged = text.slice(0, at.index) + damage + text.slice(at.index + at[0].length);
        // A list may be longer when there is no other of its level, and a value a list when there is no other value.
        if (damage === "1,2" && leaves.length === shape.at(-1)) continue;
        if (damage.startsWith("[") && leaves.length === 1) continue;
        for (const body of [`{"inputs": ${damaged}}`, `{"instances": ${damaged}}`]) {
          assert.equal(refusal(body, { x: "float32" }, step).code, "INVALID_ARGUMENT");
        }
      }
    });
  }
});
