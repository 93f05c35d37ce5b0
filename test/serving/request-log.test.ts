import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { ConfiguredModel } from "../../src/serving/model-config.js";
import { RequestLogs, type RequestLogsOptions } from "../../src/serving/request-log.js";
import { readRecords } from "../../src/serving/tf-record.js";
import { type Code, codeName } from "../../src/status.js";
import { FakeClock } from "../support/fake-clock.js";
import { LogRecorder } from "../support/log-recorder.js";

let folder: string;
let told: string[];
let log: LogRecorder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onnxd-request-log-"));
  told = [];
  log = new LogRecorder();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const logs = (options: Partial<RequestLogsOptions> = {}) =>
  new RequestLogs({
    clock: new FakeClock(),
    logger: log,
    onRecord: (model: string, code: Code) => told.push(`${model} ${codeName(code)}`),
    ...options,
  });
const model = (name: string, samplingRate: number, filenamePrefix = join(folder, "logs", name)): ConfiguredModel => ({
  name,
  basePath: "/m",
  platform: "onnx",
  versionPolicy: { kind: "all" },
  versionLabels: new Map(),
  loggingConfig: {
    logCollectorConfig: { type: "file", filenamePrefix },
    samplingConfig: { samplingRate, attributes: 0, perTaskSamplingConfigs: [] },
  },
});
const read = async (name: string) => {
  const directory = join(folder, "logs");
  const files = readdirSync(directory).filter((file) => file.startsWith(`${name}-`));
  const records: string[][] = [];
  for (const file of files.sort()) {
    const inFile: string[] = [];
    for await (const record of readRecords(join(directory, file))) inFile.push(record.toString());
    records.push(inFile);
  }
  return records;
};

describe("a request log", () => {
  it("samples at the model's rate, and models that have one only", () => {
    let dice = 0;
    const all = logs({ random: () => dice });
    all.configure([model("m", 0.25), { ...model("plain", 1), loggingConfig: undefined }]);
    const sampled = [0, 0.2499, 0.25, 0.99].map((value) => {
      dice = value;
      return all.sample("m") !== undefined;
    });
    assert.deepEqual(sampled, [true, true, false, false]);
    dice = 0;
    assert.equal(all.sample("plain"), undefined);
    assert.equal(all.sample("unknown"), undefined);
  });

  it("is on disk, in order, once closed", async () => {
    const all = logs();
    all.configure([model("m", 1)]);
    for (let i = 0; i < 100; i++) all.sample("m")!.write(Buffer.from(`record ${i}`));
    await all.close();
    assert.deepEqual(await read("m"), [Array.from({ length: 100 }, (_, i) => `record ${i}`)]);
    assert.deepEqual(told, new Array(100).fill("m OK"));
    assert.equal(all.sample("m"), undefined);
  });

  it("goes on in another file when one is full, and survives a configuration that keeps its prefix", async () => {
    const all = logs({ maxFileBytes: 60 });
    all.configure([model("m", 1)]);
    all.sample("m")!.write(Buffer.from("a".repeat(20)));
    all.configure([model("m", 0.5)]);
    all.configure([model("m", 1)]);
    for (const letter of "bcd") all.sample("m")!.write(Buffer.from(letter.repeat(20)));
    await all.close();
    assert.deepEqual(
      (await read("m")).map((records) => records.map((text) => text[0])),
      [
        ["a", "b"],
        ["c", "d"],
      ],
    );
  });

  it("drops what the disk does not take in time, and counts it", async () => {
    const all = logs({ maxQueuedBytes: 25 });
    all.configure([model("m", 1)]);
    for (const text of ["first 10 b", "second 10b", "third is dropped"]) all.sample("m")!.write(Buffer.from(text));
    await all.close();
    assert.deepEqual(await read("m"), [["first 10 b", "second 10b"]]);
    assert.deepEqual(told.sort(), ["m OK", "m OK", "m RESOURCE_EXHAUSTED"]);
  });

  it("says beforehand that it has no room, so that a record need not be made", async () => {
    const all = logs({ maxQueuedBytes: 25 });
    all.configure([model("m", 1)]);
    const log = all.sample("m")!;
    assert.deepEqual([log.hasRoom(25), log.hasRoom(26)], [true, false]);
    log.write(Buffer.from("twenty bytes of this"));
    assert.equal(log.hasRoom(10), false);
    await all.close();
    assert.deepEqual(told.sort(), ["m OK", "m RESOURCE_EXHAUSTED", "m RESOURCE_EXHAUSTED"]);
  });

  it("that cannot be written says so once, and counts every record", async () => {
    const all = logs();
    // A file lies where a directory would have to.
    all.configure([model("m", 1), model("n", 1, join(process.execPath, "below"))]);
    all.sample("n")!.write(Buffer.from("a"));
    all.sample("n")!.write(Buffer.from("b"));
    await all.close();
    assert.deepEqual(told, ["n DATA_LOSS", "n DATA_LOSS"]);
    assert.equal(log.of("error").length, 1);
  });
});
