// What is wrong with a spec or its data is said before the first step, naming row and column, field or layer; or it is
// handled, and said in the notices.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph } from "../../../src/onnx/index.js";
import type { CodeName } from "../../../src/status.js";
import type { NumericTensor } from "../../../src/tensor/index.js";
import { tensorOf } from "../../../src/training/graph-emitter.js";
import type { JobSpec, JobStart, TableSpec } from "../../../src/training/jobs/job-spec.js";
import { prepareJob } from "../../../src/training/jobs/prepare-job.js";
import { validateJobSpec } from "../../../src/training/jobs/validate-job-spec.js";
import type { LayerSpec } from "../../../src/training/layers/layer-spec.js";
import { type GivenData, jobData, jobFolder, jobSpec } from "../../support/job-data.js";
import { rejectsWith } from "../../support/rejects-with.js";

const table = (target: string, given: Partial<TableSpec> = {}): TableSpec => ({
  target,
  columns: [],
  onlyNamed: false,
  ...given,
});
const layers = (...list: LayerSpec[]): JobStart => ({ kind: "layers", layers: list });
const dense = (units: number): JobStart => layers({ type: "dense", units });
const softmax = (units: number): JobStart => layers({ type: "dense", units, activation: "softmax" });
const tuning = (given: Partial<Extract<JobStart, { kind: "fine-tune" }>> = {}): JobStart => ({
  kind: "fine-tune",
  base: {},
  train: [],
  freeze: [],
  trainDropout: false,
  trainBatchNorm: false,
  learningRateScales: [],
  ...given,
});

interface Given {
  readonly validation?: GivenData;
  readonly memoryBytes?: number;
  readonly baseFile?: string;
}

async function prepare(spec: JobSpec, given: GivenData, { validation, memoryBytes = 1e9, baseFile }: Given = {}) {
  const { folder, data } = await jobData(given, validation);
  const job = await prepareJob(spec, data, { folder, memoryBytes, baseFile });
  job.training.release();
  return job;
}

/** Rows of a CSV: a number, a word, and what is to be predicted. */
const csv = (rows: readonly string[]) => `size,kind,label\n${rows.join("\n")}\n`;
const rows = Array.from({ length: 20 }, (_, i) => `${i % 7},${["a", "b", "c"][i % 3]},${["yes", "no"][i % 2]}`);
const changed = (index: number, row: string) => csv(rows.map((each, i) => (i === index ? row : each)));

function tensors(classes: readonly number[], { rowShape = [2], dtype = "int64" as "int64" | "float32" } = {}) {
  const size = rowShape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: classes.length * size }, (_, i) => (i % 11) / 11);
  return {
    inputs: new Map([["x", tensorOf("float32", [classes.length, ...rowShape], values)]]),
    targets: tensorOf(dtype, [classes.length], classes) as NumericTensor,
  };
}
const halves = Array.from({ length: 20 }, (_, i) => i % 2);
const swap = (index: number, value: number) => halves.map((each, i) => (i === index ? value : each));

describe("what is wrong with data", () => {
  const refused = (
    what: string,
    message: RegExp,
    spec: JobSpec,
    data: GivenData,
    { code = "INVALID_ARGUMENT", ...given }: Given & { readonly code?: CodeName } = {},
  ) => it(`${what}: refused`, () => rejectsWith(code, message, () => prepare(spec, data, given)));
  const onTable = jobSpec(softmax(2), { table: table("label") });

  refused(
    "a class that the layers do not have",
    /^row 8 has class 2; the model knows 0 to 1$/,
    jobSpec(softmax(2)),
    tensors(swap(7, 2)),
  );
  refused("a class below 0", /^row 8 has class -1; the model knows 0 to 1$/, jobSpec(softmax(2)), tensors(swap(7, -1)));
  refused(
    "a class that is no whole number",
    /the target of row 8 is 0\.5; a class is a whole number/,
    jobSpec(softmax(2)),
    tensors(swap(7, 0.5), { dtype: "float32" }),
  );
  refused(
    "a class in the rows to validate on",
    /^row 8 of the validation data has class 5; the model knows 0 to 1$/,
    jobSpec(softmax(2)),
    tensors(halves),
    { validation: tensors(swap(7, 5)) },
  );
  refused(
    "a probability above 1",
    /row 8 has target 3; it must be from 0 to 1/,
    jobSpec(layers({ type: "dense", units: 1, activation: "sigmoid" })),
    tensors(swap(7, 3), { dtype: "float32" }),
  );
  refused(
    "a label that only the validation data have",
    /^validation data: row 2, column "label": "maybe" is none of the labels no, yes$/,
    onTable,
    csv(rows),
    { validation: changed(1, "1,a,maybe") },
  );
  refused("a ragged row", /^row 5 has 2 cells; there are 3 columns$/, onTable, changed(4, "1,a"));
  refused(
    "a ragged row to validate on",
    /^validation data: row 5 has 4 cells; there are 3 columns$/,
    onTable,
    csv(rows),
    { validation: changed(4, "1,a,yes,no") },
  );
  refused(
    "a target that there is not",
    /the table has no column "answer"; it has size, kind, label/,
    jobSpec(dense(1), { table: table("answer") }),
    csv(rows),
  );
  refused(
    "a column whose name no input of a served model may have",
    /^column "__proto__" cannot be an input of a model; ignore or rename it$/,
    onTable,
    csv(rows).replace("kind", "__proto__"),
  );
  refused(
    "a column that there is not",
    /the table has no column "colour"; it has size, kind, label/,
    jobSpec(softmax(2), { table: table("label", { columns: [{ name: "colour" }] }) }),
    csv(rows),
  );
  refused(
    "a weight that there is not",
    /the table has no column "w"/,
    jobSpec(softmax(2), { table: table("label", { weight: "w" }) }),
    csv(rows),
  );
  refused(
    "a weight below zero",
    /row 1, column "w": a weight is a number from 0 on; got "-1"/,
    jobSpec(softmax(2), { table: table("label", { weight: "w" }) }),
    "x,w,label\n1,-1,a\n2,1,b\n3,1,a\n4,1,b\n",
  );
  refused(
    "a column that the validation data lack",
    /^validation data: the table has no column "size"; it has kind, label$/,
    onTable,
    csv(rows),
    { validation: "kind,label\na,yes\n" },
  );
  refused(
    "a word among numbers that must be numbers",
    /^row 3, column "size": "two" is not a number$/,
    jobSpec(softmax(2), { table: table("label", { columns: [{ name: "size", kind: "number" }] }) }),
    changed(2, "two,a,no"),
  );
  refused(
    "one class only",
    /column "label" is "yes" in every row to train on; two classes are needed at least/,
    onTable,
    csv(rows.map((row) => row.replace("no", "yes"))),
  );
  refused(
    "one class only, in tensors",
    /the target is class 1 in every row; two classes are needed at least/,
    jobSpec(softmax(2)),
    tensors(halves.map(() => 1)),
  );
  refused(
    "an empty split",
    /validation_split 0\.01 sets none of 20 rows aside/,
    jobSpec(dense(1), { training: { validationSplit: 0.01 } }),
    tensors(halves, { dtype: "float32" }),
  );
  refused(
    "a split that leaves nothing",
    /validation_split 0\.99 leaves none of 20 rows to train on/,
    jobSpec(dense(1), { training: { validationSplit: 0.99 } }),
    tensors(halves, { dtype: "float32" }),
  );
  refused(
    "both a split and rows to validate on",
    /give validation_split or validation data, not both/,
    jobSpec(softmax(2), { training: { validationSplit: 0.1 } }),
    tensors(halves),
    { validation: tensors(halves) },
  );
  refused(
    "more classes than rows",
    /column "size" has 20 classes in 20 rows; to predict a number, ask for regression/,
    jobSpec(softmax(20), { table: table("size") }),
    csv(rows.map((row, i) => `${i}${row.slice(1)}`)),
  );
  refused(
    "more classes than rows, in tensors",
    /the targets have 20 classes in 20 rows; to predict a number, ask for mse/,
    jobSpec(softmax(20)),
    tensors(halves.map((_, i) => i)),
  );
  refused("a missing label", /^row 4, column "label": the label is missing$/, onTable, changed(3, "1,a,"));
  refused(
    "a number to be predicted that is none",
    /^row 4, column "size": the number to be predicted is missing$/,
    jobSpec(dense(1), { table: table("size", { task: "regression" }) }),
    changed(3, "NaN,a,no"),
  );
  refused(
    "a target that is no number",
    /^the targets: row 8 holds NaN; all must be finite numbers$/,
    jobSpec(dense(1)),
    tensors(swap(7, Number.NaN), { dtype: "float32" }),
  );
  refused(
    "an input that is no number",
    /^validation data: input "x": row 2 holds Infinity at \[1\]; all must be finite numbers$/,
    jobSpec(softmax(2)),
    tensors(halves),
    {
      validation: {
        ...tensors([0, 1]),
        inputs: new Map([["x", tensorOf("float32", [2, 2], [1, 2, 3, Number.POSITIVE_INFINITY])]]),
      },
    },
  );
  refused(
    "a number that is no row of the embedding",
    /row 3 of "x" holds 9; the embedding "embedding_1\/weight" has rows 0 to 8/,
    jobSpec(
      layers(
        { type: "embedding", vocabulary: 9, dimensions: 2 },
        { type: "flatten" },
        { type: "dense", units: 2, activation: "softmax" },
      ),
    ),
    {
      ...tensors([0, 1, 0, 1]),
      inputs: new Map([["x", tensorOf("float32", [4, 1], [0, 8, 9, 1])]]),
    },
  );
  refused(
    "more tokens than the embedding knows",
    /layer 1 \(embedding\): column "kind" has 5 token numbers; vocabulary must be 5 at least, not 4/,
    jobSpec(
      layers({ type: "embedding", vocabulary: 4, dimensions: 2 }, { type: "flatten" }, { type: "dense", units: 2 }),
      {
        table: table("label", {
          onlyNamed: true,
          columns: [{ name: "kind", kind: "text", encoding: "tokens", length: 3 }],
        }),
      },
    ),
    csv(rows),
  );
  refused(
    "rows that do not fit a layer",
    /layer 1 \(conv2d\): wants rows of shape \[channels, height, width\]; gets \[2\]/,
    jobSpec(layers({ type: "conv2d", filters: 2, kernel: 3 })),
    tensors(halves),
  );
  refused(
    "a window larger than an image",
    /layer 1 \(conv2d\): a window of \[3,3\] does not fit into \[2,2\]/,
    jobSpec(layers({ type: "conv2d", filters: 2, kernel: 3 })),
    tensors(halves, { rowShape: [1, 2, 2] }),
  );
  refused(
    "elements that do not make a shape",
    /layer 1 \(reshape\): \[2\] has 2 elements a row, which do not make \[3\]/,
    jobSpec(layers({ type: "reshape", shape: [3] })),
    tensors(halves),
  );
  refused(
    "layers that end in too few units",
    /the layers end in \[3\] a row; column "label" has 2 classes, so the last layer must have 2 units/,
    jobSpec(softmax(3), { table: table("label") }),
    csv(rows),
  );
  refused(
    "targets of another shape than the layers give",
    /mse wants targets of float32 \[3\] a row for this model; the rows have float32 \[\]/,
    jobSpec(dense(3)),
    tensors(halves, { dtype: "float32" }),
  );
  refused(
    "labels for another number of classes",
    /class_labels names 3 classes; the layers give scores of 2/,
    jobSpec(softmax(2), { classLabels: ["a", "b", "c"] }),
    tensors(halves),
  );
  refused("several inputs", /a list of layers takes one input; the data have x, z/, jobSpec(softmax(2)), {
    ...tensors([0, 1]),
    inputs: new Map([
      ["x", tensorOf("float32", [2, 1], [0, 1])],
      ["z", tensorOf("float32", [2, 1], [0, 1])],
    ]),
  });
  refused(
    "layers without weights",
    /the layers have no weights; there is nothing to train/,
    jobSpec(layers({ type: "activation", function: "relu" })),
    tensors(halves, { dtype: "float32" }),
  );
  refused(
    "a table without a target",
    /table.target: name the column that is to be predicted/,
    jobSpec(dense(1)),
    csv(rows),
  );
  refused(
    "a table's way for tensors",
    /table says how named columns are used; the data are tensors/,
    jobSpec(softmax(2), { table: table("x") }),
    tensors(halves),
  );
  refused(
    "a weight for a class that there is not",
    /class_weights: there is no class "maybe"; the labels are no, yes/,
    jobSpec(softmax(2), { table: table("label"), training: { classWeights: { maybe: 2 } } }),
    csv(rows),
  );
  refused(
    "a weight for a class number that there is not",
    /class_weights: there is no class 2; there are 2/,
    jobSpec(softmax(2), { training: { classWeights: { 2: 3 } } }),
    tensors(halves),
  );
  refused(
    "early stopping without rows to validate on",
    /early_stopping.monitor asks for val_loss, but there are no rows to validate on/,
    jobSpec(softmax(2), { training: { validationSplit: 0, earlyStopping: {} } }),
    tensors(halves),
  );
  refused(
    "early stopping by a metric that there is not",
    /early_stopping.monitor asks for "r2", which this model does not have; it has val_loss, loss, val_loss, accuracy/,
    jobSpec(softmax(2), { training: { earlyStopping: { monitor: "r2" } } }),
    tensors(halves),
  );
  refused(
    "a gate of a metric that there is not",
    /gate.conditions asks for "acuracy", which this model does not have; it has loss, accuracy/,
    jobSpec(softmax(2), { gate: { conditions: [{ metric: "acuracy", min: 1 }], allowWorse: false } }),
    tensors(halves),
  );

  refused("rows that all weigh nothing", /all rows to train on have weight 0/, jobSpec(softmax(2)), {
    ...tensors(halves),
    weights: tensorOf("float32", [20], new Array(20).fill(0)) as NumericTensor,
  });
  refused(
    "text that is not UTF-8",
    /the text is not UTF-8, between bytes 0 and \d+; save it as UTF-8/,
    onTable,
    Buffer.from(changed(3, "1,caf\u00e9,yes"), "latin1"),
  );
  refused("a NUL character", /the text holds a NUL character/, onTable, changed(3, "1,a\0,yes"));
  refused(
    "half a character",
    /row 1, column "kind": the text holds a character that models do not carry: "\\ud800"/,
    onTable,
    [{ kind: "\ud800", label: "yes" }],
  );

  refused(
    "a label of more digits than JSON keeps",
    /row 2, column "label": 12345678901234567000 has more digits than a JSON number keeps; give it as a string/,
    onTable,
    [
      { kind: "a", label: 1 },
      { kind: "b", label: 12345678901234567890n.toString() },
    ].map((row) => ({
      ...row,
      label: Number(row.label),
    })),
  );

  it("constant features, missing cells and a slip among numbers: handled, and said", async () => {
    const lines = rows.map((row, i) => `${row},7,${i === 4 ? "" : i},true,${i === 6 ? "1O" : i}`);
    const text = `size,kind,label,constant,gaps,always,slip\n${lines.join("\n")}\n`;
    const { notices } = await prepare(onTable, text);
    assert.deepEqual(
      [
        /column "slip" holds numbers in 19 of 20 rows, but "1O" in row 7: it is used as a category; with kind number, such a row is refused/,
        /column "constant" is 7 in every row; it has no effect/,
        /column "gaps" is missing in \d of \d+ rows/,
        /column "always" is true in every row; it is left out/,
      ].filter((expected) => !notices.some((notice) => expected.test(notice))),
      [],
      notices.join("\n"),
    );
  });

  it("an operator without a gradient: refused by node and name, with what to freeze", async () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 2, 2]);
    graph.initializer("early", tensorOf("float32", [2, 2], [1, 0, 0, 1]));
    graph.initializer("late", tensorOf("float32", [1, 2], [1, 2]));
    const [hidden] = graph.node("MatMul", ["x", "early"]);
    graph.node("Det", [hidden!], {}, { name: "odd/det", outputs: ["d"] });
    graph.initializer("axes", tensorOf("int64", [1], [1]));
    const [column] = graph.node("Unsqueeze", ["d", "axes"]);
    graph.node("MatMul", [column!, "late"], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["N", 2]);
    const baseFile = join(jobFolder(), "model.onnx");
    writeFileSync(baseFile, encodeGraphModel(graph));
    const data = tensors(halves, { rowShape: [2, 2] });
    await rejectsWith(
      "FAILED_PRECONDITION",
      /cannot train through node "odd\/det" \(operator Det\): .* the parameters before it are early/,
      () => prepare(jobSpec(tuning()), data, { baseFile }),
    );
    await prepare(jobSpec(tuning({ freeze: ["early"] })), data, { baseFile });
    await rejectsWith("INVALID_ARGUMENT", /the model has no output "z"/, () =>
      prepare(jobSpec(tuning({ output: "z" })), data, { baseFile }),
    );
    await rejectsWith("INVALID_ARGUMENT", /fine_tune takes tensors, by the names of the model's inputs/, () =>
      prepare(jobSpec(tuning()), csv(rows), { baseFile }),
    );
    await rejectsWith("NOT_FOUND", /the model file cannot be read/, () =>
      prepare(jobSpec(tuning()), data, { baseFile: `${baseFile}.gone` }),
    );
    writeFileSync(baseFile, "not a model");
    await rejectsWith("INVALID_ARGUMENT", /not an ONNX model/, () => prepare(jobSpec(tuning()), data, { baseFile }));
  });
});

describe("what would take too much memory", () => {
  const tooMuch = (what: string, message: RegExp, start: JobStart, rowShape: readonly number[], memoryBytes = 1e9) =>
    it(`${what}: refused before it is taken`, () =>
      rejectsWith("RESOURCE_EXHAUSTED", message, () =>
        prepare(jobSpec(start), tensors(halves, { rowShape: [...rowShape] }), { memoryBytes }),
      ));
  const limit =
    /would take .* MiB; training may take 954 MiB \(limits.max_memory_bytes, and the server's --training_memory_bytes\)/;
  tooMuch("weights", limit, layers({ type: "dense", units: 1e12 }), [2]);
  tooMuch(
    "weights of a later layer",
    /^layer 2 \(dense\): the layers up to here/,
    layers({ type: "dense", units: 10_000 }, { type: "dense", units: 10_000 }),
    [2],
  );
  tooMuch("an embedding", limit, layers({ type: "embedding", vocabulary: 2 ** 31 - 1, dimensions: 2 ** 31 - 1 }), [2]);
  tooMuch(
    "an image grown by padding",
    limit,
    layers({ type: "conv2d", filters: 1, kernel: 1, padding: 1e6 }),
    [1, 4, 4],
  );
  tooMuch("the scores of an attention", limit, layers({ type: "attention", heads: 1 }), [8000, 1]);
  tooMuch("a recurrent layer", limit, layers({ type: "lstm", units: 1e6 }), [2, 2]);
  tooMuch("all together", /weights, activations and rows would take .* KiB|MiB/, softmax(2), [2], 60_000);

  it("a base of many weights, and a batch of many values: refused before they are taken", async () => {
    const graph = new Graph();
    graph.input("x", "float32", ["N", 2]);
    graph.initializer("w", tensorOf("float32", [2, 500], new Array(1000).fill(0.1)));
    const [y] = graph.node("MatMul", ["x", "w"]);
    graph.node("Softmax", [y!], {}, { outputs: ["y"] });
    graph.output("y", "float32", ["N", 500]);
    const baseFile = join(jobFolder(), "model.onnx");
    writeFileSync(baseFile, encodeGraphModel(graph));
    await rejectsWith("RESOURCE_EXHAUSTED", /^1000 weights in training would take/, () =>
      prepare(jobSpec(tuning()), tensors(halves), { baseFile, memoryBytes: 15_000 }),
    );
    await rejectsWith("RESOURCE_EXHAUSTED", /^the values between 16 rows and their loss would take/, () =>
      prepare(jobSpec(tuning()), tensors(halves), { baseFile, memoryBytes: 60_000 }),
    );
    const limits = { maxMemoryBytes: 15_000 };
    await rejectsWith("RESOURCE_EXHAUSTED", /training may take 0.0143 MiB/, () =>
      prepare(jobSpec(tuning(), { limits }), tensors(halves), { baseFile }),
    );
  });
});

describe("a spec that no data could fit", () => {
  const cases: readonly (readonly [RegExp, Parameters<typeof jobSpec>[0], Parameters<typeof jobSpec>[1]])[] = [
    [/^model: name the model/, dense(1), { model: "" }],
    [/^version must be a whole number from 1 on that 64 bits hold; got "0"/, dense(1), { version: "0" }],
    [/^version must be .* got "9223372036854775808"/, dense(1), { version: "9223372036854775808" }],
    [/^layers: there are no layers/, layers(), {}],
    [
      /^classic: linear has the loss mse; leave mae out/,
      { kind: "classic", form: "linear", options: {} },
      { training: { loss: { kind: "mae" } } },
    ],
    [
      /^classic: penalties belong to ridge/,
      { kind: "classic", form: "linear", options: {} },
      { training: { optimizer: { l2: 1 } } },
    ],
    [/^alpha must be a number at least 0; got -1/, { kind: "classic", form: "ridge", options: { alpha: -1 } }, {}],
    [/^fine_tune.head_classes must be a whole number of at least 2; got 1/, tuning({ headClasses: 1 }), {}],
    [/^fine_tune.base: give a version or a label, not both/, tuning({ base: { version: "1", label: "stable" } }), {}],
    [
      /^fine_tune.learning_rate_scales: the scale of "a\*" must be a number at least 0; got NaN/,
      tuning({ learningRateScales: [{ names: "a*", scale: Number.NaN }] }),
      {},
    ],
    [
      /^loss: an update keeps the loss of its base/,
      { kind: "update", base: {} },
      { training: { loss: { kind: "mse" } } },
    ],
    [
      /^table: an update keeps how its base uses columns/,
      { kind: "update", base: {} },
      { table: table("", { columns: [{ name: "a" }] }) },
    ],
    [/^class_labels: the classes are those of the base/, tuning(), { classLabels: ["a"] }],
    [/^class_labels names 2 classes; the new head has 3/, tuning({ headClasses: 3 }), { classLabels: ["a", "b"] }],
    [/^class_labels: "a" is empty or given twice/, dense(2), { classLabels: ["a", "a"] }],
    [
      /^table.columns: "a" is given twice/,
      dense(1),
      { table: table("y", { columns: [{ name: "a" }, { name: "a" }] }) },
    ],
    [
      /^column "a": buckets must be a whole number from 2/,
      dense(1),
      { table: table("y", { columns: [{ name: "a", buckets: 1 }] }) },
    ],
    [/^epochs must be a whole number from 1/, dense(1), { training: { epochs: 0 } }],
    [/^batch_size must be/, dense(1), { training: { batchSize: 0 } }],
    [/^learning_rate must be a number above 0; got 0/, dense(1), { training: { optimizer: { learningRate: 0 } } }],
    [
      /^validation_split must be a number at least 0 and below 1; got 1/,
      dense(1),
      { training: { validationSplit: 1 } },
    ],
    [
      /^class_weights: the weight of "a" must be a number at least 0; got -1/,
      dense(1),
      { training: { classWeights: { a: -1 } } },
    ],
    [
      /^gate.conditions: loss: give min, max, or both/,
      dense(1),
      { gate: { conditions: [{ metric: "loss" }], allowWorse: false } },
    ],
    [
      /^gate.conditions: loss: min 2 is above max 1/,
      dense(1),
      { gate: { conditions: [{ metric: "loss", min: 2, max: 1 }], allowWorse: false } },
    ],
    [/^the spec has 1\d+ characters as JSON; 1048576 are allowed/, dense(1), { tags: { a: "x".repeat(2 ** 20) } }],
    [/^limits.max_seconds must be a number above 0/, dense(1), { limits: { maxSeconds: 0 } }],
  ];
  for (const [message, start, given] of cases) {
    it(String(message), () => rejectsWith("INVALID_ARGUMENT", message, () => validateJobSpec(jobSpec(start, given))));
  }

  it("all else passes", () => {
    validateJobSpec(jobSpec(dense(1)));
    // Many, none of them twice.
    validateJobSpec(jobSpec(dense(1), { classLabels: Array.from({ length: 100_000 }, (_, i) => `c${i}`) }));
    validateJobSpec(jobSpec({ kind: "update", base: { label: "stable" } }, { table: table("", { weight: "w" }) }));
    validateJobSpec(jobSpec(tuning({ headClasses: 2 }), { classLabels: ["a", "b"], version: "9223372036854775807" }));
  });
});
