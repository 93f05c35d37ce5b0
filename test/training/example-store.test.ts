import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { NumericTensor } from "../../src/tensor/index.js";
import { ExampleStore, type ExampleStoreOptions } from "../../src/training/example-store.js";
import { ExampleSubset, type Field, MemoryExamples, wholeField } from "../../src/training/examples.js";
import { tensorOf } from "../../src/training/graph-emitter.js";

const folder = mkdtempSync(join(tmpdir(), "onnxd-examples-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const fields: readonly Field[] = [
  { name: "x", dtype: "float32", shape: [3] },
  { name: "n", dtype: "int64", shape: [] },
  { name: "b", dtype: "bool", shape: [1] },
];
const batch = (first: number, rows: number) =>
  new Map<string, NumericTensor>([
    [
      "x",
      tensorOf(
        "float32",
        [rows, 3],
        Array.from({ length: rows * 3 }, (_, i) => first * 3 + i),
      ) as NumericTensor,
    ],
    [
      "n",
      tensorOf(
        "int64",
        [rows],
        Array.from({ length: rows }, (_, i) => first + i),
      ) as NumericTensor,
    ],
    [
      "b",
      tensorOf(
        "bool",
        [rows, 1],
        Array.from({ length: rows }, (_, i) => (first + i) % 2),
      ) as NumericTensor,
    ],
  ]);

function filled(options: ExampleStoreOptions): ExampleStore {
  const store = new ExampleStore(fields, options);
  for (const [first, rows] of [
    [0, 4],
    [4, 1],
    [5, 7],
  ] as const)
    store.append(batch(first, rows));
  return store;
}

describe("an example store", () => {
  for (const [where, options] of [
    ["in memory", {}],
    ["on disk", { folder, memoryBytes: 0 }],
    ["that moved to disk as it grew", { folder, memoryBytes: 90 }],
  ] as const) {
    it(`${where} gives each field of any rows in any order`, () => {
      const store = filled(options);
      assert.equal(store.count, 12);
      const rows = Uint32Array.of(11, 0, 5, 5);
      const [x, n, b] = [new Float32Array(12), new BigInt64Array(4), new Uint8Array(4)];
      store.gather("x", rows, x);
      store.gather("n", rows, n);
      store.gather("b", rows, b);
      assert.deepEqual([...n], [11n, 0n, 5n, 5n]);
      assert.deepEqual([...x], [33, 34, 35, 0, 1, 2, 15, 16, 17, 15, 16, 17]);
      assert.deepEqual([...b], [1, 0, 1, 1]);
      assert.deepEqual(
        [...wholeField(store, "n").data].map(Number),
        Array.from({ length: 12 }, (_, i) => i),
      );
      assert.equal(existsSync(join(folder, "examples.bin")), "folder" in options);
      store.close();
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  it("gives what was added since it was last asked", () => {
    const store = filled({});
    const n = new BigInt64Array(1);
    store.gather("n", Uint32Array.of(3), n);
    store.append(batch(12, 1));
    store.gather("n", Uint32Array.of(12), n);
    assert.equal(n[0], 12n);
  });

  it("gives a subset by its own row numbers", () => {
    const subset = new ExampleSubset(filled({}), Uint32Array.of(2, 7, 9));
    const n = new BigInt64Array(2);
    subset.gather("n", Uint32Array.of(2, 0), n);
    assert.deepEqual([...n], [9n, 2n]);
    assert.equal(subset.count, 3);
  });
});

describe("examples in memory", () => {
  it("must have as many rows in every field", () => {
    const tensors = new Map([
      ["x", tensorOf("float32", [2, 1], [1, 2]) as NumericTensor],
      ["y", tensorOf("float32", [3], [1, 2, 3]) as NumericTensor],
    ]);
    assert.throws(() => new MemoryExamples(tensors), /"x" has 2 rows, "y" has 3/);
  });
});
