import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { neverCancelled } from "../../../src/cancellation.js";
import type { BatchingOptions } from "../../../src/runtime/index.js";
import { OnnxLoader } from "../../../src/serving/lifecycle/onnx-loader.js";
import { silentLogger } from "../../../src/telemetry/index.js";
import { FakeClock } from "../../support/fake-clock.js";
import { ModelFolder } from "../../support/model-folder.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { TextModelRuntime, textModel } from "../../support/text-model-runtime.js";

let folder: ModelFolder;
let runtime: TextModelRuntime;
let version: string;
beforeEach(() => {
  folder = new ModelFolder();
  runtime = new TextModelRuntime();
  version = join(folder.basePath("m"), "1");
  mkdirSync(version);
});
afterEach(() => folder[Symbol.dispose]());

const put = (name: string, text = textModel(2)) => writeFileSync(join(version, name), text);
const loader = (batching?: Partial<BatchingOptions>) =>
  new OnnxLoader({ name: "m", version: 1n }, version, {
    runtime,
    clock: new FakeClock(),
    fileQuietPeriodMs: 0,
    sessionOptions: { poolSize: 3, maxQueue: 7 },
    batching,
    logger: silentLogger,
  });
const load = () => loader().load(neverCancelled);

describe("the ONNX loader", () => {
  const found: readonly (readonly string[])[] = [
    ["model.onnx"],
    ["classifier.onnx"],
    ["classifier.ort"],
    ["model.onnx", "other.onnx", "third.ort"],
    ["model.onnx", "model.onnx.data", "README.md"],
    ["classifier.onnx", ".classifier.onnx.Xy12", ".hidden.onnx"],
  ];
  for (const names of found) {
    it(`finds the model among ${names.join(", ")}`, async () => {
      for (const name of names) put(name, name === names[0] ? textModel(2) : "not this one");
      const { servable } = await load();
      assert.deepEqual(servable.id, { name: "m", version: 1n });
      assert.deepEqual([...servable.signatures.keys()], ["serving_default", "regress"]);
      assert.deepEqual(runtime.attempts, ["m/1"]);
    });
  }

  it("says what is wrong where there is no one model", async () => {
    await rejectsWith("NOT_FOUND", /m\/1 has no model\.onnx, nor any \.onnx or \.ort file; it is empty$/, load);
    put("weights.bin");
    put("notes.txt");
    await rejectsWith("NOT_FOUND", /it holds notes\.txt, weights\.bin$/, load);
    put("saved_model.pb");
    await rejectsWith("INVALID_ARGUMENT", /holds a TensorFlow SavedModel; onnxd serves ONNX models/, load);
    put("a.onnx");
    put("b.ort");
    await rejectsWith("INVALID_ARGUMENT", /holds a\.onnx, b\.ort; one must be named model\.onnx/, load);
  });

  it("says so when the version is a file, or gone", async () => {
    put("7");
    version = join(version, "7");
    await rejectsWith(
      "INVALID_ARGUMENT",
      /7 is not a directory; a version is a directory with a model\.onnx in it/,
      load,
    );
    version = join(folder.path, "m", "9");
    await rejectsWith("NOT_FOUND", /ENOENT.*m\/9/, load);
  });

  it("passes on what the runtime says of the file", async () => {
    put("model.onnx", "y = 2 *");
    await rejectsWith("INTERNAL", /model\.onnx is truncated after 7 bytes/, load);
  });

  it("takes signatures from signature_defs.pbtxt", async () => {
    put("model.onnx");
    put(
      "signature_defs.pbtxt",
      'signature_def { key: "halve" value { inputs { key: "in" value { name: "x:0" } } outputs { key: "out" value { name: "y" } } } }',
    );
    const { servable } = await load();
    assert.deepEqual([...servable.signatures.keys()], ["halve"]);
    assert.equal(servable.signatures.get("halve")!.inputs.get("in")!.name, "x");
  });

  it("refuses a signature file that the schema does not know before it loads anything", async () => {
    put("model.onnx");
    put("signature_defs.pbtxt", "signatures {}");
    await rejectsWith("INVALID_ARGUMENT", /signature_defs\.pbtxt': Error parsing text-format .* 1:1: /, load);
    assert.deepEqual(runtime.attempts, []);
  });

  it("gives the session back when the signatures do not fit the graph", async () => {
    put("model.onnx");
    put("signature_defs.pbtxt", 'signature_def { key: "k" value { outputs { key: "y" value { name: "y" } } } }');
    await rejectsWith("INVALID_ARGUMENT", /signature "k": no input feeds x of the graph/, load);
    assert.equal(runtime.live, 0);
  });

  it("runs a model as the server, its base path and its version say, the nearest first", async () => {
    put("model.onnx");
    writeFileSync(join(folder.path, "m", "session_options.pbtxt"), "pool_size: 2 intra_op_threads: 4");
    put("session_options.pbtxt", "intra_op_threads: 1 # this version only");
    await load();
    assert.deepEqual(runtime.options.get("m/1"), { poolSize: 2, intraOpThreads: 1, maxQueue: 7 });
  });

  it("refuses session options that it does not know, or that are out of range", async () => {
    put("model.onnx");
    put("session_options.pbtxt", "pool_size: 2\nthreads: 3");
    await rejectsWith(
      "INVALID_ARGUMENT",
      /session_options\.pbtxt': Error parsing text-format onnxd\.SessionOptions: 2:1: Message type "onnxd\.SessionOptions" has no field named "threads"/,
      load,
    );
    put("session_options.pbtxt", "pool_size: 0");
    await rejectsWith(
      "INVALID_ARGUMENT",
      /session_options\.pbtxt: pool_size must be a whole number from 1 to 256; got 0/,
      load,
    );
    assert.deepEqual(runtime.attempts, []);
  });

  it("batches only where it may and where that is proven safe, and says why", async () => {
    put("model.onnx");
    assert.deepEqual((await load()).batching, { enabled: false, reason: "batching is turned off" });
    runtime.batching = { provenSafe: false, reason: "node Softmax mixes rows" };
    assert.deepEqual((await loader({}).load(neverCancelled)).batching, {
      enabled: false,
      reason: "node Softmax mixes rows",
    });
    runtime.batching = { provenSafe: true, reason: "all rows are independent" };
    assert.deepEqual((await loader({}).load(neverCancelled)).batching, {
      enabled: true,
      reason: "all rows are independent",
    });
  });

  it("has a fingerprint that session options in the base path are part of", async () => {
    put("model.onnx");
    const subject = loader();
    const before = await subject.look();
    assert.deepEqual(before, { fingerprint: await subject.filesAtRest(neverCancelled), atRest: true });
    writeFileSync(join(folder.path, "m", "session_options.pbtxt"), "pool_size: 2");
    assert.notEqual((await subject.look()).fingerprint, before.fingerprint);
  });
});
