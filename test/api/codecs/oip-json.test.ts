import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JsonInferBody, type JsonInferRequest } from "../../../src/api/codecs/oip-json-request.js";
import { writeInferResponse } from "../../../src/api/codecs/oip-json-response.js";
import { elementTypeOfOpenInference, elementTypes, type Tensor } from "../../../src/tensor/index.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { SeededRandom } from "../../support/seeded-random.js";

function read(text: string, blobs?: Uint8Array): JsonInferRequest {
  const head = Buffer.from(text);
  const body = new JsonInferBody(Buffer.concat([head, blobs ?? Buffer.alloc(0)]), blobs && head.length, "m");
  while (!body.advance());
  return body.request("");
}

/** The elements of the only input. */
function elements(datatype: string, shape: string, data: string) {
  const request = read(`{"inputs":[{"name":"x","datatype":"${datatype}","shape":${shape},"data":${data}}]}`);
  const { contents } = request.inputs[0]!;
  const type = elementTypeOfOpenInference(datatype)!;
  const got = contents.decode(type, 0, "x", "m");
  if (type.bytesPerElement > 0) assert.equal(contents.byteLength(type), (got as Uint8Array).byteLength);
  return got;
}

const refused = (message: RegExp, text: string, blobs?: Uint8Array) =>
  rejectsWith("INVALID_ARGUMENT", message, () => read(text, blobs));

describe("a REST inference's body", () => {
  it("says its id, parameters, inputs and outputs, in any order and with members nobody asked for", () => {
    const request = read(
      `{"outputs":[{"name":"y","parameters":{"classification":2,"binary_data":true}},{"name":"z"}],
        "model_name":"ignored","parameters":{"sequence_id":18446744073709551615,"priority":1,"real":0.5,"flag":true},
        "inputs":[{"data":[1,2],"parameters":{"k":"v"},"more":{"a":[{}]},"datatype":"INT64","shape":[2],"name":"é\\n"}],"id":"7"}`,
    );
    assert.equal(request.id, "7");
    assert.deepEqual(
      [...request.parameters],
      [
        ["sequence_id", 2n ** 64n - 1n],
        ["priority", 1n],
        ["real", 0.5],
        ["flag", true],
      ],
    );
    const [input] = request.inputs;
    assert.deepEqual([input!.name, input!.datatype, input!.shape], ["é\n", "INT64", [2]]);
    assert.deepEqual([...input!.parameters], [["k", "v"]]);
    assert.deepEqual(
      request.outputs.map(({ name, parameters }) => [name, [...parameters]]),
      [
        [
          "y",
          [
            ["classification", 2n],
            ["binary_data", true],
          ],
        ],
        ["z", []],
      ],
    );
  });

  it("carries every datatype but FP16 and BF16, exactly", () => {
    assert.deepEqual(elements("BOOL", "[2]", "[true,false]"), Uint8Array.of(1, 0));
    assert.deepEqual(elements("INT8", "[2]", "[-128,127]"), Int8Array.of(-128, 127));
    assert.deepEqual(elements("UINT16", "[2]", "[0,65535]"), Uint16Array.of(0, 65535));
    assert.deepEqual(elements("INT32", "[1]", "[-2147483648]"), Int32Array.of(-2147483648));
    assert.deepEqual(
      elements("INT64", "[2]", "[-9223372036854775808,9223372036854775807]"),
      BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
    );
    assert.deepEqual(elements("UINT64", "[1]", "[18446744073709551615]"), BigUint64Array.of(2n ** 64n - 1n));
    assert.deepEqual(elements("FP32", "[4]", "[1,0.1,NaN,-Infinity]"), Float32Array.of(1, 0.1, Number.NaN, -Infinity));
    assert.deepEqual(elements("FP64", "[2]", "[1e300,0.1]"), Float64Array.of(1e300, 0.1));
    assert.deepEqual(elements("BYTES", "[2]", '["h\\u00e9llo",""]'), ["héllo", ""]);
  });

  it("takes data flat, nested, and nested in any way: only the number of elements counts", () => {
    for (const data of ["[1,2,3,4]", "[[1,2],[3,4]]", "[[[1],[2]],[[3],[4]]]", "[1,[2,[3]],[[4]]]", "[[1,2,3],[4]]"]) {
      assert.deepEqual(elements("FP32", "[2,2]", data), Float32Array.of(1, 2, 3, 4), data);
    }
    assert.deepEqual(elements("BYTES", "[3]", '["[",["]","a,b"]]'), ["[", "]", "a,b"]);
    assert.deepEqual(elements("FP32", "[0,3]", "[]"), new Float32Array());
    assert.deepEqual(elements("INT32", "[]", "[7]"), Int32Array.of(7));
  });

  it("takes inputs' bytes from behind the JSON, in the inputs' order", () => {
    const blobs = Uint8Array.of(1, 0, 2, 0, 3, 0, 0, 0, 97, 98, 99);
    const { inputs } = read(
      `{"inputs":[{"name":"a","datatype":"UINT16","shape":[2],"parameters":{"binary_data_size":4}},
        {"name":"j","datatype":"UINT8","shape":[1],"data":[9]},
        {"name":"b","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":7}},
        {"name":"e","datatype":"FP32","shape":[0],"parameters":{"binary_data_size":0}}]}`,
      blobs,
    );
    const decode = (index: number, count: number) =>
      inputs[index]!.contents.decode(elementTypeOfOpenInference(inputs[index]!.datatype)!, count, "x", "m");
    assert.deepEqual(decode(0, 2), Uint16Array.of(1, 2));
    assert.deepEqual(decode(1, 1), Uint8Array.of(9));
    assert.deepEqual(decode(2, 1), ["abc"]);
    assert.deepEqual(decode(3, 0), new Float32Array());
  });

  it("decides for each output whether it is binary: by itself, else by the request", () => {
    const inputs = '"inputs":[]';
    const own = read(
      `{${inputs},"parameters":{"binary_data_output":true},"outputs":[{"name":"y","parameters":{"binary_data":false}},{"name":"z"}]}`,
    );
    assert.deepEqual(["y", "z", "w"].map(own.isBinary), [false, true, true]);
    assert.deepEqual(["y"].map(read(`{${inputs}}`).isBinary), [false]);
  });

  it("is refused when it is not such a body, saying what is wrong", async () => {
    const input = (members: string) => `{"inputs":[{${members}}]}`;
    const x = '"name":"x","datatype":"FP32","shape":[1]';
    await refused(/JSON Parse error/, "{");
    await refused(/document is empty/i, "");
    await refused(/Unable to parse 'inputs'/, "[]");
    await refused(/Unable to parse 'inputs'/, '{"inputs":{}}');
    await refused(/Unable to parse 'inputs': each must be an object/, '{"inputs":[1]}');
    await refused(/Unable to parse 'name'/, input('"datatype":"FP32","shape":[1],"data":[1]'));
    await refused(/Unable to parse 'datatype' of input 'x'/, input('"name":"x","shape":[1],"data":[1]'));
    for (const shape of ['"a"', "[-1]", "[1.5]", '["1"]', "[null]"]) {
      await refused(
        /Unable to parse 'shape' of input 'x'/,
        input(`"name":"x","datatype":"FP32","shape":${shape},"data":[1]`),
      );
    }
    await refused(/Input must set only one .* But no field is set$/, input(x));
    await refused(/But set 'data' 'binary_data_size'$/, input(`${x},"data":[1],"parameters":{"binary_data_size":4}`));
    await refused(/Unable to parse 'data' of input 'x': it must be a list/, input(`${x},"data":1`));
    await refused(/Shape does not match true shape of 'data' field/, input(`${x},"data":[1,2]`));
    await refused(/Shape does not match .* has 0 elements/, input(`${x},"data":[]`));
    await refused(/not of expected type: float/, input(`${x},"data":["1"]`));
    await refused(/not of expected type: float/, input(`${x},"data":[true]`));
    await refused(/not of expected type: bool/, input('"name":"x","datatype":"BOOL","shape":[1],"data":[1]'));
    await refused(/not of expected type: int8/, input('"name":"x","datatype":"INT8","shape":[1],"data":[128]'));
    await refused(/not of expected type: int32/, input('"name":"x","datatype":"INT32","shape":[1],"data":[1.0]'));
    await refused(/without NUL characters/, input('"name":"x","datatype":"BYTES","shape":[1],"data":["\\u0000"]'));
    await refused(
      /receiving FP16 data via JSON is not supported.*input x$/,
      input('"name":"x","datatype":"FP16","shape":[1],"data":[1]'),
    );
    await refused(/nests unevenly and holds empty lists/, input(`${x},"data":[[1],[]]`));
    await refused(/it holds an object/, input(`${x},"data":[[1],{}]`));
    await refused(/Unable to parse 'id'/, '{"inputs":[],"id":7}');
    await refused(/Unable to parse 'outputs'/, '{"inputs":[],"outputs":{}}');
    await refused(/Unable to parse 'name' of an output/, '{"inputs":[],"outputs":[{}]}');
    await refused(
      /Unable to parse 'binary_data' of output 'y'/,
      '{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}',
    );
    await refused(/parameter 'a' must be a string, a number/, '{"inputs":[],"parameters":{"a":[1]}}');
    await refused(/Unable to parse 'parameters'/, '{"inputs":[],"parameters":[]}');
    await refused(
      /JSON nests deeper than 100 levels/,
      `{"inputs":[],"parameters":{"a":${"[".repeat(200)}${"]".repeat(200)}}}`,
    );
    await refused(/nested deeper than 254/, input(`${x},"data":${"[".repeat(300)}1${"]".repeat(300)}`));
  });

  it("is refused when the bytes behind it do not add up", async () => {
    const input = (size: string) =>
      `{"inputs":[{"name":"x","datatype":"UINT8","shape":[4],"parameters":{"binary_data_size":${size}}}]}`;
    await refused(
      /unexpected size for input 'x', expecting 2 additional bytes for model 'm'/,
      input("4"),
      new Uint8Array(2),
    );
    await refused(/unexpected additional input data for model 'm'/, input("4"), new Uint8Array(5));
    await refused(/Unable to parse 'binary_data_size'/, input('"4"'), new Uint8Array(4));
    await refused(/Unable to parse 'binary_data_size'/, input("-1"), new Uint8Array(4));
    await refused(/unexpected size/, input("99999999999999999999999"), new Uint8Array(4));
  });

  it("is read in steps when it is large", () => {
    const values = Array.from({ length: 300_000 }, (_, i) => i);
    const text = `{"inputs":[{"data":${JSON.stringify(values)},"name":"x","datatype":"INT32","shape":[300000]}]}`;
    const body = new JsonInferBody(Buffer.from(text), undefined, "m");
    let steps = 1;
    while (!body.advance()) steps += 1;
    assert.ok(steps > 10, `${steps} steps`);
    const type = elementTypeOfOpenInference("INT32")!;
    assert.deepEqual(
      body.request("").inputs[0]!.contents.decode(type, values.length, "x", "m"),
      Int32Array.from(values),
    );
  });

  it("never makes the server allocate more than was sent", async () => {
    await refused(
      /Shape does not match/,
      '{"inputs":[{"name":"x","datatype":"FP64","shape":[1000000000000],"data":[1]}]}',
    );
    await refused(
      /Shape does not match/,
      '{"inputs":[{"name":"x","datatype":"FP64","shape":[99999999999999999999,9],"data":[1]}]}',
    );
  });
});

describe("a REST inference's answer", () => {
  const written = (tensors: readonly Tensor[], binary: boolean, id = "") => {
    const outputs = tensors.map((tensor, index) => ({ name: `y${index}`, tensor }));
    const response = { servableId: { name: 'm"', version: 3n }, id, outputs };
    const { head, blobs, blobBytes } = writeInferResponse(response, () => binary);
    return { text: Buffer.concat([...head]).toString(), blobs, blobBytes };
  };
  const tensor = (dtype: Tensor["dtype"], shape: readonly number[], data: Tensor["data"]): Tensor => ({
    dtype,
    shape,
    data,
  });

  it("has flat data whatever the shape, and the id when there was one", () => {
    const { text } = written([tensor("float32", [2, 2], Float32Array.of(1, 2.5, 3, 4))], false, "a");
    assert.deepEqual(JSON.parse(text), {
      id: "a",
      model_name: 'm"',
      model_version: "3",
      outputs: [{ name: "y0", datatype: "FP32", shape: [2, 2], data: [1, 2.5, 3, 4] }],
    });
    assert.ok(!("id" in JSON.parse(written([], false).text)));
  });

  it("prints every type exactly, NaN and the infinities as words", () => {
    assert.match(
      written([tensor("float64", [3], Float64Array.of(Number.NaN, -Infinity, 0.1))], false).text,
      /"data":\[NaN, -Infinity, 0.1\]/,
    );
    assert.match(
      written([tensor("int64", [1], BigInt64Array.of(-(2n ** 63n)))], false).text,
      /"data":\[-9223372036854775808\]/,
    );
    assert.match(written([tensor("bool", [2], Uint8Array.of(1, 0))], false).text, /"data":\[true, false\]/);
    assert.match(written([tensor("string", [1], ['"é'])], false).text, /"data":\["\\"é"\]/);
    assert.match(written([tensor("int8", [0], new Int8Array())], false).text, /"shape":\[0\],"data":\[\]/);
    assert.match(written([tensor("int8", [], Int8Array.of(-1))], false).text, /"shape":\[\],"data":\[-1\]/);
  });

  it("says how many bytes come behind it for each binary output", () => {
    const { text, blobs, blobBytes } = written(
      [
        tensor("float16", [2], Uint16Array.of(1, 2)),
        tensor("string", [1], ["é"]),
        tensor("int8", [0], new Int8Array()),
      ],
      true,
    );
    const sizes = JSON.parse(text).outputs.map((output: { parameters: object }) => output.parameters);
    assert.deepEqual(sizes, [{ binary_data_size: 4 }, { binary_data_size: 6 }, { binary_data_size: 0 }]);
    assert.deepEqual(Buffer.concat(blobs), Buffer.from([1, 0, 2, 0, 2, 0, 0, 0, 0xc3, 0xa9]));
    assert.equal(blobBytes, 10);
  });

  it("is refused for FP16 as JSON, saying what to ask for instead", async () => {
    await rejectsWith("INVALID_ARGUMENT", /sending FP16 data via JSON is not supported.*output y0/, () =>
      written([tensor("float16", [1], Uint16Array.of(1))], false),
    );
  });

  it("can be read back as a request's data, for random tensors of every type", () => {
    const random = new SeededRandom(6);
    const types = elementTypes.filter(({ array, carried, name }) => array && carried && name !== "float16");
    for (let round = 0; round < 200; round++) {
      const { name, array, bytesPerElement, openInference } = random.pick(types);
      const shape = Array.from({ length: random.below(4) }, () => random.below(4));
      const count = shape.reduce((product, size) => product * size, 1);
      const bytes = Uint8Array.from({ length: count * bytesPerElement }, () => random.below(name === "bool" ? 2 : 256));
      const data = new array!(bytes.buffer);
      const list = /"data":(\[.*?\])/.exec(written([tensor(name, shape, data)], false).text)![1]!;
      const back = elements(openInference!, JSON.stringify(shape), list);
      assert.deepEqual(back, data, `${name} [${shape}] ${list}`);
    }
  });
});
