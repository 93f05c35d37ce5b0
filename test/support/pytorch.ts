// PyTorch on this machine, where there is one: PYTORCH_PYTHON names a Python that has it; else python3 is asked.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Tensor } from "../../src/tensor/index.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import { repositoryRoot } from "./repository-root.js";

export const pytorchPython = process.env["PYTORCH_PYTHON"] ?? "python3";

/** undefined: there is none. */
export function pytorchVersion(): string | undefined {
  // Read off the installed package: importing it takes seconds.
  const asked = spawnSync(pytorchPython, ["-c", "import importlib.metadata as m; print(m.version('torch'))"], {
    encoding: "utf8",
  });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

export interface PytorchJob {
  readonly layers: readonly LayerSpec[];
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly loss: string;
  readonly optimizer: string;
  readonly learningRate: number;
  readonly x: Tensor;
  /** [rows, …] of numbers; class numbers are numbers too. */
  readonly targets: Tensor;
  readonly batchSize: number;
  readonly steps: number;
}

/** Trains nets from their weights on their batches, one thread, and returns the loss of every step of each. */
export function trainWithPytorch(jobs: readonly PytorchJob[]): readonly (readonly number[])[] {
  const plain = ({ shape, data }: Tensor) => ({ shape, data: Array.from(data, Number) });
  const input = JSON.stringify(
    jobs.map(({ weights, x, targets, ...job }) => ({
      ...job,
      weights: Object.fromEntries([...weights].map(([name, tensor]) => [name, plain(tensor)])),
      x: plain(x),
      targets: plain(targets),
    })),
  );
  const script = join(repositoryRoot, "test", "training", "pytorch-losses.py");
  const run = spawnSync(pytorchPython, [script], { input, encoding: "utf8", maxBuffer: 2 ** 28 });
  if (run.status !== 0) throw new Error(`PyTorch failed: ${run.stderr}`);
  return JSON.parse(run.stdout) as number[][];
}
