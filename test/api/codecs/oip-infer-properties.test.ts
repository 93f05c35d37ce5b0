// The Open Inference codecs against generated code, over messages of all kinds, however they are written.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type DecodedInferRequest, decodeInferRequest } from "../../../src/api/codecs/oip-infer-request.js";
import { encodeInferResponse, encodeStreamAnswer } from "../../../src/api/codecs/oip-infer-response.js";
import { contentsFieldOf } from "../../../src/api/codecs/oip-typed-contents.js";
import { WireFormatError } from "../../../src/api/codecs/wire-reader.js";
import { StatusError } from "../../../src/status.js";
import { bytesOf, elementTypeOfOpenInference, type NumericData, type Tensor } from "../../../src/tensor/index.js";
import {
  type InferParameter,
  type InferTensorContents,
  ModelInferRequest,
  ModelInferResponse,
  ModelStreamInferResponse,
} from "../../gen/inference/grpc_service.js";
import { randomInferRequest } from "../../support/infer-request-generator.js";
import { mangle } from "../../support/mangle.js";
import { randomTensor } from "../../support/random-tensor.js";
import { SeededRandom } from "../../support/seeded-random.js";

/** The typed fields in the order of their numbers, from 1. */
const contentFields: readonly (keyof InferTensorContents)[] = [
  ...(["boolContents", "intContents", "int64Contents", "uintContents"] as const),
  ...(["uint64Contents", "fp32Contents", "fp64Contents", "bytesContents"] as const),
];

describe("decodeInferRequest", () => {
  it("reads what generated code reads, however it is written", () => {
    const random = new SeededRandom(20_261_126);
    const seen = { values: 0, refused: 0, faults: 0, raw: 0 };
    for (let round = 0; round < 1500; round++) {
      const { message, bytes } = randomInferRequest(random);
      assert.deepEqual(ModelInferRequest.decode(bytes), message, `round ${round}: the generator`);
      for (const written of [bytes, ModelInferRequest.encode(message).finish()]) {
        assertSame(decodeInferRequest(written), message, `round ${round}`, seen);
      }
    }
    assert.ok(
      Object.values(seen).every((count) => count > 50),
      JSON.stringify(seen),
    );
  });

  it("answers every mangled message with an error or with contents no larger than it", () => {
    const random = new SeededRandom(8);
    for (let round = 0; round < 4000; round++) {
      const bytes = mangle(random, randomInferRequest(random).bytes);
      try {
        for (const { datatype, contents } of decodeInferRequest(bytes).inputs) {
          const type = elementTypeOfOpenInference(datatype);
          if (type === undefined || contents.fault("x", "m") !== undefined) continue;
          const fixed = type.bytesPerElement > 0;
          const count = fixed ? contents.byteLength(type) / type.bytesPerElement : 3;
          if (!Number.isInteger(count)) continue;
          assert.equal(contents.decode(type, count, "x", "m").length, count);
          assert.ok(count <= bytes.length, `${count} elements from ${bytes.length} bytes`);
        }
      } catch (error) {
        if (!(error instanceof WireFormatError || error instanceof StatusError)) throw error;
      }
    }
  });
});

describe("encodeInferResponse", () => {
  it("writes byte by byte what generated code writes of the same message, in either form", () => {
    const random = new SeededRandom(77);
    for (let round = 0; round < 800; round++) {
      const outputs = Array.from({ length: random.below(4) }, () => ({
        name: random.pick(["y", "__proto__", "ключ", "probabilities"]),
        tensor: carriedTensor(random),
      }));
      const servableId = { name: random.pick(["m", "modèle"]), version: random.pick([0n, 1n, 2n ** 62n]) };
      const response = { servableId, id: random.pick(["", "id-7"]), outputs };
      for (const typed of [false, true]) {
        const bytes = encodeInferResponse({ response, typed });
        const message = ModelInferResponse.decode(bytes);
        assert.deepEqual(Buffer.from(ModelInferResponse.encode(message).finish()), bytes, `round ${round}`);
        const inner = ModelStreamInferResponse.decode(encodeStreamAnswer({ response, typed })).inferResponse!;
        assert.deepEqual({ ...inner, parameters: message.parameters }, message, `round ${round}: in a stream`);
        for (const [index, { name, tensor }] of outputs.entries()) {
          const said = message.outputs[index]!;
          assert.equal(said.name, name);
          assert.deepEqual(said.shape, tensor.shape.map(BigInt));
          assert.equal(elementTypeOfOpenInference(said.datatype)?.name, tensor.dtype);
          assertCarries(message, index, tensor, `round ${round}, ${tensor.dtype}`);
        }
      }
    }
  });
});

function assertSame(
  actual: DecodedInferRequest,
  message: ModelInferRequest,
  where: string,
  seen: { values: number; refused: number; faults: number; raw: number },
): void {
  const { modelName, modelVersion, id } = message;
  assert.deepEqual([actual.modelName, actual.modelVersion, actual.id], [modelName, modelVersion, id], where);
  assert.deepEqual(actual.parameters, plain(message.parameters), where);
  const outputs = message.outputs.map(({ name, parameters }) => ({ name, parameters: plain(parameters) }));
  assert.deepEqual(actual.outputs, outputs, where);
  assert.equal(actual.inputs.length, message.inputs.length, where);
  const raw = [...message.rawInputContents];
  const hasRaw = raw.length > 0;
  for (const [index, { name, datatype, shape, parameters, contents }] of message.inputs.entries()) {
    const input = actual.inputs[index]!;
    assert.deepEqual([input.name, input.datatype, input.shape], [name, datatype, shape.map(Number)], where);
    assert.deepEqual(input.parameters, plain(parameters), where);
    const fault = input.contents.fault("x", "m");
    const type = elementTypeOfOpenInference(datatype);
    if (contents === undefined) {
      const own = plain(parameters).has("shared_memory_region") ? undefined : raw.shift();
      assert.equal(fault === undefined, own !== undefined, `${where}: ${fault}`);
      if (own === undefined || type === undefined || type.name === "string") continue;
      seen.raw += 1;
      assert.equal(input.contents.byteLength(type), own.length, where);
      if (own.length % type.bytesPerElement !== 0) continue;
      const data = input.contents.decode(type, own.length / type.bytesPerElement, "x", "m");
      assert.deepEqual(Buffer.from(bytesOf(data as NumericData)), own, where);
      continue;
    }
    const suits = contentsFieldOf(datatype);
    const misplaced = contentFields.some((field, at) => at + 1 !== suits && contents[field].length > 0);
    assert.equal(fault !== undefined, hasRaw || misplaced, `${where}: ${fault}`);
    if (fault !== undefined) seen.faults += 1;
    if (fault !== undefined || type === undefined || suits === undefined) continue;
    const values = contents[contentFields[suits - 1]!];
    if (type.name !== "string") {
      assert.equal(input.contents.byteLength(type), values.length * type.bytesPerElement, where);
    }
    const expected = elementsOf(type.array, values);
    if (expected === undefined) {
      seen.refused += 1;
      assert.throws(() => input.contents.decode(type, values.length, "x", "m"), StatusError, where);
    } else {
      seen.values += values.length;
      assert.deepEqual(input.contents.decode(type, values.length, "x", "m"), expected, where);
    }
  }
}

/** As the runtime takes them; undefined when the type cannot hold one of them. */
function elementsOf(
  array: (new (length: number) => NumericData) | undefined,
  values: InferTensorContents[keyof InferTensorContents],
): Tensor["data"] | undefined {
  if (array === undefined) return values.map(String);
  const data = new array(values.length);
  for (const [index, value] of values.entries()) {
    data[index] = (typeof value === "boolean" ? Number(value) : value) as never;
    if (typeof value !== "boolean" && !Object.is(data[index], value)) return undefined;
  }
  return data;
}

function plain(parameters: ReadonlyMap<string, InferParameter>): Map<string, unknown> {
  const said = [...parameters].filter(([, { parameterChoice }]) => parameterChoice !== undefined);
  return new Map(said.map(([key, { parameterChoice }]) => [key, parameterChoice!.value]));
}

function carriedTensor(random: SeededRandom): Tensor {
  for (;;) {
    const tensor = randomTensor(random);
    if (tensor.dtype === "float32") quietNaNs(tensor.data as Float32Array);
    if (tensor.dtype !== "bfloat16") return tensor;
  }
}

/** A signalling NaN does not survive being a number of JavaScript's, which generated code makes of it. */
function quietNaNs({ buffer, byteOffset, length }: Float32Array): void {
  const bits = new Uint32Array(buffer, byteOffset, length);
  for (const [index, word] of bits.entries()) if ((word & 0x7fff_ffff) > 0x7f80_0000) bits[index] = word | 0x40_0000;
}

function assertCarries(message: ModelInferResponse, index: number, { dtype, data }: Tensor, where: string): void {
  const { contents } = message.outputs[index]!;
  const raw = message.rawOutputContents[index];
  assert.equal(raw === undefined, contents !== undefined, where);
  if (contents === undefined) {
    const texts = () => Buffer.concat((data as string[]).flatMap((text) => [lengthOf(text), Buffer.from(text)]));
    assert.deepEqual(raw, dtype === "string" ? texts() : Buffer.from(bytesOf(data as NumericData)), where);
    return;
  }
  const values = contentFields.flatMap((field): unknown[] => contents[field]);
  const expected = Array.from<unknown>(data as ArrayLike<unknown>);
  assert.deepEqual(
    values.map((value) =>
      Buffer.isBuffer(value) ? value.toString() : typeof value === "boolean" ? Number(value) : value,
    ),
    expected,
    where,
  );
}

function lengthOf(text: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(Buffer.byteLength(text));
  return bytes;
}
