import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { gradientRules } from "../../../src/training/autodiff/gradient-rules.js";
import { repositoryRoot } from "../../support/repository-root.js";

it("every operator in the table of gradients is named in a test beside this one", () => {
  const folder = join(repositoryRoot, "test", "training", "autodiff");
  const files = readdirSync(folder).filter((file) => file !== "gradient-rules.test.ts");
  // The emitter is how those tests write the simplest operators.
  const paths = [...files.map((file) => join(folder, file)), join(repositoryRoot, "src/training/graph-emitter.ts")];
  const text = paths.map((path) => readFileSync(path, "utf8")).join("\n");
  const untested = Object.keys(gradientRules).filter((opType) => !new RegExp(`"${opType}"|\\b${opType}:`).test(text));
  assert.deepEqual(untested, []);
});
