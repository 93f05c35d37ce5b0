import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { listVersions, nextVersion, publishVersion } from "../../src/serving/index.js";
import { parseVersion } from "../../src/serving/version-directory.js";
import { ModelFolder } from "../support/model-folder.js";
import { rejectsWith } from "../support/rejects-with.js";

let folder: ModelFolder;
let base: string;
beforeEach(() => {
  folder = new ModelFolder();
  base = folder.basePath("m");
});
afterEach(() => folder[Symbol.dispose]());

describe("the name of a version's directory", () => {
  const table: readonly [string, bigint | undefined][] = [
    ["0", 0n],
    ["1", 1n],
    ["00000123", 123n],
    ["20170111173521", 20170111173521n],
    ["+7", 7n],
    ["-7", -7n],
    [" 7 ", 7n],
    ["9223372036854775807", 2n ** 63n - 1n],
    ["00000000000000000000000000000000000001", 1n],
    ["-9223372036854775808", -(2n ** 63n)],
    ["9223372036854775808", undefined],
    ["99999999999999999999", undefined],
    ["", undefined],
    [" ", undefined],
    ["-", undefined],
    ["1 2", undefined],
    ["- 1", undefined],
    ["1.0", undefined],
    ["1e3", undefined],
    ["0x1", undefined],
    ["1_000", undefined],
    ["2.denied", undefined],
    ["tmp", undefined],
    ["1.tmp", undefined],
    ["\u0661", undefined],
  ];
  for (const [name, version] of table) {
    it(`${JSON.stringify(name)} ${version === undefined ? "is none" : `means ${version}`}`, () => {
      assert.equal(parseVersion(name), version);
    });
  }
});

describe("listing versions", () => {
  it("gives directories and files named by a number, in the order of their names' bytes", async () => {
    for (const name of ["10", "9", "001", "1", "tmp", ".publishing-1", "-3"]) mkdirSync(join(base, name));
    writeFileSync(join(base, "7"), "");
    assert.deepEqual(await listVersions(base), [
      { version: -3n, name: "-3" },
      { version: 1n, name: "001" },
      { version: 1n, name: "1" },
      { version: 10n, name: "10" },
      { version: 7n, name: "7" },
      { version: 9n, name: "9" },
    ]);
  });

  it("says why it cannot", async () => {
    await rejectsWith("NOT_FOUND", /ENOENT.*nowhere/, () => listVersions(join(base, "nowhere")));
    writeFileSync(join(base, "file"), "");
    await rejectsWith("NOT_FOUND", /ENOTDIR.*file/, () => listVersions(join(base, "file")));
  });

  it("leads to the next version", () => {
    const next = (...versions: bigint[]) => nextVersion(versions.map((version) => ({ version, name: `${version}` })));
    assert.deepEqual([next(), next(0n), next(1n, 7n, 3n), next(-5n)], [1n, 1n, 8n, 1n]);
    const last = 2n ** 63n - 1n;
    assert.throws(() => next(3n, last), new RegExp(`version ${last} already, and no number after it`));
  });
});

describe("publishing a version", () => {
  const writeModel = async (directory: string) => {
    mkdirSync(join(directory, "assets"));
    await writeFile(join(directory, "model.onnx"), "model");
    await writeFile(join(directory, "assets", "labels"), "labels");
  };

  it("makes it appear whole, under the next number, in a base path that need not be there", async () => {
    const fresh = join(base, "deep", "model");
    assert.deepEqual(await publishVersion(fresh, undefined, writeModel), { version: 1n, path: join(fresh, "1") });
    assert.deepEqual((await publishVersion(fresh, undefined, writeModel)).version, 2n);
    assert.equal(readFileSync(join(fresh, "2", "assets", "labels"), "utf8"), "labels");
    assert.deepEqual(readdirSync(fresh), ["1", "2"]);
  });

  it("shows no version to anyone while it is being written", async () => {
    await publishVersion(base, 5n, async (directory) => {
      await writeModel(directory);
      assert.deepEqual(await listVersions(base), []);
    });
    assert.deepEqual(await listVersions(base), [{ version: 5n, name: "5" }]);
  });

  it("leaves nothing behind when writing fails", async () => {
    const failing = publishVersion(base, undefined, async (directory) => {
      await writeModel(directory);
      throw new Error("no more data");
    });
    await assert.rejects(failing, /no more data/);
    assert.deepEqual(readdirSync(base), []);
  });

  it("refuses a number that is taken, whatever its spelling, and leaves the taken one alone", async () => {
    mkdirSync(join(base, "003"));
    writeFileSync(join(base, "003", "model.onnx"), "old");
    await rejectsWith("ALREADY_EXISTS", /^version 3 exists already in /, () => publishVersion(base, 3n, writeModel));
    assert.deepEqual(readdirSync(base), ["003"]);
    assert.equal(readFileSync(join(base, "003", "model.onnx"), "utf8"), "old");
  });

  it("refuses numbers that are no version", async () => {
    for (const version of [-1n, 2n ** 63n]) {
      await rejectsWith("INVALID_ARGUMENT", /a version is a number from 0 to/, () =>
        publishVersion(base, version, writeModel),
      );
    }
  });

  it("gives publishers at the same time numbers of their own", async () => {
    const published = await Promise.all(Array.from({ length: 8 }, () => publishVersion(base, undefined, writeModel)));
    const versions = published.map(({ version }) => Number(version)).sort((a, b) => a - b);
    assert.deepEqual(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
    for (const { path } of published) assert.equal(readFileSync(join(path, "model.onnx"), "utf8"), "model");
  });

  it("leaves the directory as readable as any other", async () => {
    mkdirSync(join(base, "plain"));
    const { path } = await publishVersion(base, undefined, writeModel);
    assert.equal(statSync(path).mode, statSync(join(base, "plain")).mode);
  });

  it("says why when there is no place for it", async () => {
    writeFileSync(join(base, "file"), "");
    await rejectsWith("ALREADY_EXISTS", /EEXIST.*file/, () =>
      publishVersion(join(base, "file"), undefined, writeModel),
    );
  });
});
