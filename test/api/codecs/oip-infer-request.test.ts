import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeInferRequest } from "../../../src/api/codecs/oip-infer-request.js";
import { WireFormatError } from "../../../src/api/codecs/wire-reader.js";
import { type ElementType, elementTypeInfo, elementTypeOfOpenInference } from "../../../src/tensor/index.js";
import { type InferTensorContents, ModelInferRequest } from "../../gen/inference/grpc_service.js";
import { boolParam, inferRequest, int64Param, rawFloats, stringParam } from "../../support/infer-requests.js";
import { rejectsWith } from "../../support/rejects-with.js";

const decode = (request: ModelInferRequest) => decodeInferRequest(ModelInferRequest.encode(request).finish());

/** What the first input of a request decodes to. */
function decodeFirst(request: ModelInferRequest, count: number) {
  const { datatype, contents } = decode(request).inputs[0]!;
  return contents.decode(elementTypeOfOpenInference(datatype)!, count, "x", "m");
}
function faultOfFirst(request: ModelInferRequest) {
  return decode(request).inputs[0]!.contents.fault("x", "m");
}
function byteLengthOfFirst(request: ModelInferRequest) {
  const { datatype, contents } = decode(request).inputs[0]!;
  return contents.byteLength(elementTypeOfOpenInference(datatype)!);
}

const typed: readonly (readonly [string, Partial<InferTensorContents>, unknown])[] = [
  ["BOOL", { boolContents: [true, false] }, Uint8Array.of(1, 0)],
  ["INT8", { intContents: [-128, 127] }, Int8Array.of(-128, 127)],
  ["INT16", { intContents: [-32768, 32767] }, Int16Array.of(-32768, 32767)],
  ["INT32", { intContents: [-(2 ** 31), 2 ** 31 - 1] }, Int32Array.of(-(2 ** 31), 2 ** 31 - 1)],
  ["INT64", { int64Contents: [-(2n ** 63n), 2n ** 63n - 1n] }, BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)],
  ["UINT8", { uintContents: [0, 255] }, Uint8Array.of(0, 255)],
  ["UINT16", { uintContents: [0, 65535] }, Uint16Array.of(0, 65535)],
  ["UINT32", { uintContents: [0, 2 ** 32 - 1] }, Uint32Array.of(0, 2 ** 32 - 1)],
  ["UINT64", { uint64Contents: [0n, 2n ** 64n - 1n] }, BigUint64Array.of(0n, 2n ** 64n - 1n)],
  ["FP32", { fp32Contents: [0.5, -Infinity] }, Float32Array.of(0.5, -Infinity)],
  ["FP64", { fp64Contents: [1e300, Number.NaN] }, Float64Array.of(1e300, Number.NaN)],
  ["BYTES", { bytesContents: [Buffer.from("é"), Buffer.from("")] }, ["é", ""]],
];

describe("ModelInferRequest", () => {
  it("says its model, version, id, parameters, inputs and outputs", () => {
    const request = inferRequest(
      [{ name: "a", datatype: "INT64", shape: [2, 0, 3], contents: {}, parameters: { k: stringParam("v") } }],
      {
        modelName: "model",
        modelVersion: "3",
        id: "id-7",
        parameters: {
          flag: boolParam(true),
          off: boolParam(false),
          number: int64Param(-5n),
          wide: { $case: "uint64Param", value: 2n ** 64n - 1n },
          real: { $case: "doubleParam", value: 0.25 },
          text: stringParam(""),
        },
        outputs: { y: {}, z: { classification: int64Param(2n) } },
      },
    );
    const decoded = decode(request);
    assert.equal(decoded.modelName, "model");
    assert.equal(decoded.modelVersion, "3");
    assert.equal(decoded.id, "id-7");
    assert.deepEqual(
      decoded.parameters,
      new Map<string, unknown>([
        ["flag", true],
        ["off", false],
        ["number", -5n],
        ["wide", 2n ** 64n - 1n],
        ["real", 0.25],
        ["text", ""],
      ]),
    );
    const [input] = decoded.inputs;
    assert.deepEqual([input!.name, input!.datatype, input!.shape], ["a", "INT64", [2, 0, 3]]);
    assert.deepEqual(input!.parameters, new Map([["k", "v"]]));
    assert.deepEqual(decoded.outputs, [
      { name: "y", parameters: new Map() },
      { name: "z", parameters: new Map([["classification", 2n]]) },
    ]);
  });

  it("carries every datatype in typed contents", () => {
    for (const [datatype, contents, expected] of typed) {
      const request = inferRequest([{ datatype, shape: [2], contents }]);
      assert.equal(faultOfFirst(request), undefined, datatype);
      if (datatype !== "BYTES") assert.equal(byteLengthOfFirst(request), (expected as Uint8Array).byteLength);
      assert.deepEqual(decodeFirst(request, 2), expected, datatype);
      assert.equal(decode(request).typed, true);
    }
  });

  it("carries every datatype raw, wherever the bytes lie", () => {
    const names: readonly ElementType[] = [
      "float16",
      "float32",
      "float64",
      "int8",
      "int16",
      "int32",
      "int64",
      "uint64",
    ];
    for (const pad of [0, 1, 2, 3]) {
      for (const name of names) {
        const { array, openInference, bytesPerElement } = elementTypeInfo(name);
        const bytes = Uint8Array.from({ length: 2 * bytesPerElement }, (_, i) => i + 1);
        const request = inferRequest([
          { name: "pad", datatype: "UINT8", shape: [pad], raw: new Uint8Array(pad) },
          { datatype: openInference!, shape: [2], raw: bytes },
        ]);
        const { contents } = decode(request).inputs[1]!;
        assert.equal(contents.byteLength(elementTypeInfo(name)), bytes.length);
        assert.deepEqual(contents.decode(elementTypeInfo(name), 2, "x", "m"), new array!(bytes.slice().buffer));
      }
    }
    const text = inferRequest([{ datatype: "BYTES", shape: [1], raw: Uint8Array.of(3, 0, 0, 0, 97, 98, 99) }]);
    assert.deepEqual(decodeFirst(text, 1), ["abc"]);
    assert.equal(decode(text).typed, false);
  });

  it("reads values that are not packed, come in several runs, or before the datatype", () => {
    const unpacked = Buffer.from([
      ...[0x2a, 31], // inputs
      ...[0x0a, 1, 0x78], // name: "x"
      ...[0x2a, 5, 0x10, 7, 0x12, 1, 9], // contents: int_contents 7, then a run with 9
      ...[0x18, 1, 0x18, 3], // shape: 1, 3, not packed
      ...[0x2a, 4, 0x12, 2, 0xac, 0x02], // contents once more: a run with 300
      ...[0x12, 5, ...Buffer.from("INT16")],
    ]);
    unpacked[1] = unpacked.length - 2;
    const [input] = decodeInferRequest(unpacked).inputs;
    assert.deepEqual(input!.shape, [1, 3]);
    assert.equal(input!.contents.fault("x", "m"), undefined);
    assert.deepEqual(input!.contents.decode(elementTypeInfo("int16"), 3, "x", "m"), Int16Array.of(7, 9, 300));
  });

  it("gives raw entries, in order, to the inputs without a region of shared memory", () => {
    const decoded = decode(
      inferRequest([
        { name: "shm", shape: [1], parameters: { shared_memory_region: stringParam("r") } },
        { name: "a", shape: [1], raw: rawFloats(1) },
        { name: "b", shape: [1], raw: rawFloats(2) },
        { name: "c", shape: [1] },
      ]),
    );
    const float = elementTypeInfo("float32");
    assert.deepEqual(decoded.inputs[1]!.contents.decode(float, 1, "a", "m"), Float32Array.of(1));
    assert.deepEqual(decoded.inputs[2]!.contents.decode(float, 1, "b", "m"), Float32Array.of(2));
    assert.equal(
      decoded.inputs[3]!.contents.fault("c", "m"),
      "unable to find data for input tensor 'c' for model 'm' in request.",
    );
  });

  it("refuses contents beside raw contents, and contents in another field than the datatype's", () => {
    assert.equal(
      faultOfFirst(
        inferRequest([
          { shape: [1], contents: { fp32Contents: [1] } },
          { name: "b", shape: [1], raw: rawFloats(1) },
        ]),
      ),
      "contents field must not be specified when using raw_input_contents for 'x' for model 'm'",
    );
    assert.equal(
      faultOfFirst(inferRequest([{ shape: [1], contents: { int64Contents: [1n] } }])),
      "unexpected explicit tensor data for input tensor 'x' for model 'm' of type 'INT64', expected datatype 'FP32'",
    );
    assert.match(
      faultOfFirst(inferRequest([{ shape: [1], contents: { fp32Contents: [1], boolContents: [true] } }]))!,
      /of type 'BOOL', expected datatype 'FP32'/,
    );
    assert.match(
      faultOfFirst(inferRequest([{ datatype: "FP16", shape: [1], contents: { fp32Contents: [1] } }]))!,
      /of type 'FP32', expected datatype 'FP16'/,
    );
    assert.match(
      faultOfFirst(inferRequest([{ datatype: "FLOAT", shape: [1], contents: { fp32Contents: [1] } }]))!,
      /expected datatype '<invalid>'/,
    );
  });

  it("refuses numbers that their datatype cannot hold, where Triton would cut them", async () => {
    const cases: readonly (readonly [string, Partial<InferTensorContents>, RegExp])[] = [
      ["INT8", { intContents: [1, 128] }, /element 1 is 128, which INT8 cannot hold/],
      ["INT16", { intContents: [-32769] }, /element 0 is -32769, which INT16/],
      ["UINT8", { uintContents: [256] }, /element 0 is 256, which UINT8/],
      ["UINT16", { uintContents: [65536] }, /element 0 is 65536, which UINT16/],
    ];
    for (const [datatype, contents, message] of cases) {
      const count = (contents.intContents ?? contents.uintContents)!.length;
      await rejectsWith("INVALID_ARGUMENT", message, () =>
        decodeFirst(inferRequest([{ datatype, shape: [count], contents }]), count),
      );
    }
  });

  it("refuses strings that do not add up, are not UTF-8 or hold a NUL, and bools that are neither", async () => {
    const raw = (datatype: string, ...bytes: number[]) =>
      inferRequest([{ datatype, shape: [1], raw: Uint8Array.from(bytes) }]);
    const contents = (...texts: Buffer[]) =>
      inferRequest([{ datatype: "BYTES", shape: [1], contents: { bytesContents: texts } }]);
    const cases: readonly (readonly [ModelInferRequest, RegExp])[] = [
      [raw("BYTES", 3, 0, 0, 0, 97), /element 0 says 3 bytes; 1 are left/],
      [raw("BYTES", 0, 0, 0, 0, 0, 0, 0, 0), /more than 1 elements/],
      [raw("BYTES", 1, 0, 0, 0, 0xff), /element 0 is not UTF-8/],
      [raw("BYTES", 1, 0, 0, 0, 0), /element 0 holds a NUL byte/],
      [raw("BOOL", 2), /element 0 of a BOOL tensor is 2/],
      [contents(Buffer.from("a"), Buffer.from("b")), /expected 1 string elements .* got 2/],
      [contents(), /expected 1 string elements .* got 0/],
      [contents(Buffer.from([0xff])), /element 0 is not UTF-8/],
    ];
    for (const [request, message] of cases) {
      await rejectsWith("INVALID_ARGUMENT", message, () => decodeFirst(request, 1));
    }
  });

  it("allocates nothing for a shape that its bytes do not fill", () => {
    const request = inferRequest([{ shape: [2 ** 40, 2 ** 10], raw: rawFloats(1) }]);
    assert.equal(byteLengthOfFirst(request), 4);
    const strings = inferRequest([{ datatype: "BYTES", shape: [2 ** 50], raw: Uint8Array.of(0, 0, 0, 0) }]);
    assert.throws(() => decodeFirst(strings, 2 ** 50), /1 elements; expected 1125899906842624/);
  });

  it("keeps parameters named like an object's own properties apart", () => {
    const { parameters } = decode(inferRequest([], { parameters: { ["__proto__"]: boolParam(true) } }));
    assert.deepEqual([...parameters], [["__proto__", true]]);
  });

  it("refuses bytes that are no message, wherever they end", () => {
    const whole = ModelInferRequest.encode(
      inferRequest([{ shape: [2], contents: { fp32Contents: [1, 2] }, parameters: { a: int64Param(300n) } }], {
        id: "seven",
        outputs: { y: { classification: int64Param(2n) } },
      }),
    ).finish();
    let refused = 0;
    for (let length = 1; length < whole.length; length++) {
      try {
        decodeInferRequest(whole.subarray(0, length));
      } catch (error) {
        assert.ok(error instanceof WireFormatError, `${length}: ${error}`);
        refused += 1;
      }
    }
    assert.ok(refused > whole.length / 2);
    // Packed floats of 7 bytes.
    const broken = Buffer.from([0x2a, 11, 0x2a, 9, 0x32, 7, 0, 0, 0, 0, 0, 0, 0]);
    assert.throws(() => decodeInferRequest(broken), WireFormatError);
  });

  it("refuses absurd numbers of inputs and dimensions", async () => {
    const inputs = Buffer.concat(Array.from({ length: 17_000 }, () => Buffer.from([0x2a, 0])));
    await rejectsWith("INVALID_ARGUMENT", /16384 inputs at most/, () => decodeInferRequest(inputs));
    const dimensions = inferRequest([{ shape: Array.from({ length: 300 }, () => 1) }]);
    await rejectsWith("INVALID_ARGUMENT", /254 dimensions at most/, () => decode(dimensions));
  });
});
