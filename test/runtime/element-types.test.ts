// Every type that can be carried comes back as it went in, bit for bit, wherever the model lives. Run on Node 20, 22 and
// 24: the newer ones have a Float16Array of their own, which onnxruntime-node's own tensors stumble over.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import type { Session } from "../../src/runtime/index.js";
import { bytesOf, isNumeric, type NumericData, type Tensor } from "../../src/tensor/index.js";
import { assertSame, borrow, filled, raw } from "../support/borrowed-outputs.js";
import { carriedTypes, identityModel } from "../support/test-models.js";
import { alwaysInline, alwaysPool, TestRuntime } from "../support/test-runtime.js";

const extremes: Readonly<Record<string, NumericData | readonly string[]>> = {
  float32: bits(
    Uint32Array,
    Float32Array,
    [0x00000000, 0x80000000, 0x00000001, 0x007fffff, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00001],
  ),
  float64: bits(BigUint64Array, Float64Array, [
    0n,
    0x8000000000000000n,
    1n,
    0x000fffffffffffffn,
    0x7fefffffffffffffn,
    0x7ff0000000000000n,
    0xfff0000000000000n,
    0x7ff8000000000001n,
  ]),
  // Zero, its negative, the subnormals at both ends, the largest, infinities, a NaN with a payload.
  float16: Uint16Array.of(0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e01, 0xffff),
  int8: Int8Array.of(-128, -1, 0, 127),
  int16: Int16Array.of(-32768, -1, 0, 32767),
  int32: Int32Array.of(-(2 ** 31), -1, 0, 2 ** 31 - 1),
  int64: BigInt64Array.of(-(2n ** 63n), -1n, 0n, 2n ** 53n + 1n, 2n ** 63n - 1n),
  uint8: Uint8Array.of(0, 255),
  uint16: Uint16Array.of(0, 0x7c00, 65535),
  uint32: Uint32Array.of(0, 2 ** 31, 2 ** 32 - 1),
  uint64: BigUint64Array.of(0n, 2n ** 53n + 1n, 2n ** 64n - 1n),
  bool: Uint8Array.of(0, 1, 1, 0),
  string: [
    "",
    "plain",
    "Grüße, 世界",
    "👩‍👩‍👧 \u{10ffff}",
    "line\nbreak\ttab",
    "\u0001\u001f\u007f",
    "x".repeat(100_000),
  ],
};

for (const [placement, options] of [
  ["inline", alwaysInline],
  ["thread-pool", alwaysPool],
] as const) {
  describe(`element types, ${placement}`, () => {
    const runtime = new TestRuntime(options);
    after(() => runtime[Symbol.asyncDispose]());

    for (const dtype of carriedTypes) {
      if (placement === "inline" && dtype === "string") continue; // models with strings are never put there

      it(`carries ${dtype} exactly`, async () => {
        const { session } = await runtime.load(identityModel(dtype, ["n"]), { poolSize: 1 });
        assert.equal(session.placement.kind, placement);
        const data = extremes[dtype]!;
        await comesBack(session, { dtype, shape: [data.length], data });
        if (dtype !== "string") await comeBackOfMessages(session, dtype);
        await session.release();
      });
    }

    it("carries tensors of many sizes, and of none", async () => {
      const { session } = await runtime.load(identityModel("float32", ["a", "b"]), { poolSize: 1 });
      for (const shape of [
        [0, 3],
        [1, 1],
        [3, 0],
        [1, 1023],
        [1, 1024],
        [1, 1025],
        [100, 100],
      ] as const) {
        const data = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => i / 7);
        await comesBack(session, { dtype: "float32", shape, data });
      }
      await session.release();
    });

    it("carries views into a larger buffer, and leaves the buffer alone", async () => {
      const { session } = await runtime.load(identityModel("int16", ["n"]), { poolSize: 1 });
      for (const length of [3, 5000]) {
        const request = Int16Array.from({ length: length + 2 }, (_, i) => i);
        await comesBack(session, { dtype: "int16", shape: [length], data: request.subarray(1, length + 1) });
        assert.equal(request.length, length + 2);
      }
      await session.release();
    });

    it("carries a scalar", async () => {
      const { session } = await runtime.load(identityModel("float64", []), { poolSize: 1 });
      await comesBack(session, { dtype: "float64", shape: [], data: Float64Array.of(Math.PI) });
      await session.release();
    });
  });
}

describe("element types in memory shared between threads", () => {
  it("are copied, since the runtime refuses such memory", async () => {
    await using runtime = new TestRuntime(alwaysPool);
    const { session } = await runtime.load(identityModel("float32", ["n"]), { poolSize: 1 });
    const data = new Float32Array(new SharedArrayBuffer(8));
    data.set([1, 2]);
    await comesBack(session, { dtype: "float32", shape: [2], data });
  });
});

async function comesBack(session: Session, x: Tensor): Promise<void> {
  const { outputs } = await session.run(new Map([["x", x]]), ["y"], { cancellation: neverCancelled });
  assert.deepEqual([...outputs.keys()], ["y"]);
  const y = outputs.get("y")!;
  assert.equal(y.dtype, x.dtype);
  assert.deepEqual(y.shape, x.shape);
  assert.equal(y.data.constructor, x.data.constructor);
  if (isNumeric(x) && isNumeric(y)) assert.deepEqual(bytesOf(y.data), bytesOf(x.data));
  else assert.deepEqual(y.data, x.data);
}

/** None, few and many, their memory given back. */
async function comeBackOfMessages(session: Session, dtype: Tensor["dtype"]): Promise<void> {
  for (const bytes of [0, 8, 4096, 100_000]) {
    const x = filled(dtype, bytes, 1);
    assertSame((await borrow(session, raw(x))).seen, x);
  }
}

/** Floats from their bit patterns: a NaN written as a number might lose its payload. */
function bits<Pattern, Value extends NumericData>(
  patterns: { from(values: Iterable<Pattern>): { readonly buffer: ArrayBufferLike } },
  values: new (buffer: ArrayBufferLike) => Value,
  list: Pattern[],
): Value {
  return new values(patterns.from(list).buffer);
}
