import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describeJson } from "../../../src/api/codecs/json-describe.js";
import { JsonReader } from "../../../src/api/codecs/json-reader.js";
import { Code, StatusError } from "../../../src/status.js";
import { JsonGenerator } from "../../support/json-generator.js";

const wanted = new Set(["inputs", "signature_name"]);

function read(text: string | Buffer, step = Number.POSITIVE_INFINITY): JsonReader {
  const reader = new JsonReader(Buffer.from(text as string), wanted);
  while (!reader.advance(step));
  return reader;
}

function refusal(text: string | Buffer, step?: number): string {
  try {
    read(text, step);
  } catch (error) {
    assert.ok(error instanceof StatusError, `${error}`);
    assert.equal(error.code, Code.INVALID_ARGUMENT);
    return error.message;
  }
  return assert.fail(`accepted: ${text}`);
}

describe("JsonReader", () => {
  const values: readonly string[] = [
    ..."null true false 0 -0 1.5 1e5 1E+5 1e-5 -0.0 NaN -NaN Inf -Inf Infinity -Infinity".split(" "),
    ...[
      '""',
      '"\\u0041\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"\\\\"',
      "[]",
      "[ ]",
      "{}",
      "{ }",
      "[[],{}]",
      " \t\r\n[1 , 2]",
    ],
    ...[
      '{"a":1,"a":2}',
      `${"9".repeat(308)}`,
      "1e308",
      "-1.7976931348623157e308",
      "1e-999",
      `1${"0".repeat(400)}e-200`,
    ],
  ];
  for (const text of values) {
    it(`accepts ${text.slice(0, 40)}`, () => {
      read(text);
      read(text, 1);
    });
  }

  const faults: readonly (readonly [text: string, message: string])[] = [
    ["", "JSON Parse error: The document is empty"],
    ["  ", "JSON Parse error: The document is empty. at offset: 2"],
    ["]", "JSON Parse error: The document is empty. at offset: 0"],
    ["\ufeff", "JSON Parse error: The document is empty. at offset: 3"],
    ["\u0000{}", "JSON Parse error: The document is empty. at offset: 0"],
    ["nan", "JSON Parse error: Invalid value. at offset: 1"],
    ["inf", "JSON Parse error: Invalid value. at offset: 0"],
    ["Infinite", "JSON Parse error: Invalid value. at offset: 7"],
    ["NAN", "JSON Parse error: Invalid value. at offset: 1"],
    ["+1", "JSON Parse error: Invalid value. at offset: 0"],
    [".5", "JSON Parse error: Invalid value. at offset: 0"],
    ["-", "JSON Parse error: Invalid value. at offset: 1"],
    ["[1.]", "JSON Parse error: Miss fraction part in number. at offset: 3"],
    ["[1e]", "JSON Parse error: Miss exponent in number. at offset: 3"],
    ["[1e+]", "JSON Parse error: Miss exponent in number. at offset: 4"],
    ["[1e400]", "JSON Parse error: Number too big to be stored in double. at offset: 1"],
    ["[-1e400]", "JSON Parse error: Number too big to be stored in double. at offset: 1"],
    [`[${"9".repeat(250)}e99]`, "JSON Parse error: Number too big to be stored in double. at offset: 1"],
    ["[0.1e0400]", "JSON Parse error: Number too big to be stored in double. at offset: 1"],
    [`[${"9".repeat(400)}]`, "JSON Parse error: Number too big to be stored in double. at offset: 1"],
    ["[01]", "JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"],
    ["[1 2]", "JSON Parse error: Missing a comma or ']' after an array element. at offset: 3"],
    ["[1", "JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"],
    ["[1}", "JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"],
    ["[1,]", "JSON Parse error: Invalid value. at offset: 3"],
    ["[,1]", "JSON Parse error: Invalid value. at offset: 1"],
    ["[", "JSON Parse error: Invalid value. at offset: 1"],
    ["[truth]", "JSON Parse error: Invalid value. at offset: 4"],
    ["[1 // one\n]", "JSON Parse error: Missing a comma or ']' after an array element. at offset: 3"],
    ["{'a':1}", "JSON Parse error: Missing a name for object member. at offset: 1"],
    ["{a:1}", "JSON Parse error: Missing a name for object member. at offset: 1"],
    ["{", "JSON Parse error: Missing a name for object member. at offset: 1"],
    ['{"a":1,}', "JSON Parse error: Missing a name for object member. at offset: 7"],
    ['{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"],
    ['{"a":}', "JSON Parse error: Invalid value. at offset: 5"],
    ['{"a":1 "b":2}', "JSON Parse error: Missing a comma or '}' after an object member. at offset: 7"],
    ['{"a":1]', "JSON Parse error: Missing a comma or '}' after an object member. at offset: 6"],
    ['["a', "JSON Parse error: Missing a closing quotation mark in string. at offset: 3"],
    ['["a\u0000"]', "JSON Parse error: Missing a closing quotation mark in string. at offset: 3"],
    ['["a\n"]', "JSON Parse error: Invalid escape character in string. at offset: 3"],
    ['["\\x"]', "JSON Parse error: Invalid escape character in string. at offset: 2"],
    ['["\\u12g4"]', "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 2"],
    ['["\\u12', "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 2"],
    ['["a\\ud800"]', "JSON Parse error: The surrogate pair in string is invalid. at offset: 3"],
    ['["\\ud800\\u0041"]', "JSON Parse error: The surrogate pair in string is invalid. at offset: 2"],
    // RapidJSON lets this one through, and makes bytes of it that are no UTF-8.
    ['["\\udc00"]', "JSON Parse error: The surrogate pair in string is invalid. at offset: 2"],
    ['["é", x]', "JSON Parse error: Invalid value. at offset: 7"],
  ];
  for (const [text, message] of faults) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.equal(refusal(text), message);
      assert.equal(refusal(text, 1), message);
    });
  }

  it("ignores what follows the root value, and a byte order mark before it", () => {
    assert.equal(read("\ufeff [1]] trailing {").text.toString(), "\ufeff [1]");
  });

  it("finds the wanted members of the root alone, the first of equal ones, however the key is written", () => {
    const text = '{"x": {"inputs": 0}, "\\u0069nputs" : [1, [2, 3], "a,b"] , "inputs": 5, "signature_name":"s"}';
    for (const step of [1, Number.POSITIVE_INFINITY]) {
      const reader = read(text, step);
      assert.deepEqual([...reader.members.keys()], ["inputs", "signature_name"]);
      const { start, end, commas } = reader.members.get("inputs")!;
      assert.equal(text.slice(start, end).trim(), '[1, [2, 3], "a,b"]');
      assert.equal(commas, 3);
    }
  });

  it("takes 500 000 levels in a key that nobody wants, and finds the key behind them", () => {
    const deep = "[".repeat(500_000) + "]".repeat(500_000);
    const reader = read(`{"x": ${deep}, "inputs": 1}`);
    assert.ok(reader.members.has("inputs"));
    assert.match(refusal(`{"x": ${"[{".repeat(250_000)}`), /Missing a name/);
    assert.match(refusal(`{"x": ${'{"a":'.repeat(250_000)}`), /Invalid value/);
  });

  it("stops where it is told to and goes on from there", () => {
    const reader = new JsonReader(Buffer.from(`[${"1,".repeat(1000)}1]`), wanted);
    let steps = 1;
    while (!reader.advance(100)) steps += 1;
    assert.ok(steps >= 20 && steps <= 21, `${steps}`);
  });

  it("refuses bytes that are not UTF-8 only where they would be used: a key that is looked up", () => {
    read(Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]));
    const key = Buffer.concat([Buffer.from('{"in'), Buffer.from([0xff]), Buffer.from('":1}')]);
    assert.equal(refusal(key), "JSON Parse error: Invalid encoding in string. at offset: 1");
  });
});

describe("JsonReader and JSON.parse", () => {
  for (let seed = 1; seed <= 4; seed += 1) {
    it(`agree on what is JSON and on what it says (seed ${seed})`, () => {
      const generate = new JsonGenerator(seed);
      for (let round = 0; round < 1000; round += 1) {
        const text = generate.blank() + generate.value(3) + generate.blank();
        const reader = read(text, 1 + generate.below(20));
        const described = describeJson(reader.text, reader.rootStart);
        if (Buffer.byteLength(described) < 256) assert.deepEqual(JSON.parse(described), JSON.parse(text), text);
      }
    });

    it(`agree on damaged texts, and none of them crashes (seed ${seed})`, () => {
      const generate = new JsonGenerator(100 + seed);
      for (let round = 0; round < 2000; round += 1) {
        const text = generate.mutate(generate.value(3));
        let accepted: string | undefined;
        try {
          accepted = read(text, 1 + generate.below(20)).text.toString();
        } catch (error) {
          assert.ok(error instanceof StatusError, `${JSON.stringify(text)}: ${(error as Error).stack}`);
        }
        let parsed = true;
        try {
          JSON.parse(accepted ?? text);
        } catch {
          parsed = false;
        }
        // What we accept beyond JSON, and refuse within it.
        const ours = /NaN|Inf|\ufeff/.test(text);
        const refusedByUs = /\d[eE]\+?\d{3}|\\ud|^\s*$/i.test(text);
        if (!ours && !refusedByUs) assert.equal(accepted !== undefined, parsed, JSON.stringify(text));
      }
    });
  }
});

describe("describeJson", () => {
  const cases: readonly (readonly [text: string, shown: string])[] = [
    ["[1, 2.0, -0, -0.0, 1e2, 1e30, 1e-7, 0.5]", "[1, 2.0, 0, -0.0, 100.0, 1e30, 1e-7, 0.5]"],
    ["[18446744073709551615, -9223372036854775808]", "[18446744073709551615, -9223372036854775808]"],
    ["[NaN, -Infinity]", "[NaN, -Infinity]"],
    ["[]", "[]"],
    ["{}", "{}"],
    ['{"a":[1,{"b":2}],"c":{}}', '{\n    "a": [1, {\n            "b": 2\n        }],\n    "c": {}\n}'],
    ['"\\u001f\\n\\u00e9\\/"', '"\\u001F\\né/"'],
  ];
  for (const [text, shown] of cases) {
    it(`shows ${text}`, () => {
      const reader = read(text);
      assert.equal(describeJson(reader.text, reader.rootStart), shown);
    });
  }

  it("begins no token beyond 256 bytes, and cuts long strings", () => {
    const numbers = read(`[${"1000, ".repeat(1000)}1]`);
    assert.equal(describeJson(numbers.text, numbers.rootStart), `[${"1000, ".repeat(42)}1000`);
    for (const length of [300, 3000, 300_000]) {
      const string = read(`["${"ä".repeat(length)}"]`);
      assert.ok(Buffer.byteLength(describeJson(string.text, string.rootStart)) <= 256 + 64);
    }
  });
});
