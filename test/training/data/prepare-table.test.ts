import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../../src/onnx/index.js";
import { StepSession } from "../../../src/runtime/index.js";
import type { Tensor } from "../../../src/tensor/index.js";
import type { ColumnSpec } from "../../../src/training/data/column-spec.js";
import { emitPreparation } from "../../../src/training/data/emit-preparation.js";
import type { Preparation } from "../../../src/training/data/preparation.js";
import { prepareTable, type TableOptions } from "../../../src/training/data/prepare-table.js";
import { type Cell, MemoryTable } from "../../../src/training/data/table.js";
import { preparationOperatorSets } from "../../../src/training/data/word-graph.js";
import { TableRows } from "../../../src/training/raw-rows.js";

/** A table of one feature column and a target that says nothing. */
function oneColumn(cells: readonly Cell[], spec: Partial<ColumnSpec> = {}, more: Partial<TableOptions> = {}) {
  const table = new MemoryTable(
    ["x", "y"],
    cells.map((cell, row) => [cell, row % 2]),
  );
  const columns = Object.keys(spec).length === 0 ? [] : [{ name: "x", ...spec }];
  const options = { target: "y", task: "regression", validationSplit: 0, seed: 0, columns, ...more } as const;
  return { table, prepared: prepareTable(table, options) };
}

function run(preparation: Preparation, feeds: ReadonlyMap<string, Tensor>): Tensor {
  const graph = new Graph();
  const { name } = emitPreparation(graph, preparation);
  graph.output(name);
  const session = new StepSession(encodeGraphModel(graph, { operatorSets: preparationOperatorSets }));
  try {
    return session.run(feeds, [name]).get(name)!;
  } finally {
    session.release();
  }
}

/** What the graph makes of the cells that it was fitted on. */
function features(cells: readonly Cell[], spec: Partial<ColumnSpec> = {}, later: readonly Cell[] = cells): number[][] {
  const { prepared } = oneColumn(cells, spec);
  const table = new MemoryTable(
    ["x"],
    later.map((cell) => [cell]),
  );
  const [feeds] = new TableRows(table, prepared.preparation).batches(later.length);
  const { shape, data } = run(prepared.preparation, feeds!);
  return later.map((_, row) => Array.from(data.slice(row * shape[1]!, (row + 1) * shape[1]!), Number));
}
const close = (actual: readonly number[][], expected: readonly number[][]) => {
  assert.equal(actual.length, expected.length);
  actual.forEach((row, i) => {
    assert.equal(row.length, expected[i]!.length);
    row.forEach((value, j) => {
      assert.ok(Math.abs(value - expected[i]![j]!) < 1e-5, `row ${i}: ${row} for ${expected[i]}`);
    });
  });
};

describe("columns of numbers", () => {
  it("are scaled to mean 0 and deviation 1, or from 0 to 1, or not", () => {
    close(features([1, 3]), [[-1], [1]]);
    close(features(["10", " 20 ", "3e1"], { scale: "min_max" }), [[0], [0.5], [1]]);
    close(features([10, 20], { scale: "none" }), [[10], [20]]);
  });

  it("are filled where they are missing, however that is written", () => {
    close(features([1, null, "NA", "", 3], { scale: "none" }), [[1], [2], [2], [2], [3]]);
    close(features([1, 2, 9, "?"], { scale: "none", impute: "median" }), [[1], [2], [9], [2]]);
    close(features([1, 2, null], { scale: "none", impute: "constant", fill: -5 }), [[1], [2], [-5]]);
    close(features([0, 2, null]), [[-1], [1], [0]]);
  });

  it("keep their place when they say nothing, and have no effect then or later", () => {
    const { prepared } = oneColumn([7, 7]);
    assert.deepEqual(prepared.notices, ['column "x" is 7 in every row; it has no effect']);
    close(features([7, 7], { scale: "none" }, [7, 100]), [[0], [0]]);
  });

  it("tell what they were, for later", () => {
    const [column] = oneColumn([1, null, 3, 8]).prepared.preparation.columns;
    assert.ok(column?.kind === "number");
    const { deviation, ...rest } = column.statistics;
    assert.deepEqual(rest, { rows: 4, missing: 1, mean: 4, min: 1, max: 8 });
    assert.ok(Math.abs(deviation - Math.sqrt(26 / 3)) < 1e-12);
    assert.deepEqual(oneColumn([1, null, 3]).prepared.notices, ['column "x" is missing in 1 of 3 rows']);
  });
});

describe("columns of categories", () => {
  it("are one number a category, all zeros for one never seen", () => {
    close(features(["b", "a", "b"], {}, ["a", "b", "c"]), [
      [1, 0],
      [0, 1],
      [0, 0],
    ]);
  });

  it("count a missing one as a category of its own", () => {
    close(features(["b", null, ""], { kind: "category" }), [
      [0, 1],
      [1, 0],
      [1, 0],
    ]);
  });

  it("take whole numbers as numbers, in their order", () => {
    const { prepared } = oneColumn([10, 9, "2"], { kind: "category" });
    const [column] = prepared.preparation.columns;
    assert.ok(column?.kind === "category");
    assert.deepEqual([column.valueType, column.categories], ["int64", ["2", "9", "10"]]);
    close(features([10, 9, 2], { kind: "category" }, [2, 10, null, 5]), [
      [1, 0, 0],
      [0, 0, 1],
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it("may be one number in order, the middle for one never seen", () => {
    close(features(["a", "b", "c"], { kind: "category", encoding: "ordinal" }, ["c", "a", "x"]), [[1], [0], [0.5]]);
    close(features([1, 5], { kind: "category", encoding: "ordinal" }, [5, 1]), [[1], [0]]);
  });

  it("are hashed where there are many, each to one of the buckets, the same one each time", () => {
    const cells = Array.from({ length: 150 }, (_, i) => `id${i}`);
    const rows = features(cells, { kind: "category", buckets: 64 }, ["id1", "id2", "id1", "new"]);
    for (const row of rows) {
      assert.equal(row.length, 64);
      assert.equal(row.filter((value) => value === 1).length, 1);
      assert.equal(row.filter((value) => value === 0).length, 63);
    }
    assert.deepEqual(rows[0], rows[2]);
    assert.notDeepEqual(rows[0], rows[1]);
    assert.equal(oneColumn(cells).prepared.preparation.columns[0]!.kind, "category");
  });
});

describe("columns of true and false", () => {
  it("are 1 and 0", () => {
    close(features([true, false, "TRUE"]), [[1], [0], [1]]);
  });
});

describe("columns of text", () => {
  const cats = ["The cat sat", "the dog sat down", "A CAT, a cat!"];

  it("are weights of their words, as scikit-learn has them", () => {
    // TfidfVectorizer(token_pattern=r"\w+"), columns in the order of document frequency, then alphabet.
    const { prepared } = oneColumn(cats, { kind: "text" });
    const [column] = prepared.preparation.columns;
    assert.ok(column?.kind === "text");
    assert.deepEqual(
      column.terms.map(([word]) => word),
      ["cat", "sat", "the", "a", "dog", "down"],
    );
    const often = Math.log(4 / 3) + 1;
    const once = Math.log(4 / 2) + 1;
    const unit = (row: readonly number[]) => row.map((value) => value / Math.hypot(...row));
    close(features(cats), [
      unit([often, often, often, 0, 0, 0]),
      unit([0, often, often, 0, once, once]),
      unit([2 * often, 0, 0, 2 * once, 0, 0]),
    ]);
  });

  it("are all zeros without a known word", () => {
    close(
      features(cats, {}, ["", "???", "unheard of"]),
      [0, 1, 2].map(() => [0, 0, 0, 0, 0, 0]),
    );
  });

  it("may be of runs of words, and of the most frequent ones only", () => {
    const { prepared } = oneColumn(cats, { kind: "text", ngrams: 2, vocabulary: 5 });
    const [column] = prepared.preparation.columns;
    assert.ok(column?.kind === "text");
    assert.deepEqual(column.terms, [["cat"], ["sat"], ["the"], ["a"], ["a", "cat"]]);
    const [row] = features(cats, { kind: "text", ngrams: 2, vocabulary: 5 }, ["a cat"]);
    assert.ok(row![0]! > 0 && row![3]! > 0 && row![4]! > 0 && row![1] === 0);
  });

  it("know letters beyond A to Z in either case", () => {
    const rows = features(["Ärger über Öl", "kein ärger", "ÄRGER im Sommer"], { kind: "text", vocabulary: 1 }, [
      "ärger",
      "Ärger",
      "ÄRGER",
      "aerger",
    ]);
    close(rows, [[1], [1], [1], [0]]);
  });

  it("may be sequences of numbers for an embedding, cut or filled to one length", () => {
    const spec = { kind: "text", encoding: "tokens", length: 4, vocabulary: 3 } as const;
    // cat, sat, the are 2, 3, 4; others 1; nothing 0.
    close(features(cats, spec, ["The cat sat", "", "a cat a cat a cat"]), [
      [4, 2, 3, 0],
      [0, 0, 0, 0],
      [1, 2, 1, 2],
    ]);
  });
});

describe("a table", () => {
  const animals = new MemoryTable(
    ["weight", "food", "tame", "about", "id", "kind"],
    [
      [4, "fish", true, "it purrs and sleeps all day", "a", "cat"],
      [30, "meat", true, "it barks at the postman loudly", "b", "dog"],
      [5, "fish", false, "it hides under the old car", "c", "cat"],
      [25, "meat", false, "it runs after the ball again", "d", "dog"],
    ],
  );
  const options: TableOptions = { target: "kind", task: "classification", validationSplit: 0, seed: 0 };

  it("is taken as it looks, or as it is told", () => {
    const kinds = (more: Partial<TableOptions>) =>
      prepareTable(animals, { ...options, ...more }).preparation.columns.map(({ name, kind }) => `${name} ${kind}`);
    assert.deepEqual(kinds({}), ["weight number", "food category", "tame boolean", "about text", "id category"]);
    assert.deepEqual(
      kinds({
        columns: [
          { name: "id", kind: "ignore" },
          { name: "weight", kind: "category" },
        ],
      }),
      ["weight category", "food category", "tame boolean", "about text"],
    );
    assert.deepEqual(kinds({ onlyNamed: true, columns: [{ name: "food" }] }), ["food category"]);
    assert.deepEqual(kinds({ weight: "weight", onlyNamed: true, columns: [{ name: "tame" }] }), ["tame boolean"]);
  });

  it("gives labels in order, and each row its class", () => {
    const { target, targets } = prepareTable(animals, options);
    assert.deepEqual(target, { kind: "classes", column: "kind", labelType: "string", labels: ["cat", "dog"] });
    assert.deepEqual([...targets], [0, 1, 0, 1]);
    const numbers = new MemoryTable(
      ["x", "y"],
      [
        [1, 10],
        [2, 9],
        [3, 9],
        [4, 10],
      ],
    );
    const whole = prepareTable(numbers, { ...options, target: "y" }).target;
    assert.deepEqual(whole, { kind: "classes", column: "y", labelType: "int64", labels: ["9", "10"] });
  });

  it("gives numbers to be predicted as distances from their mean", () => {
    const { target, targets } = prepareTable(animals, { ...options, target: "weight", task: "regression" });
    assert.ok(target.kind === "number" && target.mean === 16);
    assert.deepEqual(
      [...targets].map((value) => Math.round(value * target.scale + target.mean)),
      [4, 30, 5, 25],
    );
  });

  it("learns from the training rows only", () => {
    const rows = Array.from({ length: 100 }, (_, i) => [i, i % 2]);
    const table = new MemoryTable(["x", "y"], rows);
    const { split, preparation } = prepareTable(table, { ...options, target: "y", validationSplit: 0.3 });
    const [column] = preparation.columns;
    const mean = split.train.reduce((sum, row) => sum + row, 0) / split.train.length;
    assert.equal(split.train.length, 70);
    assert.ok(column?.kind === "number" && Math.abs(column.statistics.mean - mean) < 1e-9 && mean !== 49.5);
  });

  it("keeps what was learned before", () => {
    const first = prepareTable(animals, options);
    const later = new MemoryTable(animals.columns, [[1000, "hay", true, "it neighs", "e", "dog"]]);
    const second = prepareTable(later, { ...options, fitted: first });
    assert.deepEqual(second.preparation, first.preparation);
    assert.deepEqual([...second.targets], [1]);
    const horse = new MemoryTable(animals.columns, [[1000, "hay", true, "it neighs", "e", "horse"]]);
    assert.throws(
      () => prepareTable(horse, { ...options, fitted: first }),
      /row 1, column "kind": "horse" is none of the labels cat, dog/,
    );
  });

  const refused = (what: string, rows: readonly (readonly Cell[])[], more: Partial<TableOptions>, message: RegExp) =>
    it(`is refused with ${what}`, () => {
      const table = new MemoryTable(["x", "y"], rows);
      assert.throws(() => prepareTable(table, { ...options, target: "y", ...more }), message);
    });
  const regression = { task: "regression" } as const;
  refused("no rows", [], {}, /the table has no rows/);
  refused("no such target", [[1, 2]], { target: "z" }, /the table has no column "z"; it has x, y/);
  refused("no such feature", [[1, 2]], { columns: [{ name: "z" }] }, /no column "z"/);
  refused("the target among the features", [[1, 2]], { columns: [{ name: "y" }] }, /cannot be a feature too/);
  refused(
    "a label missing",
    [
      [1, "a"],
      [2, ""],
    ],
    {},
    /row 2, column "y": the label is missing/,
  );
  refused(
    "a number to be predicted missing",
    [
      [1, 2],
      [2, Number.NaN],
    ],
    regression,
    /row 2, column "y": .* is missing/,
  );
  refused("a word to be predicted as a number", [[1, "far"]], regression, /row 1, column "y": "far" is not a number/);
  refused("infinity to be predicted", [[1, Number.POSITIVE_INFINITY]], regression, /row 1, column "y"/);
  refused(
    "one class only",
    [
      [1, "a"],
      [2, "a"],
    ],
    {},
    /column "y" is "a" in every row to train on; two classes/,
  );
  refused(
    "one number only",
    [
      [1, 5],
      [2, 5],
    ],
    regression,
    /column "y" is 5 in every row to train on/,
  );
  refused(
    "numbers asked for as classes",
    Array.from({ length: 120 }, (_, i) => [i, i + 0.5]),
    {},
    /has 120 classes in 120 rows; to predict a number, ask for regression/,
  );
  refused(
    "a class for almost every row",
    [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ],
    {},
    /has 3 classes in 3 rows/,
  );
  refused(
    "a word in a column of numbers",
    [
      [1, "a"],
      ["many", "b"],
    ],
    { columns: [{ name: "x", kind: "number" }] },
    /row 2, column "x": "many" is not a number/,
  );
  refused(
    "a word in a column of true and false",
    [
      [true, "a"],
      ["maybe", "b"],
    ],
    { columns: [{ name: "x", kind: "boolean" }] },
    /row 2, column "x": "maybe" is neither true nor false/,
  );
  refused(
    "nothing to learn from",
    [
      ["same", "a"],
      ["same", "b"],
    ],
    {},
    /no column to learn from; column "x" is "same" in every row/,
  );
  refused(
    "a weight below zero",
    [
      [1, "a"],
      [-1, "b"],
    ],
    { weight: "x" },
    /row 2, column "x": a weight is a number from 0 on/,
  );
  refused(
    "no rows to validate on",
    [
      [1, "a"],
      [2, "b"],
    ],
    { validationSplit: 0.2 },
    /sets none of 2 rows aside/,
  );
  refused(
    "an encoding of another kind",
    [[1, "a"]],
    { columns: [{ name: "x", kind: "number", encoding: "one_hot" }] },
    /column "x": encoding belongs to kinds category and text/,
  );
});
