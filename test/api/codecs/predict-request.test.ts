import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePredictRequest } from "../../../src/api/codecs/predict-request.js";
import { WireFormatError } from "../../../src/api/codecs/wire-reader.js";
import { StatusError } from "../../../src/status.js";
import { bytesOf, isNumeric, type Tensor } from "../../../src/tensor/index.js";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import { mangle } from "../../support/mangle.js";
import { SeededRandom } from "../../support/seeded-random.js";
import { randomPredictRequest } from "../../support/tensor-proto-generator.js";
import { readByTheRules } from "../../support/tensor-proto-rules.js";
import { bytesField, entry, group, shape, varintField } from "../../support/wire-message.js";

const request = (...fields: number[][]) => decodePredictRequest(Uint8Array.from(fields.flat()));
const spec = (...fields: number[][]) => bytesField(1, fields.flat());
const oneFloat = [...varintField(1, 1), ...bytesField(5, [0, 0, 128, 63])];

describe("decodePredictRequest", () => {
  it("reads what generated code reads, however it is written", () => {
    const random = new SeededRandom(20_260_901);
    let tensors = 0;
    let invalid = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = randomPredictRequest(random);
      const expected = PredictRequest.decode(bytes);
      const actual = decodePredictRequest(bytes);
      const choice = expected.modelSpec?.versionChoice;
      assert.deepEqual(
        actual.modelSpec,
        expected.modelSpec && {
          name: expected.modelSpec.name,
          signatureName: expected.modelSpec.signatureName,
          ...(choice?.$case === "version" && { version: choice.value }),
          ...(choice?.$case === "versionLabel" && { versionLabel: choice.value }),
        },
        `round ${round}`,
      );
      assert.deepEqual(actual.outputFilter, expected.outputFilter);
      assert.deepEqual([...actual.inputs.keys()], [...expected.inputs.keys()]);
      for (const [alias, source] of actual.inputs) {
        const tensor = readByTheRules(expected.inputs.get(alias)!);
        tensors += 1;
        if (tensor === undefined) {
          invalid += 1;
          assert.throws(() => {
            if (source.invalid !== undefined) throw new StatusError(3, source.invalid);
            source.decode();
          }, StatusError);
        } else {
          assert.equal(source.invalid, undefined, `round ${round}, ${alias}`);
          assertSameTensor(source.decode(), tensor, `round ${round}, ${alias}`);
        }
      }
    }
    assert.ok(tensors > 3000 && invalid > 100 && invalid < tensors / 3, `${invalid} of ${tensors} invalid`);
  });

  it("answers every mangled message with an error or with tensors of bounded size", () => {
    const random = new SeededRandom(7);
    const maxFillBytes = 100_000;
    for (let round = 0; round < 10_000; round++) {
      const bytes = mangle(random, randomPredictRequest(random));
      try {
        const { inputs } = decodePredictRequest(bytes, { maxFillBytes });
        for (const source of inputs.values()) {
          if (source.invalid !== undefined) continue;
          const tensor = source.decode();
          const size = isNumeric(tensor) ? tensor.data.byteLength : tensor.data.length * 8;
          assert.ok(size <= Math.max(maxFillBytes, 8 * bytes.length), `${size} bytes from ${bytes.length}`);
        }
      } catch (error) {
        if (!(error instanceof WireFormatError || error instanceof StatusError)) throw error;
      }
    }
  });

  it("tells an absent model_spec from an empty one", () => {
    assert.equal(request().modelSpec, undefined);
    assert.deepEqual(request(spec()).modelSpec, { name: "", signatureName: "" });
  });

  it("keeps a version that is present without a value, and a label that is empty", () => {
    assert.equal(request(spec(bytesField(2, []))).modelSpec?.version, 0n);
    assert.equal(request(spec(bytesField(4, ""))).modelSpec?.versionLabel, "");
    assert.equal(request(spec(bytesField(2, varintField(1, -1n)))).modelSpec?.version, -1n);
    assert.equal(request(spec(bytesField(2, varintField(1, 2n ** 63n - 1n)))).modelSpec?.version, 2n ** 63n - 1n);
  });

  it("lets the last of version and label count", () => {
    const version = bytesField(2, varintField(1, 7));
    const label = bytesField(4, "stable");
    assert.deepEqual(request(spec(version, label)).modelSpec, { name: "", signatureName: "", versionLabel: "stable" });
    assert.deepEqual(request(spec(label, version)).modelSpec, { name: "", signatureName: "", version: 7n });
    assert.deepEqual(request(spec(version), spec(label)).modelSpec, {
      name: "",
      signatureName: "",
      versionLabel: "stable",
    });
  });

  it("merges a model_spec sent in parts", () => {
    const parts = [spec(bytesField(1, "a"), bytesField(3, "s")), spec(bytesField(1, "b")), spec(bytesField(2, []))];
    assert.deepEqual(request(...parts).modelSpec, { name: "b", signatureName: "s", version: 0n });
    const versions = [spec(bytesField(2, varintField(1, 7))), spec(bytesField(2, []))];
    assert.equal(request(...versions).modelSpec?.version, 7n);
  });

  it("merges a tensor sent in parts, and takes the last of two entries", () => {
    const parts = [...bytesField(2, [...varintField(1, 1), ...bytesField(2, shape(3)), ...bytesField(5, f32(1))])];
    const more = bytesField(2, bytesField(5, f32(2, 3)));
    const merged = request(bytesField(2, [...bytesField(1, "x"), ...parts, ...more])).inputs.get("x");
    assert.deepEqual(merged?.decode(), { dtype: "float32", shape: [3], data: Float32Array.of(1, 2, 3) });
    const twice = request(entry(2, "x", oneFloat), entry(2, "x", varintField(1, 3))).inputs;
    assert.equal(twice.size, 1);
    assert.equal(twice.get("x")?.dtype, "int32");
  });

  it("takes keys that name parts of every object for what they are", () => {
    const { inputs } = request(entry(2, "__proto__", oneFloat), entry(2, "constructor", oneFloat));
    assert.deepEqual([...inputs.keys()], ["__proto__", "constructor"]);
    assert.equal(({} as Record<string, unknown>)["invalid"], undefined);
  });

  it("takes an entry without a value for a tensor without a type", () => {
    assert.match(request(bytesField(2, bytesField(1, "x"))).inputs.get("x")?.invalid ?? "", /dtype is not set/);
  });

  it("reads short names that differ in one byte apart, call after call", () => {
    for (let round = 0; round < 2000; round++) {
      const name = `model-${round % 700}`;
      assert.equal(request(spec(bytesField(1, name))).modelSpec?.name, name);
    }
  });

  it("throws WireFormatError for bytes that are no message", () => {
    const broken: Record<string, number[]> = {
      "a length past the end": [10, 5, 1],
      "a sub-message past its parent": [10, 2, 10, 1],
      "field number 0": [0, 1],
      "field number 0, long": [0x80, 0, 1],
      "a varint without an end": [8, 0x80, 0x80],
      "a varint of eleven bytes": [8, ...Array(10).fill(0x80), 1],
      "a huge length": [10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      "a length of 2^32 and 1": [10, 0x81, 0x80, 0x80, 0x80, 0x10, 7],
      "wire type 6": [14, 0],
      "wire type 7": [15, 0],
      "an end of no group": [12],
      "a group without an end": [11, 8, 1],
      "a group that another one ends": [11, 20],
      "a fixed64 cut short": [9, 1, 2, 3],
      "a fixed32 cut short": [13, 1],
      "a tag cut short": [0x80],
    };
    for (const [name, bytes] of Object.entries(broken)) {
      assert.throws(() => decodePredictRequest(Uint8Array.from(bytes)), WireFormatError, name);
    }
    let nested: number[] = [];
    for (let depth = 0; depth < 200; depth++) nested = group(9, nested);
    assert.throws(() => decodePredictRequest(Uint8Array.from(nested)), WireFormatError);
    // Packed values that end in the middle of one.
    for (const chunk of [bytesField(5, [1, 2, 3]), bytesField(6, [1, 2, 3, 4]), bytesField(7, [0x80])]) {
      assert.throws(() => request(entry(2, "x", chunk)), WireFormatError);
    }
  });

  it("bounds the entries of a request before it has made them all", () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `n${index}`);
    const inputs = names.flatMap((name) => bytesField(2, bytesField(1, name)));
    assert.throws(() => request(inputs), /a request may have 16384 inputs at most/);
    const filter = names.flatMap((name) => bytesField(3, name));
    assert.throws(() => request(filter), /output_filter may have 16384 entries at most/);
    const parts = Array(2000)
      .fill(bytesField(2, varintField(1, 1)))
      .flat();
    assert.throws(() => request(bytesField(2, parts)), /more than 1024 parts/);
    // The same alias over and over is one input.
    assert.equal(request(names.flatMap(() => bytesField(2, []))).inputs.size, 1);
  });

  it("looks at tensors without copying them", () => {
    const values = new Float32Array(1000).map((_, index) => index);
    const tensor = [...varintField(1, 1), ...bytesField(2, shape(1000)), ...bytesField(4, bytesOf(values))];
    const message = [...bytesField(2, [...bytesField(1, "x"), ...bytesField(2, tensor)])];
    // Among four starts there is one at which the content lies aligned.
    let views = 0;
    for (let offset = 0; offset < 4; offset++) {
      const buffer = new Uint8Array(message.length + offset);
      buffer.set(message, offset);
      const bytes = buffer.subarray(offset);
      const data = decodePredictRequest(bytes).inputs.get("x")!.decode().data as Float32Array;
      assert.deepEqual(data, values);
      if (data.buffer === bytes.buffer) views += 1;
    }
    assert.equal(views, 1);
  });
});

function f32(...values: number[]): Uint8Array {
  return bytesOf(Float32Array.from(values));
}

function assertSameTensor(actual: Tensor, expected: Tensor, message: string): void {
  assert.equal(actual.dtype, expected.dtype, message);
  assert.deepEqual(actual.shape, expected.shape, message);
  if (isNumeric(actual) && isNumeric(expected)) {
    assert.equal(actual.data.constructor, expected.data.constructor, message);
    assert.deepEqual(Buffer.from(bytesOf(actual.data)), Buffer.from(bytesOf(expected.data)), message);
  } else {
    assert.deepEqual(actual.data, expected.data, message);
  }
}
