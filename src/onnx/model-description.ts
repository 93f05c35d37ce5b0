import type { TensorSpec } from "./signature.js";

/**
 * What a model file says of itself, once it has been read and, where needed, rewritten. Plain data: it is made in a
 * worker thread and crosses to the serving thread.
 */
export interface ModelDescription {
  /** Graph inputs that a run must feed (initializers left out), in the file's order. */
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly metadata: ReadonlyMap<string, string>;
  /** "skl2onnx 1.17", "" when the file does not say. */
  readonly producer: string;
  readonly operatorSets: readonly { readonly domain: string; readonly version: number }[];
  /** What was changed at load so that the runtime can serve it, a sentence each; empty for most models. */
  readonly rewrites: readonly string[];
  /** By the name of an output whose last axis is one score a class: the classes' labels, in the order of that axis. */
  readonly classLabels: ReadonlyMap<string, ClassLabels>;
  readonly batching: BatchingVerdict;
  /**
   * Why a call with a tensor of no elements must be refused: "LSTM_1 is not known to take tensors without elements",
   * which would end the process. undefined: it may run.
   */
  readonly refusesEmptyTensors?: string | undefined;
  /** The model file and its external data. */
  readonly sizeBytes: number;
}

export type ClassLabels = readonly string[] | readonly bigint[];

/** Whether calls may share a run: row i of every output is proven to depend on row i of the inputs alone. */
export interface BatchingVerdict {
  readonly provenSafe: boolean;
  /** For the operator: what the proof rests on, or which node stands in its way. */
  readonly reason: string;
}
