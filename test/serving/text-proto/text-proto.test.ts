import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { textProto } from "../../../src/serving/index.js";
import { StatusError } from "../../../src/status.js";

const {
  bool,
  bytes,
  double,
  enumeration,
  float,
  int32,
  int64,
  mapOf,
  message,
  optional,
  readTextProto,
  repeated,
  singular,
  string,
  uint32,
  uint64,
} = textProto;

const int64Value = message("google.protobuf.Int64Value", { value: singular(int64) });
const leaf = message("test.Leaf", { name: singular(string), size: optional(int64Value) });
const everything = message(
  "test.Everything",
  {
    text: singular(string),
    raw: singular(bytes),
    flag: singular(bool),
    small: singular(int32),
    natural: singular(uint32),
    large: singular(int64),
    huge: singular(uint64),
    real: singular(double),
    single: singular(float),
    color: singular(enumeration("test.Color", { NONE: 0, RED: 1 })),
    maybe: optional(int32),
    leaf: optional(leaf),
    numbers: repeated(int32),
    texts: repeated(string),
    leaves: repeated(leaf),
    labels: mapOf("test.Everything.LabelsEntry", string, int64),
    one: optional(string),
    other: optional(string),
  },
  { choice: ["one", "other"] },
);

const read = (text: string) => readTextProto(text, everything, "f.pbtxt");
const faultOf = (text: string): string => {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    const prefix = "Invalid protobuf file: 'f.pbtxt': Error parsing text-format test.Everything: ";
    assert.ok(error.message.startsWith(prefix), error.message);
    return error.message.slice(prefix.length);
  }
  return "read without complaint";
};

describe("protobuf's text format", () => {
  it("reads an empty text as a message of zeros", () => {
    for (const text of ["", "  \n\t", "# only a comment", "# two\n# comments\n"]) {
      const { text: empty, raw, flag, large, maybe, leaf: none, numbers, labels } = read(text);
      assert.deepEqual(
        [empty, raw.length, flag, large, maybe, none, numbers, labels.size],
        ["", 0, false, 0n, undefined, undefined, [], 0],
      );
    }
  });

  const accepted: readonly [string, string, Partial<ReturnType<typeof read>>][] = [
    ["a scalar", 'text: "a"', { text: "a" }],
    ["single quotes", "text: 'a\"b'", { text: 'a"b' }],
    ["blanks nowhere", 'text:"a"small:1', { text: "a", small: 1 }],
    ["blanks everywhere", "small\n:\n\t- \n 1", { small: -1 }],
    ["commas and semicolons behind fields", "small: 1, natural: 2; large: 3", { small: 1, natural: 2, large: 3n }],
    ["comments to the end of the line", "# before\nsmall: 1 # behind\n# after", { small: 1 }],
    ["no comment in a string", 'text: "a # b"', { text: "a # b" }],
    ["adjacent strings as one", 'text: "a" \'b\'\n"c"', { text: "abc" }],
    ["escapes", String.raw`text: "\n\t\r\\\'\"\?\a\b\f\v"`, { text: "\n\t\r\\'\"?\x07\b\f\v" }],
    [
      "octal and hexadecimal escapes",
      String.raw`raw: "\0\12\377\x4f\xFf"`,
      { raw: Uint8Array.of(0, 10, 255, 79, 255) },
    ],
    ["unicode escapes", String.raw`text: "\u00e9\U0001F600"`, { text: "é😀" }],
    ["surrogate pairs as two escapes", String.raw`text: "\ud83d\ude00"`, { text: "😀" }],
    ["UTF-8 byte by byte", String.raw`text: "\303\251"`, { text: "é" }],
    ["text that is not ASCII", 'text: "é😀"', { text: "é😀" }],
    [
      "decimal, octal and hexadecimal integers",
      "small: 10 natural: 010 large: 0x10",
      { small: 10, natural: 8, large: 16n },
    ],
    ["negative integers", "small: -2147483648 large: -9223372036854775808", { small: -(2 ** 31), large: -(2n ** 63n) }],
    [
      "the largest integers",
      "natural: 4294967295 huge: 18446744073709551615",
      { natural: 2 ** 32 - 1, huge: 2n ** 64n - 1n },
    ],
    ["floats in all spellings", "numbers: 1 real: 1.5e-3", { real: 0.0015 }],
    ["a float with an f", "real: 1.5f single: 2F", { real: 1.5, single: 2 }],
    ["a float without digits in front or behind", "real: .5 single: 5.", { real: 0.5, single: 5 }],
    ["an integer as a float", "real: 3", { real: 3 }],
    ["an integer of any length as a float", `real: 1${"0".repeat(300)}`, { real: 1e300 }],
    ["infinity", "real: -inf single: Infinity", { real: -Infinity, single: Infinity }],
    ["not a number", "real: nan", { real: Number.NaN }],
    ["floats rounded to single precision", "single: 0.1", { single: Math.fround(0.1) }],
    ["booleans", "flag: true", { flag: true }],
    ["booleans as digits", "flag: 1", { flag: true }],
    ["booleans as letters", "flag: t", { flag: true }],
    ["enums by name", "color: RED", { color: 1 }],
    ["enums by number", "color: 1", { color: 1 }],
    ["enums by a number without a name", "color: 7", { color: 7 }],
    ["lists", "numbers: [1, -2, 0x3]", { numbers: [1, -2, 3] }],
    ["empty lists", "numbers: []", { numbers: [] }],
    ["repeated fields", "numbers: 1 small: 5 numbers: 2", { numbers: [1, 2], small: 5 }],
    ["lists and repeated fields together", "numbers: [1, 2] numbers: 3", { numbers: [1, 2, 3] }],
    ["lists of strings, adjacent ones too", 'texts: ["a" "b", "c"]', { texts: ["ab", "c"] }],
    ["a message", 'leaf { name: "a" }', { leaf: { name: "a", size: undefined } }],
    ["a message with a colon", 'leaf: { name: "a" }', { leaf: { name: "a", size: undefined } }],
    ["a message in angle brackets", 'leaf < name: "a" >', { leaf: { name: "a", size: undefined } }],
    ["a message in angle brackets with a colon", 'leaf: < name: "a", >', { leaf: { name: "a", size: undefined } }],
    ["an empty message", "leaf {}", { leaf: { name: "", size: undefined } }],
    ["a wrapper", "leaf { size { value: 128 } }", { leaf: { name: "", size: { value: 128n } } }],
    ["a wrapper around zero", "leaf { size {} }", { leaf: { name: "", size: { value: 0n } } }],
    [
      "a list of messages",
      "leaves [{ name: 'a' }, < name: 'b' >]",
      {
        leaves: [
          { name: "a", size: undefined },
          { name: "b", size: undefined },
        ],
      },
    ],
    [
      "map entries",
      "labels { key: 'a' value: 1 } labels: { value: 2, key: 'b' }",
      {
        labels: new Map([
          ["a", 1n],
          ["b", 2n],
        ]),
      },
    ],
    ["map entries without key or value", "labels {}", { labels: new Map([["", 0n]]) }],
    [
      "the last of map entries with one key",
      "labels { key: 'a' value: 1 } labels { key: 'a' value: 2 }",
      { labels: new Map([["a", 2n]]) },
    ],
    [
      "__proto__ as a key like any other",
      "labels { key: '__proto__' value: 1 }",
      { labels: new Map([["__proto__", 1n]]) },
    ],
    ["Windows' line ends", 'small: 1\r\ntext: "a"\r\n', { small: 1, text: "a" }],
  ];
  for (const [what, text, expected] of accepted) {
    it(`reads ${what}`, () => {
      const message = read(text) as Record<string, unknown>;
      for (const [field, value] of Object.entries(expected)) assert.deepEqual(message[field], value);
    });
  }

  const refused: readonly [string, string, string][] = [
    ["an unknown field", 'text: "a"\n  nome: 1', '2:3: Message type "test.Everything" has no field named "nome".'],
    ["an unknown field in a message", "leaf {\n  foo {} }", '2:3: Message type "test.Leaf" has no field named "foo".'],
    [
      "a field named as Object's own",
      "constructor: 1",
      '1:1: Message type "test.Everything" has no field named "constructor".',
    ],
    ["__proto__ as a field", "__proto__ { }", '1:1: Message type "test.Everything" has no field named "__proto__".'],
    [
      "an expanded Any",
      "[type.googleapis.com/test.Leaf] { }",
      '1:1: Extensions and expanded Any messages are not supported: "[type.googleapis.com/test.Leaf]" in "test.Everything".',
    ],
    ["a field twice", "small: 1\nsmall: 2", '2:1: Non-repeated field "small" is specified multiple times.'],
    ["a message twice", "leaf {} leaf {}", '1:9: Non-repeated field "leaf" is specified multiple times.'],
    ["a list where there is one value", "small: [1]", '1:1: Non-repeated field "small" is specified multiple times.'],
    [
      "two of a oneof",
      "one: 'a' other: 'b'",
      '1:10: Field "other" is specified along with field "one", another member of oneof "choice".',
    ],
    ["a scalar without a colon", 'text "a"', '1:6: Expected ":", got a string.'],
    ["a field without a value", "small:", "1:7: Expected a value, got end of file."],
    ["a field without a name", ": 1", '1:1: Expected identifier, got ":".'],
    ["a number as a name", "1: 1", '1:1: Expected identifier, got "1".'],
    ["a message that is not closed", "leaf {", '1:7: Expected "}", got end of file.'],
    ["a message closed with the other bracket", "leaf { >", '1:8: Expected identifier, got ">".'],
    ["a bracket too many", "leaf { } }", '1:10: Expected identifier, got "}".'],
    ["a list that is not closed", "numbers: [1, 2", '1:15: Expected ",", got end of file.'],
    ["a list with a comma too many", "numbers: [1,]", '1:13: Expected a value, got "]".'],
    ["a list without commas", "numbers: [1 2]", '1:13: Expected ",", got "2".'],
    ["a string over two lines", 'text: "a\nb"', "1:9: String literals cannot cross line boundaries."],
    ["a string that is not closed", 'small: 1\ntext: "a', "2:7: Unexpected end of string."],
    ["an unknown escape", String.raw`text: "\q"`, "1:8: Invalid escape sequence in string literal."],
    ["an octal escape beyond a byte", String.raw`text: "\777"`, "1:8: Invalid escape sequence in string literal."],
    ["half of a surrogate pair", String.raw`text: "\ud83d"`, "1:8: Invalid escape sequence in string literal."],
    ["a character beyond Unicode", String.raw`text: "\U00110000"`, "1:8: Invalid escape sequence in string literal."],
    ["bytes that are no text", String.raw`text: "\377"`, "1:7: String is not valid UTF-8."],
    ["text where a number is due", "small: '1'", "1:8: Expected integer, got a string."],
    ["a number where text is due", "text: 1", "1:7: Expected string, got 1."],
    ["a word where text is due", "text: a", "1:7: Expected string, got a."],
    ["a fraction where an integer is due", "small: 1.0", "1:8: Expected integer, got 1.0."],
    ["a message where a number is due", "small { }", "1:7: Expected integer, got a message."],
    ["a number where a message is due", "leaf: 1", "1:7: Expected a message, got 1."],
    ["a number that is too large", "small: 2147483648", "1:8: Integer out of range (2147483648)."],
    ["a number that is too small", "small: -2147483649", "1:8: Integer out of range (-2147483649)."],
    ["a negative natural number", "natural: -1", "1:10: Integer out of range (-1)."],
    [
      "a number of a million digits",
      `large: ${"9".repeat(1_000_000)}`,
      `1:8: Integer out of range (${"9".repeat(40)}…).`,
    ],
    ["an octal number with a 9", "small: 09", "1:8: Numbers starting with leading zero must be in octal."],
    ["a number and a name in one", "small: 12abc", "1:8: Need space between number and identifier."],
    ["a word as a number", "real: half", "1:7: Expected double, got half."],
    ["a boolean of another kind", "flag: yes", '1:7: Expected "true" or "false", got yes.'],
    ["a number other than 0 and 1 as a boolean", "flag: 2", '1:7: Expected "true" or "false", got 2.'],
    ["an unknown name of an enum", "color: BLUE", '1:8: Unknown enumeration value of "BLUE" for "test.Color".'],
    ["text as an enum", "color: 'RED'", "1:8: Expected integer or identifier, got a string."],
    [
      "an unknown field in a map's entry",
      "labels { kay: 'a' }",
      '1:10: Message type "test.Everything.LabelsEntry" has no field named "kay".',
    ],
    ["messages a thousand deep", "leaf {".repeat(1000), "1:390: Messages are nested deeper than 64."],
    ["a character that means nothing", "small: 1 @", '1:10: Expected identifier, got "@".'],
    ["a NUL", "small: \0", '1:8: Expected a value, got "\0".'],
  ];
  for (const [what, text, expected] of refused) {
    it(`refuses ${what}`, () => assert.equal(faultOf(text), expected));
  }

  it("reads megabytes of anything in linear time and without a deep stack", () => {
    assert.equal(read(`text: "${"a".repeat(4_000_000)}"`).text.length, 4_000_000);
    assert.equal(read("# c\n".repeat(1_000_000)).small, 0);
    assert.equal(read("numbers: 1 ".repeat(300_000)).numbers.length, 300_000);
    assert.equal(read(`${" ".repeat(4_000_000)}small: 1`).small, 1);
    assert.match(faultOf("[".repeat(1_000_000)), /^1:2: Expected identifier/);
    assert.match(faultOf(`${"\n".repeat(1_000_000)}x`), /^1000001:2: Expected ":"/);
  });

  it("counts columns from the start of the line, comments and strings included", () => {
    assert.equal(faultOf('# one\n# two\n   text: "a b" # three\n  , oops'), '4:9: Expected ":", got end of file.');
  });
});
