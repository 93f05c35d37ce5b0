import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dataPieces } from "../../../src/api/codecs/training-data.js";
import { startFromJson } from "../../../src/api/codecs/training-json.js";

const body = (rows: string, layers = "[]") =>
  `{"spec": {"model": "m", "layers": ${layers}}, "data": {"rows": ${rows}}}`;
const piecesOf = (text: string) => [...dataPieces(startFromJson(text).data, "data")];
const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);

describe("a StartJob as JSON", () => {
  it("has its rows as lines", () => {
    const [piece] = piecesOf(body('[{"a": 1, "__proto__": "x"}, {"a": null}]'));
    assert.equal(
      piece?.kind === "json-lines" && Buffer.from(piece.bytes).toString(),
      '{"a":1,"__proto__":"x"}\n{"a":null}\n',
    );
  });

  it("is refused with rows that are none, and cells that are no single values, however deep", () => {
    const refused = (rows: string, message: RegExp) => assert.throws(() => piecesOf(body(rows)), message);
    refused("[1]", /data.rows\[0\] must be an object; got 1/);
    refused(`[${nested("[", "]", 20_000)}]`, /data.rows\[0\] must be an object; got an array/);
    refused('[{"a": [1]}]', /data.rows\[0\].a must be a string, a number, true, false or null; got an array/);
    refused(
      `[{"a": ${nested('{"a":', "}", 20_000).replace(":}", ":1}")}}]`,
      /data.rows\[0\].a must be .*; got an object/,
    );
    refused('[{"a": 1e999}]', /data.rows\[0\].a is larger than a number can be/);
  });

  it("is refused with a spec that is nested too deeply", () => {
    const layers = `[${'{"residual": {"layers": ['.repeat(10_000)}${"]}}".repeat(10_000)}]`;
    assert.throws(() => startFromJson(body("[]", layers)), /nested too deeply/);
  });
});
