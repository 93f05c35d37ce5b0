import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { frameRecord, maskedCrc32c, readRecords } from "../../src/serving/tf-record.js";
import { rejectsWith } from "../support/rejects-with.js";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "onnxd-records-"));
});
after(() => rmSync(folder, { recursive: true }));

const file = (bytes: Uint8Array) => {
  const path = join(folder, "records");
  writeFileSync(path, bytes);
  return path;
};
const readAll = async (path: string) => {
  const records: string[] = [];
  for await (const record of readRecords(path)) records.push(record.toString());
  return records;
};

describe("TFRecord", () => {
  it("has the checksum of its definition", () => {
    // CRC32C of "123456789" is 0xe3069283.
    const mask = (crc: number) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    assert.equal(maskedCrc32c(Buffer.from("123456789")), mask(0xe3069283));
    assert.equal(maskedCrc32c(new Uint8Array(32)), mask(0x8a9136aa));
  });

  it("reads what was framed, and nothing in an empty file", async () => {
    const frames = ["one", "", "größer"].map((text) => frameRecord(Buffer.from(text)));
    assert.deepEqual(await readAll(file(Buffer.concat(frames))), ["one", "", "größer"]);
    assert.deepEqual(await readAll(file(Buffer.alloc(0))), []);
  });

  it("refuses a record that is damaged anywhere or cut off, and says where it begins", async () => {
    const first = frameRecord(Buffer.from("one"));
    const both = Buffer.concat([first, frameRecord(Buffer.from("two"))]);
    for (let at = first.length; at < both.length; at++) {
      const damaged = Buffer.from(both);
      damaged[at]! ^= 1;
      await rejectsWith("DATA_LOSS", new RegExp(`^corrupted record at ${first.length}$`), () => readAll(file(damaged)));
      if (at === first.length) continue;
      const cut = both.subarray(0, at);
      await rejectsWith("DATA_LOSS", new RegExp(`^truncated record at ${first.length}$`), () => readAll(file(cut)));
    }
  });
});
