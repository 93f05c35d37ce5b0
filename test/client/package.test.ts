// The package as its users see it: by its name, with its types.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { connect, type Prediction, StatusError, toNested } from "onnxd/client";
import { repositoryRoot } from "../support/repository-root.js";

it("onnxd/client can be imported by its name, and comes with its types", () => {
  const predict = (): Promise<Prediction> => client.predict("half_plus_two", { x: [1, 2, 5] });
  const client = connect("localhost:1", { timeoutMs: 1 });
  assert.equal(typeof predict, "function");
  assert.equal(typeof toNested, "function");
  assert.ok(new StatusError(5, "x") instanceof Error);
  client.close();
  const { exports } = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8"));
  for (const path of Object.values(exports["./client"])) assert.ok(existsSync(join(repositoryRoot, path as string)));
});
