// The models in models/: what the script makes, what the file says, and that they answer as they promise.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readModel } from "../../src/onnx/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { assertTensorClose } from "../support/assert-tensor-close.js";
import { repositoryRoot } from "../support/repository-root.js";
import { runModel } from "../support/run-model.js";
import { floatTensor } from "../support/test-models.js";

const models = join(repositoryRoot, "models");
const made = mkdtempSync(join(tmpdir(), "onnxd-made-"));
after(() => rmSync(made, { recursive: true }));

const run = (model: string, feeds: Record<string, Tensor>) => runModel(join(models, model, "model.onnx"), feeds);

describe("the bundled models", () => {
  it("are, to the byte, what the script makes", () => {
    execFileSync(process.execPath, [join(repositoryRoot, "scripts", "make-models.mjs"), made]);
    const files = readdirSync(made, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(made.length + 1)).sort();
    assert.deepEqual(
      paths,
      ["half_plus_three/1", "half_plus_two/1", "half_plus_two/2", "linear_regression/1"].map((version) =>
        join(version, "model.onnx"),
      ),
    );
    for (const path of paths) assert.deepEqual(readFileSync(join(models, path)), readFileSync(join(made, path)), path);
  });

  it("are all named in models.config, and nothing else is", () => {
    const config = readFileSync(join(models, "models.config"), "utf8");
    const folders = readdirSync(models, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const paths = [...config.matchAll(/base_path: "\.\/(\w+)"/g)].map(([, path]) => path);
    const names = [...config.matchAll(/name: "(\w+)"/g)].map(([, name]) => name);
    assert.deepEqual(paths, names);
    assert.deepEqual(paths.sort(), folders.map(({ name }) => name).sort());
  });

  for (const version of [1, 2]) {
    it(`half_plus_two, version ${version}, halves and adds two`, async () => {
      const { y } = await run(`half_plus_two/${version}`, { x: floatTensor([3], 1, 2, 5) });
      assert.deepEqual(y, floatTensor([3], 2.5, 3, 4.5));
    });
  }

  it("half_plus_three halves and adds three", async () => {
    assert.deepEqual((await run("half_plus_three/1", { x: floatTensor([2], 1, -6) }))["y"], floatTensor([2], 3.5, 0));
  });

  it("linear_regression gives 2 x - 1 for each row", async () => {
    const { y } = await run("linear_regression/1", { x: floatTensor([2, 1], 1, 10) });
    assert.deepEqual(y, floatTensor([2, 1], 1, 19));
  });

  it("digits tells the digits of its example", async () => {
    const example = JSON.parse(readFileSync(join(repositoryRoot, "test", "models", "digits", "example.json"), "utf8"));
    const images: number[][] = example.inputs.image;
    const { probabilities } = await run("digits/1", {
      image: floatTensor([images.length, 1, 8, 8], ...(images.flat(3) as unknown as number[])),
    });
    const expected: number[] = example.outputs.probabilities.flat();
    assertTensorClose(probabilities, floatTensor([images.length, 10], ...expected));
  });

  it("take batches of any size, by what they declare", async () => {
    for (const model of ["half_plus_two/1", "half_plus_three/1", "linear_regression/1", "digits/1", "iris/1"]) {
      const read = await readModel(join(models, model, "model.onnx"));
      assert.equal(read.format, "onnx");
      if (read.format !== "onnx") continue;
      const { inputs, outputs } = read.description;
      for (const { shape } of [...inputs, ...outputs]) assert.equal(typeof shape?.[0], "string", model);
    }
  });
});
