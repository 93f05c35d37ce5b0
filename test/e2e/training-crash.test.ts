// kill -9 in the middle of a training job: what it had learned is not lost, and nobody sees half a version.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { TrainingClient } from "../../src/client/index.js";
import { decodeGraphModel } from "../../src/onnx/index.js";
import { readDataSet } from "../support/data-set.js";
import { ServerProcess } from "../support/server-process.js";
import { trainingProcesses } from "../support/training-processes.js";
import { until } from "../support/until.js";

const spec = (model: string) => ({
  model,
  layers: [{ dense: { units: 3, activation: "softmax" } }],
  table: { target: "target" },
  optimizer: { learning_rate: 0.01 },
  epochs: 400,
  batch_size: 4,
  seed: "7",
  limits: { checkpoint_seconds: 0.02 },
});

function publishedWeights(folder: string, model: string): unknown {
  const versions = join(folder, "models", model);
  assert.deepEqual(readdirSync(versions), ["1"]);
  const { graph } = decodeGraphModel(readFileSync(join(versions, "1", "model.onnx")));
  return [...graph.initializers].map(([name, { data }]) => [name, Array.from(data as Float32Array)]);
}

describe("a server killed in the middle of a training job", () => {
  it("takes the job up again at the next start, to the same weights as if nothing had happened", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onnxd-crash-"));
    const flags = [`--training_dir=${folder}`, "--log_level=error"];
    const csv = readDataSet("iris");
    try {
      const first = await ServerProcess.start(...flags);
      const port = first.target.slice(first.target.lastIndexOf(":") + 1);
      const client = new TrainingClient(first.target);
      const whole = await client.train(spec("whole"), { csv }).result();
      assert.equal(whole.state, "SUCCEEDED", whole.errorMessage);
      const events = client.train(spec("killed"), { csv });
      let checkpoints = 0;
      let second: ServerProcess | undefined;
      const resumed: string[] = [];
      // The one call goes on through the server's death.
      let id = "";
      for await (const event of events) {
        id = event.jobId;
        if (event.kind === "notice") resumed.push(event.notice);
        if (event.kind !== "checkpoint" || ++checkpoints !== 2) continue;
        const [trainer] = trainingProcesses(first.pid);
        first.kill("SIGKILL");
        await first.exited;
        // What trained for it ends by itself, before another process takes the job.
        await until(() => !isAlive(trainer!));
        second = await ServerProcess.start(...flags, `--port=${port}`);
      }
      const job = await client.getJob(id);
      assert.deepEqual([job.state, job.resumptions, job.publishedVersion], ["SUCCEEDED", 1, 1n], job.errorMessage);
      assert.ok(
        resumed.some((text) => /^training goes on after step \d+$/.test(text)),
        resumed.join("; "),
      );
      assert.deepEqual(publishedWeights(folder, "killed"), publishedWeights(folder, "whole"));
      client.close();
      await second![Symbol.asyncDispose]();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
