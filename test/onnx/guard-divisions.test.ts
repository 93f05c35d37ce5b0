// onnxruntime ends the process, tests included, where one of these divisions is not guarded.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { ModelProto } from "../../src/gen/onnx/onnx.js";
import { encodeModel, GraphBuilder, type ModelOptions, readModel } from "../../src/onnx/index.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { floatTensor, int64Tensor } from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";

type Integer = "int32" | "int64";
const smallest = { int32: -(2n ** 31n), int64: -(2n ** 63n) };
const largest = { int32: 2n ** 31n - 1n, int64: 2n ** 63n - 1n };

function tensor(dtype: Integer, shape: readonly number[], ...values: (number | bigint)[]): Tensor {
  const data = dtype === "int64" ? BigInt64Array.from(values, BigInt) : Int32Array.from(values, Number);
  return { dtype, shape, data };
}

const values = ({ data }: Tensor) => [...(data as BigInt64Array)].map(BigInt);

/** y = a op b */
function division(opType: string, dtype: ElementType, version = 21, attributes = {}): Uint8Array {
  const graph = new GraphBuilder("division");
  const [a, b] = [graph.input("a", dtype, undefined), graph.input("b", dtype, undefined)];
  graph.node(opType, [a, b], attributes, { outputs: ["y"], name: "divides" });
  graph.output("y", dtype, undefined);
  return encodeModel(graph, ofVersion(version));
}

/**
 * The same with b + 1 as the divisor: the runtime's warm-up with zeros would divide by zero, and leave the model no
 * choice but the thread pool.
 */
function divisionByNext(opType: string, dtype: Integer, version: number): Uint8Array {
  const graph = new GraphBuilder("division_by_next");
  const [a, b] = [graph.input("a", dtype, ["n", 1]), graph.input("b", dtype, ["m"])];
  const next = graph.node("Add", [b, graph.initializer("one", tensor(dtype, [], 1))]);
  graph.node(opType, [a, next], {}, { outputs: ["y"] });
  graph.output("y", dtype, ["n", "m"]);
  return encodeModel(graph, ofVersion(version));
}

const ofVersion = (version: number): ModelOptions => ({
  operatorSets: { "": version },
  irVersion: version >= 21 ? 10 : version >= 15 ? 8 : 4,
});

const wrap = (value: bigint, dtype: Integer) => BigInt.asIntN(dtype === "int32" ? 32 : 64, value);
const quotient = (a: bigint, b: bigint) => a / b;
/** With the sign of the divisor. */
const modulo = (a: bigint, b: bigint) => ((a % b) + b) % b;

for (const [placement, options] of [
  ["inline", alwaysInline],
  ["thread-pool", alwaysPool],
] as const) {
  describe(`divisions of integers, ${placement}`, () => {
    const runtime = new TestRuntime(options);
    after(() => runtime[Symbol.asyncDispose]());

    async function run(
      model: Uint8Array,
      feeds: Readonly<Record<string, Tensor>>,
      { mayMove = true } = {},
    ): Promise<Tensor> {
      const { session, description } = await runtime.load(model);
      try {
        if (!mayMove) assert.equal(session.placement.kind, placement, session.placement.reason);
        assert.match(description.rewrites.join(), /guarded: the smallest one divided by -1/);
        const { outputs } = await session.run(new Map(Object.entries(feeds)), ["y"], {
          cancellation: neverCancelled,
        });
        return outputs.get("y")!;
      } finally {
        await session.release();
      }
    }

    for (const dtype of ["int32", "int64"] as const) {
      const dividends = [smallest[dtype], smallest[dtype] + 1n, -7n, -1n, 0n, 1n, 7n, largest[dtype]];
      const divisors = [...dividends.filter((value) => value !== 0n), -2n, 2n];
      const feeds = {
        a: tensor(dtype, [dividends.length, 1], ...dividends),
        b: tensor(dtype, [divisors.length], ...divisors.map((b) => wrap(b - 1n, dtype))),
      };
      const all = (compute: (a: bigint, b: bigint) => bigint) =>
        dividends.flatMap((a) => divisors.map((b) => wrap(compute(a, b), dtype)));

      for (const version of [7, 9, 13, 14, 21]) {
        it(`divide every ${dtype} by every other, in opset ${version}`, async () => {
          const y = await run(divisionByNext("Div", dtype, version), feeds, { mayMove: false });
          assert.deepEqual(y.shape, [dividends.length, divisors.length]);
          assert.deepEqual(values(y), all(quotient));
        });
      }

      for (const version of [10, 13, 21]) {
        it(`give the remainder of every ${dtype} by every other, in opset ${version}`, async () => {
          assert.deepEqual(
            values(await run(divisionByNext("Mod", dtype, version), feeds, { mayMove: false })),
            all(modulo),
          );
        });
      }
    }

    it("are refused by name where the divisor is zero", async () => {
      for (const opType of ["Div", "Mod"]) {
        const feeds = { a: tensor("int64", [1], 5), b: tensor("int64", [1], 0) };
        await rejectsWith("INVALID_ARGUMENT", /divides/, () => run(division(opType, "int64"), feeds));
      }
    });

    it("are guarded in branches and loops, for values of the graph around them", async () => {
      for (const dtype of ["int32", "int64"] as const) {
        const feeds = { a: tensor(dtype, [2], smallest[dtype], 7), b: tensor(dtype, [2], -1, -1), c: condition };
        assert.deepEqual(values(await run(branchModel(dtype), feeds)), [smallest[dtype], -7n]);
        assert.deepEqual(values(await run(loopModel(dtype), feeds)), [smallest[dtype], -7n]);
      }
    });

    it("are guarded in functions, which have no types of their own", async () => {
      const feeds = { a: tensor("int64", [2], smallest.int64, 7), b: tensor("int64", [2], -1, -2) };
      assert.deepEqual(values(await run(functionModel("int64"), feeds)), [smallest.int64, -3n]);
      const real = { a: floatTensor([4], 7, -0, 1, 3), b: floatTensor([4], -1, -1, 0, -1.5) };
      assert.deepEqual([...(await run(functionModel("float32"), real)).data], [-7, 0, Infinity, -2]);
    });

    it("are guarded where the type is told by no one, for either type of integer", async () => {
      for (const dtype of ["int32", "int64"] as const) {
        const feeds = { a: tensor(dtype, [2], smallest[dtype], -7), b: tensor(dtype, [2], -1, 2) };
        assert.deepEqual(values(await run(sequenceModel("Div", dtype), feeds)), [smallest[dtype], -3n]);
        assert.deepEqual(values(await run(sequenceModel("Mod", dtype), feeds)), [0n, 1n]);
      }
    });

    it("refuse frames of length 0 in STFT", async () => {
      const graph = new GraphBuilder("stft");
      const [x, length] = [graph.input("x", "float32", [1, "n", 1]), graph.input("length", "int64", [])];
      graph.node("STFT", [x, graph.initializer("step", int64Tensor([], 1)), "", length], {}, { outputs: ["y"] });
      graph.output("y", "float32", undefined);
      const { session } = await runtime.load(encodeModel(graph, ofVersion(17)));
      const frames = async (count: number) => {
        const feeds = new Map([
          ["x", floatTensor([1, 4, 1], 1, 2, 3, 4)],
          ["length", int64Tensor([], count)],
        ]);
        return (await session.run(feeds, ["y"], { cancellation: neverCancelled })).outputs.get("y")!.shape;
      };
      assert.deepEqual(await frames(2), [1, 3, 2, 2]);
      await assert.rejects(frames(0));
      await session.release();
    });
  });
}

describe("a division that needs no guard", () => {
  const runtime = new TestRuntime();
  after(() => runtime[Symbol.asyncDispose]());

  const untouched = async (model: Uint8Array) => {
    const read = await readModel(runtime.write(model));
    assert.ok(read.format === "onnx");
    assert.deepEqual(read.description.rewrites, []);
    assert.equal(read.bytes, undefined);
  };

  it("is left alone: of other types, or by a constant without -1", async () => {
    for (const dtype of ["float32", "float64", "float16", "int8", "uint8", "uint32", "uint64"] as const) {
      await untouched(division("Div", dtype));
    }
    await untouched(division("Mod", "int64", 21, { fmod: 1 }));
    await untouched(divisionBy((graph) => graph.initializer("b", int64Tensor([3], 1, 2, 0))));
    await untouched(divisionBy((graph) => graph.node("Constant", [], { value: int64Tensor([], 2) })));
    await untouched(divisionBy((graph) => graph.node("Shape", ["a"])));
  });

  it("is told by the types of what was computed before it", async () => {
    const graph = new GraphBuilder("norm");
    const x = graph.input("x", "int64", ["batch", 4]);
    const real = graph.node("Cast", [x], { to: 1 });
    const norm = graph.node("ReduceSum", [graph.node("Abs", [real]), graph.initializer("axes", int64Tensor([1], 1))]);
    graph.node("Div", [graph.node("Sqrt", [real]), norm], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["batch", 4]);
    await untouched(encodeModel(graph));
  });

  it("is guarded by a constant that holds -1 or lies outside the file", async () => {
    const rewrites = async (model: Uint8Array) => {
      const { description, session } = await runtime.load(model);
      await session.release();
      return description.rewrites;
    };
    const holds = divisionBy((graph) => graph.initializer("b", int64Tensor([2], 3, -1)));
    assert.deepEqual(await rewrites(holds), [
      "Divisions of integers are guarded: the smallest one divided by -1, which would end the process, wraps around to " +
        "itself with the remainder 0: y (Div).",
    ]);
    const outside = divisionBy((graph) => graph.externalInitializer("b", "int64", [2], { location: "b.bin" }));
    const path = runtime.write(outside);
    writeFileSync(join(dirname(path), "b.bin"), new Uint8Array(BigInt64Array.of(-1n, 2n).buffer));
    const { session } = await runtime.runtime.load("m", path, {}, neverCancelled);
    const feeds = new Map([["a", tensor("int64", [2], smallest.int64, 7)]]);
    const { outputs } = await session.run(feeds, ["y"], { cancellation: neverCancelled });
    assert.deepEqual(values(outputs.get("y")!), [smallest.int64, 3n]);
    await session.release();
  });

  it("keeps the rows of a batch apart, guarded or not", async () => {
    const graph = new GraphBuilder("rows");
    const [a, b] = [graph.input("a", "int64", ["batch", 2]), graph.input("b", "int64", ["batch", 2])];
    graph.node("Mod", [graph.node("Div", [a, b]), b], {}, { outputs: ["y"] });
    graph.output("y", "int64", ["batch", 2]);
    const read = await readModel(runtime.write(encodeModel(graph)));
    assert.ok(read.format === "onnx");
    assert.equal(read.description.rewrites.length, 1);
    assert.deepEqual(read.description.batching.provenSafe, true, read.description.batching.reason);
    assert.equal(read.description.refusesEmptyTensors, undefined);
  });

  it("names a few of many", async () => {
    const graph = new GraphBuilder("many");
    let value = graph.input("a", "int64", ["n"]);
    for (let i = 0; i < 7; i += 1) value = graph.node("Div", [value, "a"]);
    graph.node("Identity", [value], {}, { outputs: ["y"] });
    graph.output("y", "int64", ["n"]);
    const read = await readModel(runtime.write(encodeModel(graph)));
    assert.ok(read.format === "onnx");
    assert.match(read.description.rewrites[0]!, /: Div_1, Div_2, Div_3, Div_4, Div_5 and 2 more\.$/);
  });

  it("stays byte for byte what it was beside a guarded one, large weights in branches included", async () => {
    const weight = new Float32Array(50_000).fill(0.5);
    const model = branchModel("int64", { dtype: "float32", shape: [weight.length], data: weight });
    const read = await readModel(runtime.write(model));
    assert.ok(read.format === "onnx");
    const branchesOf = (bytes: Uint8Array) => ModelProto.decode(bytes).graph!.node.at(-1)!.attribute;
    const [before, rewritten] = [branchesOf(model), branchesOf(read.bytes!)];
    assert.deepEqual(
      rewritten.map(({ name }) => name),
      before.map(({ name }) => name),
    );
    rewritten.forEach(({ g }, i) => {
      assert.deepEqual(g!.initializer, before[i]!.g!.initializer);
      assert.equal(g!.initializer[0]!.rawData.length, weight.byteLength);
    });
    assert.deepEqual(rewritten[1], before[1]);
    assert.ok(rewritten[0]!.g!.node.length > before[0]!.g!.node.length);
  });
});

const condition: Tensor = { dtype: "bool", shape: [], data: Uint8Array.of(1) };

function divisionBy(divisor: (graph: GraphBuilder) => string): Uint8Array {
  const graph = new GraphBuilder("constant");
  graph.input("a", "int64", ["n"]);
  graph.node("Div", ["a", divisor(graph)], {}, { outputs: ["y"] });
  graph.output("y", "int64", undefined);
  return encodeModel(graph);
}

/** y = a / b if c, else a. */
function branchModel(dtype: Integer, weight?: Tensor): Uint8Array {
  const graph = new GraphBuilder("branches");
  const [a, b] = [graph.input("a", dtype, ["n"]), graph.input("b", dtype, ["n"])];
  const c = graph.input("c", "bool", []);
  const [then, otherwise] = [graph.subgraph("then"), graph.subgraph("otherwise")];
  if (weight !== undefined) {
    then.initializer("then_weight", weight);
    otherwise.initializer("otherwise_weight", weight);
  }
  then.node("Div", [a, b], {}, { outputs: ["divided"] });
  then.output("divided", dtype, undefined);
  otherwise.node("Identity", [a], {}, { outputs: ["kept"] });
  otherwise.output("kept", dtype, undefined);
  graph.node("If", [c], { then_branch: then, else_branch: otherwise }, { outputs: ["y"] });
  graph.output("y", dtype, ["n"]);
  return encodeModel(graph);
}

/** y = a / b, by a loop of one turn whose branch divides what the loop carries. */
function loopModel(dtype: Integer): Uint8Array {
  const graph = new GraphBuilder("loop");
  const [a, b] = [graph.input("a", dtype, ["n"]), graph.input("b", dtype, ["n"])];
  const c = graph.input("c", "bool", []);
  const body = graph.subgraph("body");
  body.input("turn", "int64", []);
  body.input("goes_on", "bool", []);
  body.input("carried", dtype, ["n"]);
  body.node("Identity", ["goes_on"], {}, { outputs: ["goes_on_after"] });
  const then = body.subgraph("then");
  then.node("Div", ["carried", b], {}, { outputs: ["divided"] });
  then.output("divided", dtype, undefined);
  const otherwise = body.subgraph("otherwise");
  otherwise.node("Identity", ["carried"], {}, { outputs: ["kept"] });
  otherwise.output("kept", dtype, undefined);
  body.node("If", [c], { then_branch: then, else_branch: otherwise }, { outputs: ["carried_after"] });
  body.output("goes_on_after", "bool", []);
  body.output("carried_after", dtype, ["n"]);
  graph.node("Loop", [graph.initializer("turns", int64Tensor([], 1)), "", a], { body }, { outputs: ["y"] });
  graph.output("y", dtype, ["n"]);
  return encodeModel(graph);
}

/** y = a / b by a function. */
function functionModel(dtype: ElementType): Uint8Array {
  const body = new GraphBuilder("Divide");
  body.input("p", dtype, undefined);
  body.input("q", dtype, undefined);
  body.node("Div", ["p", "q"], {}, { outputs: ["r"] });
  body.output("r", dtype, undefined);
  const graph = new GraphBuilder("calls");
  const [a, b] = [graph.input("a", dtype, ["n"]), graph.input("b", dtype, ["n"])];
  graph.node("Divide", [a, b], {}, { outputs: ["y"], domain: "ours" });
  graph.output("y", dtype, ["n"]);
  return encodeModel(graph, { operatorSets: { "": 21, ours: 1 }, functions: [{ domain: "ours", body }] });
}

/** y = a op b for values that come out of a sequence, of which no type is known here. */
function sequenceModel(opType: string, dtype: Integer): Uint8Array {
  const graph = new GraphBuilder("sequence");
  const [a, b] = [graph.input("a", dtype, ["n"]), graph.input("b", dtype, ["n"])];
  const sequence = graph.node("SequenceConstruct", [a, b]);
  const taken = [0, 1].map((at) =>
    graph.node("SequenceAt", [sequence, graph.initializer(`at${at}`, int64Tensor([], at))]),
  );
  graph.node("Identity", [graph.node(opType, taken)], {}, { outputs: ["y"] });
  graph.output("y", dtype, ["n"]);
  return encodeModel(graph);
}
