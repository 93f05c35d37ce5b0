import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type CsvOptions, CsvTable } from "../../../src/training/data/csv-table.js";
import { piecesOfFile } from "../../../src/training/data/pieces-of-file.js";
import { MemoryTable, tableOfObjects } from "../../../src/training/data/table.js";

const rowsOf = (text: string, options?: CsvOptions) => [...new CsvTable(() => [text], options).rows()];

describe("a CSV", () => {
  it("has names in its first line and a row a line", () => {
    const table = new CsvTable(() => ["a, b \n1,x\n2,y\n"]);
    assert.deepEqual(table.columns, ["a", "b"]);
    assert.deepEqual(
      [...table.rows()],
      [
        ["1", "x"],
        ["2", "y"],
      ],
    );
    assert.deepEqual(
      [...table.rows()],
      [
        ["1", "x"],
        ["2", "y"],
      ],
      "read twice",
    );
  });

  it("may quote cells, with delimiters, line ends and doubled quotes in them", () => {
    assert.deepEqual(rowsOf('a,b\n"x,1","say ""hi""\nthere"\n'), [["x,1", 'say "hi"\nthere']]);
    assert.deepEqual(rowsOf('a,b\n"",\n'), [["", ""]]);
  });

  it("may end lines either way, begin with a mark, skip lines, and lack the last line's end", () => {
    assert.deepEqual(rowsOf("\uFEFFa,b\r\n1,2\r\n\r\n3,4"), [
      ["1", "2"],
      ["3", "4"],
    ]);
    assert.equal(new CsvTable(() => ["\uFEFFa,b\n"]).columns[0], "a");
  });

  it("may be cut into pieces anywhere", () => {
    const text = '\uFEFFa,b\r\n"x,""1""",2\r\n3,"4\n5"\r\n';
    const whole = rowsOf(text);
    for (let cut = 0; cut <= text.length; cut++) {
      const table = new CsvTable(() => [text.slice(0, cut), "", text.slice(cut)]);
      assert.deepEqual([...table.rows()], whole, `cut at ${cut}`);
    }
  });

  it("may have another delimiter, and names given from elsewhere", () => {
    assert.deepEqual(rowsOf("a;b\n1;2\n", { delimiter: ";" }), [["1", "2"]]);
    assert.deepEqual(rowsOf("1,2\n3,4\n", { columns: ["a", "b"] }), [
      ["1", "2"],
      ["3", "4"],
    ]);
  });

  it("is read from a file without holding all of it", () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-csv-"));
    const path = join(folder, "data.csv");
    // Letters of several bytes, so that some lie across two reads.
    writeFileSync(path, `a,b\n${"ä€🎉,x\n".repeat(20_000)}`);
    let rows = 0;
    for (const row of new CsvTable(() => piecesOfFile(path)).rows()) {
      assert.equal(row[0], "ä€🎉");
      rows += 1;
    }
    assert.equal(rows, 20_000);
    rmSync(folder, { recursive: true });
  });

  const refused = (text: string, message: RegExp) =>
    it(`is refused: ${message.source}`, () => {
      assert.throws(() => rowsOf(text), message);
    });
  refused("", /the CSV is empty/);
  refused("a,b\n1,2\n3\n", /row 2 has 1 cells; there are 2 columns/);
  refused("a,b\n1,2,3\n", /row 1 has 3 cells/);
  refused("a,a\n", /two columns named "a"/);
  refused("a,\n", /column 2 has no name/);
  refused('a\n"x\n', /ends within a quoted cell/);
  refused('a\n"x"y\n', /line 2 of the CSV: "y" follows a closing quote/);
  refused('a\nx"y\n', /line 2 of the CSV: a quote stands within a cell/);
});

describe("rows of JSON", () => {
  it("have the columns of all of them, missing where a row lacks one", () => {
    const table = tableOfObjects([
      { a: 1, b: "x" },
      { c: true, a: null },
    ]);
    assert.deepEqual(table.columns, ["a", "b", "c"]);
    assert.deepEqual(
      [...table.rows()],
      [
        [1, "x", null],
        [null, null, true],
      ],
    );
  });

  it("are refused with a cell that is no single value", () => {
    assert.throws(() => tableOfObjects([{ a: 1 }, { a: [1] }]), /row 2, column "a": .*; got an array/);
    assert.throws(() => new MemoryTable(["a"], [[1], [1, 2]]), /row 2 has 2 cells/);
  });
});
