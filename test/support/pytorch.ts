// PyTorch on this machine, where there is one: ONNXD_PYTORCH names a Python that has it; else python3 is asked.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Tensor } from "../../src/tensor/index.js";
import type { LayerSpec } from "../../src/training/layers/layer-spec.js";
import { repositoryRoot } from "./repository-root.js";

const python = process.env["ONNXD_PYTORCH"] ?? "python3";

/** undefined: there is none. */
export function pytorchVersion(): string | undefined {
  const asked = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { encoding: "utf8" });
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
  /** Further steps whose times are told. */
  readonly timed?: number;
}

export interface PytorchResult {
  readonly version: string;
  readonly losses: readonly number[];
  readonly stepMs: readonly number[];
}

/** Trains the same net from the same weights on the same batches, one thread. */
export function trainWithPytorch({ weights, x, targets, ...job }: PytorchJob): PytorchResult {
  const plain = ({ shape, data }: Tensor) => ({ shape, data: Array.from(data, Number) });
  const input = JSON.stringify({
    ...job,
    weights: Object.fromEntries([...weights].map(([name, tensor]) => [name, plain(tensor)])),
    x: plain(x),
    targets: plain(targets),
  });
  const script = join(repositoryRoot, "test", "training", "pytorch-losses.py");
  const run = spawnSync(python, [script], { input, encoding: "utf8", maxBuffer: 2 ** 28 });
  if (run.status !== 0) throw new Error(`PyTorch failed: ${run.stderr}`);
  return JSON.parse(run.stdout) as PytorchResult;
}
