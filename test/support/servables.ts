import type { ModelDescription, Signature, TensorSpec } from "../../src/onnx/index.js";
import type { RunOptions, RunResult, Session } from "../../src/runtime/index.js";
import type { Servable, ServableId } from "../../src/serving/index.js";
import type { Tensor } from "../../src/tensor/index.js";

export const specX: TensorSpec = { name: "x", dtype: "float32", shape: ["batch"] };
export const specY: TensorSpec = { name: "y", dtype: "float32", shape: ["batch"] };

/** A description of a graph with these inputs and outputs, and nothing else to say. */
export function describeGraph(inputs: readonly TensorSpec[], outputs: readonly TensorSpec[]): ModelDescription {
  return {
    inputs,
    outputs,
    metadata: new Map(),
    producer: "",
    operatorSets: [],
    rewrites: [],
    classLabels: new Map(),
    batching: { provenSafe: false, reason: "a test" },
    sizeBytes: 0,
  };
}

/** A signature whose aliases are the tensors' names. */
export function signatureOf(
  inputs: readonly TensorSpec[],
  outputs: readonly TensorSpec[],
  more: Partial<Signature> = {},
): Signature {
  return {
    key: "serving_default",
    methodName: "tensorflow/serving/predict",
    inputs: new Map(inputs.map((spec) => [spec.name, spec])),
    outputs: new Map(outputs.map((spec) => [spec.name, spec])),
    ...more,
  };
}

export interface SessionParts {
  readonly run?: (
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
  ) => ReadonlyMap<string, Tensor>;
  readonly release?: () => Promise<void>;
}

/** A session that answers at once, by default with what was fed, under every fetched name. */
export function sessionOf({ run, release }: SessionParts = {}): Session {
  const echo: NonNullable<SessionParts["run"]> = (feeds, fetches) =>
    new Map(fetches.map((name) => [name, [...feeds.values()][0]!]));
  return {
    run: async (feeds, fetches, options): Promise<RunResult> => ({
      outputs: (run ?? echo)(feeds, fetches, options),
      queueMs: 1,
      computeMs: 2,
      batchSize: 3,
    }),
    release: release ?? (async () => {}),
    placement: { kind: "inline", sessions: 1, intraOpThreads: 1, warmupRunMicros: undefined, reason: "a test" },
    load: () => ({ queued: 0, running: 0 }),
  };
}

/** A version of a model with one input x, one output y and the default signature. */
export function servableOf(id: ServableId, parts: SessionParts = {}, signatures?: readonly Signature[]): Servable {
  const all = signatures ?? [signatureOf([specX], [specY])];
  return {
    id,
    signatures: new Map(all.map((signature) => [signature.key, signature])),
    session: sessionOf(parts),
    description: describeGraph([specX], [specY]),
  };
}
