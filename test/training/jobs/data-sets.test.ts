import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { NumericTensor, Tensor } from "../../../src/tensor/index.js";
import type { Cell } from "../../../src/training/data/table.js";
import { tensorOf } from "../../../src/training/graph-emitter.js";
import { type DataSet, openDataSets } from "../../../src/training/jobs/data-set-reader.js";
import { DataSetWriter } from "../../../src/training/jobs/data-set-writer.js";
import type { DataPiece, DataSetRole } from "../../../src/training/jobs/training-service.js";
import { rejectsWith } from "../../support/rejects-with.js";

const home = mkdtempSync(join(tmpdir(), "onnxd-data-"));
after(() => rmSync(home, { recursive: true, force: true }));
const folderOf = () => mkdtempSync(join(home, "job-"));

interface Given {
  readonly maxBytes?: number;
  readonly trainingDataDir?: string;
  readonly folder?: string;
}

async function write(pieces: readonly (readonly [DataSetRole, DataPiece])[], given: Given = {}) {
  const folder = given.folder ?? folderOf();
  const writer = new DataSetWriter({ folder, trainingDataDir: given.trainingDataDir, maxBytes: given.maxBytes ?? 1e6 });
  try {
    for (const [role, piece] of pieces) await writer.add(role, piece);
    return { folder, summary: await writer.finish() };
  } finally {
    await writer.close();
  }
}

/** A text in pieces of so many bytes, in the midst of letters and quotes. */
const cut = (kind: "csv" | "json-lines", text: string, size = 3): [DataSetRole, DataPiece][] => {
  const bytes = Buffer.from(text);
  const pieces: [DataSetRole, DataPiece][] = [];
  for (let at = 0; at < bytes.length; at += size) {
    pieces.push(["train", { kind, bytes: bytes.subarray(at, at + size) }]);
  }
  return pieces;
};

function cellsOf(set: DataSet): { columns: readonly string[]; rows: (readonly Cell[])[] } {
  assert.ok(set.kind === "table");
  return { columns: set.table.columns, rows: [...set.table.rows()] };
}

function tensors(rows: number, first = 0, weights = false): DataPiece {
  const count = (size: number) => Array.from({ length: rows * size }, (_, i) => first * size + i);
  return {
    kind: "tensors",
    inputs: new Map([
      ["image", tensorOf("float32", [rows, 2, 2], count(4))],
      ["code", tensorOf("int64", [rows], count(1))],
    ]),
    targets: tensorOf("uint8", [rows], count(1)) as NumericTensor,
    ...(weights && { weights: tensorOf("float64", [rows], count(1)) as NumericTensor }),
  };
}

const sha256 = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex");
const csv = 'name,said\r\nAda,"one\nline, and\n""another"""\r\n\nŽofie,x\n';

describe("a job's data on disk", () => {
  it("are a table again, from CSV cut within letters and quotes", async () => {
    const { folder, summary } = await write(cut("csv", csv));
    assert.deepEqual(summary, { rows: 2, bytes: Buffer.byteLength(csv), sha256: sha256(csv) });
    const { train, validation } = openDataSets(folder);
    assert.equal(validation, undefined);
    assert.equal(train.rows, 2);
    assert.deepEqual(cellsOf(train), {
      columns: ["name", "said"],
      rows: [
        ["Ada", 'one\nline, and\n"another"'],
        ["Žofie", "x"],
      ],
    });
  });

  it("are a table from JSON lines too, whose rows may lack columns", async () => {
    const text = '{"a": 1, "b": "ü"}\n\n{"b": null, "c": true}\n{"__proto__": 2}';
    const { folder, summary } = await write(cut("json-lines", text));
    assert.equal(summary.rows, 3);
    assert.deepEqual(cellsOf(openDataSets(folder).train), {
      columns: ["a", "b", "c", "__proto__"],
      rows: [
        [1, "ü", null, null],
        [null, null, true, null],
        [null, null, null, 2],
      ],
    });
  });

  it("are tensors, read some rows at a time", async () => {
    const { folder, summary } = await write([
      ["train", tensors(3, 0, true)],
      ["train", tensors(0, 3, true)],
      ["train", tensors(2, 3, true)],
      ["validation", tensors(4)],
    ]);
    assert.equal(summary.rows, 9);
    assert.equal(summary.bytes, 5 * (16 + 8 + 1 + 4) + 4 * (16 + 8 + 1));
    const { train, validation } = openDataSets(folder);
    assert.ok(train.kind === "tensors" && validation?.kind === "tensors");
    const set = train.tensors;
    assert.equal(set.count, 5);
    assert.deepEqual(
      set.inputs.map(({ name, dtype, shape }) => [name, dtype, shape]),
      [
        ["code", "int64", []],
        ["image", "float32", [2, 2]],
      ],
    );
    assert.deepEqual(set.readInputs(2, 4).get("image"), tensorOf("float32", [2, 2, 2], [8, 9, 10, 11, 12, 13, 14, 15]));
    assert.deepEqual(set.readTargets(4, 5), tensorOf("uint8", [1], [4]));
    assert.deepEqual(set.readWeights(3, 5), Float32Array.of(3, 4));
    assert.equal(validation.tensors.readWeights(0, 1), undefined);
  });

  it("have the same digest however they were cut, and another with other validation data", async () => {
    const digests = await Promise.all([
      write([["train", tensors(5)]]),
      write([
        ["train", tensors(2)],
        ["train", tensors(3, 2)],
      ]),
      write([
        ["train", tensors(5)],
        ["validation", tensors(1)],
      ]),
      write(cut("csv", csv, 1)),
      write([...cut("csv", csv, 7), ["validation", { kind: "csv", bytes: Buffer.from(csv) }]]),
    ]).then((all) => all.map(({ summary }) => summary.sha256));
    assert.equal(digests[0], digests[1]);
    assert.notEqual(digests[0], digests[2]);
    assert.equal(digests[3], sha256(csv));
    assert.equal(digests[4], sha256(csv + csv));
  });

  it("say which row is not what it should be", async () => {
    const json = async (text: string, role: DataSetRole = "train") => {
      const pieces: [DataSetRole, DataPiece][] = [[role, { kind: "json-lines", bytes: Buffer.from(text) }]];
      if (role === "validation") pieces.unshift(["train", { kind: "json-lines", bytes: Buffer.from('{"a":1}') }]);
      const { folder } = await write(pieces);
      return cellsOf(openDataSets(folder).train);
    };
    await rejectsWith("INVALID_ARGUMENT", /^row 2 is not JSON: \{"a": 2$/, () => json('{"a": 1}\n{"a": 2'));
    await rejectsWith("INVALID_ARGUMENT", /^row 1 is not a JSON object: \[1\]/, () => json("[1]\n"));
    await rejectsWith("INVALID_ARGUMENT", /^validation data: row 1 is not a JSON object: 7/, () =>
      json("7", "validation"),
    );
    await rejectsWith("INVALID_ARGUMENT", /row 2, column "b": a cell holds .* got an object/, () =>
      json('{"a": 1}\n{"b": {"c": 1}}'),
    );
    const { folder } = await write(cut("csv", "a,b\n1,2\n3\n"));
    await rejectsWith("INVALID_ARGUMENT", /row 2 has 1 cells; there are 2 columns/, () =>
      cellsOf(openDataSets(folder).train),
    );
  });

  it("are refused when a piece does not belong to its set", async () => {
    const image = tensors(2) as Extract<DataPiece, { kind: "tensors" }>;
    const change = (part: Partial<typeof image>): DataPiece => ({ ...image, ...part });
    const input = (name: string, tensor: Tensor) => change({ inputs: new Map([...image.inputs, [name, tensor]]) });
    const text: DataPiece = { kind: "csv", bytes: Buffer.from("a\n1\n") };
    const cases: readonly (readonly [RegExp, readonly (readonly [DataSetRole, DataPiece])[]])[] = [
      [
        /to train on began as CSV; JSON lines cannot be mixed in/,
        [
          ["train", text],
          ["train", { kind: "json-lines", bytes: text.bytes }],
        ],
      ],
      [
        /to train on and to validate on must both be rows with named columns, or both tensors/,
        [
          ["train", text],
          ["validation", image],
        ],
      ],
      [/an input cannot be named "__proto__"/, [["train", input("__proto__", tensorOf("float32", [2, 1], [1, 2]))]]],
      [
        /the tensors have 257 inputs; 256 are allowed/,
        [
          [
            "train",
            change({
              inputs: new Map(
                Array.from({ length: 257 }, (_, i) => [`x${i}`, tensorOf("float32", [2, 1], [1, 2])] as const),
              ),
            }),
          ],
        ],
      ],
      [
        /input "image" began as float32 \[2,2\] a row; now it is float32 \[4\]/,
        [
          ["train", image],
          ["train", input("image", tensorOf("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]))],
        ],
      ],
      [
        /input "code" began as int64 \[\] a row; now it is int32/,
        [
          ["train", image],
          ["train", input("code", tensorOf("int32", [2], [1, 2]))],
        ],
      ],
      [
        /input "image" has 3 rows; the targets with it have 2/,
        [["train", input("image", tensorOf("float32", [3, 4], new Array(12).fill(0)))]],
      ],
      [
        /"zoom" was not given with the first rows/,
        [
          ["train", image],
          ["train", input("zoom", tensorOf("int32", [2], [1, 2]))],
        ],
      ],
      [
        /input "code" is missing from some of the rows/,
        [
          ["train", image],
          ["train", change({ inputs: new Map([["image", image.inputs.get("image")!]]) })],
        ],
      ],
      [
        /the tensor of weights is missing from some of the rows/,
        [
          ["train", tensors(2, 0, true)],
          ["train", tensors(2)],
        ],
      ],
      [
        /input "code" holds strings; give its rows as a table/,
        [["train", input("code", { dtype: "string", shape: [2], data: ["a", "b"] })]],
      ],
      [
        /targets are numbers in one of .*; got float16/,
        [["train", change({ targets: { dtype: "float16", shape: [2], data: new Uint16Array(2) } })]],
      ],
      [/has no axis; its first axis is the rows/, [["train", input("code", tensorOf("int64", [], [1]))]]],
      [
        /weights are one a row; they are of shape \[2,1\]/,
        [["train", change({ weights: tensorOf("float32", [2, 1], [1, 1]) as NumericTensor })]],
      ],
      [/the tensors have no inputs/, [["train", change({ inputs: new Map() })]]],
      [/there are no data to train on/, [["validation", text]]],
      [/the data to train on have no rows/, [["train", { kind: "csv", bytes: Buffer.from("a,b\n") }]]],
      [
        /the data to validate on have no rows/,
        [
          ["train", text],
          ["validation", { kind: "csv", bytes: Buffer.from("") }],
        ],
      ],
    ];
    for (const [message, pieces] of cases) await rejectsWith("INVALID_ARGUMENT", message, () => write(pieces));
  });

  it("stop at the server's limit, over both sets", async () => {
    const piece: DataPiece = { kind: "csv", bytes: Buffer.from("a\n1\n2\n3\n") };
    await write(
      [
        ["train", piece],
        ["validation", piece],
      ],
      { maxBytes: 16 },
    );
    await rejectsWith("RESOURCE_EXHAUSTED", /more than 15 bytes, the server's --training_max_data_bytes/, () =>
      write(
        [
          ["train", piece],
          ["validation", piece],
        ],
        { maxBytes: 15 },
      ),
    );
    await rejectsWith("RESOURCE_EXHAUSTED", /--training_max_data_bytes/, () =>
      write([["train", tensors(3)]], { maxBytes: 70 }),
    );
  });

  it("take nothing more after an error, and no folder that holds data already", async () => {
    const writer = new DataSetWriter({ folder: folderOf(), trainingDataDir: undefined, maxBytes: 4 });
    const piece: DataPiece = { kind: "csv", bytes: Buffer.from("a\n1\n2\n") };
    await rejectsWith("RESOURCE_EXHAUSTED", /more than 4 bytes/, () => writer.add("train", piece));
    await rejectsWith("RESOURCE_EXHAUSTED", /more than 4 bytes/, () => writer.finish());
    await writer.close();
    const { folder } = await write(cut("csv", csv));
    await rejectsWith("INTERNAL", /could not be stored: EEXIST/, () => write(cut("csv", csv), { folder }));
  });

  it("are not opened when they are not whole", async () => {
    const { folder } = await write([["train", tensors(5)]]);
    truncateSync(join(folder, "train.targets.bin"), 4);
    await rejectsWith("DATA_LOSS", /train\.targets\.bin has 4 bytes; 5 rows take 5/, () => openDataSets(folder));
    await rejectsWith("DATA_LOSS", /the job's data cannot be read/, () => openDataSets(folderOf()));
  });
});

describe("a data file of the server's", () => {
  const trainingDataDir = join(home, "open");
  const outside = join(home, "outside");
  for (const folder of [trainingDataDir, join(trainingDataDir, "deep"), outside]) mkdirSync(folder);
  const files: Readonly<Record<string, string>> = {
    "deep/a.csv": "x,y\n1,2\n",
    "a.TSV": "x\ty\n1\t2\n",
    "a.ndjson": '{"x":"1","y":"2"}\n',
    "a.json": ' [ {"x": "1", "y": "2"} , {"x": "[\\"", "y": "ž}"}\n]\n',
    "empty.json": "[]",
    "open.json": '[{"x": 1}',
    "object.json": '{"x": 1}',
    "hole.json": '[{"x": 1},,{"x": 1}]',
    "a.txt": "x\n1\n",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(trainingDataDir, name), text);
  writeFileSync(join(outside, "secret.csv"), "x\n1\n");
  symlinkSync(join(outside, "secret.csv"), join(trainingDataDir, "link.csv"));
  symlinkSync(outside, join(trainingDataDir, "linked"));
  symlinkSync(join(trainingDataDir, "deep"), join(trainingDataDir, "shallow"));
  mkdirSync(join(trainingDataDir, "folder.csv"));
  const give = (path: string, given: Given = { trainingDataDir }) => write([["train", { kind: "file", path }]], given);

  it("is copied, and read by its name", async () => {
    for (const path of ["deep/a.csv", "shallow/a.csv", "a.TSV", "a.ndjson"]) {
      const { folder, summary } = await give(path);
      const { columns, rows } = cellsOf(openDataSets(folder).train);
      assert.deepEqual([columns, rows], [["x", "y"], [["1", "2"]]], path);
      assert.equal(summary.rows, 1);
      assert.equal(readdirSync(folder).length, 2);
    }
    const { folder, summary } = await give("a.json");
    assert.deepEqual(summary, {
      rows: 2,
      bytes: Buffer.byteLength(files["a.json"]!),
      sha256: sha256(files["a.json"]!),
    });
    assert.deepEqual(cellsOf(openDataSets(folder).train).rows[1], ['["', "ž}"]);
  });

  it("is none when it is elsewhere, no file, or of another kind", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["../outside/secret.csv", /the path may not hold \.\.: it stays below --training_data_dir/],
      ["deep/../deep/a.csv", /may not hold \.\./],
      ["..\\outside\\secret.csv", /may not hold \.\./],
      [join(outside, "secret.csv"), /must be relative to --training_data_dir/],
      ["C:\\a.csv", /must be relative/],
      ["link.csv", /leads out of --training_data_dir/],
      ["linked/secret.csv", /leads out of --training_data_dir/],
      ["missing.csv", /there is no such file below --training_data_dir/],
      ["folder.csv", /it is not a file below --training_data_dir/],
      ["a.csv\0.csv", /give a path below --training_data_dir/],
      ["", /give a path below --training_data_dir/],
      ["a.txt", /its name must end in one of \.csv, \.tsv, \.jsonl, \.ndjson, \.json/],
      ["empty.json", /the data to train on have no rows/],
      ["open.json", /the JSON ends before its array does/],
      ["object.json", /the JSON is not one array of objects/],
      ["hole.json", /the JSON has "," where an object should be/],
    ];
    for (const [path, message] of cases) await rejectsWith("INVALID_ARGUMENT", message, () => give(path));
    await rejectsWith("INVALID_ARGUMENT", /the server was started without --training_data_dir/, () =>
      give("a.csv", {}),
    );
  });

  it("counts toward the limit, and is the whole set", async () => {
    await rejectsWith("RESOURCE_EXHAUSTED", /--training_max_data_bytes/, () =>
      give("deep/a.csv", { trainingDataDir, maxBytes: 7 }),
    );
    const file: readonly [DataSetRole, DataPiece] = ["train", { kind: "file", path: "deep/a.csv" }];
    await rejectsWith("INVALID_ARGUMENT", /are a file, and nothing can be added to it/, () =>
      write([file, file], { trainingDataDir }),
    );
    await rejectsWith("INVALID_ARGUMENT", /began as CSV; a file cannot be mixed in/, () =>
      write([["train", { kind: "csv", bytes: Buffer.from("a\n") }], file], { trainingDataDir }),
    );
  });
});
