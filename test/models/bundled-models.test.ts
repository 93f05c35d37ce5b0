// The models in models/: what the scripts make, what the file says, and that they answer as they promise.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readModel } from "../../src/onnx/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { assertTensorClose } from "../support/assert-tensor-close.js";
import { readDataSet } from "../support/data-set.js";
import { repositoryRoot } from "../support/repository-root.js";
import { runModel } from "../support/run-model.js";
import { floatTensor } from "../support/test-models.js";

const models = join(repositoryRoot, "models");
const made = mkdtempSync(join(tmpdir(), "onnxd-made-"));
after(() => rmSync(made, { recursive: true }));

const run = (model: string, feeds: Record<string, Tensor>) => runModel(join(models, model, "model.onnx"), feeds);

const exampleOf = (model: string) => join(repositoryRoot, "test", "models", model, "example.json");

/** The likeliest class of each image. */
async function answersOf(model: string, image: Tensor): Promise<number[]> {
  const { probabilities } = await run(model, { image });
  const scores = probabilities!.data as Float32Array;
  return Array.from({ length: scores.length / 10 }, (_, row) => {
    const own = scores.subarray(10 * row, 10 * row + 10);
    return own.indexOf(Math.max(...own));
  });
}

describe("the bundled models", () => {
  it("that are formulas are, to the byte, what the script makes", () => {
    execFileSync(process.execPath, [join(repositoryRoot, "scripts", "make-models.mjs"), made]);
    const files = readdirSync(made, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(made.length + 1)).sort();
    assert.deepEqual(
      paths,
      ["half_plus_three/1", "half_plus_two/1", "half_plus_two/2"].map((version) => join(version, "model.onnx")),
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

  it("linear_regression has learned y = 2 x - 1 to the last bit, and learns it again", async () => {
    const trained = mkdtempSync(join(tmpdir(), "onnxd-trained-"));
    try {
      const script = join(repositoryRoot, "scripts", "train-models.mjs");
      execFileSync(process.execPath, [script, trained, "linear_regression"], { stdio: "pipe" });
      const answers = (folder: string) =>
        runModel(join(folder, "linear_regression", "1", "model.onnx"), { x: floatTensor([3, 1], 1, 10, -0.5) });
      assert.deepEqual((await answers(models))["y"], floatTensor([3, 1], 1, 19, -2));
      // Another processor may round otherwise on its way.
      assertTensorClose((await answers(trained))["y"], floatTensor([3, 1], 1, 19, -2));
    } finally {
      rmSync(trained, { recursive: true });
    }
  });

  it("digits knows at least 98 of 100 digits that it has not seen, and calls them 0 to 9", async () => {
    const file = join(models, "digits", "1", "model.onnx");
    const read = await readModel(file);
    assert.equal(read.format, "onnx");
    if (read.format === "onnx") {
      assert.deepEqual(read.description.classLabels.get("probabilities"), [..."0123456789"]);
    }
    assert.ok(statSync(file).size < 200_000);
    // What the script holds out.
    const rows = readDataSet("digits")
      .trim()
      .split("\n")
      .slice(1)
      .filter((_, row) => row % 5 === 0)
      .map((line) => line.split(",").map(Number));
    const pixels = rows.flatMap((row) => row.slice(0, 64).map((grey) => grey / 16));
    const found = await answersOf("digits/1", floatTensor([rows.length, 1, 8, 8], ...pixels));
    const right = rows.filter((row, index) => found[index] === row[64]).length;
    assert.ok(right / rows.length >= 0.98, `${right} of ${rows.length}`);
  });

  it("digits tells the digits of its example", async () => {
    const { inputs, labels } = JSON.parse(readFileSync(exampleOf("digits"), "utf8"));
    const images = inputs.image as unknown[];
    const image = floatTensor([images.length, 1, 8, 8], ...(images.flat(3) as number[]));
    assert.deepEqual(await answersOf("digits/1", image), labels);
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

it("a net that PyTorch exported gives what PyTorch gave", async () => {
  const example = JSON.parse(readFileSync(exampleOf("pytorch-digits"), "utf8"));
  const images = example.inputs.image as unknown[];
  const { probabilities } = await runModel(join(repositoryRoot, "test", "models", "pytorch-digits", "model.onnx"), {
    image: floatTensor([images.length, 1, 8, 8], ...(images.flat(3) as number[])),
  });
  const expected: number[] = example.outputs.probabilities.flat();
  assertTensorClose(probabilities, floatTensor([images.length, 10], ...expected));
});
