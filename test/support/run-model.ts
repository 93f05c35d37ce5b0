import { createRequire } from "node:module";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import type { Tensor } from "../../src/tensor/index.js";

process.env["ORT_DISABLE_TELEMETRY"] = "1";
// The package's float16 tensors fail where the runtime has a Float16Array of its own.
Reflect.deleteProperty(globalThis, "Float16Array");
const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof import("onnxruntime-node");

/** Runs a model once, in this thread, without anything of the server around it: what onnxruntime itself says. */
export async function runModel(
  model: string | Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
  options: InferenceSession.SessionOptions = {},
): Promise<Record<string, Tensor>> {
  const [result] = await runModelOften(model, [feeds], options);
  if (result instanceof Error) throw result;
  return result!;
}

/** The same with one session for several runs; what a run throws takes the place of its result. */
export async function runModelOften(
  model: string | Uint8Array,
  runs: readonly Readonly<Record<string, Tensor>>[],
  options: InferenceSession.SessionOptions = {},
): Promise<(Record<string, Tensor> | Error)[]> {
  const settings = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4, ...options } as const;
  const session =
    typeof model === "string"
      ? await ort.InferenceSession.create(model, settings)
      : await ort.InferenceSession.create(model, settings);
  const results: (Record<string, Tensor> | Error)[] = [];
  for (const feeds of runs) {
    try {
      const result = await session.run(
        Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)])),
      );
      results.push(Object.fromEntries(Object.entries(result).map(([name, value]) => [name, fromOrt(value)])));
    } catch (error) {
      results.push(error as Error);
    }
  }
  await session.release();
  return results;
}

const toOrt = ({ dtype, shape, data }: Tensor) => new ort.Tensor(dtype as "float32", data as Float32Array, [...shape]);

const fromOrt = ({ type, dims, data }: OrtTensor): Tensor => ({
  dtype: type as Tensor["dtype"],
  shape: dims,
  data: data as Tensor["data"] & OrtTensor.DataType,
});
