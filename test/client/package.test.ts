// The package as its users see it: by its name, with its types.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { connect, type JobEvents, type Prediction, StatusError, TrainingClient, toNested } from "onnxd/client";
import { repositoryRoot } from "../support/repository-root.js";

it("onnxd/client can be imported by its name, and comes with its types", () => {
  const predict = (): Promise<Prediction> => client.predict("half_plus_two", { x: [1, 2, 5] });
  const client = connect("localhost:1", { timeoutMs: 1 });
  assert.equal(typeof predict, "function");
  assert.equal(typeof toNested, "function");
  assert.ok(new StatusError(5, "x") instanceof Error);
  client.close();
  // A spec as users write it, without naming its type.
  const spec = {
    model: "flowers",
    table: { target: "target" },
    layers: [{ dense: { units: 16, activation: "relu" } }, { dropout: { rate: 0.2 } }, { dense: { units: 3 } }],
    early_stopping: { patience: 3 },
    limits: { maxSeconds: 60 },
  };
  const trainer = new TrainingClient("localhost:1", { timeoutMs: 1 });
  const train = (): JobEvents => trainer.train(spec, { path: "iris.csv" });
  assert.equal(typeof train, "function");
  trainer.close();
  const { exports } = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8"));
  for (const path of Object.values(exports["./client"])) assert.ok(existsSync(join(repositoryRoot, path as string)));
});
