// What onnxruntime says when it refuses values, as it really says it, and the status we make of it.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { encodeModel, GraphBuilder } from "../../src/onnx/index.js";
import { runFailure } from "../../src/runtime/placement/run-failure.js";
import { codeName } from "../../src/status.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { floatTensor, int64Tensor } from "../support/test-models.js";
import { alwaysPool, TestRuntime } from "../support/test-runtime.js";

interface Refusal {
  readonly operator: string;
  readonly attributes?: Readonly<Record<string, number>>;
  readonly inputs: Readonly<Record<string, readonly [ElementType, readonly string[]]>>;
  readonly outputType: ElementType;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly says: RegExp;
}

const float = (...dims: string[]) => ["float32", dims] as const;
const int64 = (...dims: string[]) => ["int64", dims] as const;

const refusals: readonly Refusal[] = [
  {
    operator: "Add",
    inputs: { a: float("n"), b: float("m") },
    outputType: "float32",
    feeds: { a: floatTensor([2], 1, 2), b: floatTensor([3], 1, 2, 3) },
    says: /broadcast/,
  },
  {
    operator: "MatMul",
    inputs: { a: float("n", "k"), b: float("l", "m") },
    outputType: "float32",
    feeds: { a: floatTensor([1, 2], 1, 2), b: floatTensor([3, 1], 1, 2, 3) },
    says: /MatMul dimension mismatch/,
  },
  {
    operator: "Gather",
    inputs: { table: float("n"), indices: int64("m") },
    outputType: "float32",
    feeds: { table: floatTensor([2], 1, 2), indices: int64Tensor([1], 7) },
    says: /idx=7 must be within the inclusive range/,
  },
  {
    operator: "Div",
    inputs: { a: int64("n"), b: int64("n") },
    outputType: "int64",
    feeds: { a: int64Tensor([1], 5), b: int64Tensor([1], 0) },
    says: /division by zero/,
  },
  {
    operator: "Cast",
    attributes: { to: 1 },
    inputs: { text: ["string", ["n"]] },
    outputType: "float32",
    feeds: { text: { dtype: "string", shape: [1], data: ["not a number"] } },
    says: /Cast node/,
  },
  {
    operator: "Add",
    inputs: { a: float("n"), b: float("n") },
    outputType: "float32",
    feeds: { a: int64Tensor([1], 1), b: floatTensor([1], 1) },
    says: /Unexpected input data type/,
  },
  {
    operator: "Add",
    inputs: { a: float("n"), b: float("n") },
    outputType: "float32",
    feeds: { a: floatTensor([1, 1], 1), b: floatTensor([1], 1) },
    says: /Invalid rank for input: a/,
  },
];

function modelOf({ operator, attributes = {}, inputs, outputType }: Refusal): Uint8Array {
  const graph = new GraphBuilder("refusal");
  const names = Object.entries(inputs).map(([name, [dtype, dims]]) => graph.input(name, dtype, dims));
  graph.node(operator, names, attributes, { outputs: ["y"] });
  graph.output("y", outputType, undefined);
  return encodeModel(graph);
}

describe("a run that onnxruntime refuses", () => {
  let runtime: TestRuntime;
  before(() => {
    runtime = new TestRuntime(alwaysPool);
  });
  after(() => runtime[Symbol.asyncDispose]());

  for (const refusal of refusals) {
    it(`is INVALID_ARGUMENT: ${refusal.operator}, ${refusal.says.source}`, async () => {
      const { session } = await runtime.load(modelOf(refusal), { poolSize: 1 });
      await rejectsWith("INVALID_ARGUMENT", refusal.says, () =>
        session.run(new Map(Object.entries(refusal.feeds)), ["y"], { cancellation: neverCancelled }),
      );
      await session.release();
    });
  }

  it("is RESOURCE_EXHAUSTED when it asks for more memory than there is, and the next run is answered", async () => {
    const graph = new GraphBuilder("greedy");
    graph.node("ConstantOfShape", [graph.input("shape", "int64", ["n"])], {}, { outputs: ["y"] });
    graph.output("y", "float32", undefined);
    const { session } = await runtime.load(encodeModel(graph), { poolSize: 1 });
    const run = (...shape: number[]) =>
      session.run(new Map([["shape", int64Tensor([shape.length], ...shape)]]), ["y"], { cancellation: neverCancelled });
    await rejectsWith("RESOURCE_EXHAUSTED", /^model "m": .*Failed to allocate memory/s, () => run(2 ** 45));
    await rejectsWith("INVALID_ARGUMENT", /overflow/, () => run(2 ** 40, 2 ** 40));
    await rejectsWith("INVALID_ARGUMENT", /must be >= 0/, () => run(-5));
    assert.deepEqual((await run(2, 3)).outputs.get("y")!.shape, [2, 3]);
    await session.release();
  });
});

describe("runFailure", () => {
  it("is INTERNAL for everything that does not speak of the values", () => {
    for (const text of ["Non tensor type is temporarily not supported.", "Session already disposed.", "boom"]) {
      const error = runFailure("m", text);
      assert.equal(codeName(error.code), "INTERNAL");
      assert.equal(error.message, `model "m": ${text}`);
    }
  });

  it("does not repeat a novel", () => assert.ok(runFailure("m", "x".repeat(100_000)).message.length < 2100));
});
