// The repository on the real runtime: what the doubles stand for elsewhere.
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import type { Signature } from "../../src/onnx/index.js";
import { type CountedModelRuntime, createModelRuntime } from "../../src/runtime/index.js";
import {
  createModelRepository,
  type FileSystemModelRepository,
  modelConfig,
  predict,
  type TensorSource,
} from "../../src/serving/index.js";
import { silentLogger } from "../../src/telemetry/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { ModelFolder } from "../support/model-folder.js";
import { rejectsWith } from "../support/rejects-with.js";
import { affineModel, floatTensor, int64Tensor, severalInputsModel } from "../support/test-models.js";

const given = (tensor: Tensor): TensorSource => ({ ...tensor, invalid: undefined, decode: () => tensor });

describe("a repository on the real runtime", () => {
  let folder: ModelFolder;
  let runtime: CountedModelRuntime;
  let repository: FileSystemModelRepository;
  before(() => {
    folder = new ModelFolder();
    runtime = createModelRuntime({}, { logger: silentLogger, clock: systemClock });
    // Looks when the test says so; a failed load waits for its files to change and for nothing else.
    repository = createModelRepository(
      { fileSystemPollWaitSeconds: -1, fileQuietPeriodMs: 0, maxNumLoadRetries: 0, batching: {} },
      { runtime },
    );
    repository.start({
      kind: "model_config_list",
      models: ["affine", "renamed"].map((name) => modelConfig({ name, basePath: folder.basePath(name) })),
    });
  });
  after(async () => {
    await repository.close();
    assert.deepEqual(runtime.stats().models, []);
    // A thread that has released its session may still be on its way out.
    await runtime.close();
    assert.deepEqual(runtime.stats(), { threads: [], models: [] });
    folder[Symbol.dispose]();
  });

  const ended = (name: string, version: bigint, state: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        const status = repository.getModel(name)?.versions.find((each) => each.version === version);
        if (status?.state !== state) return;
        undo();
        resolve();
      };
      const undo = repository.onStateChange(look);
      look();
    });
  const call = (name: string, inputs: Record<string, Tensor>, signatureName = "", outputFilter: string[] = []) =>
    predict(
      repository,
      {
        modelSpec: { name, signatureName },
        inputs: (_: Signature) => new Map(Object.entries(inputs).map(([alias, tensor]) => [alias, given(tensor)])),
        outputFilter,
      },
      neverCancelled,
    );

  it("serves a model that arrives in pieces once it is whole, and the old one until then", async () => {
    folder.publish("affine", 1, affineModel(2, 1));
    await repository.poll();
    await ended("affine", 1n, "AVAILABLE");

    const bytes = affineModel(3, 0);
    const path = join(folder.basePath("affine"), "2", "model.onnx");
    mkdirSync(join(path, ".."));
    writeFileSync(path, "");
    const cuts = [1, 10, Math.floor(bytes.length / 2), bytes.length - 1];
    let written = 0;
    for (const cut of cuts) {
      appendFileSync(path, bytes.subarray(written, cut));
      written = cut;
      await repository.poll();
      await ended("affine", 2n, "END");
      const { servableId, outputs } = await call("affine", { x: floatTensor([2, 1], 1, 2) });
      assert.equal(servableId.version, 1n);
      assert.deepEqual(outputs.get("y")!.data, Float32Array.of(3, 5));
    }
    appendFileSync(path, bytes.subarray(written));
    // More than one look: the first may come while the last attempt is under way.
    while (repository.getModelStatus("affine", 2n)[0]!.state !== "AVAILABLE") await repository.poll();
    assert.deepEqual((await call("affine", { x: floatTensor([1, 1], 5) })).outputs.get("y")!.data, Float32Array.of(15));
    await ended("affine", 1n, "END");
  });

  it("gives many calls at once the answers that each would get alone", async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        call("affine", { x: floatTensor([1 + (i % 3), 1], ...[i, i + 1, i + 2].slice(0, 1 + (i % 3))) }),
      ),
    );
    for (const [i, { outputs }] of answers.entries()) {
      const expected = [i, i + 1, i + 2].slice(0, 1 + (i % 3)).map((x) => 3 * x);
      assert.deepEqual([...(outputs.get("y")!.data as Float32Array)], expected);
    }
    assert.equal(repository.openHandles, 0);
  });

  it("calls tensors by the names of signature_defs.pbtxt, fills in defaults, and computes what is asked for", async () => {
    const version = join(folder.basePath("renamed"), "1");
    mkdirSync(version);
    writeFileSync(join(version, "model.onnx"), severalInputsModel());
    writeFileSync(
      join(version, "signature_defs.pbtxt"),
      `signature_def { key: "minus" value {
        inputs { key: "left" value { name: "a:0" dtype: DT_FLOAT } }
        inputs { key: "right" value { name: "b" tensor_shape { dim { size: -1 } dim { size: 2 } } } }
        inputs { key: "ids" value { name: "ids" } }
        outputs { key: "difference" value { name: "difference" } }
        outputs { key: "kept" value { name: "ids_out" } }
        defaults { key: "ids" value { dtype: DT_INT64 tensor_shape { dim { size: 1 } } int64_val: 9007199254740993 } }
      } }`,
    );
    await repository.poll();
    await ended("renamed", 1n, "AVAILABLE");
    const left = () => floatTensor([1, 2], 5, 6);
    const right = () => floatTensor([1, 2], 1, 1);
    for (let i = 0; i < 3; i++) {
      const { outputs } = await call("renamed", { left: left(), right: right() }, "minus");
      assert.deepEqual([...outputs.keys()], ["difference", "kept"]);
      assert.deepEqual(outputs.get("difference")!.data, Float32Array.of(4, 5));
      assert.deepEqual(outputs.get("kept")!.data, BigInt64Array.of(9007199254740993n));
    }
    const { outputs } = await call("renamed", { left: left(), right: right(), ids: int64Tensor([1], 3) }, "minus", [
      "kept",
    ]);
    assert.deepEqual([...outputs.keys()], ["kept"]);
    await rejectsWith("INVALID_ARGUMENT", /dimension 0 \(batch\) expected 1, as in input left; got 2/, () =>
      call("renamed", { left: left(), right: floatTensor([2, 2], 1, 1, 1, 1) }, "minus"),
    );
    await rejectsWith("FAILED_PRECONDITION", /^Serving signature key "serving_default" not found\.$/, () =>
      call("renamed", { left: left(), right: right() }),
    );
  });
});
