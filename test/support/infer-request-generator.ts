// Random ModelInferRequests, and random ways to write them down.
import {
  type InferParameter,
  InferTensorContents,
  ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
} from "../gen/inference/grpc_service.js";
import type { SeededRandom } from "./seeded-random.js";
import { randomText, singleVarint, unknown, writeInPieces } from "./tensor-proto-generator.js";
import {
  bytesField,
  doubleBytes,
  entry,
  fixed32Field,
  fixed64Field,
  floatBytes,
  varint,
  varintField,
} from "./wire-message.js";

const datatypes = ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64"];
const names = ["x", "y", "__proto__", "ключ", "a".repeat(100), ""];

/** A request, most of it valid, and bytes that say the same in another way than an encoder would. */
export function randomInferRequest(random: SeededRandom): { message: ModelInferRequest; bytes: Uint8Array } {
  const message = ModelInferRequest.create();
  const fields: number[][] = [];
  message.modelName = random.pick(names);
  message.modelVersion = random.pick(["", "", "3", "no"]);
  message.id = random.pick(["", "id-7", randomText(random)]);
  for (const [number, text] of [message.modelName, message.modelVersion, message.id].entries()) {
    if (text !== "" || random.chance(0.5)) fields.push(bytesField(number + 1, text));
  }
  fields.push(writeParameters(random, 4, message.parameters));
  const typed = random.chance(0.5);
  for (let count = random.below(4); count > 0; count--) {
    const input = randomInput(random, typed ? random.chance(0.95) : random.chance(0.03));
    message.inputs.push(input);
    fields.push(bytesField(5, writeInput(random, input)));
    if (input.contents === undefined && random.chance(0.95)) {
      message.rawInputContents.push(Buffer.from(Array.from({ length: random.below(30) }, () => random.below(2))));
    }
  }
  for (let count = random.below(3); count > 0; count--) {
    const output = { name: random.pick(names), parameters: new Map<string, InferParameter>() };
    message.outputs.push(output);
    const parameters = writeParameters(random, 2, output.parameters);
    fields.push(bytesField(6, [...bytesField(1, output.name), ...parameters, ...unknown(random, [9, 300])]));
  }
  fields.push(message.rawInputContents.flatMap((raw) => bytesField(7, raw)));
  // Inputs keep their order, and so do outputs; what stands between them does not matter.
  const bytes = fields.flatMap((field) => [...field, ...unknown(random, [8, 100, 70_000])]);
  return { message, bytes: Uint8Array.from(bytes) };
}

function randomInput(random: SeededRandom, typed: boolean): ModelInferRequest_InferInputTensor {
  const datatype = random.chance(0.05) ? random.pick(["FP16", "BYTE", ""]) : random.pick([...datatypes, "BYTES"]);
  const shape = Array.from({ length: random.below(4) }, () => random.pick([0n, 1n, 2n, 3n, 300n, -1n, 2n ** 40n]));
  const contents = typed ? randomContents(random, datatype) : undefined;
  return { name: random.pick(names), datatype, shape, parameters: new Map(), contents };
}

/** Values in the datatype's field, some of which it cannot hold; now and then some in another's. */
function randomContents(random: SeededRandom, datatype: string): InferTensorContents {
  const contents = InferTensorContents.fromPartial({});
  giveValues(random, contents, datatype, random.below(12));
  if (random.chance(0.05)) giveValues(random, contents, random.pick(datatypes), random.below(3));
  return contents;
}

function giveValues(random: SeededRandom, contents: InferTensorContents, datatype: string, count: number): void {
  for (let left = count; left > 0; left--) {
    const bits = random.chance(0.02) ? 32 : Number(/\d+$/.exec(datatype)?.[0] ?? 32);
    const real = random.pick([0, -0, 1.5, Number.NEGATIVE_INFINITY, Number.NaN, random.next() * 1e10, 5e-324]);
    if (datatype === "BOOL") contents.boolContents.push(random.chance(0.5));
    else if (datatype === "INT64") contents.int64Contents.push(BigInt.asIntN(64, random.uint64()));
    else if (datatype === "UINT64") contents.uint64Contents.push(random.uint64() >> BigInt(random.below(64)));
    else if (datatype.startsWith("INT")) contents.intContents.push((random.uint32() | 0) >> (32 - bits));
    else if (datatype.startsWith("UINT")) contents.uintContents.push(random.uint32() >>> (32 - bits));
    else if (datatype === "FP32") contents.fp32Contents.push(Math.fround(real));
    else if (datatype === "FP64") contents.fp64Contents.push(real);
    else if (datatype === "BYTES") contents.bytesContents.push(Buffer.from(randomText(random)));
  }
}

function writeInput(random: SeededRandom, input: ModelInferRequest_InferInputTensor): number[] {
  const { name, datatype, shape, parameters, contents } = input;
  const fields = [bytesField(1, name), bytesField(2, datatype), writeInPieces(random, shape, 3, varint, singleVarint)];
  fields.push(writeParameters(random, 4, parameters));
  if (contents !== undefined) fields.push(bytesField(5, writeContents(random, contents)));
  if (random.chance(0.5)) fields.sort(() => random.next() - 0.5);
  return fields.flatMap((field) => [...field, ...unknown(random, [6, 900])]);
}

function writeContents(random: SeededRandom, contents: InferTensorContents): number[] {
  // 32-bit fields may come with more bits than count, and any bit makes a bool true.
  const excess = () => (random.chance(0.05) ? BigInt(random.uint32()) << 32n : 0n);
  const narrow = (value: number) => varint(excess() + BigInt.asUintN(32, BigInt(value)));
  const truth = (value: boolean) => varint(value ? random.pick([1n, 1n, 2n, 300n, 2n ** 63n, 2n ** 32n]) : 0n);
  const fields = [
    writeInPieces(random, contents.boolContents, 1, truth, singleVarint),
    writeInPieces(random, contents.intContents, 2, narrow, singleVarint),
    writeInPieces(random, contents.int64Contents, 3, varint, singleVarint),
    writeInPieces(random, contents.uintContents, 4, narrow, singleVarint),
    writeInPieces(random, contents.uint64Contents, 5, varint, singleVarint),
    writeInPieces(random, contents.fp32Contents, 6, floatBytes, fixed32Field),
    writeInPieces(random, contents.fp64Contents, 7, doubleBytes, fixed64Field),
    contents.bytesContents.flatMap((text) => bytesField(8, text)),
  ];
  if (random.chance(0.5)) fields.sort(() => random.next() - 0.5);
  return fields.flatMap((field) => [...field, ...unknown(random, [9, 31])]);
}

/** Entries of which the last of a key counts; each with its choice made once or twice, or not at all. */
function writeParameters(random: SeededRandom, field: number, into: Map<string, InferParameter>): number[] {
  const out: number[] = [];
  for (let count = random.chance(0.6) ? 0 : random.below(5); count > 0; count--) {
    const key = random.pick([...names, "shared_memory_region"]);
    const choice = random.chance(0.1) ? undefined : randomChoice(random);
    into.set(key, { parameterChoice: choice?.parameterChoice });
    const earlier = choice !== undefined && random.chance(0.1) ? randomChoice(random).bytes : [];
    out.push(...entry(field, key, [...earlier, ...(choice?.bytes ?? []), ...unknown(random, [11])]));
  }
  return out;
}

function randomChoice(random: SeededRandom): InferParameter & { readonly bytes: number[] } {
  const wide = random.uint64() >> BigInt(random.below(64));
  switch (random.below(5)) {
    case 0: {
      const value = random.chance(0.5);
      return { parameterChoice: { $case: "boolParam", value }, bytes: varintField(1, value ? 1 : 0) };
    }
    case 1: {
      const value = BigInt.asIntN(64, wide);
      return { parameterChoice: { $case: "int64Param", value }, bytes: varintField(2, value) };
    }
    case 2: {
      const value = randomText(random);
      return { parameterChoice: { $case: "stringParam", value }, bytes: bytesField(3, value) };
    }
    case 3: {
      const value = random.next() - 0.5;
      return { parameterChoice: { $case: "doubleParam", value }, bytes: fixed64Field(4, doubleBytes(value)) };
    }
    default:
      return { parameterChoice: { $case: "uint64Param", value: wide }, bytes: varintField(5, wide) };
  }
}
