import type { ElementType, Tensor } from "../tensor/index.js";

/** A dimension as a graph declares it: a size, the name of an open one, or undefined for open without a name. */
export type Dimension = number | string | undefined;

/** What a graph says of one of its inputs or outputs. */
export interface TensorSpec {
  /** The tensor's name in the graph. */
  readonly name: string;
  readonly dtype: ElementType;
  /** undefined: any rank. */
  readonly shape: readonly Dimension[] | undefined;
}

export const predictMethodName = "tensorflow/serving/predict";
export const classifyMethodName = "tensorflow/serving/classify";
export const regressMethodName = "tensorflow/serving/regress";
export const defaultSignatureKey = "serving_default";

/** One way to call a model: clients' aliases for tensors of the graph. */
export interface Signature {
  readonly key: string;
  readonly methodName: string;
  /** By alias, in the model's order. */
  readonly inputs: ReadonlyMap<string, TensorSpec>;
  readonly outputs: ReadonlyMap<string, TensorSpec>;
  /** What an input is when a request leaves it out, by alias. */
  readonly defaults?: ReadonlyMap<string, Tensor>;
}
