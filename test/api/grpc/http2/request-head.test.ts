import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode, StreamError } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { parseRequestHead, parseTimeout } from "../../../../src/api/grpc/transport/http2/request-head.js";
import { RequestHeads } from "../../../../src/api/grpc/transport/http2/request-heads.js";
import { Code } from "../../../../src/status.js";
import { callFields, literalBlock } from "../../../support/raw-http2-connection.js";

const head = (more: [string, string][] = []) => parseRequestHead(callFields("/s/m", more).flat());

describe("request heads", () => {
  it("tells path, deadline, encoding and metadata of a gRPC call", () => {
    const parsed = head([
      ["grpc-timeout", "250m"],
      ["grpc-encoding", "gzip"],
      ["content-length", "12"],
      ["x-text", "first"],
      ["x-text", "second"],
      ["x-raw-bin", "AP+A"],
      ["x-two-bin", "AQ,Ag=="],
    ]);
    assert.equal(parsed.path, "/s/m");
    assert.equal(parsed.httpStatus, 0);
    assert.equal(parsed.timeoutMs, 250);
    assert.equal(parsed.encoding, "gzip");
    assert.equal(parsed.contentLength, 12);
    assert.equal(parsed.refusal, undefined);
    assert.equal(parsed.metadata.get("x-text"), "first");
    assert.deepEqual(parsed.metadata.get("x-raw-bin"), Buffer.from([0, 255, 128]));
    assert.deepEqual(parsed.metadata.get("x-two-bin"), Buffer.from([1]));
    assert.equal(parsed.metadata.get(":path"), undefined);
    assert.equal(parsed.metadata.get("absent"), undefined);
  });

  it("reads all units of grpc-timeout, and nothing else", () => {
    const timeouts = ["1H", "2M", "3S", "4m", "5u", "6n", "99999999S", "0m"].map(parseTimeout);
    assert.deepEqual(timeouts, [3_600_000, 120_000, 3000, 4, 0.005, 0.000006, 99_999_999_000, 0]);
    for (const wrong of ["", "5", "m", "-1m", "1.5S", "123456789m", "1s", " 1m"])
      assert.equal(parseTimeout(wrong), undefined);
    assert.equal(head([["grpc-timeout", "soon"]]).refusal?.code, Code.INTERNAL);
  });

  it("refuses an encoding that it does not know, naming those it does", () => {
    const { refusal } = head([["grpc-encoding", "snappy"]]);
    assert.equal(refusal?.code, Code.UNIMPLEMENTED);
    assert.match(refusal?.message ?? "", /identity,deflate,gzip.*"snappy"/);
  });

  const contentTypes: readonly (readonly [type: string | undefined, status: number])[] = [
    ["application/grpc", 0],
    ["application/grpc+proto", 0],
    ["application/grpc;charset=utf-8", 0],
    ["application/grpc+json", 415],
    ["application/grpc-web", 415],
    ["application/json", 415],
    [undefined, 415],
  ];
  for (const [type, status] of contentTypes) {
    it(`answers content-type ${type} with ${status === 0 ? "gRPC" : status}`, () => {
      const fields = callFields("/s/m").filter(([name]) => name !== "content-type");
      if (type !== undefined) fields.push(["content-type", type]);
      assert.equal(parseRequestHead(fields.flat()).httpStatus, status);
    });
  }

  it("answers other methods than POST with 405", () => {
    assert.equal(parseRequestHead([":method", "GET", ...callFields("/s/m").flat().slice(2)]).httpStatus, 405);
  });

  const fields = callFields("/s/m");
  const malformed: readonly (readonly [name: string, fields: [string, string][]])[] = [
    ["no method", fields.slice(1)],
    ["no path", fields.filter(([name]) => name !== ":path")],
    ["an empty path", fields.map(([name, value]) => [name, name === ":path" ? "" : value])],
    ["a repeated pseudo-header field", [[":method", "POST"], ...fields]],
    ["a pseudo-header field of responses", [[":status", "200"], ...fields]],
    ["an unknown pseudo-header field", [[":other", ""], ...fields]],
    ["a pseudo-header field after others", [...fields.slice(1), [":method", "POST"]]],
    ["an upper-case name", [...fields, ["X-Name", ""]]],
    ["an empty name", [...fields, ["", "x"]]],
    ["a name with a space", [...fields, ["x name", ""]]],
    ["a line end in a value", [...fields, ["x-name", "a\r\nb"]]],
    ["a NUL in a value", [...fields, ["x-name", "a\0"]]],
    ["a space before a value", [...fields, ["x-name", " a"]]],
    ["a tab after a value", [...fields, ["x-name", "a\t"]]],
    ["connection", [...fields, ["connection", "close"]]],
    ["transfer-encoding", [...fields, ["transfer-encoding", "chunked"]]],
    ["te of something else than trailers", [...fields.slice(0, -1), ["te", "gzip"]]],
    ["a content-length that is no number", [...fields, ["content-length", "1e3"]]],
  ];
  for (const [name, list] of malformed) {
    it(`calls malformed: ${name}`, () => {
      assert.throws(
        () => parseRequestHead(list.flat()),
        (error) => error instanceof StreamError && error.code === ErrorCode.PROTOCOL_ERROR,
      );
    });
  }
});

describe("repeated header blocks", () => {
  const decode = (heads: RequestHeads, block: Buffer) => heads.decode(block, 0, block.length);
  const entering = (name: string, value: string) =>
    Buffer.concat([
      Buffer.from([0x40, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);

  it("are recognised when they cannot have changed anything", () => {
    const heads = new RequestHeads(4096, 65_536);
    const [one, two] = ["/s/one", "/s/two"].map((path) => literalBlock(callFields(path)));
    const first = decode(heads, one!);
    assert.notEqual(decode(heads, two!), first);
    assert.equal(decode(heads, Buffer.from(one!)), first);
    assert.equal((decode(heads, two!) as { path: string }).path, "/s/two");
  });

  it("are decoded anew when the table they refer to has changed", () => {
    const heads = new RequestHeads(4096, 65_536);
    const value = (block: Buffer) => (decode(heads, block) as ReturnType<typeof parseRequestHead>).metadata.get("x-a");
    const base = literalBlock(callFields("/s/m"));
    const newest = Buffer.concat([base, Buffer.from([0xbe])]);
    assert.equal(value(Buffer.concat([base, entering("x-a", "1")])), "1");
    assert.equal(value(newest), "1");
    assert.equal(value(newest), "1");
    assert.equal(value(Buffer.concat([base, entering("x-a", "2")])), "2");
    assert.equal(value(newest), "2");
    assert.equal(value(Buffer.concat([base, entering("x-a", "2")])), "2");
    heads.decodeFields(entering("x-a", "3"), 0, entering("x-a", "3").length); // trailers change it too
    assert.equal(value(newest), "3");
  });

  it("that enter fields are never skipped: the table stays in step", () => {
    const heads = new RequestHeads(4096, 65_536);
    const block = Buffer.concat([literalBlock(callFields("/s/m")), entering("x-a", "1")]);
    for (let call = 0; call < 3; call++) decode(heads, block);
    const third = Buffer.concat([literalBlock(callFields("/s/m")), Buffer.from([0xc0])]);
    assert.notEqual(decode(heads, third), "too large"); // three entries are there; a fourth is not
    assert.throws(() => decode(heads, Buffer.from([0xc1])));
  });

  it("are few: more kinds than are kept are still decoded right", () => {
    const heads = new RequestHeads(4096, 65_536);
    for (let round = 0; round < 3; round++) {
      for (let kind = 0; kind < 20; kind++) {
        const head = decode(heads, literalBlock(callFields(`/s/m${kind}`)));
        assert.equal((head as { path: string }).path, `/s/m${kind}`);
      }
    }
  });
});
